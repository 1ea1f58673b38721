"""What every surface is drawn with: colours, noise, cells, and coordinates across a face.

A surface maps a Paint, positions p [P, 3] in the unit ball and unit normals n [P, 3] to albedo [P, 3],
sRGB-encoded. Patterns are aligned with the object's axes (Z up). Lengths are in units of the ball's radius, and no
feature is finer than about 0.1: a training image has 32 pixels a unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LATTICE = 32


@dataclass(frozen=True)
class Paint:
    """Colours [3] a surface may use. direction: 0 horizontal, 1 vertical, 2 diagonal. named: False where the
    material shows its own colour.
    """

    rng: np.random.Generator
    first: np.ndarray
    second: np.ndarray
    direction: int
    named: bool = True


class Noise:
    """Value noise, about uniform in [-1, 1], smooth, on a random periodic lattice of 32 cells."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.lattice = rng.uniform(-1, 1, LATTICE**3).astype(np.float32)

    def __call__(self, p: np.ndarray, frequency: float | np.ndarray, octaves: int = 1) -> np.ndarray:
        total, weight = np.zeros(len(p), np.float32), 0.0
        for octave in range(octaves):
            total += 0.5**octave * self.once(p * frequency * 2**octave + 7.3 * octave)
            weight += 0.5**octave
        return total / weight

    def once(self, p: np.ndarray) -> np.ndarray:
        cell = np.floor(p)
        f = (p - cell).astype(np.float32)
        f = f * f * (3 - 2 * f)
        i = cell.astype(np.int64)
        x, y, z = ([i[:, k] & 31, (i[:, k] + 1) & 31] for k in range(3))
        value = np.zeros(len(p), np.float32)
        for corner in range(8):
            a, b, c = corner & 1, corner >> 1 & 1, corner >> 2
            weight = (f[:, 0] if a else 1 - f[:, 0]) * (f[:, 1] if b else 1 - f[:, 1]) * (f[:, 2] if c else 1 - f[:, 2])
            value += weight * self.lattice[x[a] * 1024 + y[b] * 32 + z[c]]
        return value

    def warp(self, p: np.ndarray, frequency: float, amount: float) -> np.ndarray:
        """p moved by up to `amount` along smooth waves."""
        return p + amount * np.stack([self(p + shift, frequency) for shift in (0.0, 11.0, 23.0)], axis=1)


@dataclass(frozen=True)
class Cells:
    """Voronoi cells at each point. owner [P] int64: which cell. tone [P] in [-1, 1]: one value a cell. edge [P]: how
    much nearer the nearest seed is than the next (0 on a border). center [P, 3]: from the nearest seed to the point.
    edge and center are in units of the spacing.
    """

    owner: np.ndarray
    tone: np.ndarray
    edge: np.ndarray
    center: np.ndarray


def cells(rng: np.random.Generator, p: np.ndarray, spacing: float | np.ndarray, jitter: float = 0.8) -> Cells:
    """Cells around one seed in each cube of edge `spacing`, moved by up to `jitter` / 2 of it."""
    shift = rng.uniform(-0.5, 0.5, (LATTICE**3, 3)).astype(np.float32) * jitter
    tones = rng.uniform(-1, 1, LATTICE**3).astype(np.float32)
    q = (p / spacing).astype(np.float32)
    cube = np.floor(q).astype(np.int64)
    near, next_ = np.full(len(q), 9.0, np.float32), np.full(len(q), 9.0, np.float32)
    owner, center = np.zeros(len(q), np.int64), np.zeros_like(q)
    for step in np.ndindex(3, 3, 3):
        c = cube + np.array(step) - 1
        key = (c[:, 0] & 31) * 1024 + (c[:, 1] & 31) * 32 + (c[:, 2] & 31)
        away = q - (c + 0.5) - shift[key]
        distance = np.sqrt((away * away).sum(axis=1))
        closer = distance < near
        next_ = np.where(closer, near, np.minimum(next_, distance))
        near = np.where(closer, distance, near)
        owner = np.where(closer, key, owner)
        center = np.where(closer[:, None], away, center)
    return Cells(owner, tones[owner], next_ - near, center)


def box_uv(p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """[P, 2]: the two coordinates across the normal's main axis; v is Z on the sides."""
    axis = np.abs(n).argmax(axis=1)
    u = np.where(axis == 0, p[:, 1], p[:, 0])
    v = np.where(axis == 2, p[:, 1], p[:, 2])
    return np.stack([u, v], axis=1)


def per_cell(rng: np.random.Generator, *cells: np.ndarray) -> np.ndarray:
    """A random value in [-1, 1] for each distinct tuple of integers."""
    key = sum(c.astype(np.int64) * k for c, k in zip(cells, (1, 37, 1009), strict=False))
    return rng.uniform(-1, 1, 997).astype(np.float32)[key % 997]


def staggered(uv: np.ndarray, width: float, height: float, shift: float = 0.5) -> tuple[np.ndarray, ...]:
    """Rows of boxes, every other row moved by `shift` of a box: row and column [P], and the place in the box in 0..1
    across and up.
    """
    v = uv[:, 1] / height
    row = np.floor(v)
    u = uv[:, 0] / width + shift * (row % 2)
    column = np.floor(u)
    return row, column, u - column, v - row


def toned(color: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """`color` darkened (amount < 0) or lightened (> 0) per point: [P, 3]."""
    amount = amount[:, None]
    return np.where(amount < 0, color * (1 + amount), color + (1 - color) * amount * 0.6)


def mix(base: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[:, None]
    return base * (1 - share) + other * share


def where(mask: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Colours `a` where `mask` [P], `b` elsewhere."""
    return np.where(mask[:, None], a, b)


def patches(noise: Noise, p: np.ndarray, frequency: float, share: float) -> np.ndarray:
    """True on about `share` of the points, in connected patches."""
    value = noise(p, frequency, 2)
    return value < np.quantile(value, share)
