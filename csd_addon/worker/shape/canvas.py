"""The source texture of an edit as the worker sees it: colours to look up, and how much each texel may change.

Colours are sRGB-encoded in [0, 1]. Images are (H, W, C), row 0 at the top; UVs repeat. A texel's weight is the
smallest of its samples', 0 where an unmasked face shows it too, and fades towards the mask's border from inside, so
that no texel outside the mask can change. (Where a kept face ends, filtering shows the first free texel, which is
almost faded out.) At UV seams it fades too where the surface is smooth: a crate's lid stays sharp. A texture has one
canvas for each of its tiles; most have one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from ...core.atlas import Shape, chart_labels, edge_ends, sample_bilinear, seam_edges, texel_coordinates
from ...core.color import decode_srgb
from ...core.mesh import MeshData, Normalization
from ...core.source import EditSource, Tile
from ...core.udim import parts
from ..bake.bake import Atlas, build_atlas, uv_coverage
from ..bake.margin import fill_margin, margin_width, nearest_filled

# The pyramid ends at this edge length.
_SMALLEST_MIP = 4
# Samples along a texel's edge when looking for faces outside the mask that touch it.
_TOUCH = 4
# Samples along a texel's edge: a texel is as free as its least free sample.
SAMPLES = 2

# Cosine between the normals on both sides of an edge over which shading is smooth.
_SMOOTH = 0.99
# Faces that show none of the tiles are seen in this grey.
_ELSEWHERE = 0.5


@dataclass(frozen=True)
class Canvas:
    """colors: (H, W, 3) float32, the tile as it is seen. weight: (H, W) float32 in 0..1.

    mesh: the faces that show the tile, alone. chart: (H, W) bool, texels whose centre lies on one of them.
    """

    tile: Tile
    mesh: MeshData
    normalization: Normalization
    colors: np.ndarray
    weight: np.ndarray
    chart: np.ndarray
    overlap: float

    @staticmethod
    def of(
        tile: Tile, mesh: MeshData, normalization: Normalization, corner_mask: np.ndarray, borders: np.ndarray
    ) -> Canvas:
        """corner_mask: (T, 3) weights of the corners of ``mesh``. borders: of its edges (``edge_ends``), those at which
        the mask ends."""
        height, width = tile.pixels.shape[:2]
        atlas = build_atlas(mesh, normalization, (height, width), samples=SAMPLES)
        colors = np.clip(tile.encoded(), 0, 1).astype(np.float32)
        weight = _texel_weights(tile.painted, mesh, corner_mask, atlas, borders)
        return Canvas(tile, mesh, normalization, colors, weight, atlas.chart, atlas.overlap)

    def atlas(self) -> Atlas:
        """Made anew at each call: at 4096 texels it takes a gigabyte, and a texture may have many tiles."""
        return build_atlas(self.mesh, self.normalization, self.shape, samples=SAMPLES)

    @property
    def shape(self) -> Shape:
        height, width = self.weight.shape
        return height, width

    @cached_property
    def texels_per_length(self) -> float:
        """Texels per unit-ball length, over the whole surface."""
        surface = self.mesh.triangle_areas().sum() * self.normalization.scale**2
        return math.sqrt(np.abs(self.mesh.uv_areas()).sum() * self.weight.size / surface) if surface else 1.0

    def written(self, texel: np.ndarray, colors: np.ndarray) -> np.ndarray:
        """The tile's pixels (H, W, 4) with the (n,) flat ``texel`` set to (n, 3) sRGB-encoded ``colors``.

        Alpha and all other texels keep their very numbers.
        """
        pixels = self.tile.pixels.copy()
        values = decode_srgb(colors) if self.tile.linear else colors
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


@dataclass(frozen=True)
class Texture:
    """All canvases by their tile's number. number, corner_uvs: see ``EditSource``."""

    canvases: Mapping[int, Canvas]
    number: np.ndarray
    corner_uvs: np.ndarray

    @staticmethod
    def of(source: EditSource, mesh: MeshData, normalization: Normalization) -> Texture:
        """mesh: of the job. Raises ``ValueError`` if the mask leaves no texel free."""
        canvases, borders = {}, _mask_borders(source, mesh)
        for number, part in parts(mesh, source.number, source.corner_uvs).items():
            if tile := source.tiles.get(number):
                here = source.number == number
                ends = np.flatnonzero(borders[np.repeat(here, 3)])
                canvases[number] = Canvas.of(tile, part, normalization, source.corner_mask[here], ends)
        if not any(canvas.weight.any() for canvas in canvases.values()):
            raise ValueError(
                "The mask leaves no texel of the texture free: it is smaller than a texel, or faces outside of it show "
                "the same part of the image."
            )
        return Texture(canvases, source.number, source.corner_uvs)

    def look_up(self, triangle: np.ndarray, share: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Colours (N, 3) and weights (N,) float32 at surface points, averaged over a unit-ball length ``width``.

        triangle: (N,) index into the job's mesh. share: (N, 3) barycentrics. Faces without a tile are grey, weight 0.
        """
        colors = np.full((len(triangle), 3), _ELSEWHERE, np.float32)
        weight = np.zeros(len(triangle), np.float32)
        for number, canvas in self.canvases.items():
            here = self.number[triangle] == number
            uv = np.einsum("pk,pkc->pc", share[here], self.corner_uvs[triangle[here]])
            colors[here], weight[here] = canvas.look_up(uv, width * canvas.texels_per_length)
        return colors, weight


def _shrink(image: np.ndarray, shape: Shape) -> np.ndarray:
    """Box-filtered (H, W, C) float32 at a smaller ``shape``."""
    channels = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])]
    return np.stack([np.asarray(c.resize(shape[::-1], Image.Resampling.BOX)) for c in channels], axis=2)


def _mask_borders(source: EditSource, mesh: MeshData) -> np.ndarray:
    """(3 T,) bool: edges of free faces at a UV seam with a kept one, over which the surface is smooth."""
    seams = seam_edges(mesh.triangles, source.corner_uvs, source.number)
    faces, borders = seams // 3, np.zeros(3 * len(mesh.triangles), bool)
    normals = edge_ends(mesh.triangles, mesh.corner_normals)[seams]
    smooth = ((normals[:, 0] * normals[:, 1]).sum(axis=2) > _SMOOTH).all(axis=1)
    smooth &= (source.number[faces] >= 0).all(axis=1)
    free = (source.corner_mask.max(axis=1) > 0)[faces]
    for side in (0, 1):
        borders[seams[smooth & free[:, side] & ~free[:, 1 - side], side]] = True
    return borders


def _texel_weights(
    painted: np.ndarray, mesh: MeshData, corner_mask: np.ndarray, atlas: Atlas, borders: np.ndarray
) -> np.ndarray:
    """(H, W) float32: see the module's docstring; 0 outside the charts."""
    weight = torch.full((atlas.shape[0] * atlas.shape[1],), math.inf)
    for part in atlas.bands():
        values = torch.from_numpy(_sample_weights(painted, mesh, corner_mask, atlas, part))
        weight.scatter_reduce_(0, atlas.texel(part), values, "amin")
    result = np.where(np.isinf(weight.numpy()), 0, weight.numpy()).reshape(atlas.shape)
    result[painted_black(painted, atlas.shape)] = 0
    outside = corner_mask.max(axis=1) == 0
    # Before the shortcut below: a free face may own all the samples that a kept one shows too.
    if outside.any():
        result[uv_coverage(mesh.corner_uvs[outside], atlas.shape, samples=_TOUCH)] = 0
    if (result[atlas.chart] == 1).all() and not len(borders):
        return result
    labels = chart_labels(mesh.triangles, mesh.corner_uvs)
    return _feathered(result, atlas, labels, _border_texels(mesh, borders, labels, atlas.shape))


def _border_texels(mesh: MeshData, borders: np.ndarray, labels: np.ndarray, shape: Shape) -> np.ndarray:
    """(H, W) int32: at the texels along the edges ``borders`` the label of their chart, elsewhere -1."""
    result = np.full(shape, -1, np.int32)
    ends = texel_coordinates(edge_ends(mesh.triangles, mesh.corner_uvs)[borders], shape)
    for (start, end), label in zip(ends, labels[borders // 3], strict=True):
        steps = 2 * math.ceil(np.abs(end - start).max()) + 1
        column, row = np.floor(np.linspace(start, end, steps)).astype(np.int64).T
        result[row % shape[0], column % shape[1]] = label
    return result


def painted_black(painted: np.ndarray, shape: Shape) -> np.ndarray:
    """(H, W) bool: texels whose centre lies on a black one of the (h, w) mask, between the charts too."""
    rows, columns = ((np.arange(n) * 2 + 1) * m // (2 * n) for n, m in zip(shape, painted.shape, strict=True))
    black: np.ndarray = painted[np.ix_(rows, columns)] == 0
    return black


def _sample_weights(
    painted: np.ndarray, mesh: MeshData, corner_mask: np.ndarray, atlas: Atlas, part: slice
) -> np.ndarray:
    """(p,) float32 mask values of some of the atlas's samples."""
    triangle = atlas.triangle(part).numpy()
    inside = atlas.weights(part).numpy().clip(0, 1)
    inside = inside / inside.sum(axis=1, keepdims=True)
    # Rounded, or the three shares of a face that is free all over would not add up to 1.
    corners = (corner_mask[triangle] * inside).sum(axis=1).round(6)
    if painted.size == 1:
        return (corners * painted[0, 0]).astype(np.float32)
    uv = np.einsum("pk,pkc->pc", inside, mesh.corner_uvs[triangle])
    return (corners * sample_bilinear(painted[..., None], uv)[:, 0]).astype(np.float32)


def _feathered(weight: np.ndarray, atlas: Atlas, labels: np.ndarray, border: np.ndarray) -> np.ndarray:
    """``weight`` faded to 0 over a margin's width, inside each chart that holds both free and kept texels.

    border: (H, W), texels from which the chart of that label fades too.
    """
    owner = np.full(atlas.shape, -1)
    for part in atlas.bands():
        owner.reshape(-1)[atlas.texel(part)] = labels[atlas.triangle(part).numpy()]
    width, result = margin_width(atlas.shape), weight.copy()
    # Between two charts, texels may belong to one and be kept for the other: they make neither fade.
    stays = (weight == 0) & atlas.chart
    kept, free = (set(np.unique(owner[where & (owner >= 0)])) for where in (stays, weight > 0))
    for label in (kept | set(np.unique(border))) & free:
        rows, columns = np.nonzero(owner == label)
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        zero = ((owner[box] == label) & stays[box]) | (border[box] == label)
        _, squared = nearest_filled(np.pad(zero, width), width)
        distance = np.sqrt(np.minimum(squared, width**2))[width:-width, width:-width]
        fade = np.where(owner[box] == label, distance / width, 1)
        result[box] *= fade.astype(np.float32)
    return result
