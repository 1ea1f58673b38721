"""What the loop asks of a teacher, whatever it is: networks of a diffusion model, or scans in closed form.

A teacher sees images as its own x (a latent, or pixels) and predicts the noise in x_t. It is frozen. All tensors live
on its device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ...core.views import View
from .memory import Need, Plan

# The rows of a prediction: the prompt, the negative (or removed) prompt, the empty prompt. They are stacked in this
# order.
ROWS = ("text", "negative", "null")


@dataclass(frozen=True)
class Conditioning:
    """All that a teacher is told of the B images of a batch besides x_t and t. The same holds for every row.

    prompts: for each row that may be asked for, B texts.
    images: for each of the teacher's ``conditions`` (B, 3, S, S) in [0, 1], row 0 at the top. scales: of these.
    cameras: from where each image looks.
    groups: (B,) int64, images with one number belong together; None where each stands alone.
    share_control: all rows take the ControlNets' answer to the first one.
    """

    prompts: Mapping[str, Sequence[str]]
    images: Mapping[str, torch.Tensor]
    scales: Mapping[str, float]
    cameras: Sequence[View]
    groups: torch.Tensor | None = None
    share_control: bool = False


class Scorer(Protocol):
    """What a gradient takes of a teacher. alphas_cumprod: (steps,) float, abar_t."""

    alphas_cumprod: torch.Tensor

    def predict_noise(
        self, x_t: torch.Tensor, t: torch.Tensor, told: Conditioning, rows: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """eps (B, C, h, w) of each of the ``rows`` for (B, C, h, w) ``x_t`` at (B,) int64 steps ``t``."""


class Teacher(Scorer, Protocol):
    """A scorer that sees images.

    root: the folder (or file) that it comes from, where it says what it likes and knows. conditions: names of the
    images that it wants ("depth", "canny"). plan: in what pieces it works, None for everything at once. notes:
    sentences that the artist should read.
    """

    root: Path
    device: torch.device
    conditions: tuple[str, ...]
    plan: Plan | None
    notes: Sequence[str]

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, S, S) images, sRGB-encoded in [0, 1], to float32 x (B, c, h, w); differentiable."""

    def encode_still(self, images: torch.Tensor) -> torch.Tensor:
        """``encode`` without a gradient, in the pieces of ``plan``."""

    def need(
        self, *, views: int, rows: int, resolution: int, supersample: int, field_parameters: int, fitted: int
    ) -> Need:
        """What a step takes of the memory (``memory.Need.of``)."""

    def held(self) -> int:
        """Bytes that it holds on its device now."""

    def adopt(self, plan: Plan) -> None:
        """Work in the pieces of ``plan`` from now on."""

    def compile(self) -> None:
        """Let torch compile what it computes with, if anything."""
