"""Small meshes with known geometry and UVs, for the tests. Object space, Z up, counter-clockwise outside."""

from __future__ import annotations

import numpy as np

from csd_addon.core.mesh import MeshData


def _mesh(positions: np.ndarray, triangles: np.ndarray, uvs: np.ndarray, normals: np.ndarray | None = None) -> MeshData:
    """normals: per corner (T, 3, 3), or None for flat shading."""
    positions = positions.astype(np.float32)
    if normals is None:
        a, b, c = (positions[triangles[:, k]] for k in range(3))
        flat = np.cross(b - a, c - a)
        normals = np.repeat((flat / np.linalg.norm(flat, axis=1, keepdims=True))[:, None], 3, axis=1)
    return MeshData(positions, triangles.astype(np.int32), normals.astype(np.float32), uvs.astype(np.float32))


def cube() -> MeshData:
    """Edge 2, centred; each face has its own chart in a 3 x 2 layout with gaps of 0.02."""
    axes = np.eye(3)
    positions, triangles, uvs = [], [], []
    for face in range(6):
        axis, sign = face // 2, 1 if face % 2 == 0 else -1
        u, v = axes[(axis + 1) % 3], axes[(axis + 2) % 3]
        if sign < 0:
            u, v = v, u
        corners = [sign * axes[axis] + a * u + b * v for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        base = len(positions)
        positions += corners
        triangles += [(base, base + 1, base + 2), (base, base + 2, base + 3)]
        low = np.array([(face % 3) / 3 + 0.01, (face // 3) / 2 + 0.01])
        size = np.array([1 / 3 - 0.02, 1 / 2 - 0.02])
        quad = [low + size * np.array(c) for c in ((0, 0), (1, 0), (1, 1), (0, 1))]
        uvs += [(quad[0], quad[1], quad[2]), (quad[0], quad[2], quad[3])]
    welded, inverse = np.unique(np.round(positions, 6), axis=0, return_inverse=True)
    return _mesh(welded, inverse.reshape(-1)[np.array(triangles)], np.array(uvs))


def torus(around: int = 48, across: int = 24, *, bump: float = 0.0) -> MeshData:
    """Radii 1 and 0.4, smooth normals, one chart cut open along both directions (inside a border of 0.05)."""
    i, j = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    u, v = i / around * 2 * np.pi, j / across * 2 * np.pi
    radius = 0.4 + bump * np.sin(7 * u) * np.sin(5 * v)
    positions = np.stack(
        [(1 + radius * np.cos(v)) * np.cos(u), (1 + radius * np.cos(v)) * np.sin(u), radius * np.sin(v)], -1
    )
    normals = np.stack([np.cos(v) * np.cos(u), np.cos(v) * np.sin(u), np.sin(v)], -1).reshape(-1, 3)
    i, j = i.ravel(), j.ravel()
    quad = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
    index = [(a % around) * across + b % across for a, b in quad]
    uv = [np.stack([0.05 + 0.9 * a / around, 0.05 + 0.9 * b / across], -1) for a, b in quad]
    triangles = np.concatenate([np.stack([index[k] for k in t], 1) for t in ((0, 1, 2), (0, 2, 3))])
    uvs = np.concatenate([np.stack([uv[k] for k in t], 1) for t in ((0, 1, 2), (0, 2, 3))])
    return _mesh(positions.reshape(-1, 3), triangles, uvs, normals[triangles])


def sphere(rings: int = 32, segments: int = 64) -> MeshData:
    """Radius 1, smooth normals, equirectangular UVs with a seam at azimuth 0."""
    i, j = np.meshgrid(np.arange(rings + 1), np.arange(segments + 1), indexing="ij")
    theta, phi = i / rings * np.pi, j / segments * 2 * np.pi
    positions = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    uv = np.stack([j / segments, 1 - i / rings], -1).reshape(-1, 2)
    a = (i[:-1, :-1] * (segments + 1) + j[:-1, :-1]).ravel()
    quad = (a, a + segments + 1, a + segments + 2, a + 1)
    triangles = np.concatenate([np.stack([quad[k] for k in t], 1) for t in ((0, 1, 2), (0, 2, 3))])
    welded, inverse = np.unique(np.round(positions, 6), axis=0, return_inverse=True)
    corners = inverse.reshape(-1)[triangles]
    kept = (corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2]) & (corners[:, 2] != corners[:, 0])
    triangles, corners = triangles[kept], corners[kept]
    return _mesh(welded, corners, uv[triangles], welded[corners])
