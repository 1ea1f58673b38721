"""Plants and animals."""

from __future__ import annotations

import numpy as np

from .common import Noise, Paint, box_uv, cells, patches, staggered, toned, where

INK = np.array([0.09, 0.08, 0.08])
CREAM = np.array([0.90, 0.83, 0.68])


def moss(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    green = toned(k.first, 0.34 * noise(p, 8.0, 2) + 0.1 * noise(p, 3.0))
    ground = toned(k.second, 0.2 * noise(p + 3.0, 5.0, 2))
    return where(patches(noise, p, 2.4, k.rng.uniform(0.12, 0.34)), ground, green)


def grass(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv, noise = box_uv(p, n), Noise(k.rng)
    blade = noise(np.stack([uv[:, 0], uv[:, 1], 0 * uv[:, 0]], 1), np.array([16.0, 4.5, 1.0]))
    return toned(k.first, 0.5 * blade + 0.15 * noise(p, 3.0))


def bark(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Upright ridges parted by dark fissures."""
    noise = Noise(k.rng)
    warped = noise.warp(p, 2.0, 0.10)
    ridge = cells(k.rng, warped, np.array([0.2, 0.2, 0.62]) * k.rng.uniform(0.9, 1.25), 0.95)
    tone = 0.16 * ridge.tone + 0.3 * noise(p, np.array([10.0, 10.0, 2.5]))
    return toned(k.first, np.where(ridge.edge < 0.15, -0.72, tone))


def leaves(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    leaf = cells(k.rng, p, k.rng.uniform(0.3, 0.4), 0.95)
    across = box_uv(leaf.center, n) @ np.array([0.8, -0.6])
    tone = 0.4 * leaf.tone + 0.6 * across
    tone = np.where(np.abs(across) < 0.05, 0.5, tone)
    return toned(k.first, np.where(leaf.edge < 0.10, -0.72, tone))


def leather(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    crease = np.abs(noise(p, 7.0)) < 0.10
    return toned(k.first, np.where(crease, -0.4, 0.12 * noise(p + 4.0, 4.0, 2)))


def scales(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n) / k.rng.uniform(0.29, 0.4)
    row = np.floor(uv[:, 1] * 1.5)
    u = uv[:, 0] + 0.5 * (row % 2)
    across, up = u - np.floor(u) - 0.5, uv[:, 1] * 1.5 - row
    rim = 0.62 - np.sqrt(np.maximum(0.27 - across**2, 0)) * 1.2
    shade = np.where(np.abs(up - rim) < 0.17, -0.75, np.where(up > rim, 0.35 * (up - 0.65), -0.12))
    return toned(k.first, shade)


def feathers(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Long overlapping ovals with a pale shaft and a pale tip."""
    row, column, across, up = staggered(box_uv(p, n), k.rng.uniform(0.2, 0.27), k.rng.uniform(0.34, 0.44))
    across = across - 0.5
    inside = (across / 0.48) ** 2 + ((up - 0.62) / 0.62) ** 2 < 1
    tone = 0.55 * (0.5 - up) + 0.14 * np.sin(40 * np.abs(across) + 22 * up)
    tone = np.where(np.abs(across) < 0.06, 0.5, tone)
    return toned(k.first, np.where(inside, tone, -0.62))


def fur(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Strands that hang down in locks."""
    noise = Noise(k.rng)
    warped = noise.warp(p, 1.6, 0.22)
    lock = noise(warped, np.array([5.0, 5.0, 1.6]))
    strand = noise(warped + 4, np.array([13.0, 13.0, 2.6]))
    return toned(k.first, 0.34 * strand + 0.36 * lock - 0.05)


def zebra(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    lines = (p[:, 0] * 0.35 + p[:, 2]) / k.rng.uniform(0.34, 0.44) + 0.9 * noise(p, 1.5)
    white = np.full(3, 0.92)
    return where(np.abs(lines - np.round(lines)) < 0.24, INK, white)


def tiger(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    lines = (p[:, 2] + 0.2 * p[:, 0]) / k.rng.uniform(0.36, 0.46) + 1.1 * noise(p, 1.7)
    width = 0.13 + 0.13 * noise(p + 8.0, 2.0)
    coat = toned(np.array([0.90, 0.50, 0.12]), 0.14 * noise(p, 9.0))
    return where(np.abs(lines - np.round(lines)) < width, INK, coat)


def leopard(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Broken dark rings around spots of a deeper coat."""
    spots = cells(k.rng, p, k.rng.uniform(0.32, 0.4), 0.75)
    away = np.linalg.norm(spots.center, axis=1)
    coat = np.array([0.86, 0.66, 0.36]) * k.rng.uniform(0.95, 1.06)
    broken = Noise(k.rng)(p, 6.0) > -0.45
    ring = (away > 0.19) & (away < 0.36) & broken
    return where(ring, INK, where(away <= 0.19, coat * 0.76, coat))


def giraffe(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    plates = cells(k.rng, p, k.rng.uniform(0.4, 0.52), 0.8)
    coat = toned(np.array([0.55, 0.30, 0.12]), 0.14 * plates.tone + 0.08 * Noise(k.rng)(p, 8.0))
    return where(plates.edge < 0.16, CREAM, coat)


def flowers(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Five petals of the second colour round a yellow heart, on the first."""
    _, _, across, up = staggered(box_uv(p, n), k.rng.uniform(0.44, 0.54), k.rng.uniform(0.44, 0.52))
    across, up = across - 0.5, up - 0.5
    away, angle = np.hypot(across, up), np.arctan2(up, across)
    petals = away < 0.30 + 0.12 * np.cos(5 * angle)
    return where(away < 0.10, np.array([0.92, 0.80, 0.16]), where(petals, k.second, k.first))
