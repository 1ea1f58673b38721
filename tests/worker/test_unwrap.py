"""xatlas in a process of its own: UVs that fit a UV layer, always the same, with little stretch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.polygons import Polygons, load_layer
from csd_addon.core.uv_raster import overlap, owners
from csd_addon.jobs.process import program_folder
from csd_addon.worker import unwrap
from tests import shapes
from tests.stretch import stretch


def quads(mesh: MeshData) -> Polygons:
    """The polygons of a mesh whose triangles t and t + T / 2 are the halves (0, 1, 2) and (0, 2, 3) of a quad."""
    half = len(mesh.triangles) // 2
    corner = 4 * np.arange(half, dtype=np.int32)[:, None]
    loops = np.concatenate([corner + [0, 1, 2], corner + [0, 2, 3]]).astype(np.int32)
    return Polygons(mesh.positions, mesh.triangles, loops, np.tile(np.arange(half, dtype=np.int32), 2))


def rugged() -> Polygons:
    """A torus with bumps, whose quads are bent so much that xatlas cuts through some of them."""
    return quads(shapes.torus(around=40, across=20, bump=0.15))


def run(mesh: Polygons, folder: Path) -> np.ndarray:
    mesh.save(folder / "polygons.npz")
    words = [sys.executable, "-m", "csd_addon.worker.unwrap", str(folder / "polygons.npz"), str(folder / "layer.npz")]
    subprocess.run(words, cwd=program_folder(), check=True)
    return load_layer(folder / "layer.npz")


def test_a_rugged_mesh_gets_uvs_without_overlap_and_with_little_stretch(tmp_path: Path) -> None:
    mesh = rugged()
    uvs = run(mesh, tmp_path).reshape(-1, 2)
    assert len(uvs) == 4 * len(mesh.triangles) // 2 and uvs.dtype == np.float32
    shared = overlap(owners(uvs[mesh.loops], (1024, 1024)))
    found = stretch(mesh.positions[mesh.triangles], uvs[mesh.loops])
    print(f"range {uvs.min():.3f} to {uvs.max():.3f}, shared {shared:.4f}, stretch {found:.3f} (limits 0.003, 1.2)")
    assert uvs.min() >= 0 and uvs.max() <= 1 and shared < 0.003 and found < 1.2
    assert (run(mesh, tmp_path) == uvs.ravel()).all(), "another process gives the same"


def test_a_polygon_that_was_cut_is_whole_again() -> None:
    mesh = rugged()
    points = Normalization.of(mesh.positions).to_unit(mesh.positions)
    add = mesh.triangles.astype(np.uint32)
    corners, places = unwrap._packed(lambda atlas: atlas.add_mesh(points, add), *unwrap._FIRST)
    cut = unwrap._split_polygons(mesh, corners, places)
    print(f"{len(cut)} of {mesh.polygon.max() + 1} polygons were cut")
    assert len(cut) > 3
    whole = unwrap._joined(mesh, points, corners, places)
    assert len(unwrap._split_polygons(mesh, *whole)) == 0
    others = ~np.isin(mesh.polygon, cut)
    assert np.array_equal(whole[0][others], corners[others])
    uvs = np.zeros((mesh.loops.max() + 1, 2), np.float32)
    uvs[mesh.loops] = whole[1][whole[0]]
    found = stretch(mesh.positions[mesh.triangles], uvs[mesh.loops])
    print(f"stretch {found:.3f}, limit 1.2")
    assert found < 1.2


def test_a_cube_of_a_millimetre_and_a_kilometre() -> None:
    for edge in (0.001, 1000.0):
        cube = shapes.cube()
        loops = np.concatenate([4 * np.arange(6)[:, None] + [0, 1, 2], 4 * np.arange(6)[:, None] + [0, 2, 3]], axis=1)
        mesh = Polygons(cube.positions * np.float32(edge), cube.triangles, loops.reshape(12, 3).astype(np.int32),
                        np.repeat(np.arange(6, dtype=np.int32), 2))  # fmt: skip
        uvs = unwrap.unwrap(mesh)
        count = owners(uvs[mesh.loops], (512, 512))
        found = stretch(mesh.positions[mesh.triangles], uvs[mesh.loops])
        print(f"edge {edge} m: {(count > 0).mean():.2f} of the image is used, stretch {found:.3f}, limit 1.05")
        assert overlap(count) == 0 and (count > 0).mean() > 0.3 and found < 1.05
