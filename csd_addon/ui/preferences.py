"""The add-on's preferences: the runtime, the teachers, the folders, and the doctor."""

from collections.abc import Callable
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..runtime import choices
from ..runtime.paths import Paths, default_base
from . import runtime_page, teachers_page
from .progress import draw_sentence

# Why the folder that was given last could not be kept; empty when it was. Blender only prints what a setter raises.
_trouble = ""


def _folder(name: str, label: str, description: str) -> object:
    """A folder that is kept in the file of choices, which the command line reads too."""

    def get(self: bpy.types.AddonPreferences) -> str:
        return getattr(choices.read(default_base()), name)

    def put(self: bpy.types.AddonPreferences, value: str) -> None:
        _keep(name, value)

    return bpy.props.StringProperty(name=label, description=description, subtype="DIR_PATH", get=get, set=put)


def _keep(name: str, typed: str) -> None:
    """Keep the folder as an absolute one: the installer and the worker stand in other folders than Blender."""
    global _trouble
    try:
        folder = str(Path(bpy.path.abspath(typed)).expanduser().absolute()) if typed.strip() else ""
        choices.change(default_base(), **{name: folder})
        _trouble = ""
    except (OSError, RuntimeError) as error:
        _trouble = translated("The folder could not be kept ({}): choose another.").format(error)


class preferences_class(bpy.types.AddonPreferences):  # noqa: N801 (its bl_idname is set when registering)
    """Shown in Preferences > Add-ons."""

    bl_idname = ""

    runtime: _folder("runtime", "Runtime", "Where the runtime is installed; empty for the default folder")
    teachers: _folder("teachers", "Teachers", "Where teachers are downloaded to; empty for the default folder")

    def draw(self, context: bpy.types.Context) -> None:
        draw_page(self.layout, "csd_runtime", marked("Runtime"), lambda body: runtime_page.draw_runtime(body, context))
        draw_page(self.layout, "csd_teachers", marked("Teachers"), lambda body: teachers_page.draw(body, context))
        draw_page(self.layout, "csd_folders", marked("Folders"), lambda body: _draw_folders(body, context, self))
        draw_page(self.layout, "csd_doctor", marked("Doctor"), lambda body: runtime_page.draw_doctor(body, context))


def draw_page(
    layout: bpy.types.UILayout, identifier: str, title: str, draw: Callable[[bpy.types.UILayout], None]
) -> None:
    """A part of the page that folds."""
    header, body = layout.panel(identifier)
    header.label(text=title)
    if body:
        draw(body)


def _draw_folders(
    layout: bpy.types.UILayout, context: bpy.types.Context, kept: bpy.types.AddonPreferences
) -> None:
    paths = Paths(default_base())
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    column.prop(kept, "runtime", placeholder=str(paths.base))
    column.prop(kept, "teachers", placeholder=str(paths.base / "teachers"))
    if _trouble:
        draw_sentence(column, context, _trouble, "ERROR")
    row = column.row()
    row.label(text=str(paths.jobs), icon="FILE_FOLDER", translate=False)
    row.operator("wm.path_open", text="Open the Jobs' Folder").filepath = str(paths.jobs)
