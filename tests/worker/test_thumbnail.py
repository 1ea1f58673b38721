"""The small picture of a textured mesh: it shows the right side, the right texels, and nothing behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from csd_addon.worker.run.thumbnail import SIZE, render_thumbnail
from tests import shapes
from tests.core.test_images import overlapping

RED, GREEN = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)


def flat(*colors: tuple[float, float, float]) -> dict[int, np.ndarray]:
    """A single image of vertical stripes, (8, 8 n, 3)."""
    return {0: np.repeat(np.array([colors] * 8), 8, axis=1)}


def test_a_cube_fills_the_picture_without_holes() -> None:
    image = render_thumbnail(shapes.cube(), flat(RED))
    assert image.shape == (SIZE, SIZE, 4) and image.dtype == np.uint8
    opaque = image[..., 3] > 0
    rows, columns = np.flatnonzero(opaque.any(axis=1)), np.flatnonzero(opaque.any(axis=0))
    print(f"rows {rows[0]}..{rows[-1]}, columns {columns[0]}..{columns[-1]}, {opaque.mean():.0%} covered")
    assert 1 <= rows[0] and rows[-1] <= SIZE - 2 and np.ptp(rows) > 0.9 * SIZE
    inside = [np.flatnonzero(line) for line in opaque[rows[3] : rows[-3]]]
    assert all(np.ptp(line) == len(line) - 1 for line in inside), "no hole in any row of a convex body"
    color = image[opaque & (image[..., 3] == 255)][:, :3] / 255
    assert (color[:, 0] > 4 * color[:, 1]).all() and color[:, 0].max() <= 0.81 and color[:, 0].min() > 0.4
    shades, counts = np.unique(image[image[..., 3] == 255][:, 0], return_counts=True)
    faces = shades[counts > 500]
    assert len(faces) == 3, "the three faces in sight have a shade each, the same all over"
    top, front, side = image[18, 80, 0], image[70, 40, 0], image[70, 105, 0]
    assert sorted(faces.tolist()) == [side, front, top], "the light comes from above and from the left"
    edge = image[(image[..., 3] > 0) & (image[..., 3] < 255)]
    assert len(edge) and edge[:, 0].min() > 0.4 * 255, "alpha is straight: edges are not darker"


@pytest.mark.parametrize("stretch", [(1, 1, 1), (1, 0.1, 0.1), (0.1, 0.1, 1), (1, 1, 0.05), (1, 0, 1)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_mesh_of_any_shape_and_place_lies_in_the_middle(stretch: tuple[float, ...], offset: float) -> None:
    mesh = shapes.cube()
    # A vertex that no face uses moves nothing.
    positions = np.concatenate([mesh.positions * np.float32(stretch), [(9, 9, 9)]]).astype(np.float32) + offset
    alpha = render_thumbnail(replace(mesh, positions=positions), flat(RED))[..., 3]
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    print(f"rows {rows[0]}..{rows[-1]}, columns {columns[0]}..{columns[-1]}")
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(0.97 * SIZE, abs=2.5)
    assert abs(rows[0] + rows[-1] + 1 - SIZE) < 3 and abs(columns[0] + columns[-1] + 1 - SIZE) < 3


def test_the_nearer_surface_hides_the_other() -> None:
    """A small red cube inside of a green one."""
    inner, outer = shapes.cube(), shapes.cube()
    both = replace(
        inner, positions=np.concatenate([0.8 * inner.positions, outer.positions]),
        triangles=np.concatenate([inner.triangles, outer.triangles + len(inner.positions)]),
        corner_normals=np.concatenate([inner.corner_normals, outer.corner_normals]),
        corner_uvs=np.concatenate([np.full_like(inner.corner_uvs, 0.25), np.full_like(outer.corner_uvs, 0.75)]),
    )  # fmt: skip
    shown = render_thumbnail(both, flat(RED, GREEN)).astype(int)
    shown = shown[shown[..., 3] == 255]
    assert (shown[:, 1] > shown[:, 0]).mean() > 0.99


def test_up_is_up_and_the_front_is_seen() -> None:
    mesh = shapes.cube()
    low = render_thumbnail(mesh, flat(RED))
    top = mesh.positions[mesh.triangles].mean(axis=1)[:, 2]
    uvs = np.repeat(np.where(top > top.max() - 1e-6, 0.75, 0.25), 6).reshape(-1, 3, 2).astype(np.float32)
    image = render_thumbnail(replace(mesh, corner_uvs=uvs), flat(RED, GREEN)).astype(int)
    green = np.argwhere((image[..., 1] > image[..., 0]) & (image[..., 3] == 255))
    assert len(green) > 500 and green[:, 0].max() < 0.6 * SIZE, "the upper face is seen, at the top"
    front = mesh.positions[mesh.triangles].mean(axis=1)[:, 1]
    uvs = np.repeat(np.where(front < front.min() + 1e-6, 0.75, 0.25), 6).reshape(-1, 3, 2).astype(np.float32)
    image = render_thumbnail(replace(mesh, corner_uvs=uvs), flat(RED, GREEN)).astype(int)
    assert ((image[..., 1] > image[..., 0]) & (low[..., 3] == 255)).sum() > 1000, "-Y is the front"


def test_each_tile_shows_its_own_picture() -> None:
    """The lower half of the cube's charts lies on tile 1001, the upper one on 1011."""
    mesh = shapes.cube()
    mesh = replace(mesh, corner_uvs=mesh.corner_uvs * [1, 2])
    one, other, bare = flat(RED)[0], flat(GREEN)[0], (0.5, 0.5, 0.5)
    both, single = render_thumbnail(mesh, {1001: one, 1011: other}), render_thumbnail(mesh, {1001: one})
    shown = [image[image[..., 3] == 255][:, :3].astype(int) for image in (both, single)]
    red, green = ((shown[0][:, k] > 2 * shown[0][:, 1 - k]).mean() for k in (0, 1))
    assert red > 0.2 and green > 0.2 and red + green > 0.97
    gray = (np.ptp(shown[1], axis=1) == 0).mean()
    assert gray == pytest.approx(green, abs=0.02), f"where there is no picture it is {bare}"


def test_each_face_shows_the_image_of_its_material() -> None:
    colors = {0: np.zeros((4, 4, 3)) + [1, 0, 0], 10_000: np.zeros((4, 4, 3)) + [0, 1, 0]}
    both = render_thumbnail(overlapping(), colors).astype(int)
    red, green = ((both[..., k] > 2 * both[..., 1 - k]) & (both[..., 3] == 255) for k in (0, 1))
    print(f"{red.mean():.2f} of the picture is red, {green.mean():.2f} green")
    assert red.mean() > 0.1 and green.mean() > 0.1 and (red | green)[both[..., 3] == 255].mean() > 0.95


def test_a_texture_is_smooth_where_it_is_smooth() -> None:
    """A picture whose red is u and whose green is v, on a cube: within each face neighbours are nearly alike."""
    u, v = np.meshgrid((np.arange(256) + 0.5) / 256, 1 - (np.arange(256) + 0.5) / 256)
    picture = render_thumbnail(shapes.cube(), {0: np.stack([u, v, np.full_like(u, 0.5)], axis=2)}).astype(int)
    across = np.abs(np.diff(picture, axis=1))[(picture[:, 1:, 3] == 255) & (picture[:, :-1, 3] == 255)]
    jumps = (across[:, :2].max(axis=1) > 8).mean()
    print(f"{jumps:.1%} of the neighbours in a row differ by more than 8 of 255")
    assert jumps < 0.05, "only where two faces meet"


def test_equal_input_gives_the_same_picture() -> None:
    assert (render_thumbnail(shapes.cube(), flat(RED)) == render_thumbnail(shapes.cube(), flat(RED))).all()


def test_a_mesh_without_a_surface_is_a_sentence() -> None:
    mesh = shapes.cube()
    for empty in (replace(mesh, positions=mesh.positions * [1, 0, 0]), replace(mesh, positions=mesh.positions * 0)):
        with pytest.raises(ValueError, match="no surface"):
            render_thumbnail(empty, flat(RED))
