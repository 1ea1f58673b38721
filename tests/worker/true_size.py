"""Stable Diffusion 1.5 with two ControlNets, true in size, random in weights: speed and memory are the real ones."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from csd_addon.runtime.paths import bundled_teachers
from csd_addon.worker.teacher.loading import OUTLINE, Networks


def true_networks(dtype: torch.dtype, device: str = "cpu", *, tiny: bool = False) -> Networks:
    """Made in ``dtype`` on ``device`` at once. tiny: the same shape of networks with a few channels."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return _made(tiny)
    finally:
        torch.set_default_dtype(before)


def _made(tiny: bool) -> Networks:
    few = {"block_out_channels": (32, 32, 32, 32), "attention_head_dim": 4} if tiny else {}
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(OUTLINE / "unet") | few)
    vae = AutoencoderKL.from_config(
        AutoencoderKL.load_config(OUTLINE / "vae") | ({"block_out_channels": (32, 32, 32, 32)} if tiny else {})
    )
    words = CLIPTextConfig.from_pretrained(OUTLINE / "text_encoder")
    if tiny:
        words.num_hidden_layers = 1
    text = CLIPTextModel(words)
    nets = {name: ControlNetModel.from_unet(unet) for name in ("depth", "canny")}
    for network in (unet, vae, text, *nets.values()):
        network.eval().requires_grad_(False)
    return Networks(
        unet, vae, text, CLIPTokenizer.from_pretrained(bundled_teachers() / "mini" / "tokenizer"),
        DDPMScheduler.from_pretrained(OUTLINE / "scheduler"), nets,
    )  # fmt: skip

