"""From an edit's field to the pixels of its source."""

from __future__ import annotations

import numpy as np
import torch

from ..bake.bake import Atlas, texel_means
from ..bake.margin import margin_width, nearest_filled
from ..field.residual import adjust
from .canvas import Canvas, painted_black


def bake_edit(
    field: torch.nn.Module, albedo: tuple[float, float], canvas: Canvas, atlas: Atlas, margin: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The edited pixels (H, W, 4) of a tile, in the numbers of the source, and which texels (H, W) bool were changed.

    field: of transforms (``field.residual``). albedo: see ``residual.adjust``. atlas: ``canvas.atlas()``. margin: in
    texels; 0 for ``margin_width``. A texel's transform is the mean over its samples and is applied to its own colour,
    so the source's detail stays.
    """
    texels, colors = [], []
    for texel, transform in texel_means(field, atlas):
        index = texel.numpy()
        weight = canvas.weight.reshape(-1)[index]
        source = canvas.colors.reshape(-1, 3)[index]
        moved = adjust(transform, torch.from_numpy(source), albedo).numpy()
        changed = (weight > 0) & (moved != source).any(axis=1)
        texels.append(index[changed])
        colors.append((source + weight[:, None] * (moved - source))[changed])
    width = margin or margin_width(canvas.shape)
    return _with_margin(canvas, atlas.filled(), width, np.concatenate(texels), np.concatenate(colors))


def _with_margin(
    canvas: Canvas, filled: np.ndarray, width: int, texel: np.ndarray, colors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Write the ``colors`` and let the margin next to changed texels follow them. filled: see ``Atlas.filled``."""
    changed = np.zeros(canvas.shape, bool)
    changed.reshape(-1)[texel] = True
    image = canvas.colors.copy()
    image.reshape(-1, 3)[texel] = colors
    nearest, _ = nearest_filled(filled, width)
    follows = ~filled & (nearest >= 0) & changed.reshape(-1)[np.maximum(nearest, 0)]
    follows &= ~painted_black(canvas.tile.painted, canvas.shape)
    image[follows] = image.reshape(-1, 3)[nearest[follows]]
    changed |= follows
    index = np.flatnonzero(changed)
    return canvas.written(index, image.reshape(-1, 3)[index]), changed
