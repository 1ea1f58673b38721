"""What moves a shape: the noise that it is judged with, and the move by the gradient. ``distill`` and ``sample`` do it.
"""

from __future__ import annotations

from typing import Protocol

import torch

from ..look.batches import Batch


class Mover(Protocol):
    """Moves the shape that it was made for. iteration: of the step, counted from 0."""

    def noise(
        self, batch: Batch, images: torch.Tensor, x: torch.Tensor, iteration: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The steps t (B,) int64 and the noise, like ``x`` (B, c, h, w), for the (B, C, S, S) ``images``."""

    def into_encoder(self, g: torch.Tensor) -> torch.Tensor:
        """``g`` on x as it is to be pulled back through the teacher's encoder."""

    def move(self, batch: Batch, images: torch.Tensor, gradient: torch.Tensor, iteration: int) -> None:
        """Move the shape, whose ``images`` have the ``gradient`` (B, C, S, S), not yet divided by B."""

    def settled(self, iteration: int) -> bool:
        """Whether there is nothing left to do before the last iteration."""

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps of it."""

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """The inverse of ``state``."""
