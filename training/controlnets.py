"""Depth and canny ControlNets on the frozen UNet, from the condition images that synthesis itself makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

from .unet import (
    REPORT_TIMES,
    DenoisingData,
    error,
    fixed_problem,
    new_scheduler,
    noised,
    random_noise,
    velocity,
)

KINDS = ("depth", "canny")


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """Starts as a copy of the UNet's lower half; its zero convolutions make it a no-op at first."""
    torch.manual_seed(0)
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32, 64))


@dataclass
class ConditionData:
    """images [G, 64, 64] uint8 condition images; owner [N] the one that belongs to each latent."""

    images: torch.Tensor
    owner: torch.Tensor

    def to(self, device: str) -> ConditionData:
        return ConditionData(self.images.to(device), self.owner.to(device))

    def of(self, index: torch.Tensor) -> torch.Tensor:
        """[B, 3, 64, 64] float32 in [0, 1] for latents `index` [B]."""
        return (self.images[self.owner[index]].float() / 255)[:, None].expand(-1, 3, -1, -1).contiguous()


def predict(unet, controlnet, noisy, time, text, condition):
    """The UNet's prediction of v [B, 24, 16, 16] under one ControlNet."""
    down, middle = controlnet(noisy, time, text, condition, return_dict=False)
    return unet(noisy, time, text, down_block_additional_residuals=down, mid_block_additional_residual=middle).sample


class ControlNetTask:
    """Denoising with captions and conditions; the UNet stays frozen. `sheet` writes one of samples."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        data: DenoisingData,
        conditions: ConditionData,
        held_out: DenoisingData,
        held_out_conditions: ConditionData,
        sheet: Callable[[ControlNetModel, Path], None],
    ) -> None:
        self.unet, self.text_encoder = unet.eval().requires_grad_(False), text_encoder
        self.data, self.conditions = data, conditions
        self.held_out, self.held_out_conditions, self.draw = held_out, held_out_conditions, sheet
        self.alphas = new_scheduler().alphas_cumprod

    def to(self, device: str) -> None:
        self.data, self.conditions = self.data.to(device), self.conditions.to(device)
        self.held_out, self.held_out_conditions = self.held_out.to(device), self.held_out_conditions.to(device)
        self.unet.to(device)
        self.text_encoder.to(device)
        self.alphas = self.alphas.to(device)
        if device == "cpu":
            self.unet.set_attn_processor(AttnProcessor())  # hogwild says why

    def loss(self, model, batch: int, generator: torch.Generator) -> torch.Tensor:
        index, latents, tokens = self.data.draw(batch, generator)
        with torch.no_grad():
            text = self.text_encoder(tokens).last_hidden_state
        time, noise = random_noise(latents, generator)
        alpha = self.alphas[time]
        predicted = predict(
            self.unet, model, noised(latents, noise, alpha), time, text, self.conditions.of(index)
        )
        return error(predicted, velocity(latents, noise, alpha))

    @torch.no_grad()
    def report(self, model) -> str:
        """Held-out loss with the right condition image, without one, and with another image's, at five time
        steps.
        """
        data = self.held_out
        text = self.text_encoder(data.tokens[:, 0].long()).last_hidden_state
        right = self.held_out_conditions.of(torch.arange(len(data.latents), device=data.latents.device))
        lines = []
        for time in REPORT_TIMES:
            noisy, wanted = fixed_problem(data.latents, time, self.alphas)
            predictions = {
                "right": predict(self.unet, model, noisy, time, text, right),
                "without": self.unet(noisy, time, text).sample,
                "wrong": predict(self.unet, model, noisy, time, text, right.roll(1, 0)),
            }
            errors = {name: error(p, wanted).item() for name, p in predictions.items()}
            lines.append(f"t{time} " + " ".join(f"{name} {value:.5f}" for name, value in errors.items()))
        return " | ".join(lines)
