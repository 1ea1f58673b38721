"""The source image of an edit as the worker sees it: colours to look up, and how much each texel may change.

Colours are sRGB-encoded in [0, 1]. Images are (H, W, C), row 0 at the top; UVs repeat. A texel's weight is the
smallest of its samples', 0 where an unmasked face shows it too, and fades towards the mask's border from inside, so
that no texel outside the mask can change. (Where a kept face ends, filtering shows the first free texel, which is
almost faded out.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from ..core.atlas import Shape, chart_labels, fill_margin, margin_width, nearest_filled, sample_bilinear
from ..core.color import decode_srgb
from ..core.mesh import MeshData
from ..core.source import EditSource
from .bake import Atlas, uv_coverage

# The pyramid ends at this edge length.
_SMALLEST_MIP = 4
# Samples along a texel's edge when looking for faces outside the mask that touch it.
_TOUCH = 4


@dataclass(frozen=True)
class Canvas:
    """colors: (H, W, 3) float32, the source as it is seen. weight: (H, W) float32 in 0..1. chart: (H, W) bool."""

    source: EditSource
    colors: np.ndarray
    weight: np.ndarray
    chart: np.ndarray

    @staticmethod
    def of(source: EditSource, mesh: MeshData, atlas: Atlas) -> Canvas:
        """mesh, atlas: of the faces that show the source alone; their corner weights are ``source.corner_mask``.

        Raises ``ValueError`` if the mask leaves no texel free.
        """
        colors = np.clip(source.encoded(), 0, 1).astype(np.float32)
        weight = _texel_weights(source, mesh, atlas)
        if not weight.any():
            raise ValueError(
                "The mask leaves no texel of the texture free: it is smaller than a texel, or faces outside of it show "
                "the same part of the image."
            )
        return Canvas(source, colors, weight, atlas.chart)

    @property
    def shape(self) -> Shape:
        height, width = self.weight.shape
        return height, width

    def written(self, texel: np.ndarray, colors: np.ndarray) -> np.ndarray:
        """The source's pixels (H, W, 4) with the (n,) flat ``texel`` set to (n, 3) sRGB-encoded ``colors``.

        Alpha and all other texels keep their very numbers.
        """
        pixels = self.source.pixels.copy()
        values = decode_srgb(colors) if self.source.linear else colors
        pixels.reshape(-1, 4)[texel, :3] = values.astype(np.float32)
        return pixels

    def look_up(self, uv: np.ndarray, texels: float) -> tuple[np.ndarray, np.ndarray]:
        """Colours (N, 3) and weights (N,) float32 at (N, 2) ``uv``, averaged over about ``texels`` texels' width."""
        level = min(max(round(math.log2(max(texels, 1.0))), 0), len(self._pyramid) - 1)
        image = self._pyramid[level]
        values = sample_bilinear(image, uv).astype(np.float32)
        return values[:, :3], values[:, 3]

    @cached_property
    def _pyramid(self) -> list[np.ndarray]:
        """Halved again and again; what lies outside the charts never bleeds in. (h, w, 4): colours and weight."""
        image = np.concatenate([self.colors, self.weight[..., None]], axis=2)
        share = self.chart.astype(np.float32)
        levels = []
        while True:
            levels.append(fill_margin(image, share > 0, 2).astype(np.float32))
            height, width = share.shape
            if min(height, width) <= _SMALLEST_MIP:
                return levels
            half = (max(height // 2, 1), max(width // 2, 1))
            total, share = _shrink(image * share[..., None], half), _shrink(share[..., None], half)[..., 0]
            image = total / np.maximum(share, 1e-6)[..., None]


def _shrink(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Box-filtered (H, W, C) float32 at a smaller ``shape``."""
    channels = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])]
    return np.stack([np.asarray(c.resize(shape[::-1], Image.Resampling.BOX)) for c in channels], axis=2)


def _texel_weights(source: EditSource, mesh: MeshData, atlas: Atlas) -> np.ndarray:
    """(H, W) float32: see the module's docstring; 0 outside the charts."""
    weight = torch.full((atlas.shape[0] * atlas.shape[1],), math.inf)
    for part in atlas.bands():
        values = torch.from_numpy(_sample_weights(source, mesh, atlas, part))
        weight.scatter_reduce_(0, atlas.texel(part), values, "amin")
    result = np.where(np.isinf(weight.numpy()), 0, weight.numpy()).reshape(atlas.shape)
    result[painted_black(source.painted, atlas.shape)] = 0
    outside = source.corner_mask.max(axis=1) == 0
    # Before the shortcut below: a free face may own all the samples that a kept one shows too.
    if outside.any():
        result[uv_coverage(mesh.corner_uvs[outside], atlas.shape, samples=_TOUCH)] = 0
    if (result[atlas.chart] == 1).all():
        return result
    return _feathered(result, atlas, chart_labels(mesh.triangles, mesh.corner_uvs))


def painted_black(painted: np.ndarray, shape: Shape) -> np.ndarray:
    """(H, W) bool: texels whose centre lies on a black one of the (h, w) mask, between the charts too."""
    rows, columns = ((np.arange(n) * 2 + 1) * m // (2 * n) for n, m in zip(shape, painted.shape, strict=True))
    black: np.ndarray = painted[np.ix_(rows, columns)] == 0
    return black


def _sample_weights(source: EditSource, mesh: MeshData, atlas: Atlas, part: slice) -> np.ndarray:
    """(p,) float32 mask values of some of the atlas's samples."""
    triangle = atlas.triangle[part].numpy()
    inside = atlas.weights[part].numpy().clip(0, 1)
    inside = inside / inside.sum(axis=1, keepdims=True)
    # Rounded, or the three shares of a face that is free all over would not add up to 1.
    corners = (source.corner_mask[triangle] * inside).sum(axis=1).round(6)
    if source.painted.size == 1:
        return (corners * source.painted[0, 0]).astype(np.float32)
    uv = np.einsum("pk,pkc->pc", inside, mesh.corner_uvs[triangle])
    return (corners * sample_bilinear(source.painted[..., None], uv)[:, 0]).astype(np.float32)


def _feathered(weight: np.ndarray, atlas: Atlas, labels: np.ndarray) -> np.ndarray:
    """``weight`` faded to 0 over a margin's width, inside each chart that holds both free and kept texels."""
    owner = np.full(atlas.shape, -1)
    for part in atlas.bands():
        owner.reshape(-1)[atlas.texel(part)] = labels[atlas.triangle[part].numpy()]
    width, result = margin_width(atlas.shape), weight.copy()
    # Between two charts, texels may belong to one and be kept for the other: they make neither fade.
    stays = (weight == 0) & atlas.chart
    kept, free = (set(np.unique(owner[where & (owner >= 0)])) for where in (stays, weight > 0))
    for label in kept & free:
        rows, columns = np.nonzero(owner == label)
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        zero = (owner[box] == label) & stays[box]
        _, squared = nearest_filled(np.pad(zero, width), width)
        distance = np.sqrt(np.minimum(squared, width**2))[width:-width, width:-width]
        fade = np.where(owner[box] == label, distance / width, 1)
        result[box] *= fade.astype(np.float32)
    return result
