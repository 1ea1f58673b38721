"""``bpy.ops.csd.edit`` in ``--background``: from the words to another image on the same nodes, and back again.

The fake worker inverts the source wherever its painted mask allows it.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.source import EditSource
from csd_addon.drive import apply_result, object_job
from csd_addon.jobs.folder import JobFolder, new_folder, read_json
from csd_addon.scene.base_color import read_pixels
from csd_addon.scene.material import base_color_image, job_of
from csd_addon.scene.tiles import pictures
from csd_addon.ui import properties
from tests.scene.objects import (
    base_color_source,
    cube,
    datablocks,
    fingerprint,
    image_of,
    link,
    node_tree,
    principled,
    quarters,
    rigged_cube,
    shader_of,
)
from tests.scene.tiled import numbers_of, tile_files, tiled_cube, tiled_image

pytestmark = pytest.mark.usefixtures("addon")


def edit(**arguments) -> set[str]:
    return bpy.ops.csd.edit(**{"target": "blue brick", "remove": "red brick", "iterations": 4, **arguments})


def picture_file(folder: Path, name: str = "bricks.png") -> Path:
    """A PNG of 16 x 16 texels in four colours."""
    image = image_of(quarters(16), "drawn")
    image.filepath_raw, image.file_format = str(folder / name), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return folder / name


def shows(material: bpy.types.Material, image: bpy.types.Image) -> bpy.types.Node:
    """Put ``image`` into the base colour of ``material``."""
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    link(material, node.outputs["Color"], shader_of(material).inputs["Base Color"])
    return node


@pytest.fixture
def obj(tmp_path: Path, addon: None) -> bpy.types.Object:
    """A cube that shows a picture from a file; the picture's first face is selected."""
    made = cube("Wall")
    made.data.materials.append(principled("Bricks"))
    shows(made.active_material, bpy.data.images.load(str(picture_file(tmp_path))))
    return made


def source() -> bpy.types.Image:
    return bpy.data.images["bricks.png"]


def numbers(image: bpy.types.Image) -> np.ndarray:
    return read_pixels(image)[0]


def job_folders(home: Path) -> list[JobFolder]:
    """From the oldest job to the newest."""
    found = (home / "jobs").glob("*") if (home / "jobs").is_dir() else []
    return [JobFolder(path) for path in sorted(found, key=lambda path: (path / "job.json").stat().st_mtime_ns)]


def shown(obj: bpy.types.Object) -> bpy.types.Image:
    return base_color_source(obj.active_material).image


def refused(obj: bpy.types.Object, words: str, **arguments) -> None:
    """The operator raises a sentence with ``words`` in it and changes nothing."""
    mesh = obj.type == "MESH"
    trees = [node_tree(slot.material) for slot in obj.material_slots] if mesh else []
    before, counts = fingerprint(obj) if mesh else None, datablocks()
    with pytest.raises(RuntimeError, match=words) as caught:
        edit(**arguments)
    print(caught.value)
    assert "Traceback" not in str(caught.value) and datablocks() == counts
    if mesh:
        assert fingerprint(obj) == before and [node_tree(slot.material) for slot in obj.material_slots] == trees


def test_the_edit_is_shown_and_the_source_is_untouched(obj: bpy.types.Object, home: Path, tmp_path: Path) -> None:
    before, file, pixels = fingerprint(obj), (tmp_path / "bricks.png").read_bytes(), numbers(source())
    assert edit() == {"FINISHED"}
    image = base_color_image(obj)
    assert shown(obj) == image != source() and image.packed_file and tuple(image.size) == (16, 16)
    assert np.array_equal(numbers(image)[..., :3], 1 - pixels[..., :3]) and (numbers(image)[..., 3] == 1).all()
    assert image.colorspace_settings.name == "sRGB" and image.name == "Wall_edited"
    assert fingerprint(obj) == before and np.array_equal(numbers(source()), pixels)
    assert (tmp_path / "bricks.png").read_bytes() == file and source().filepath == str(tmp_path / "bricks.png")
    (folder,) = job_folders(home)
    job = read_json(folder.job)
    assert job["source"] == {"image": "bricks.png", "job": ""} and job["settings"]["kind"] == "edit"
    assert Path(job_of(image)) == folder.path


def test_size_and_uv_map_are_those_of_the_source_unless_they_are_given(obj: bpy.types.Object, home: Path) -> None:
    scene = bpy.context.scene.csd
    scene.size, scene.uv_map, scene.strength, scene.mask = 128, "of the next texture", 0.25, "material:Bricks"
    assert edit(strength=0.5) == {"FINISHED"} and tuple(shown(obj).size) == (16, 16)
    used = read_json(job_folders(home)[0].job)["settings"]
    assert (used["size"], used["uv_map"], used["strength"], used["mask"]) == (0, "UVMap", 0.5, "material:Bricks")
    assert edit(size=64) == {"FINISHED"} and tuple(shown(obj).size) == (64, 64)


def test_back_to_source(obj: bpy.types.Object) -> None:
    tree, before, counts, first = node_tree(obj.active_material), fingerprint(obj), datablocks(), shown(obj)
    edit()
    assert bpy.ops.csd.undo_edit() == {"FINISHED"}
    assert shown(obj) == first and node_tree(obj.active_material) == tree
    assert fingerprint(obj) == before and datablocks() == counts
    with pytest.raises(RuntimeError, match="carries no texture of CSD Texture"):
        bpy.ops.csd.undo_edit()


def test_an_edit_of_an_edit_names_the_earlier_job_and_goes_back_one_by_one(obj: bpy.types.Object, home: Path) -> None:
    pixels = numbers(source())
    edit()
    first = shown(obj)
    assert edit(target="red brick", remove="blue brick") == {"FINISHED"}
    assert np.array_equal(numbers(shown(obj)), pixels), "inverted twice"
    assert {image.name for image in bpy.data.images} == {"bricks.png", first.name, shown(obj).name}
    earlier, later = job_folders(home)
    assert read_json(later.job)["source"] == {"image": first.name, "job": str(earlier.path)}
    bpy.ops.csd.undo_edit()
    assert shown(obj) == first
    bpy.ops.csd.undo_edit()
    assert shown(obj) == source() and [image.name for image in bpy.data.images] == ["bricks.png"]


def test_revert_takes_all_edits_away(obj: bpy.types.Object) -> None:
    tree, before, counts = node_tree(obj.active_material), fingerprint(obj), datablocks()
    edit()
    edit(target="moss", remove="")
    assert bpy.ops.csd.revert() == {"FINISHED"}
    assert node_tree(obj.active_material) == tree and fingerprint(obj) == before and datablocks() == counts


def test_one_undo_step_takes_the_edit_back(obj: bpy.types.Object) -> None:
    tree, counts = node_tree(obj.active_material), datablocks()
    bpy.ops.ed.undo_push(message="Before")
    edit()
    bpy.ops.ed.undo_push(message="Edit")
    assert len(bpy.data.images) == 2
    bpy.ops.ed.undo()
    assert datablocks() == counts and node_tree(bpy.data.objects["Wall"].active_material) == tree
    bpy.ops.ed.redo()
    assert shown(bpy.data.objects["Wall"]).name == "Wall_edited" and shown(bpy.data.objects["Wall"]).packed_file


def test_a_texture_of_ours_can_be_edited(home: Path) -> None:
    made = cube("Fresh")
    bpy.ops.csd.texture(prompt="red brick", size=64, iterations=4)
    texture = shown(made)
    assert edit() == {"FINISHED"} and tuple(shown(made).size) == (64, 64)
    texturing, editing = job_folders(home)
    assert read_json(editing.job)["source"] == {"image": "Fresh_basecolor", "job": str(texturing.path)}
    bpy.ops.csd.undo_edit()
    assert shown(made) == texture


def test_an_image_of_tiles_is_edited_tile_by_tile_and_given_back(home: Path, tmp_path: Path) -> None:
    source_image = tiled_image(tile_files(tmp_path / "art"))
    made = tiled_cube(source_image)
    tree, before, counts = node_tree(made.active_material), fingerprint(made), datablocks()
    stored = {path.name: path.read_bytes() for path in (tmp_path / "art").iterdir()}
    image_of(np.ones((2, 2, 3), np.float32) * [[[0], [1]]], "Right")
    for mask in ("", "image:Right"):
        assert edit(mask=mask) == {"FINISHED"} and fingerprint(made) == before
        image = shown(made)
        assert image.source == "TILED" and len(image.packed_files) == 3
    bpy.data.images.remove(bpy.data.images["Right"])
    # Twice inverted on the right, once on the left, and transparent as before.
    with pictures(image) as tiles:
        for number, tile in tiles.items():
            got, first = np.rint(numbers(tile) * 255), numbers_of(number)
            middle = got.shape[1] // 2
            assert np.array_equal(got[:, :middle, :3], 255 - first[:, :middle, :3])
            assert np.array_equal(got[:, middle:], first[:, middle:]) and np.array_equal(got[..., 3], first[..., 3])
    assert bpy.ops.csd.undo_edit() == {"FINISHED"} and shown(made) != source_image
    assert bpy.ops.csd.undo_edit() == {"FINISHED"} and shown(made) == source_image
    assert node_tree(made.active_material) == tree and fingerprint(made) == before and datablocks() == counts
    assert {path.name: path.read_bytes() for path in (tmp_path / "art").iterdir()} == stored
    assert read_json(job_folders(home)[0].job)["source"]["image"] == source_image.name


def test_a_painted_mask_keeps_all_other_texels_as_they_are(obj: bpy.types.Object) -> None:
    painted = np.zeros((32, 32, 3), np.float32)
    painted[:, 16:] = 1
    image_of(painted, "Where")
    pixels = numbers(source())
    edit(mask="image:Where")
    got = numbers(shown(obj))
    assert np.array_equal(got[:, :8], pixels[:, :8]) and np.array_equal(got[:, 8:, :3], 1 - pixels[:, 8:, :3])


def test_masks_reach_the_worker_as_corner_weights(obj: bpy.types.Object, home: Path) -> None:
    group = obj.vertex_groups.new(name="Top")
    group.add([v.index for v in obj.data.vertices if v.co.z > 0], 0.5, "REPLACE")
    edit(mask="group:Top")
    made = EditSource.load(job_folders(home)[0].source)
    assert made.corner_mask.shape == (12, 3) and set(np.unique(made.corner_mask)) == {0, 0.5}
    assert (made.number == 0).all() and list(made.tiles) == [0]
    tile = made.tiles[0]
    assert tile.painted.tolist() == [[1]] and not tile.linear and np.array_equal(tile.pixels, numbers(source()))


def test_only_the_materials_that_show_the_image_change(obj: bpy.types.Object, home: Path) -> None:
    other = principled("Door", (0, 1, 0, 1))
    obj.data.materials.append(other)
    obj.data.polygons[3].material_index = 1
    tree = node_tree(other)
    edit()
    assert node_tree(other) == tree and base_color_source(other) is None
    assert EditSource.load(job_folders(home)[0].source).number.tolist().count(0) == 10


def test_everything_an_artist_may_have_on_an_object_stays(tmp_path: Path) -> None:
    made = rigged_cube()
    shows(made.active_material, bpy.data.images.load(str(picture_file(tmp_path))))
    before = fingerprint(made)
    assert edit() == {"FINISHED"} and fingerprint(made) == before


def test_a_plain_colour_without_uvs_is_baked_first_and_says_so(capfd: pytest.CaptureFixture) -> None:
    made = cube("Bare", uvs=False)
    made.data.materials.append(principled("Paint", (1, 0, 0, 1)))
    tree, before, counts = node_tree(made.active_material), fingerprint(made), datablocks()
    assert edit(size=64) == {"FINISHED"}
    said = capfd.readouterr().out
    assert "the base colour of 'Paint' is a plain colour: it was baked into one first" in said
    assert "It was unwrapped into the new UV map 'CSD UV'" in said
    assert tuple(shown(made).size) == (64, 64)
    inverted = numbers(shown(made))[..., :3]
    inside = np.median(inverted.reshape(-1, 3), axis=0)
    print(f"the inverse of red is {inside}, expected 0, 1, 1 +- 0.01")
    assert np.abs(inside - [0, 1, 1]).max() < 0.01
    bpy.ops.csd.undo_edit()
    assert node_tree(made.active_material) == tree
    # The new UV map is a gift that stays; nothing else does.
    made.data.uv_layers.remove(made.data.uv_layers["CSD UV"])
    assert fingerprint(made) == before and datablocks() == counts


def test_a_material_of_a_library_gets_a_local_copy_and_says_so(tmp_path: Path, capfd) -> None:
    made = cube("Lent")
    made.data.materials.append(principled("Bricks"))
    shows(made.active_material, bpy.data.images.load(str(picture_file(tmp_path))))
    library = tmp_path / "library.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(library))
    before = library.read_bytes()
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(library), link=True) as (_, target):
        target.materials = ["Bricks"]
    mine = cube("Mine")
    mine.data.materials.append(bpy.data.materials["Bricks"])
    assert edit() == {"FINISHED"}
    assert mine.active_material.library is None and shown(mine).name == "Mine_edited"
    assert "The material 'Bricks' comes from a library; 'Mine' got its own copy." in capfd.readouterr().out
    bpy.ops.csd.undo_edit()
    assert mine.active_material.library is not None and library.read_bytes() == before


def test_a_shared_material_is_copied_for_the_edited_object_alone(obj: bpy.types.Object, capfd) -> None:
    material = obj.active_material
    neighbour = cube("Neighbour")
    neighbour.data.materials.append(material)
    bpy.context.view_layer.objects.active = obj
    tree = node_tree(material)
    edit()
    assert neighbour.active_material == material != obj.active_material and node_tree(material) == tree
    assert "The material 'Bricks' is used by other objects too; 'Wall' got its own copy." in capfd.readouterr().out


def test_a_crash_of_the_worker_leaves_the_object_as_it_was(obj: bpy.types.Object) -> None:
    refused(obj, "exit code 11", target="crash")
    assert shown(obj) == source()
    assert edit() == {"FINISHED"}, "the next edit has a new worker"


def test_a_crash_leaves_no_uv_layer() -> None:
    made = cube("Bare", uvs=False)
    made.data.materials.append(principled("Paint"))
    refused(made, "exit code 11", target="crash", size=64)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"target": " "}, "The target is empty: write what the texture should show"),
     ({"remove": "Blue  Brick"}, "Target and remove say the same"),
     ({"mask": "faces"}, "No face of 'Wall' is selected"),
     ({"mask": "Nowhere"}, "The mask 'Nowhere' is no group, image, file or material of 'Wall'"),
     ({"mask": "group:Empty"}, "No vertex of 'Wall' has a weight in the group 'Empty'"),
     ({"mask": "image:Black"}, "The mask image 'Black' is black"),
     ({"mask": "material:Door"}, "The mask 'material:Door' lies on no face of 'Wall' that shows the image"),
     ({"uv_map": "Second"}, "shows its texture through the UV map 'UVMap', not 'Second'")],
)  # fmt: skip
def test_refusals_change_nothing(obj: bpy.types.Object, home: Path, arguments: dict, words: str) -> None:
    obj.vertex_groups.new(name="Empty")
    image_of(np.zeros((8, 8, 3), np.float32), "Black")
    obj.data.uv_layers.new(name="Second")
    obj.data.materials.append(principled("Door"))
    obj.data.polygons[3].material_index = 1
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="DESELECT")
    bpy.ops.object.mode_set(mode="OBJECT")
    refused(obj, words, **arguments)
    assert job_folders(home) == []


def test_a_missing_image_file_is_a_sentence(obj: bpy.types.Object, home: Path, tmp_path: Path) -> None:
    (tmp_path / "bricks.png").unlink()
    source().reload()
    refused(obj, "The image 'bricks.png' has no pixels: .* is missing or damaged")
    assert job_folders(home) == []


def test_a_camera_is_a_sentence(home: Path) -> None:
    bpy.ops.object.camera_add()
    refused(bpy.context.object, "'Camera' is a camera, not a mesh")
    assert job_folders(home) == []


def started(obj: bpy.types.Object, home: Path) -> tuple[object_job.Task, Path]:
    """An edit that the worker has ended and Blender has not looked at yet: its task and its result."""
    scene = bpy.context.scene.csd
    scene.target, scene.remove, scene.iterations = "blue brick", "red brick", 4
    settings = properties.read_settings(bpy.context.scene, "edit")
    task = object_job.prepare(obj, settings, new_folder(home / "jobs"))
    return task, Path(object_job.run_blocking(task).state.done.paths["basecolor"])


def test_an_object_deleted_while_it_is_edited_is_a_sentence(obj: bpy.types.Object, home: Path) -> None:
    task, result = started(obj, home)
    bpy.data.objects.remove(obj)
    with pytest.raises(ValueError, match="The object 'Wall' is gone; its texture is kept in") as caught:
        apply_result.finish(task, result, place=None)
    assert str(result) in str(caught.value) and result.is_file() and len(bpy.data.images) == 1


def test_an_image_removed_while_it_is_edited_is_a_sentence(obj: bpy.types.Object, home: Path) -> None:
    task, result = started(obj, home)
    bpy.data.images.remove(source())
    with pytest.raises(ValueError, match="The image 'bricks.png', from which the edit started, is gone"):
        apply_result.finish(task, result, place=None)
    assert result.is_file() and len(bpy.data.images) == 0


def test_a_slot_removed_while_it_is_edited_is_a_sentence(obj: bpy.types.Object, home: Path) -> None:
    obj.data.materials.append(principled("Door"))
    obj.data.materials.append(obj.data.materials[0])
    obj.active_material_index = 0
    task, result = started(obj, home)
    for _ in range(2):
        obj.data.materials.pop()
    counts = datablocks()
    with pytest.raises(ValueError, match="'Wall' has no material slots"):
        apply_result.finish(task, result, place=None)
    assert shown(obj) == source() and datablocks() == counts


def test_poll_says_why_not() -> None:
    bpy.context.view_layer.objects.active = None
    with pytest.raises(RuntimeError, match="Select the mesh that should get a texture"):
        edit()
