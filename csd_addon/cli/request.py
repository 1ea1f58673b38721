"""What the command line asks of Blender: one JSON file, kept in the output folder so that a job can be resumed.

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

# Stands for Blender's own monkey in the place of a file.
SUZANNE = ":suzanne:"
# The mark of our messages among Blender's own lines on stdout.
PREFIX = "csd-message "


@dataclass(frozen=True)
class Request:
    """file: absolute path or ``SUZANNE``. output: absolute folder. objects: names, empty for what is selected."""

    file: str
    output: str
    settings: JobSettings
    objects: tuple[str, ...] = ()
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
        """The same request, continuing from its checkpoints."""
        return replace(self, resume=True)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Request:
        """Raises ``ValueError`` if ``values`` is not what ``to_json`` made."""
        try:
            settings = JobSettings.from_json(values["settings"])
            return Request(**{**values, "settings": settings, "objects": tuple(values["objects"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"The request is damaged: {error}.") from error
