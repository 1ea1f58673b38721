"""``python -m csd_addon.worker``: serve Blender on stdin and stdout, or replay one job folder.

``--replay FOLDER`` runs a job without Blender. ``--fake`` paints without torch (worker/serve/fake.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .serve.process import RunJob, claim_stdout, replay, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="csd_addon.worker", description=__doc__)
    parser.add_argument("--replay", type=Path, metavar="FOLDER")
    parser.add_argument("--fake", action="store_true")
    arguments = parser.parse_args()
    run_job = _backend(arguments.fake)
    if arguments.replay:
        return replay(run_job, arguments.replay.resolve())
    serve(run_job, sys.stdin.buffer, claim_stdout())
    return 0


def _backend(fake: bool) -> RunJob:
    """Import only what is asked for: the fake must run where there is no torch."""
    if fake:
        from .serve.fake import run_job
    else:
        from .run.entry import run_job
    return run_job


if __name__ == "__main__":
    sys.exit(main())
