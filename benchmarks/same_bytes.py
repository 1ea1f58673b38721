"""Do equal seeds give equal results before and after a change? Hashes of fixed jobs, on one machine.

    python benchmarks/same_bytes.py --output before.json            in the checkout before the change
    python benchmarks/same_bytes.py --against before.json           after it: SAME or DIFFERENT for each job

With the worker's Python and OMP_NUM_THREADS=1. ``--only NAME`` as often as needed runs some jobs alone. Exit status 1
where a job differs. Pixels are hashed, not files, so another PNG writer changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from csd_addon.core.settings import JobSettings  # noqa: E402
from csd_addon.core.source import EditSource, Tile  # noqa: E402
from csd_addon.jobs.folder import JobFolder, new_folder, write_json  # noqa: E402
from csd_addon.protocol import Cancelled, Done, Message, Preview  # noqa: E402
from csd_addon.worker.run.entry import run_job  # noqa: E402
from csd_addon.worker.serve.control import Control  # noqa: E402
from tests import shapes  # noqa: E402

MESH = shapes.torus(bump=0.08)
_NEW = {"prompt": "red brick", "preset": "draft", "iterations": 30}
_KEEP = {"kind": "edit", "target": "blue brick", "remove": "red brick", "preset": "draft", "size": 0, "iterations": 30}
_REPLACE = {**_KEEP, "target": "green moss"}
# Name: the bundled teacher and the settings. What begins with "resume" is cancelled at its first preview, then resumed.
JOBS = {
    "sampling": ("broad", {**_NEW, "iterations": 40}),
    "sampling, whole": ("broad", {"prompt": "red brick", "preset": "draft"}),
    "sampling, negative": ("broad", {**_NEW, "negative": "plain gray", "preset": "balanced"}),
    "paper": ("broad", {**_NEW, "prompt": "mossy stone", "preset": "paper"}),
    "paper, negative": ("mini", {**_NEW, "negative": "plain gray", "preset": "paper"}),
    "sds": ("broad", {**_NEW, "loss": "sds"}),
    "sds, negative": ("mini", {**_NEW, "loss": "sds", "negative": "plain", "preset": "balanced"}),
    "edit keeps": ("mini", _KEEP),
    "edit keeps, half": ("mini", {**_KEEP, "strength": 0.5, "preset": "balanced"}),
    "edit keeps, paper": ("mini", {**_KEEP, "preset": "paper"}),
    "edit replaces": ("broad", _REPLACE),
    "edit replaces, half": ("broad", {**_REPLACE, "strength": 0.5}),
    "edit replaces, sds": ("broad", {**_REPLACE, "loss": "sds"}),
    "edit of strength 0": ("broad", {**_REPLACE, "strength": 0.0}),
    "diagnosis": ("mini", {**_NEW, "kind": "diagnosis", "iterations": 6}),
    "resume sampling": ("broad", {**_NEW, "iterations": 40}),
    "resume paper": ("broad", {**_NEW, "prompt": "mossy stone", "preset": "paper"}),
    "resume edit": ("mini", _KEEP),
}


def source(edge: int = 128) -> EditSource:
    """A reddish texture with some pattern and grain, over the whole mesh."""
    y, x = np.mgrid[0:edge, 0:edge]
    pixels = np.ones((edge, edge, 4), np.float32)
    pixels[..., 0] = 0.6 + 0.1 * np.sin(x / 5)
    pixels[..., 1] = 0.25 + 0.05 * np.cos(y / 7)
    pixels[..., 2] = 0.2 + 0.05 * np.random.default_rng(5).random((edge, edge))
    faces, free = len(MESH.triangles), np.ones((1, 1), np.float32)
    number, mask = np.zeros(faces, np.int32), np.ones((faces, 3), np.float32)
    return EditSource({0: Tile(pixels, False, free)}, number, MESH.corner_uvs, mask)


def run(folder: JobFolder, *, resume: bool, cancel: bool) -> Message:
    """Run the job; returns the last message. cancel: at the first preview."""
    control, said = Control(), []

    def emit(message: Message) -> None:
        said.append(message)
        if cancel and isinstance(message, Preview):
            control.request_cancel()

    run_job(folder, control, emit, resume)
    return said[-1]


def hashes(folder: JobFolder) -> dict[str, str]:
    """By file name, of the pixels and tables in the result."""
    found = {}
    for path in sorted(folder.result.iterdir()):
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                data = b"".join(arrays[name].tobytes() for name in sorted(arrays.files))
        elif path.suffix in (".png", ".csv"):
            data = np.asarray(Image.open(path)).tobytes() if path.suffix == ".png" else path.read_bytes()
        else:
            continue
        found[path.name] = hashlib.sha256(data).hexdigest()
    return found


def result_of(name: str) -> dict[str, str]:
    """The hashes of the job ``name``."""
    teacher, values = JOBS[name]
    settings = JobSettings(**{"size": 256, "teacher": teacher, **values})
    with tempfile.TemporaryDirectory() as scratch:
        folder = new_folder(Path(scratch))
        MESH.save(folder.mesh)
        if settings.kind == "edit":
            source().save(folder.source)
        root = ROOT / "csd_addon" / "teachers" / teacher
        write_json(folder.job, {"settings": settings.to_json(), "teacher": {"root": str(root)}})
        resumed = name.startswith("resume")
        if resumed:
            last = run(folder, resume=False, cancel=True)
            assert isinstance(last, Cancelled) and last.iteration > 0, last
        last = run(folder, resume=resumed, cancel=False)
        assert isinstance(last, Done), last
        return hashes(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the hashes go, as JSON")
    parser.add_argument("--against", type=Path, metavar="FILE", help="hashes of another checkout to compare with")
    parser.add_argument("--only", action="append", choices=tuple(JOBS), metavar="NAME")
    words = parser.parse_args()
    before = json.loads(words.against.read_text("utf-8")) if words.against else {}
    found, differ = {}, 0
    for name in words.only or JOBS:
        found[name] = result_of(name)
        if name not in before:
            print(f"{name}: {found[name]}", flush=True)
            continue
        changed = [file for file in before[name] if found[name].get(file) != before[name][file]]
        differ += bool(changed)
        print(f"DIFFERENT {name}: {', '.join(changed)}" if changed else f"SAME {name}", flush=True)
    if words.output:
        words.output.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
