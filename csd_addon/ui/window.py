"""Blender's windows as a timer sees them: it is called without one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import bpy


def override() -> AbstractContextManager[None]:
    """The first window as context, for operators and for what is active; nothing without a window."""
    windows = bpy.context.window_manager.windows
    return bpy.context.temp_override(window=windows[0]) if windows else nullcontext()


def is_rendering() -> bool:
    """Whether a render reads the scene in another thread right now, so that nothing may change."""
    return bpy.app.is_job_running("RENDER")


def is_busy() -> bool:
    """Whether an undo step now would cut in two what the artist is doing: another mode, a transform, a render."""
    for window in bpy.context.window_manager.windows:
        active = window.view_layer.objects.active
        if active and active.mode != "OBJECT":
            return True
        if any("UNDO" in operator.bl_options for operator in window.modal_operators):
            return True
    return is_rendering()


def redraw_preferences() -> None:
    """Draw the preferences again, where they are open."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()


def redraw() -> None:
    """Draw the panels and the status bar again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
        # There is no other way to reach the status bar; its own hints come back by themselves.
        window.workspace.status_text_set(None)
