"""The state of a run on disk: one safetensors file, written aside and renamed, no pickle."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from .control import JobFailure

_FILE = "state.safetensors"


def has_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint."""
    return (folder / _FILE).is_file()


def save_checkpoint(
    folder: Path, field: torch.nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, iteration: int
) -> None:
    """Write field, Adam's moments, the generator's state and the iteration into ``folder``."""
    tensors = {f"field.{name}": value for name, value in field.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"adam.{index}.{name}": torch.as_tensor(value) for name, value in state.items()})
    tensors["generator"] = generator.get_state()
    aside = folder / (_FILE + ".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, aside, metadata={"iteration": str(iteration)})
    os.replace(aside, folder / _FILE)


def load_checkpoint(
    folder: Path, field: torch.nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> int:
    """Restore what ``save_checkpoint`` wrote; returns the iteration.

    Raises ``JobFailure`` (kind "input") if the file is damaged or belongs to a run of another shape.
    """
    path = folder / _FILE
    try:
        with safe_open(path, framework="pt") as stream:
            tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118 (no mapping)
            iteration = int(stream.metadata()["iteration"])
        field.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("field.")})
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise JobFailure("input", f"The checkpoint {path} is damaged or of another job: {error}") from error
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    generator.set_state(tensors["generator"])
    return iteration
