"""Close-ups look where no view has shown the surface from the front yet."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.recipe import Views
from csd_addon.worker.look.places import cubes
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.targets import COUNT, WELL, Targets
from csd_addon.worker.look.views import PooledView, sample_pool
from tests import shapes
from tests.worker.test_unseen import box_in_box

# As the bundled teacher draws them.
CLOSE = Views(resolution=64, view_pool=48, close_up_share=1.0, close_up_fill=(1.9, 2.6), close_up_directions=14)


def boxes(*sizes_and_middles: tuple[tuple[float, float, float], tuple[float, float, float]]) -> MeshData:
    cube = shapes.cube()
    positions = [cube.positions * np.array(size) / 2 + np.array(middle) for size, middle in sizes_and_middles]
    count = len(positions)
    return MeshData(
        np.concatenate(positions).astype(np.float32),
        np.concatenate([cube.triangles + 8 * i for i in range(count)]),
        np.concatenate([cube.corner_normals] * count), np.concatenate([cube.corner_uvs] * count),
    )  # fmt: skip


def arch() -> MeshData:
    """Two legs and a lintel, with air between them so that all of it can be seen."""
    legs = [((0.5, 1.0, 1.6), (x, 0.0, -0.3)) for x in (-0.9, 0.9)]
    return boxes(*legs, ((2.3, 1.0, 0.5), (0.0, 0.0, 1.1)))


def best_cosines(surface: Surface, pool: list[PooledView]) -> np.ndarray:
    """(N,) for random points of the surface: how much from the front the best view shows each, 0 if none does."""
    points = Targets(surface, torch.ones(len(surface.triangles)), torch.Generator().manual_seed(1))
    best, place = torch.zeros(COUNT), cubes(points.points)
    for view in pool:
        towards = F.normalize(torch.from_numpy(view.view.position).float() - points.points, dim=1)
        cosines = (towards * points.normals).sum(1) * torch.isin(place, cubes(view.gbuffer.position))
        best = torch.maximum(best, cosines)
    return best.numpy()


def targets_of(mesh: MeshData) -> tuple[Surface, Targets]:
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    return surface, Targets(surface, torch.ones(len(surface.triangles)), torch.Generator().manual_seed(0))


def test_no_part_of_a_surface_is_left_to_views_that_graze_it() -> None:
    for name, mesh, bound in (("ball", shapes.sphere(), 0.003), ("arch", arch(), 0.02)):
        surface = Surface.of(mesh, Normalization.of(mesh.positions))
        shares = []
        for seed in range(3):
            pool = list(sample_pool(surface, CLOSE, torch.Generator().manual_seed(seed), ()))
            shares.append(float((best_cosines(surface, pool) < 0.5).mean()))
        print(f"{name}: shares that no view shows at a cosine of 0.5: {np.round(shares, 4)}, tolerance {bound}")
        assert max(shares) <= bound


def test_a_point_is_due_until_it_was_shown_from_the_front() -> None:
    surface, targets = targets_of(shapes.sphere())
    (view,) = sample_pool(surface, Views(resolution=64, view_pool=1), torch.Generator().manual_seed(0), ())
    targets.shown(view.view, view.gbuffer)
    eye = torch.from_numpy(view.view.position).float()
    drawn = [targets.next() for _ in range(400)]
    cosines = (F.normalize(eye - targets.points[drawn], dim=1) * targets.normals[drawn]).sum(1)
    share = float((cosines > WELL).float().mean())
    # Of a place that the surface hardly enters there may be no sample.
    print(f"{share:.3f} of the points that are due face the view by more than {WELL}, tolerance 0.02")
    assert share < 0.02 and not targets.covered


def test_what_can_not_be_shown_is_tried_in_the_first_round_alone() -> None:
    surface, targets = targets_of(box_in_box())
    inner = targets.points.abs().amax(dim=1) < 0.4
    assert 0.3 < float(inner.float().mean()) < 0.7
    pool = list(sample_pool(surface, CLOSE, torch.Generator().manual_seed(0), ()))
    tried = 0
    while not targets.covered:
        tried += int(inner[targets.next()])
        for view in pool:
            targets.shown(view.view, view.gbuffer)
    later = sum(int(inner[targets.next()]) for _ in range(50))
    print(f"inner points: {tried} in the first round, {later} of 50 after it")
    assert tried > 0 and later == 0


def test_a_close_up_shows_its_target() -> None:
    """From the nearest direction the other leg hides the inside of one: then from another."""
    mesh = arch()
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    pool = list(sample_pool(surface, CLOSE, torch.Generator().manual_seed(0), ()))
    shown = [float(np.linalg.norm(p.gbuffer.position.numpy() - p.view.target, axis=1).min()) < 0.1 for p in pool]
    print(f"{sum(shown)} of {len(shown)} close-ups show what they look at")
    assert all(shown)
