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

from .captions import Look
from .dataset import Dataset
from .hogwild import write
from .vocabulary import COLOR_NAMES, MATERIAL_NAMES, WEAR_NAMES

HEADS = {"material": MATERIAL_NAMES, "first": COLOR_NAMES, "worn": WEAR_NAMES}
BATCH, RATE = 64, 2e-3


class Oracle(nn.Module):
    """Images [B, 3, 64, 64] float32 in [0, 1] to one row of logits a head."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            if after > 32:
                layers += [nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * widths[-1], len(names)) for name, names in HEADS.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.body(images)
        pooled = torch.cat([seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3))], dim=1)
        return {name: head(pooled) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Verdict:
    """Names for each image: the likeliest material, colour and wear."""

    material: list[str]
    first: list[str]
    worn: list[str]


def floats(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255


def answers(looks: list[Look]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([names.index(getattr(look, name)) for look in looks]) for name, names in HEADS.items()}


def train_oracle(data: Dataset, *, steps: int, seed: int) -> Oracle:
    """A new oracle that has seen `steps` batches of `data`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model, right = Oracle(), answers(data.looks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        index = rng.integers(len(data.images), size=BATCH)
        images = floats(data.images[index])
        images = images.flip(3) if rng.random() < 0.5 else images
        guesses = model(images)
        loss = sum(nn.functional.cross_entropy(guesses[name], right[name][index]) for name in HEADS)
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
    write(model.state_dict(), path)


def load(path: Path) -> Oracle:
    model = Oracle()
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(False)
