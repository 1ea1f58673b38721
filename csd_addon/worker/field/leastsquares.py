"""Fitting a ``ColorGrid`` to images: least squares by conjugate gradients.

The image of a view is linear in the numbers p (entries, 3) of the grid, each colour channel for itself:

    image = constant + A p,      A (pixels, entries): how much of each number each pixel shows,

so the p that makes sum of w (A p - target)^2 smallest, w being the weight of a pixel, solves A^T w A p = A^T w target.
A few steps of conjugate gradients (Nocedal and Wright, Numerical Optimization, algorithm 5.3) from the p there is go
most of the way, preconditioned with

    M = 1 / sqrt(diagonal of A^T w A + a little).

The levels say the same thing several times over, so many p have nearly the same images, and M chooses among them. The
diagonal itself in place of its root converges in half as many steps, to changes that the finest levels make, which few
pixels show: what lies between the pixels is coloured noise then (docs/pitfalls.md). What no pixel shows stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..render.gbuffer import GBuffer
from .colorgrid import ColorGrid
from .hashgrid import Cells, Level

# Of the mean of a level's diagonal: numbers that hardly show do not move far.
_LITTLE = 0.01


@dataclass(frozen=True)
class _Sums:
    """Weighted sums of rows of a table: the matrix-vector product of a sparse matrix, row by row.

    index (nonzero,) int32, weight (nonzero,) float32, start (rows + 1,) int32, where the terms of each row begin.
    """

    index: torch.Tensor
    weight: torch.Tensor
    start: torch.Tensor

    @classmethod
    def of(cls, row: torch.Tensor, column: torch.Tensor, weight: torch.Tensor, rows: int) -> _Sums:
        """From terms that are sorted by their ``row``."""
        start = torch.zeros(rows + 1, dtype=torch.long, device=row.device)
        start[1:] = torch.bincount(row, minlength=rows).cumsum(0)
        return cls(column.int(), weight, start.int())

    def __call__(self, table: torch.Tensor) -> torch.Tensor:
        """(rows, C) for a ``table`` (columns, C)."""
        return _sums(self.index, table, self.weight, self.start)

    def squared(self, table: torch.Tensor) -> torch.Tensor:
        """The same with the squares of the matrix's numbers."""
        return _sums(self.index, table, self.weight.square(), self.start)


class Sight:
    """A of one view. columns (n,): the grid's numbers that its pixels show."""

    def __init__(self, gbuffer: GBuffer, levels: tuple[Level, ...], share: torch.Tensor) -> None:
        """share: (P,), 0..1, how much of the grid's colour each sample shows."""
        row, column, weight = _terms(gbuffer, levels, share / gbuffer.supersample**2)
        entries, pixels = sum(level.entries for level in levels), gbuffer.size**2
        shown = torch.zeros(entries, dtype=torch.bool, device=row.device)
        shown[column] = True
        self.columns = shown.nonzero().squeeze(1)
        column = (shown.cumsum(0) - 1)[column]
        count = len(self.columns)
        key, place = torch.unique(row * count + column, return_inverse=True)
        weight = weight.new_zeros(len(key)).index_add_(0, place, weight)
        row, column = torch.div(key, count, rounding_mode="floor"), key % count
        self.image = _Sums.of(row, column, weight, pixels)
        order = torch.argsort(column, stable=True)
        self.back = _Sums.of(column[order], row[order], weight[order], count)


def _terms(
    gbuffer: GBuffer, levels: tuple[Level, ...], share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixel, number of the grid and weight, each (terms,), of all corners of all samples."""
    rows, columns, weights = [], [], []
    for part, cells in Cells(gbuffer.position, levels).blocks():
        for level, cell in zip(levels, cells, strict=True):
            for entries, weight in zip(cell.entries, cell.weights, strict=True):
                rows.append(gbuffer.pixel[part])
                columns.append(entries + level.offset)
                weights.append(weight * share[part])
    return torch.cat(rows), torch.cat(columns), torch.cat(weights)


def images(grid: ColorGrid, sights: Sequence[Sight]) -> torch.Tensor:
    """(B, S * S, 3) what the ``sights`` show of the grid's numbers, without constants."""
    return torch.stack([sight.image(grid.table[sight.columns]) for sight in sights])


def fit(
    grid: ColorGrid, sights: Sequence[Sight], change: torch.Tensor, weights: torch.Tensor, steps: int
) -> None:
    """Change the ``grid`` so that what ``sights`` show changes by ``change`` (B, S * S, 3), as far as ``steps`` go.

    weights: (B, S * S), 0 or above, of the squares.
    """
    shown = torch.zeros(len(grid.table), dtype=torch.bool, device=change.device)
    for sight in sights:
        shown[sight.columns] = True
    place = shown.cumsum(0) - 1
    where = [place[sight.columns] for sight in sights]
    columns, weights = shown.nonzero().squeeze(1), weights[..., None]

    def back(residual: torch.Tensor) -> torch.Tensor:
        gradient = residual.new_zeros(len(columns), residual.shape[-1])
        for sight, index, part in zip(sights, where, residual, strict=True):
            gradient.index_add_(0, index, sight.back(part))
        return gradient

    diagonal = change.new_zeros(len(columns))
    for sight, index, weight in zip(sights, where, weights, strict=True):
        diagonal.index_add_(0, index, sight.back.squared(weight)[:, 0])
    scale = _preconditioner(diagonal, columns, grid.levels)[:, None]
    residual, moved = change, change.new_zeros(len(columns), change.shape[-1])
    direction, descent = torch.zeros_like(moved), change.new_zeros(())
    for _ in range(steps):
        gradient = back(weights * residual)
        scaled = scale * gradient
        former, descent = descent, (gradient * scaled).sum()
        direction = scaled + direction * _ratio(descent, former)
        seen = torch.stack([s.image(direction[index]) for s, index in zip(sights, where, strict=True)])
        length = _ratio(descent, (weights * seen.square()).sum())
        moved = moved + length * direction
        residual = residual - length * seen
    grid.table.index_add_(0, columns, moved)


def _preconditioner(diagonal: torch.Tensor, columns: torch.Tensor, levels: tuple[Level, ...]) -> torch.Tensor:
    """M (n,) for the numbers ``columns`` (n,) of the grid."""
    ends = torch.tensor([level.span.stop for level in levels], device=columns.device)
    level = torch.bucketize(columns, ends, right=True)
    sums = diagonal.new_zeros(2, len(levels)).index_add_(1, level, torch.stack([diagonal, torch.ones_like(diagonal)]))
    means = sums[0] / sums[1].clamp(min=1)
    smallest = torch.finfo(diagonal.dtype).tiny
    return (diagonal + _LITTLE * means[level] + smallest).rsqrt()


def _ratio(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """one / other, 0 where other is 0."""
    return torch.where(other > 0, one / other.clamp(min=torch.finfo(other.dtype).tiny), 0.0)


def _sums(index: torch.Tensor, table: torch.Tensor, weight: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    return F.embedding_bag(
        index, table.contiguous(), start, mode="sum", per_sample_weights=weight, include_last_offset=True
    )
