"""How the values of a field become what the surface shows: a new texture shows them as they are.

An edit lays them over its source (``edited``). Both can be trained and fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

from ...core.recipe import Recipe
from ..field.colorgrid import ColorGrid
from ..field.hashgrid import Cells, HashField, Level, TextureField
from ..look.batches import Batch
from ..look.views import PooledView


class Appearance(Protocol):
    """C channels; P samples of views, one view after the other."""

    def trained_field(self, levels: tuple[Level, ...], channels: int, generator: torch.Generator) -> HashField:
        """A field to train, with its first weights."""

    def fitted_field(self, levels: tuple[Level, ...], channels: int) -> ColorGrid:
        """A field to fit, which shows nothing yet."""

    def values(self, field: HashField, batch: Batch) -> torch.Tensor:
        """(P, C) what all samples of the batch show; differentiable in the field."""

    def share(self, number: int, view: PooledView) -> torch.Tensor:
        """(P,) how much of the field each sample of the ``view`` with this number in the pool shows."""

    def painted(self, batch: Batch, gray: float, channels: int) -> torch.Tensor:
        """(P, C) what all samples of the batch show if the field were ``gray`` everywhere."""

    def penalty(self, batch: Batch, images: torch.Tensor) -> torch.Tensor | float:
        """See ``interface.Trainable``."""

    def before_fit(self, field: ColorGrid) -> None:
        """Called before the field is fitted."""


class NewTexture:
    """The field's values themselves."""

    def __init__(self, recipe: Recipe) -> None:
        self._albedo = recipe.field.albedo

    def trained_field(self, levels: tuple[Level, ...], channels: int, generator: torch.Generator) -> HashField:
        """See ``Appearance``."""
        return TextureField(levels, channels=channels, albedo=self._albedo, generator=generator)

    def fitted_field(self, levels: tuple[Level, ...], channels: int) -> ColorGrid:
        """See ``Appearance``."""
        return ColorGrid(levels, channels=channels, albedo=self._albedo)

    def values(self, field: HashField, batch: Batch) -> torch.Tensor:
        """See ``Appearance``."""
        values: torch.Tensor = field(Cells(positions(batch.views), field.levels, keep=True))
        return values

    def share(self, number: int, view: PooledView) -> torch.Tensor:
        """See ``Appearance``."""
        position = view.gbuffer.position
        return torch.ones(len(position), device=position.device)

    def painted(self, batch: Batch, gray: float, channels: int) -> torch.Tensor:
        """See ``Appearance``."""
        position = positions(batch.views)
        return torch.full((len(position), channels), gray, device=position.device)

    def penalty(self, batch: Batch, images: torch.Tensor) -> torch.Tensor | float:
        """None."""
        return 0.0

    def before_fit(self, field: ColorGrid) -> None:
        """Nothing."""


def positions(views: Sequence[PooledView]) -> torch.Tensor:
    """(P, 3) unit-ball places of all samples of ``views``."""
    return torch.cat([view.gbuffer.position for view in views])
