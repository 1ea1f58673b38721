"""Scanline rasterisation in pure torch: the same code for camera views and for UV space, on any device.

Pixels: x right, y down, pixel (row, column) has its centre at (column + 0.5, row + 0.5). A pixel belongs
to a triangle if its centre lies inside, left and upper edges included, right and lower ones not, so that
neighbours share an edge without gap or overlap: every edge is evaluated from its lower-numbered to its
higher-numbered vertex, which gives both neighbours bit-identical crossings.
"""

from __future__ import annotations

import torch

# Fragments handled at once: bounds the memory at about 100 bytes each.
_CHUNK = 4_000_000


def rasterize(
    points: torch.Tensor, nearness: torch.Tensor, triangles: torch.Tensor, *, height: int, width: int
) -> torch.Tensor:
    """Find the nearest triangle at every pixel centre.

    points: (V, 2) float, pixel coordinates. nearness: (V,) float > 0 and linear in screen space, larger is
    nearer (1 / depth for a perspective camera; constant for UV space). triangles: (T, 3) int64.
    Returns (height, width) int64 triangle ids, -1 where there is none. On equal nearness the lowest id wins,
    so the result does not depend on the order of execution. Triangles with a vertex at nearness <= 0
    (behind the camera) or a non-finite one are left out.
    """
    points = points.to(torch.float64)
    usable = torch.isfinite(points).all(1) & (nearness > 0)
    kept = torch.nonzero(usable[triangles].all(1)).squeeze(1)
    triangles = triangles[kept]
    best = torch.zeros(height * width, dtype=torch.int64, device=points.device)
    triangle, row, left, right = _spans(points, triangles, height, width)
    constant, across, down = (c.index_select(0, triangle) for c in _plane(points, nearness, triangles))
    at_left = constant + across * (left + 0.5) + down * (row + 0.5)
    start, counts, ids = row * width + left, (right - left).clamp_(min=0), kept.index_select(0, triangle)
    for part in _chunks(counts):
        _splat(best, ids[part], start[part], counts[part], at_left[part], across[part])
    nearest = 0x7FFFFFFF - (best & 0x7FFFFFFF)
    return torch.where(best > 0, nearest, -1).reshape(height, width)


def _spans(
    points: torch.Tensor, triangles: torch.Tensor, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The horizontal spans that the triangles cover: triangle, row, and the half-open columns [left, right).

    Each triangle is cut at its middle vertex, so that every row is bounded by exactly two edges: the long one
    and one of the two short ones.
    """
    x, y = points[:, 0].contiguous(), points[:, 1].contiguous()
    heights = y[triangles]
    order = heights.argsort(1)
    top, middle, bottom = triangles.gather(1, order).unbind(1)
    first_row = torch.ceil(heights.gather(1, order) - 0.5).clamp_(0, height).long()
    long_edge, upper, lower = _edge(x, y, top, bottom), _edge(x, y, top, middle), _edge(x, y, middle, bottom)
    first, last = first_row[:, :2].T.flatten(), first_row[:, 1:].T.flatten()
    half = torch.nonzero(last > first).squeeze(1)
    owner, row = _expand((last - first)[half], first[half])
    half = half.index_select(0, owner)
    triangle = half % max(len(triangles), 1)
    a = _at_row(long_edge, triangle, row)
    b = _at_row(tuple(torch.cat(pair) for pair in zip(upper, lower, strict=True)), half, row)
    left, right = (torch.ceil(end - 0.5).clamp_(0, width).long() for end in (torch.minimum(a, b), torch.maximum(a, b)))
    return triangle, row, left, right


def _edge(x: torch.Tensor, y: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Intercept and slope of x along each edge, by row number; from the lower- to the higher-numbered vertex."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    x_low, y_low = x.index_select(0, low), y.index_select(0, low)
    slope = (x.index_select(0, high) - x_low) / (y.index_select(0, high) - y_low)
    return x_low + (0.5 - y_low) * slope, slope


def _at_row(edge: tuple[torch.Tensor, ...], index: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """x where the edges number ``index`` cross the centre line of ``row``."""
    intercept, slope = edge
    return intercept.index_select(0, index) + slope.index_select(0, index) * row


def _expand(counts: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Index i ``counts[i]`` times, and beside it the numbers ``start[i] .. start[i] + counts[i] - 1``."""
    owner = torch.repeat_interleave(counts)
    shift = start - (torch.cumsum(counts, 0) - counts)
    return owner, shift.index_select(0, owner) + torch.arange(len(owner), device=counts.device)


def _plane(
    points: torch.Tensor, nearness: torch.Tensor, triangles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(T,) float64 coefficients c, cx, cy of nearness = c + cx x + cy y over each triangle."""
    p, q, r = (points[triangles[:, k]] for k in range(3))
    n = nearness.to(points.dtype)[triangles]
    e1, e2 = q - p, r - p
    d1, d2 = n[:, 1] - n[:, 0], n[:, 2] - n[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    # A triangle seen edge-on covers no pixel centre worth naming: any finite plane will do.
    inverse = torch.where(area == 0, 0.0, 1 / area)
    cx = (d1 * e2[:, 1] - d2 * e1[:, 1]) * inverse
    cy = (d2 * e1[:, 0] - d1 * e2[:, 0]) * inverse
    return n[:, 0] - cx * p[:, 0] - cy * p[:, 1], cx, cy


def _chunks(counts: torch.Tensor) -> list[slice]:
    """Slices of consecutive spans whose fragments together stay near ``_CHUNK``."""
    if len(counts) == 0:
        return []
    number = torch.div(torch.cumsum(counts, 0) - 1, _CHUNK, rounding_mode="floor").clamp_(min=0)
    cuts = (torch.nonzero(number[1:] != number[:-1]).squeeze(1) + 1).tolist()
    edges = [0, *cuts, len(counts)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def _splat(
    best: torch.Tensor, ids: torch.Tensor, start: torch.Tensor, counts: torch.Tensor,
    at_left: torch.Tensor, slope: torch.Tensor,
) -> None:  # fmt: skip
    """Merge the fragments of horizontal spans into ``best``: the larger key wins.

    Span i covers pixels ``start[i] .. start[i] + counts[i] - 1`` with nearness ``at_left[i] + slope[i] * offset``.
    A key is the bit pattern of the positive float32 nearness (monotone as an integer) above the inverted id.
    """
    span, pixel = _expand(counts, start)
    base = at_left - slope * start
    value = (base.index_select(0, span) + slope.index_select(0, span) * pixel).to(torch.float32).clamp_(min=1e-30)
    key = (value.view(torch.int32).long() << 31) | (0x7FFFFFFF - ids).index_select(0, span)
    best.scatter_reduce_(0, pixel, key, reduce="amax")
