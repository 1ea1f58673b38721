"""A small picture of a textured mesh, from a G-buffer of one view.

Camera and axes as in ``core.views``; images are row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from ...core.atlas import sample_bilinear
from ...core.images import layout
from ...core.mesh import MeshData, Normalization
from ...core.views import View, framing_distance
from ..look.gbuffer import render_gbuffer
from ..look.surface import Surface

SIZE = 128
_FOV, _FILL, _SAMPLES = 30.0, 0.97, 3
_VIEW = View(azimuth=30.0, elevation=22.0, distance=framing_distance(_FOV, 1.0), fov=_FOV)
_AMBIENT, _BARE = 0.62, 0.5


def render_thumbnail(mesh: MeshData, images: Mapping[int, np.ndarray]) -> np.ndarray:
    """(SIZE, SIZE, 4) uint8, straight alpha, of ``mesh`` with its texture.

    images: by picture (``core.images``), each (H, W, >= 3), sRGB-encoded in 0..1; where there is none, the surface is
    grey. Raises ``ValueError`` if the mesh has no surface.
    """
    if not mesh.triangle_areas().sum() > 0:
        raise ValueError("The mesh has no surface.")
    surface = Surface.of(mesh, Normalization.of(mesh.positions[np.unique(mesh.triangles)]))
    gbuffer = render_gbuffer(surface, _framed(surface), size=SIZE, supersample=_SAMPLES)
    triangle = gbuffer.triangle.numpy()
    number, uvs = layout(mesh)
    uv = np.einsum("pk,pkc->pc", gbuffer.barycentric.numpy(), uvs[triangle])
    color = np.full((len(uv), 3), _BARE)
    for picture, image in images.items():
        here = number[triangle] == picture
        color[here] = sample_bilinear(image[..., :3], uv[here])
    shaded = torch.from_numpy(color * _light(gbuffer.normal.numpy())[:, None])
    alpha = gbuffer.coverage.numpy()[..., None]
    straight = gbuffer.resolve(shaded).numpy() / np.maximum(alpha, 1e-6)
    return np.asarray(np.rint(np.concatenate([straight, alpha], axis=2).clip(0, 1) * 255), np.uint8)


def _framed(surface: Surface) -> View:
    """The view moved sideways and zoomed, so that ``surface`` fills the picture but for its border."""
    points = surface.positions[surface.triangles.unique()].numpy()
    pixel, _ = _VIEW.project(points, SIZE)
    right, down = (pixel.min(axis=0) + pixel.max(axis=0)) / 2 - SIZE / 2
    reach = np.tan(np.radians(_FOV) / 2)
    # The length of a pixel at the middle of the ball, along the camera's right and up.
    length, axes = 2 * _VIEW.distance * reach / SIZE, _VIEW.world_to_camera()[:2, :3]
    x, y, z = (length * (right * axes[0] - down * axes[1])).tolist()
    aimed = replace(_VIEW, target=(x, y, z))
    pixel, _ = aimed.project(points, SIZE)
    share = max(float(np.abs(pixel - SIZE / 2).max()) / (_FILL * SIZE / 2), 1e-6)
    return replace(aimed, fov=float(2 * np.degrees(np.arctan(reach * share))))


def _light(normal: np.ndarray) -> np.ndarray:
    """Shade of (P, 3) normals under a light above the camera's left shoulder, seen from both sides alike."""
    azimuth, elevation = np.radians([_VIEW.azimuth - 35, _VIEW.elevation + 30])
    lamp = [np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)]
    shade: np.ndarray = _AMBIENT + (1 - _AMBIENT) * np.clip(normal @ lamp, 0, 1)
    return shade
