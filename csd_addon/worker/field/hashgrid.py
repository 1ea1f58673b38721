"""A field over the surface: multiresolution hash grid (Instant-NGP, arXiv 2201.05989) and a small MLP, in pure torch.

Points are (N, 3) float32 in the unit ball, i.e. in [-1, 1]. Values are (N, C) float32; colours among them are
sRGB-encoded, in the albedo range. Level l has cells of edge 2 / resolution(l). Tables are kept as one flat tensor per
feature, because gathers and scatter-adds on 1-D tensors are an order of magnitude faster on the CPU than on (N, 2)
ones. Corner indices and weights are recomputed in the backward pass, unless ``Cells`` keep them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

# Instant-NGP's spatial hash: 1, 2654435761, 805459861 as signed 32-bit numbers; products wrap around.
_PRIMES = (1, 2654435761 - 2**32, 805459861)

# Points handled at once on the CPU: 65,536 float32 are 256 kB.
_CPU_BLOCK = 65_536
# The same for the MLP, which has 64 numbers a point.
_CPU_MLP_BLOCK = 8192


@dataclass(frozen=True)
class Level:
    """One grid: cells per axis, first entry in the flat tables, number of entries, hashed or dense."""

    resolution: int
    offset: int
    entries: int
    hashed: bool

    @property
    def span(self) -> slice:
        """This level's part of the flat tables."""
        return slice(self.offset, self.offset + self.entries)


def level_table(levels: int, table_log2: int, coarsest: int, finest: int) -> tuple[Level, ...]:
    """Resolutions grow geometrically from ``coarsest`` to ``finest``; a level is hashed once it outgrows the table."""
    growth = (finest / coarsest) ** (1 / max(levels - 1, 1))
    table, offset = [], 0
    for index in range(levels):
        resolution = int(coarsest * growth**index + 1e-6)
        dense = (resolution + 1) ** 3
        entries = min(dense, 2**table_log2)
        table.append(Level(resolution, offset, entries, dense > entries))
        offset += entries
    return tuple(table)


class HashField(nn.Module):
    """Values at surface points: a hash grid of two features a level, and an MLP with one hidden layer and no biases.

    outputs: values per point. generator: source of the initial weights, so that equal seeds give equal fields.
    """

    def __init__(
        self, levels: tuple[Level, ...], *, outputs: int, hidden: int = 64, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.levels = levels
        total = sum(level.entries for level in levels)
        for name in ("first", "second"):
            table = (torch.rand(total, generator=generator) * 2 - 1) * 1e-4
            self.register_parameter(name, nn.Parameter(table))
        inputs = 2 * len(levels)
        self.hidden = nn.Parameter(_kaiming(hidden, inputs, generator))
        self.output = nn.Parameter(_kaiming(outputs, hidden, generator))

    def grid_parameters(self) -> list[nn.Parameter]:
        """The tables (they learn faster than the MLP)."""
        return [self.first, self.second]

    def mlp_parameters(self) -> list[nn.Parameter]:
        """The two weight matrices, without biases."""
        return [self.hidden, self.output]

    def forward(self, points: torch.Tensor | Cells) -> torch.Tensor:
        """(N, 3) points to (N, outputs) values."""
        features = encode(points, self.first, self.second, self.levels)  # (2L, N)
        size = _CPU_MLP_BLOCK if features.device.type == "cpu" else max(features.shape[1], 1)
        parts = [self.output @ torch.relu(self.hidden @ part) for part in features.split(size, dim=1)]
        return torch.cat(parts, dim=1).T


class TextureField(HashField):
    """Values at a surface point: ``low + (high - low) * sigmoid(mlp(grid(point)))``; start mid-grey everywhere.

    albedo: the range (low, high) of the values, inside [0, 1]: one that can reach 0 or 1 can never leave it.
    """

    def __init__(
        self, levels: tuple[Level, ...], *, channels: int, albedo: tuple[float, float], hidden: int = 64,
        generator: torch.Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(levels, outputs=channels, hidden=hidden, generator=generator)
        self.low, self.high = albedo

    def forward(self, points: torch.Tensor | Cells) -> torch.Tensor:
        """(N, 3) points to (N, C) values."""
        return self.low + (self.high - self.low) * torch.sigmoid(super().forward(points))


def encode(
    points: torch.Tensor | Cells, first: torch.Tensor, second: torch.Tensor, levels: tuple[Level, ...]
) -> torch.Tensor:
    """Trilinear features (2L, N) of (N, 3) points in [-1, 1]; row 2l holds the first feature of level l.

    Differentiable in the tables, not in the points.
    """
    cells = points if isinstance(points, Cells) else Cells(points, levels)
    features: torch.Tensor = _Encode.apply(cells, first, second)
    return features


class Cells:
    """In which cells (N, 3) points of [-1, 1] lie; found when asked for, and kept if they are asked for again.

    keep: 140 bytes a point and level. On a GPU they are as fast found as fetched.
    """

    def __init__(self, points: torch.Tensor, levels: tuple[Level, ...], *, keep: bool = False) -> None:
        self.points, self.levels = points, levels
        self._kept: list[tuple[slice, list[_Cell]]] | None = [] if keep and points.device.type == "cpu" else None

    def blocks(self) -> Iterator[tuple[slice, Iterable[_Cell]]]:
        """Which points, and their cell in each of the levels, block by block."""
        if self._kept:
            yield from self._kept
            return
        for part in _blocks(self.points):
            axes = _axes(self.points[part])
            cells = (_cell(axes, level) for level in self.levels)
            if self._kept is None:
                yield part, cells
            else:
                self._kept.append((part, list(cells)))
                yield self._kept[-1]


class _Cell:
    """Table indices (N,) int32 of the 8 ``corners`` of each point's cell, x fastest; ``upper`` (3, N), 0..1: where in
    the cell it lies."""

    def __init__(self, corners: list[torch.Tensor], upper: torch.Tensor) -> None:
        self.corners, self.upper = corners, upper

    @cached_property
    def entries(self) -> list[torch.Tensor]:
        """The corners as int64, which scattering asks for."""
        return [corner.long() for corner in self.corners]

    @cached_property
    def weights(self) -> list[torch.Tensor]:
        """The trilinear weight (N,) of each corner."""
        return list(_weights(self.upper))


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells: Cells, first: torch.Tensor, second: torch.Tensor) -> Any:
        ctx.cells, ctx.shape = cells, first.shape
        output = first.new_empty(2 * len(cells.levels), len(cells.points))
        for part, found in cells.blocks():
            for row, (level, cell) in enumerate(zip(cells.levels, found, strict=True)):
                for table, values in ((first, output[2 * row]), (second, output[2 * row + 1])):
                    values[part] = _trilinear(table[level.span], cell)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        first, second = gradient.new_zeros(ctx.shape), gradient.new_zeros(ctx.shape)
        for part, found in ctx.cells.blocks():
            for row, (level, cell) in enumerate(zip(ctx.cells.levels, found, strict=True)):
                one, two = first[level.span], second[level.span]
                g_one, g_two = gradient[2 * row, part], gradient[2 * row + 1, part]
                for entries, weight in zip(cell.entries, cell.weights, strict=True):
                    one.scatter_add_(0, entries, g_one * weight)
                    two.scatter_add_(0, entries, g_two * weight)
        return None, first, second


def _blocks(points: torch.Tensor) -> list[slice]:
    """On the CPU, blocks whose temporaries stay in the core's cache; on a GPU everything at once."""
    size = _CPU_BLOCK if points.device.type == "cpu" else max(len(points), 1)
    return [slice(start, start + size) for start in range(0, len(points), size)]


def _axes(points: torch.Tensor) -> torch.Tensor:
    """(3, N) coordinates in 0..2, each axis in one piece of memory: strided ones make every step after it slower."""
    return points.T.contiguous() + 1


def _cell(axes: torch.Tensor, level: Level) -> _Cell:
    """The cells of (3, N) coordinates in 0..2."""
    scaled = (axes * (level.resolution / 2)).clamp_(0, level.resolution)
    cell = scaled.floor().clamp_(max=level.resolution - 1)
    x, y, z = (_axis_terms(axis_cell, axis, level) for axis, axis_cell in enumerate(cell.to(torch.int32)))
    corners = []
    for outer, middle in ((k, j) for k in z for j in y):
        base = middle ^ outer if level.hashed else middle + outer
        corners += [(i ^ base).bitwise_and_(level.entries - 1) if level.hashed else i + base for i in x]
    return _Cell(corners, scaled - cell)


def _trilinear(table: torch.Tensor, cell: _Cell) -> torch.Tensor:
    """(N,) values of a flat table between the corners: first along x, then along y, then along z."""
    values = [table.index_select(0, index) for index in cell.corners]
    for share in cell.upper:
        values = [torch.lerp(a, b, share) for a, b in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def _weights(upper: torch.Tensor) -> Iterator[torch.Tensor]:
    """The trilinear weight (N,) of each corner, in the order of ``_cell``."""
    x, y, z = zip(1 - upper, upper, strict=True)
    for outer in z:
        for middle in y:
            rest = outer * middle
            yield from (inner * rest for inner in x)


def _axis_terms(cell: torch.Tensor, axis: int, level: Level) -> tuple[torch.Tensor, torch.Tensor]:
    """The contribution of one axis to the index, for the lower and the upper corner; int32, wrapping."""
    factor = _PRIMES[axis] if level.hashed else (level.resolution + 1) ** axis
    low = cell * factor
    return low, low + factor


def _kaiming(rows: int, columns: int, generator: torch.Generator | None) -> torch.Tensor:
    bound = (6 / columns) ** 0.5
    return (torch.rand(rows, columns, generator=generator) * 2 - 1) * bound
