"""Random triangle meshes for the training images.

Object space has Blender's axes (Z up, -Y front); a finished mesh is centred and fills the unit sphere.
Triangles wind counter-clockwise seen from outside. Normals are unit vectors per triangle corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from csd_addon.worker.look.surface import Surface


@dataclass(frozen=True)
class Shape:
    """kind: a word of vocabulary.SHAPES. surface: the mesh as the renderer takes it, in the unit ball."""

    kind: str
    surface: Surface


def face_normals(corners: np.ndarray) -> np.ndarray:
    """Area-weighted normals [T, 3] of triangles [T, 3, 3]; not unit length."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def flat(corners: np.ndarray) -> np.ndarray:
    return np.repeat(unit(face_normals(corners))[:, None], 3, axis=1)


def grid(points: np.ndarray, smooth: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Corners and normals [T, 3, 3] of a grid [R, C, 3] whose columns close into a ring; shared seams are
    welded.
    """
    rows, columns = points.shape[:2]
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    triangles = np.concatenate([np.stack([a, b, b + columns], -1), np.stack([a, b + columns, a + columns], -1)])
    triangles = triangles.reshape(-1, 3)
    _, weld = np.unique(points.reshape(-1, 3).round(5), axis=0, return_inverse=True)
    triangles = weld.reshape(-1)[triangles]
    distinct = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    vertices = np.zeros((weld.max() + 1, 3))
    vertices[weld.reshape(-1)] = points.reshape(-1, 3)
    triangles = triangles[distinct]
    corners = vertices[triangles]
    if not smooth:
        return corners, flat(corners)
    summed = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(summed, triangles[:, corner], face_normals(corners))
    return corners, unit(summed)[triangles]


def lathe(*runs: np.ndarray, around: int = 40, smooth: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Surface of revolution about Z of profiles [n, 2] of (radius, z), from low z to high; an edge between
    runs.
    """
    angle = np.arange(around) / around * 2 * np.pi
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    parts = []
    for run in map(np.asarray, runs):
        points = np.concatenate([run[:, None, :1] * ring, np.repeat(run[:, None, 1:], around, 1)], -1)
        parts.append(grid(points, smooth))
    return join(parts)


def box(size: np.ndarray, center: Sequence[float] = (0.0, 0.0, 0.0)) -> tuple[np.ndarray, np.ndarray]:
    """An axis-aligned box with flat normals; size [3] is its full extent."""
    x = np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    quads = np.array([[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    corners = (x * np.asarray(size) / 2 + np.asarray(center))[triangles]
    return corners, flat(corners)


def join(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def ball(rows: int = 22, around: int = 40) -> np.ndarray:
    """Points [rows, around, 3] of the unit sphere, south pole first."""
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    angle = (np.arange(around) / around * 2 * np.pi)[None]
    z = np.broadcast_to(np.sin(latitude), (rows, around))
    return np.stack([np.cos(latitude) * np.cos(angle), np.cos(latitude) * np.sin(angle), z], -1)


def sphere(rng):
    return grid(ball())


def cube(rng):
    if rng.random() < 0.55:
        return box(np.ones(3))
    return superquadric(rng.uniform(0.12, 0.35), rng.uniform(0.12, 0.35))


def superquadric(e1: float, e2: float) -> tuple[np.ndarray, np.ndarray]:
    """A sphere for exponents of 1, a rounded cube for small ones (Barr 1981)."""
    p = ball(34, 64)
    xy = np.linalg.norm(p[..., :2], axis=-1, keepdims=True)
    power = lambda v, e: np.sign(v) * np.abs(v) ** e  # noqa: E731
    flat_part = power(p[..., :2] / np.maximum(xy, 1e-9), e2) * power(xy, e1)
    return grid(np.concatenate([flat_part, power(p[..., 2:], e1)], -1))


def cylinder(rng):
    r, h = 1.0, rng.uniform(0.6, 1.6)
    return lathe([[0, -h], [r, -h]], [[r, -h], [r, h]], [[r, h], [0, h]])


def cone(rng):
    h, top = rng.uniform(0.7, 1.5), rng.choice([0.0, 0.0, 0.45])
    return lathe([[0, -h], [1, -h]], [[1, -h], [top, h]], [[top, h], [0, h]])


def torus(rng):
    r, angle = rng.uniform(0.22, 0.48), np.linspace(0, 2 * np.pi, 25) - np.pi
    parts = lathe(np.stack([1 + r * np.cos(angle), r * np.sin(angle)], -1))
    return turned(parts, rng.choice([0, 0, 90]))


def turned(parts: tuple[np.ndarray, np.ndarray], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Turned about X."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return parts[0] @ matrix.T, parts[1] @ matrix.T


def capsule(rng):
    h, angle = rng.uniform(0.3, 1.2), np.linspace(-np.pi / 2, np.pi / 2, 22)
    z = np.sin(angle) + np.where(angle > 0, h, -h)
    parts = lathe(np.stack([np.cos(angle).clip(0), z], -1))
    return turned(parts, rng.choice([0, 90]))


def vase(rng):
    """A turned profile: smooth curve through random radii, closed by flat discs."""
    z = np.linspace(-1, 1, 28)
    knots = rng.uniform(0.2, 0.85, rng.integers(4, 7))
    radius = np.interp(z, np.linspace(-1, 1, len(knots)), knots)
    radius = np.convolve(np.pad(radius, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    side = np.stack([radius, z * rng.uniform(0.9, 1.3)], -1)
    return lathe([[0, side[0, 1]], side[0]], side, [side[-1], [0, side[-1, 1]]])


def waves(rng, points: np.ndarray, amplitude: float, frequency: float) -> np.ndarray:
    """Smooth random values [...] at points [..., 3]: a sum of eight plane waves."""
    direction = rng.normal(0, frequency, (8, 3))
    return amplitude * np.sin(points @ direction.T + rng.uniform(0, 2 * np.pi, 8)).sum(-1) / np.sqrt(8)


def blob(rng):
    points = ball(34, 64)
    return grid(points * (1 + waves(rng, points, rng.uniform(0.15, 0.3), rng.uniform(1.2, 2.2)))[..., None].clip(0.3))


def rock(rng):
    points = ball(11, 16)
    return grid(points * (1 + waves(rng, points, 0.18, 2.5))[..., None].clip(0.4), smooth=False)


def steps(rng):
    """Stairs or an L: boxes of rising height side by side."""
    count, width = rng.integers(2, 5), rng.uniform(0.7, 1.6)
    heights = np.arange(1, count + 1) / count
    boxes = [
        box([width, 1 / count * 1.5, h], [0, (i + 0.5 - count / 2) / count * 1.5, h / 2]) for i, h in enumerate(heights)
    ]
    return join(boxes)


def arch(rng):
    leg, depth = rng.uniform(0.3, 0.5), rng.uniform(0.5, 1.0)
    return join(
        [
            box([leg, depth, 1.4], [-0.8, 0, 0]),
            box([leg, depth, 1.4], [0.8, 0, 0]),
            box([1.6 + leg, depth, leg], [0, 0, 0.7 + leg / 2]),
        ]
    )


def joined(rng):
    """Two to four simple parts pushed into each other."""
    parts = []
    for _ in range(rng.integers(2, 5)):
        corners, normals = (sphere, cube, cylinder, box_of, capsule, cone)[rng.integers(6)](rng)
        scale = rng.uniform(0.35, 0.9)
        parts.append((corners * scale / np.abs(corners).max() + rng.uniform(-0.5, 0.5, 3), normals))
    return join(parts)


def box_of(rng):
    return box(rng.uniform(0.5, 2.0, 3))


def stretched(parts: tuple[np.ndarray, np.ndarray], scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return parts[0] * scale, unit(parts[1] / scale)


def spun(parts: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turned by a random rotation: about Z alone three times in four."""
    q = rng.normal(size=4)
    if rng.random() < 0.75:
        q[1:3] = 0
    w, x, y, z = q / np.linalg.norm(q)
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return parts[0] @ matrix.T, parts[1] @ matrix.T


MAKERS = {
    "sphere": (1.3, sphere),
    "cube": (2.0, cube),
    "cylinder": (1.2, cylinder),
    "cone": (0.8, cone),
    "torus": (1.0, torus),
    "capsule": (0.8, capsule),
    "vase": (1.5, vase),
    "rock": (1.0, rock),
    "blob": (1.5, blob),
    "object": (2.0, joined),
    "steps": (0.7, steps),
    "arch": (0.6, arch),
}


def random_shape(rng: np.random.Generator) -> Shape:
    """A mesh of a random kind, stretched now and then, seldom turned, normalised into the unit sphere."""
    weights = np.array([w for w, _ in MAKERS.values()])
    kind = str(rng.choice(list(MAKERS), p=weights / weights.sum()))
    parts = MAKERS[kind][1](rng)
    if rng.random() < 0.5:
        parts = stretched(parts, rng.uniform(0.65, 1.4, 3))
    if rng.random() < 0.2:
        parts = spun(parts, rng)
    corners, normals = parts
    vertices, triangles = np.unique(corners.reshape(-1, 3).round(6), axis=0, return_inverse=True)
    vertices = vertices - (vertices.min(0) + vertices.max(0)) / 2
    vertices = vertices / np.linalg.norm(vertices, axis=1).max()
    return Shape(
        kind,
        Surface(
            torch.from_numpy(vertices).float(),
            torch.from_numpy(triangles.reshape(-1, 3)),
            torch.from_numpy(normals).float(),
        ),
    )
