"""An offline bundle: a folder from which another machine of the same kind installs the runtime. What lies in it.

    FOLDER/bundle.json   which list it was made from; written last
    FOLDER/LIST.txt      that list, for reading
    FOLDER/wheels/       every wheel of the list
    FOLDER/uv-*.whl      the installer, where the release that wrote the bundle carried one
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import RuntimeMissing
from . import lockfile

FILE = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A complete bundle."""

    folder: Path
    # The name of the list in ``locks/`` whose wheels it holds, without suffix.
    list_name: str

    @property
    def wheels(self) -> Path:
        """The folder that holds the wheels."""
        return self.folder / "wheels"


def read(folder: Path) -> Bundle:
    """Return the bundle in ``folder``.

    Raises RuntimeMissing when there is none, or it is not complete, or belongs to another release of the program.
    """
    try:
        kept = json.loads((folder / FILE).read_text("utf-8"))
        name, digest = str(kept["list"]), kept["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RuntimeMissing(
            f"{folder} is no complete offline bundle, it lacks a readable {FILE}: make one with 'runtime bundle "
            "--output FOLDER' on a machine that has a network."
        ) from error
    lock = lockfile.LOCKS / f"{name}.txt"
    if not lock.is_file() or lockfile.digest([lock]) != digest:
        raise RuntimeMissing(
            f"The bundle in {folder} was made by another version of CSD Texture: make it again with this one."
        )
    return Bundle(folder, name)


def finish(folder: Path, lock: Path) -> Bundle:
    """Declare the bundle in ``folder`` complete, with the wheels of ``lock``. `write_bundle` calls it last."""
    (folder / lock.name).write_text(lock.read_text("utf-8"), encoding="utf-8")
    kept = {"list": lock.stem, "sha256": lockfile.digest([lock])}
    (folder / FILE).write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return Bundle(folder, lock.stem)
