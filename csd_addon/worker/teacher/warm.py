"""A warm worker keeps the teacher of the last job: loading takes seconds, and most jobs follow one like them."""

from __future__ import annotations

from pathlib import Path

import torch

from . import lora as lora_files
from .device import choose_dtype
from .diffusion import DiffusionTeacher
from .interface import Teacher

_kept: tuple[str, Teacher] | None = None


def warm_teacher(folders: dict[str, str], device: torch.device, lora: str) -> Teacher:
    """The teacher in ``folders`` with ``lora`` merged in: the kept one if it is the same, else a new one.

    A single file or a LoRA that was written again under its old name is another one.
    Raises ``JobFailure`` as ``DiffusionTeacher`` does.
    """
    global _kept
    files = [path for path in map(Path, folders.values()) if path.is_file()]
    if lora:
        files.append(lora_files.parse(lora)[0])
    key = f"{sorted(folders.items())} {device} {lora} {sorted(map(_stamp, files))}"
    if _kept is None or _kept[0] != key:
        # The old one goes first: two of them may not fit.
        _kept = None
        dtype = choose_dtype(device)
        _kept = (key, DiffusionTeacher(folders, device, dtype, use=("depth", "canny"), lora_words=lora))
    return _kept[1]


def _stamp(file: Path) -> tuple[str, int, int]:
    """What changes when ``file`` is written again."""
    status = file.stat()
    return str(file), status.st_mtime_ns, status.st_size
