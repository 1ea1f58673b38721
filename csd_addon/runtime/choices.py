"""What the user chose for this machine, in one small file that Blender and the command line share.

``choices.json`` lies in the base folder. Its keys are the fields of `Choices`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FILE = "choices.json"


@dataclass(frozen=True)
class Choices:
    """Paths as text; "" means the default."""

    # The worker's interpreter. The default is the one that the runtime brings.
    python: str = ""
    # The folder of the environments and of the cache.
    runtime: str = ""
    # The folder of the downloaded teachers.
    teachers: str = ""
    # A sentence where the file can't be read; it is not kept in it.
    problem: str = ""


def read(base: Path) -> Choices:
    """Return the choices that are kept in ``base``. Never raises, because every panel asks while it draws."""
    file = base / FILE
    try:
        kept = json.loads(file.read_text("utf-8"))
        return Choices(*(str(kept.get(name, "")) for name in ("python", "runtime", "teachers")))
    except FileNotFoundError:
        return Choices()
    except (OSError, ValueError, AttributeError) as error:
        return Choices(problem=f"{file} cannot be read ({error}): delete it and choose again.")


def change(base: Path, **values: str) -> Choices:
    """Keep ``values`` beside what was chosen before, and return all choices.

    Raises OSError when the file can't be written.
    """
    changed = replace(read(base), problem="", **values)
    kept = {name: value for name, value in asdict(changed).items() if value}
    if not kept:
        (base / FILE).unlink(missing_ok=True)
        return changed
    base.mkdir(parents=True, exist_ok=True)
    aside = base / f"{FILE}.part"
    aside.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    os.replace(aside, base / FILE)
    return changed
