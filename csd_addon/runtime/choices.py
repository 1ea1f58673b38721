"""What the user chose for this machine, in one small file that Blender and the command line share.

``choices.json`` lies in the base folder. Its keys are the fields of `Choices`; all are folders or programs as text, and
an empty one means the default.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FILE = "choices.json"


@dataclass(frozen=True)
class Choices:
    """python: the worker's interpreter. runtime, teachers: folders. problem: why the file can't be read, if so."""

    python: str = ""
    runtime: str = ""
    teachers: str = ""
    problem: str = ""


def read(base: Path) -> Choices:
    """Return the choices that are kept in ``base``; never raises, because everything that draws asks."""
    file = base / FILE
    try:
        kept = json.loads(file.read_text("utf-8"))
        return Choices(*(str(kept.get(name, "")) for name in ("python", "runtime", "teachers")))
    except FileNotFoundError:
        return Choices()
    except (OSError, ValueError, AttributeError) as error:
        return Choices(problem=f"{file} cannot be read ({error}): delete it and choose again.")


def change(base: Path, **values: str) -> Choices:
    """Keep ``values`` with what was chosen before and return all. Raises OSError when the file can't be written."""
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
