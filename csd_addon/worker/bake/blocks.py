"""Where the field changes slowly, a bake asks it at few texels and interpolates the others.

The image is cut into blocks of ``STEP`` x ``STEP`` texels from its upper left corner. A block is *whole* if it, and
the row and the column of texels after it, lie on one connected piece of surface. Whole blocks are asked at their
corners (the upper left texels of four neighbours) and in their middle. Where the middle is the mean of the corners, in
the block and in the whole ones around it, the texels between are interpolated. So what is measured decides, not what
the field is said to be like.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 4
# Where the corners lie, in blocks from the first: down, right.
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def ask_in_blocks(
    alone: np.ndarray, ask: Callable[[np.ndarray], np.ndarray], exact: float
) -> tuple[np.ndarray, np.ndarray]:
    """Flat texels (n,) int64 that got a value, and the values (n, C); the later one counts where a texel comes twice.

    alone: (H, W) bool, see ``whole_blocks``. ask: flat texels (m,) to values (m, C). exact: see ``slow_blocks``.
    """
    whole, width = whole_blocks(alone), alone.shape[1]
    corner = corners(whole)
    places = texels(corner, 0, width), texels(whole, STEP // 2, width)
    values = [ask(place) for place in places]
    lattice = np.zeros((*corner.shape, values[0].shape[1]), values[0].dtype)
    lattice[corner] = values[0]
    place, between = interpolated(slow_blocks(whole, lattice, values[1], exact), lattice, width)
    return np.concatenate([*places, place]), np.concatenate([*values, between])


def whole_blocks(alone: np.ndarray) -> np.ndarray:
    """(h, w) bool: the whole blocks. alone: (H, W) bool, the texels inside a chart that show one face."""
    h, w = ((edge - 1) // STEP for edge in alone.shape)
    rows = np.logical_and.reduce([alone[k : k + h * STEP : STEP] for k in range(STEP + 1)])
    return np.asarray(np.logical_and.reduce([rows[:, k : k + w * STEP : STEP] for k in range(STEP + 1)]))


def corners(whole: np.ndarray) -> np.ndarray:
    """(h + 1, w + 1) bool: which corners the (h, w) whole blocks have."""
    h, w = whole.shape
    result = np.zeros((h + 1, w + 1), bool)
    for dy, dx in _CORNERS:
        result[dy : h + dy, dx : w + dx] |= whole
    return result


def texels(chosen: np.ndarray, shift: int, width: int) -> np.ndarray:
    """(n,) int64 flat texels, ``shift`` right of and below the first ones of the ``chosen`` (h, w) blocks."""
    row, column = np.nonzero(chosen)
    return np.asarray((row * STEP + shift) * width + column * STEP + shift)


def slow_blocks(whole: np.ndarray, lattice: np.ndarray, middle: np.ndarray, exact: float) -> np.ndarray:
    """(h, w) bool: the blocks to interpolate. whole: (h, w) bool.

    lattice: (h + 1, w + 1, C) values at the corners. middle: (n, C), those in the middles of the whole blocks.
    exact: by how much a middle may miss the mean of its corners.
    """
    h, w = whole.shape
    mean = sum(lattice[dy : h + dy, dx : w + dx] for dy, dx in _CORNERS) / 4
    rough = np.zeros((h + 2, w + 2), bool)
    rough[1:-1, 1:-1][whole] = (np.abs(middle - mean[whole]) > exact).any(axis=1)
    near = np.logical_or.reduce([rough[dy : h + dy, dx : w + dx] for dy in range(3) for dx in range(3)])
    return np.asarray(whole & ~near)


def interpolated(slow: np.ndarray, lattice: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat texels (n,) int64 of the ``slow`` blocks and their values (n, C), bilinear between the corners."""
    row, column = np.nonzero(slow)
    ends = np.stack([lattice[row + dy, column + dx] for dy, dx in _CORNERS], axis=1)
    y, x = (part.reshape(-1, 1) / STEP for part in np.divmod(np.arange(STEP**2), STEP))
    shares = np.concatenate([(y if dy else 1 - y) * (x if dx else 1 - x) for dy, dx in _CORNERS], axis=1)
    values = shares.astype(lattice.dtype) @ ends
    inside = (np.arange(STEP)[:, None] * width + np.arange(STEP)).ravel()
    return (texels(slow, 0, width)[:, None] + inside).ravel(), values.reshape(-1, lattice.shape[2])
