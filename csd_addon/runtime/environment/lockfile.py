"""The hash-pinned requirement lists in ``locks/``: reading them and choosing one.

A list is named ``KIND-PLATFORM[-ACCELERATOR]-PYTHON.txt``, for example ``worker-linux-x64-cpu-py311.txt``.
A pin with a local version (``torch==2.13.0+cpu``) exists in no registry. Such a list can be used only where pip's
find-links folders hold that wheel. It is then preferred, because somebody put the wheel there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .interpreter import Interpreter

LOCKS = Path(__file__).resolve().parent / "locks"
AUTO = "auto"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True)
class Choice:
    """An interpreter with a list that fits it."""

    interpreter: Interpreter
    # The list's file.
    lock: Path
    # "cpu", "cuda" or "mps"; "" where the name of the list holds none.
    accelerator: str


def pins(lock: Path) -> dict[str, str]:
    """Return name → version of every package in ``lock``."""
    return dict(PIN.findall(lock.read_text("utf-8")))


def digest(locks: Sequence[Path]) -> str:
    """Return the sha256 over the contents of ``locks``, in their order, independent of line endings."""
    content = "\0".join(lock.read_text("utf-8") for lock in locks)
    return hashlib.sha256(content.encode()).hexdigest()


def choose(
    kind: str,
    interpreters: Sequence[Interpreter],
    *,
    wheel_folders: Sequence[Path],
    locks: Path = LOCKS,
    accelerator: str = AUTO,
    nvidia: bool = False,
    only: str | None = None,
) -> Choice | None:
    """Return the best of `usable_lists`, or None.

    ``accelerator``: consider only the lists for it, unless it is "auto". ``only``: consider only the list of this name.
    The lists for CUDA go first where ``nvidia`` says that there is such a card. Then come the lists whose wheels lie
    in the machine's own ``wheel_folders``. Then the order of ``interpreters`` decides.
    """
    found = usable_lists(kind, interpreters, wheel_folders=wheel_folders, locks=locks)
    wanted = [
        choice
        for choice in found
        if accelerator in (AUTO, choice.accelerator) and only in (None, choice.lock.stem)
    ]

    def rank(choice: Choice) -> tuple[bool, bool]:
        return nvidia and choice.accelerator != "cuda", not local_wheels(choice)

    return min(wanted, key=rank, default=None)


def usable_lists(
    kind: str, interpreters: Sequence[Interpreter], *, wheel_folders: Sequence[Path], locks: Path = LOCKS
) -> list[Choice]:
    """Return every pair of an interpreter and a list that fits it and can be installed from here."""
    return [
        choice
        for interpreter in interpreters
        for choice in _for_interpreter(kind, interpreter, locks)
        if all(_is_served(wheel, wheel_folders) for wheel in local_wheels(choice))
    ]


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
