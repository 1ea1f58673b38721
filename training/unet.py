"""The denoiser: a small text-conditioned UNet2DConditionModel on 16 x 16 x 24 latents, v prediction.

Besides cross-attention it sees the pooled text beside the time step (addition_embed_type "text"), and both scale and
shift its features. With v = sqrt(abar) eps - sqrt(1 - abar) x the plain squared error is that of eps weighted by
(SNR + 1) / SNR. Noise ends at abar = 2.4e-4: at SD's 4.7e-3 the mean colour of an image still shows through the
noise, so that pure noise, from which sampling starts, is read as gray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from .latent import CHANNELS
from .text_encoder import WIDTH

CAPTION_DROPOUT = 0.12
REPORT_TIMES = (200, 400, 600, 800, 950)


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.02, beta_schedule="scaled_linear",
        prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        timestep_spacing="trailing",  # So that sampling starts where nothing but noise is.
    )  # fmt: skip


def new_unet(seed: int) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=16, in_channels=CHANNELS, out_channels=CHANNELS, block_out_channels=(96, 192),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=WIDTH, attention_head_dim=(3, 6), norm_num_groups=16,
        addition_embed_type="text", addition_embed_type_num_heads=4, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip


def velocity(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """What the model predicts: sqrt(alpha) noise - sqrt(1 - alpha) latents; alpha [B] is the cumulative one."""
    alpha = alpha[:, None, None, None]
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


def error(predicted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (predicted.float() - wanted).square().mean()


@dataclass
class DenoisingData:
    """latents [N, 24, 16, 16] float16; tokens [N, K, 32] int16, K captions an image; empty [32], no words; deck [M]
    int64, the images that `draw` takes evenly from, some of them several times.
    """

    latents: torch.Tensor
    tokens: torch.Tensor
    empty: torch.Tensor
    deck: torch.Tensor

    def to(self, device: str) -> DenoisingData:
        return DenoisingData(*(tensor.to(device) for tensor in (self.latents, self.tokens, self.empty, self.deck)))

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Indices [B], latents [B, ...] float32 and token ids [B, 32], some captions left out."""
        device = generator.device
        index = self.deck[torch.randint(len(self.deck), (batch,), generator=generator, device=device)]
        which = torch.randint(self.tokens.shape[1], (batch,), generator=generator, device=device)
        tokens = self.tokens[index, which].long()
        tokens[torch.rand(batch, generator=generator, device=device) < CAPTION_DROPOUT] = self.empty.long()
        return index, self.latents[index].float(), tokens


class UNetTask:
    """Denoising with captions; `held_out` is a small DenoisingData for the report, `sheet` writes one of samples."""

    def __init__(
        self, data: DenoisingData, held_out: DenoisingData, text_encoder: CLIPTextModel,
        sheet: Callable[[UNet2DConditionModel, Path], None],
    ) -> None:  # fmt: skip
        self.data, self.held_out, self.text_encoder, self.draw = data, held_out, text_encoder, sheet
        self.alphas = new_scheduler().alphas_cumprod

    def to(self, device: str) -> None:
        self.data, self.held_out = self.data.to(device), self.held_out.to(device)
        self.text_encoder.to(device)
        self.alphas = self.alphas.to(device)

    def loss(self, model, batch: int, generator: torch.Generator) -> torch.Tensor:
        _, latents, tokens = self.data.draw(batch, generator)
        with torch.no_grad():
            text = self.text_encoder(tokens).last_hidden_state
        time, noise = random_noise(latents, generator)
        alpha = self.alphas[time]
        return error(model(noised(latents, noise, alpha), time, text).sample, velocity(latents, noise, alpha))

    @torch.no_grad()
    def report(self, model) -> str:
        """Held-out loss with the right, a wrong and the empty caption at five time steps."""
        data = self.held_out
        right = self.text_encoder(data.tokens[:, 0].long()).last_hidden_state
        texts = {"right": right, "wrong": right.roll(1, 0), "empty": None}
        texts["empty"] = self.text_encoder(data.empty.long()[None]).last_hidden_state.expand_as(right)
        lines = []
        for time in REPORT_TIMES:
            noisy, wanted = fixed_problem(data.latents, time, self.alphas)
            errors = {k: error(model(noisy, time, t).sample, wanted).item() for k, t in texts.items()}
            lines.append(f"t{time} " + " ".join(f"{k} {v:.5f}" for k, v in errors.items()))
        return " | ".join(lines)


def random_noise(latents: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Time steps [B] int64, even over 0..999 as synthesis passes them all, and noise like `latents` [B, ...]; both on
    the generator's device.
    """
    device = generator.device
    time = torch.randint(1000, (len(latents),), generator=generator, device=device)
    return time, torch.randn(latents.shape, generator=generator, device=device)


def fixed_problem(
    latents: torch.Tensor, time: int, alphas: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`latents` at one time step with noise that is the same on every device, and what should be predicted."""
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(time)).to(latents.device)
    alpha = alphas[time].expand(len(noise))
    return noised(latents.float(), noise, alpha), velocity(latents.float(), noise, alpha)


def noised(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """sqrt(alpha) latents + sqrt(1 - alpha) noise, channels last; alpha [B] is the cumulative one."""
    alpha = alpha[:, None, None, None]
    return (alpha.sqrt() * latents + (1 - alpha).sqrt() * noise).contiguous(memory_format=torch.channels_last)
