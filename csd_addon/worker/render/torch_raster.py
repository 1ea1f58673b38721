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
    best = torch.zeros(height * width, dtype=torch.int64, device=points.device)
    triangle, row = _covered_rows(points, triangles[kept], height)
    left, right = _row_spans(points, triangles[kept][triangle], row, width)
    plane = _plane(points, nearness, triangles[kept])[triangle]
    at_left = plane[:, 0] + plane[:, 1] * (left + 0.5) + plane[:, 2] * (row + 0.5)
    start, counts = row * width + left, (right - left).clamp_(min=0)
    for part in _chunks(counts):
        _splat(best, kept[triangle[part]], start[part], counts[part], at_left[part], plane[part, 1])
    ids = 0x7FFFFFFF - (best & 0x7FFFFFFF)
    return torch.where(best > 0, ids, -1).reshape(height, width)


def _expand(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Repeat index i ``counts[i]`` times; also return each copy's running number within its group."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    starts = torch.cumsum(counts, 0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - starts[owner]


def _covered_rows(
    points: torch.Tensor, triangles: torch.Tensor, height: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(pairs,) triangle index and (pairs,) row for every scanline whose centre a triangle crosses."""
    y = points[:, 1][triangles]
    first = torch.ceil(y.amin(1) - 0.5).clamp(0, height).long()
    last = torch.ceil(y.amax(1) - 0.5).clamp(0, height).long()
    triangle, offset = _expand(last - first)
    return triangle, first[triangle] + offset


def _row_spans(
    points: torch.Tensor, corners: torch.Tensor, row: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half-open column range [left, right) of each (triangle, row) pair."""
    center = row.to(points.dtype) + 0.5
    low = torch.full_like(center, torch.inf)
    high = torch.full_like(center, -torch.inf)
    x, y = points[:, 0].contiguous(), points[:, 1].contiguous()
    for k in range(3):
        a = torch.minimum(corners[:, k], corners[:, (k + 1) % 3])
        b = torch.maximum(corners[:, k], corners[:, (k + 1) % 3])
        ya, yb = y[a], y[b]
        crosses = (ya <= center) != (yb <= center)
        at = x[a] + (center - ya) * ((x[b] - x[a]) / (yb - ya))
        low = torch.where(crosses, torch.minimum(low, at), low)
        high = torch.where(crosses, torch.maximum(high, at), high)
    left = torch.ceil(low - 0.5).clamp(0, width).long()
    right = torch.ceil(high - 0.5).clamp(0, width).long()
    return left, right


def _plane(points: torch.Tensor, nearness: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """(T, 3) float64 coefficients (c, cx, cy) of nearness = c + cx x + cy y over each triangle."""
    p, q, r = (points[triangles[:, k]] for k in range(3))
    n = nearness.to(points.dtype)[triangles]
    e1, e2 = q - p, r - p
    d1, d2 = n[:, 1] - n[:, 0], n[:, 2] - n[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    # A triangle seen edge-on covers no pixel centre worth naming: any finite plane will do.
    inverse = torch.where(area == 0, 0.0, 1 / area)
    cx = (d1 * e2[:, 1] - d2 * e1[:, 1]) * inverse
    cy = (d2 * e1[:, 0] - d1 * e2[:, 0]) * inverse
    return torch.stack([n[:, 0] - cx * p[:, 0] - cy * p[:, 1], cx, cy], dim=1)


def _chunks(counts: torch.Tensor) -> list[slice]:
    """Slices of consecutive pairs whose fragments together stay near ``_CHUNK``."""
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
    span, offset = _expand(counts)
    value = (at_left[span] + slope[span] * offset).to(torch.float32).clamp_(min=1e-30)
    key = (value.view(torch.int32).long() << 31) | (0x7FFFFFFF - ids)[span]
    best.scatter_reduce_(0, start[span] + offset, key, reduce="amax")
