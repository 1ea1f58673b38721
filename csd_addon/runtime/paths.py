"""Every folder of the program, from one base folder.

The base is ``CSD_TEXTURE_HOME`` where that is set, else ``csd_texture`` in the user's data folder. The user may put the
runtime and the teachers, which are large, elsewhere (`choices`). A chosen folder must be absolute, because each program
has another working directory; a relative one is ignored. Folder names are short because Windows limits a whole path to
260 characters, and torch's own files take 171.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from . import choices

ADDON = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Paths:
    """The folders below ``base``. Asking for one does not create it."""

    base: Path

    @property
    def environments(self) -> Path:
        """Private Python environments, one folder each."""
        return self._runtime / "env"

    @property
    def jobs(self) -> Path:
        """Job folders of jobs that named no output folder."""
        return self.base / "jobs"

    @property
    def diagnoses(self) -> Path:
        """Job folders of comparisons of losses, which the history of textures does not list."""
        return self.base / "diagnoses"

    @property
    def logs(self) -> Path:
        """The output of installers and workers."""
        return self.base / "logs"

    @property
    def teachers(self) -> Path:
        """Diffusion models in diffusers layout, one folder each."""
        chosen = Path(choices.read(self.base).teachers)
        return chosen if chosen.is_absolute() else self.base / "teachers"

    @property
    def cache(self) -> Path:
        """The unpacked installer and its downloads, which can be made again."""
        return self._runtime / "cache"

    @property
    def _runtime(self) -> Path:
        # The cache goes along: the installer links files from it, which needs one drive.
        chosen = Path(choices.read(self.base).runtime)
        return chosen if chosen.is_absolute() else self.base


def default_base() -> Path:
    """Return the base folder of this user, absolute, existing or not."""
    chosen = os.environ.get("CSD_TEXTURE_HOME")
    return Path(chosen).expanduser().absolute() if chosen else user_data_folder() / "csd_texture"


def user_data_folder() -> Path:
    """Return where this platform keeps a program's data: not roaming, not the cache."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    # The XDG specification: a relative value is invalid and is to be ignored.
    return data if data.is_absolute() else Path.home() / ".local" / "share"


def bundled_teachers() -> Path:
    """Return the folder of the teachers that ship with the code."""
    return ADDON / "teachers"


def bundled_wheels() -> Path:
    """Return the folder where a packaged release carries ``uv``; empty in a plain checkout."""
    return ADDON.parent / "wheels"
