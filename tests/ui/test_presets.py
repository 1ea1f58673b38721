"""The settings in Blender's own preset menu: added, called back, removed, each the way Blender's menu does it."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from csd_addon.ui import presets, properties

pytestmark = pytest.mark.usefixtures("addon")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Blender keeps this test's presets."""
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path / "scripts"))
    # Blender's preset operators write the name of the chosen preset here.
    monkeypatch.setattr(presets.CSD_PT_presets, "bl_label", presets.CSD_PT_presets.bl_label)
    (tmp_path / "scripts").mkdir()
    return tmp_path / "scripts" / "presets" / "csd_texture"


def call_back(path: Path) -> None:
    assert bpy.ops.script.execute_preset(filepath=str(path), menu_idname="CSD_PT_presets") == {"FINISHED"}


def test_a_preset_holds_the_settings_and_not_the_words(folder: Path) -> None:
    scene = bpy.context.scene.csd
    scene.preset, scene.size, scene.loss, scene.negative, scene.iterations = "draft", 512, "sds", "dust", 42
    scene.prompt, scene.seed, scene.output = "red brick", 7, "BESIDE"
    scene.guidance.own_guidance = True
    scene.guidance.w1, scene.guidance.kappa = 2.5, (0.25, 0.125)
    assert bpy.ops.csd.add_preset(name="Quick look") == {"FINISHED"}
    (path,) = folder.glob("*.py")
    scene.preset, scene.size, scene.loss, scene.negative, scene.iterations = "paper", 64, "csd", "", 0
    scene.prompt, scene.seed, scene.output = "mossy stone", 8, "PACK"
    scene.guidance.own_guidance, scene.guidance.w1 = False, 1.0
    call_back(path)
    assert scene.guidance.own_guidance and not scene.guidance.own_views and scene.output == "BESIDE"
    assert scene.guidance.w1 == 2.5 and tuple(scene.guidance.kappa) == (0.25, 0.125)
    assert (scene.preset, scene.size, scene.loss, scene.negative, scene.iterations) == (
        "draft", 512, "sds", "dust", 42,
    )  # fmt: skip
    assert (scene.prompt, scene.seed) == ("mossy stone", 8)
    assert bpy.types.CSD_PT_presets.bl_label == "Quick look", "the menu shows which one was chosen"


def test_a_preset_is_removed_by_its_name(folder: Path) -> None:
    bpy.ops.csd.add_preset(name="Mine")
    assert list(folder.glob("*.py"))
    assert bpy.ops.csd.add_preset(name="Mine", remove_name=True) == {"FINISHED"}
    assert not list(folder.glob("*.py"))


def test_every_setting_is_either_in_a_preset_or_personal() -> None:
    stored = {value.removeprefix("settings.") for value in presets.CSD_OT_add_preset.preset_values}
    assert not stored & presets.PERSONAL and presets.PERSONAL <= set(properties.NAMES)
    assert stored >= set(properties.NAMES) - presets.PERSONAL


def test_own_values_begin_with_those_in_use_and_go_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    guidance = bpy.context.scene.csd.guidance
    guidance.w1, guidance.kappa = 9.0, (9.0, 9.0)
    for switch in (True, False):
        guidance.own_guidance = guidance.own_views = switch
    # Blender prints it where a property's update returns anything.
    assert guidance.w1 != 9 and "".join(capfd.readouterr()) == ""
