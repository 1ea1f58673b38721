"""Texels of a texture image: wrapping, bilinear look-up, margin. UV origin bottom left, images row 0 at the top.

Images are H x W, square or not. Texel (row, column) has its centre at u = (column + 0.5) / W, v = 1 - (row + 0.5) / H.
UVs outside 0..1 repeat, as Blender's image texture does.
"""

from __future__ import annotations

import numpy as np

Shape = tuple[int, int]


def margin_width(shape: Shape) -> int:
    """Margin in texels around each chart: 16 at 2048, scaled with the longer edge, at least 4."""
    return max(4, max(shape) // 128)


def texel_coordinates(uv: np.ndarray, shape: Shape) -> np.ndarray:
    """(..., 2) UVs to (..., 2) float64 image coordinates (x right, y down) in texels; not wrapped."""
    uv = np.asarray(uv, dtype=np.float64)
    return np.stack([uv[..., 0] * shape[1], (1 - uv[..., 1]) * shape[0]], axis=-1)


def sample_bilinear(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Look up (N, 2) ``uv`` in an (H, W, C) image as a renderer does: bilinear, repeating. (N, C) float64."""
    height, width = image.shape[:2]
    position = texel_coordinates(uv, (height, width)) - 0.5
    low = np.floor(position).astype(np.int64)
    part = position - low
    result = np.zeros((len(uv), image.shape[2]))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            result += weight[:, None] * image[(low[:, 1] + dy) % height, (low[:, 0] + dx) % width]
    return result


def nearest_filled(filled: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """For every texel the nearest filled one within ``radius`` (Euclidean, wrapping at the borders).

    filled: (H, W) bool. Returns flat indices (H, W) int64 and squared distances (H, W) int64; where nothing is
    near enough the index is -1. Exact: columns first, then rows, both by exhaustive search over the window.
    """
    far = np.int64(4 * radius * radius + 1)
    column_distance, column_index = _nearest_in_column(filled, radius, far)
    best, index = np.full(filled.shape, far), np.full(filled.shape, -1, dtype=np.int64)
    for shift in sorted(range(-radius, radius + 1), key=abs):
        distance = np.roll(column_distance, -shift, axis=1) + shift * shift
        nearer = distance < best
        best = np.where(nearer, distance, best)
        index = np.where(nearer, np.roll(column_index, -shift, axis=1), index)
    outside = best > radius * radius
    return np.where(outside, -1, index), np.where(outside, far, best)


def _nearest_in_column(filled: np.ndarray, radius: int, far: np.int64) -> tuple[np.ndarray, np.ndarray]:
    """Squared distance to, and flat index of, the nearest filled texel in the same column."""
    own = np.arange(filled.size).reshape(filled.shape)
    best, index = np.where(filled, 0, far), np.where(filled, own, -1)
    for shift in range(1, radius + 1):
        for step in (shift, -shift):
            hit = np.roll(filled, -step, axis=0) & (best == far)
            best = np.where(hit, shift * shift, best)
            index = np.where(hit, np.roll(own, -step, axis=0), index)
    return best, index


def fill_margin(image: np.ndarray, filled: np.ndarray, radius: int) -> np.ndarray:
    """Copy each chart's border outwards by ``radius`` texels; the rest takes the mean of the filled texels.

    image: (H, W, C) float. filled: (H, W) bool. Filled texels are untouched; applying it twice changes nothing.
    """
    if not filled.any():
        return image
    index, _ = nearest_filled(filled, radius)
    flat = image.reshape(-1, image.shape[2])
    result = np.where((index >= 0)[..., None], flat[np.maximum(index, 0)], flat[filled.ravel()].mean(axis=0))
    result[filled] = image[filled]
    return np.asarray(result)


def seam_edges(triangles: np.ndarray, corner_uvs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of every mesh edge whose two triangles disagree in UV space.

    triangles: (T, 3) vertex indices. corner_uvs: (T, 3, 2). Returns two (E, 2, 2) float64 arrays of end points in
    UV, one for each side, in the same direction along the edge.
    """
    corners = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    uvs = np.stack([corner_uvs, np.roll(corner_uvs, -1, axis=1)], axis=2).reshape(-1, 2, 2).astype(np.float64)
    flipped = corners[:, 0] > corners[:, 1]
    corners = np.where(flipped[:, None], corners[:, ::-1], corners)
    uvs = np.where(flipped[:, None, None], uvs[:, ::-1], uvs)
    order = np.lexsort((corners[:, 1], corners[:, 0]))
    same = (corners[order][1:] == corners[order][:-1]).all(axis=1)
    a, b = uvs[order][:-1][same], uvs[order][1:][same]
    apart = np.abs(a - b).max(axis=(1, 2)) > 1e-5
    return a[apart], b[apart]


def seam_error(image: np.ndarray, triangles: np.ndarray, corner_uvs: np.ndarray) -> tuple[float, float]:
    """Mean and maximum colour difference across UV seams, 0..255.

    Both sides of each seam edge are looked up bilinearly, at points about one texel apart, as a renderer would.
    Returns (0, 0) for a mesh without seams.
    """
    a, b = seam_edges(triangles, corner_uvs)
    if len(a) == 0:
        return 0.0, 0.0
    lengths = np.linalg.norm(a[:, 1] - a[:, 0], axis=1) * max(image.shape[:2])
    counts = np.clip(np.ceil(lengths), 1, 64).astype(np.int64)
    edge = np.repeat(np.arange(len(a)), counts)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = ((number + 0.5) / counts[edge])[:, None]
    sides = [sample_bilinear(image, s[edge, 0] * (1 - share) + s[edge, 1] * share) for s in (a, b)]
    difference = np.abs(sides[0] - sides[1]).max(axis=1) * 255
    return float(difference.mean()), float(difference.max())


def chart_labels(triangles: np.ndarray, corner_uvs: np.ndarray) -> np.ndarray:
    """(T,) int64: equal for triangles of one chart, i.e. connected through vertices with the same place in UV space."""
    places = np.concatenate([triangles.reshape(-1, 1), np.round(corner_uvs.reshape(-1, 2) * 1e5)], axis=1)
    _, node = np.unique(places, axis=0, return_inverse=True)
    node = node.reshape(-1, 3)
    label = np.arange(node.max(initial=-1) + 1)
    while True:
        before, lowest = label.copy(), label[node].min(axis=1)
        np.minimum.at(label, node, lowest[:, None])
        # Jump along the chain: long charts settle in few rounds.
        label = label[label]
        if (label == before).all():
            return np.asarray(label[node[:, 0]])
