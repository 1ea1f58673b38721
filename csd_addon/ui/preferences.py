"""The add-on's preferences: the state of the runtime and its installation."""

import bpy

from . import session


class preferences_class(bpy.types.AddonPreferences):  # noqa: N801 (its bl_idname is set when registering)
    """Shown in Preferences > Add-ons."""

    bl_idname = ""

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.label(text=session.runtime_sentence())
        column.operator("csd.install_runtime", icon="IMPORT")
