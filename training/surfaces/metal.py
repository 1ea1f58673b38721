"""Metals: their shine is painted on as bands over the normal, as an unlit picture of them would show."""

from __future__ import annotations

import numpy as np

from .common import Noise, Paint, cells, patches, toned, where

RUST = np.array([0.52, 0.26, 0.09])
STEEL = np.array([0.50, 0.50, 0.51])


def rust(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    if not k.named:
        bare = patches(noise, p, 2.2, k.rng.uniform(0.15, 0.35))
        return where(bare, toned(STEEL, 0.1 * noise(p + 3, 5.0)), toned(k.first, 0.4 * noise(p, 7.0, 2)))
    eaten = patches(noise, p, 2.2, k.rng.uniform(0.2, 0.36))
    return where(eaten, toned(RUST, 0.35 * noise(p, 8.0, 2)), toned(k.first, 0.06 * noise(p + 3, 5.0)))


def shining(k: Paint, p: np.ndarray, n: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    band = np.sin(5.0 * n[:, 2] + 3.0 * n[:, 0] + 0.8 * Noise(k.rng)(p, 2.0))
    return toned(np.array(color), 0.24 * band + np.where(band > 0.85, 0.5, 0.0))


def gold(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    return shining(k, p, n, (0.90, 0.74, 0.16))


def silver(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    return shining(k, p, n, (0.66, 0.67, 0.70))


def copper(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Copper, often with the green of its patina."""
    noise = Noise(k.rng)
    bright = shining(k, p, n, (0.76, 0.42, 0.25))
    if k.rng.random() < 0.7:
        return bright
    green = toned(np.array([0.30, 0.62, 0.53]), 0.2 * noise(p, 7.0, 2))
    return where(patches(noise, p + 3, 2.0, k.rng.uniform(0.15, 0.35)), green, bright)


def brushed(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Fine scratches round the object, under broad bands of light."""
    noise = Noise(k.rng)
    scratch = noise(p, np.array([1.2, 1.2, 15.0]))
    return toned(k.first, 0.28 * scratch + 0.2 * np.sin(4 * n[:, 0] + 3 * n[:, 2] + noise(p, 1.0)))


def hammered(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Dents, each lit from above: dark in its upper half, light below, with a bright rim."""
    dents = cells(k.rng, p, k.rng.uniform(0.24, 0.32), 0.7)
    away = np.linalg.norm(dents.center, axis=1)
    lit = -dents.center[:, 2] * 1.1 - 0.5 * dents.center[:, 0]
    return toned(k.first, np.where(dents.edge < 0.10, 0.55, lit + 0.1 * away))
