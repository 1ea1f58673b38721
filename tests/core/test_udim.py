"""Which UDIM tile a face lies on, and where on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from csd_addon.core.udim import crossing, inside_tiles, layout, parts, tile_file, tile_numbers, tiles_of
from tests import shapes

TRIANGLE = np.array([[0, 0], [1, 0], [0, 1]], float)


def faces(*lower_left: tuple[float, float]) -> np.ndarray:
    """A triangle that fills half of the unit square at each of these places, with corners on its very borders."""
    return (np.array(lower_left)[:, None] + TRIANGLE).astype(np.float32)


@pytest.mark.parametrize(
    ("place", "number"),
    [((0, 0), 1001), ((1, 0), 1002), ((9, 0), 1010), ((0, 1), 1011), ((3, 2), 1024), ((9, 99), 2000), ((10, 0), -1),
     ((-1, 0), -1), ((0, -1), -1), ((0, 100), -1), ((1e30, 0), -1)],
)  # fmt: skip
def test_the_number_of_a_tile(place: tuple[float, float], number: int) -> None:
    uvs = faces(place)
    assert tile_numbers(uvs).tolist() == [number] and tile_numbers(uvs).dtype == np.int32
    # From the other corner of the square, whose points lie on the borders to the next tiles.
    assert number < 0 or tile_numbers((2 * np.array(place) + 1 - uvs).astype(np.float32)).tolist() == [number]


def test_places_inside_a_tile_are_those_of_the_first_one() -> None:
    inside = np.random.default_rng(0).random((200, 3, 2)).astype(np.float32)
    moved = (inside + np.float32([7, 5])).astype(np.float32)
    error = float(np.abs(inside_tiles(moved) - inside).max())
    print(f"largest error {error:.1e}; single precision at 7 has steps of {np.spacing(np.float32(7)):.1e}")
    assert error < 5e-7 and (inside_tiles(inside) == inside).all() and inside_tiles(moved).dtype == np.float32
    assert inside_tiles(faces((3, 2))).tolist() == [TRIANGLE.tolist()], "a border stays on its own side"


def test_what_hangs_over_an_edge_is_drawn_back_and_known() -> None:
    uvs = np.stack([TRIANGLE * 0.9 + [0.2, 0.05], TRIANGLE + 1e-6, TRIANGLE * 0.9 + 0.05]).astype(np.float32)
    assert crossing(uvs).tolist() == [True, False, False]
    back = inside_tiles(uvs)
    assert back.min() >= 0 and back.max() <= 1 and tile_numbers(uvs).tolist() == [1001] * 3
    kept = uvs <= 1
    assert (back[kept] == uvs[kept]).all() and (back[~kept] == 1).all()


@pytest.mark.parametrize(
    ("places", "is_udim"),
    [([(0, 0), (1, 0), (0, 1)], True), ([(0, 0), (0, 0)], False), ([(2, 0), (2, 0)], False), ([(0, 0), (-1, 0)], False),
     ([(0, 0), (10, 0)], False), ([(0, 0), (1.25, 0)], False)],
)  # fmt: skip
def test_a_udim_layout_is_told_from_a_repeated_image(places: list[tuple[float, float]], is_udim: bool) -> None:
    uvs = faces(*places)
    number, inside = layout(uvs)
    expected = tile_numbers(uvs) if is_udim else np.zeros(len(uvs))
    assert number.tolist() == expected.tolist() and np.array_equal(inside, inside_tiles(uvs) if is_udim else uvs)


def test_parts_of_a_mesh_are_its_faces_on_each_tile() -> None:
    mesh, number = shapes.cube(), np.repeat([1001, 0, 1012], 4)
    found = parts(mesh, number, mesh.corner_uvs[::-1])
    assert list(found) == [0, 1001, 1012]
    for tile, part in found.items():
        assert np.array_equal(part.triangles, mesh.triangles[number == tile]) and part.positions is mesh.positions
        assert np.array_equal(part.corner_uvs, mesh.corner_uvs[::-1][number == tile])


def test_the_files_of_a_tiled_and_of_a_single_image(tmp_path: Path) -> None:
    path = tmp_path / "a [1] 1003.b.png"
    assert tile_file(path, 1012).name == "a [1] 1003.b.1012.png" and tile_file(path, 0) == path
    assert tiles_of(path) == []
    for name in ("1012", "1001", "999", "10011", "part"):
        tile_file(path, name).touch()
    tile_file(tmp_path / "a [1] 1003.png", 1005).touch()
    assert tiles_of(path) == [1001, 1012]
    path.touch()
    assert tiles_of(path) == [0]
