"""What the command line asks of Blender: a JSON file. It stays in the output folder, so that the job can be resumed.

    OUTPUT/<stem>.blend     OUTPUT/textures/<object>_basecolor.png     OUTPUT/preview.png
                            (<object>_<material>_basecolor.png where each material has its own image)
    OUTPUT/report.json      OUTPUT/job/ (job/<object>/ for several objects), with request.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..core.settings import JobSettings

# In place of a file: Blender's own monkey.
SUZANNE = ":suzanne:"
# Begins each of our messages, to tell them from Blender's own lines on stdout.
PREFIX = "csd-message "


@dataclass(frozen=True)
class Request:
    """One texture, edit or diagnosis, of one or several objects."""

    # An absolute path, or ``SUZANNE``.
    file: str
    # The absolute path of the folder for the results.
    output: str
    settings: JobSettings
    # Names; empty: what is selected in the file.
    objects: tuple[str, ...] = ()
    # Whether to continue from the checkpoints.
    resume: bool = False

    @property
    def stem(self) -> str:
        return "suzanne" if self.file == SUZANNE else Path(self.file).stem

    @property
    def blend(self) -> Path:
        return Path(self.output) / f"{self.stem}.blend"

    @property
    def textures(self) -> Path:
        return Path(self.output) / "textures"

    @property
    def jobs(self) -> Path:
        return Path(self.output) / "job"

    @property
    def preview(self) -> Path:
        return Path(self.output) / "preview.png"

    @property
    def report(self) -> Path:
        return Path(self.output) / "report.json"

    @property
    def saved(self) -> Path:
        return self.jobs / "request.json"

    def resumed(self) -> Request:
        """Return the same request, to be continued from its checkpoints."""
        return replace(self, resume=True)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Request:
        """Return the request that ``to_json`` made ``values`` of. Raises ``ValueError`` if they are something else."""
        try:
            settings = JobSettings.from_json(values["settings"])
            return Request(**{**values, "settings": settings, "objects": tuple(values["objects"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"The request is damaged: {error}.") from error
