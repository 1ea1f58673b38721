"""Steps as long as those of sampling, in place of steps as long as the optimiser likes.

With noise eps that stays the same at every step, sampling (DDIM) moves the clean image from one noise level to the
next by

    x <- x - (eps(x_t) - eps) (r_t - r_next),      r = sqrt(1 - abar) / sqrt(abar),

which Consistent Flow Distillation takes over to scenes. With the gradient g of ``score`` in place of the bracket and a
``stride`` of 1 / kappa this is sampling with the guidance 1 + 1 / kappa. Gradient descent with Adam knows no such
length: it moves every point at the same pace for as long as the sign lasts, and whites, reds and their
complements run to the end of their range (docs/pitfalls.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...core.recipe import Recipe, at
from ..render.gbuffer import GBuffer

# Edge of the cubes that stand for places on the surface, in unit-ball units.
_PLACE = 1 / 8


def length(recipe: Recipe, iteration: int, alphas_cumprod: torch.Tensor, visits: float) -> float:
    """By how many times -g the x of a step moves. ``visits``: how many views of the step see the same place."""
    now = _level(recipe, iteration, alphas_cumprod)
    # The last step ends at the clean image.
    after = _level(recipe, iteration + 1, alphas_cumprod) if iteration + 1 < recipe.iterations else 0.0
    return recipe.stride * (now - after) / visits


def visits(gbuffers: Sequence[GBuffer], views_per_step: int) -> float:
    """How many views of one step see a place on the surface, on average over the places that ``gbuffers`` see."""
    seen = [torch.unique(torch.floor(g.position / _PLACE).long(), dim=0) for g in gbuffers if len(g.position)]
    if not seen:
        return 1.0
    everywhere = torch.unique(torch.cat(seen), dim=0)
    return views_per_step * sum(map(len, seen)) / (len(gbuffers) * len(everywhere))


def _level(recipe: Recipe, iteration: int, alphas_cumprod: torch.Tensor) -> float:
    """r at the step that t_max has at ``iteration``."""
    share = at(recipe.t_max, iteration / recipe.iterations)
    abar = float(alphas_cumprod[round(share * (len(alphas_cumprod) - 1))])
    return float(((1 - abar) / abar) ** 0.5)
