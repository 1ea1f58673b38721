"""Why the button can't work is said before the click, with the remedy as a button; and the panel's own settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

import csd_addon
from csd_addon.core.teacher_folder import read_preferences
from csd_addon.drive.warm_worker import FAKE_VARIABLE
from csd_addon.scene.material import apply_texture
from csd_addon.ui import obstacles, operators, progress
from csd_addon.ui.properties import mask_kind, read_settings
from tests.scene.objects import cube, image_of, principled, quarters


class Layout:
    """Records the buttons that a remedy draws; a layout exists only while Blender draws."""

    def __init__(self) -> None:
        self.buttons: list[tuple[str, SimpleNamespace]] = []

    def operator(self, name: str, **_: object) -> SimpleNamespace:
        self.buttons.append((name, SimpleNamespace()))
        return self.buttons[-1][1]

    def prop(self, data: bpy.types.bpy_struct, name: str, **_: object) -> None:
        assert name in data.bl_rna.properties
        self.buttons.append((name, SimpleNamespace()))


@pytest.fixture(autouse=True)
def fresh(addon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obstacles, "_FRESH", -1)
    bpy.context.scene.csd.prompt = "red brick"


def found() -> str:
    obstacle = obstacles.find(bpy.context)
    return obstacle.sentence if obstacle else ""


def remedy() -> tuple[str, dict]:
    """The remedy's operator (which exists) and its arguments (which it takes)."""
    layout = Layout()
    obstacles.find(bpy.context).remedy(layout)
    ((name, arguments),) = layout.buttons
    if "." in name:
        module, _, operator = name.partition(".")
        rna = getattr(getattr(bpy.ops, module), operator).get_rna_type()
        assert set(vars(arguments)) <= set(rna.properties.keys())
    return name, vars(arguments)


def press() -> None:
    name, arguments = remedy()
    module, _, operator = name.partition(".")
    # Written out because "scene.csd.x" is a path from the context.
    getattr(getattr(bpy.ops, module), operator)(**arguments)


def test_nothing_stands_in_the_way_of_a_plain_mesh() -> None:
    cube()
    assert found() == ""


def test_no_mesh() -> None:
    assert found() == "Select the mesh that should get a texture."
    bpy.ops.object.camera_add()
    assert found() == "'Camera' is a camera. Select a mesh."


def test_no_faces() -> None:
    cube("Empty").data.clear_geometry()
    assert "'Empty' has no faces" in found()


def test_a_linked_object_offers_to_make_it_local(tmp_path) -> None:
    cube("Linked")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.context.scene.csd.prompt = "red brick"
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, target):
        target.objects = ["Linked"]
    obj = target.objects[0]
    bpy.context.collection.objects.link(obj)
    obj.select_set(True)
    bpy.context.view_layer.objects.active = obj
    assert "comes from a linked library" in found()
    press()
    assert found() == "" and bpy.context.object.library is None


def test_no_runtime_offers_its_installation_or_the_preferences(monkeypatch: pytest.MonkeyPatch) -> None:
    cube()
    monkeypatch.delenv(FAKE_VARIABLE)
    monkeypatch.delenv("CSD_WORKER_PYTHON", raising=False)
    system, override = bpy.context.preferences.system, bpy.app.online_access_override
    if override:
        assert "offline mode" in found()
        return
    system.use_online_access = True
    assert "not installed yet" in found() and remedy() == ("csd.install_runtime", {})
    system.use_online_access = False
    assert "online access is off" in found() and remedy() == ("screen.userpref_show", {"section": "SYSTEM"})


def test_no_teacher_offers_the_bundled_one() -> None:
    cube()
    bpy.context.scene.csd.teacher = "/nowhere/teacher"
    assert "/nowhere/teacher" in found()
    press()
    assert bpy.context.scene.csd.teacher == "auto" and found() == ""


def test_no_words() -> None:
    cube().data.materials.append(principled("Own"))
    settings = bpy.context.scene.csd
    settings.prompt = " "
    assert "Write a prompt" in found()
    settings.mode = "EDIT"
    assert "Write a target" in found()
    settings.target = settings.remove = "red brick"
    assert "say the same" in found()


def test_an_unknown_uv_map_offers_the_active_one() -> None:
    cube()
    bpy.context.scene.csd.uv_map = "Nope"
    assert "has no UV map 'Nope'" in found()
    press()
    assert found() == ""


def test_nothing_to_edit_offers_a_new_texture() -> None:
    obj = cube("Plain")
    settings = bpy.context.scene.csd
    settings.mode, settings.target = "EDIT", "blue brick"
    assert "'Plain' has no texture to edit yet" in found()
    obj.data.materials.append(principled("Own"))
    assert "'Plain' has no texture to edit yet" in found()
    press()
    assert settings.mode == "TEXTURE" and found() == ""
    settings.mode = "EDIT"
    apply_texture(obj, image_of(quarters(8)), "UVMap")
    assert found() == ""


def test_a_mask_without_a_name_or_of_something_that_is_not_there() -> None:
    obj = cube("Masked")
    apply_texture(obj, image_of(quarters(8), "Paint"), "UVMap")
    obj.vertex_groups.new(name="Top")
    settings = bpy.context.scene.csd
    settings.mode, settings.target, settings.mask_kind = "EDIT", "blue brick", "GROUP"
    assert found() == "Choose the vertex group that is the mask."
    settings.mask_name = "Top"
    assert settings.mask == "group:Top" and found() == ""
    settings.mask = "material:Nope"
    assert "'Masked' has no material 'Nope' for the mask" in found()
    press()
    assert settings.mask == "" and found() == ""
    settings.mask = "image:Paint"
    assert found() == ""
    settings.mask = "image:/somewhere/mask.png"
    assert found() == "", "a file is looked for by the edit itself"


def test_a_shared_material_is_copied_only_when_the_artist_says_so() -> None:
    first, second = cube("First"), cube("Second")
    material = principled("Shared")
    first.data.materials.append(material)
    second.data.materials.append(material)
    assert "'Shared' is used by other objects too. May 'Second' get its own copy?" in found()
    assert remedy() == ("copy_shared", {})
    bpy.context.scene.csd.copy_shared = True
    assert found() == ""


def test_an_unsaved_file_offers_to_be_saved(tmp_path) -> None:
    cube()
    bpy.context.scene.csd.output = "BESIDE"
    assert "not saved yet" in found() and remedy() == ("wm.save_mainfile", {})
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    assert found() == ""


def test_what_a_click_found_stays_in_sight_until_something_changes() -> None:
    obj = cube("Broken")
    obj.data.vertices[0].co.x = float("nan")
    with pytest.raises(RuntimeError, match="whose position is not a number"):
        bpy.ops.csd.texture("INVOKE_DEFAULT")
    assert "whose position is not a number" in found() and not obstacles.find(bpy.context).final
    bpy.context.scene.csd.prompt = "blue brick"
    assert found() == ""


def test_the_selected_meshes_are_chosen_and_the_active_one_is_first() -> None:
    names = [cube(name).name for name in ("A", "B", "C")]
    bpy.ops.object.camera_add()
    for name in names:
        bpy.data.objects[name].select_set(True)
    bpy.context.view_layer.objects.active = bpy.data.objects["B"]
    assert [obj.name for obj in operators.selected_meshes(bpy.context)] == ["B", "A", "C"]
    bpy.data.objects["B"].select_set(False)
    assert [obj.name for obj in operators.selected_meshes(bpy.context)] == ["B"]


@pytest.mark.parametrize(
    ("mask", "kind", "name"),
    [("", "EVERYWHERE", ""), ("faces", "FACES", "faces"), ("group:Top", "GROUP", "Top"),
     ("material:Red", "MATERIAL", "Red"), ("image:Paint", "IMAGE", "Paint"), ("Top", "NAME", "Top")],
)  # fmt: skip
def test_the_menu_of_masks_says_what_the_text_means(mask: str, kind: str, name: str) -> None:
    settings = bpy.context.scene.csd
    settings.mask = mask
    assert (mask_kind(mask), settings.mask_kind) == (kind, kind)
    assert kind == "FACES" or settings.mask_name == name


@pytest.mark.parametrize("kind", ["EVERYWHERE", "FACES", "GROUP", "MATERIAL", "IMAGE", "NAME"])
def test_a_kind_that_is_chosen_stays_chosen(kind: str) -> None:
    settings = bpy.context.scene.csd
    settings.mask_kind = kind
    assert settings.mask_kind == kind
    if kind not in ("EVERYWHERE", "FACES"):
        settings.mask_name = "Top"
        assert settings.mask_kind == kind and settings.mask.endswith("Top")


def test_own_values_begin_with_what_would_be_used_and_reach_the_job() -> None:
    scene = bpy.context.scene
    assert read_settings(scene, "texture").expert == {}
    scene.csd.guidance.own_guidance = scene.csd.guidance.own_views = True
    expert = read_settings(scene, "texture").validate().expert
    wishes = read_preferences(Path(csd_addon.__file__).parent / "teachers" / "broad")["methods"]
    assert expert["noise_level"] == wishes["sample"]["sample"]["noise_level"] and expert["guidance"] == 5
    assert expert["elevation"] == [-45, 80] and expert["view_words"] is False
    scene.csd.guidance.negative_weight = (0.7, 0.1)
    assert read_settings(scene, "texture").expert["negative_weight"] == pytest.approx([0.0, 0.7, 0.1, 1.0])
    scene.csd.method = "distill"
    assert read_settings(scene, "texture").expert["t_max"] == wishes["distill"]["distill"]["t_max"]


@pytest.mark.parametrize(("remove", "way"), [("red brick", "keep"), ("brown wood", "replace")])
def test_own_values_of_an_edit_begin_with_those_of_its_words(remove: str, way: str) -> None:
    wishes = read_preferences(Path(csd_addon.__file__).parent / "teachers" / "mini")
    scene = bpy.context.scene
    scene.csd.mode, scene.csd.target, scene.csd.remove = "EDIT", "blue brick", remove
    scene.csd.guidance.own_guidance = True
    expert = read_settings(scene, "edit").expert
    if way == "keep":
        kappa = wishes["edit"]["keep"]["distill"]["kappa"]
        assert expert["kappa"] == [0.0, kappa, kappa, 0.0] and "guidance" not in expert
    else:
        # The removed words do not push where the source is painted over.
        assert expert["negative_weight"] == [0.0, 0.0, 0.0, 0.0] and "kappa" not in expert


def test_new_seed_rolls_the_dice() -> None:
    seeds = set()
    for _ in range(3):
        bpy.ops.csd.new_seed()
        seeds.add(bpy.context.scene.csd.seed)
    assert len(seeds) == 3


def test_durations_read_like_durations() -> None:
    said = [progress.duration(seconds) for seconds in (0.4, 59.2, 60, 3599, 7261)]
    assert said == ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "2 h 1 min"]
    assert np.isclose(progress.share(SimpleNamespace(iteration=1, of=4)), 0.25)


@pytest.mark.parametrize("typed", ["//loras/x.safetensors", "loras/x.safetensors"])
def test_the_panels_lora_is_found_from_the_file(typed: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.context.scene.csd.lora = f"{typed}:0.8"
    assert read_settings(bpy.context.scene, "texture").lora == f"{tmp_path / 'loras' / 'x.safetensors'}:0.8"
    bpy.context.scene.csd.lora = ""
    assert read_settings(bpy.context.scene, "texture").lora == ""
