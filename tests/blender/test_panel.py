"""The panel in a real window on a virtual screen: it shows, it stays alive while a job runs, it ends well.

The screenshots stay in the test's folder, which the test prints.
"""

from __future__ import annotations

from pathlib import Path

from tests.blender.conftest import Window

# One state after another, driven by a timer as a person would: look, press, look, stop, look.
SCRIPT = """
import subprocess
import numpy as np
found.update(ticks=0, longest=0.0, iterations=[])

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
    click(region.x + region.width // 2 - 20, 384)
    yield from until(lambda: session.is_running, 10)
    found["clicked"] = session.is_running
    if not session.is_running:
        with bpy.context.temp_override(**view()):
            bpy.ops.csd.texture("INVOKE_DEFAULT")
    end = time.monotonic() + 4
    last = time.monotonic()
    while time.monotonic() < end:
        yield 0.05
        found["ticks"] += 1
        found["longest"] = max(found["longest"], time.monotonic() - last)
        last = time.monotonic()
        found["iterations"].append(session.job.state.iteration)
    shot("3-during")
    found["preview_seen"] = differs("2-ready", "3-during")
    count = session.job.state.previews
    yield from until(lambda: session.job.state.previews != count)
    yield 0.3
    shot("3-during-later")
    found["preview_grows"] = differs("3-during", "3-during-later")
    found["during"] = [len(bpy.data.images), len(bpy.data.materials)]
    bpy.ops.csd.stop_and_keep()
    yield from until(ended)
    yield 1.0
    obj = bpy.context.view_layer.objects.active
    found["images"] = [tuple(i.size) for i in bpy.data.images if i.packed_file]
    found["material"] = bool(obj.active_material)
    found["status"] = session.last_state.status
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
    shown = own("scene.material").base_color_image
    before = shown(obj).name
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.edit("INVOKE_DEFAULT", target="blue brick", remove="red brick", iterations=5)
    yield from until(ended)
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
    yield from until(ended)
    yield 1.0
    found["error"] = session.last_state.error.sentence
    shot("6-failed")
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.texture("INVOKE_DEFAULT", prompt="red brick", iterations=100000)
    yield from until(lambda: ended() or session.job.state.previews > 1)
    found["before_cancel"] = len(bpy.data.images)
    bpy.ops.csd.cancel()
    yield from until(ended)
    found["after_cancel"] = [len(bpy.data.images), len(bpy.context.view_layer.objects.active.material_slots)]
"""


def test_the_panel_from_prompt_to_texture(window: Window, tmp_path: Path) -> None:
    found = window(SCRIPT)
    iterations = found["iterations"]
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
    assert len(list(tmp_path.glob("*.png"))) == 9
