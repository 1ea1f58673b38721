"""Cloth, and the regular patterns that are printed on it."""

from __future__ import annotations

import numpy as np

from .common import Noise, Paint, box_uv, mix, staggered, toned, where


def checker(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    cell = np.floor(box_uv(p, n) / k.rng.uniform(0.3, 0.42))
    return where(cell.sum(axis=1) % 2 == 0, k.first, k.second)


def stripe(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    u, v = box_uv(p, n).T
    along = (p[:, 2], u, (u + v) / np.sqrt(2))[k.direction]
    phase = along / k.rng.uniform(0.38, 0.55) + k.rng.choice([0.0, 0.5])
    return where(np.abs(phase - np.round(phase)) < 0.27, k.first, k.second)


def dots(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    spacing = k.rng.uniform(0.40, 0.50)
    _, _, across, up = staggered(box_uv(p, n), spacing, spacing, 0.5 if k.rng.random() < 0.6 else 0.0)
    return where(np.hypot(across - 0.5, up - 0.5) < 0.335, k.second, k.first)


def plaid(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Bands of the second colour both ways, full where they cross, and a thin line between them."""
    uv = box_uv(p, n) / k.rng.uniform(0.46, 0.62)
    place = uv - np.floor(uv)
    band, line = (place < 0.42).astype(float), np.abs(place - 0.71) < 0.06
    cloth = mix(np.broadcast_to(k.first, p.shape), k.second, band.sum(axis=1) / 2)
    return where(line.any(axis=1), cloth * 0.4, cloth)


def knit(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Columns of V-shaped stitches."""
    uv = box_uv(p, n)
    width = k.rng.uniform(0.22, 0.28)
    column = uv[:, 0] / width
    across = np.abs(column - np.floor(column) - 0.5)
    stitch = (uv[:, 1] / (width * 0.72) - 1.1 * across) % 1
    tone = 0.30 - 2.6 * (stitch - 0.5) ** 2 + 0.10 * Noise(k.rng)(p, 12.0)
    return toned(k.first, np.where((across < 0.07) | (across > 0.45), -0.5, tone))


def denim(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Diagonal twill with faded patches."""
    uv, noise = box_uv(p, n), Noise(k.rng)
    twill = np.sin((uv[:, 0] + uv[:, 1]) * k.rng.uniform(32, 38))
    faded = np.clip(noise(p, 1.8, 2), 0, 1)
    base = k.first if k.named else np.array([0.18, 0.31, 0.56]) * k.rng.uniform(0.85, 1.1)
    return toned(base, 0.26 * twill + 0.4 * faded + 0.10 * noise(p, 12.0))


def fabric(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Plain weave: a fine grid of threads, with soft folds."""
    uv, noise = box_uv(p, n) / k.rng.uniform(0.13, 0.16), Noise(k.rng)
    weave = np.sin(np.pi * uv[:, 0]) * np.sin(np.pi * uv[:, 1])
    return toned(k.first, 0.26 * weave + 0.16 * noise(p, 2.0) - 0.04)
