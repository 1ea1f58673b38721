"""From the field to the texels of the artist's UV layer.

Images are (H, W, C) float32, row 0 at the top, with the channels of the field side by side; base colour is
sRGB-encoded. UVs outside 0..1 repeat. A texel holds the field at its
centre, and where the field changes fast the mean of ``FINE`` x ``FINE`` points in it; where it changes slowly it is
asked at few texels (``blocks``). Texels around a chart that bilinear filtering reads, and those that a chart only
touches, use the plane of the nearest triangle (extrapolated barycentrics), because the field is defined there too.
Then the margin is filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ...core.atlas import Shape
from ...core.mesh import MeshData, Normalization
from ...core.uv_raster import chart_borders, first_owner, overlap, owners, touching, unrolled
from . import blocks
from .margin import fill_margin, margin_width, near_filled

# Points along the edge of a texel where the field changes fast.
FINE = 2
# That is: where neighbouring texels differ by more than this.
_FAST = 10 / 255
# By so much at most may an interpolated texel differ: half a step of an image of 8 bits.
EXACT = 0.5 / 255
# Texels around each chart that get field values of their own.
_RING = 2
# Where faces share a texel and are to be averaged, so many of them count.
_MOST_OWNERS = 8
# Points evaluated at once.
_BLOCK = 262_144
# Rows of an image compared at once.
_BAND = 32


class SeenSurface(Protocol):
    """What views saw of one mesh (``unseen``)."""

    def moved(self, points: torch.Tensor, triangle: np.ndarray) -> torch.Tensor:
        """``points`` (P, 3) on faces (P,), the unseen ones moved to where their colour comes from."""

    def unseen(self, points: torch.Tensor, triangle: np.ndarray) -> np.ndarray:
        """(P,) bool: which of the points no view saw."""


@dataclass(frozen=True)
class Atlas:
    """Which surface point each texel sample shows.

    shape: (height, width) in texels. samples: samples along a texel's edge. sample: (P,) int64 flat indices into the
    (height * samples, width * samples) sample grid, ascending; repeated where several faces are averaged. owner: (P,)
    int32 index into the unrolled triangles (``uv_raster.unrolled``). uv: (U, 3, 2) float64, theirs, in samples. face:
    (U,) int64, their index in the mesh. corners: (T, 3, 3) float32, the mesh's corners in unit-ball space. chart:
    (height, width) bool, texels whose centre lies in a chart. alone: those of them that one face alone claims and that
    are not next to the edge of a chart. overlap: share of ``chart`` that more than one face claims.
    """

    shape: Shape
    samples: int
    sample: torch.Tensor
    owner: torch.Tensor
    uv: torch.Tensor
    face: torch.Tensor
    corners: torch.Tensor
    chart: np.ndarray
    alone: np.ndarray
    overlap: float

    def triangle(self, part: slice | torch.Tensor) -> torch.Tensor:
        """(p,) int64 triangles of the mesh that some of the samples show."""
        return self.face[self.owner[part].long()]

    def weights(self, part: slice | torch.Tensor, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
        """(p, 3) float32 barycentrics of some of the samples, outside 0..1 where a border sample extends its chart.

        shift: of the point from the sample's centre, in samples.
        """
        uv = self.uv[self.owner[part].long()]
        to = self._centers(self.sample[part], uv) + torch.tensor(shift, dtype=torch.float64) - uv[:, 0]
        return _barycentrics(uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0], to)

    def points(self, part: slice | torch.Tensor, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
        """(p, 3) float32 unit-ball positions of some of the samples. shift: see ``weights``."""
        return torch.einsum("pk,pkc->pc", self.weights(part, shift), self.corners[self.triangle(part)])

    def texel(self, part: slice | torch.Tensor) -> torch.Tensor:
        """(p,) int64 flat texel index of some of the samples."""
        if self.samples == 1:
            return self.sample[part]
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

    def _centers(self, sample: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
        """(p, 2) float64 sample centres, on the side of the image's border where their (p, 3, 2) triangles lie."""
        width, height = self.shape[1] * self.samples, self.shape[0] * self.samples
        own = torch.stack([sample % width, torch.div(sample, width, rounding_mode="floor")], 1).double() + 0.5
        size, near = torch.tensor([width, height], dtype=torch.float64), 2 * _RING * self.samples
        # Only next to the border may the triangle lie on the other side.
        edge = torch.nonzero(((own < near) | (own > size - near)).any(1)).squeeze(1)
        there, low, high = own[edge], uv[edge].amin(1) - near, uv[edge].amax(1) + near
        there += size * ((there < low) & (there + size <= high)) - size * ((there > high) & (there - size >= low))
        own[edge] = there
        return own


def build_atlas(
    mesh: MeshData, normalization: Normalization, shape: Shape, *, samples: int = 1, average: bool = False
) -> Atlas:
    """Rasterise the UV layer of ``mesh`` once; previews and the final bake use the result.

    average: let all faces that share a texel have their share in it; otherwise the first one owns it.
    """
    fine = (shape[0] * samples, shape[1] * samples)
    uv, face = unrolled(mesh.corner_uvs, fine)
    held = first_owner(uv, fine)
    count = owners(mesh.corner_uvs, shape)
    touched, by = touching(uv, chart_borders(mesh.triangles, mesh.corner_uvs, face), fine)
    sample, owner = _with_ring(held, touched, by, _RING * samples)
    if average:
        sample, owner = _with_sharers(uv, held, sample, owner)
    positions = torch.from_numpy(normalization.to_unit(mesh.positions)[mesh.triangles])
    return Atlas(
        shape, samples, torch.from_numpy(sample), torch.from_numpy(owner), torch.from_numpy(uv), torch.from_numpy(face),
        positions, count > 0, _alone(count == 1, touched, samples), overlap(count),
    )  # fmt: skip


def _alone(single: np.ndarray, touched: np.ndarray, samples: int) -> np.ndarray:
    """(H, W) bool: ``single`` without the texels that have one of the flat samples ``touched``, and those around."""
    height, width = single.shape
    row, column = (part // samples for part in np.divmod(touched, width * samples))
    edge = np.zeros((height + 2, width + 2), bool)
    for dy in range(3):
        for dx in range(3):
            edge[row + dy, column + dx] = True
    return np.asarray(single & ~edge[1:-1, 1:-1])


def _with_ring(
    held: np.ndarray, touched: np.ndarray, triangle: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """All samples that get a value, and their triangles: held ones, touched ones, and a ring of ``width`` around."""
    owner = held.copy()
    free = held.reshape(-1)[touched] < 0
    owner.reshape(-1)[touched[free]] = triangle[free]
    around, source, _ = near_filled(owner >= 0, width)
    owner.reshape(-1)[around] = owner.reshape(-1)[source]
    sample = np.flatnonzero(owner >= 0)
    return sample, owner.reshape(-1)[sample]


def _with_sharers(
    uv: np.ndarray, held: np.ndarray, sample: np.ndarray, owner: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The samples once more for each further triangle that holds them."""
    samples, triangles, last = [sample], [owner], held
    for _ in range(_MOST_OWNERS - 1):
        last = first_owner(uv, (held.shape[0], held.shape[1]), after=np.where(last < 0, len(uv), last))
        samples.append(np.flatnonzero(last >= 0))
        if len(samples[-1]) == 0:
            break
        triangles.append(last.reshape(-1)[samples[-1]])
    sample, owner = np.concatenate(samples[: len(triangles)]), np.concatenate(triangles)
    order = np.argsort(sample, kind="stable")
    return sample[order], owner[order]


def uv_coverage(corner_uvs: np.ndarray, shape: Shape, *, samples: int = 1) -> np.ndarray:
    """(height, width) bool: texels of which one of the (T, 3, 2) UV triangles covers a sample.

    samples: along the edge of a texel; 1 means its centre.
    """
    covered = owners(corner_uvs, (shape[0] * samples, shape[1] * samples)) > 0
    touched: np.ndarray = covered.reshape(shape[0], samples, shape[1], samples).any(axis=(1, 3))
    return touched


@torch.no_grad()
def evaluate(field: torch.nn.Module, points: torch.Tensor) -> torch.Tensor:
    """(P, C) values on the CPU, in blocks; ``points`` (P, 3) on any device."""
    device = next(field.parameters()).device
    return torch.cat([field(block.to(device)).cpu() for block in points.split(_BLOCK)])


def texel_means(
    field: torch.nn.Module, atlas: Atlas, seen: SeenSurface | None = None, *, chosen: torch.Tensor | None = None,
    fine: int = 1,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:  # fmt: skip
    """Yield (texel (n,) int64, mean of the field over the texel's samples (n, C)), band by band.

    chosen: (H * W,) bool, the texels to do; None for all. fine: points along the edge of a sample.
    """
    shifts = [(k + 0.5) / fine - 0.5 for k in range(fine)]
    for band in atlas.bands():
        part = torch.arange(band.start, band.stop)
        part = part if chosen is None else part[chosen[atlas.texel(band)]]
        if len(part) == 0:
            continue
        texel, where = torch.unique(atlas.texel(part), return_inverse=True)
        values = sum(evaluate(field, _places(atlas, part, seen, (x, y))) for x in shifts for y in shifts)
        total = values.new_zeros(len(texel), values.shape[1]).index_add_(0, where, values)
        yield texel, total / (torch.bincount(where) * fine**2)[:, None]


def bake(
    field: torch.nn.Module, atlas: Atlas, margin: int = 0, seen: SeenSurface | None = None, exact: float = EXACT
) -> tuple[np.ndarray, np.ndarray]:
    """The finished image (H, W, C) float32 and the texels (H, W) bool that got a field value themselves.

    atlas: of one sample a texel. margin: in texels; 0 for ``margin_width``. seen: of the atlas's mesh, to fill the rest
    from. exact: by how much interpolation may miss the field.
    """
    filled = atlas.filled()
    left = torch.from_numpy(filled.reshape(-1).copy())
    texel, values = blocks.ask_in_blocks(atlas.alone, lambda texel: _ask(field, atlas, texel, seen), exact)
    image = np.zeros((*atlas.shape, values.shape[1]), np.float32)
    flat = image.reshape(-1, values.shape[1])
    flat[texel], left[texel] = values, False
    for some, means in texel_means(field, atlas, seen, chosen=left):
        flat[some] = means.numpy()
    fast = torch.from_numpy(_fast(image, filled).reshape(-1))
    for some, means in texel_means(field, atlas, seen, chosen=fast, fine=FINE):
        flat[some] = means.numpy()
    return fill_margin(image, filled, margin or margin_width(atlas.shape)), filled


def _ask(field: torch.nn.Module, atlas: Atlas, texel: np.ndarray, seen: SeenSurface | None) -> np.ndarray:
    """(n, C) values at the centres of flat ``texel`` (n,), which have one sample each."""
    sample = torch.searchsorted(atlas.sample, torch.from_numpy(texel))
    parts = [evaluate(field, _places(atlas, part, seen)) for part in sample.split(_BLOCK)]
    return torch.cat(parts).numpy()


def _fast(image: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """(H, W) bool: filled texels that differ much from a filled neighbour."""
    fast = np.zeros(filled.shape, bool)
    # Bands stay in the processor's cache: seven times faster than the whole image at once.
    for top in range(0, len(filled), _BAND):
        rows = slice(max(top - 1, 0), top + _BAND)
        fast[rows] |= _differing(image[rows], filled[rows])
    return fast


def _differing(image: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """``_fast`` of one band."""
    result = np.zeros(filled.shape, bool)
    for axis in (0, 1):
        low, high = (tuple(part if k == axis else slice(None) for k in (0, 1)) for part in (np.s_[:-1], np.s_[1:]))
        channels = np.abs(image[low] - image[high]) > _FAST
        # Slice by slice: many times faster than ``any`` over a short axis.
        differ = np.logical_or.reduce([channels[..., k] for k in range(channels.shape[-1])])
        differ &= filled[low] & filled[high]
        result[low] |= differ
        result[high] |= differ
    return result


def _places(
    atlas: Atlas, part: slice | torch.Tensor, seen: SeenSurface | None, shift: tuple[float, float] = (0.0, 0.0)
) -> torch.Tensor:
    """(p, 3) float32 where the field is asked for some of the samples."""
    points = atlas.points(part, shift)
    return seen.moved(points, atlas.triangle(part).numpy()) if seen else points


def _barycentrics(e1: torch.Tensor, e2: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
    """(P, 3) float32 barycentrics of points ``to`` (P, 2) from the first corners of triangles with edges e1 and e2.

    Extrapolated ones are pulled back to at most one triangle size outside: slivers would shoot far away.
    """
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    area = torch.where(area.abs() < 1e-12, torch.inf, area)
    b = (to[:, 0] * e2[:, 1] - to[:, 1] * e2[:, 0]) / area
    c = (e1[:, 0] * to[:, 1] - e1[:, 1] * to[:, 0]) / area
    weights = torch.stack([1 - b - c, b, c], 1)
    lowest = weights.amin(1, keepdim=True)
    share = (4 / 3) / (1 / 3 - lowest.clamp(max=-1))
    return (1 / 3 + (weights - 1 / 3) * share).float()
