"""The state of a run on disk: one safetensors file, written aside and renamed, no pickle.

It carries a checksum, and the checkpoint before it is kept, so that a file that was damaged since costs little.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..method.loop import Loop
from ..serve.control import JobFailure

_FILE = "state.safetensors"
_FORMER = "former.safetensors"


def has_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint."""
    return any((folder / name).is_file() for name in (_FILE, _FORMER))


def remove_checkpoint(folder: Path) -> None:
    """Forget the checkpoints in ``folder``."""
    for name in (_FILE, _FORMER):
        (folder / name).unlink(missing_ok=True)


def save_checkpoint(folder: Path, loop: Loop) -> None:
    """Write the state of ``loop`` into ``folder``. Raises ``OSError``."""
    tensors = {name: value.contiguous() for name, value in loop.state().items()}
    aside = folder / (_FILE + ".part")
    try:
        save_file(tensors, aside, metadata={"iteration": str(loop.iteration), "checksum": _checksum(tensors)})
        if (folder / _FILE).is_file():
            os.replace(folder / _FILE, folder / _FORMER)
        os.replace(aside, folder / _FILE)
    except SafetensorError as error:
        raise OSError(f"the checkpoint {folder / _FILE} can't be written ({error})") from error
    finally:
        aside.unlink(missing_ok=True)


def load_checkpoint(folder: Path, loop: Loop) -> None:
    """Let ``loop`` continue from what ``save_checkpoint`` wrote, or the checkpoint before it if that is damaged.

    Raises ``JobFailure`` (kind "input") if no good one is there, or it belongs to a run of another shape.
    """
    tensors, iteration = _read(folder)
    if any(name.startswith("field.") for name in tensors):
        sentence = f"The checkpoint in {folder} was written by an earlier version, which can't be resumed; start anew."
        raise JobFailure("input", sentence)
    try:
        loop.load_state(tensors, iteration)
    except (KeyError, RuntimeError, ValueError) as error:
        sentence = f"The checkpoint in {folder} is damaged or of another job; start the run anew."
        raise JobFailure("input", sentence) from error


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], int]:
    """Tensors and iteration of the newest checkpoint that is whole."""
    reasons = []
    for name in (_FILE, _FORMER):
        path = folder / name
        try:
            with safe_open(path, framework="pt") as stream:
                tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (no mapping)
                facts = stream.metadata()
            if facts["checksum"] != _checksum(tensors):
                raise ValueError("its checksum is wrong")
            return tensors, int(facts["iteration"])
        except (OSError, SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reasons.append(str(error))
    raise JobFailure(
        "input", f"The checkpoint {folder / _FILE} is damaged ({reasons[0]}); start the run anew."
    )


def _checksum(tensors: dict[str, torch.Tensor]) -> str:
    """CRC-32 over names and bytes, in the order of the names."""
    value = 0
    for name in sorted(tensors):
        value = zlib.crc32(tensors[name].cpu().contiguous().view(-1).view(torch.uint8).numpy(), value)
        value = zlib.crc32(name.encode(), value)
    return str(value)
