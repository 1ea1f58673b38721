"""Steps as long as those of sampling, in place of steps as long as the optimiser likes.

With noise eps that stays the same at every step, sampling (DDIM) moves the clean image from one noise level to the
next by

    x <- x - (eps(x_t) - eps) (r_t - r_next),      r = sqrt(1 - abar) / sqrt(abar),

which Consistent Flow Distillation takes over to scenes. With the gradient g of ``score`` in place of the bracket and a
``stride`` of 1 / kappa this is sampling with the guidance 1 + 1 / kappa. Gradient descent with Adam knows no such
length: it moves every point at the same pace for as long as the sign lasts, and whites, reds and their
complements run to the end of their range (docs/pitfalls.md).

The views take turns, so the next noise level of a view is the one that the run has reached at its next turn.
"""

from __future__ import annotations

import torch

from ...core.recipe import Recipe, at


def order(views: int, seed: int) -> list[int]:
    """The turns of the ``views`` of a pool: a permutation of their indices, fixed by ``seed``."""
    return torch.randperm(views, generator=torch.Generator().manual_seed(seed)).tolist()


def length(recipe: Recipe, iteration: float, alphas_cumprod: torch.Tensor, turn: float) -> float:
    """By how many times -g the x of a view moves. ``turn``: after how many iterations its next turn comes."""
    now = _level(recipe, iteration, alphas_cumprod)
    # The last turn ends at the clean image.
    after = iteration + turn
    return recipe.stride * (now - (_level(recipe, after, alphas_cumprod) if after < recipe.iterations else 0.0))


def _level(recipe: Recipe, iteration: float, alphas_cumprod: torch.Tensor) -> float:
    """r at the step that t_max has at ``iteration``."""
    share = at(recipe.t_max, iteration / recipe.iterations)
    abar = float(alphas_cumprod[round(share * (len(alphas_cumprod) - 1))])
    return float(((1 - abar) / abar) ** 0.5)
