"""Moving what a pool of views shows of a ``ColorGrid``, where a recipe has a stride.

Between the bounds of the colours the images are linear in the grid's numbers, and the grid is fitted to where they are
to go (``field/leastsquares``), each view counting where it owns the surface (``render/ownership``). Images are
(B, 3, S, S) sRGB-encoded in [0, 1], row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import torch

from ..field import leastsquares
from ..field.colorgrid import MIDDLE, ColorGrid
from ..look.compositing import composite
from ..look.ownership import Ownership
from ..look.views import PooledView

# How many steps of conjugate gradients fit the field to the images of one of the loop's.
FITS = 10


class Paint(Protocol):
    """How the field's colour lies on the surface."""

    def share(self, view: PooledView) -> torch.Tensor:
        """(P,) how much of the field's colour each sample of ``view`` shows."""

    def painted(self, views: Sequence[PooledView], gray: float) -> torch.Tensor:
        """(P, 3) colours of all samples of ``views`` if the field were (``gray``, ``gray``, ``gray``) everywhere."""


class Fitting:
    """The images of a ``field`` in the views of a ``pool``, and their moves. drawn: numbers of views in it."""

    def __init__(self, field: ColorGrid, pool: Sequence[PooledView], paint: Paint) -> None:
        self._field, self._pool, self._paint = field, pool, paint
        # By the number of the view in the pool.
        self._sights: dict[int, leastsquares.Sight] = {}

    def images(self, drawn: Sequence[int], backgrounds: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) of the ``drawn`` views over solid ``backgrounds`` (B, 3)."""
        return self.reachable(drawn, backgrounds, self._linear(drawn, backgrounds))

    def move(self, drawn: Sequence[int], backgrounds: torch.Tensor, way: torch.Tensor) -> None:
        """Fit the field to the images of the ``drawn`` views, moved by ``way`` (B, 3, S, S) where they own them."""
        images = self._linear(drawn, backgrounds)
        together, own = self._ownership.of(drawn)
        change = self.reachable(drawn, backgrounds, images + together[:, None] * way) - images
        sights = [self._sight(i) for i in drawn]
        leastsquares.fit(self._field, sights, change.flatten(2).transpose(1, 2), own.flatten(1), FITS)

    def reachable(self, drawn: Sequence[int], backgrounds: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """``images`` between those of the views in the darkest and in the lightest colour that the field can have."""
        low, high = (self._gray(drawn, backgrounds, edge) for edge in (self._field.low, self._field.high))
        return torch.minimum(torch.maximum(images, low), high)

    @cached_property
    def _ownership(self) -> Ownership:
        return Ownership(self._pool)

    def _linear(self, drawn: Sequence[int], backgrounds: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S): the images as a fit sees them, linear in the numbers of the field and without bounds."""
        shown = leastsquares.images(self._field, [self._sight(i) for i in drawn])
        constant = self._gray(drawn, backgrounds, MIDDLE)
        return constant + shown.transpose(1, 2).reshape(constant.shape)

    def _gray(self, drawn: Sequence[int], backgrounds: torch.Tensor, gray: float) -> torch.Tensor:
        views = [self._pool[i] for i in drawn]
        return composite(views, self._paint.painted(views, gray), backgrounds)

    def _sight(self, number: int) -> leastsquares.Sight:
        if number not in self._sights:
            view = self._pool[number]
            self._sights[number] = leastsquares.Sight(view.gbuffer, self._field.levels, self._paint.share(view))
        return self._sights[number]
