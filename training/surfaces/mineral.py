"""Stone, earth, water and fire."""

from __future__ import annotations

import numpy as np

from .common import Noise, Paint, box_uv, cells, mix, per_cell, toned, where

WHITE = np.array([0.93, 0.94, 0.95])


def stone(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    crack = np.abs(noise(p + 5.0, 2.6, 2)) < 0.035
    return toned(k.first, np.where(crack, -0.5, 0.4 * noise(p, 4.0, 3)))


def marble(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    warped = p + 0.35 * np.stack([noise(p + s, 2.0, 2) for s in (0.0, 11.0, 23.0)], axis=1)
    thick, thin = np.abs(noise(warped, 1.7)), np.abs(noise(warped + 9.0, 3.2))
    vein = np.maximum(1 - thick / 0.13, 0.75 - thin / 0.10)
    return mix(toned(k.first, 0.05 * noise(p, 2.0)), k.second, vein * 1.2)


def granite(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    grain = noise(p, 11.0)
    tone = 0.1 * noise(p + 4.0, 5.0) + np.where(grain > 0.42, 0.8, np.where(grain < -0.48, -0.8, 0.0))
    return toned(k.first, tone)


def gravel(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    pebbles = cells(k.rng, p, k.rng.uniform(0.19, 0.26), 0.95)
    tint = k.first * (1 + 0.12 * per_cell(k.rng, pebbles.owner)[:, None] * np.array([1.0, 0.2, -0.8]))
    return np.clip(toned(tint, np.where(pebbles.edge < 0.14, -0.7, 0.48 * pebbles.tone)), 0, 1)


def sand(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    ripple = np.sin(k.rng.uniform(15, 20) * (p[:, 2] + 0.5 * p[:, 0]) + 3.2 * noise(p, 1.5))
    ripple = ripple * k.rng.choice([0.0, 0.16, 0.2])
    return toned(k.first, ripple + 0.16 * noise(p, 14.0) - 0.02)


def strata(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Layers of one rock, each with a tone and a warmth of its own."""
    noise = Noise(k.rng)
    height = (p[:, 2] + 0.16 * noise(p, 1.6, 2)) / k.rng.uniform(0.12, 0.18)
    layer = np.floor(height)
    warmth = 0.16 * per_cell(k.rng, layer)[:, None] * np.array([1.0, 0.0, -1.0])
    color = np.clip(k.first * (1 + warmth), 0, 1)
    tone = 0.42 * per_cell(k.rng, layer) + 0.10 * noise(p, 9.0)
    return toned(color, np.where(height - layer < 0.16, -0.42, tone))


def mud(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    if k.rng.random() < 0.5:
        plates = cells(k.rng, noise.warp(p, 3.0, 0.06), k.rng.uniform(0.3, 0.42), 0.95)
        return toned(k.first, np.where(plates.edge < 0.08, -0.68, 0.16 * plates.tone + 0.14 * noise(p, 8.0, 2)))
    wet = noise(p, 2.0, 2) > 0.15
    return toned(k.first, np.where(wet, -0.34 + 0.2 * (noise(p, 6.0) > 0.6), 0.3 * noise(p, 6.0, 2)))


def lava(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    crust = cells(k.rng, noise.warp(p, 2.4, 0.12), k.rng.uniform(0.38, 0.52), 0.95)
    rock = toned(np.array([0.13, 0.11, 0.11]), 0.35 * noise(p, 7.0, 2))
    glow = np.clip(1 - crust.edge / k.rng.uniform(0.24, 0.36), 0, 1)
    fire = mix(np.array([0.78, 0.12, 0.03]), np.array([0.98, 0.74, 0.14]), glow * 1.5 - 0.4)
    return mix(rock, fire, np.clip(glow * 3.2, 0, 1))


def snow(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    shade = np.clip(noise(p, 2.4, 2) * 0.9 - 0.1, 0, 1)
    sparkle = np.where(noise(p + 3, 12.0) > 0.7, 0.3, 0.0)
    return toned(mix(WHITE, np.array([0.70, 0.80, 0.92]), shade), sparkle)


def ice(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    body = mix(np.array([0.60, 0.84, 0.93]), np.array([0.40, 0.70, 0.88]), 0.5 + 0.7 * noise(p, 1.8, 2))
    plates = cells(k.rng, noise.warp(p, 2.0, 0.1), k.rng.uniform(0.55, 0.75), 0.95)
    vein = np.maximum(1 - plates.edge / 0.09, 0.7 - np.abs(noise(p + 6, 3.4)) / 0.10)
    return mix(body, WHITE, np.clip(vein, 0, 1))


def water(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The net of light on a pool's floor."""
    noise = Noise(k.rng)
    net = cells(k.rng, noise.warp(p, 3.0, 0.14), k.rng.uniform(0.36, 0.5), 0.95)
    return toned(k.first, np.clip(0.95 - net.edge / 0.16, 0, 1) * 0.95 - 0.12 + 0.14 * noise(p, 2.5))


def terracotta(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    clay = np.array([0.74, 0.39, 0.23]) * k.rng.uniform(0.9, 1.1)
    turned = np.sin(p[:, 2] * k.rng.uniform(14, 20)) * k.rng.choice([0.0, 0.10])
    bloom = np.clip(noise(p, 1.8, 3) - 0.25, 0, 1)
    return mix(toned(clay, turned + 0.10 * noise(p, 8.0)), np.array([0.86, 0.72, 0.60]), bloom)


def stars(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    cloud = np.clip(noise(p, 1.6, 3) * 1.5, 0, 1)
    sky = mix(np.array([0.07, 0.07, 0.20]), np.array([0.42, 0.16, 0.55]), cloud)
    field = cells(k.rng, p, 0.26, 0.9)
    star = np.linalg.norm(field.center, axis=1) < 0.20 + 0.08 * field.tone
    return where(star, WHITE, sky)


def camouflage(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Four cloth colours in smooth patches; a named colour takes the place of the olive green."""
    noise = Noise(k.rng)
    rest = [np.array(c) for c in ((0.52, 0.44, 0.28), (0.28, 0.20, 0.12), (0.11, 0.12, 0.10))]
    ground = k.first if k.named else np.array([0.26, 0.38, 0.18]) * k.rng.uniform(0.9, 1.15)
    color = np.broadcast_to(ground, p.shape)
    if k.named:
        rest = [ground * 0.55, ground + (1 - ground) * 0.45, np.array([0.11, 0.11, 0.12])]
    for shift, other, level in zip((3.0, 13.0, 29.0), rest, (0.18, 0.26, 0.40), strict=True):
        color = where(noise(p + shift, 2.6, 2) > level, other, color)
    return color


def clouds(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    noise = Noise(k.rng)
    cover = np.clip(2.4 * noise(noise.warp(p, 2.0, 0.2), 1.7, 3) + 0.1, 0, 1)
    blue = np.array([0.28, 0.55, 0.90]) * k.rng.uniform(0.9, 1.08)
    return mix(blue, WHITE, cover)


def crystal(k: Paint, p: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Flat facets, each lit on its own."""
    facets = cells(k.rng, p, k.rng.uniform(0.34, 0.46), 0.95)
    slope = box_uv(facets.center, n) @ np.array([0.5, 0.7])
    return toned(k.first, np.where(facets.edge < 0.05, 0.85, 0.55 * facets.tone + 0.4 * slope))
