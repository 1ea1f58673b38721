"""Every format that the command line takes, written by Blender itself and read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.scene.files import SUFFIXES, find_objects, open_file, open_suzanne, save_copy
from csd_addon.scene.read_mesh import has_uvs, read_mesh
from tests.scene.objects import cube

WRITERS: dict[str, Callable[[str], object]] = {
    ".blend": lambda path: bpy.ops.wm.save_as_mainfile(filepath=path),
    ".obj": lambda path: bpy.ops.wm.obj_export(filepath=path),
    ".ply": lambda path: bpy.ops.wm.ply_export(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_export(filepath=path),
    ".glb": lambda path: bpy.ops.export_scene.gltf(filepath=path, export_format="GLB"),
    ".gltf": lambda path: bpy.ops.export_scene.gltf(filepath=path, export_format="GLTF_SEPARATE"),
    ".fbx": lambda path: bpy.ops.export_scene.fbx(filepath=path),
    ".usd": lambda path: bpy.ops.wm.usd_export(filepath=path),
    ".usda": lambda path: bpy.ops.wm.usd_export(filepath=path),
    ".usdc": lambda path: bpy.ops.wm.usd_export(filepath=path),
    ".usdz": lambda path: bpy.ops.wm.usd_export(filepath=path),
}


def box(path: Path) -> Path:
    """A box of 2 x 2 x 6, written to ``path``."""
    obj = cube("Box")
    for vertex in obj.data.vertices:
        vertex.co.z *= 3
    WRITERS[path.suffix](str(path))
    return path


def test_every_format_that_is_promised_has_a_writer_here() -> None:
    assert set(WRITERS) == set(SUFFIXES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    open_file(box(tmp_path / f"box{suffix}"))
    (obj,) = find_objects([])
    mesh = read_mesh(obj)
    assert np.ptp(mesh.positions, axis=0) == pytest.approx([2, 2, 6], rel=1e-4), "upright, whatever the file's axes"
    assert mesh.triangle_areas().sum() == pytest.approx(56, rel=1e-4)
    # STL knows no UVs.
    assert has_uvs(obj) == (suffix != ".stl")


@pytest.mark.parametrize("suffix", [".blend", ".obj", ".glb", ".usdc"])
def test_names_beyond_ascii(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "Ärger mit Leerzeichen" / "砖"
    folder.mkdir(parents=True)
    open_file(box(folder / f"Стул ñ{suffix}"))
    assert len(find_objects([])) == 1


def test_upper_case_suffix(tmp_path: Path) -> None:
    path = box(tmp_path / "box.obj")
    open_file(path.rename(tmp_path / "BOX.OBJ"))
    assert len(find_objects([])) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"\x00\x01no model\xff" * 40], ids=["empty", "garbage"])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        open_file(path)


def test_an_unknown_format_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scene.max is no format that Blender reads here; use one of .blend, .obj"):
        open_file(tmp_path / "scene.max")


def test_suzanne_is_ready_to_texture() -> None:
    open_suzanne()
    (obj,) = find_objects([])
    assert obj.name == "Suzanne" and has_uvs(obj) and len(read_mesh(obj).triangles) > 3000


def test_which_objects_are_meant() -> None:
    first, second, hidden = cube("First"), cube("Second"), cube("Hidden")
    hidden.hide_render = True
    camera = bpy.data.objects.new("Eye", bpy.data.cameras.new("Eye"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.ops.object.select_all(action="DESELECT")
    assert find_objects([]) == [first, second]
    second.select_set(True)
    assert find_objects([]) == [second] and find_objects(["First", "Hidden"]) == [first, hidden]
    with pytest.raises(ValueError, match="'Eye' is a camera, not a mesh"):
        find_objects(["Eye"])
    with pytest.raises(ValueError, match="no object 'Frist' in the scene; its meshes are: First, Hidden, Second"):
        find_objects(["Frist"])


def test_a_file_without_a_mesh_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="no mesh to texture, only: nothing"):
        find_objects([])
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Eye", bpy.data.cameras.new("Eye")))
    with pytest.raises(ValueError, match="only: camera"):
        find_objects([])


def test_save_copy_is_whole_and_opens(tmp_path: Path) -> None:
    cube("Kept")
    save_copy(tmp_path / "copy.blend")
    assert [p.name for p in tmp_path.iterdir()] == ["copy.blend"]
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "copy.blend"))
    assert "Kept" in bpy.data.objects


def test_save_copy_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="can't save"):
        save_copy(tmp_path / "missing" / "copy.blend")
