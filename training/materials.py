"""Procedural surfaces: the colour of points on an object.

Every material maps positions p [P, 3] in the unit ball and unit normals n [P, 3] to albedo [P, 3],
sRGB-encoded. The first colour covers most of the surface (half of it in two-coloured patterns).
Patterns are aligned with the object's axes and start at its centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ALBEDO_RANGE = (0.06, 0.94)
RUST = np.array([0.52, 0.26, 0.09])
METAL = np.array([0.50, 0.50, 0.51])


@dataclass(frozen=True)
class Paint:
    """Colours [3] a material may use. direction: 0 horizontal, 1 vertical, 2 diagonal."""

    rng: np.random.Generator
    first: np.ndarray
    second: np.ndarray
    direction: int
    named: bool = True


class Noise:
    """Value noise, about uniform in [-1, 1], smooth, on a random periodic lattice of 32 cells."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.lattice = rng.uniform(-1, 1, 32**3).astype(np.float32)

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


def toned(color: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """`color` darkened (amount < 0) or lightened (> 0) per point: [P, 3]."""
    amount = amount[:, None]
    return np.where(amount < 0, color * (1 + amount), color + (1 - color) * amount * 0.6)


def mix(base: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[:, None]
    return base * (1 - share) + other * share


def plain(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    return toned(k.first, Noise(k.rng)(p, 1.2) * k.rng.choice([0.0, 0.04]))


def brick(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    height = k.rng.choice([0.24, 0.30])
    uv = box_uv(p, n) / [height * 2.1, height]
    row = np.floor(uv[:, 1])
    u = uv[:, 0] + 0.5 * (row % 2)
    column = np.floor(u)
    fu, fv = u - column, uv[:, 1] - row
    mortar = (fu < 0.09) | (fv < 0.19)
    tone = 0.16 * per_cell(k.rng, row, column) + 0.07 * Noise(k.rng)(p, 9.0)
    return np.where(mortar[:, None], k.second, toned(k.first, tone))


def wood(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n)
    if k.direction == 0:
        uv = uv[:, ::-1]
    width, noise = k.rng.choice([0.3, 0.4]), Noise(k.rng)
    planks = k.rng.random() < 0.65
    plank = np.floor(uv[:, 0] / width) if planks else np.zeros(len(p))
    along = np.stack([uv[:, 0], uv[:, 1], plank * 3.7], axis=1)
    grain = (
        noise(along, np.array([11.0, 1.3, 1.0])) * 0.6
        + np.sin(26 * uv[:, 0] + 4 * noise(along, np.array([2.0, 1.2, 1.0]))) * 0.4
    )
    tone = 0.24 * grain + (0.14 * per_cell(k.rng, plank) if planks else 0)
    gap = (uv[:, 0] / width - plank < 0.1) if planks else np.zeros(len(p), bool)
    return toned(k.first, np.where(gap, -0.72, tone))


def patches(noise: Noise, p: np.ndarray, frequency: float, share: float) -> np.ndarray:
    """True on about `share` of the points, in connected patches."""
    value = noise(p, frequency, 2)
    return value < np.quantile(value, share)


def moss(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    green = toned(k.first, 0.34 * noise(p, 8.0, 2) + 0.1 * noise(p, 3.0))
    ground = toned(k.second, 0.2 * noise(p + 3.0, 5.0, 2))
    return np.where(patches(noise, p, 2.4, k.rng.uniform(0.12, 0.34))[:, None], ground, green)


def stone(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    crack = np.abs(noise(p + 5.0, 2.6, 2)) < 0.035
    return toned(k.first, np.where(crack, -0.5, 0.4 * noise(p, 4.0, 3)))


def cobblestone(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    spacing = k.rng.choice([0.36, 0.45])
    axis = np.arange(-1.1, 1.1 + spacing, spacing)
    seeds = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    seeds = (seeds + k.rng.uniform(-0.32, 0.32, seeds.shape) * spacing).astype(np.float32)
    seeds = seeds[np.linalg.norm(seeds, axis=1) < 1.4]
    squared = (seeds**2).sum(1) - 2 * p @ seeds.T
    two = np.argpartition(squared, 1, axis=1)[:, :2]
    near = np.sort(np.linalg.norm(p[:, None] - seeds[two], axis=-1), axis=1)
    owner = squared.argmin(axis=1)
    edge = (near[:, 1] - near[:, 0]) / spacing
    tone = 0.2 * per_cell(k.rng, owner) + 0.2 * np.clip(edge - 0.3, -0.3, 0.2) + 0.06 * Noise(k.rng)(p, 9.0)
    return np.where((edge < 0.10)[:, None], k.second, toned(k.first, tone))


def marble(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    warped = p + 0.35 * np.stack([noise(p + s, 2.0, 2) for s in (0.0, 11.0, 23.0)], axis=1)
    thick, thin = np.abs(noise(warped, 1.7)), np.abs(noise(warped + 9.0, 3.2))
    vein = np.maximum(1 - thick / 0.13, 0.75 - thin / 0.10)
    return mix(toned(k.first, 0.05 * noise(p, 2.0)), k.second, vein * 1.2)


def rust(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    if not k.named:
        bare = patches(noise, p, 2.2, k.rng.uniform(0.15, 0.35))
        return np.where(bare[:, None], toned(METAL, 0.1 * noise(p + 3, 5.0)), toned(k.first, 0.4 * noise(p, 7.0, 2)))
    eaten = patches(noise, p, 2.2, k.rng.uniform(0.2, 0.36))
    return np.where(eaten[:, None], toned(RUST, 0.35 * noise(p, 8.0, 2)), toned(k.first, 0.06 * noise(p + 3, 5.0)))


def checker(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    cell = np.floor(box_uv(p, n) / k.rng.choice([0.3, 0.4]))
    return np.where((cell.sum(axis=1) % 2 == 0)[:, None], k.first, k.second)


def stripe(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    u, v = box_uv(p, n).T
    along = (p[:, 2], u, (u + v) / np.sqrt(2))[k.direction]
    phase = along / k.rng.choice([0.4, 0.54]) + k.rng.choice([0.0, 0.5])
    return np.where((np.abs(phase - np.round(phase)) < 0.27)[:, None], k.first, k.second)


def dots(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n) / k.rng.choice([0.40, 0.50])
    if k.rng.random() < 0.6:
        uv = np.stack([uv[:, 0] + 0.5 * (np.floor(uv[:, 1]) % 2), uv[:, 1]], axis=1)
    radius = np.linalg.norm(uv - np.floor(uv) - 0.5, axis=1)
    return np.where((radius < 0.335)[:, None], k.second, k.first)


def tiles(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n) / k.rng.choice([0.36, 0.46])
    cell = np.floor(uv)
    grout = ((uv - cell) < 0.11).any(axis=1)
    tone = 0.12 * per_cell(k.rng, cell[:, 0], cell[:, 1])
    return np.where(grout[:, None], k.second, toned(k.first, tone))


def scales(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n) / k.rng.choice([0.30, 0.38])
    row = np.floor(uv[:, 1] * 1.5)
    u = uv[:, 0] + 0.5 * (row % 2)
    across, up = u - np.floor(u) - 0.5, uv[:, 1] * 1.5 - row
    rim = 0.62 - np.sqrt(np.maximum(0.27 - across**2, 0)) * 1.2
    shade = np.where(np.abs(up - rim) < 0.17, -0.75, np.where(up > rim, 0.35 * (up - 0.65), -0.12))
    return toned(k.first, shade)


def gold(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    band = np.sin(5.0 * n[:, 2] + 3.0 * n[:, 0] + 0.8 * Noise(k.rng)(p, 2.0))
    return toned(np.array([0.90, 0.74, 0.16]), 0.22 * band + np.where(band > 0.85, 0.5, 0.0))


def grass(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv, noise = box_uv(p, n), Noise(k.rng)
    blade = noise(np.stack([uv[:, 0], uv[:, 1], 0 * uv[:, 0]], 1), np.array([16.0, 4.5, 1.0]))
    return toned(k.first, 0.5 * blade + 0.15 * noise(p, 3.0))


def leather(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    crease = np.abs(noise(p, 7.0)) < 0.10
    return toned(k.first, np.where(crease, -0.4, 0.12 * noise(p + 4.0, 4.0, 2)))


FUNCTIONS = {
    f.__name__: f
    for f in (
        plain,
        brick,
        wood,
        moss,
        stone,
        cobblestone,
        marble,
        rust,
        checker,
        stripe,
        dots,
        tiles,
        scales,
        gold,
        grass,
        leather,
    )
}


def albedo(material: str, paint: Paint, position: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Albedo [P, 3] float32 within ALBEDO_RANGE at positions and unit normals [P, 3]."""
    # A face in a plane through a cell border must not flicker between two cells.
    nudged = position - 0.013 * normal
    return np.clip(FUNCTIONS[material](paint, nudged, normal), *ALBEDO_RANGE).astype(np.float32)
