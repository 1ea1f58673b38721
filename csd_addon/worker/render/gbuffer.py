"""What one camera sees of the surface, as constant data: ids, barycentrics, position, normal, depth, coverage.

Only foreground samples are kept, as flat lists of length P. Images are square, row 0 at the top. Each pixel
holds ``supersample`` x ``supersample`` samples; ``resolve`` averages them back to pixels, and pixels that the
surface covers in part are blended with the background by their coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.views import View
from .surface import Surface
from .torch_raster import rasterize


@dataclass(frozen=True)
class GBuffer:
    """The samples of one view.

    size: pixels along an edge. supersample: samples along the edge of a pixel.
    pixel: (P,) int64, flat index of the *pixel* each sample belongs to. triangle: (P,) int64.
    barycentric, position (unit ball), normal (world, unit): (P, 3) float32.
    depth: (P,) float32, distance along the view axis. coverage: (size, size) float32 in [0, 1].
    """

    size: int
    supersample: int
    pixel: torch.Tensor
    triangle: torch.Tensor
    barycentric: torch.Tensor
    position: torch.Tensor
    normal: torch.Tensor
    depth: torch.Tensor
    coverage: torch.Tensor

    def resolve(self, values: torch.Tensor) -> torch.Tensor:
        """Sum (P, C) sample values into (size, size, C) pixels, each sample weighing 1 / supersample squared.

        The result is premultiplied by coverage: add ``(1 - coverage) * background`` to composite.
        Differentiable in ``values``.
        """
        image = values.new_zeros(self.size * self.size, values.shape[1])
        image = image.index_add(0, self.pixel, values / self.supersample**2)
        return image.reshape(self.size, self.size, -1)


def render_gbuffer(surface: Surface, view: View, *, size: int, supersample: int = 1) -> GBuffer:
    """Rasterise ``surface`` as ``view`` sees it, in a ``size`` x ``size`` image."""
    device = surface.positions.device
    samples = size * supersample
    pixels, depth = view.project(surface.positions.cpu().numpy(), samples)
    points = torch.from_numpy(pixels).to(device)
    distance = torch.from_numpy(depth).to(device)
    nearness = torch.where(distance > 1e-6, 1 / distance, 0.0)
    ids = rasterize(points, nearness, surface.triangles, height=samples, width=samples).flatten()
    sample = torch.nonzero(ids >= 0).squeeze(1)
    row, column = torch.div(sample, samples, rounding_mode="floor"), sample % samples
    triangle = ids[sample]
    corners = surface.triangles[triangle]
    barycentric = perspective_barycentrics(points[corners], nearness[corners], row, column)
    position, normal = surface.interpolate(triangle, barycentric)
    pixel = torch.div(row, supersample, rounding_mode="floor") * size
    pixel = pixel + torch.div(column, supersample, rounding_mode="floor")
    coverage = torch.bincount(pixel, minlength=size * size).reshape(size, size) / supersample**2
    seen_depth = (distance[corners].float() * barycentric).sum(1)
    return GBuffer(size, supersample, pixel, triangle, barycentric, position, normal, seen_depth, coverage.float())


def perspective_barycentrics(
    corners: torch.Tensor, nearness: torch.Tensor, row: torch.Tensor, column: torch.Tensor
) -> torch.Tensor:
    """(P, 3) float32 barycentrics, >= 0 and summing to 1, of the pixel centres in their triangles.

    corners: (P, 3, 2) pixel coordinates. nearness: (P, 3), 1 / depth of the corners. row, column: (P,).
    Screen-space weights times nearness, renormalised, are linear on the surface.
    """
    x = torch.stack([column, row], dim=1).to(corners.dtype) + 0.5
    to = corners - x[:, None]
    weights = torch.stack([_cross(to[:, 1], to[:, 2]), _cross(to[:, 2], to[:, 0]), _cross(to[:, 0], to[:, 1])], 1)
    weights = (weights * torch.sign(weights.sum(1, keepdim=True))).clamp(min=0) * nearness
    return (weights / weights.sum(1, keepdim=True).clamp(min=1e-300)).float()


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
