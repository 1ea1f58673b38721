"""How good a bake is: coverage, seams, texture against field at points all over the surface, overlap, what was unseen.

Images are (H, W, 3) float32, sRGB-encoded, row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...core.atlas import sample_bilinear, seam_error
from ...core.mesh import MeshData, Normalization
from .bake import Atlas, SeenSurface, evaluate

# A PSNR of identical signals is infinite, which JSON can't hold.
PSNR_CEILING = 120.0
# Surface points of the field-to-bake comparison.
PROBES = 20_000


@dataclass(frozen=True)
class Filling:
    """Of one picture: how many texels have their centre in a chart, how many of them a sample, the overlap, and how
    many of them no view saw."""

    inside: int
    filled: int
    overlap: float
    unseen: int = 0

    @staticmethod
    def of(atlas: Atlas, unseen: np.ndarray | None = None) -> Filling:
        """unseen: see ``unseen_texels``."""
        filled = int((atlas.filled() & atlas.chart).sum())
        return Filling(int(atlas.chart.sum()), filled, atlas.overlap, 0 if unseen is None else int(unseen.sum()))


def unseen_texels(atlas: Atlas, seen: SeenSurface) -> np.ndarray:
    """(H, W) bool: the texels with their centre in a chart of which no view saw one of the faces there."""
    result, inside = np.zeros(atlas.shape, bool), torch.from_numpy(atlas.chart.reshape(-1))
    for band in atlas.bands():
        part = band.start + torch.nonzero(inside[atlas.texel(band)]).squeeze(1)
        unseen = seen.unseen(atlas.points(part), atlas.triangle(part).numpy())
        result.reshape(-1)[atlas.texel(part).numpy()[unseen]] = True
    return result


def measure(
    field: torch.nn.Module, meshes: Mapping[int, MeshData], normalization: Normalization,
    images: Mapping[int, np.ndarray], fillings: Sequence[Filling], seen: Mapping[int, SeenSurface] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The figures of a bake. images: by picture, the values as they were written. meshes: see ``probes``."""
    places = list(probes(meshes, normalization))
    wanted = []
    for number, points, _ in places:
        faces = _probed_faces(meshes[number], len(points))
        wanted.append(evaluate(field, seen[number].moved(points, faces) if seen else points).numpy())
    found = [sample_bilinear(images[number], uv) for number, _, uv in places]
    return figures(meshes, images, fillings, np.concatenate(wanted), np.concatenate(found))


def figures(
    meshes: Mapping[int, MeshData], images: Mapping[int, np.ndarray], fillings: Sequence[Filling],
    wanted: np.ndarray, found: np.ndarray,
) -> dict[str, Any]:  # fmt: skip
    """Coverage, seam error, PSNR of what was ``found`` against ``wanted`` at the probes, and overlap."""
    mean, largest = seam_error(images, meshes)
    return {
        "seam_error": {"mean": mean, "max": largest},
        "bake_psnr": psnr(wanted, found),
        **shares(fillings),
    }


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two equally shaped arrays in [0, 1], capped at ``PSNR_CEILING`` dB."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return min(PSNR_CEILING, float(-10 * np.log10(error))) if error > 0 else PSNR_CEILING


def shares(fillings: Sequence[Filling]) -> dict[str, float]:
    """Coverage, overlap and what was unseen of some pictures together."""
    filled = sum(f.filled for f in fillings)
    return {
        "coverage": filled / max(sum(f.inside for f in fillings), 1),
        "overlap": max(f.overlap for f in fillings),
        "unseen": sum(f.unseen for f in fillings) / max(filled, 1),
    }


def probes(
    meshes: Mapping[int, MeshData], normalization: Normalization
) -> Iterator[tuple[int, torch.Tensor, np.ndarray]]:
    """Points all over the surface by picture: its number, ``surface_points``. meshes: the faces that show it."""
    areas = {number: float(mesh.triangle_areas().sum()) for number, mesh in meshes.items()}
    for number, mesh in meshes.items():
        if count := round(PROBES * areas[number] / sum(areas.values())):
            yield number, *surface_points(mesh, normalization, count)


def surface_points(mesh: MeshData, normalization: Normalization, count: int) -> tuple[torch.Tensor, np.ndarray]:
    """The same random points at every call, uniform by area: (count, 3) float32 unit-ball, (count, 2) UVs."""
    face = _probed_faces(mesh, count)
    share = np.random.default_rng(1).dirichlet((1, 1, 1), count)
    positions = normalization.to_unit(mesh.positions)[mesh.triangles[face]]
    points = torch.from_numpy(np.einsum("pk,pkc->pc", share, positions).astype(np.float32))
    return points, np.einsum("pk,pkc->pc", share, mesh.corner_uvs[face])


def _probed_faces(mesh: MeshData, count: int) -> np.ndarray:
    """(count,) the faces of ``surface_points``."""
    areas = mesh.triangle_areas()
    return np.random.default_rng(0).choice(len(areas), count, p=areas / areas.sum())
