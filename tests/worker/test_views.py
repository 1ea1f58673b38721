"""Where the cameras of a job stand: below the horizon too, or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.recipe import Views
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.worker.look import views
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import MOST_NEAR, NEAR, PooledView, sample_pool
from tests import shapes

SMALL = Views(resolution=16, view_pool=48, elevation=(-45.0, 75.0), close_up_share=0.4)


def pool_of(
    mesh: MeshData, numbers: Views, interest: np.ndarray | None = None, *, seed: int = 0
) -> list[PooledView]:
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    return list(sample_pool(surface, numbers, torch.Generator().manual_seed(seed), (), interest))


def test_without_undersides_no_camera_stands_below_the_horizon() -> None:
    mesh = shapes.cube()
    for interest in (None, np.ones(12)):
        lowest = {
            undersides: min(p.view.elevation for p in pool_of(mesh, replace(SMALL, undersides=undersides), interest))
            for undersides in (True, False)
        }
        print(f"lowest elevation with and without undersides: {lowest}")
        assert lowest[True] < -30 and lowest[False] >= 0


def test_without_undersides_no_view_is_spent_on_faces_that_look_down() -> None:
    mesh = shapes.cube()
    normals = np.cross(
        mesh.positions[mesh.triangles[:, 1]] - mesh.positions[mesh.triangles[:, 0]],
        mesh.positions[mesh.triangles[:, 2]] - mesh.positions[mesh.triangles[:, 0]],
    )
    down = set(np.flatnonzero(normals[:, 2] < 0).tolist())
    pool = pool_of(mesh, replace(SMALL, undersides=False))
    seen = set(torch.cat([p.gbuffer.triangle for p in pool]).tolist())
    assert seen == set(range(12)) - down
    # Close-ups look at a point of the surface; the underside lies at -1 / sqrt(3).
    below = {
        undersides: sum(abs(p.view.target[2] + 3**-0.5) < 1e-4 for p in pool_of(mesh, close_ups(undersides)))
        for undersides in (True, False)
    }
    print(f"close-ups of the underside, with and without: {below}")
    assert below[True] > 3 and below[False] == 0


def close_ups(undersides: bool = True) -> Views:
    return replace(SMALL, close_up_share=1.0, close_up_fill=(1.9, 2.6), undersides=undersides)


def test_an_object_that_is_all_underside_is_looked_at_all_the_same() -> None:
    cube = shapes.cube()
    heights = cube.positions[cube.triangles][:, :, 2].max(axis=1)
    low = MeshData(cube.positions, cube.triangles[heights < 0], cube.corner_normals[heights < 0],
                   cube.corner_uvs[heights < 0])  # fmt: skip
    assert len(low.triangles) == 2
    assert len(pool_of(low, replace(SMALL, undersides=False))) == SMALL.view_pool


def test_the_switch_is_an_expert_value() -> None:
    settings = JobSettings(prompt="x", expert={"undersides": False}).validate()
    assert resolve(JobSettings(prompt="x"), {}).views.undersides and not resolve(settings, {}).views.undersides


def plates(gap: float) -> MeshData:
    """Two squares that face each other, seen from outside through their backs."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    positions = np.concatenate([np.insert(square, 0, x, axis=1) for x in (-gap / 2, gap / 2)])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6]], np.int32)
    normals = np.repeat(np.array([[1, 0, 0], [-1, 0, 0]], np.float32), 6, axis=0).reshape(4, 3, 3)
    return MeshData(positions, triangles, normals, np.zeros((4, 3, 2), np.float32))


def with_outsides(mesh: MeshData) -> MeshData:
    return MeshData(
        mesh.positions, np.concatenate([mesh.triangles, mesh.triangles[:, ::-1]]),
        np.concatenate([mesh.corner_normals, -mesh.corner_normals]), np.concatenate([mesh.corner_uvs] * 2),
    )  # fmt: skip


def too_near(pool: list[PooledView]) -> list[float]:
    return [float((p.gbuffer.depth < NEAR * p.view.distance).float().mean()) for p in pool]


def test_a_close_up_is_not_drawn_through_what_stands_before_its_target() -> None:
    near = too_near(pool_of(with_outsides(plates(0.8)), close_ups()))
    print(f"share that is too near, at most {max(near):.2f}, tolerance {MOST_NEAR}")
    assert max(near) <= MOST_NEAR


def test_where_every_close_up_is_barred_the_freest_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    first, freest = [], []
    for seed in range(8):
        for draws, found in ((1, first), (views.CLOSE_UP_DRAWS, freest)):
            monkeypatch.setattr(views, "CLOSE_UP_DRAWS", draws)
            # Of one view alone, the draws of both begin alike.
            found += too_near(pool_of(plates(0.8), replace(close_ups(), view_pool=1), seed=seed))
        monkeypatch.undo()
    print(f"share that is too near, of the first draw {first}, of the freest {freest}")
    assert all(one >= other for one, other in zip(first, freest, strict=True))
    assert np.mean(freest) < np.mean(first)


def test_close_ups_look_all_over_a_large_face() -> None:
    numbers = replace(SMALL, close_up_share=1.0, view_pool=64)
    pool = pool_of(shapes.cube(), numbers)
    spread = np.array([p.view.target for p in pool]) / 3**-0.5
    on_top = spread[spread[:, 2] > 0.999][:, :2]
    quarters = {(x > 0, y > 0) for x, y in on_top}
    places = len(np.unique(on_top.round(3), axis=0))
    print(f"{len(on_top)} targets on top, in {len(quarters)} quarters, {places} places")
    assert places == len(on_top) >= 5 and len(quarters) >= 3


def test_close_ups_share_a_few_directions() -> None:
    """Each looks from the one of the 14 that is nearest to its face's normal, without undersides of the 7 above."""
    mesh = shapes.sphere(24, 48)
    for undersides, number in ((True, 14), (False, 7)):
        seen = [p.view for p in pool_of(mesh, replace(close_ups(undersides), close_up_directions=14))]
        used = np.unique([v.direction.round(9) for v in seen], axis=0)
        normals = np.array([v.target for v in seen]) / np.linalg.norm([v.target for v in seen], axis=1, keepdims=True)
        angles = np.degrees(np.arccos(normals @ used.T))
        taken = np.array([int(np.argmax(used @ v.direction)) for v in seen])
        beyond = (angles[np.arange(len(seen)), taken] - angles.min(axis=1)).max()
        lowest = min(v.elevation for v in seen)
        print(f"{len(used)} directions of {number}, {beyond:.1f} degrees past the nearest (10.6), lowest {lowest:.0f}")
        # A face of this sphere is 7.5 degrees wide: a point's normal is up to 5.3 from its own, on either side.
        assert 5 <= len(used) <= number and beyond < 10.6 and (lowest < -30 if undersides else lowest >= 0)
    assert len({p.view.azimuth for p in pool_of(mesh, close_ups())}) == SMALL.view_pool


def test_a_roof_is_looked_at_from_every_side() -> None:
    numbers = replace(SMALL, close_up_share=1.0, view_pool=128)
    above = [p.view for p in pool_of(shapes.cube(), numbers) if p.view.target[2] > 0.577]
    turned = [sum(v.direction[0] * x > 0 and v.direction[1] * y > 0 for v in above) for x in (1, -1) for y in (1, -1)]
    print(f"{len(above)} close-ups of the roof, from the four quarters: {turned}")
    assert min(turned) >= 1 and max(v.elevation for v in above) <= 89


def test_a_close_up_that_shows_nothing_is_drawn_again() -> None:
    """A hair above a cube, with ten times the cube's weight: most first draws aim at it."""
    cube = shapes.cube()
    hair = np.array([[-9, 0, 4], [9, 0, 4], [9, 0, 4.0001]], np.float32)
    area = np.linalg.norm(np.cross(hair[1] - hair[0], hair[2] - hair[0])) / 2
    mesh = MeshData(
        np.concatenate([cube.positions, hair]),
        np.concatenate([cube.triangles, len(cube.positions) + np.array([[0, 1, 2]], np.int32)]),
        np.concatenate([cube.corner_normals, np.tile(np.float32([0, -1, 0]), (1, 3, 1))]),
        np.concatenate([cube.corner_uvs, np.zeros((1, 3, 2), np.float32)]),
    )
    weights = np.append(np.full(12, 0.1), 24 / area)
    empty = sum(len(p.gbuffer.depth) == 0 for p in pool_of(mesh, close_ups(), weights))
    print(f"{empty} of {SMALL.view_pool} views show nothing, tolerance 0")
    assert empty == 0
