"""The rasteriser against analytic ray casts, its fill rule, and the G-buffer's geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.views import View, framing_distance
from csd_addon.worker.look.gbuffer import GBuffer, render_gbuffer
from csd_addon.worker.look.raster import rasterize
from csd_addon.worker.look.surface import Surface
from tests import shapes

FOV = 35.0


def buffer(mesh: MeshData, view: View, size: int = 96, supersample: int = 1) -> GBuffer:
    return render_gbuffer(
        Surface.of(mesh, Normalization((0, 0, 0), 1.0)), view, size=size, supersample=supersample
    )


def rays(view: View, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Origin (3,) and unit directions (size, size, 3) through the pixel centres, worked out from the convention."""
    grid = (np.arange(size) + 0.5) / size * 2 - 1
    tangent = np.tan(np.radians(view.fov) / 2)
    camera = np.stack(np.broadcast_arrays(grid[None] * tangent, -grid[:, None] * tangent, -1.0), -1)
    world = camera @ view.world_to_camera()[:3, :3]
    return view.position, world / np.linalg.norm(world, axis=-1, keepdims=True)


def test_sphere_agrees_with_ray_cast() -> None:
    view = View(25, 30, 4.0, FOV)
    g = buffer(shapes.sphere(128, 256), view)
    origin, direction = rays(view, 96)
    b = direction @ origin
    root = b**2 - (origin @ origin - 1)
    hit = root > 0
    distance = -b - np.sqrt(np.where(hit, root, 0))
    covered = (g.coverage > 0).numpy()
    print(f"pixels that disagree on the silhouette: {(covered != hit).sum()} of {hit.sum()}, tolerance 1 %")
    assert (covered != hit).sum() < 0.01 * hit.sum()
    rows, columns = np.divmod(g.pixel.numpy(), 96)
    both = hit[rows, columns]
    expected = (origin + distance[..., None] * direction)[rows, columns][both]
    error = np.abs(g.position.numpy()[both] - expected).max()
    normal_error = np.abs(g.normal.numpy()[both] - expected).max()
    print(f"position error {error:.4f} (tolerance 0.02 at the rim), normal error {normal_error:.4f}")
    assert error < 0.02 and normal_error < 0.02


def test_cube_interpolates_perspectively_and_keeps_depth_order() -> None:
    view = View(30, 20, 5.0, FOV)
    g = buffer(shapes.cube(), view)
    origin, direction = rays(view, 96)
    with np.errstate(divide="ignore"):
        t = np.sort(np.stack([(s - origin[a]) / direction[..., a] for a in range(3) for s in (-1, 1)]), axis=0)
    points = origin + t[..., None] * direction
    inside = (np.abs(points) < 1 + 1e-9).all(-1)
    first = np.argmax(inside, axis=0)
    hit = inside.any(0)
    expected = np.take_along_axis(points, first[None, ..., None], 0)[0]
    rows, columns = np.divmod(g.pixel.numpy(), 96)
    print(f"silhouette differs in {((g.coverage > 0).numpy() != hit).sum()} pixels")
    assert ((g.coverage > 0).numpy() != hit).sum() <= 2
    both = hit[rows, columns]
    error = np.abs(g.position.numpy()[both] - expected[rows, columns][both]).max()
    print(f"position error {error:.2e}, tolerance 1e-5")
    assert error < 1e-5


def test_neighbours_share_edges_without_gap_or_overlap() -> None:
    # A fan of slivers around a point, in double cover of the square: each centre must belong to exactly one.
    generator = np.random.default_rng(0)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 300))
    rim = 200 * np.stack([np.cos(angles), np.sin(angles)], 1) + 32
    points = torch.from_numpy(np.concatenate([[[32.3, 31.7]], rim]))
    k = torch.arange(300)
    triangles = torch.stack([torch.zeros_like(k), k + 1, (k + 1) % 300 + 1], 1)
    near = torch.ones(len(points))
    together = rasterize(points, near, triangles, height=64, width=64)
    counts = sum(
        (rasterize(points, near, triangles[i : i + 1], height=64, width=64) >= 0).int() for i in range(300)
    )
    assert (together >= 0).all() and (counts == 1).all()


def test_result_does_not_depend_on_triangle_order_or_winding() -> None:
    mesh = shapes.torus()
    view = View(40, 35, 5.0, FOV)
    pixels, depth = view.project(mesh.positions, 64)
    points, near = torch.from_numpy(pixels), torch.from_numpy(1 / depth)
    triangles = torch.from_numpy(mesh.triangles).long()
    ids = rasterize(points, near, triangles, height=64, width=64)
    order = torch.randperm(len(triangles), generator=torch.Generator().manual_seed(0))
    shuffled = rasterize(points, near, triangles[order].flip(1), height=64, width=64)
    same = torch.where(shuffled >= 0, order[shuffled.clamp(min=0)], -1)
    print(f"{int((same != ids).sum())} pixels differ")
    assert torch.equal(same, ids)


def test_nothing_in_view_and_points_behind_the_camera() -> None:
    points = torch.tensor([[1.0, 1.0], [5.0, 1.0], [1.0, 5.0], [float("nan"), 0.0]])
    triangles = torch.tensor([[0, 1, 2], [0, 1, 3]])
    near = torch.tensor([0.0, 1.0, 1.0, 1.0])
    assert (rasterize(points, near, triangles, height=8, width=8) == -1).all()
    assert (rasterize(points, near, triangles[:0], height=8, width=8) == -1).all()


def test_linear_field_renders_as_positions_and_constant_as_constant() -> None:
    mesh = shapes.torus()
    normalization = Normalization.of(mesh.positions)
    g = render_gbuffer(Surface.of(mesh, normalization), View(0, 90, 4, FOV), size=64, supersample=2)
    constant = g.resolve(torch.full((len(g.pixel), 3), 0.25))
    covered = g.coverage[..., None].expand(-1, -1, 3)
    assert (constant - 0.25 * covered).abs().max() < 1e-6
    # Seen from above, +X is right and the front (-Y) is at the bottom.
    image = g.resolve(g.position)
    full = g.coverage == 1
    columns = image[..., 0][full].numpy()
    x = np.broadcast_to(np.arange(64), (64, 64))[full.numpy()]
    y = np.broadcast_to(np.arange(64)[:, None], (64, 64))[full.numpy()]
    assert np.corrcoef(columns, x)[0, 1] > 0.999
    assert np.corrcoef(image[..., 1][full].numpy(), -y)[0, 1] > 0.999


def test_moving_object_and_camera_together_changes_nothing() -> None:
    mesh = shapes.torus(bump=0.08)
    angle = np.radians(70)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = MeshData(
        (mesh.positions @ rotation.T + [3, -2, 7]).astype(np.float32), mesh.triangles,
        (mesh.corner_normals @ rotation.T).astype(np.float32), mesh.corner_uvs,
    )  # fmt: skip
    here = buffer(mesh, View(10, 25, 4.5, FOV, (0, 0, 0)))
    there = buffer(moved, View(80, 25, 4.5, FOV, (3, -2, 7)))
    assert abs(len(here.pixel) - len(there.pixel)) <= 3
    error = float((here.coverage - there.coverage).abs().sum())
    print(f"pixels that differ: {error:.0f}, tolerance 3")
    assert error <= 3


@pytest.mark.parametrize("fill", [0.5, 1.0, 2.0])
def test_framing_distance_makes_the_unit_ball_span_the_given_share(fill: float) -> None:
    g = buffer(shapes.sphere(64, 128), View(0, 0, framing_distance(FOV, fill), FOV), size=128)
    width = min(fill, 1.0) * 128
    columns = (g.coverage[64] > 0).sum()
    print(f"{int(columns)} columns, expected {width:.0f} +- 2")
    assert abs(int(columns) - width) <= 2


@pytest.mark.parametrize("azimuth", [0, 37, 200])
def test_a_floor_that_reaches_behind_the_camera_is_seen_to_the_edge(azimuth: float) -> None:
    corners = np.array([[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    up = np.tile(np.float32([0, 0, 1]), (2, 3, 1))
    mesh = MeshData(corners, triangles, up, np.zeros((2, 3, 2), np.float32))
    view = View(azimuth, 40, 1.2, FOV, (0.3, 0.2, 0.0))
    g = buffer(mesh, view)
    assert (g.coverage == 1).all()
    origin, direction = rays(view, 96)
    hit = (origin - direction * (origin[2] / direction[..., 2])[..., None]).reshape(-1, 3)
    error = np.abs(g.position.numpy() - hit[g.pixel.numpy()]).max()
    depth = np.abs(g.depth.numpy() - (hit[g.pixel.numpy()] - origin) @ -view.direction).max()
    print(f"position error {error:.1e}, depth error {depth:.1e}, tolerance 1e-4 on a floor of 100")
    assert error < 1e-4 and depth < 1e-4
