"""Texel arithmetic: nearest-texel search against brute force, margin, bilinear look-up, seams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from csd_addon.core import atlas, uv_raster
from csd_addon.core.udim import parts
from csd_addon.worker.bake import margin
from tests import shapes


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.005, 0.3))
def test_nearest_filled_agrees_with_brute_force(seed: int, share: float) -> None:
    shape, radius = (24, 17), 6
    filled = np.random.default_rng(seed).random(shape) < share
    _, distance = margin.nearest_filled(filled, radius)
    points = np.argwhere(filled)
    grid = np.argwhere(np.ones(shape))
    if len(points) == 0:
        assert (distance > radius**2).all()
        return
    delta = np.abs(grid[:, None] - points[None])
    delta = np.minimum(delta, np.array(shape) - delta)
    brute = (delta**2).sum(-1).min(1).reshape(shape)
    near = brute <= radius**2
    assert (distance[near] == brute[near]).all() and (distance[~near] > radius**2).all()


def test_index_names_a_filled_texel_at_that_distance() -> None:
    filled = np.random.default_rng(0).random((32, 32)) < 0.05
    index, distance = margin.nearest_filled(filled, 8)
    rows, columns = np.nonzero(index >= 0)
    target = index[rows, columns]
    assert filled.ravel()[target].all()
    dy, dx = np.abs(rows - target // 32), np.abs(columns - target % 32)
    dy, dx = np.minimum(dy, 32 - dy), np.minimum(dx, 32 - dx)
    assert (dy**2 + dx**2 == distance[rows, columns]).all()


def test_margin_keeps_charts_is_constant_and_idempotent() -> None:
    filled = np.zeros((64, 64), dtype=bool)
    filled[20:30, 20:30] = True
    image = np.random.default_rng(1).random((64, 64, 3))
    image[filled] = (0.2, 0.4, 0.6)
    once = margin.fill_margin(image, filled, 5)
    assert np.array_equal(once[filled], image[filled])
    assert np.allclose(once, (0.2, 0.4, 0.6)), "the margin and the mean are the chart's own colour"
    mixed = image.copy()
    mixed[20:25, 20:30] = (0.9, 0.1, 0.1)
    once = margin.fill_margin(mixed, filled, 5)
    assert np.allclose(once[15:20, 22], (0.9, 0.1, 0.1)) and np.allclose(once[30:35, 22], (0.2, 0.4, 0.6))
    assert np.array_equal(margin.fill_margin(once, filled, 5), once)


def test_bilinear_look_up_hits_texel_centres_and_repeats() -> None:
    image = np.random.default_rng(2).random((16, 8, 3))
    uv = np.array([[(3 + 0.5) / 8, 1 - (5 + 0.5) / 16]])
    assert np.allclose(atlas.sample_bilinear(image, uv), image[5, 3])
    assert np.allclose(atlas.sample_bilinear(image, uv + [2, -3]), image[5, 3])
    between = np.array([[4 / 8, 1 - (5 + 0.5) / 16]])
    assert np.allclose(atlas.sample_bilinear(image, between), image[5, 3:5].mean(0))


def edges_of(mesh, number: np.ndarray) -> int:
    return len(atlas.seam_edges(mesh.triangles, mesh.corner_uvs, number))


def test_seams_of_known_meshes() -> None:
    assert edges_of(shapes.cube(), np.zeros(12)) == 12, "every edge of the cube, no diagonal"
    assert edges_of(shapes.torus(12, 6), np.zeros(144)) == 12 + 6


def test_faces_on_two_tiles_have_a_seam_between_them_wherever_they_lie_there() -> None:
    # Both halves of each face of the cube on a tile of its own: all diagonals become seams.
    assert edges_of(shapes.cube(), np.arange(12) % 2) == 12 + 6


def test_seam_error_sees_a_step_and_only_a_step() -> None:
    cube = {7: shapes.cube()}
    image = np.full((64, 64, 3), 0.5)
    assert max(atlas.seam_error({7: image}, cube)) < 1e-9
    image[:32] = 0.75
    mean, largest = atlas.seam_error({7: image}, cube)
    print(f"mean {mean:.2f}, largest {largest:.2f}; the step is 63.75")
    assert largest <= 63.75 + 1e-9 and mean > 20


def test_seam_error_looks_each_side_up_in_its_own_tile() -> None:
    cube, half = shapes.cube(), np.where(np.arange(12) % 2, 1002, 1001)
    halves = parts(cube, half, cube.corner_uvs)
    images = {1001: np.full((64, 64, 3), 0.5), 1002: np.full((32, 128, 3), 0.75)}
    mean, largest = atlas.seam_error(images, halves)
    print(f"mean {mean:.2f}, largest {largest:.2f}; the step is 63.75 wherever the tiles differ")
    assert abs(largest - 63.75) < 1e-6 and mean > 20
    assert atlas.seam_error({1001: images[1001]}, {1001: halves[1001]}) == (0, 0)


def test_margin_scales_with_the_size() -> None:
    assert [margin.margin_width((64, size)) for size in (64, 512, 1024, 2048, 4096)] == [4, 4, 8, 16, 32]


def test_neighbours_leave_no_gap_and_share_no_texel() -> None:
    for make in (shapes.cube, shapes.torus, shapes.sphere):
        mesh = make()
        uvs = mesh.corner_uvs * 0.93 + 0.031
        count = uv_raster.owners(uvs, (96, 130))
        first = uv_raster.first_owner(uv_raster.unrolled(uvs, (96, 130))[0], (96, 130))
        area = np.abs(replace(mesh, corner_uvs=uvs.astype(np.float32)).uv_areas()).sum() * count.size
        print(f"{make.__name__}: {(count > 0).sum()} texels held, the charts' area is {area:.0f} texels")
        assert count.max() == 1 and np.array_equal(count > 0, first >= 0)
        assert abs((count > 0).sum() - area) < 0.02 * area


def test_owners_are_counted_and_found_in_order() -> None:
    square = np.array([[[0, 0], [0.5, 0], [0, 0.5]]], np.float32)
    uvs = np.concatenate([square + 0.4, square, square, square + 0.2])
    corners, _ = uv_raster.unrolled(uvs, (64, 64))
    count, first = uv_raster.owners(uvs, (64, 64)), uv_raster.first_owner(corners, (64, 64))
    second = uv_raster.first_owner(corners, (64, 64), after=np.where(first < 0, 9, first))
    assert count[60, 2] == 2 and first[60, 2] == 1 and second[60, 2] == 2
    assert count.max() == 3 and np.array_equal(count > 1, second >= 0)
    assert abs(uv_raster.overlap(count) - (count > 1).sum() / (count > 0).sum()) < 1e-12


def test_a_chart_border_is_what_no_neighbour_continues() -> None:
    cube, torus = shapes.cube(), shapes.torus(12, 6)
    assert atlas.border_edges(cube.triangles, cube.corner_uvs).sum() == 24, "both sides of the cube's twelve edges"
    assert atlas.border_edges(torus.triangles, torus.corner_uvs).sum() == 2 * (12 + 6)
