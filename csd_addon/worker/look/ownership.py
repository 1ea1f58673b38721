"""Which views a place on the surface belongs to.

Where views overlap, each of them would draw another pattern, and the mean of two patterns is a blur. So a place belongs
to the views that see it most from the front: a view v whose direction makes the angle a with the normal counts

    w_v = cos(a)^FACING,      share of v = w_v / (sum of w over all views that see the place),

which makes one view the owner nearly everywhere and leaves soft seams (projective texturing blends photographs so).
Views that move a place in one step move it by the sum of (share of v) m_v, m_v being what v asks for. As least squares:
each is given the move (sum of their shares) m_v, and its residuals the weight (share of v) / (sum of their shares).
With the move (share of v) m_v and equal weights, a view that asks for nothing would halve what the owner asks for.

The weight of a view is its mean over a place (``places``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .places import cubes
from .views import PooledView

FACING = 32
# Below this cosine all count alike: a place that is seen at grazing angles alone belongs to somebody all the same.
_GRAZING = 0.1


class Ownership:
    """Whose the places are that the views of a ``pool`` see. At every place their shares sum up to 1."""

    def __init__(self, pool: Sequence[PooledView]) -> None:
        found = [cubes(view.gbuffer.position) for view in pool]
        places, place = torch.unique(torch.cat(found), return_inverse=True)
        self._pool, self._seen = pool, place.split([len(each) for each in found])
        pairs = zip(pool, self._seen, strict=True)
        weights = torch.stack([_means(_weights(view), index, len(places)) for view, index in pairs])
        # (views, places)
        self._shares = weights / weights.sum(0)

    def of(self, drawn: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Two images (B, S, S) for the ``drawn`` numbers of views, both 0..1, and 0 beside the surface.

        The first is what share of each pixel all of them together have, the second what part of that is this view's.
        """
        together = self._shares[list(drawn)].sum(0)
        own = [self._shares[i] / together.clamp(min=torch.finfo(together.dtype).tiny) for i in drawn]
        return (
            torch.stack([self._image(i, together) for i in drawn]),
            torch.stack([self._image(i, part) for i, part in zip(drawn, own, strict=True)]),
        )

    def _image(self, number: int, values: torch.Tensor) -> torch.Tensor:
        """(S, S) means over the samples of each pixel of one view, of the ``values`` at all places."""
        gbuffer = self._pool[number].gbuffer
        summed = gbuffer.resolve(values[self._seen[number], None])[..., 0]
        return summed / gbuffer.coverage.clamp(min=1 / gbuffer.supersample**2)


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
