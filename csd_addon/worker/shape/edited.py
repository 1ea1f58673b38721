"""What an edit shows: the source's values, changed by the field where the source is.

- Trained, the field is a change of the source's values (``field.residual``); fitted, it is paint over them.
- The mask acts where the edit is baked alone: the teacher sees the whole object changed, because the prompt describes
  a whole object (docs/editing.md).
- An anchor, anchor * |image - source image|^2 summed over each view, holds a trained edit near its source.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...core.recipe import Change, Paint, Recipe
from ..field.colorgrid import ColorGrid
from ..field.hashgrid import Cells, HashField, Level
from ..field.residual import PaintField, ResidualField, adjust
from ..look.batches import Batch
from ..look.compositing import composite
from ..look.views import PooledView
from .appearance import positions
from .canvas import Texture


@dataclass(frozen=True)
class SourceInView:
    """What the source shows at each sample of one view: values (P, C), and shown (P,) bool, whether it is there."""

    values: torch.Tensor
    shown: torch.Tensor


def source_in_view(view: PooledView, texture: Texture) -> SourceInView:
    """Look the source up for every sample of ``view``, averaged over the width that a sample covers."""
    triangle, edge = view.gbuffer.triangle.cpu().numpy(), view.gbuffer.size * view.gbuffer.supersample
    spacing = 2 * view.view.distance * math.tan(math.radians(view.view.fov) / 2) / edge
    values, _ = texture.look_up(triangle, view.gbuffer.barycentric.cpu().numpy(), spacing)
    device = view.gbuffer.position.device
    shown = torch.from_numpy(texture.number[triangle] >= 0).to(device)
    return SourceInView(torch.from_numpy(values).to(device), shown)


class EditedTexture:
    """See ``appearance.Appearance``. sources: of every view of the pool."""

    def __init__(self, recipe: Recipe, sources: Sequence[SourceInView]) -> None:
        self._albedo, self._sources = recipe.field.albedo, sources
        self._anchor = recipe.edit.anchor if isinstance(recipe.edit, Change) else 0.0
        self._opacity = recipe.edit.opacity if isinstance(recipe.edit, Paint) else 0.0

    def trained_field(self, levels: tuple[Level, ...], channels: int, generator: torch.Generator) -> HashField:
        """The identity everywhere until the first step."""
        return ResidualField(levels, channels=channels, generator=generator)

    def fitted_field(self, levels: tuple[Level, ...], channels: int) -> ColorGrid:
        """Paint that hides nothing until the first step."""
        return PaintField(levels, channels=channels, albedo=self._albedo)

    def values(self, field: HashField, batch: Batch) -> torch.Tensor:
        """The source's values, changed by the field where the source is shown."""
        source = self._values(batch)
        shown = torch.nonzero(torch.cat([self._sources[i].shown for i in batch.numbers])).squeeze(1)
        cells = Cells(positions(batch.views)[shown], field.levels, keep=True)
        return source.index_copy(0, shown, adjust(field(cells), source[shown], self._albedo))

    def share(self, number: int, view: PooledView) -> torch.Tensor:
        """The opacity of the paint, 0 where there is no source to paint over."""
        source = self._sources[number]
        return self._opacity * source.shown.to(source.values)

    def painted(self, batch: Batch, gray: float, channels: int) -> torch.Tensor:
        """Paint of one grey over the source."""
        pairs = zip(batch.numbers, batch.views, strict=True)
        share = torch.cat([self.share(number, view) for number, view in pairs])[:, None]
        return (1 - share) * self._values(batch) + share * gray

    def penalty(self, batch: Batch, images: torch.Tensor) -> torch.Tensor | float:
        """The anchor's pull towards the source, divided by B like g."""
        if self._anchor == 0:
            return 0.0
        return self._anchor * (images - self.source_images(batch)).square().sum() / len(batch)

    def before_fit(self, field: ColorGrid) -> None:
        """From now on the paint covers."""
        assert isinstance(field, PaintField)
        field.opacity.fill_(self._opacity)

    def source_images(self, batch: Batch) -> torch.Tensor:
        """(B, C, S, S) of the source alone."""
        return composite(batch.views, self._values(batch), batch.backgrounds)

    def _values(self, batch: Batch) -> torch.Tensor:
        return torch.cat([self._sources[i].values for i in batch.numbers])
