"""Paint, glaze and plastic: surfaces that are one colour by make."""

from __future__ import annotations

import numpy as np

from .common import Noise, Paint, box_uv, cells, mix, patches, toned, where


def plain(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    return toned(k.first, Noise(k.rng)(p, 1.2) * k.rng.choice([0.0, 0.04]))


def ceramic(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Glaze that pools darker as it runs down, with a hard highlight; on some, bare clay at the foot."""
    noise = Noise(k.rng)
    run = 0.26 * noise(p * [1, 1, 0.35], 4.0) - 0.2 * p[:, 2]
    gloss = np.sin(4.0 * n[:, 2] + 2.0 * n[:, 0] + 0.3 * noise(p, 2.0))
    glaze = toned(k.first, np.where(gloss > 0.90, 0.9, 0.9 * (run - 0.05) + 0.1 * noise(p + 6, 9.0)))
    if k.rng.random() < 0.6:
        return glaze
    foot = p[:, 2] + 0.22 * noise(p * [1, 1, 0.2], 3.5) < np.quantile(p[:, 2], 0.2)
    return where(foot, toned(np.array([0.78, 0.66, 0.50]), 0.08 * noise(p, 9.0)), glaze)


def rubber(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """A tread of diamonds."""
    uv = box_uv(p, n) / k.rng.uniform(0.3, 0.38)
    a, b = (uv[:, 0] + uv[:, 1]) % 1, (uv[:, 0] - uv[:, 1]) % 1
    groove = (a < 0.2) | (b < 0.2)
    return toned(k.first, np.where(groove, -0.6, 0.22 * (a + b - 1.1)))


def chipped(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Paint that flakes off in sharp islands; the ground is wood, rust or primer."""
    noise = Noise(k.rng)
    value = noise(noise.warp(p, 5.0, 0.05), 2.6, 3)
    bare = value < np.quantile(value, k.rng.uniform(0.2, 0.36))
    rim = ~bare & (value < np.quantile(value, 0.40))
    ground = np.array([(0.50, 0.38, 0.26), (0.46, 0.27, 0.15), (0.62, 0.60, 0.56)][k.rng.integers(3)])
    paint = toned(k.first, np.where(rim, 0.5, 0.05 * noise(p, 4.0)))
    return where(bare, toned(ground, 0.3 * noise(p + 2, 9.0)), paint)


def porcelain(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """White, painted with curled lines of the first colour."""
    noise = Noise(k.rng)
    curl = noise(noise.warp(p, 2.2, 0.3), 2.6)
    line = np.abs(np.abs(curl) - 0.3) < 0.11
    return where(line, k.first, np.full(3, 0.92))


def glitter(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    flakes = cells(k.rng, p, 0.15, 0.9)
    return toned(k.first, np.where(flakes.tone > 0.72, 0.95, 0.42 * flakes.tone))


def slime(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Thick drops with small highlights, over a darker film."""
    noise = Noise(k.rng)
    drops = patches(noise, p * [1, 1, 0.5], 3.0, 0.55)
    light = noise(p + 5, 7.0) > 0.62
    return mix(toned(k.first, np.where(drops, 0.1, -0.42)), np.full(3, 0.95), np.where(drops & light, 0.75, 0.0))
