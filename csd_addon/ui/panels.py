"""The N-panel tab "CSD". Draws what is already known; computes nothing."""

import textwrap

import bpy

from ..scene.material import base_color_image, is_edited
from . import session


class CSD_PT_main(bpy.types.Panel):
    """Prompt, settings and one tall button; while a job runs, its progress and how to end it."""

    bl_idname = "CSD_PT_main"
    bl_label = "CSD Texture"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "CSD"
    bl_context = "objectmode"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        _draw_settings(layout, context.scene.csd)
        running = session.running()
        if running:
            _draw_progress(layout, running[1].state)
        else:
            _draw_start(layout, context)


def _draw_settings(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    column = layout.column()
    column.enabled = session.running() is None
    for name in ("prompt", "negative", "preset", "seed", "size", "uv_map", "teacher"):
        column.prop(settings, name)


def _draw_progress(layout: bpy.types.UILayout, state: object) -> None:
    text = state.detail or state.phase or "Starting"
    share = state.iteration / state.of if state.of else 0.0
    if state.of and state.phase == "optimize":
        text = f"{state.iteration} of {state.of}, {state.seconds_left:.0f} s left"
    layout.progress(factor=share, text=text, type="BAR")
    row = layout.row(align=True)
    row.scale_y = 1.6
    row.operator("csd.stop_and_keep", icon="CHECKMARK")
    row.operator("csd.cancel", icon="CANCEL")


def _draw_start(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    obstacle = _obstacle(context)
    if obstacle:
        _draw_sentence(layout, context, obstacle, "INFO")
    if "not installed" in session.runtime_sentence():
        layout.operator("csd.install_runtime", icon="IMPORT")
    column = layout.column()
    column.scale_y = 1.8
    column.enabled = obstacle is None
    column.operator("csd.texture", icon="TEXTURE")
    if context.object and base_color_image(context.object):
        if is_edited(context.object):
            layout.operator("csd.undo_edit", icon="LOOP_BACK")
        layout.operator("csd.revert", icon="LOOP_BACK")
    last = session.last_state()
    if last and last.error:
        _draw_sentence(layout, context, last.error.sentence, "ERROR")
        layout.operator("csd.copy_log", icon="COPYDOWN")


def _draw_sentence(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str) -> None:
    """A label that breaks its lines: Blender would cut the middle out."""
    letter = 6.5 * context.preferences.system.ui_scale
    column = layout.column(align=True)
    for line in textwrap.wrap(sentence, max(20, int(context.region.width / letter) - 4)):
        column.label(text=line, icon=icon)
        icon = "BLANK1"


def _obstacle(context: bpy.types.Context) -> str | None:
    """Why the button can't work, in one sentence, or None."""
    if context.object is None:
        return "Select a mesh"
    if context.object.type != "MESH":
        return f"'{context.object.name}' is not a mesh"
    if not context.scene.csd.prompt.strip():
        return "Write a prompt, for example 'red brick'"
    return None
