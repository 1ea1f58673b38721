"""A tiny teacher as a single-file checkpoint: the names that trainers and model sites use for Stable Diffusion 1.5."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel

Tensors = dict[str, torch.Tensor]

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip


# Of the UNet and of the ControlNet, which begins as a copy of its first half.
SHARED = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip


def write_single_file(folder: Path, file: Path) -> Path:
    """Write the networks of ``folder`` into ``file``, and beside it their sizes, ``outline/``, and ``tokenizer/``."""
    tensors = {f"model.diffusion_model.{n}": t for n, t in unet_names(folder / "unet").items()}
    tensors |= {f"first_stage_model.{n}": t for n, t in vae_names(folder / "vae").items()}
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    plain = {n.removeprefix("text_model."): t for n, t in text.items()}
    tensors |= {f"cond_stage_model.transformer.text_model.{n}": t for n, t in plain.items()}
    save_file({n: t.contiguous().clone() for n, t in tensors.items()}, file)
    write_outline(folder, file.parent / "outline")
    shutil.copytree(folder / "tokenizer", file.parent / "tokenizer")
    return file


def write_outline(folder: Path, outline: Path) -> None:
    from csd_addon.worker.teacher.loading import OUTLINE

    parts = {part: part for part in ("unet", "vae", "text_encoder", "scheduler")} | {"controlnet_depth": "controlnet"}
    for part, there in parts.items():
        (outline / there).mkdir(parents=True)
        for source in (folder / part).glob("*.json"):
            (outline / there / source.name).write_bytes(source.read_bytes())
    index = json.loads((OUTLINE / "model_index.json").read_text("utf-8"))
    (outline / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def unet_names(folder: Path) -> Tensors:
    unet = UNet2DConditionModel.from_pretrained(folder)
    layers, blocks = unet.config.layers_per_block, len(unet.config.block_out_channels)
    prefixes = {**SHARED, "conv_norm_out": "out.0", "conv_out": "out.2", **_down_blocks(layers, blocks)}
    for b in range(blocks):
        attends = hasattr(unet.up_blocks[b], "attentions")
        for layer in range(layers + 1):
            place = f"output_blocks.{b * (layers + 1) + layer}"
            prefixes[f"up_blocks.{b}.resnets.{layer}"] = f"{place}.0"
            prefixes[f"up_blocks.{b}.attentions.{layer}"] = f"{place}.1"
        last = f"output_blocks.{b * (layers + 1) + layers}"
        prefixes[f"up_blocks.{b}.upsamplers.0.conv"] = f"{last}.{2 if attends else 1}.conv"
    return {_renamed(name, prefixes, _RESNET): tensor for name, tensor in unet.state_dict().items()}


def _down_blocks(layers: int, blocks: int) -> dict[str, str]:
    prefixes = {}
    for b in range(blocks):
        for layer in range(layers):
            place = f"input_blocks.{1 + b * (layers + 1) + layer}"
            prefixes[f"down_blocks.{b}.resnets.{layer}"] = f"{place}.0"
            prefixes[f"down_blocks.{b}.attentions.{layer}"] = f"{place}.1"
        prefixes[f"down_blocks.{b}.downsamplers.0.conv"] = f"input_blocks.{(b + 1) * (layers + 1)}.0.op"
    return prefixes


def write_controlnet(folder: Path, file: Path, *, prefix: str = "control_model.") -> Path:
    """Write the ControlNet of ``folder`` into ``file`` as its publisher did; some copies lack the ``prefix``."""
    net = ControlNetModel.from_pretrained(folder)
    layers, blocks = net.config.layers_per_block, len(net.config.block_out_channels)
    hint, middle = "controlnet_cond_embedding", len(net.controlnet_cond_embedding.blocks)
    prefixes = {
        **SHARED, f"{hint}.conv_in": "input_hint_block.0", "controlnet_mid_block": "middle_block_out.0",
        **{f"{hint}.blocks.{i}": f"input_hint_block.{2 * (i + 1)}" for i in range(middle)},
        f"{hint}.conv_out": f"input_hint_block.{2 * (middle + 1)}",
        **{f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(len(net.controlnet_down_blocks))},
        **_down_blocks(layers, blocks),
    }  # fmt: skip
    named = {_renamed(name, prefixes, _RESNET): tensor for name, tensor in net.state_dict().items()}
    save_file({f"{prefix}{name}": tensor.contiguous().clone() for name, tensor in named.items()}, file)
    return file


def vae_names(folder: Path) -> Tensors:
    vae = AutoencoderKL.from_pretrained(folder)
    count = len(vae.config.block_out_channels)
    prefixes = {}
    for side, blocks in (("encoder", "down"), ("decoder", "up")):
        for b in range(count):
            own = b if side == "encoder" else count - 1 - b
            for layer in range(3):
                prefixes[f"{side}.{blocks}_blocks.{b}.resnets.{layer}"] = f"{side}.{blocks}.{own}.block.{layer}"
            sampler = f"{side}.{blocks}_blocks.{b}.{blocks}samplers.0.conv"
            prefixes[sampler] = f"{side}.{blocks}.{own}.{blocks}sample.conv"
        prefixes |= {f"{side}.mid_block.resnets.{i}": f"{side}.mid.block_{i + 1}" for i in range(2)}
        prefixes[f"{side}.mid_block.attentions.0"] = f"{side}.mid.attn_1"
        prefixes[f"{side}.conv_norm_out"] = f"{side}.norm_out"
    inner = {"conv_shortcut": "nin_shortcut", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
             "to_out.0": "proj_out"}  # fmt: skip
    named = {_renamed(name, prefixes, inner): tensor for name, tensor in vae.state_dict().items()}
    # The original attention is made of 1 x 1 convolutions.
    return {n: t[..., None, None] if "attn_1" in n and t.dim() == 2 else t for n, t in named.items()}


def _renamed(name: str, prefixes: dict[str, str], inner: dict[str, str]) -> str:
    for here, there in prefixes.items():
        if name.startswith(f"{here}."):
            rest = name[len(here) + 1 :]
            part, _, kind = rest.rpartition(".")
            return f"{there}.{inner.get(part, part)}.{kind}" if part else f"{there}.{kind}"
    return name
