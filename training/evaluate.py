"""Look at the teacher: samples by DDIM, alone and under a ControlNet; how often the named colour leads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from .controlnets import predict
from .latent import encode_all
from .text_encoder import tokenize
from .unet import new_scheduler
from .vocabulary import COLOR_NAMES, HELD_OUT, nearest_color

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

    @torch.no_grad()
    def sample(
        self, prompts: list[str], *, seed: int = 1, steps: int = 25, guidance: float = 3.0,
        controlnet: ControlNetModel | None = None, conditions: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """One image a prompt by DDIM with classifier-free guidance, under `controlnet` where one is given."""
        scheduler = new_scheduler()
        scheduler.set_timesteps(steps)
        text = self.text_encoder(tokenize(self.tokenizer, [*prompts, *[""] * len(prompts)])).last_hidden_state
        x = torch.randn(len(prompts), 16, 16, 16, generator=torch.Generator().manual_seed(seed))
        if controlnet is not None:
            image = torch.from_numpy(conditions).float()[:, None] / 255
            image = image.expand(-1, 3, -1, -1).repeat(2, 1, 1, 1)
        for time in scheduler.timesteps:
            pair = torch.cat([x, x])
            if controlnet is None:
                noise = self.unet(pair, time, text).sample
            else:
                noise = predict(self.unet, controlnet, pair, time, text, image)
            named, empty = noise.chunk(2)
            x = scheduler.step(empty + guidance * (named - empty), time, x).prev_sample
        return self.decoded(x)

    def decoded(self, latents: torch.Tensor) -> np.ndarray:
        images = self.vae.decode(latents / self.vae.config.scaling_factor).sample / 2 + 0.5
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
            names = nearest_color(image[mask] / 255)
            leads = np.bincount(names, minlength=len(COLOR_NAMES)).argmax() == COLOR_NAMES.index(color)
            hits.setdefault("held out" if (color, material) in HELD_OUT else material, []).append(bool(leads))
        for name, values in hits.items():
            print(f"named colour leads, {name}: {sum(values)} of {len(values)}")


def save_sheet(images: np.ndarray, columns: int, path: Path, scale: int = 2) -> None:
    rows = [np.concatenate(list(images[i : i + columns]), axis=1) for i in range(0, len(images), columns)]
    picture = Image.fromarray(np.concatenate(rows))
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)
