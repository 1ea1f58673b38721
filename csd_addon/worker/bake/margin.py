"""The margin around the charts of a texture: which filled texel is nearest, and copying it outwards.

Images are (H, W, ...), row 0 at the top, and wrap around at their borders, as textures repeat.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Shape = tuple[int, int]

# Columns are searched for the nearest filled texel in this many steps before those that have theirs are put aside.
_STEPS = 4


def margin_width(shape: Shape) -> int:
    """Margin in texels around each chart: 16 at 2048, scaled with the longer edge, at least 4."""
    return max(4, max(shape) // 128)


def near_filled(filled: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The empty texels that have a filled one within ``radius`` (Euclidean), and which of them is nearest.

    filled: (H, W) bool. Returns flat indices (N,) int64 of the empty texels, ascending, of their nearest filled ones,
    and the squared distances (N,) int64. Exact: each column by running extrema, then each row by search.
    """
    offset = _nearest_in_column(filled, radius)
    near = (offset <= radius) & (offset >= -radius)
    texel = np.flatnonzero(~filled & _any_in_row(near, radius))
    shift, squared = _nearest_in_row(offset, texel, radius)
    near = squared <= radius * radius
    texel, shift, squared = texel[near], shift[near], squared[near]
    height, width = filled.shape
    row, column = texel // width, (texel % width + shift) % width
    source = (row + offset[row, column]) % height * width + column
    return texel, source, squared


def nearest_filled(filled: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """For every texel the nearest filled one within ``radius``, itself where it is filled.

    Returns flat indices (H, W) int64 and squared distances (H, W) int64; where nothing is near enough the index is -1.
    """
    texel, source, squared = near_filled(filled, radius)
    index = np.where(filled, np.arange(filled.size).reshape(filled.shape), -1)
    distance = np.where(filled, 0, np.int64(4 * radius * radius + 1))
    index.reshape(-1)[texel], distance.reshape(-1)[texel] = source, squared
    return index, distance


def fill_margin(image: np.ndarray, filled: np.ndarray, radius: int) -> np.ndarray:
    """Copy each chart's border outwards by ``radius`` texels; the rest takes the mean of the filled texels.

    image: (H, W, C) float. filled: (H, W) bool. Filled texels are untouched; applying it twice changes nothing.
    """
    if not filled.any():
        return image
    texel, source, _ = near_filled(filled, radius)
    result = image.copy()
    flat = result.reshape(-1, image.shape[2])
    flat[np.flatnonzero(~filled)] = _mean(image, filled)
    flat[texel] = flat[source]
    return result


def _mean(image: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """(C,) float64 mean of the filled texels: each row as a product of matrices, the rows in double precision."""
    rows = filled.astype(image.dtype)[:, None, :] @ image
    mean: np.ndarray = rows[:, 0].sum(axis=0, dtype=np.float64) / filled.sum()
    return mean


def _nearest_in_column(filled: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) int16 or int32: rows to go to the nearest filled texel of the same column; far more than ``radius`` if
    none is near."""
    height = len(filled)
    # The numbers are small, and the time goes into moving them.
    dtype: type[np.signedinteger[Any]] = np.int16 if 3 * (height + 2 * radius) < 2**15 else np.int32
    row = np.arange(-radius, height + radius, dtype=dtype)[:, None]
    far = dtype(height + 2 * radius)
    wrapped = filled.take(row[:, 0].astype(np.int64), axis=0, mode="wrap")
    above, below = np.where(wrapped, row, -far), np.where(wrapped, row, 2 * far)
    # Row by row: numpy's own accumulation along the first axis is twenty times slower.
    for i in range(1, len(row)):
        np.maximum(above[i], above[i - 1], out=above[i])
    for i in range(len(row) - 2, -1, -1):
        np.minimum(below[i], below[i + 1], out=below[i])
    inside = slice(radius, radius + height)
    up, down = row[inside] - above[inside], below[inside] - row[inside]
    return np.asarray(np.where(down <= up, down, np.negative(up)))


def _any_in_row(mask: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) bool: whether ``mask`` is set within ``radius`` columns."""
    reached = 0
    while reached < radius:
        step = min(radius - reached, reached + 1)
        mask = mask | np.roll(mask, step, axis=1) | np.roll(mask, -step, axis=1)
        reached += step
    return mask


def _nearest_in_row(offset: np.ndarray, texel: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """For flat indices ``texel`` the columns to go to the nearest filled texel, and the squared distance to it."""
    width = offset.shape[1]
    wrapped = offset.take(np.arange(-radius, width + radius), axis=1, mode="wrap").ravel()
    squares = wrapped.clip(-2 * radius, 2 * radius).astype(np.int32) ** 2
    place = texel // width * (width + 2 * radius) + texel % width + radius
    best, shift = squares[place], np.zeros(len(texel), np.int32)
    active = np.arange(len(texel))
    for step in range(1, radius + 1):
        if step % _STEPS == 1:
            # Farther columns can't help those that have something nearer by now.
            active = active[best[active] > step * step]
        for side in (-step, step):
            distance = squares[place[active] + side] + step * step
            nearer = distance < best[active]
            found = active[nearer]
            best[found], shift[found] = distance[nearer], side
    return shift, best.astype(np.int64)
