"""The add-on's preferences: the state of the runtime and its installation."""

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..runtime.named import named_python
from . import obstacles


class preferences_class(bpy.types.AddonPreferences):  # noqa: N801 (its bl_idname is set when registering)
    """Shown in Preferences > Add-ons."""

    bl_idname = ""

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        ready = obstacles.runtime_ready()
        column.label(text=runtime_sentence(), icon="CHECKMARK" if ready else "INFO", translate=False)
        if not bpy.app.online_access:
            text = translated("Online access is off; Preferences > System > Network allows it.")
            column.label(text=text, icon="INTERNET_OFFLINE", translate=False)
        column.operator("csd.install_runtime", text="Install Again" if ready else "Install Runtime", icon="IMPORT")


def runtime_sentence() -> str:
    """The state of the worker's environment; looks at files only, so ``draw`` may call it."""
    if named := named_python():
        return translated("The worker runs in {}.").format(named)
    if folders := obstacles.environments():
        return translated("The texture runtime is installed in {}.").format(folders[0])
    return translated("The texture runtime is not installed yet (PyTorch, diffusers, transformers; about 1 GB).")
