"""The Blender skin: everything that is registered, and nothing that computes."""

from __future__ import annotations

import bpy

from ..drive.warm_worker import shared_worker
from . import (
    command,
    comparisons,
    diagnosis,
    diagnostics,
    guidance,
    history,
    operators,
    panels,
    past_runs,
    preferences,
    presets,
    progress,
    properties,
    result_operators,
    runtime_operators,
    runtime_page,
    session,
    setting_up,
    subpanels,
    teacher_task,
    teachers_page,
    translations,
)

_CLASSES = (
    guidance.CSD_PG_guidance,
    properties.CSD_PG_settings,
    preferences.preferences_class,
    operators.CSD_OT_texture,
    operators.CSD_OT_edit,
    operators.CSD_OT_stop_and_keep,
    operators.CSD_OT_cancel,
    operators.CSD_OT_drop,
    operators.CSD_OT_resume,
    operators.CSD_OT_dismiss,
    diagnosis.CSD_OT_diagnose,
    result_operators.CSD_OT_new_seed,
    result_operators.CSD_OT_compare,
    result_operators.CSD_OT_undo_edit,
    result_operators.CSD_OT_revert,
    *runtime_operators.CLASSES,
    runtime_page.CSD_OT_copy_findings,
    panels.CSD_PT_main,
    subpanels.CSD_PT_views,
    subpanels.CSD_PT_guidance,
    subpanels.CSD_PT_output,
    *teachers_page.CLASSES,
    *history.CLASSES,
    *presets.CLASSES,
    diagnostics.CSD_PT_diagnostics,
    diagnosis.CSD_PT_diagnosis,
)


def register(package: str) -> None:
    """Register all classes, the scene's settings and the terminal command. ``package``: the add-on's key."""
    preferences.preferences_class.bl_idname = package
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.csd = bpy.props.PointerProperty(type=properties.CSD_PG_settings)
    bpy.types.STATUSBAR_HT_header.append(progress.draw_status)
    session.register()
    past_runs.register()
    comparisons.register()
    translations.register()
    command.register()


def unregister() -> None:
    """Take everything back in reverse order and end the worker."""
    command.unregister()
    translations.unregister()
    comparisons.unregister()
    past_runs.unregister()
    bpy.types.STATUSBAR_HT_header.remove(progress.draw_status)
    teacher_task.end()
    setting_up.runner.end()
    session.unregister()
    shared_worker.stop()
    del bpy.types.Scene.csd
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
