"""The panel in a real window on a virtual screen: it shows, it stays alive while a job runs, it ends well.

The screenshots stay in the test's folder, which the test prints.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.blender.conftest import Installed

# One state after another, driven by a timer as a person would: look, press, look, stop, look.
SCRIPT = """
import json, subprocess, sys, time, traceback
import bpy
import numpy as np
FOLDER = sys.argv[-1]
found = {"ticks": 0, "longest": 0.0, "iterations": []}
package = next(n for n in sys.modules if n.endswith(".csd_texture"))
session = sys.modules[package + ".csd_addon.ui.session"]

def view():
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == "WINDOW")}

def shot(name):
    with bpy.context.temp_override(**view()):
        for region in view()["area"].regions:
            region.tag_redraw()
        bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
        bpy.ops.screen.screenshot(filepath=f"{FOLDER}/{name}.png")

def pixels(name):
    # The middle of the viewport on a screenshot, where the object is.
    image = bpy.data.images.load(f"{FOLDER}/{name}.png")
    width, height = image.size
    values = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    area = view()["area"]
    x, y = area.x + area.width // 2, area.y + area.height // 2
    return values.reshape(height, width, 4)[y - 60 : y + 60, x - 60 : x + 60, :3]

def differs(one, other):
    return float(np.abs(pixels(one) - pixels(other)).mean())

def click(x, y):
    # A true click, by the X server; x, y: pixels from the top left corner.
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)

def steps():
    bpy.context.preferences.view.show_splash = False
    yield 1.0
    bpy.ops.wm.read_homefile(use_empty=True)
    yield 1.0
    with bpy.context.temp_override(**view()):
        bpy.ops.mesh.primitive_monkey_add()
        bpy.ops.ed.undo_push(message="Monkey")
    view()["area"].spaces.active.show_region_ui = True
    view()["area"].spaces.active.shading.type = "SOLID"
    view()["area"].spaces.active.shading.color_type = "TEXTURE"
    yield 0.5
    ui = next(r for r in view()["area"].regions if r.type == "UI")
    ui.active_panel_category = "CSD"
    yield 1.0
    shot("1-before")
    settings = bpy.context.scene.csd
    settings.prompt, settings.size, settings.iterations = "red brick", 64, 100000
    yield 0.5
    bpy.ops.ed.undo_push(message="Words")
    yield 0.5
    shot("2-ready")
    region = next(r for r in view()["area"].regions if r.type == "UI")
    # The middle of the tall button, on a screen of 1600 x 900 with Blender's own scale.
    click(region.x + region.width // 2 - 20, 361)
    end = time.monotonic() + 10
    while not session.running() and time.monotonic() < end:
        yield 0.1
    found["clicked"] = session.running() is not None
    if not session.running():
        with bpy.context.temp_override(**view()):
            bpy.ops.csd.texture("INVOKE_DEFAULT")
    end = time.monotonic() + 4
    last = time.monotonic()
    while time.monotonic() < end:
        yield 0.05
        found["ticks"] += 1
        found["longest"] = max(found["longest"], time.monotonic() - last)
        last = time.monotonic()
        found["iterations"].append(session.running()[1].state.iteration)
    shot("3-during")
    found["preview_seen"] = differs("2-ready", "3-during")
    count, end = session.running()[1].state.previews, time.monotonic() + 20
    while session.running()[1].state.previews == count and time.monotonic() < end:
        yield 0.1
    yield 0.3
    shot("3-during-later")
    found["preview_grows"] = differs("3-during", "3-during-later")
    found["during"] = [len(bpy.data.images), len(bpy.data.materials)]
    bpy.ops.csd.stop_and_keep()
    end = time.monotonic() + 20
    while session.running() and time.monotonic() < end:
        yield 0.1
    yield 1.0
    obj = bpy.context.view_layer.objects.active
    found["images"] = [tuple(i.size) for i in bpy.data.images if i.packed_file]
    found["material"] = bool(obj.active_material)
    found["status"] = session.last_state().status
    shot("4-after")
    view()["area"].spaces.active.shading.type = "MATERIAL"
    yield 1.0
    shot("4-material-preview")
    view()["area"].spaces.active.shading.type = "SOLID"
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.compare("EXEC_DEFAULT")
    yield 0.5
    shot("4-before")
    found["compare"] = differs("4-after", "4-before")
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.compare("EXEC_DEFAULT")
    shown = sys.modules[package + ".csd_addon.scene.material"].base_color_image
    before = shown(obj).name
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.edit("INVOKE_DEFAULT", target="blue brick", remove="red brick", iterations=5)
    end = time.monotonic() + 20
    while session.running() and time.monotonic() < end:
        yield 0.1
    yield 1.0
    obj = bpy.context.view_layer.objects.active
    found["edited"] = shown(obj).name != before and before in bpy.data.images
    shot("5-edited")
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.undo_edit("EXEC_DEFAULT", True)
    found["back"] = shown(obj).name == before
    # Back over the step that went back, the edit and the texture.
    for _ in range(3):
        bpy.ops.ed.undo()
    yield 0.5
    found["images_after_undo"] = len([i for i in bpy.data.images if i.packed_file])
    found["slots_after_undo"] = len(bpy.context.view_layer.objects.active.material_slots)
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.texture("INVOKE_DEFAULT", prompt="crash")
    end = time.monotonic() + 20
    while session.running() and time.monotonic() < end:
        yield 0.1
    yield 1.0
    found["error"] = session.last_state().error.sentence
    shot("6-failed")
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.texture("INVOKE_DEFAULT", prompt="red brick", iterations=100000)
    end = time.monotonic() + 20
    while session.running() and session.running()[1].state.previews < 2 and time.monotonic() < end:
        yield 0.1
    found["before_cancel"] = len(bpy.data.images)
    bpy.ops.csd.cancel()
    while session.running() and time.monotonic() < end:
        yield 0.1
    found["after_cancel"] = [len(bpy.data.images), len(bpy.context.view_layer.objects.active.material_slots)]

walk = steps()

def tick():
    try:
        return next(walk)
    except StopIteration:
        pass
    except BaseException:
        found["traceback"] = traceback.format_exc()
    with open(f"{FOLDER}/found.json", "w") as stream:
        json.dump(found, stream)
    bpy.ops.wm.quit_blender()

bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
"""


def test_the_panel_from_prompt_to_texture(installed: Installed, blender: str, tmp_path: Path) -> None:
    if Path(blender).name != "real-blender" and not shutil.which("xvfb-run"):
        pytest.skip("no virtual screen: neither real-blender nor xvfb-run")
    script = tmp_path / "panel.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = installed.run("gui", "--python", script, "--", tmp_path)
    said = done.stdout + done.stderr
    assert (tmp_path / "found.json").is_file(), said
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    iterations = found.pop("iterations")
    print(f"screenshots in {tmp_path}\n{found}\niterations {iterations[:1]} .. {iterations[-1:]}")
    assert "traceback" not in found, found["traceback"]
    assert found["clicked"], "a true click on the button starts the job"
    assert found["preview_seen"] > 0.02 and found["preview_grows"] > 0.005, "the texture grows on the mesh"
    assert found["during"] == [1, 1] and found["compare"] > 0.02
    assert (found["before_cancel"], found["after_cancel"]) == (1, [0, 0]), "cancel leaves nothing"
    # Drawing in software takes most of a second; a window that waited for the job would not tick at all.
    assert found["ticks"] >= 3 and found["longest"] < 3, "the window answers while the job runs"
    assert iterations[-1] > 10 and sorted(iterations) == iterations
    assert (found["status"], found["images"], found["material"]) == ("done", [[64, 64]], True)
    assert (found["images_after_undo"], found["slots_after_undo"]) == (0, 0), "one undo step each"
    assert found["edited"] and found["back"]
    assert "exit code 11" in found["error"]
    assert len(list(tmp_path.glob("*.png"))) == 9 and "Traceback" not in said, said
