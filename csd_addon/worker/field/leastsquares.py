"""Fitting a ``ColorGrid`` to images: least squares by conjugate gradients.

The image of a view is linear in the numbers p (entries, C) of the grid, each channel for itself:

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

from ..look.gbuffer import GBuffer
from .colorgrid import ColorGrid
from .hashgrid import Cells, Level

# Of the mean of a level's diagonal: numbers that hardly show do not move far.
_LITTLE = 0.01


@dataclass(frozen=True)
class _Sums:
    """Weighted sums of rows of a table: the matrix-vector product of a sparse matrix, row by row.

    index (nonzero,) int32, weight (nonzero,) float32, start (rows,) int32, where the terms of each row begin.
    """

    index: torch.Tensor
    weight: torch.Tensor
    start: torch.Tensor

    @classmethod
    def of(cls, row: torch.Tensor, column: torch.Tensor, weight: torch.Tensor, rows: int) -> _Sums:
        """From terms that are sorted by their ``row``."""
        counts = torch.bincount(row, minlength=rows)
        return cls(column.int(), weight, (counts.cumsum(0) - counts).int())

    def __call__(self, table: torch.Tensor) -> torch.Tensor:
        """(rows, C) for a ``table`` (columns, C)."""
        return _sums(self.index, table, self.weight, self.start)

    def squared(self, table: torch.Tensor) -> torch.Tensor:
        """The same with the squares of the matrix's numbers."""
        return _sums(self.index, table, self.weight.square(), self.start)


class ViewMatrix:
    """A of one view. columns (n,): the grid's numbers that its pixels show."""

    def __init__(self, gbuffer: GBuffer, levels: tuple[Level, ...], share: torch.Tensor) -> None:
        """share: (P,), 0..1, how much of the grid's value each sample shows."""
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


def images(grid: ColorGrid, matrices: Sequence[ViewMatrix]) -> torch.Tensor:
    """(B, S * S, C) what the ``matrices`` show of the grid's numbers, without constants."""
    return torch.stack([matrix.image(grid.table[matrix.columns]) for matrix in matrices])


def fit(
    grid: ColorGrid, matrices: Sequence[ViewMatrix], change: torch.Tensor, weights: torch.Tensor, steps: int
) -> None:
    """Change the ``grid`` so that what ``matrices`` show changes by ``change`` (B, S * S, C), as far as ``steps`` go.

    weights: (B, S * S), 0 or above, of the squares.
    """
    joint = _Joint(len(grid.table), matrices, weights[..., None])
    scale = _preconditioner(joint.diagonal(), joint.columns, grid.levels)
    grid.table.index_add_(0, joint.columns, _solution(joint, scale[:, None], change, steps))


class _Joint:
    """A of several views, of the ``columns`` (n,) that any of them shows, and the pixels' weights (B, S * S, 1)."""

    def __init__(self, entries: int, matrices: Sequence[ViewMatrix], weights: torch.Tensor) -> None:
        shown = torch.zeros(entries, dtype=torch.bool, device=weights.device)
        for matrix in matrices:
            shown[matrix.columns] = True
        place = shown.cumsum(0) - 1
        self.columns = shown.nonzero().squeeze(1)
        self._matrices, self._places = matrices, [place[matrix.columns] for matrix in matrices]
        self.weights = weights

    def seen(self, numbers: torch.Tensor) -> torch.Tensor:
        """A p: (B, S * S, C) for (n, C)."""
        pairs = zip(self._matrices, self._places, strict=True)
        return torch.stack([matrix.image(numbers[place]) for matrix, place in pairs])

    def back(self, residuals: torch.Tensor) -> torch.Tensor:
        """A^T w r: (n, C) for (B, S * S, C)."""
        pairs = zip(self._matrices, self.weights * residuals, strict=True)
        return self._summed([matrix.back(part) for matrix, part in pairs])

    def diagonal(self) -> torch.Tensor:
        """(n,) of A^T w A."""
        pairs = zip(self._matrices, self.weights, strict=True)
        return self._summed([matrix.back.squared(part) for matrix, part in pairs])[:, 0]

    def _summed(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        sums = parts[0].new_zeros(len(self.columns), parts[0].shape[1])
        for place, part in zip(self._places, parts, strict=True):
            sums.index_add_(0, place, part)
        return sums


def _solution(joint: _Joint, scale: torch.Tensor, residual: torch.Tensor, steps: int) -> torch.Tensor:
    """p (n, C) with which A p is near ``residual`` (B, S * S, C): ``steps`` of conjugate gradients from 0."""
    moved = residual.new_zeros(len(joint.columns), residual.shape[-1])
    direction, descent = torch.zeros_like(moved), residual.new_zeros(())
    for _ in range(steps):
        gradient = joint.back(residual)
        former, descent = descent, (gradient * scale * gradient).sum()
        direction = scale * gradient + _ratio(descent, former) * direction
        seen = joint.seen(direction)
        length = _ratio(descent, (joint.weights * seen.square()).sum())
        moved, residual = moved + length * direction, residual - length * seen
    return moved


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
    return F.embedding_bag(index, table.contiguous(), start, mode="sum", per_sample_weights=weight)
