"""A field that is linear in its numbers: the hash grid of ``hashgrid`` with the values themselves for features.

    value(point) = 1/2 + sum over levels of (trilinear interpolation of its table),  kept in the albedo range

Points are (N, 3) float32 in [-1, 1], values (N, C) float32, colours among them sRGB-encoded. What is linear is fitted
to images by linear least squares (``leastsquares``), without a derivative. An MLP's field is fitted several times more
slowly.
"""

from __future__ import annotations

import torch
from torch import nn

from .hashgrid import Cells, Level, encode

MIDDLE = 0.5


class ColorGrid(nn.Module):
    """Starts mid-grey everywhere. channels: C. albedo: the range (low, high) of the values, inside [0, 1]."""

    def __init__(self, levels: tuple[Level, ...], *, channels: int, albedo: tuple[float, float]) -> None:
        super().__init__()
        self.levels = levels
        self.low, self.high = albedo
        # (entries, C): the levels' tables one after another.
        entries = sum(level.entries for level in levels)
        self.table = nn.Parameter(torch.zeros(entries, channels), requires_grad=False)

    def forward(self, points: torch.Tensor | Cells) -> torch.Tensor:
        """(N, 3) points to (N, C) values."""
        tables = list(self.table.T.contiguous())
        cells = points if isinstance(points, Cells) else Cells(points, self.levels, keep=True)
        sums = []
        # ``encode`` takes two tables at a time.
        for first, second in zip(tables[0::2], tables[1::2] + tables[-1:], strict=False):
            both = encode(cells, first, second, self.levels)
            sums += [both[0::2].sum(0), both[1::2].sum(0)]
        return (MIDDLE + torch.stack(sums[: len(tables)], dim=1)).clamp(self.low, self.high)
