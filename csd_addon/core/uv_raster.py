"""Which triangles hold which texels: scanline rasterisation in UV space.

A texel belongs to a triangle if its centre lies inside, left and upper edges included. Every edge is evaluated in the
same direction for both of its triangles, so neighbours leave no gap and share no texel. Where several triangles
hold a texel, the one with the lowest number is its first owner.
"""

from __future__ import annotations

import numpy as np

from .atlas import Shape, border_edges, texel_coordinates

# A triangle whose UVs span more repeats than this is not unrolled: such a layout tiles on purpose.
_MAX_TILES = 64
# Texels painted at once, and samples of edges: bounds the memory.
_CHUNK = 4_000_000


def unrolled(corner_uvs: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """UV triangles (T, 3, 2) in texels, repeated into 0..1 from every square that they touch.

    Returns (U, 3, 2) float64 (x right, y down) and the (U,) triangle each came from.
    """
    uv = corner_uvs.astype(np.float64)
    low, high = np.floor(uv.min(axis=1)), np.ceil(uv.max(axis=1)) - 1
    spans = np.maximum(high - low + 1, 1).astype(np.int64)
    spans[spans.prod(axis=1) > _MAX_TILES] = 1
    face = np.repeat(np.arange(len(uv)), spans.prod(axis=1))
    first = np.cumsum(spans.prod(axis=1)) - spans.prod(axis=1)
    number = np.arange(len(face)) - first[face]
    offset = np.stack([number % spans[face, 0], number // spans[face, 0]], axis=1) + low[face]
    return texel_coordinates(uv[face] - offset[:, None], shape), face


def owners(corner_uvs: np.ndarray, shape: Shape) -> np.ndarray:
    """(H, W) int32: how many of the (T, 3, 2) UV triangles hold each texel's centre.

    Neighbours share an edge without gap or overlap: it is evaluated in the same direction for both of them.
    """
    height, width = shape
    triangle, row, left, right = spans(unrolled(corner_uvs, shape)[0], shape)
    count = np.bincount(row * (width + 1) + left, minlength=height * (width + 1))
    count -= np.bincount(row * (width + 1) + right, minlength=height * (width + 1))
    return np.asarray(np.cumsum(count.reshape(height, width + 1), axis=1)[:, :-1], np.int32)


def overlap(count: np.ndarray) -> float:
    """Share of the texels with an owner that have more than one. count: see ``owners``."""
    return float((count > 1).sum() / max((count > 0).sum(), 1))


def spans(corners: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The horizontal spans of texels whose centres lie in the (U, 3, 2) triangles ``corners`` (in texels).

    Returns triangle, row, and the half-open columns [left, right), (S,) int64 each; no span is empty.
    """
    height, width = shape
    corners = np.where(np.isfinite(corners).all(axis=(1, 2), keepdims=True), corners, -1.0)
    order = np.argsort(corners[..., 1], axis=1, kind="stable")
    top, middle, bottom = np.moveaxis(np.take_along_axis(corners, order[..., None], axis=1), 1, 0)
    first = np.ceil(np.stack([top[:, 1], middle[:, 1], bottom[:, 1]], 1) - 0.5).clip(0, height).astype(np.int64)
    counts = first[:, 2] - first[:, 0]
    triangle = np.repeat(np.arange(len(corners)), counts)
    row = np.arange(len(triangle)) - np.repeat(np.cumsum(counts) - counts - first[:, 0], counts)
    upper = row < first[triangle, 1]
    long = _crossing(top, bottom)
    short = (np.where(upper, a[triangle], b[triangle]) for a, b in zip(
        _crossing(top, middle), _crossing(middle, bottom), strict=True))  # fmt: skip
    ends = [x + slope * (row + 0.5 - y) for x, y, slope in ([part[triangle] for part in long], short)]
    left, right = (np.ceil(end - 0.5).clip(0, width).astype(np.int64) for end in (np.minimum(*ends), np.maximum(*ends)))
    kept = right > left
    return triangle[kept], row[kept], left[kept], right[kept]


def _crossing(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the edges (U, 2) from a to b begin, and their slope dx/dy: the same numbers for both neighbours."""
    # Of two ends on one height the left one comes first, whatever the triangle.
    swap = (a[:, 1] == b[:, 1]) & (a[:, 0] > b[:, 0])
    a, b = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    rise = b[:, 1] - a[:, 1]
    return a[:, 0], a[:, 1], np.divide(b[:, 0] - a[:, 0], rise, out=np.zeros(len(a)), where=rise != 0)


def first_owner(corners: np.ndarray, shape: Shape, after: np.ndarray | None = None) -> np.ndarray:
    """(H, W) int32: the first of the (U, 3, 2) triangles (in texels) that holds each texel's centre, -1 for none.

    after: (H, W) int32; only triangles with a higher number than there count.
    """
    result = np.full(shape[0] * shape[1], -1, np.int32)
    triangle, row, left, right = spans(corners, shape)
    start, ends = (row * shape[1] + left).astype(np.int32), np.cumsum(right - left)
    cuts = np.searchsorted(ends, np.arange(_CHUNK, int(ends[-1]) if len(ends) else 0, _CHUNK)).tolist()
    # From the last to the first: of several assignments to one texel the last one stays.
    for low, high in reversed(list(zip([0, *cuts], [*cuts, len(start)], strict=True))):
        part = slice(low, high)
        counts = (right - left)[part][::-1]
        begin = (np.cumsum(counts) - counts).astype(np.int32)
        texel = np.arange(int(counts.sum()), dtype=np.int32) + np.repeat(start[part][::-1] - begin, counts)
        owner = np.repeat(triangle[part][::-1].astype(np.int32), counts)
        if after is not None:
            later = owner > after.reshape(-1)[texel]
            texel, owner = texel[later], owner[later]
        result[texel] = owner
    return result.reshape(shape)


def touching(corners: np.ndarray, border: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Texels that an edge of a triangle runs through: slivers, and the edges of charts.

    corners: (U, 3, 2) in texels. border: (3 U,) bool, the edges to look at (``atlas.edge_ends``). Returns flat texels
    (N,) int64, ascending, and their first triangles (N,) int64.
    """
    ends = np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2, 2)
    edges = np.flatnonzero(border & np.isfinite(ends).all(axis=(1, 2)))
    steps = np.clip(np.ceil(2 * np.abs(ends[edges, 1] - ends[edges, 0]).max(axis=1)), 1, 8 * max(shape))
    counts = steps.astype(np.int64) + 1
    number = np.cumsum(counts) // _CHUNK
    texels, triangles = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for chunk in np.unique(number):
        here = number == chunk
        texel, triangle = _along(ends[edges[here]], edges[here] // 3, counts[here], shape)
        texels.append(texel)
        triangles.append(triangle)
    texel, triangle = np.concatenate(texels), np.concatenate(triangles)
    order = np.lexsort((triangle, texel))
    texel, first = np.unique(texel[order], return_index=True)
    return texel, triangle[order][first]


def _along(
    ends: np.ndarray, triangle: np.ndarray, counts: np.ndarray, shape: Shape
) -> tuple[np.ndarray, np.ndarray]:
    """The texels under ``counts`` points along each edge (E, 2, 2), and the triangles of the edges."""
    edge = np.repeat(np.arange(len(ends)), counts)
    step = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (step / (counts - 1)[edge])[:, None]
    place = np.floor(ends[edge, 0] * (1 - share) + ends[edge, 1] * share)
    inside = ((place >= 0) & (place < shape[::-1])).all(axis=1)
    column, row = place[inside].astype(np.int64).T
    return row * shape[1] + column, triangle[edge[inside]]


def chart_borders(triangles: np.ndarray, corner_uvs: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(3 U,) bool: the edges of unrolled triangles at which a chart ends. face: see ``unrolled``."""
    return np.asarray(border_edges(triangles, corner_uvs).reshape(-1, 3)[face].reshape(-1))
