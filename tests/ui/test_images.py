"""An image for each material of an object: from the choice to the files, back to Blender, and away again."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.drive import apply_result, object_job
from csd_addon.drive.apply_result import file_names
from csd_addon.jobs.folder import JobFolder, new_folder, read_json, write_json
from csd_addon.scene.material import base_color_image
from csd_addon.scene.preview import hide_previews
from csd_addon.ui import past_runs
from csd_addon.ui.session import session
from tests.scene.objects import base_color_source, cube, datablocks, fingerprint, node_tree, principled

pytestmark = pytest.mark.usefixtures("addon")

# What the faces of the crate's slots show: image 0, 1 or 2; slot 3 is used by no face.
IMAGES = {"Holz/é 🪵": (0, 4), "": (1,), "Iron": (2,)}


def crate() -> bpy.types.Object:
    """A cube whose materials lie on each other in the UV map, each filling it; with every odd kind of slot."""
    other = cube("Other")
    other.data.materials.append(principled("Iron"))
    obj = cube("Crate")
    wood = principled("Holz/é 🪵", (0.5, 0.2, 0, 1))
    for material in (wood, None, bpy.data.materials["Iron"], principled("Spare"), wood):
        obj.data.materials.append(material)
    corners = np.array([(0, 0), (0.5, 0), (0.5, 1), (0, 1)])
    for polygon, slot, half in zip(obj.data.polygons, (0, 4, 1, 1, 2, 2), (0, 1) * 3, strict=True):
        polygon.material_index = slot
        for loop, (u, v) in zip(polygon.loop_indices, corners, strict=True):
            obj.data.uv_layers[0].uv[loop].vector = (0.02 + 0.95 * u + 0.49 * half, 0.02 + 0.95 * v)
    return obj


def texture(**arguments) -> str:
    """Texture the active object; returns the name of the job folder."""
    before = {path.name for path in past_runs.folder().glob("*")}
    values = {"prompt": "red brick", "size": 64, "iterations": 4, "images": "material", **arguments}
    assert bpy.ops.csd.texture("EXEC_DEFAULT", **values) == {"FINISHED"}
    (made,) = {path.name for path in past_runs.folder().glob("*")} - before
    past_runs.refresh()
    return made


def shown(obj: bpy.types.Object) -> list[str]:
    """By slot the name of the image that is the base colour, empty where there is none."""
    nodes = [slot.material and base_color_source(slot.material) for slot in obj.material_slots]
    return [node.image.name if node and node.image else "" for node in nodes]


def blue(image: bpy.types.Image) -> float:
    return float(image.pixels[2])


def expected(number: int, seed: int = 0) -> float:
    """The fake worker gives each picture a blue of its own."""
    return pytest.approx(np.random.default_rng(seed + number).random(), abs=0.5 / 255)


WOOD, BARE, IRON = "Crate_Holz/é 🪵_basecolor", "Crate_basecolor", "Crate_Iron_basecolor"


def test_each_material_gets_an_image_of_its_own_and_gives_it_back() -> None:
    obj = crate()
    before, trees = fingerprint(obj), {m.name: node_tree(m) for m in bpy.data.materials}
    counts = datablocks()
    texture()
    assert shown(obj) == [WOOD, BARE, IRON, "", WOOD] and len(bpy.data.images) == 3
    assert [blue(bpy.data.images[name]) for name in (WOOD, BARE, IRON)] == [expected(n * 10_000) for n in range(3)]
    assert base_color_source(bpy.data.materials["Iron"]) is None, "another object uses it, so it was copied"
    assert obj.material_slots[0].material == obj.material_slots[4].material and obj.material_slots[2].name == "Iron.001"
    assert all(image.packed_file for image in bpy.data.images)
    assert bpy.ops.csd.revert() == {"FINISHED"}
    assert fingerprint(obj) == before and datablocks() == counts
    assert {m.name: node_tree(m) for m in bpy.data.materials} == trees


def test_the_job_says_which_image_is_whose(home: Path) -> None:
    crate()
    folder = home / "jobs" / texture()
    job = read_json(folder / "job.json")
    assert job["images"] == [{"material": name, "slots": list(slots)} for name, slots in IMAGES.items()]
    assert job["materials"] == 4 and job["settings"]["images"] == "material"
    with np.load(folder / "mesh.npz") as arrays:
        assert arrays["image"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    folder = home / "jobs" / texture(images="one")
    assert "images" not in read_json(folder / "job.json") and shown(bpy.context.object)[3] == "Crate_basecolor"
    with np.load(folder / "mesh.npz") as arrays:
        assert "image" not in arrays


def test_from_one_to_several_images_and_back() -> None:
    obj = crate()
    texture(images="one")
    assert set(shown(obj)) == {"Crate_basecolor"}
    texture()
    assert shown(obj) == [WOOD, BARE, IRON, "", WOOD], "the material that no face shows has given its image back"
    assert len(bpy.data.images) == 3
    texture(images="one", seed=3)
    assert set(shown(obj)) == {"Crate_basecolor"} and len(bpy.data.images) == 1


def test_an_edit_changes_the_image_of_the_active_material_alone() -> None:
    obj = crate()
    texture()
    obj.active_material_index = 2
    assert bpy.ops.csd.edit(target="blue brick", remove="red brick", iterations=4) == {"FINISHED"}
    assert shown(obj) == [WOOD, BARE, "Crate_edited", "", WOOD]
    assert blue(bpy.data.images["Crate_edited"]) == pytest.approx(1 - blue(bpy.data.images[IRON]), abs=1 / 255)
    assert bpy.ops.csd.compare() == {"FINISHED"} and shown(obj) == [WOOD, BARE, IRON, "", WOOD]
    assert bpy.ops.csd.compare() == {"FINISHED"} and shown(obj)[2] == "Crate_edited"
    assert bpy.ops.csd.undo_edit() == {"FINISHED"} and shown(obj) == [WOOD, BARE, IRON, "", WOOD]
    assert bpy.ops.csd.compare() == {"FINISHED"} and shown(obj) == [""] * 5
    assert bpy.ops.csd.compare() == {"FINISHED"} and shown(obj) == [WOOD, BARE, IRON, "", WOOD]


def test_the_preview_shows_each_material_its_own_and_leaves_no_trace(home: Path) -> None:
    obj = crate()
    before, counts = fingerprint(obj), datablocks()
    settings = JobSettings(prompt="red brick", size=64, iterations=4, images="material")
    task = object_job.prepare(obj, settings, new_folder(home / "jobs"))
    first = task.folder.preview / "basecolor.png"
    assert not apply_result.show(task, first), "there is none yet"
    job = object_job.run_blocking(task)
    assert Path(job.state.preview) == first and apply_result.show(task, first)
    images = [base_color_source(obj.material_slots[k].material).image for k in (0, 1, 2, 4)]
    assert images[0] == images[3] and len({blue(image) for image in images}) == 3 == len(bpy.data.images)
    (task.folder.preview / "basecolor_2.png").write_bytes((task.folder.result / "basecolor_2.png").read_bytes())
    assert apply_result.show(task, first)
    assert blue(images[2]) == expected(20_000) and blue(images[0]) != expected(0)
    hide_previews()
    assert fingerprint(obj) == before and datablocks() == counts


def test_files_beside_the_blend_have_names_of_their_own(tmp_path: Path) -> None:
    crate()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.context.scene.csd.output, bpy.context.scene.csd.unseen_map = "BESIDE", True
    for end in ("", "_02"):
        texture()
        names = {Path(image.filepath).name for image in bpy.data.images if image.users}
        assert names == {f"Crate{material}_basecolor{end}.png" for material in ("_Holz_é 🪵", "", "_Iron")}
    assert len(list((tmp_path / "textures").glob("*_basecolor_unseen.png"))) == 3


def test_names_that_are_the_same_for_a_file_system_are_told_apart() -> None:
    materials = ["Wood", "wood", "W/ood", "W?ood", "", "ö" * 60 + "1", "ö" * 60 + "2", "e\u0301", "é"]
    names = file_names("Ä" * 60, materials)
    print(names)
    assert len({name.casefold() for name in names}) == len(materials) and "wood_2" in names[1]
    assert max(len(name.encode()) for name in names) <= 120 and names[0].startswith("Ä" * 28 + "_")
    assert file_names("Crate", ["Wood", "", ""]) == ["Crate_Wood", "Crate", "Crate_2"]


def test_a_kept_result_is_applied_again_on_the_same_faces_only(home: Path) -> None:
    obj = crate()
    name = texture()
    made = {image.name: blue(image) for image in bpy.data.images}
    bpy.ops.csd.revert()
    assert bpy.ops.csd.apply_again(run=name) == {"FINISHED"}
    assert shown(obj) == [WOOD, BARE, IRON, "", WOOD] and {i.name: blue(i) for i in bpy.data.images} == made
    bpy.ops.csd.revert()
    obj.data.polygons[2].material_index = 2
    before, counts = fingerprint(obj), datablocks()
    with pytest.raises(RuntimeError, match="'Crate' have other materials than when this texture was made"):
        bpy.ops.csd.apply_again(run=name)
    obj.data.polygons[2].material_index = 1
    path = home / "jobs" / name / "job.json"
    job = json.loads(path.read_text("utf-8"))
    for slots in ([-1], [9], ["a"], None):
        images = [{"material": "x", "slots": slots}] if slots else slots
        write_json(path, {**job, "images": images})
        past_runs.refresh()
        with pytest.raises(RuntimeError, match="which materials its images are for|have other materials than"):
            bpy.ops.csd.apply_again(run=name)
    obj.data.polygons[2].material_index = 2
    assert fingerprint(obj) == before and datablocks() == counts


def test_a_cancelled_run_is_resumed_with_its_images() -> None:
    obj = crate()
    settings = JobSettings(prompt="red brick", size=64, iterations=60, images="material")
    task, job = object_job.start(obj, settings)
    while job.state.iteration < 2:
        job.poll()
    job.cancel()
    job.wait()
    session.begin(task, job)
    session.wait()
    assert shown(obj)[0] == ""
    obj.data.polygons[0].material_index = 2
    with pytest.raises(RuntimeError, match="have other materials than when this texture was made"):
        bpy.ops.csd.resume(folder=str(task.folder.path))
    obj.data.polygons[0].material_index = 0
    assert bpy.ops.csd.resume(folder=str(task.folder.path)) == {"FINISHED"}
    assert shown(obj) == [WOOD, BARE, IRON, "", WOOD]


@pytest.mark.parametrize("change", ["a slot is gone", "two slots hold one material"])
def test_slots_that_change_while_it_grows_are_a_sentence(change: str, home: Path) -> None:
    obj = crate()
    settings = JobSettings(prompt="red brick", size=64, iterations=4, images="material")
    task = object_job.prepare(obj, settings, new_folder(home / "jobs"))
    object_job.run_blocking(task)
    if change == "a slot is gone":
        obj.data.materials.pop(index=4)
    else:
        obj.material_slots[1].material = obj.material_slots[0].material
    apply_result.show(task, task.folder.preview / "basecolor.png")
    hide_previews()
    before, counts = fingerprint(obj), datablocks()
    with pytest.raises(ValueError, match="material slots of 'Crate' have changed meanwhile"):
        apply_result.finish(task, task.folder.basecolor, place=None)
    assert fingerprint(obj) == before and datablocks() == counts


def test_a_result_of_which_an_image_is_gone_changes_nothing(home: Path) -> None:
    obj = crate()
    settings = JobSettings(prompt="red brick", size=64, iterations=4, images="material")
    task = object_job.prepare(obj, settings, new_folder(home / "jobs"))
    object_job.run_blocking(task)
    (task.folder.result / "basecolor_2.png").unlink()
    before, counts = fingerprint(obj), datablocks()
    with pytest.raises(ValueError, match=r"basecolor_2\.png can't be loaded"):
        apply_result.finish(task, task.folder.basecolor, place=None)
    assert fingerprint(obj) == before and datablocks() == counts


def test_a_material_on_udim_tiles_gets_an_image_of_tiles() -> None:
    obj = crate()
    for loop in obj.data.polygons[3].loop_indices:
        obj.data.uv_layers[0].uv[loop].vector.x += 1
    texture()
    kinds = {image.name: image.source for image in bpy.data.images}
    assert kinds == {WOOD: "FILE", BARE: "TILED", IRON: "FILE"}
    assert [tile.number for tile in bpy.data.images[BARE].tiles] == [1001, 1002]


def test_an_object_without_slots_has_one_material() -> None:
    obj = cube("Bare")
    counts = datablocks()
    texture()
    assert shown(obj) == ["Bare_basecolor"] and obj.material_slots[0].name == "Bare"
    bpy.ops.csd.revert()
    assert not obj.material_slots and datablocks() == counts


def test_an_unwrapped_object_keeps_its_images() -> None:
    obj = crate()
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    texture()
    assert shown(obj) == [WOOD, BARE, IRON, "", WOOD] and [layer.name for layer in obj.data.uv_layers] == ["CSD UV"]


def nodes_that_set(obj: bpy.types.Object, material: bpy.types.Material, faces: int) -> None:
    """Geometry Nodes that put ``material`` on the first ``faces`` faces."""
    tree = bpy.data.node_groups.new("Set", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    start, end = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    setting, index = tree.nodes.new("GeometryNodeSetMaterial"), tree.nodes.new("GeometryNodeInputIndex")
    less = tree.nodes.new("FunctionNodeCompare")
    less.data_type, less.operation = "INT", "LESS_THAN"
    integers = [socket for socket in less.inputs if socket.type == "INT"]
    integers[1].default_value = faces
    setting.inputs["Material"].default_value = material
    tree.links.new(start.outputs[0], setting.inputs["Geometry"])
    tree.links.new(index.outputs[0], integers[0])
    tree.links.new(less.outputs[0], setting.inputs["Selection"])
    tree.links.new(setting.outputs[0], end.inputs[0])
    obj.modifiers.new("Set", "NODES").node_group = tree
    bpy.context.view_layer.update()


@pytest.mark.parametrize("faces", [2, 6])
def test_materials_that_are_in_no_slot_get_none(faces: int, home: Path) -> None:
    obj = crate()
    nodes_that_set(obj, principled("Grown"), faces)
    if faces == 6:
        with pytest.raises(RuntimeError, match="No face of 'Crate' shows a material of its slots"):
            texture()
        return
    folder = JobFolder(home / "jobs" / texture())
    with np.load(folder.mesh) as arrays:
        assert arrays["image"].tolist() == [-1] * 4 + [0] * 4 + [1] * 4
    assert shown(obj) == ["", BARE, IRON, "", ""] and base_color_image(obj)
