"""A small picture of a textured mesh, drawn with numpy alone from what lies in a job folder.

The surface is covered with random points; each shows its texel, lightly shaded, and the nearest one to the camera
wins. Camera and axes as in ``views``; images are row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...core.atlas import sample_bilinear
from ...core.images import layout
from ...core.mesh import MeshData, Normalization
from ...core.views import View, framing_distance

SIZE = 128
_FOV, _FILL = 30.0, 0.97
_VIEW = View(azimuth=30.0, elevation=22.0, distance=framing_distance(_FOV, 1.0), fov=_FOV)
# Points for each pixel of the picture.
_DENSITY = 9
_AMBIENT = 0.62
_BARE = 0.5


def render_thumbnail(mesh: MeshData, images: Mapping[int, np.ndarray]) -> np.ndarray:
    """(SIZE, SIZE, 4) uint8, straight alpha, of ``mesh`` with its texture.

    images: by picture (``images``), each (H, W, >= 3), sRGB-encoded in 0..1; where there is none, the surface is grey.
    Raises ``ValueError`` if the mesh has no surface.
    """
    triangle, share = _points(mesh)
    normalization = Normalization.of(mesh.positions[np.unique(mesh.triangles)])
    corners = normalization.to_unit(mesh.positions)[mesh.triangles[triangle]]
    nearest = _nearest(np.einsum("pk,pkc->pc", share, corners))
    seen = nearest >= 0
    # Only what is seen is coloured.
    triangle, share = triangle[nearest[seen]], share[nearest[seen]]
    picture = np.zeros((*nearest.shape, 4))
    picture[seen, :3] = _colors(mesh, triangle, share, images)
    picture[seen, 3] = 1
    return _averaged(picture)


def _points(mesh: MeshData) -> tuple[np.ndarray, np.ndarray]:
    """Triangle (P,) and barycentric coordinates (P, 3) of points that lie evenly on the surface."""
    generator = np.random.default_rng(0)
    count = SIZE * SIZE * _DENSITY
    areas = np.cumsum(mesh.triangle_areas())
    if not len(areas) or not areas[-1] > 0:
        raise ValueError("The mesh has no surface.")
    # Evenly spaced along the summed areas: fewer holes than with independent draws.
    places = (np.arange(count) + generator.random(count)) / count * areas[-1]
    triangle = np.searchsorted(areas, places).clip(0, len(areas) - 1)
    root, second = np.sqrt(generator.random(count)), generator.random(count)
    return triangle, np.stack([1 - root, root * (1 - second), root * second], axis=1)


def _light(normal: np.ndarray) -> np.ndarray:
    """Shade of (P, 3) normals under a light above the camera's left shoulder, seen from both sides alike."""
    azimuth, elevation = np.radians([_VIEW.azimuth - 35, _VIEW.elevation + 30])
    lamp = [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    shade: np.ndarray = _AMBIENT + (1 - _AMBIENT) * np.clip(normal @ lamp, 0, 1)
    return shade


def _fitted(pixel: np.ndarray, edge: int) -> np.ndarray:
    """Move and scale (P, 2) pixel coordinates so that they fill a square of ``edge`` pixels but for its border."""
    low, high = pixel.min(axis=0), pixel.max(axis=0)
    scale = _FILL * edge / max(float((high - low).max()), 1e-6)
    return np.asarray((pixel - (low + high) / 2) * scale + edge / 2)


def _nearest(position: np.ndarray) -> np.ndarray:
    """(2 SIZE, 2 SIZE) int32: which of the (P, 3) points is seen in each pixel, -1 for none.

    Each point is a square of 3 x 3 pixels, so that no hole stays.
    """
    fine = 2 * SIZE
    # With a border of one pixel, which is cut off again.
    edge = fine + 2
    pixel, depth = _VIEW.project(position, fine)
    far_first = np.argsort(-depth).astype(np.int32)
    column, row = np.floor(_fitted(pixel, fine)[far_first]).astype(np.int32).clip(0, fine - 1).T
    nearest = np.full(edge * edge, -1, np.int32)
    square = np.add.outer(np.arange(3, dtype=np.int32) * edge, np.arange(3, dtype=np.int32)).ravel()
    nearest[(row * edge + column)[:, None] + square] = far_first[:, None]
    return nearest.reshape(edge, edge)[1:-1, 1:-1]


def _colors(
    mesh: MeshData, triangle: np.ndarray, share: np.ndarray, images: Mapping[int, np.ndarray]
) -> np.ndarray:
    """(P, 3) shaded colours at the points with the barycentric coordinates ``share`` on ``triangle``."""
    number, uvs = layout(mesh)
    uv = np.einsum("pk,pkc->pc", share, uvs[triangle])
    color = np.full((len(uv), 3), _BARE)
    for picture, image in images.items():
        here = number[triangle] == picture
        color[here] = sample_bilinear(image[..., :3], uv[here])
    normal = np.einsum("pk,pkc->pc", share, mesh.corner_normals[triangle])
    return np.asarray(color * _light(normal)[:, None])


def _averaged(picture: np.ndarray) -> np.ndarray:
    """Half the size, (SIZE, SIZE, 4) uint8 with straight alpha."""
    premultiplied = picture.reshape(SIZE, 2, SIZE, 2, 4).mean(axis=(1, 3))
    alpha = premultiplied[..., 3:]
    straight = np.concatenate([premultiplied[..., :3] / np.maximum(alpha, 1e-6), alpha], axis=2).clip(0, 1)
    return np.asarray(np.rint(straight * 255), np.uint8)
