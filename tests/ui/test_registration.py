"""What ``register`` adds, ``unregister`` takes back; the settings are the program's own words."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import bpy
import pytest

import csd_addon
from csd_addon.core.recipe import PRESETS
from csd_addon.core.settings import DEVICES, ITERATION_RANGE, KEEPS, LOSSES, SIZE_RANGE, STRENGTH_RANGE, JobSettings
from csd_addon.drive.warm_worker import shared_worker
from csd_addon.runtime import choices
from csd_addon.ui import preferences, progress, properties
from csd_addon.ui.session import HANDLERS, session
from tests.ui.conftest import NAME


def traces() -> dict[str, object]:
    """Everything of ours that Blender knows."""
    groups = [getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)]
    handlers = [handler for group in groups if isinstance(group, list) for handler in group]
    return {
        "classes": sorted(n for n in dir(bpy.types) if n.startswith("CSD_") or n == NAME),
        "operators": sorted(dir(bpy.ops.csd)),
        "scene": hasattr(bpy.types.Scene, "csd"),
        "handlers": [h for h in handlers if getattr(h, "__module__", "").startswith("csd_addon")],
        "timers": session.is_ticking,
        "status bar": progress.draw_status in getattr(bpy.types.STATUSBAR_HT_header.draw, "_draw_funcs", []),
        "images": len(bpy.data.images),
    }


NOTHING = {
    "classes": [], "operators": [], "scene": False, "handlers": [], "timers": False, "status bar": False, "images": 0,
}  # fmt: skip


def test_registering_ten_times_leaves_nothing(home) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    path = list(sys.path)
    assert traces() == NOTHING
    for _ in range(10):
        csd_addon.register(NAME)
        there = traces()
        assert there["scene"] and there["status bar"] and len(there["handlers"]) >= len(HANDLERS)
        assert {"texture", "stop_and_keep", "cancel", "revert", "install_runtime", "copy_log"} <= set(
            there["operators"]
        )
        csd_addon.unregister()
        assert traces() == NOTHING
    assert sys.path == path and not home.exists(), "registering writes nothing"


def test_unregister_ends_the_worker(home) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    csd_addon.register(NAME)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.csd.texture(prompt="red brick", size=64, iterations=3)
    worker = shared_worker.process
    assert worker.exit_code() is None, "it stays warm between jobs"
    csd_addon.unregister()
    assert worker.exit_code() is not None and shared_worker.process is None


def test_property_names_defaults_and_ranges_are_the_settings_own(addon) -> None:
    group = bpy.context.scene.csd
    known = {f.name: f.default for f in fields(JobSettings)}
    assert set(properties.NAMES) <= set(known)
    # The kind of a job is the operator's own.
    assert set(known) - set(properties.NAMES) == {"kind", "expert"}
    for name in properties.NAMES:
        assert getattr(group, name) == known[name], name
        assert group.bl_rna.properties[name].description, name
    rna = group.bl_rna.properties
    assert (rna["size"].hard_min, rna["size"].hard_max) == SIZE_RANGE
    assert (rna["iterations"].hard_min, rna["iterations"].hard_max) == ITERATION_RANGE
    assert (rna["seed"].hard_min, rna["seed"].hard_max) == (0, 2**31 - 1)
    assert (rna["strength"].hard_min, rna["strength"].hard_max) == STRENGTH_RANGE
    choices = {"preset": tuple(PRESETS), "device": DEVICES, "loss": LOSSES, "keep": KEEPS}
    for name, allowed in choices.items():
        assert tuple(rna[name].enum_items.keys()) == allowed


@pytest.mark.parametrize("name", properties.NAMES)
@pytest.mark.parametrize("kind", ["texture", "edit"])
def test_the_operator_takes_every_setting_as_an_argument(addon, name: str, kind: str) -> None:
    operator = getattr(bpy.ops.csd, kind).get_rna_type().properties[name]
    setting = bpy.context.scene.csd.bl_rna.properties[name]
    assert operator.type == setting.type and operator.name == setting.name


def test_a_folder_in_the_preferences_becomes_absolute(addon: None, home: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for typed, kept in {"big disk": tmp_path / "big disk", "~/r": tmp_path / "r", str(home): home}.items():
        preferences._keep("runtime", typed)
        assert choices.read(home).runtime == str(kept)
    preferences._keep("runtime", "")
    assert choices.read(home).runtime == "" and preferences._trouble == ""


def test_a_folder_that_cannot_be_kept_is_told(addon: None, home: Path) -> None:
    home.write_text("a file where the folder should be", encoding="utf-8")
    preferences._keep("teachers", "/t")
    assert "could not be kept" in preferences._trouble
    home.unlink()
    preferences._keep("teachers", "/t")
    assert choices.read(home).teachers == "/t" and preferences._trouble == ""
