"""``python3 -m csd_addon diagnose``: the paper's diagnostics on one mesh (``worker/run/diagnosis.py``).

Blender reads the mesh, as for a texture of one step. Then the worker makes the runs in that job's folder, without
Blender. All of this happens in a new folder inside the output folder, so nothing that lies there is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..jobs.folder import JobFolder, read_json, write_json
from ..jobs.process import own_group, program_folder, worker_command, worker_environment
from ..runtime.paths import Paths
from .request import Request

Message = Callable[[dict[str, Any]], None]
Say = Callable[[str], None]


def export_request(request: Request) -> Request:
    """Return a request that brings the mesh into a job folder: a texture of one step, which is deleted afterwards.

    Makes a folder for it in ``request.output``, which must exist.
    """
    # Numbers that are set by hand are for the comparison, and so is what it compares.
    settings = replace(request.settings, iterations=1, size=64, method="auto", loss="csd", expert={})
    return replace(request, output=tempfile.mkdtemp(prefix="diagnosis-", dir=request.output), settings=settings)


def run(request: Request, export: Request, python: Path, paths: Paths, message: Message, say: Say) -> int:
    """Make the runs and put the files into ``request.output``. Returns the exit code.

    ``export``: what ``export_request`` made of ``request``, already carried out. The caller deletes its folder.
    Raises ``ValueError`` when the file has several meshes.
    """
    job = _job(export)
    body = read_json(job.job)
    asked = {name: request.settings.to_json()[name] for name in ("iterations", "size", "method", "loss", "expert")}
    write_json(job.job, {**body, "settings": {**body["settings"], **asked, "kind": "diagnosis"}})
    command = [*worker_command(python, paths.cache / "pycache"), "--replay", str(job.path)]
    last = _relay(command, message)
    if last.get("type") == "cancelled":
        return 130
    if last.get("type") != "done":
        if last.get("type") != "error":
            sentence = f"The worker ended without a result; its log is {job.log}."
            message({"type": "error", "kind": "internal", "sentence": sentence, "detail": ""})
        return 4
    for path in map(Path, last["paths"].values()):
        shutil.copyfile(path, Path(request.output) / path.name)
    for claim in last["report"]["claims"]:
        say(f"{'SHOWS' if claim['shows'] else 'DOES NOT SHOW'}: {claim['claim']} ({claim['figures']}).")
    say(f"Done: look at {Path(request.output) / 'sweep.png'}, negatives.png, norms.png and results.csv there.")
    return 0


def _job(export: Request) -> JobFolder:
    folder = JobFolder(export.jobs)
    if not folder.job.is_file():
        names = ", ".join(sorted(path.name for path in folder.path.iterdir() if path.is_dir()))
        raise ValueError(f"A diagnosis is of one mesh, the file has several: choose one with --object ({names}).")
    return folder


def _relay(command: list[str], message: Message) -> dict[str, Any]:
    """Run the worker, pass its messages on, and return the last one. It ends with this process (Ctrl-C)."""
    last: dict[str, Any] = {}
    child = subprocess.Popen(
        command, cwd=program_folder(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=worker_environment(os.environ), text=True, encoding="utf-8", **own_group(),
    )  # fmt: skip
    try:
        assert child.stdout
        for line in child.stdout:
            last = json.loads(line)
            message(last)
    finally:
        child.kill()
        child.wait()
    return last

