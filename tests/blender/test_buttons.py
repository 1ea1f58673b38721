"""Every button of the panel under a true mouse: found by hovering, clicked by the X server, judged by its effect.

A button is found by asking Blender for the Python command, or the data path, of what lies under the mouse. Not clicked:
buttons that open a file browser or another program (Save File, Open Folder), Open Preferences, and those of the set-up,
which ``test_install`` drives.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.blender.conftest import Installed, Window

SCRIPT = """
import subprocess
past_runs, compare, material = own("ui.past_runs"), own("scene.compare"), own("scene.material")
history = own("ui.history").CSD_PT_history
found.update(missing=[], effects={})
# A closed panel can't be opened by a script.
bpy.utils.unregister_class(history)
history.bl_options = set()
bpy.utils.register_class(history)
# Pixels between two looks down the panel; the lowest button is 20 high.
STEP = 14

def panel():
    return next(r for r in view()["area"].regions if r.type == "UI")

def mouse(*words):
    subprocess.run(["xdotool", *map(str, words)], check=True)

def under_mouse():
    manager = bpy.context.window_manager
    manager.clipboard = ""
    with bpy.context.temp_override(window=view()["window"], area=view()["area"], region=panel()):
        for ask in (bpy.ops.ui.copy_python_command_button, lambda: bpy.ops.ui.copy_data_path_button(full_path=True)):
            try:
                if ask() == {"FINISHED"}:
                    return manager.clipboard
            except RuntimeError:
                # Nothing under the mouse has what is asked for.
                pass
    return ""

def look(x, y, pace):
    # What lies there; Blender runs timers before it takes the mouse's news, so one pause is not enough.
    mouse("mousemove", x, y)
    yield pace
    yield pace
    return under_mouse()

def press(name, share=0.5):
    # share: how far to the right, of the panel without its borders and its tabs.
    region, height = panel(), view()["window"].height
    x = region.x + 8 + int((region.width - 47) * share)
    top = height - region.y - region.height
    for pace in (0.03, 0.3):
        for y in range(top + 5, top + region.height - 5, STEP):
            if name in (yield from look(x, y, pace)):
                mouse("click", 1)
                yield 0.3
                return
    found["missing"].append(name)
    shot(f"missing-{len(found['missing'])}")

def obj():
    return bpy.context.view_layer.objects.active

def note(name, effect):
    found["effects"][name] = effect

def running():
    return session.is_running

def settle():
    yield from until(ended)
    yield 0.6

def steps():
    bpy.ops.wm.read_homefile(use_empty=True)
    yield 1.0
    with bpy.context.temp_override(**view()):
        bpy.ops.mesh.primitive_cube_add()
        bpy.ops.screen.screen_full_area()
    yield 0.5
    view()["area"].spaces.active.show_region_ui = True
    yield 0.5
    panel().active_panel_category = "CSD"
    settings = bpy.context.scene.csd
    settings.prompt, settings.size, settings.iterations = "red brick", 64, 100000
    yield 1.0
    seed = settings.seed
    yield from press("csd.new_seed", 0.97)
    note("dice", settings.seed != seed)

    yield from press("csd.texture")
    note("texture", running())
    yield from until(lambda: running() and session.job.state.previews)
    yield from press("csd.cancel", 0.75)
    yield from settle()
    note("cancel", session.items[0].status == "cancelled" and not bpy.data.images)
    yield from press("csd.resume", 0.25)
    note("resume", running())
    yield from until(lambda: running() and session.job.state.previews)
    yield from press("csd.stop_and_keep", 0.25)
    yield from settle()
    note("stop and keep", session.items[0].status == "done" and material.carries_texture(obj()))

    yield from press("csd.compare")
    before = compare.shows_before(obj())
    yield from press("csd.compare")
    note("before / after", before and not compare.shows_before(obj()))
    yield from press("csd.mode", 0.75)
    note("edit switch", settings.mode == "EDIT")
    settings.target, settings.remove, settings.iterations = "blue brick", "red brick", 5
    yield 0.5
    yield from press("csd.edit")
    yield from settle()
    note("edit", session.items[0].status == "done" and material.is_edited(obj()))
    yield from press("csd.undo_edit", 0.25)
    note("back to source", not material.is_edited(obj()) and material.carries_texture(obj()))
    yield from press("csd.mode", 0.25)
    note("texture switch", settings.mode == "TEXTURE")
    yield from press("csd.revert", 0.5)
    note("revert", not material.carries_texture(obj()) and not obj().material_slots)

    settings.uv_map = "Gone"
    yield 0.5
    yield from press("context_set_string")
    note("remedy: active UV map", settings.uv_map == "")
    settings.mode = "EDIT"
    yield 0.5
    yield from press("context_set_enum")
    note("remedy: a new texture", settings.mode == "TEXTURE")
    shared = bpy.data.materials.new("Shared")
    other = bpy.data.objects.new("Other", bpy.data.meshes.new("Other"))
    bpy.context.scene.collection.objects.link(other)
    for mesh in (obj().data, other.data):
        mesh.materials.append(shared)
    yield 2.5
    yield from press("csd.copy_shared")
    note("remedy: own copy", settings.copy_shared)

    settings.prompt, settings.iterations = "crash", 100
    yield 0.5
    yield from press("csd.texture")
    yield from settle()
    yield from press("csd.copy_log", 0.75)
    # The command that is looked for lay in the clipboard before.
    said = bpy.context.window_manager.clipboard
    note("copy log", session.items[0].status == "failed" and "csd.copy_log" not in said)
    yield from press("csd.dismiss", 0.95)
    note("dismiss", not session.items)

    settings.prompt = "not the run's"
    yield from until(lambda: past_runs.entries() and len(past_runs.entries()) == 3)
    yield 0.5
    shot("history")
    yield from press("csd.recall_settings", 0.5)
    note("recall", settings.prompt in ("crash", "red brick"))
    kept = [e for e in past_runs.entries() if e.state == "done" and not e.is_edit][0].folder.path.name
    yield from press(f'csd.apply_again(run="{kept}")', 0.74)
    note("apply again", material.carries_texture(obj()))
    yield from press(f'csd.delete_run(run="{kept}")', 0.95)
    mouse("key", "Return")
    yield 0.5
    note("delete", kept not in [e.folder.path.name for e in past_runs.entries()])
    shot("end")
"""

EFFECTS = (
    "dice", "texture", "cancel", "resume", "stop and keep", "before / after", "edit switch", "edit", "back to source",
    "texture switch", "revert", "remedy: active UV map", "remedy: a new texture", "remedy: own copy", "copy log",
    "dismiss", "recall", "apply again", "delete",
)  # fmt: skip


def test_every_button_under_a_true_mouse(installed: Installed, window: Window, tmp_path: Path) -> None:
    shutil.rmtree(installed.folder / "home" / "jobs", ignore_errors=True)
    found = window(SCRIPT, timeout=600)
    assert found["missing"] == [], f"not found under the mouse; pictures are in {tmp_path}"
    assert found["effects"] == dict.fromkeys(EFFECTS, True)
