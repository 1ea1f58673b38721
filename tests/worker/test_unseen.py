"""What no view saw is filled from what was seen, and only from faces that look the same way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.recipe import Views
from csd_addon.worker.bake.bake import bake, build_atlas
from csd_addon.worker.bake.measure import Filling, unseen_texels
from csd_addon.worker.bake.unseen import Seen, SeenFaces, directions
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from tests import shapes
from tests.worker.test_bake import PositionField

VIEWS = Views(resolution=64, view_pool=24, close_up_share=0.0)


def box_in_box() -> MeshData:
    """A cube of edge 2 and in it one of half the size, on the right half of the image."""
    cube = shapes.cube()
    return MeshData(
        np.concatenate([cube.positions, cube.positions / 2]), np.concatenate([cube.triangles, cube.triangles + 8]),
        np.concatenate([cube.corner_normals] * 2),
        np.concatenate([cube.corner_uvs * [0.5, 1], cube.corner_uvs * [0.5, 1] + [0.5, 0]]).astype(np.float32),
    )  # fmt: skip


def seen_of(mesh: MeshData) -> SeenFaces:
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    pool = list(sample_pool(surface, VIEWS, torch.Generator().manual_seed(0), ()))
    return SeenFaces(Seen.of(pool, mesh, VIEWS.resolution), directions(mesh))


def test_the_inner_box_is_counted_and_filled_from_the_outer_one() -> None:
    mesh = box_in_box()
    normalization, seen = Normalization.of(mesh.positions), seen_of(mesh)
    atlas = build_atlas(mesh, normalization, (128, 128))
    unseen = unseen_texels(atlas, seen)
    filling = Filling.of(atlas, unseen)
    assert not unseen[:, :60].any() and (unseen == atlas.chart)[:, 68:].all(), "the right half are the inner faces"
    print(f"{filling.unseen / filling.filled:.3f} of the texels were never seen, expected 0.5 +- 0.02")
    assert abs(filling.unseen / filling.filled - 0.5) < 0.02
    image, _ = bake(PositionField(), atlas, seen=seen)
    plain, _ = bake(PositionField(), atlas)
    assert np.array_equal(image[:, :60][atlas.chart[:, :60]], plain[:, :60][atlas.chart[:, :60]]), "seen: as it was"
    # The middle of each inner face takes the colour of the outer face that looks the same way, straight above it.
    middles = mesh.corner_uvs.reshape(12, 6, 2).mean(axis=1)
    texel = np.floor(np.stack([(1 - middles[:, 1]) * 128, middles[:, 0] * 128], 1)).astype(int)
    found, outer = image[tuple(texel[6:].T)], plain[tuple(texel[:6].T)]
    print(f"largest difference to the outer face {np.abs(found - outer).max():.3f}, tolerance 0.06")
    assert np.abs(found - outer).max() < 0.06 < np.abs(plain[tuple(texel[6:].T)] - outer).max()


def test_the_two_sides_of_a_thin_sheet_stay_apart() -> None:
    cube = shapes.cube()
    sheet = replace(cube, positions=(cube.positions * [1, 1, 0.002]).astype(np.float32))
    seen = seen_of(sheet)
    up, down = (torch.tensor([[0.1, 0.1, z]]) for z in (0.0014, -0.0014))
    faces = {name: np.flatnonzero(directions(sheet) == k)[:1] for name, k in (("up", 5), ("down", 4))}
    assert not seen.unseen(up, faces["up"]).any() and not seen.unseen(down, faces["down"]).any()
    places = seen.seen.places
    assert (places[5][:, 2] > 0).all() and (places[4][:, 2] < 0).all(), "each side keeps its own places"


def test_everything_of_a_ball_is_seen() -> None:
    mesh = shapes.sphere()
    atlas = build_atlas(mesh, Normalization.of(mesh.positions), (64, 64))
    filling = Filling.of(atlas, unseen_texels(atlas, seen_of(mesh)))
    print(f"{filling.unseen} of {filling.filled} texels unseen")
    assert filling.unseen == 0
