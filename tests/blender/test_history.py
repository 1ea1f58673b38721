"""The history and the diagnostics in a real window: pictures, recall, apply again, delete, and all of it in Chinese.

The screenshots stay in the test's folder, which the test prints.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.blender.conftest import Installed, Window

SCRIPT = """
ui = {name: own(f"ui.{name}") for name in ("past_runs", "history", "diagnostics")}
past_runs = ui["past_runs"]
# Panels that are closed at first can't be opened by a script.
for panel in (ui["history"].CSD_PT_history, ui["diagnostics"].CSD_PT_diagnostics):
    bpy.utils.unregister_class(panel)
    panel.bl_options = set()
    bpy.utils.register_class(panel)

def pictures():
    return [bool(past_runs.icon(e, "thumbnail")) for e in past_runs.shown()]

def image():
    nodes = bpy.context.view_layer.objects.active.active_material.node_tree.nodes
    return next(n.image for n in nodes if n.get("csd_role") == "image")

def steps():
    bpy.ops.wm.read_homefile(use_empty=True)
    yield 1.0
    with bpy.context.temp_override(**view()):
        bpy.ops.mesh.primitive_monkey_add()
        bpy.ops.screen.screen_full_area()
    yield 0.5
    view()["area"].spaces.active.show_region_ui = True
    yield 0.5
    next(r for r in view()["area"].regions if r.type == "UI").active_panel_category = "CSD"
    shot("1-no-history")
    settings = bpy.context.scene.csd
    settings.size, settings.iterations = 64, 40
    for seed, prompt in enumerate(("red brick", "mossy stone", "blue paint")):
        settings.seed, settings.prompt = seed, prompt
        with bpy.context.temp_override(**view()):
            bpy.ops.csd.texture("INVOKE_DEFAULT")
        yield from until(ended)
    yield from until(lambda: len(past_runs.entries() or ()) == 3 and all(pictures()), 30)
    yield from until(lambda: past_runs.icon(past_runs.entries()[0], "plot"))
    yield 1.0
    entries = past_runs.entries()
    found["pictures"], found["plot"] = pictures(), bool(past_runs.icon(entries[0], "plot"))
    found["words"] = [e.words for e in entries]
    shot("2-history")
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.recall_settings("INVOKE_DEFAULT", run=entries[2].folder.path.name)
        found["recalled"] = [settings.prompt, settings.seed]
        former = image().session_uid
        bpy.ops.csd.apply_again("INVOKE_DEFAULT", True, run=entries[2].folder.path.name)
        found["applied"] = image().session_uid != former
    bpy.ops.ed.undo()
    found["undone"] = image().session_uid == former
    preferences = bpy.context.preferences.view
    preferences.language, preferences.use_translate_interface = "zh_HANS", True
    said, revert = bpy.app.translations.pgettext_iface, bpy.ops.csd.revert.get_rna_type()
    found["chinese"] = [said("Stop and Keep", "Operator"), said(revert.name, revert.translation_context)]
    told = own("ui.translations").translate_sentence
    found["chinese"].append(told("'Suzanne' had no material; a new one was added."))
    yield 1.0
    shot("3-chinese")
    preferences.language = "en_US"
    with bpy.context.temp_override(**view()):
        found["asked"] = sorted(bpy.ops.csd.delete_run("INVOKE_DEFAULT", run=entries[1].folder.path.name))
    yield 1.0
    shot("4-delete")
    found["still there"] = entries[1].folder.path.is_dir()
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.delete_run("EXEC_DEFAULT", run=entries[1].folder.path.name)
    found["left"] = [e.words for e in past_runs.entries()]
"""


def test_the_history_in_a_window(installed: Installed, window: Window, tmp_path: Path) -> None:
    shutil.rmtree(installed.folder / "home" / "jobs", ignore_errors=True)
    found = window(SCRIPT)
    assert (found["pictures"], found["plot"]) == ([True] * 3, True)
    assert found["words"] == ["blue paint", "mossy stone", "red brick"]
    assert found["recalled"] == ["red brick", 0]
    assert found["applied"] and found["undone"], "one undo step"
    assert found["asked"] == ["RUNNING_MODAL"] and found["still there"], "deleting asks first"
    assert found["left"] == ["blue paint", "red brick"]
    # Blender's own "Revert" means to load a file again.
    assert found["chinese"] == ["停止并保留", "还原", "“Suzanne”没有材质；已添加新材质"]
    assert len(list(tmp_path.glob("*.png"))) == 4
