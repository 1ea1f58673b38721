"""How much an unwrapping stretches a surface."""

from __future__ import annotations

import numpy as np


def stretch(corners: np.ndarray, places: np.ndarray) -> float:
    """How many times as long as across a small circle becomes in the UV map, mean over the surface.

    corners: (T, 3, 3) of triangles in space. places: (T, 3, 2) in the UV map.
    """
    points, places = corners.astype(float), places.astype(float)
    e, f = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    area, length = np.linalg.norm(np.cross(e, f), axis=1) / 2, np.linalg.norm(e, axis=1)
    kept = area > 1e-9 * area.sum()
    e, f, area, length, places = e[kept], f[kept], area[kept], length[kept], places[kept]
    flat = np.zeros((len(e), 2, 2))
    flat[:, 0, 0], flat[:, 0, 1], flat[:, 1, 1] = length, (e * f).sum(axis=1) / length, 2 * area / length
    moved = np.stack([places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]], axis=2)
    longest, shortest = np.linalg.svd(moved @ np.linalg.inv(flat), compute_uv=False).T
    return float((longest / np.maximum(shortest, 1e-9) * area).sum() / area.sum())
