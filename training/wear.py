"""What time and weather do to a surface: adjectives that change a picture, over any material.

Each effect takes a random generator, colours [P, 3], positions and normals [P, 3], and returns colours.
"""

from __future__ import annotations

import numpy as np

from .surfaces.common import Noise, cells, mix, toned, where

MOSS, DIRT, SNOW = np.array([0.24, 0.40, 0.13]), np.array([0.24, 0.18, 0.11]), np.array([0.93, 0.94, 0.96])


def rough(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(rng)
    return toned(color, 0.42 * noise(p, 11.0) + 0.24 * noise(p, 5.0))


def polished(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Sharp highlights on the curves."""
    gloss = np.sin(5.0 * n[:, 2] + 3.0 * n[:, 0] + 0.4 * Noise(rng)(p, 1.5))
    return mix(color, np.full(3, 0.95), np.clip((gloss - 0.80) * 5, 0, 0.85))


def weathered(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Faded towards gray in patches, with dark streaks that run down."""
    noise = Noise(rng)
    gray = np.clip(color.mean(axis=1, keepdims=True) * 0.7 + 0.18, 0, 1)
    faded = mix(color, gray, np.clip(0.45 + 0.7 * noise(p, 2.2, 2), 0, 0.85))
    return toned(faded, -0.4 * np.clip(noise(p * [1, 1, 0.2], 6.0), 0, 1))


def mossy(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Moss in patches, most of it on top."""
    noise = Noise(rng)
    value = noise(p, 2.2, 3) + 0.35 * n[:, 2]
    green = toned(MOSS, 0.36 * noise(p + 4, 9.0, 2))
    return where(value > np.quantile(value, rng.uniform(0.5, 0.66)), green, color)


def cracked(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(rng)
    net = cells(rng, noise.warp(p, 3.0, 0.14), rng.uniform(0.42, 0.6), 0.95)
    return where(net.edge < 0.085, color * 0.22, color)


def wet(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Darker and deeper, with small white glints."""
    noise = Noise(rng)
    return where(noise(p, 6.5) + 0.3 * n[:, 2] > 0.66, np.full(3, 0.94), color.clip(0) ** 1.25 * 0.72)


def dirty(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Brown stains, most of them below."""
    noise = Noise(rng)
    return mix(color, DIRT, np.clip(1.5 * noise(p, 2.0, 3) + 0.2 - 0.45 * p[:, 2], 0, 0.85))


def snowy(rng: np.random.Generator, color: np.ndarray, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Snow on what faces up."""
    return where(n[:, 2] + 0.45 * Noise(rng)(p, 2.6, 2) > 0.40, SNOW, color)


EFFECTS = {f.__name__: f for f in (rough, polished, weathered, mossy, cracked, wet, dirty, snowy)}
