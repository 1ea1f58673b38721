"""From the field to the texels of the artist's UV layer.

Images are (H, W, 3) float32, sRGB-encoded, row 0 at the top. UVs outside 0..1 repeat. A texel is the mean of the
field at ``SAMPLES`` x ``SAMPLES`` points; points of a chart's border texels that lie outside the chart use the plane of
the nearest triangle (extrapolated barycentrics), because the field is defined there too. Then the margin is filled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..core.atlas import (
    Shape,
    fill_margin,
    margin_width,
    nearest_filled,
    sample_bilinear,
    seam_error,
    texel_coordinates,
)
from ..core.mesh import MeshData, Normalization
from ..core.report import psnr
from .field.hashgrid import HashField
from .render.torch_raster import rasterize

# Samples along the edge of a texel.
SAMPLES = 2
# Points evaluated at once.
_BLOCK = 262_144
# Surface points of the field-to-bake comparison.
PROBES = 20_000
# A triangle whose UVs span more repeats than this is not unrolled: such a layout tiles on purpose.
_MAX_TILES = 64


@dataclass(frozen=True)
class Atlas:
    """Which surface point each texel sample shows.

    shape: (height, width) in texels. samples: samples along a texel's edge. sample: (P,) int64 flat indices into the
    (height * samples, width * samples) sample grid, ascending. triangle: (P,) int32 index into the mesh.
    weights: (P, 3) float32 barycentrics, outside 0..1 where a border sample extends its chart. corners: (T, 3, 3)
    float32, the mesh's corners in unit-ball space. chart: (height, width) bool, texels whose centre lies in a chart.
    overlap: share of the surface's texel samples that more than one face claims.
    """

    shape: Shape
    samples: int
    sample: torch.Tensor
    triangle: torch.Tensor
    weights: torch.Tensor
    corners: torch.Tensor
    chart: np.ndarray
    overlap: float

    def points(self, part: slice) -> torch.Tensor:
        """(p, 3) float32 unit-ball positions of some of the samples."""
        return (self.corners[self.triangle[part].long()] * self.weights[part, :, None]).sum(1)

    def texel(self, part: slice) -> torch.Tensor:
        """(p,) int64 flat texel index of some of the samples."""
        width = self.shape[1]
        row = torch.div(self.sample[part], width * self.samples, rounding_mode="floor")
        column = self.sample[part] % (width * self.samples)
        return torch.div(row, self.samples, rounding_mode="floor") * width + torch.div(
            column, self.samples, rounding_mode="floor"
        )

    def filled(self) -> np.ndarray:
        """(height, width) bool: the texels that have a sample."""
        filled = np.zeros(self.shape, bool)
        for part in self.bands():
            filled.reshape(-1)[self.texel(part).numpy()] = True
        return filled

    def bands(self) -> Iterator[slice]:
        """Slices of samples, each of whole rows of texels and of about ``_BLOCK`` samples."""
        per_row = self.shape[1] * self.samples**2
        step = max(1, _BLOCK // per_row) * per_row
        ends = torch.arange(0, self.shape[0] * per_row + step, step)
        bounds = torch.searchsorted(self.sample, ends).tolist()
        yield from (slice(a, b) for a, b in zip(bounds, bounds[1:], strict=False) if b > a)


def build_atlas(mesh: MeshData, normalization: Normalization, shape: Shape, *, samples: int = SAMPLES) -> Atlas:
    """Rasterise the UV layer of ``mesh`` once; previews and the final bake use the result."""
    fine = (shape[0] * samples, shape[1] * samples)
    corners, face = _unrolled(mesh.corner_uvs, fine)
    ids = _rasterize_uv(corners, fine)
    claimed = float(np.abs(mesh.uv_areas()).sum()) * fine[0] * fine[1]
    overlap = max(0.0, 1 - float((ids >= 0).sum()) / max(claimed, 1.0))
    source, _ = nearest_filled(ids >= 0, 2 * samples)
    sample = np.flatnonzero(source >= 0)
    source = source.ravel()[sample]
    owner = ids.ravel()[source]
    positions = torch.from_numpy(normalization.to_unit(mesh.positions)[mesh.triangles])
    return Atlas(
        shape, samples, torch.from_numpy(sample), torch.from_numpy(face[owner].astype(np.int32)),
        torch.from_numpy(_weights(corners[owner], _centers(sample, source, fine))), positions,
        uv_coverage(mesh.corner_uvs, shape), overlap,
    )  # fmt: skip


def uv_coverage(corner_uvs: np.ndarray, shape: Shape, *, samples: int = 1) -> np.ndarray:
    """(height, width) bool: texels of which one of the (T, 3, 2) UV triangles covers a sample.

    samples: along the edge of a texel; 1 means its centre.
    """
    fine = (shape[0] * samples, shape[1] * samples)
    covered = _rasterize_uv(_unrolled(corner_uvs, fine)[0], fine) >= 0
    touched: np.ndarray = covered.reshape(shape[0], samples, shape[1], samples).any(axis=(1, 3))
    return touched


@torch.no_grad()
def evaluate(field: HashField, points: torch.Tensor) -> torch.Tensor:
    """(P, C) values on the CPU, in blocks; ``points`` (P, 3) on any device."""
    device = field.output.device
    parts = [field(block.to(device)).cpu() for block in points.split(_BLOCK)]
    return torch.cat(parts) if parts else points.new_zeros(0, len(field.output))


def texel_means(field: HashField, atlas: Atlas) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (texel (n,) int64, mean of the field over the texel's samples (n, C)), band by band."""
    for part in atlas.bands():
        texel, where = torch.unique(atlas.texel(part), return_inverse=True)
        values = evaluate(field, atlas.points(part))
        total = values.new_zeros(len(texel), values.shape[1]).index_add_(0, where, values)
        yield texel, total / torch.bincount(where)[:, None]


def bake(field: HashField, atlas: Atlas) -> tuple[np.ndarray, np.ndarray]:
    """The finished image (H, W, 3) float32 and the texels (H, W) bool that got a field value themselves."""
    image, filled = np.zeros((*atlas.shape, 3), np.float32), atlas.filled()
    for texel, colors in texel_means(field, atlas):
        image.reshape(-1, 3)[texel] = colors.numpy()
    return fill_margin(image, filled, margin_width(atlas.shape)).astype(np.float32), filled


@dataclass(frozen=True)
class Filling:
    """Of one tile: how many texels have their centre in a chart, how many of them a sample, and the overlap."""

    inside: int
    filled: int
    overlap: float

    @staticmethod
    def of(atlas: Atlas) -> Filling:
        return Filling(int(atlas.chart.sum()), int((atlas.filled() & atlas.chart).sum()), atlas.overlap)


def measure(
    field: HashField, meshes: Mapping[int, MeshData], normalization: Normalization, images: Mapping[int, np.ndarray],
    fillings: Sequence[Filling],
) -> dict[str, Any]:  # fmt: skip
    """The figures of a bake by tile. images: the values as they were written to the files. meshes: see ``probes``."""
    places = list(probes(meshes, normalization))
    wanted = [evaluate(field, points).numpy() for _, points, _ in places]
    found = [sample_bilinear(images[number], uv) for number, _, uv in places]
    return figures(meshes, images, fillings, np.concatenate(wanted), np.concatenate(found))


def figures(
    meshes: Mapping[int, MeshData], images: Mapping[int, np.ndarray], fillings: Sequence[Filling],
    wanted: np.ndarray, found: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Coverage, seam error, PSNR of what was ``found`` against ``wanted`` at the probes, and overlap."""
    mean, largest = seam_error(images, meshes)
    return {
        "coverage": sum(f.filled for f in fillings) / max(sum(f.inside for f in fillings), 1),
        "seam_error": {"mean": mean, "max": largest},
        "bake_psnr": psnr(wanted, found),
        "overlap": max(f.overlap for f in fillings),
    }


def probes(
    meshes: Mapping[int, MeshData], normalization: Normalization
) -> Iterator[tuple[int, torch.Tensor, np.ndarray]]:
    """Points all over the surface, tile by tile: its number, ``surface_points``. meshes: its faces by tile."""
    areas = {number: float(mesh.triangle_areas().sum()) for number, mesh in meshes.items()}
    for number, mesh in meshes.items():
        if count := round(PROBES * areas[number] / sum(areas.values())):
            yield number, *surface_points(mesh, normalization, count)


def surface_points(mesh: MeshData, normalization: Normalization, count: int) -> tuple[torch.Tensor, np.ndarray]:
    """The same random points at every call, uniform by area: (count, 3) float32 unit-ball, (count, 2) UVs."""
    generator = np.random.default_rng(0)
    areas = mesh.triangle_areas()
    face = generator.choice(len(areas), count, p=areas / areas.sum())
    share = generator.dirichlet((1, 1, 1), count)
    positions = normalization.to_unit(mesh.positions)[mesh.triangles[face]]
    points = torch.from_numpy(np.einsum("pk,pkc->pc", share, positions).astype(np.float32))
    return points, np.einsum("pk,pkc->pc", share, mesh.corner_uvs[face])


def _unrolled(corner_uvs: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
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
    return texel_coordinates(uv[face] - offset[:, None], shape), face


def _rasterize_uv(corners: np.ndarray, shape: Shape) -> np.ndarray:
    """(height, width) int64 index of the first triangle at each sample centre, -1 outside all charts."""
    points = torch.from_numpy(corners.reshape(-1, 2))
    triangles = torch.arange(len(points)).reshape(-1, 3)
    return rasterize(points, torch.ones(len(points)), triangles, height=shape[0], width=shape[1]).numpy()


def _centers(sample: np.ndarray, source: np.ndarray, shape: Shape) -> np.ndarray:
    """(P, 2) float64 sample centres, on the side of the image's border where their (P,) ``source`` samples lie."""
    edges = np.array(shape[::-1])
    own = np.stack([sample % edges[0], sample // edges[0]], axis=1)
    near = np.stack([source % edges[0], source // edges[0]], axis=1)
    return near + ((own - near + edges // 2) % edges - edges // 2) + 0.5


def _weights(uv: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(P, 3) float32 barycentrics of (P, 2) ``centers`` in the planes of triangles with (P, 3, 2) UVs."""
    e1, e2, d = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0], centers - uv[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    area = np.where(np.abs(area) < 1e-12, np.inf, area)
    b = (d[:, 0] * e2[:, 1] - d[:, 1] * e2[:, 0]) / area
    c = (e1[:, 0] * d[:, 1] - e1[:, 1] * d[:, 0]) / area
    return _tamed(np.stack([1 - b - c, b, c], axis=1)).astype(np.float32)


def _tamed(weights: np.ndarray) -> np.ndarray:
    """Pull extrapolated barycentrics back to at most one triangle size outside: slivers would shoot far away."""
    lowest = weights.min(axis=1, keepdims=True)
    share = np.where(lowest < -1, (1 / 3 + 1) / (1 / 3 - np.minimum(lowest, -1)), 1.0)
    return 1 / 3 + (weights - 1 / 3) * share
