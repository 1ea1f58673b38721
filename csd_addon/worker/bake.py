"""From the field to the texels of the artist's UV layer.

Images are (S, S, 3) float32, sRGB-encoded, row 0 at the top. UVs outside 0..1 repeat. A texel is the mean of the
field at ``SAMPLES`` x ``SAMPLES`` points; points of a chart's border texels that lie outside the chart use the plane of
the nearest triangle (extrapolated barycentrics), because the field is defined there too. Then the margin is filled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.atlas import fill_margin, margin_width, nearest_filled, sample_bilinear, seam_error, texel_coordinates
from ..core.mesh import MeshData, Normalization
from ..core.report import psnr
from .field.hashgrid import TextureField
from .render.torch_raster import rasterize

# Samples along the edge of a texel.
SAMPLES = 2
# Points evaluated at once.
_BLOCK = 262_144
# Surface points of the field-to-bake comparison.
_PROBES = 20_000
# A triangle whose UVs span more repeats than this is not unrolled: such a layout tiles on purpose.
_MAX_TILES = 64


@dataclass(frozen=True)
class Atlas:
    """Which surface point each texel sample shows.

    size: texels along the edge. samples: samples along a texel's edge. sample: (P,) int64 flat indices into the
    (size * samples)^2 sample grid, ascending. points: (P, 3) float32 in unit-ball space.
    chart: (size, size) bool, texels whose centre lies in a chart. overlap: share of the surface's texel samples that
    more than one face claims.
    """

    size: int
    samples: int
    sample: torch.Tensor
    points: torch.Tensor
    chart: np.ndarray
    overlap: float


def build_atlas(mesh: MeshData, normalization: Normalization, size: int, *, samples: int = SAMPLES) -> Atlas:
    """Rasterise the UV layer of ``mesh`` once; previews and the final bake use the result."""
    edge = size * samples
    corners, face = _unrolled(mesh.corner_uvs, edge)
    ids = _rasterize_uv(corners, edge)
    claimed = float(np.abs(mesh.uv_areas()).sum()) * edge * edge
    overlap = max(0.0, 1 - float((ids >= 0).sum()) / max(claimed, 1.0))
    source, _ = nearest_filled(ids >= 0, 2 * samples)
    sample = np.flatnonzero(source >= 0)
    source = source.ravel()[sample]
    chart = _rasterize_uv(_unrolled(mesh.corner_uvs, size)[0], size) >= 0
    positions = normalization.to_unit(mesh.positions)[mesh.triangles]
    owner = ids.ravel()[source]
    points = _points(corners[owner], positions[face[owner]], _centers(sample, source, edge))
    return Atlas(size, samples, torch.from_numpy(sample), torch.from_numpy(points), chart, overlap)


@torch.no_grad()
def evaluate(field: TextureField, points: torch.Tensor) -> torch.Tensor:
    """(P, 3) colours on the CPU, in blocks; ``points`` (P, 3) on any device."""
    device = field.output.device
    return torch.cat([field(block.to(device)).cpu() for block in points.split(_BLOCK)] or [points.new_zeros(0, 3)])


def bake(field: TextureField, atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """The finished image (S, S, 3) float32 and the texels (S, S) bool that got a field value themselves."""
    colors = evaluate(field, atlas.points)
    edge, size = atlas.size * atlas.samples, atlas.size
    row, column = torch.div(atlas.sample, edge, rounding_mode="floor"), atlas.sample % edge
    texel = torch.div(row, atlas.samples, rounding_mode="floor") * size + torch.div(
        column, atlas.samples, rounding_mode="floor"
    )
    total = torch.zeros(size * size, 3).index_add_(0, texel, colors)
    count = torch.bincount(texel, minlength=size * size)
    image = (total / count.clamp(min=1)[:, None]).reshape(size, size, 3).numpy()
    filled = (count > 0).reshape(size, size).numpy()
    return fill_margin(image, filled, margin_width(size)).astype(np.float32), filled


def measure(
    field: TextureField, mesh: MeshData, normalization: Normalization, image: np.ndarray, filled: np.ndarray,
    atlas: Atlas,
) -> dict[str, object]:  # fmt: skip
    """Coverage, seam error and field-to-bake PSNR of ``image``, the values as they were written to the file."""
    generator = np.random.default_rng(0)
    areas = mesh.triangle_areas()
    face = generator.choice(len(areas), _PROBES, p=areas / areas.sum())
    share = generator.dirichlet((1, 1, 1), _PROBES)
    positions = normalization.to_unit(mesh.positions)[mesh.triangles[face]]
    points = torch.from_numpy(np.einsum("pk,pkc->pc", share, positions).astype(np.float32))
    uv = np.einsum("pk,pkc->pc", share, mesh.corner_uvs[face])
    mean, largest = seam_error(image, mesh.triangles, mesh.corner_uvs)
    return {
        "coverage": float((filled & atlas.chart).sum() / max(atlas.chart.sum(), 1)),
        "seam_error": {"mean": mean, "max": largest},
        "bake_psnr": psnr(evaluate(field, points).numpy(), sample_bilinear(image, uv)),
        "overlap": atlas.overlap,
    }


def _unrolled(corner_uvs: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    """UV triangles in sample coordinates, repeated into 0..1 from every tile they touch.

    Returns (U, 3, 2) float64 and the (U,) face each came from.
    """
    uv = corner_uvs.astype(np.float64)
    low, high = np.floor(uv.min(axis=1)), np.ceil(uv.max(axis=1)) - 1
    spans = np.maximum(high - low + 1, 1).astype(np.int64)
    spans[spans.prod(axis=1) > _MAX_TILES] = 1
    face = np.repeat(np.arange(len(uv)), spans.prod(axis=1))
    first = np.cumsum(spans.prod(axis=1)) - spans.prod(axis=1)
    number = np.arange(len(face)) - first[face]
    offset = np.stack([number % spans[face, 0], number // spans[face, 0]], axis=1) + low[face]
    return texel_coordinates(uv[face] - offset[:, None], edge), face


def _rasterize_uv(corners: np.ndarray, edge: int) -> np.ndarray:
    """(edge, edge) int64 index of the first triangle at each sample centre, -1 outside all charts."""
    points = torch.from_numpy(corners.reshape(-1, 2))
    triangles = torch.arange(len(points)).reshape(-1, 3)
    return rasterize(points, torch.ones(len(points)), triangles, height=edge, width=edge).numpy()


def _centers(sample: np.ndarray, source: np.ndarray, edge: int) -> np.ndarray:
    """(P, 2) float64 sample centres, on the side of the image's border where their (P,) ``source`` samples lie."""
    own = np.stack([sample % edge, sample // edge], axis=1)
    near = np.stack([source % edge, source // edge], axis=1)
    return near + ((own - near + edge // 2) % edge - edge // 2) + 0.5


def _points(uv: np.ndarray, positions: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(P, 3) float32 points on the planes of (P, 3, 3) triangles, where their (P, 3, 2) UVs show ``centers`` (P, 2)."""
    e1, e2, d = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0], centers - uv[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    area = np.where(np.abs(area) < 1e-12, np.inf, area)
    b = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / area
    c = (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / area
    weights = _tamed(np.stack([1 - b - c, b, c], axis=1))
    return np.einsum("pk,pkc->pc", weights, positions).astype(np.float32)


def _tamed(weights: np.ndarray) -> np.ndarray:
    """Pull extrapolated barycentrics back to at most one triangle size outside: slivers would shoot far away."""
    lowest = weights.min(axis=1, keepdims=True)
    share = np.where(lowest < -1, (1 / 3 + 1) / (1 / 3 - np.minimum(lowest, -1)), 1.0)
    return 1 / 3 + (weights - 1 / 3) * share
