"""The denoiser: a small text-conditioned UNet2DConditionModel on 16 x 16 x 16 latents, epsilon prediction.

Besides cross-attention it sees the pooled text beside the time step (addition_embed_type "text"). Losses are
weighted by min((SNR + 1) / SNR, 25), and the three latent channels with the most variance count three times.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel

from .latent import CHANNELS
from .text_encoder import WIDTH

CAPTION_DROPOUT = 0.12
REPORT_TIMES = (200, 400, 600, 800, 950)


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="epsilon", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip


def new_unet(seed: int) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=16, in_channels=CHANNELS, out_channels=CHANNELS, block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=WIDTH, attention_head_dim=(2, 4), norm_num_groups=16,
        addition_embed_type="text", addition_embed_type_num_heads=4,
    )  # fmt: skip


def loss_weights(alphas: torch.Tensor) -> torch.Tensor:
    """Weight [1000] of each time step from its cumulative alpha: (SNR + 1) / SNR = 1 / alpha, at most 25."""
    return (1 / alphas).clamp(max=25)


def weighted_error(predicted: torch.Tensor, noise: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean weighted squared error; predicted, noise [B, 16, 16, 16], weight [B]."""
    channel = torch.ones(CHANNELS, device=noise.device)
    channel[:3] = 3
    error = ((predicted - noise).square() * (channel / channel.mean())[:, None, None]).mean(dim=(1, 2, 3))
    return (error * weight).mean()


@dataclass
class DenoisingData:
    """latents [N, 16, 16, 16] float16; tokens [N, K, 32] int16, K captions an image; empty [32], no words."""

    latents: torch.Tensor
    tokens: torch.Tensor
    empty: torch.Tensor

    def to(self, device: str) -> DenoisingData:
        return DenoisingData(self.latents.to(device), self.tokens.to(device), self.empty.to(device))

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Indices [B], latents [B, ...] float32 and token ids [B, 32], some captions left out."""
        device = generator.device
        index = torch.randint(len(self.latents), (batch,), generator=generator, device=device)
        which = torch.randint(self.tokens.shape[1], (batch,), generator=generator, device=device)
        tokens = self.tokens[index, which].long()
        tokens[torch.rand(batch, generator=generator, device=device) < CAPTION_DROPOUT] = self.empty.long()
        return index, self.latents[index].float(), tokens


class UNetTask:
    """Denoising with captions; `held_out` is a small DenoisingData for the report."""

    def __init__(self, data: DenoisingData, held_out: DenoisingData, text_encoder: CLIPTextModel) -> None:
        self.data, self.held_out, self.text_encoder = data, held_out, text_encoder
        self.alphas = new_scheduler().alphas_cumprod
        self.weights = loss_weights(self.alphas)

    def to(self, device: str) -> None:
        self.data, self.held_out = self.data.to(device), self.held_out.to(device)
        self.text_encoder.to(device)
        self.alphas, self.weights = self.alphas.to(device), self.weights.to(device)

    def loss(self, model, batch: int, generator: torch.Generator) -> torch.Tensor:
        _, latents, tokens = self.data.draw(batch, generator)
        with torch.no_grad():
            text = self.text_encoder(tokens).last_hidden_state
        time, noise = random_noise(latents, generator)
        noisy = noised(latents, noise, self.alphas[time])
        return weighted_error(model(noisy, time, text).sample, noise, self.weights[time])

    @torch.no_grad()
    def report(self, model) -> str:
        """Held-out loss with the right, a wrong and the empty caption at five time steps."""
        data = self.held_out
        right = self.text_encoder(data.tokens[:, 0].long()).last_hidden_state
        texts = {"right": right, "wrong": right.roll(1, 0), "empty": None}
        texts["empty"] = self.text_encoder(data.empty.long()[None]).last_hidden_state.expand_as(right)
        lines = []
        for time in REPORT_TIMES:
            noise = fixed_noise(data.latents, time)
            noisy = noised(data.latents.float(), noise, self.alphas[time].expand(len(noise)))
            error = {k: (model(noisy, time, t).sample - noise).square().mean().item() for k, t in texts.items()}
            lines.append(f"t{time} " + " ".join(f"{k} {v:.5f}" for k, v in error.items()))
        return " | ".join(lines)


def random_noise(latents: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Time steps [B] int64, even over 0..999 as synthesis passes them all, and noise like `latents` [B, ...]; both on
    the generator's device.
    """
    device = generator.device
    time = torch.randint(1000, (len(latents),), generator=generator, device=device)
    return time, torch.randn(latents.shape, generator=generator, device=device)


def fixed_noise(latents: torch.Tensor, seed: int) -> torch.Tensor:
    """The same noise on every device."""
    return torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed)).to(latents.device)


def noised(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """sqrt(alpha) latents + sqrt(1 - alpha) noise, channels last; alpha [B] is the cumulative one."""
    alpha = alpha[:, None, None, None]
    return (alpha.sqrt() * latents + (1 - alpha).sqrt() * noise).contiguous(memory_format=torch.channels_last)
