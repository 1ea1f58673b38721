"""A small picture of a textured mesh, drawn on the CPU from a G-buffer.

Camera and axes as in ``core.views``. Images are row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from ...core.atlas import sample_bilinear
from ...core.images import layout
from ...core.mesh import MeshData, Normalization
from ...core.views import View, direction, framing_distance
from ..look.gbuffer import render_gbuffer
from ..look.surface import Surface

# Pixels along an edge of the picture, and samples along an edge of a pixel.
SIZE, _SUPERSAMPLE = 128, 3
_AZIMUTH, _ELEVATION = 30.0, 22.0
# From here the unit ball fills a picture of 30 degrees.
_DISTANCE = framing_distance(30.0, 1.0)
# Share of the picture's edge that the object spans.
_FILL = 0.97
# The lamp stands above the camera's left shoulder.
_LAMP = direction(_AZIMUTH - 35, _ELEVATION + 30)
_AMBIENT = 0.62
# The grey of a surface without a picture.
_BARE = 0.5


def render_thumbnail(mesh: MeshData, images: Mapping[int, np.ndarray]) -> np.ndarray:
    """(SIZE, SIZE, 4) uint8, sRGB-encoded, straight alpha, of ``mesh`` with its texture on a transparent ground.

    images: by picture (``core.images``), each (H, W, >= 3), sRGB-encoded in 0..1. Where there is none, the surface is
    grey. Raises ``ValueError`` if the mesh has no surface.
    """
    if not mesh.triangle_areas().sum() > 0:
        raise ValueError("The mesh has no surface.")
    used = mesh.positions[np.unique(mesh.triangles)]
    normalization = Normalization.of(used)
    view = _framing_view(normalization.to_unit(used))
    seen = render_gbuffer(Surface.of(mesh, normalization), view, size=SIZE, supersample=_SUPERSAMPLE)

    triangle, barycentric = seen.triangle.numpy(), seen.barycentric.numpy()
    number, uvs = layout(mesh)
    number, uv = number[triangle], np.einsum("pk,pkc->pc", barycentric, uvs[triangle])
    color = np.full((len(uv), 3), _BARE)
    for picture, image in images.items():
        here = number == picture
        color[here] = sample_bilinear(image[..., :3], uv[here])
    shade = _AMBIENT + (1 - _AMBIENT) * np.clip(seen.normal.numpy() @ _LAMP, 0, 1)

    premultiplied = seen.resolve(torch.from_numpy(color * shade[:, None])).numpy()
    alpha = seen.coverage.numpy()[..., None]
    # Divided by alpha, so that the object's edges are not darker.
    straight = np.concatenate([premultiplied / np.maximum(alpha, 1e-6), alpha], axis=2)
    return np.asarray(np.rint(straight.clip(0, 1) * 255), np.uint8)


def _framing_view(points: np.ndarray) -> View:
    """The view in which (N, 3) ``points`` of the unit ball lie in the middle and span ``_FILL`` of the picture."""
    # At 90 degrees the half edge of the picture is as long as the distance, so shares of it are lengths and tangents.
    view = View(_AZIMUTH, _ELEVATION, _DISTANCE, fov=90.0)
    right, up = view.world_to_camera()[:2, :3]
    # A point near the camera moves farther than a distant one, so the middle is found in a few steps.
    for _ in range(4):
        pixel, _depth = view.project(points, 2)
        across, down = (pixel.min(axis=0) + pixel.max(axis=0)) / 2 - 1
        x, y, z = (np.asarray(view.target) + _DISTANCE * (across * right - down * up)).tolist()
        view = replace(view, target=(x, y, z))
    pixel, _depth = view.project(points, 2)
    tangent = float(np.abs(pixel - 1).max()) / _FILL
    return replace(view, fov=float(np.degrees(2 * np.arctan(tangent))))
