"""Where the cameras of a job stand: below the horizon too, or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.recipe import Recipe
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.worker.render.surface import Surface
from csd_addon.worker.render.views import PooledView, sample_pool
from tests import shapes

SMALL = Recipe(resolution=16, view_pool=48, elevation=(-45.0, 75.0), close_up_share=0.4)


def pool_of(mesh: MeshData, recipe: Recipe, interest: np.ndarray | None = None) -> list[PooledView]:
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    return list(sample_pool(surface, recipe, torch.Generator().manual_seed(0), (), interest))


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
    # Close-ups look at a point of the surface.
    targets = np.array([p.view.target for p in pool if p.close_up])
    print(f"{len(targets)} close-ups, the lowest at {targets[:, 2].min():.2f}; the underside lies at -0.58")
    assert len(targets) > 10 and targets[:, 2].min() > -0.5


def test_an_object_that_is_all_underside_is_looked_at_all_the_same() -> None:
    cube = shapes.cube()
    heights = cube.positions[cube.triangles][:, :, 2].max(axis=1)
    low = MeshData(cube.positions, cube.triangles[heights < 0], cube.corner_normals[heights < 0],
                   cube.corner_uvs[heights < 0])  # fmt: skip
    assert len(low.triangles) == 2
    assert len(pool_of(low, replace(SMALL, undersides=False))) == SMALL.view_pool


def test_the_switch_is_an_expert_value() -> None:
    settings = JobSettings(prompt="x", expert={"undersides": False}).validate()
    assert resolve(JobSettings(prompt="x"), {}).undersides and not resolve(settings, {}).undersides
