"""The mesh as tensors on the worker's device, in unit-ball space."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.mesh import MeshData, Normalization


@dataclass(frozen=True)
class Surface:
    """positions: (V, 3) float32 in the unit ball. triangles: (T, 3) int64. corner_normals: (T, 3, 3) float32."""

    positions: torch.Tensor
    triangles: torch.Tensor
    corner_normals: torch.Tensor

    @staticmethod
    def of(mesh: MeshData, normalization: Normalization, device: torch.device | str = "cpu") -> Surface:
        """Normalise ``mesh`` and move it to ``device``. Uniform scale, so normals keep their direction."""
        return Surface(
            torch.from_numpy(normalization.to_unit(mesh.positions)).to(device),
            torch.from_numpy(mesh.triangles).long().to(device),
            torch.from_numpy(mesh.corner_normals).to(device),
        )

    def interpolate(
        self, triangle: torch.Tensor, barycentric: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Surface points and unit normals, both (P, 3) float32, at (P,) ids and (P, 3) barycentrics."""
        points = (self.positions[self.triangles[triangle]] * barycentric[..., None]).sum(1)
        normals = (self.corner_normals[triangle] * barycentric[..., None]).sum(1)
        return points, torch.nn.functional.normalize(normals, dim=1)
