"""An independent judge of pictures: a small convolutional classifier of material, leading colour and wear.

It learns from images of generator seeds that no other stage uses, and never sees a word. Beside it stands a judge made
by hand, which names the colour by the nearest reference in CIELAB (`vocabulary.nearest_color`). Images are uint8
[N, 64, 64, 3] sRGB, as `dataset` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from csd_addon.worker.teacher.device import has_bfloat16

from .captions import Look
from .dataset import Dataset
from .hogwild import contiguous, write
from .vocabulary import COLOR_NAMES, MATERIAL_NAMES, WEAR_NAMES

HEADS = {"material": MATERIAL_NAMES, "first": COLOR_NAMES, "worn": WEAR_NAMES}
BATCH, RATE = 64, 2e-3
# Side lengths, of 64 px, through which it learns to see: a teacher's samples and textures are softer than renders, and
# what is soft is not another material.
SOFTENED = (64, 64, 48, 36, 28)


class Stage(nn.Module):
    """Half the size: a convolution with stride 2, and one beside which its input passes. Any [B, C, H, W]."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU())
        self.more = nn.Sequential(nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(x)
        return x + self.more(x)


class Oracle(nn.Module):
    """Images [B, 3, 64, 64] float32 in [0, 1] to one row of logits a head.

    The heads see the mean and the largest value of every stage but the first, because a material is a fine pattern
    as often as a coarse one.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 192)
        pairs = zip(widths, widths[1:], strict=False)
        self.stages = nn.ModuleList(Stage(before, after) for before, after in pairs)
        seen = 2 * sum(widths[2:])
        self.heads = nn.ModuleDict({name: nn.Linear(seen, len(names)) for name, names in HEADS.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen, pooled = self.stages[0](images), []
        for stage in self.stages[1:]:
            seen = stage(seen)
            pooled += [seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3))]
        return {name: head(torch.cat(pooled, dim=1)) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Verdict:
    """Names for each image: the likeliest material, colour and wear."""

    material: list[str]
    first: list[str]
    worn: list[str]


def floats(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def softened(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images [B, 3, H, W] with the detail that `size` x `size` px hold, at their own size."""
    small = nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True)
    return nn.functional.interpolate(small, size=images.shape[2:], mode="bicubic").clamp(0, 1)


def answers(looks: list[Look]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([names.index(getattr(look, name)) for look in looks]) for name, names in HEADS.items()}


def train_oracle(data: Dataset, *, steps: int, seed: int) -> Oracle:
    """A new oracle that has seen `steps` batches of `data`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, right = Oracle().to(memory_format=torch.channels_last), answers(data.looks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        index = rng.integers(len(data.images), size=BATCH)
        images = softened(floats(data.images[index]), int(rng.choice(SOFTENED)))
        images = images.flip(3) if rng.random() < 0.5 else images
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            guesses = model(images.contiguous(memory_format=torch.channels_last))
        loss = sum(nn.functional.cross_entropy(guesses[name].float(), right[name][index]) for name in HEADS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == steps - 1:
            print(f"oracle {step}: loss {loss.item():.3f}", flush=True)
    return model.eval().requires_grad_(False)


def judge(model: Oracle, images: np.ndarray) -> Verdict:
    """What the oracle sees on each image."""
    rows = [model(floats(images[i : i + 128])) for i in range(0, len(images), 128)]
    return Verdict(**{
        name: [names[int(i)] for row in rows for i in row[name].argmax(dim=1)] for name, names in HEADS.items()
    })  # fmt: skip


def judge_together(model: Oracle, images: np.ndarray) -> Verdict:
    """One verdict on several views of one object: their logits are added."""
    rows = model(floats(images))
    return Verdict(**{name: [names[int(rows[name].sum(0).argmax())]] for name, names in HEADS.items()})


def accuracy(model: Oracle, data: Dataset) -> dict[str, float]:
    """Share of right answers by head."""
    found = judge(model, data.images)
    right = {name: [getattr(look, name) for look in data.looks] for name in HEADS}
    return {name: float(np.mean(np.array(getattr(found, name)) == np.array(right[name]))) for name in HEADS}


def save(model: Oracle, path: Path) -> None:
    write(contiguous(model.state_dict()), path)


def load(path: Path) -> Oracle:
    model = Oracle()
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False)
