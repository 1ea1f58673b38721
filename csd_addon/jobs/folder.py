"""What lies in a job folder. Every file is written aside and renamed; ``report.json`` comes last.

    job.json        settings, versions, the teacher's folders; all that is needed to run the job again
    mesh.npz        the triangles (core.mesh)
    layer.npz       the UV map that the object gets with the texture, where it had none (core.polygons)
    source.npz      the texture that an edit starts from, and its mask (core.source)
    events.jsonl    everything the worker said
    checkpoint/     the state to resume from
    preview/        low-resolution textures while the job runs
    result/         basecolor.png (of UDIM tiles basecolor.1001.png and so on; edited.npz for an edit), then
                    report.json, the marker of a finished result; unseen.png where it was asked for
    thumbnail.png   the textured object; norms.png: the plot of the gradient norms; both for the history
    worker.log      what the worker's libraries printed
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Bytes of a JSON file.
_LARGEST_JSON = 2**26


@dataclass(frozen=True)
class JobFolder:
    """Names inside the folder ``path``. Nothing is created until ``create`` is called."""

    path: Path

    @property
    def job(self) -> Path:
        return self.path / "job.json"

    @property
    def mesh(self) -> Path:
        return self.path / "mesh.npz"

    @property
    def source(self) -> Path:
        return self.path / "source.npz"

    @property
    def polygons(self) -> Path:
        """What is unwrapped; it goes when that is done."""
        return self.path / "polygons.npz"

    @property
    def layer(self) -> Path:
        return self.path / "layer.npz"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def preview(self) -> Path:
        return self.path / "preview"

    @property
    def result(self) -> Path:
        return self.path / "result"

    def image(self, channel: str) -> Path:
        """The finished image of a channel (``core.channels``)."""
        return self.result / f"{channel}.png"

    @property
    def basecolor(self) -> Path:
        return self.image("basecolor")

    @property
    def unseen(self) -> Path:
        return self.result / "unseen.png"

    @property
    def edited(self) -> Path:
        return self.result / "edited.npz"

    @property
    def report(self) -> Path:
        return self.result / "report.json"

    @property
    def thumbnail(self) -> Path:
        return self.path / "thumbnail.png"

    @property
    def plot(self) -> Path:
        return self.path / "norms.png"

    @property
    def log(self) -> Path:
        return self.path / "worker.log"

    def contains(self, path: Path) -> bool:
        """Whether ``path`` really lies inside the folder, links and ``..`` followed."""
        try:
            return path.resolve().is_relative_to(self.path.resolve())
        except (OSError, RuntimeError, ValueError):
            return False

    def require_own_files(self) -> None:
        """Raise ``ValueError`` if something in the folder is a link: writing there would leave the folder."""
        for root, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                if os.path.islink(os.path.join(root, name)):
                    raise ValueError(f"{os.path.join(root, name)} is a link; a job folder must hold its files itself.")

    def create(self) -> JobFolder:
        """Make the folder and its subfolders. Raises ``OSError`` where it can't be written."""
        for folder in (self.path, self.checkpoint, self.preview, self.result):
            folder.mkdir(parents=True, exist_ok=True)
        return self


def new_folder(parent: Path) -> JobFolder:
    """A fresh, empty job folder under ``parent`` with a name that no other job has."""
    return JobFolder(parent / f"job-{uuid.uuid4().hex[:12]}").create()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path``: aside first, then renamed, so a reader never sees half a file."""
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(aside, path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ``ValueError`` with one sentence if it is missing, damaged or far too large."""
    try:
        # Anything but a file may never end.
        if not path.is_file():
            raise ValueError("No such file")
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError("it is far too large")
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"The file {path} is missing or damaged: {str(error).rstrip('.')}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"The file {path} does not hold a JSON object.")
    return value
