"""The networks of a teacher from this disk: a folder in diffusers layout, or a single-file checkpoint.

A single file is what trainers and model sites share of Stable Diffusion 1.5 and its fine-tunes: UNet, autoencoder and
text encoder under their original names; ControlNets come as such files too. Their sizes are in ``sd15/`` beside this
file; the tokenizer is a folder. Nothing is ever downloaded, and no pickle is ever opened.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..serve.control import JobFailure

OUTLINE = Path(__file__).parent / "sd15"
# What diffusers raises for a file whose tensors are not those of the model.
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError)


@dataclass(frozen=True)
class Networks:
    """The loaded parts, frozen, in the teacher's arithmetic. vae: None for a model of pixels."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    controlnets: Mapping[str, Any]


def load_networks(folders: Mapping[str, str], dtype: torch.dtype, use: Sequence[str]) -> Networks:
    """folders: "root", a folder or a .safetensors file, and optionally "vae", "controlnet_depth", "controlnet_canny"
    where these are not below the root (a ControlNet: a folder or a file). For a file: "tokenizer", and "outline" where
    it has another size than Stable Diffusion 1.5.

    use: the ControlNets that are wanted; those that are not there are left out. Raises ``JobFailure`` (kind
    "teacher") naming the file that is missing or damaged.
    """
    root = Path(folders["root"])
    outline = Path(folders.get("outline", OUTLINE))
    places = {name: Path(folders.get(f"controlnet_{name}") or root / f"controlnet_{name}") for name in use}
    controlnets = {name: _controlnet(place, outline, dtype) for name, place in places.items() if place.exists()}
    if root.is_file():
        networks = _from_file(root, Path(folders["tokenizer"]), outline, dtype)
    else:
        networks = _from_folder(root, Path(folders.get("vae") or root / "vae"), dtype)
    networks = replace(networks, controlnets=controlnets)
    _require_fit(networks, root, places)
    return networks


def _require_fit(networks: Networks, root: Path, places: Mapping[str, Path]) -> None:
    """Raise ``JobFailure`` if the parts are of different models: a network would end in a mere mismatch of shapes."""
    unet, text = networks.unet.config, networks.text_encoder.config.hidden_size
    if unet.addition_embed_type == "text_time":
        raise JobFailure("teacher", f"The teacher in {root} is a Stable Diffusion XL model, which is not supported.")
    channels = networks.vae.config.latent_channels if networks.vae is not None else 3
    if unet.in_channels != channels:
        raise JobFailure(
            "teacher", f"The teacher's part {root / 'unet'} takes {unet.in_channels} channels, its autoencoder gives "
            f"{channels}: it is an inpainting model, or its parts come from different models.",
        )  # fmt: skip
    if unet.cross_attention_dim != text:
        raise JobFailure(
            "teacher", f"The teacher's part {root / 'unet'} takes {unet.cross_attention_dim} numbers for a word, its "
            f"text encoder gives {text}: the two come from different models.",
        )  # fmt: skip
    for name, net in networks.controlnets.items():
        if net.config.cross_attention_dim != text:
            raise JobFailure(
                "teacher", f"The ControlNet {places[name]} takes {net.config.cross_attention_dim} numbers for a word, "
                f"the teacher gives {text}: it is for another model (768 is Stable Diffusion 1.5, 1024 is 2.1).",
            )  # fmt: skip


def _from_folder(root: Path, vae: Path, dtype: torch.dtype) -> Networks:
    # Imported here: diffusers and transformers take seconds, and score and its tests need neither.
    from diffusers import DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    return Networks(
        scheduler=_part(DDPMScheduler, root / "scheduler"),
        tokenizer=_part(CLIPTokenizer, root / "tokenizer"),
        text_encoder=_network(CLIPTextModel, root / "text_encoder", dtype),
        unet=_network(UNet2DConditionModel, root / "unet", dtype),
        vae=_vae(vae, dtype),
        controlnets={},
    )


def _controlnet(place: Path, outline: Path, dtype: torch.dtype) -> Any:
    from diffusers import ControlNetModel

    if place.is_dir():
        return _network(ControlNetModel, place, dtype)
    try:
        return _frozen(
            ControlNetModel.from_single_file(
                str(place), config=str(outline), subfolder="controlnet", local_files_only=True, torch_dtype=dtype
            )
        )
    except UNREADABLE as error:
        sentence = f"{place} can't be read as a ControlNet of Stable Diffusion 1.5: {error}"
        raise JobFailure("teacher", sentence) from error


def _vae(folder: Path, dtype: torch.dtype) -> Any:
    """The autoencoder of the class that its own config names, or None for a model of pixels."""
    import diffusers

    if not folder.is_dir():
        return None
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobFailure("teacher", f"The autoencoder's {folder / 'config.json'} is missing or damaged.") from error
    if name not in ("AutoencoderKL", "AutoencoderTiny"):
        raise JobFailure("teacher", f"The autoencoder in {folder} is a '{name}', which is not supported.")
    return _network(getattr(diffusers, name), folder, dtype)


def _part(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise JobFailure("teacher", f"The teacher's part {folder} can't be loaded: {error}") from error


def _network(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        network = _part(kind, folder, torch_dtype=dtype, variant=_variant(folder), use_safetensors=True)
    return _frozen(network)


def _frozen(network: Any) -> Any:
    return network.eval().requires_grad_(False)


def _variant(folder: Path) -> str | None:
    """"fp16" where only the half-precision files of a repository were fetched."""
    plain = (*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json"))
    return "fp16" if plain and all(".fp16" in path.name for path in plain) else None


def _from_file(file: Path, words: Path, outline: Path, dtype: torch.dtype) -> Networks:
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTokenizer

    tokenizer = _part(CLIPTokenizer, words)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            pipeline = StableDiffusionPipeline.from_single_file(
                str(file), config=str(outline), local_files_only=True, torch_dtype=dtype, safety_checker=None,
                feature_extractor=None, tokenizer=tokenizer,
            )  # fmt: skip
    except UNREADABLE as error:
        raise JobFailure(
            "teacher", f"The checkpoint {file} can't be read as Stable Diffusion 1.5: {error}"
        ) from error
    networks = [_frozen(part) for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)]
    return Networks(*networks, pipeline.tokenizer, pipeline.scheduler, {})
