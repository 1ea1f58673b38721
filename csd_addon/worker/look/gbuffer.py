"""What one camera sees of the surface, as constant data: ids, barycentrics, position, normal, depth, coverage.

Only foreground samples are kept, as flat lists of length P. Images are square, row 0 at the top. Each pixel
holds ``supersample`` x ``supersample`` samples; ``resolve`` averages them back to pixels, and pixels that the
surface covers in part are blended with the background by their coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ...core.views import View
from .raster import rasterize
from .surface import Surface

# Nothing nearer to the camera than this, along its axis, is seen. In unit-ball units.
_NEAREST = 0.01


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
        """Average (P, C) sample values over the samples of each pixel: (size, size, C). Uncovered ones count 0.

        The result is premultiplied by coverage: add ``(1 - coverage) * background`` to composite.
        Differentiable in ``values``.
        """
        image = values.new_zeros(self.size * self.size, values.shape[1])
        image = image.index_add(0, self.pixel, values / self.supersample**2)
        return image.reshape(self.size, self.size, -1)


def render_gbuffer(surface: Surface, view: View, *, size: int, supersample: int = 1) -> GBuffer:
    """Rasterise ``surface`` as ``view`` sees it, in a ``size`` x ``size`` image, without what is behind the camera."""
    device = surface.positions.device
    samples = size * supersample
    pixels, depth = view.project(surface.positions.cpu().numpy(), samples)
    distance = torch.from_numpy(depth).to(device)
    added, triangles, owner = in_front(surface.positions, surface.triangles, distance)
    cuts, _ = view.project(added.cpu().numpy(), samples)
    points = torch.from_numpy(np.concatenate([pixels, cuts])).to(device)
    before = torch.where(distance > _NEAREST, 1 / distance, 0.0)
    nearness = torch.cat([before, before.new_full((len(added),), 1 / _NEAREST)])
    ids = rasterize(points, nearness, triangles, height=samples, width=samples).flatten()
    sample = torch.nonzero(ids >= 0).squeeze(1)
    row, column = torch.div(sample, samples, rounding_mode="floor"), sample % samples
    triangle = owner[ids[sample]]
    corners = surface.triangles[triangle]
    barycentric = ray_barycentrics(surface.positions[corners], view, row, column, samples)
    position, normal = surface.interpolate(triangle, barycentric)
    pixel = torch.div(row, supersample, rounding_mode="floor") * size
    pixel = pixel + torch.div(column, supersample, rounding_mode="floor")
    coverage = torch.bincount(pixel, minlength=size * size).reshape(size, size) / supersample**2
    seen_depth = (distance[corners].float() * barycentric).sum(1)
    return GBuffer(size, supersample, pixel, triangle, barycentric, position, normal, seen_depth, coverage.float())


def in_front(
    positions: torch.Tensor, triangles: torch.Tensor, depth: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut the triangles that reach behind the camera: the floor under a close-up is one of them.

    positions: (V, 3). depth: (V,), along the view axis. Returns the (A, 3) float64 ends of the cuts, which get the
    numbers from V on, (T', 3) triangles, those of the parts in front after the old ones, and (T',) the number of the
    old triangle that each belongs to. Neighbours share the cut of their edge.
    """
    front = (depth > _NEAREST)[triangles]
    cut = torch.nonzero(front.any(1) & ~front.all(1)).squeeze(1)
    front, ahead = front[cut], front[cut].sum(1) == 1
    # The corner that is alone on its side first, the others in their order.
    lone = (front == ahead[:, None]).int().argmax(1, keepdim=True)
    a, b, c = triangles[cut].gather(1, (lone + torch.arange(3, device=lone.device)) % 3).unbind(1)
    edges = torch.cat([torch.stack([a, b], 1), torch.stack([a, c], 1)]).sort(dim=1).values
    edges, index = torch.unique(edges, dim=0, return_inverse=True)
    ab, ac = (index + len(positions)).chunk(2)
    alone = torch.stack([a, ab, ac], 1)[ahead]
    pair = torch.stack([b, c, ac, b, ac, ab], 1)[~ahead].reshape(-1, 3)
    every = torch.arange(len(triangles), device=triangles.device)
    owner = torch.cat([every, cut[ahead], cut[~ahead].repeat_interleave(2)])
    return _ends(positions, depth, edges), torch.cat([triangles, alone, pair]), owner


def _ends(positions: torch.Tensor, depth: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
    """(E, 3) float64: where the (E, 2) ``edges`` come to the nearest depth that is seen."""
    start, end = positions[edges].double().unbind(1)
    near, far = depth[edges].unbind(1)
    return start + ((near - _NEAREST) / (near - far))[:, None] * (end - start)


def ray_barycentrics(
    corners: torch.Tensor, view: View, row: torch.Tensor, column: torch.Tensor, size: int
) -> torch.Tensor:
    """(P, 3) float32 barycentrics, >= 0 and summing to 1, of where the ray of each pixel centre meets its triangle.

    corners: (P, 3, 3) in the unit ball; they may lie behind the camera. row, column: (P,) in a ``size`` x ``size``
    image. The weight of a corner is the volume that the ray spans with the other two.
    """
    matrix = torch.from_numpy(view.world_to_camera()).to(corners.device)
    p, q, r = (corners.double() @ matrix[:3, :3].T + matrix[:3, 3]).unbind(1)
    reach = np.tan(np.radians(view.fov) / 2)
    x, y = ((2 * (number + 0.5) / size - 1) * reach for number in (column, row))
    ray = torch.stack([x, -y, torch.full_like(x, -1.0)], dim=1).double()
    weights = torch.stack([(ray * torch.linalg.cross(*ends)).sum(1) for ends in ((q, r), (r, p), (p, q))], dim=1)
    weights = (weights * torch.sign(weights.sum(1, keepdim=True))).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True).clamp(min=1e-300)).float()
