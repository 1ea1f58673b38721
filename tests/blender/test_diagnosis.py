"""Losses compared in a real window: started from the panel, watched, cancelled, and its pictures seen there.

The screenshots stay in the test's folder, which the test prints.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.blender.conftest import Installed, Window

SCRIPT = """
comparisons = own("ui.comparisons")
closed = [own("ui.diagnostics").CSD_PT_diagnostics, own("ui.diagnosis").CSD_PT_diagnosis]
# Panels that are closed at first can't be opened by a script; a child goes before its parent.
for panel in reversed(closed):
    bpy.utils.unregister_class(panel)
    panel.bl_options = set()
for panel in closed:
    bpy.utils.register_class(panel)

def scroll_down():
    region = next(r for r in view()["area"].regions if r.type == "UI")
    with bpy.context.temp_override(**{**view(), "region": region}):
        for _ in range(40):
            bpy.ops.view2d.scroll_down()

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
    yield 0.5
    shot("1-no-prompt")
    settings = bpy.context.scene.csd
    settings.prompt, settings.diagnosis_steps = "red brick", 100000
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.diagnose("INVOKE_DEFAULT")
    yield from until(lambda: session.job.state.iteration > 20)
    shot("2-running")
    bpy.ops.csd.cancel()
    yield from until(ended)
    found["cancelled"] = session.items[0].status
    settings.diagnosis_steps = 20
    with bpy.context.temp_override(**view()):
        bpy.ops.csd.diagnose("INVOKE_DEFAULT")
    yield from until(ended)
    found["status"] = session.items[0].status
    # The panel asks for the pictures by itself.
    yield from until(lambda: comparisons.icon("sweep"))
    yield 1.0
    found["icons"] = [bool(comparisons.icon(name)) for name in ("sweep", "negatives", "norms")]
    found["materials"] = len(bpy.data.materials)
    shot("3-finished")
    session.forget()
    scroll_down()
    yield 0.5
    shot("3-pictures")
    preferences = bpy.context.preferences.view
    preferences.language, preferences.use_translate_interface = "zh_HANS", True
    yield 1.0
    shot("4-chinese")
    preferences.language = "en_US"
"""


def test_losses_are_compared_in_a_window(installed: Installed, window: Window, tmp_path: Path) -> None:
    shutil.rmtree(installed.folder / "home" / "diagnoses", ignore_errors=True)
    found = window(SCRIPT)
    assert (found["cancelled"], found["status"]) == ("cancelled", "done")
    assert found["icons"] == [True] * 3 and found["materials"] == 0
    assert len(list(tmp_path.glob("*.png"))) == 5
