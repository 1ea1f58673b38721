"""The Blender skin: everything that is registered, and nothing that computes."""

from __future__ import annotations

import bpy

from . import command, driver, operators, panels, preferences, properties, session

_CLASSES = (
    properties.CSD_PG_settings,
    preferences.preferences_class,
    operators.CSD_OT_texture,
    operators.CSD_OT_edit,
    operators.CSD_OT_undo_edit,
    operators.CSD_OT_stop_and_keep,
    operators.CSD_OT_cancel,
    operators.CSD_OT_revert,
    operators.CSD_OT_install_runtime,
    operators.CSD_OT_copy_log,
    panels.CSD_PT_main,
)


def register(package: str) -> None:
    """Register all classes, the scene's settings and the terminal command. ``package``: the add-on's key."""
    preferences.preferences_class.bl_idname = package
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.csd = bpy.props.PointerProperty(type=properties.CSD_PG_settings)
    bpy.app.handlers.load_pre.append(session.on_load)
    command.register()


def unregister() -> None:
    """Take everything back in reverse order and end the worker."""
    command.unregister()
    bpy.app.handlers.load_pre.remove(session.on_load)
    session.end()
    driver.stop_worker()
    del bpy.types.Scene.csd
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
