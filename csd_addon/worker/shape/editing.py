"""Editing: the same loop over an existing texture. Only what differs from synthesis stands here.

- The field is a change of the source's colours (``field.residual``). The mask acts where it is baked alone: the teacher
  sees the whole object changed, because the prompt describes a whole object (docs/editing.md).
- The negative row's words are the *removed* prompt, so Eq 10's coefficients become Eq 11's.
- An anchor, anchor * |image - source image|^2 summed over each view, holds the texture near its source.
- With ``recipe.reference`` the score of the source, rendered in the same views with the same t and noise, is
  subtracted (DDS): g = [eps_cfg(x_t; target)] - [eps_cfg(x_source_t; removed)], eps_cfg = s eps_y + (1 - s) eps_0.
- The run ends early once the smoothed gradient has fallen far enough (``settled``).
- With a stride the source is painted over (``PaintField``) and the steps are those of a new texture, without the anchor
  and to the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...core.recipe import Recipe, at
from ..bake.bake import Atlas, texel_means
from ..bake.margin import margin_width, nearest_filled
from ..field.colorgrid import ColorGrid
from ..field.hashgrid import HashField, Level
from ..field.residual import PaintField, ResidualField, adjust
from ..look.compositing import composite
from ..look.views import PooledView
from ..method import score
from ..method.settling import Settling
from ..method.synthesis import Synthesis
from ..teacher.diffusion import DiffusionTeacher
from .canvas import Canvas, Texture, painted_black


@dataclass(frozen=True)
class EditView(PooledView):
    """A view with what the source shows at each sample: colors (P, 3), and shown (P,) bool, whether it is there."""

    colors: torch.Tensor
    shown: torch.Tensor


def show_source(view: PooledView, texture: Texture, edge: int) -> EditView:
    """Look the source up for every sample of ``view``, averaged over the width that a sample covers.

    edge: samples along the edge of the view's image.
    """
    triangle = view.gbuffer.triangle.cpu().numpy()
    spacing = 2 * view.view.distance * math.tan(math.radians(view.view.fov) / 2) / edge
    colors, _ = texture.look_up(triangle, view.gbuffer.barycentric.cpu().numpy(), spacing)
    shown = texture.number[triangle] >= 0
    device = view.gbuffer.position.device
    return EditView(
        **vars(view), colors=torch.from_numpy(colors).to(device), shown=torch.from_numpy(shown).to(device)
    )


class Editing(Synthesis):
    """One edit of the texture that ``pool`` shows."""

    pool: Sequence[EditView]

    def __init__(
        self, teacher: DiffusionTeacher, pool: Sequence[EditView], recipe: Recipe, *,
        target: str, remove: str, loss: str, generator: torch.Generator,
    ) -> None:  # fmt: skip
        """target, remove: what it should show, and what it shows now and should lose (may be empty)."""
        super().__init__(teacher, pool, recipe, prompt=target, negative=remove, loss=loss, generator=generator)
        # What is painted over is painted to the last step.
        watched = self.field.output if isinstance(self.field, HashField) else torch.zeros(1)
        self.settling = Settling(watched.detach())

    def make_field(self, levels: tuple[Level, ...]) -> HashField | ColorGrid:
        """The identity everywhere until the first step."""
        if self.recipe.stride:
            return PaintField(levels, albedo=self.recipe.albedo)
        return ResidualField(levels, generator=self.generator)

    def state(self) -> torch.nn.Module:
        """The field, and what decides when to stop."""
        return torch.nn.ModuleDict({"residual": self.field, "settling": self.settling})

    def step(self) -> dict[str, float]:
        """One step: of painting over, or along a gradient, which the stop rule watches."""
        if isinstance(self.field, PaintField):
            self.field.opacity.fill_(self.recipe.opacity)
            return super().step()
        norms = super().step()
        if norms:
            assert isinstance(self.field, HashField) and self.field.output.grad is not None
            self.settling.observe(self.field.output.grad)
        return norms

    def settled(self) -> bool:
        """Whether the smoothed gradient has fallen to ``recipe.stop_share``, in the second half of the run."""
        if isinstance(self.field, PaintField) or 2 * self.iteration < self.recipe.iterations:
            return False
        return self.iteration > 0 and self.settling.share() <= self.recipe.stop_share

    def colors(self, views: Sequence[EditView]) -> torch.Tensor:  # type: ignore[override]
        """The source's colours, changed by the field where the source is shown."""
        source = torch.cat([v.colors for v in views])
        shown = torch.nonzero(torch.cat([v.shown for v in views])).squeeze(1)
        cells = self._cells(torch.cat([v.gbuffer.position for v in views])[shown])
        return source.index_copy(0, shown, adjust(self.field(cells), source[shown], self.recipe.albedo))

    def share(self, view: EditView) -> torch.Tensor:  # type: ignore[override]
        """The opacity of the paint, 0 where there is no source to paint over."""
        return self.recipe.opacity * view.shown.to(view.colors)

    def painted(self, views: Sequence[EditView], gray: float) -> torch.Tensor:  # type: ignore[override]
        """Paint of one grey over the source."""
        share = torch.cat([self.share(view) for view in views])[:, None]
        return (1 - share) * torch.cat([view.colors for view in views]) + share * gray

    def guide(  # type: ignore[override]
        self, views: Sequence[EditView], backgrounds: torch.Tensor, x: torch.Tensor, t: torch.Tensor,
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
        """Eq 11, or with the reference branch DDS; SDS has no reference."""
        if not self.recipe.reference or self.loss == "sds":
            return super().guide(views, backgrounds, x, t, noise)
        progress = self.iteration / self.recipe.iterations
        here, there = score.dds(at(self.recipe.w1, progress), at(self.recipe.kappa, progress))
        g, norms = self.score(views, x, t, noise, here)
        source = self.teacher.encode_still(_source_images(views, backgrounds))
        behind, _ = self.score(views, source, t, noise, there)
        return g + behind, norms

    def penalty(  # type: ignore[override]
        self, views: Sequence[EditView], images: torch.Tensor, backgrounds: torch.Tensor
    ) -> torch.Tensor | float:
        """The anchor's pull towards the source, divided by B like g."""
        if self.recipe.anchor == 0:
            return 0.0
        return self.recipe.anchor * (images - _source_images(views, backgrounds)).square().sum() / len(views)


def _source_images(views: Sequence[EditView], backgrounds: torch.Tensor) -> torch.Tensor:
    return composite(views, torch.cat([v.colors for v in views]), backgrounds)


def bake_edit(editing: Editing, canvas: Canvas, atlas: Atlas, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The edited pixels (H, W, 4) of a tile, in the numbers of the source, and which texels (H, W) bool were changed.

    atlas: ``canvas.atlas()``. margin: in texels; 0 for ``margin_width``.
    A texel's transform is the mean over its samples and is applied to its own colour, so the source's detail stays.
    """
    texels, colors = [], []
    for texel, transform in texel_means(editing.field, atlas):
        index = texel.numpy()
        weight = canvas.weight.reshape(-1)[index]
        source = canvas.colors.reshape(-1, 3)[index]
        moved = adjust(transform, torch.from_numpy(source), editing.recipe.albedo).numpy()
        changed = (weight > 0) & (moved != source).any(axis=1)
        texels.append(index[changed])
        colors.append((source + weight[:, None] * (moved - source))[changed])
    width = margin or margin_width(canvas.shape)
    return _with_margin(canvas, atlas.filled(), width, np.concatenate(texels), np.concatenate(colors))


def _with_margin(
    canvas: Canvas, filled: np.ndarray, width: int, texel: np.ndarray, colors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Write the ``colors`` and let the margin next to changed texels follow them. filled: see ``Atlas.filled``."""
    changed = np.zeros(canvas.shape, bool)
    changed.reshape(-1)[texel] = True
    image = canvas.colors.copy()
    image.reshape(-1, 3)[texel] = colors
    nearest, _ = nearest_filled(filled, width)
    follows = ~filled & (nearest >= 0) & changed.reshape(-1)[np.maximum(nearest, 0)]
    follows &= ~painted_black(canvas.tile.painted, canvas.shape)
    image[follows] = image.reshape(-1, 3)[nearest[follows]]
    changed |= follows
    index = np.flatnonzero(changed)
    return canvas.written(index, image.reshape(-1, 3)[index]), changed
