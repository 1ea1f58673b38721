"""The hash-pinned requirement lists in ``locks/``: reading them and choosing one.

A list is named ``KIND-PLATFORM[-ACCELERATOR]-PYTHON.txt``, for example ``worker-linux-x64-cpu-py311.txt``.
A pin with a local version (``torch==2.13.0+cpu``) exists in no registry: such a list is usable only where
pip's find-links folders hold that wheel, and is then preferred, because somebody put it there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .interpreter import Interpreter

LOCKS = Path(__file__).resolve().parent / "locks"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """An interpreter with the list that fits it; ``accelerator`` is "" where the kind knows none."""

    interpreter: Interpreter
    lock: Path
    accelerator: str


def pins(lock: Path) -> dict[str, str]:
    """Return name → version of every package in ``lock``."""
    return dict(PIN.findall(lock.read_text("utf-8")))


def digest(locks: Sequence[Path]) -> str:
    """Return the sha256 over the contents of ``locks``, in their order, independent of line endings."""
    content = "\0".join(lock.read_text("utf-8") for lock in locks)
    return hashlib.sha256(content.encode()).hexdigest()


def choose(
    kind: str, interpreters: Sequence[Interpreter], *, wheel_folders: Sequence[Path], locks: Path = LOCKS
) -> Choice | None:
    """Return the first interpreter for which ``locks`` holds a usable list, or None.

    Lists served from the machine's own wheel folders go before all others, whichever interpreter they fit.
    """
    found = [
        choice
        for interpreter in interpreters
        for choice in _for_interpreter(kind, interpreter, locks)
        if all(_is_served(wheel, wheel_folders) for wheel in local_wheels(choice))
    ]
    return min(found, key=lambda choice: not local_wheels(choice), default=None)


def _for_interpreter(kind: str, interpreter: Interpreter, locks: Path) -> list[Choice]:
    name = re.compile(rf"{kind}-{re.escape(interpreter.platform)}(?:-([a-z]+))?-{interpreter.tag}")
    matches = ((lock, name.fullmatch(lock.stem)) for lock in sorted(locks.glob("*.txt")))
    return [Choice(interpreter, lock, match[1] or "") for lock, match in matches if match]


def local_wheels(choice: Choice) -> list[str]:
    """Return the file name patterns of the wheels that no registry has."""
    tag = choice.interpreter.wheel_tag
    found = pins(choice.lock).items()
    return [f"{name.replace('-', '_')}-{version}-{tag}-*.whl" for name, version in found if "+" in version]


def _is_served(wheel: str, folders: Sequence[Path]) -> bool:
    return any(next(folder.glob(wheel), None) for folder in folders)
