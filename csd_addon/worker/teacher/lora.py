"""LoRA files merged into a UNet: W += weight * alpha / rank * up @ down, then the file is forgotten.

Three ways of naming the pieces are understood, for linear layers and convolutions:

    kohya       lora_unet_down_blocks_0_attentions_0_..._to_q.lora_down.weight / .lora_up.weight / .alpha
    diffusers   unet.down_blocks.0.attentions.0....processor.to_q_lora.down.weight / .up.weight
    peft        unet.down_blocks.0.attentions.0....to_q.lora_A.weight / .lora_B.weight

Pieces for the text encoder are left out, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..serve.control import JobFailure

_DOWN = re.compile(r"[._](lora_down|lora\.down|lora_A(\.default)?|down)\.weight$")
_UP = re.compile(r"[._](lora_up|lora\.up|lora_B(\.default)?|up)\.weight$")
_TEXT = re.compile(r"^(base_model\.model\.)?(lora_te\d?_|text_encoder|text_model|te\d?_)")


@dataclass(frozen=True)
class Merged:
    """fitted: layers that were changed. foreign: layers of the file that the UNet lacks. text: pieces left out."""

    fitted: int
    foreign: int
    text: int

    def notes(self) -> list[str]:
        """What the artist should know of it."""
        if not self.foreign and not self.text:
            return []
        return [
            f"The LoRA changes {self.fitted} layers of the teacher; {self.foreign} that it does not have and "
            f"{self.text} pieces for the text encoder are left out."
        ]


def parse(words: str) -> tuple[Path, float]:
    """``FILE`` or ``FILE:WEIGHT`` to path and weight; the weight is 1 without one.

    Raises ``JobFailure`` (kind "input") if the file is not there or is no .safetensors file.
    """
    name, colon, number = words.rpartition(":")
    try:
        path, weight = (Path(name), float(number)) if colon else (Path(words), 1.0)
    except ValueError:  # the colon is part of the name, as in C:\lora.safetensors
        path, weight = Path(words), 1.0
    path = path.expanduser()
    if path.suffix != ".safetensors":
        raise JobFailure("input", f"The LoRA {path} is no .safetensors file; other formats can run code: convert it.")
    if not path.is_file():
        raise JobFailure("input", f"There is no LoRA file {path}.")
    return path, weight


@torch.no_grad()
def merge(unet: torch.nn.Module, path: Path, weight: float) -> Merged:
    """Add the LoRA in ``path`` to ``unet``. Raises ``JobFailure`` with a sentence if it does not fit."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise JobFailure("input", f"The LoRA {path} is damaged: {error}") from error
    if any(re.search(r"\.(hada_w|lokr_w|lora_mid)", key) for key in tensors):
        raise JobFailure("input", f"The LoRA {path} is of a kind that is not supported (LoHa, LoKr or CP).")
    changeable = (torch.nn.Linear, torch.nn.Conv2d)
    known = {_plain(name): layer for name, layer in unet.named_modules() if isinstance(layer, changeable)}
    fitted, foreign = 0, 0
    for name, (down, up, alpha) in _pieces(tensors).items():
        layer = known.get(_plain(name))
        if layer is None:
            foreign += 1
            continue
        _add(layer, _delta(down, up) * (weight * alpha), path)
        fitted += 1
    if not fitted:
        raise JobFailure("input", f"The LoRA {path} fits nothing in this teacher's UNet: it is of another model.")
    return Merged(fitted, foreign, sum(bool(_TEXT.match(key)) for key in tensors))


def _plain(name: str) -> str:
    """The name of a layer without what the three ways write differently."""
    for prefix in ("base_model.model.", "unet.", "lora_unet_"):
        name = name.removeprefix(prefix)
    name = re.sub(r"\.processor\.(to_(?:q|k|v|out))(?:_lora)?$", r".\1", name)
    return re.sub(r"to_out$", "to_out.0", name).replace(".", "_")


def _pieces(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    """Name of a UNet layer as the file has it -> down, up, and alpha / rank."""
    ups = {key[: m.start()]: up for key, up in tensors.items() if (m := _UP.search(key))}
    pieces = {}
    for key, down in tensors.items():
        match = _DOWN.search(key)
        if not match or _TEXT.match(key) or key[: match.start()] not in ups:
            continue
        name = key[: match.start()]
        alpha = tensors.get(f"{name}.alpha")
        pieces[name] = (down, ups[name], 1.0 if alpha is None else float(alpha) / down.shape[0])
    return pieces


def _delta(down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """up @ down in float32, for matrices and for kernels (out, r, 1, 1) x (r, in, k, k)."""
    down, up = down.float(), up.float()
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def _add(layer: torch.nn.Module, delta: torch.Tensor, path: Path) -> None:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    if delta.numel() != weight.numel() or delta.shape[0] != weight.shape[0]:
        raise JobFailure(
            "input", f"The LoRA {path} is for another model: a piece is {tuple(delta.shape)}, the layer "
            f"{tuple(weight.shape)}."
        )  # fmt: skip
    weight.copy_((weight.float() + delta.reshape(weight.shape).to(weight.device)).to(weight.dtype))
