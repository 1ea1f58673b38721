"""Whether a file can be a teacher or a ControlNet. Only its header is read, before a worker is started.

A safetensors file begins with the names and shapes of its tensors, which tell one model family from another.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import TeacherMissing

# Suffixes of files that hold Python pickles. Opening one can run any code.
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
# The largest header that is read, in bytes.
HEADER_LIMIT = 100 * 2**20

_UNET, _CONTROL = "model.diffusion_model.", "control_model."
_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
_CROSS = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
_NEEDED = {
    "the UNet": _FIRST,
    "the autoencoder": "first_stage_model.encoder.conv_in.weight",
    "the text encoder": "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
}
_FAMILIES = {1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}


def require_checkpoint(file: Path) -> None:
    """Raise TeacherMissing with a sentence unless ``file`` can be a checkpoint of Stable Diffusion 1.5."""
    if file.suffix in PICKLES:
        raise TeacherMissing(
            f"{file} is a {file.suffix} file, which can run code when it is opened: convert it to .safetensors."
        )
    if file.suffix != ".safetensors":
        raise TeacherMissing(f"{file} is no teacher: give a folder in diffusers layout or a .safetensors file.")
    shapes = read_shapes(file)
    width = (shapes.get(_CROSS) or [0, 0])[-1]
    if "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight" in shapes:
        width = 2048
    if family := _FAMILIES.get(width):
        raise TeacherMissing(
            f"{file} is a {family} model: single files can only be Stable Diffusion 1.5; give it as a folder in "
            "diffusers layout."
            if width == 1024
            else f"{file} is a {family} model, which is not supported."
        )
    lacking = [part for part, key in _NEEDED.items() if key not in shapes]
    if lacking:
        raise TeacherMissing(f"{file} is no whole checkpoint of Stable Diffusion 1.5: it lacks {', '.join(lacking)}.")
    channels = shapes[_FIRST][1:2]
    if channels not in ([4], [3]):
        count = channels[0] if channels else "no"
        raise TeacherMissing(f"{file} is an inpainting model ({count} input channels), which does not fit.")


def controlnet_problem(file: Path) -> str:
    """Return why ``file`` can't be a ControlNet of Stable Diffusion 1.5, in one sentence; "" when it can.

    Raises TeacherMissing if it can't be read or is damaged.
    """
    shapes = {name.removeprefix(_CONTROL): shape for name, shape in read_shapes(file).items()}
    if not {"input_hint_block.0.weight", "zero_convs.0.0.weight"} <= set(shapes):
        return f"{file} is no ControlNet under its original names: take it away, or give a diffusers folder."
    width = (shapes.get(_CROSS.removeprefix(_UNET)) or [0, 0])[-1]
    if family := _FAMILIES.get(width):
        return f"{file} is a ControlNet of {family}, which does not fit Stable Diffusion 1.5: take it away."
    return ""


def refuse_pickles(root: Path, missing: list[str]) -> None:
    """Raise TeacherMissing naming a pickle where the weights that are ``missing`` should be."""
    for name in missing:
        found = [p for p in sorted((root / name).parent.glob("*")) if p.suffix in PICKLES]
        if name.endswith(".safetensors") and found:
            raise TeacherMissing(
                f"{found[0]} can run code when it is opened, so it is not used: convert it to {Path(name).name} (the "
                "publisher often offers that file as well)."
            )


def read_shapes(file: Path) -> dict[str, list[int]]:
    """Return name → shape of every tensor in a safetensors file. Raises TeacherMissing if it can't be read."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(HEADER_LIMIT, file.stat().st_size - 8):
                raise ValueError("it has no safetensors header")
            header = json.loads(stream.read(length))
        return {name: _shape(name, entry) for name, entry in header.items() if name != "__metadata__"}
    except OSError as error:
        raise TeacherMissing(f"{file} can't be read ({error.strerror}): choose a file that you may read.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TeacherMissing(f"{file} is damaged or no .safetensors file ({error}): fetch it again.") from error


def _shape(name: str, entry: dict[str, Any]) -> list[int]:
    shape = entry["shape"]
    if not isinstance(shape, list) or not all(type(length) is int for length in shape):
        raise ValueError(f"the shape of {name} is no list of whole numbers")
    return shape
