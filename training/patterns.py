"""A judge of materials made by hand: the statistics of a pattern, and the material whose statistics are nearest.

It stands beside `oracle`, which a teacher might please by other means than looking right. What it looks at was chosen
by thought, not learned: the autocorrelation of the lightness (how large the pattern is, whether it repeats, whether it
has a direction), the orientation of its edges (circular harmonics: 2 for stripes, 4 for squares, 6 for
hexagons), and how light, dark and coloured it is in parts. Only the mean of each material and the covariance that all
share are taken from images. Images are uint8 [N, 64, 64, 3] sRGB, masks bool [N, 64, 64]: where the object is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csd_addon.core.color import srgb_to_lab

from .vocabulary import MATERIAL_NAMES

RADII = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15)
HARMONICS = (2, 4, 6)
SHADES = (5, 25, 50, 75, 95)
# Of the covariance's mean variance, added to its diagonal: statistics that hardly vary must not decide.
RIDGE = 0.05
# Fewer pixels than these show no pattern.
LEAST_PIXELS = 64


@dataclass(frozen=True)
class Statistics:
    """mean [58, F] of each material, whitening [F, F]: distances are Euclidean after it."""

    mean: np.ndarray
    whitening: np.ndarray

    def named(self, images: np.ndarray, masks: np.ndarray) -> list[str]:
        """The material whose mean is nearest, for each image."""
        found = features(images, masks) @ self.whitening
        distance = ((found[:, None] - (self.mean @ self.whitening)[None]) ** 2).sum(-1)
        return [MATERIAL_NAMES[i] for i in distance.argmin(1)]

    def named_together(self, images: np.ndarray, masks: np.ndarray) -> str:
        """One material for several views of one object: the nearest to the mean of their statistics."""
        found = features(images, masks).mean(0) @ self.whitening
        return MATERIAL_NAMES[int(((found - self.mean @ self.whitening) ** 2).sum(-1).argmin())]


def learn(images: np.ndarray, masks: np.ndarray, materials: list[str]) -> Statistics:
    """The statistics of each material, from images of all of them."""
    found = features(images, masks)
    index = np.array([MATERIAL_NAMES.index(name) for name in materials])
    mean = np.stack([found[index == i].mean(0) for i in range(len(MATERIAL_NAMES))])
    inner = found - mean[index]
    scale = inner.std(0) + 1e-6
    covariance = np.cov((inner / scale).T) + RIDGE * np.eye(len(scale))
    return Statistics(mean, np.linalg.inv(np.linalg.cholesky(covariance)).T / scale[:, None])


def features(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """[N, F] float64 statistics, independent of where the pattern lies and nearly of how it is turned."""
    lab = srgb_to_lab(images / 255)
    return np.array([statistics(one, mask) for one, mask in zip(lab, masks, strict=True)])


def statistics(lab: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[F] of one image [64, 64, 3] in CIELAB; where the mask shows too little, of all of it."""
    mask = mask if mask.sum() >= LEAST_PIXELS else np.ones_like(mask)
    light = lab[..., 0] / 100
    inside = light[mask]
    contrast = inside.std() + 0.01
    shades = (np.percentile(inside, SHADES) - inside.mean()) / contrast
    chroma = np.hypot(lab[..., 1], lab[..., 2])[mask] / 100
    spread = lab[..., 1:][mask].std(0) / 100
    tones = [np.log(contrast), inside.mean(), chroma.mean(), chroma.std(), *spread]
    return np.concatenate([tones, shades, correlations(light, mask), edges(light, mask)])


def correlations(light: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean, least and largest correlation of points at each of RADII from one another, over all directions."""
    size = [2 * edge for edge in light.shape]
    centered = np.where(mask, light - light[mask].mean(), 0)
    power, pairs = (np.fft.irfft2(np.abs(np.fft.rfft2(a, size)) ** 2, size) for a in (centered, mask.astype(float)))
    at = power / np.maximum(pairs, 16) / (centered[mask].var() + 1e-4)
    angle = np.radians(np.arange(0, 180, 7.5))
    rows = []
    for radius in RADII:
        y, x = np.round(radius * np.sin(angle)).astype(int), np.round(radius * np.cos(angle)).astype(int)
        around = at[y % size[0], x % size[1]]
        rows += [around.mean(), around.min(), around.max()]
    return np.array(rows)


def edges(light: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Strength of the edges, the share of it in their strongest tenth, how much they agree on 2, 4 and 6 directions."""
    inner = mask.copy()
    for axis in (0, 1):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    dy, dx = np.gradient(light)
    strength = np.where(inner, np.hypot(dx, dy), 0)
    total = strength.sum() + 1e-6
    turned = np.arctan2(dy, dx)
    agreed = [np.abs((strength * np.exp(1j * order * turned)).sum()) / total for order in HARMONICS]
    values = np.sort(strength[inner]) if inner.any() else np.zeros(1)
    return np.array([np.log(values.mean() + 1e-3), values[-max(1, len(values) // 10) :].sum() / total, *agreed])
