"""What is optimised, as the loop and the movers see it.

A shape makes the images of a batch. One that can be trained gives a gradient to parameters; one that can be fitted is
linear in its numbers, and takes the images that it should have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from ...core.channels import Channel
from ..look.batches import Batch


class Shape(Protocol):
    """channels: of its images, C numbers at a point. field: the module that a bake calls, (N, 3) points to values.

    fitted: size of the pool times levels of the field, for the estimate of memory; 0 where it is trained.
    """

    channels: Sequence[Channel]
    field: torch.nn.Module
    fitted: int

    def images(self, batch: Batch) -> torch.Tensor:
        """(B, C, S, S) of the batch's views over its backgrounds, in [0, 1], row 0 at the top."""

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps of it."""

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """The inverse of ``state``. Raises ``RuntimeError`` if it is of another shape."""


class Trainable(Shape, Protocol):
    """Its images are differentiable in its parameters."""

    def parameter_groups(self) -> Mapping[str, list[torch.nn.Parameter]]:
        """What is trained, by the name of its learning rate: "grid" has ``recipe.Distill.rate_grid``."""

    def watched(self) -> torch.nn.Parameter | None:
        """The parameter whose gradient says when the shape has settled; None where nothing does."""

    def penalty(self, batch: Batch, images: torch.Tensor) -> torch.Tensor | float:
        """A further loss on its (B, C, S, S) ``images``, divided by B; 0.0 without one."""


class Fittable(Shape, Protocol):
    """Its images are linear in its numbers, between bounds."""

    def fit(self, batch: Batch, way: torch.Tensor) -> None:
        """Move the images of ``batch`` by ``way`` (B, C, S, S), weighted by ownership (``look.ownership``)."""
