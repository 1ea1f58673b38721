"""What cameras are to look at next: points of the surface that no view has shown from the front yet.

Drawn by area alone, close-ups leave holes to views that graze them, where the colours of the first, noisy steps stay
(docs/pitfalls.md). So each looks at a random one of the points that are due, and when none is due any more, all are
again that could be shown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ...core.views import View
from .gbuffer import GBuffer
from .places import cubes
from .surface import Surface

# Random points on the surface.
COUNT = 8192
# Cosine of the angle to the normal from which on a view shows a point well.
WELL = 0.6
# What a view shows nearer than this to a point counts as the point: samples may lie 0.07 apart.
BESIDE = 0.1


class Targets:
    """points, normals: (COUNT, 3) in the unit ball, on the CPU, even by the weight of the faces that they lie on.

    covered: whether each has been shown well once, or tried.
    """

    def __init__(self, surface: Surface, weights: torch.Tensor, generator: torch.Generator) -> None:
        """weights: (T,) of the triangles, 0 or above. generator: on the CPU."""
        self._generator = generator
        corners = surface.positions.cpu()[surface.triangles.cpu()]
        face = _picks(weights, COUNT, generator)
        a, b, c = corners[face].unbind(1)
        along, across = torch.rand(2, COUNT, 1, generator=generator)
        self.points = a + along.sqrt() * (b - a) + along.sqrt() * across * (c - b)
        self.normals = F.normalize(torch.linalg.cross(b - a, c - a), dim=1)
        self._place = cubes(self.points)
        self._due, self._seen = torch.ones(COUNT, dtype=torch.bool), torch.zeros(COUNT, dtype=torch.bool)
        self.covered = False

    def next(self) -> int:
        """The number of a random point that is due. Whether a view then shows it or something stands before it,
        another's turn comes.
        """
        number = self._one_of(self._due)
        self._take(self._place == self._place[number])
        return number

    def known(self) -> int:
        """The number of a random point that a view has shown; of any before there is one."""
        return self._one_of(self._seen if self._seen.any() else torch.ones_like(self._seen))

    def _one_of(self, which: torch.Tensor) -> int:
        numbers = which.nonzero().squeeze(1)
        return int(numbers[torch.randint(len(numbers), (), generator=self._generator)])

    def visible(self, number: int, gbuffer: GBuffer) -> bool:
        """Whether the point with this ``number``, or one hardly beside it, is to be seen there, from whatever angle."""
        device = gbuffer.position.device
        beside = (gbuffer.position - self.points[number].to(device)).norm(dim=1) < BESIDE
        return bool((beside & (gbuffer.normal @ self.normals[number].to(device) > 0)).any())

    def shown(self, view: View, gbuffer: GBuffer) -> None:
        """What ``view`` shows well is not due any more."""
        towards = F.normalize(torch.from_numpy(view.position).float() - self.points, dim=1)
        well = (towards * self.normals).sum(1) >= WELL
        well &= torch.isin(self._place, cubes(gbuffer.position.cpu()).unique())
        self._seen |= well
        self._take(well)

    def _take(self, which: torch.Tensor) -> None:
        self._due &= ~which
        if not self._due.any():
            # What could not be shown in a whole round can't be.
            self._due = self._seen.clone() if self._seen.any() else ~self._due
            self.covered = True


def _picks(weights: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) faces with probability proportional to ``weights`` (any number of faces)."""
    cumulative = weights.double().cumsum(0)
    values = torch.rand(count, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, values, right=True).clamp(max=len(weights) - 1)
