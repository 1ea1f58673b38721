"""The latent space: an AutoencoderTiny whose encoder is an exactly linear 4 x 4 patch projection.

A 64 px image becomes 16 x 16 patches of 48 numbers, projected on their 24 main axes; each coefficient is
divided by the square root of its standard deviation (half whitening), and all of them together have unit
variance. With no blocks the diffusers encoder is four convolutions without activation: copy, two strided
ones that unshuffle pixels, and the projection. latents = encode(image in [-1, 1]).latents * scaling_factor.

The way back is `Inverse`, as synthesis goes it. The diffusers decoder is learned too, for programs that know no other
way; it repeats each number to make an image larger, so that what is alike in neighbouring patches blurs.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderTiny

CHANNELS, PATCH = 24, 4
SCALING = 4.0
_INNER = 3 * PATCH * PATCH


def patches(images: torch.Tensor) -> torch.Tensor:
    """[N, 3, 64, 64] to [N, 48, 16, 16]: pixel (4i + y, 4j + x) of channel c in row ((y*4 + x)*3 + c)."""
    n, _, height, width = images.shape
    x = images.reshape(n, 3, height // PATCH, PATCH, width // PATCH, PATCH)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(n, _INNER, height // PATCH, width // PATCH)


def projection(images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix [24, 48] and offset [24] taking patches of images in [0, 1] to unit-variance latents; from uint8
    images.
    """
    x = patches(torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255)
    x = x.permute(0, 2, 3, 1).reshape(-1, _INNER)
    mean = x.mean(0)
    variance, axes = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    variance, axes = variance.flip(0)[:CHANNELS], axes.flip(1)[:, :CHANNELS]
    axes = axes * torch.sign(axes.sum(0))
    deviation = variance.sqrt()
    matrix = (axes / deviation.sqrt()).T / deviation.mean().sqrt()
    kept = variance.sum() / (x - mean).var(0).sum()
    print(f"latent: {CHANNELS} of {_INNER} axes keep {kept:.4f} of the variance")
    return matrix.float(), -(matrix @ mean).float()


def new_autoencoder(matrix: torch.Tensor, offset: torch.Tensor) -> AutoencoderTiny:
    """The diffusers model with its encoder set to `matrix` and `offset`, its decoder fresh."""
    model = AutoencoderTiny(
        encoder_block_out_channels=(_INNER,) * 3, num_encoder_blocks=(0, 0, 0),
        decoder_block_out_channels=(64, 64, 64), num_decoder_blocks=(2, 2, 1),
        latent_channels=CHANNELS, scaling_factor=SCALING,
    )  # fmt: skip
    copy, first, second, last = model.encoder.layers
    with torch.no_grad():
        for layer in (copy, first, second, last):
            layer.weight.zero_()
        copy.bias.zero_()
        for c in range(3):
            copy.weight[c, c, 1, 1] = 1
        # A stride-2 window with padding 1 holds the pixel pair (2i, 2i + 1) in its taps 1 and 2.
        for y in range(2):
            for x in range(2):
                for c in range(3):
                    first.weight[(y * 2 + x) * 3 + c, c, y + 1, x + 1] = 1
                for inner in range(12):
                    second.weight[(y * 2 + x) * 12 + inner, inner, y + 1, x + 1] = 1
        # Unshuffled twice: row (Y*2 + X)*12 + (y*2 + x)*3 + c is pixel (2Y + y, 2X + x).
        for Y, X, y, x, c in np.ndindex(2, 2, 2, 2, 3):
            row = ((2 * Y + y) * PATCH + 2 * X + x) * 3 + c
            last.weight[:, (Y * 2 + X) * 12 + (y * 2 + x) * 3 + c, 1, 1] = matrix[:, row] / SCALING
        last.bias.copy_(offset / SCALING)
    return model


@torch.no_grad()
def encode_all(model: AutoencoderTiny, images: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """Latents [N, 24, 16, 16] float16 on the CPU of uint8 images [N, 64, 64, 3], computed on `device`."""
    parts = []
    model.to(device)
    for i in range(0, len(images), 256):
        x = torch.from_numpy(images[i : i + 256]).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        parts.append((model.encode(x).latents * model.config.scaling_factor).half().cpu().contiguous())
    return torch.cat(parts)


class Inverse:
    """Images of latents: of all images that an encoder made of patches would take to them, the one nearest to gray."""

    def __init__(self, model: AutoencoderTiny) -> None:
        single = torch.eye(_INNER).reshape(_INNER, PATCH, PATCH, 3).permute(0, 3, 1, 2)
        with torch.no_grad():
            shifted = model.encode(torch.cat([torch.zeros_like(single[:1]), single])).latents.flatten(1)
        shifted = shifted * model.config.scaling_factor
        self.offset = shifted[0]
        self.matrix = torch.linalg.pinv((shifted[1:] - shifted[0]).double()).float()

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """[N, C, h, w] to [N, 3, 4h, 4w] in [-1, 1], but for what the latents ask beyond it."""
        n, _, height, width = latents.shape
        x = (latents.permute(0, 2, 3, 1) - self.offset) @ self.matrix
        x = x.reshape(n, height, width, PATCH, PATCH, 3).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(n, 3, height * PATCH, width * PATCH)


def train_decoder(model: AutoencoderTiny, images: np.ndarray, *, steps: int, seed: int) -> None:
    """Fit the decoder with squared error, in place; the encoder stays as it is."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model.encoder.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        x = torch.from_numpy(images[np.sort(rng.choice(len(images), 16))]).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            latent = model.encode(x).latents
        loss = (model.decode(latent).sample - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"decoder {step}: PSNR {-10 * torch.log10(loss.detach() / 4):.2f} dB", flush=True)
