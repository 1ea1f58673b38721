"""Meshes on disk, the normalisation and its inverse, cameras and their conventions, checks in plain words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csd_addon.core.checks import check_mesh, check_uvs, overlap_problem
from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.views import View, direction, even_directions, framing_distance
from tests import shapes


def test_mesh_round_trip_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "mesh.npz"
    mesh = shapes.torus()
    mesh.save(path)
    loaded = MeshData.load(path)
    assert all(np.array_equal(getattr(mesh, f), getattr(loaded, f)) for f in MeshData.__dataclass_fields__)
    assert list(tmp_path.iterdir()) == [path], "nothing is left beside it"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged"):
        MeshData.load(path)
    with pytest.raises(ValueError, match="missing"):
        MeshData.load(tmp_path / "none.npz")


def test_mesh_refuses_arrays_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="corner_uvs"):
        replace(shapes.cube(), corner_uvs=np.zeros((3, 3, 2), np.float32))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-3, 5.0), (1e3, -1e4)])
def test_normalisation_fits_the_unit_ball_and_inverts(scale: float, shift: float) -> None:
    points = shapes.torus().positions * np.float32(scale) + np.float32(shift)
    normalization = Normalization.of(points)
    unit = normalization.to_unit(points)
    radius = np.linalg.norm(unit, axis=1).max()
    error = np.abs(normalization.to_object(unit) - points).max() / np.abs(points).max()
    print(f"radius {radius:.6f}, relative round-trip error {error:.1e} (tolerance 1e-6)")
    assert radius == pytest.approx(1, abs=1e-4) and error < 1e-6


def test_one_point_has_no_normalisation() -> None:
    with pytest.raises(ValueError, match="one point"):
        Normalization.of(np.ones((5, 3), np.float32))


def test_azimuth_0_is_the_front_and_90_the_viewers_right() -> None:
    assert np.allclose(View(0, 0, 2, 40).position, [0, -2, 0])
    assert np.allclose(View(90, 0, 2, 40).position, [2, 0, 0])
    assert np.allclose(View(0, 90, 2, 40).position, [0, 0, 2])
    pixels, depth = View(0, 0, 4, 40).project(np.array([[0, 0, 0], [0.5, 0, 0], [0, 0, 0.5], [0, -1, 0]]), 100)
    assert np.allclose(pixels[0], [50, 50]) and pixels[1, 0] > 50 and pixels[2, 1] < 50
    assert np.allclose(depth, [4, 4, 4, 3])


@given(st.floats(-360, 360), st.floats(-89, 89), st.floats(1.5, 10), st.floats(10, 90))
def test_world_to_camera_is_rigid_and_looks_at_target(azimuth: float, elevation: float, d: float, fov: float) -> None:
    view = View(azimuth, elevation, d, fov, (0.1, -0.2, 0.3))
    matrix = view.world_to_camera()
    assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)
    assert np.allclose(matrix @ [*view.target, 1], [0, 0, -d, 1], atol=1e-9)


@given(st.floats(10, 90), st.floats(0.3, 3))
def test_framing_distance_from_the_tangent_cone(fov: float, fill: float) -> None:
    distance = framing_distance(fov, fill)
    half_width = np.tan(np.arcsin(1 / distance)) / np.tan(np.radians(fov) / 2)
    assert half_width == pytest.approx(fill)


def test_problems_are_named_with_the_object() -> None:
    cube = shapes.cube()
    assert check_mesh(cube, "Box") == [] and check_uvs(cube, "Box") == []
    moved = cube.corner_uvs.copy()
    moved[6:] += np.float32([4, 1])
    assert check_uvs(replace(cube, corner_uvs=moved), "Box") == [], "UDIM tiles are no repeats"
    (note,) = check_uvs(replace(cube, corner_uvs=moved * 1.1), "Box")
    assert "repeats the image 5 times" in note.sentence
    empty = MeshData(cube.positions, cube.triangles[:0], cube.corner_normals[:0], cube.corner_uvs[:0])
    nan = replace(cube, positions=np.where(np.arange(8)[:, None] == 2, np.nan, cube.positions).astype(np.float32))
    flat = replace(cube, positions=cube.positions * 0)
    sliver = replace(cube, triangles=np.where(np.arange(12)[:, None] == 0, 0, cube.triangles))
    cases = [(empty, "no faces", "error"), (nan, "1 vertices", "error"), (flat, "no surface area", "error"),
             (sliver, "1 triangles", "note")]  # fmt: skip
    for mesh, words, severity in cases:
        (problem,) = check_mesh(mesh, "Box")
        assert words in problem.sentence and "Box" in problem.sentence and problem.severity == severity
    collapsed = replace(cube, corner_uvs=cube.corner_uvs * 0)
    bad = replace(cube, corner_uvs=cube.corner_uvs * np.float32(np.nan))
    assert "collapsed" in check_uvs(collapsed, "Box")[0].sentence
    assert check_uvs(bad, "Box")[0].severity == "error"
    assert check_uvs(replace(cube, corner_uvs=cube.corner_uvs * 10), "Box")[0].severity == "note"
    thin = cube.corner_uvs.copy()
    thin[2:4, :, 1] *= 1e-3
    (note,) = check_uvs(replace(cube, corner_uvs=thin), "Box")
    assert note.severity == "note" and "2 faces of 'Box' are squeezed" in note.sentence
    thin[3] = cube.corner_uvs[3]
    (note,) = check_uvs(replace(cube, corner_uvs=thin), "Box")
    assert note.sentence.startswith("1 face of 'Box' is squeezed")
    thin[3, :, 1] *= 1e-3
    thin[:, :, 1] *= 1e-3
    assert len(check_uvs(replace(cube, corner_uvs=thin), "Box")) == 1, "it is the ratio that counts, not the size"


def test_overlaps_are_found_before_a_run() -> None:
    cube = shapes.cube()
    double = cube.corner_uvs.copy()
    double[2:4] = double[:2]
    assert overlap_problem(cube, "Box") is None
    assert "20% of the texels in the UV map of 'Box'" in str(overlap_problem(replace(cube, corner_uvs=double), "Box"))
    tiles = double.copy()
    tiles[2:4] += np.float32([1, 0])
    assert overlap_problem(replace(cube, corner_uvs=tiles), "Box") is None, "on tiles of their own nothing is shared"


def test_even_directions_are_spread_over_the_whole_sphere() -> None:
    for count in (1, 2, 14, 100):
        azimuth, elevation = even_directions(count).T
        unit = direction(azimuth, elevation)
        assert np.allclose(unit, [View(a, e, 1.0, 30.0).direction for a, e in zip(azimuth, elevation, strict=True)])
        between = np.degrees(np.arccos(np.clip(unit @ unit.T - 2 * np.eye(count), -1, 1))).min()
        # No more than caps of half this angle around each can cover.
        even = 2 * np.degrees(np.arccos(1 - 2 / count))
        print(f"{count} directions: {between:.1f} degrees apart at least, of {even:.1f} that would fill the sphere")
        assert between > 0.6 * min(even, 180) and abs(unit.sum(0)[2]) < 1e-9
