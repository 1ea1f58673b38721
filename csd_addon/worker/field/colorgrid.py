"""A field of colours that is linear in its numbers: the hash grid of ``hashgrid`` with a colour in place of features.

    colour(point) = 1/2 + sum over levels of (trilinear interpolation of its table),  kept in the albedo range

Points are (N, 3) float32 in [-1, 1], colours (N, 3) float32, sRGB-encoded. What is linear is fitted to images by linear
least squares (``leastsquares``), without a derivative. An MLP's field is fitted several times more slowly.
"""

from __future__ import annotations

import torch
from torch import nn

from .hashgrid import Cells, Level, encode

MIDDLE = 0.5


class ColorGrid(nn.Module):
    """Starts mid-grey everywhere. albedo: the range (low, high) of the colours, inside [0, 1]."""

    def __init__(self, levels: tuple[Level, ...], *, albedo: tuple[float, float]) -> None:
        super().__init__()
        self.levels = levels
        self.low, self.high = albedo
        # (entries, 3): the levels' tables one after another.
        self.table = nn.Parameter(torch.zeros(sum(level.entries for level in levels), 3), requires_grad=False)

    def forward(self, points: torch.Tensor | Cells) -> torch.Tensor:
        """(N, 3) points to (N, 3) colours."""
        red, green, blue = self.table.T.contiguous()
        cells = points if isinstance(points, Cells) else Cells(points, self.levels, keep=True)
        # ``encode`` takes two tables at a time.
        both, rest = encode(cells, red, green, self.levels), encode(cells, blue, blue, self.levels)
        sums = torch.stack([both[0::2].sum(0), both[1::2].sum(0), rest[0::2].sum(0)], dim=1)
        return (MIDDLE + sums).clamp(self.low, self.high)
