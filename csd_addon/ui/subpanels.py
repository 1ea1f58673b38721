"""The sub-panels of the tab, closed until they are needed: views, guidance, output."""

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..core.recipe import METHOD_NAMES
from ..drive.choose_teacher import shown_settings
from .guidance import SLIDERS, is_pair, mover_of
from .session import session


class SubPanel:
    """Where every sub-panel of the tab has its place."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "CSD"
    bl_context = "objectmode"
    bl_parent_id = "CSD_PT_main"
    bl_options = {"DEFAULT_CLOSED"}


class _Settings(SubPanel):
    """A sub-panel whose settings rest while a job runs."""

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.enabled = not session.is_running
        self.draw_settings(layout, context.scene.csd)


class CSD_PT_views(_Settings, bpy.types.Panel):
    """From where the teacher looks at the object."""

    bl_idname = "CSD_PT_views"
    bl_label = "Views"

    def draw_settings(self, layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
        layout.prop(settings, "front")
        layout.prop(settings.guidance, "undersides")
        layout.prop(settings.guidance, "own_views")
        column = layout.column()
        column.active = settings.guidance.own_views
        pair = column.column(align=True)
        pair.prop(settings.guidance, "elevation", index=0, text="Elevation From")
        pair.prop(settings.guidance, "elevation", index=1, text="To")
        column.prop(settings.guidance, "close_up_share", slider=True)
        column.prop(settings.guidance, "view_words")


class CSD_PT_guidance(_Settings, bpy.types.Panel):
    """How the teacher guides the texture."""

    bl_idname = "CSD_PT_guidance"
    bl_label = "Guidance"

    def draw_settings(self, layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
        layout.prop(settings, "method_menu")
        mover = mover_of(shown_settings(settings))
        if settings.method_menu == "AUTO":
            aside = layout.row()
            aside.alignment, aside.active = "RIGHT", False
            name = translated(METHOD_NAMES[mover])
            aside.label(text=translated("For these settings: {}").format(name), translate=False)
        layout.prop(settings, "iterations")
        layout.prop(settings.guidance, "own_guidance")
        column = layout.column()
        column.active = settings.guidance.own_guidance
        for name in SLIDERS[mover]:
            if is_pair(name):
                _draw_pair(column, settings.guidance, name)
            else:
                column.prop(settings.guidance, name)


class CSD_PT_output(_Settings, bpy.types.Panel):
    """What the finished image is like, and where it goes."""

    bl_idname = "CSD_PT_output"
    bl_label = "Output"

    def draw_settings(self, layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
        layout.prop(settings, "output")
        layout.prop(settings, "depth")
        layout.prop(settings, "margin")
        if settings.mode == "TEXTURE":
            layout.prop(settings, "overlaps")
            layout.prop(settings, "unwrap")
            layout.prop(settings, "images")
            layout.prop(settings, "unseen_map")
        layout.prop(settings, "copy_shared")


def _draw_pair(layout: bpy.types.UILayout, group: bpy.types.PropertyGroup, name: str) -> None:
    """The value at the start of the run above the one at its end."""
    column = layout.column(align=True)
    column.prop(group, name, index=0, text=group.bl_rna.properties[name].name)
    column.prop(group, name, index=1, text="At the End")
