"""A warm worker keeps the teacher of the last job: loading takes seconds, and most jobs follow one like them."""

from __future__ import annotations

import torch

from .device import choose_dtype
from .guidance.teacher import DiffusionTeacher

_kept: tuple[str, DiffusionTeacher] | None = None


def warm_teacher(folders: dict[str, str], device: torch.device, lora: str) -> DiffusionTeacher:
    """The teacher in ``folders`` with ``lora`` merged in: the kept one if it is the same, else a new one.

    Raises ``JobFailure`` as ``DiffusionTeacher`` does.
    """
    global _kept
    key = f"{sorted(folders.items())} {device} {lora}"
    if _kept is None or _kept[0] != key:
        # The old one goes first: two of them may not fit.
        _kept = None
        dtype = choose_dtype(device)
        _kept = (key, DiffusionTeacher(folders, device, dtype, use=("depth", "canny"), lora_words=lora))
    return _kept[1]
