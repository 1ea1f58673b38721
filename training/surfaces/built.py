"""What people lay, stack and weave into walls, floors and roofs."""

from __future__ import annotations

import numpy as np

from .common import Noise, Paint, box_uv, cells, per_cell, staggered, toned, where


def brick(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    height = k.rng.uniform(0.22, 0.32)
    row, column, across, up = staggered(box_uv(p, n), height * 2.1, height)
    mortar = (across < 0.09) | (up < 0.19)
    tone = 0.16 * per_cell(k.rng, row, column) + 0.07 * Noise(k.rng)(p, 9.0)
    return where(mortar, k.second, toned(k.first, tone))


def wood(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n)
    if k.direction == 0:
        uv = uv[:, ::-1]
    width, noise = k.rng.uniform(0.28, 0.42), Noise(k.rng)
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


def cobblestone(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    stones = cells(k.rng, p, k.rng.uniform(0.34, 0.46), 0.64)
    tone = 0.2 * stones.tone + 0.2 * np.clip(stones.edge - 0.3, -0.3, 0.2) + 0.06 * Noise(k.rng)(p, 9.0)
    return where(stones.edge < 0.10, k.second, toned(k.first, tone))


def tiles(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    uv = box_uv(p, n) / k.rng.uniform(0.34, 0.48)
    cell = np.floor(uv)
    grout = ((uv - cell) < 0.11).any(axis=1)
    tone = 0.12 * per_cell(k.rng, cell[:, 0], cell[:, 1])
    return where(grout, k.second, toned(k.first, tone))


def shingles(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Overlapping roof tiles: the lower edge of each casts a shadow on the row below."""
    row, column, across, up = staggered(box_uv(p, n), k.rng.uniform(0.2, 0.3), k.rng.uniform(0.26, 0.34))
    tone = 0.16 * per_cell(k.rng, row, column) + 0.34 * (0.55 - up)
    return toned(k.first, np.where((up > 0.84) | (across < 0.1), -0.68, tone))


def concrete(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    tone = 0.10 * noise(p, 2.2, 3) + 0.05 * noise(p + 5.0, 12.0)
    tone = np.where(noise(p + 9.0, 10.0) > 0.74, -0.34, tone)
    if k.rng.random() < 0.5:
        uv = box_uv(p, n) / k.rng.uniform(0.7, 1.0)
        tone = np.where(((uv - np.floor(uv)) < 0.045).any(axis=1), -0.4, tone)
    return toned(k.first, tone)


def wicker(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Over, under, over: each strand is light in its middle and dark where it dives."""
    uv = box_uv(p, n) / k.rng.uniform(0.2, 0.27)
    cell = np.floor(uv)
    inside = uv - cell - 0.5
    over = (cell.sum(axis=1) % 2 == 0)
    across, along = np.where(over, inside[:, 1], inside[:, 0]), np.where(over, inside[:, 0], inside[:, 1])
    tone = 0.42 - 1.9 * across**2 - 2.4 * along**2 + np.where(over, 0.08, -0.10)
    return toned(k.first, np.where(np.abs(across) > 0.4, -0.66, tone))


def straw(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    uv = box_uv(p, n)
    lean = uv[:, 0] + 0.22 * noise(p, 2.0) * uv[:, 1] + 0.10 * noise(p + 5, 3.0)
    strand = noise(np.stack([lean, uv[:, 1], 0 * lean], 1), np.array([13.0, 1.6, 1.0]))
    layer = (uv[:, 1] / k.rng.uniform(0.4, 0.6)) % 1
    return toned(k.first, 0.5 * strand - 0.1 - 0.3 * (layer < 0.14))


def hexagons(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The nearer of two staggered lattices of centres owns a point."""
    uv = box_uv(p, n) / k.rng.uniform(0.32, 0.42)
    step = np.array([1.0, np.sqrt(3)])
    a = uv - step * np.round(uv / step)
    b = (uv - step / 2) - step * np.round((uv - step / 2) / step)
    nearer = (a**2).sum(1) < (b**2).sum(1)
    own = np.where(nearer[:, None], a, b)
    center = np.round((uv - own) * [2, 2 / np.sqrt(3)]).astype(int)
    rim = np.maximum(np.abs(own[:, 0]), np.abs(own @ [0.5, np.sqrt(3) / 2]))
    rim = np.maximum(rim, np.abs(own @ [0.5, -np.sqrt(3) / 2]))
    return where(rim > 0.425, k.second, toned(k.first, 0.12 * per_cell(k.rng, center[:, 0], center[:, 1])))
