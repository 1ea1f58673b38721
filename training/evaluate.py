"""Look at the teacher: samples by DDIM, alone and under a ControlNet; how often the named colour leads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from csd_addon.worker.teacher.device import has_bfloat16

from .controlnets import predict
from .latent import Inverse, encode_all
from .text_encoder import tokenize
from .vocabulary import COLOR_NAMES, HELD_OUT, leading_color

PROMPTS = (
    "red brick", "brown brick wall", "wooden planks", "mossy stone", "gray rock", "cobblestone",
    "white marble", "rusty metal", "blue and yellow checkered", "red and white striped",
    "red with white polka dots", "green tiles", "red scales", "gold", "grass", "brown leather", "plain blue",
    "plain orange", "pink wood", "purple brick", "green and white horizontal stripes",
    "black and white checkered", "blue brick", "green marble",
)  # fmt: skip
MEASURED = ("plain", "brick", "wood", "stone", "marble", "tiles")


@dataclass
class Judge:
    """The parts of a teacher in eval mode. Images are uint8 [N, 64, 64, 3], conditions uint8 [N, 64, 64]."""

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    vae: AutoencoderTiny
    scheduler: DDIMScheduler

    @torch.no_grad()
    def sample(
        self, prompts: list[str], *, seed: int = 1, steps: int = 25, guidance: float = 3.0,
        controlnet: ControlNetModel | None = None, conditions: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """One image a prompt by DDIM with classifier-free guidance, under `controlnet` where one is given."""
        self.scheduler.set_timesteps(steps)
        text = self.text_encoder(tokenize(self.tokenizer, [*prompts, *[""] * len(prompts)])).last_hidden_state
        shape = (len(prompts), self.unet.config.in_channels, 16, 16)
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        if controlnet is not None:
            image = torch.from_numpy(conditions).float()[:, None] / 255
            image = image.expand(-1, 3, -1, -1).repeat(2, 1, 1, 1)
        for time in self.scheduler.timesteps:
            pair = torch.cat([x, x])
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
                if controlnet is None:
                    predicted = self.unet(pair, time, text).sample
                else:
                    predicted = predict(self.unet, controlnet, pair, time, text, image)
            named, empty = predicted.float().chunk(2)
            x = self.scheduler.step(empty + guidance * (named - empty), time, x).prev_sample
        return self.decoded(x)

    def decoded(self, latents: torch.Tensor) -> np.ndarray:
        images = Inverse(self.vae)(latents) / 2 + 0.5
        return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()

    @torch.no_grad()
    def restored(self, images: np.ndarray) -> np.ndarray:
        """The images through the autoencoder: what perfect latents would show."""
        parts = encode_all(self.vae, images).float().split(256)
        return np.concatenate([self.decoded(part) for part in parts])

    def sheet_of_prompts(self, path: Path) -> None:
        """Two samples of every prompt."""
        save_sheet(self.sample([p for p in PROMPTS for _ in range(2)]), 12, path)

    def sheet_of_conditions(self, controlnet: ControlNetModel, conditions: np.ndarray, path: Path) -> None:
        """The condition images above two samples under each."""
        count = len(conditions)
        prompts = [PROMPTS[i % len(PROMPTS)] for i in range(2 * count)]
        images = self.sample(prompts, controlnet=controlnet, conditions=np.concatenate([conditions] * 2))
        shown = np.repeat(np.ascontiguousarray(conditions)[..., None], 3, axis=3)
        save_sheet(np.concatenate([shown, images]), count, path)

    def count_named_colors(self, controlnet: ControlNetModel, depth: np.ndarray) -> None:
        """Print how often the prompted colour leads in the silhouette, by material; held-out pairs apart."""
        pairs = [(c, m) for m in MEASURED for c in COLOR_NAMES]
        conditions = depth[np.arange(len(pairs)) * 7 % len(depth)]
        prompts = [f"{color} {material}" for color, material in pairs]
        images = self.sample(prompts, controlnet=controlnet, conditions=conditions)
        hits: dict[str, list[bool]] = {}
        for (color, material), image, mask in zip(pairs, images, conditions > 20, strict=True):
            leads = leading_color(image[mask] / 255) == color
            hits.setdefault("held out" if (color, material) in HELD_OUT else material, []).append(leads)
        for name, values in hits.items():
            print(f"named colour leads, {name}: {sum(values)} of {len(values)}")


def save_sheet(images: np.ndarray, columns: int, path: Path, scale: int = 2) -> None:
    rows = [np.concatenate(list(images[i : i + columns]), axis=1) for i in range(0, len(images), columns)]
    picture = Image.fromarray(np.concatenate(rows))
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)
