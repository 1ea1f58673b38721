"""Which views a place on the surface belongs to.

Where views overlap, each of them would draw another pattern, and the mean of two patterns is a blur. So a place belongs
to the views that see it most from the front: a view v whose direction makes the angle a with the normal counts

    w_v = cos(a)^FACING,      share of v = w_v / (sum of w over all views that see the place),

which makes one view the owner nearly everywhere and leaves soft seams (projective texturing blends photographs so).
Places are cubes of the unit ball; the weight of a view is its mean over a cube.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .views import PooledView

FACING = 32
# Below this cosine all count alike: a place that is seen at grazing angles alone belongs to somebody all the same.
_GRAZING = 0.1
# Cubes along the radius of the unit ball.
_PLACES = 16


def shares(pool: Sequence[PooledView]) -> list[torch.Tensor]:
    """For each view of ``pool`` an (S, S) image of its share in what each pixel shows, 0..1, 0 beside the surface.

    At every place the shares of all views that see it sum up to 1.
    """
    cubes = [_cubes(view.gbuffer.position) for view in pool]
    places, place = torch.unique(torch.cat(cubes), return_inverse=True)
    seen = place.split([len(cube) for cube in cubes])
    weights = [_means(_weights(view), index, len(places)) for view, index in zip(pool, seen, strict=True)]
    total = torch.stack(weights).sum(0)
    return [_image(view, (w / total)[index]) for view, w, index in zip(pool, weights, seen, strict=True)]


def _cubes(position: torch.Tensor) -> torch.Tensor:
    """(P,) one number for each cube, for (P, 3) positions in the unit ball."""
    x, y, z = (torch.floor(position * _PLACES).long() + _PLACES).unbind(1)
    return (x * 4 * _PLACES + y) * 4 * _PLACES + z


def _weights(view: PooledView) -> torch.Tensor:
    """(P,) weights of the samples of ``view``, above 0."""
    position = view.gbuffer.position
    towards = F.normalize(torch.from_numpy(view.view.position).to(position) - position, dim=1)
    return (towards * view.gbuffer.normal).sum(1).clamp(min=_GRAZING) ** FACING


def _means(values: torch.Tensor, index: torch.Tensor, count: int) -> torch.Tensor:
    """(count,) means of the ``values`` with each index, 0 where there is none."""
    sums = values.new_zeros(2, count)
    sums = sums.index_add(1, index, torch.stack([values, torch.ones_like(values)]))
    return sums[0] / sums[1].clamp(min=1)


def _image(view: PooledView, values: torch.Tensor) -> torch.Tensor:
    """(S, S) means over the samples of each pixel."""
    gbuffer = view.gbuffer
    return gbuffer.resolve(values[:, None])[..., 0] / gbuffer.coverage.clamp(min=1 / gbuffer.supersample**2)
