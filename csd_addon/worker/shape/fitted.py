"""A surface whose field is fitted to images: a grid that is linear in its numbers.

Between the bounds of the values the images are linear in the grid's numbers, and the grid is fitted to where they are
to go (``field/leastsquares``), each view counting where it owns the surface (``look/ownership``). Images are
(B, C, S, S) in [0, 1], row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from ...core.channels import Channel, width
from ..field import leastsquares
from ..field.colorgrid import MIDDLE, ColorGrid
from ..field.hashgrid import Level
from ..look.batches import Batch
from ..look.compositing import composite
from ..look.ownership import Ownership
from ..look.views import PooledView
from .appearance import Appearance

# How many steps of conjugate gradients fit the field to the images of one of the loop's.
FITS = 10


class FittedSurface:
    """See ``interface.Fittable``. pool: all views of the run."""

    def __init__(
        self, appearance: Appearance, levels: tuple[Level, ...], channels: Sequence[Channel],
        pool: Sequence[PooledView], device: torch.device,
    ) -> None:  # fmt: skip
        self.channels, self._appearance, self._pool = channels, appearance, pool
        self.field: ColorGrid = appearance.fitted_field(levels, width(channels)).to(device)
        self.fitted = len(pool) * len(levels)
        # By the number of the view in the pool.
        self._matrices: dict[int, leastsquares.ViewMatrix] = {}

    def images(self, batch: Batch) -> torch.Tensor:
        """See ``interface.Shape``; without a gradient."""
        return self.reachable(batch, self._linear(batch))

    def fit(self, batch: Batch, way: torch.Tensor) -> None:
        """See ``interface.Fittable``."""
        self._appearance.before_fit(self.field)
        images = self._linear(batch)
        together, own = self._ownership.of(batch.numbers)
        change = self.reachable(batch, images + together[:, None] * way) - images
        matrices = [self._matrix(number, view) for number, view in zip(batch.numbers, batch.views, strict=True)]
        leastsquares.fit(self.field, matrices, change.flatten(2).transpose(1, 2), own.flatten(1), FITS)

    def reachable(self, batch: Batch, images: torch.Tensor) -> torch.Tensor:
        """``images`` between those of the views in the lowest and in the highest value that the field can have."""
        low, high = (self._gray(batch, edge) for edge in (self.field.low, self.field.high))
        return torch.minimum(torch.maximum(images, low), high)

    def state(self) -> dict[str, torch.Tensor]:
        """See ``interface.Shape``."""
        return self.field.state_dict()

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """See ``interface.Shape``."""
        self.field.load_state_dict(state)

    @cached_property
    def _ownership(self) -> Ownership:
        return Ownership(self._pool)

    def _linear(self, batch: Batch) -> torch.Tensor:
        """The images as a fit sees them, linear in the numbers of the field and without bounds."""
        matrices = [self._matrix(number, view) for number, view in zip(batch.numbers, batch.views, strict=True)]
        shown = leastsquares.images(self.field, matrices)
        constant = self._gray(batch, MIDDLE)
        return constant + shown.transpose(1, 2).reshape(constant.shape)

    def _gray(self, batch: Batch, gray: float) -> torch.Tensor:
        """The images if the field were ``gray`` everywhere."""
        painted = self._appearance.painted(batch, gray, width(self.channels))
        return composite(batch.views, painted, batch.backgrounds)

    def _matrix(self, number: int, view: PooledView) -> leastsquares.ViewMatrix:
        if number not in self._matrices:
            share = self._appearance.share(number, view)
            self._matrices[number] = leastsquares.ViewMatrix(view.gbuffer, self.field.levels, share)
        return self._matrices[number]
