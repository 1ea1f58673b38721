"""The N-panel tab "CSD". Draws what is already known; computes nothing."""

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..drive.choose_teacher import teacher_of
from ..runtime.teachers import catalogue
from ..scene.base_color import find_shader, follow
from ..scene.compare import shows_before
from ..scene.material import carries_texture, is_edited
from . import obstacles, presets
from .progress import draw_queue, draw_running, draw_sentence, status_text
from .session import session


class CSD_PT_main(bpy.types.Panel):
    """Words, settings and one tall button; while a job runs, its progress and how to end it."""

    bl_idname = "CSD_PT_main"
    bl_label = "CSD Texture"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "CSD"
    bl_context = "objectmode"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        presets.CSD_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings, running = self.layout, context.scene.csd, session.is_running
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.enabled = not running
        _draw_mode(column, settings)
        (_draw_texture if settings.mode == "TEXTURE" else _draw_edit)(column, context)
        _draw_teacher(column, settings)
        if running:
            draw_running(layout, session.job.state)
        else:
            _draw_start(layout, context)
        draw_queue(layout)
        if not running:
            _draw_last(layout, context)
            _draw_result(layout, context.object)


def _draw_mode(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    row = layout.row(align=True)
    row.use_property_split = False
    row.scale_y = 1.2
    row.prop(settings, "mode", expand=True)


def _draw_texture(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings = context.scene.csd
    layout.prop(settings, "prompt", placeholder="red brick")
    layout.prop(settings, "negative")
    layout.separator(factor=0.5)
    layout.prop(settings, "preset")
    _draw_seed(layout, settings)
    layout.prop(settings, "size")
    if context.object and context.object.type == "MESH":
        layout.prop_search(settings, "uv_map", context.object.data, "uv_layers", icon="GROUP_UVS")


def _draw_edit(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    settings, obj = context.scene.csd, context.object
    _draw_source(layout, obj)
    layout.prop(settings, "target", placeholder="blue brick")
    layout.prop(settings, "remove", placeholder="red brick")
    layout.separator(factor=0.5)
    layout.prop(settings, "strength", slider=True)
    layout.prop(settings, "keep")
    layout.prop(settings, "mask_kind")
    if obj and obj.type == "MESH":
        _draw_mask_name(layout, settings, obj)
    layout.prop(settings, "preset")
    _draw_seed(layout, settings)


def _draw_source(layout: bpy.types.UILayout, obj: bpy.types.Object | None) -> None:
    """The picture of the texture that the edit starts from."""
    image = shown_image(obj) if obj and obj.type == "MESH" else None
    if image:
        box = layout.box().column(align=True)
        box.template_icon(icon_value=bpy.types.UILayout.icon(image), scale=5.0)
        row = box.row()
        row.alignment = "CENTER"
        row.label(text=image.name, translate=False)


def _draw_mask_name(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, obj: bpy.types.Object) -> None:
    search = {
        "GROUP": (obj, "vertex_groups", marked("Group"), "GROUP_VERTEX"),
        "MATERIAL": (obj.data, "materials", marked("Material"), "MATERIAL"),
        "IMAGE": (bpy.data, "images", marked("Image"), "IMAGE_DATA"),
    }
    if settings.mask_kind in search:
        data, collection, text, icon = search[settings.mask_kind]
        layout.prop_search(settings, "mask_name", data, collection, text=text, icon=icon)
    elif settings.mask_kind == "NAME":
        layout.prop(settings, "mask_name")


def _draw_seed(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    row = layout.row(align=True)
    row.prop(settings, "seed")
    row.operator("csd.new_seed", text="", icon="FILE_REFRESH")


def _draw_teacher(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    layout.separator(factor=0.5)
    name = teacher_of(settings)
    ready = not obstacles.teacher_problem(name)
    layout.prop(settings, "teacher", icon="CHECKMARK" if ready else "ERROR")
    if name != settings.teacher:
        aside = layout.row()
        aside.alignment, aside.active = "RIGHT", False
        aside.label(text=translated("For these words: {}").format(name), translate=False)
    if name not in catalogue.BUNDLED:
        layout.prop(settings, "lora", placeholder="style.safetensors:0.8")
    layout.prop(settings, "device")


def _draw_start(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What stands in the way and its remedy, then the tall button."""
    obstacle = obstacles.find(context)
    if obstacle:
        box = layout.box().column()
        box.use_property_split = False
        draw_sentence(box, context, obstacle.sentence, "INFO" if obstacle.final else "ERROR")
        if obstacle.remedy:
            obstacle.remedy(box)
    column = layout.column()
    column.scale_y = 1.8
    column.enabled = obstacle is None or not obstacle.final
    meshes = sum(obj.type == "MESH" for obj in context.selected_objects)
    texture = context.scene.csd.mode == "TEXTURE"
    text = translated("Texture") if texture else translated("Edit")
    if meshes > 1 and context.object.select_get():
        text = (translated("Texture {} Objects") if texture else translated("Edit {} Objects")).format(meshes)
    column.operator("csd.texture" if texture else "csd.edit", text=text, icon="TEXTURE" if texture else "GREASEPENCIL")


def _draw_last(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """How the last jobs ended."""
    told = [item for item in session.items if item.sentence or item.notes]
    if not told:
        return
    box = layout.box()
    row = box.row()
    title = f"{told[0].key.name}: {status_text(told[0].status)}" if len(told) == 1 else translated("Last Run")
    row.label(text=title, translate=False)
    row.operator("csd.dismiss", text="", icon="X", emboss=False)
    for item in told:
        start = f"{item.key.name}: " if len(told) > 1 else ""
        if item.sentence:
            icon = "ERROR" if item.status == "failed" else "INFO"
            draw_sentence(box, context, item.sentence, icon, start=start)
        for note in item.notes:
            draw_sentence(box, context, note, "INFO", start=start)
    if any(item.status in ("failed", "cancelled") for item in told):
        row = box.row(align=True)
        if session.can_resume:
            row.operator("csd.resume", icon="PLAY")
        row.operator("csd.copy_log", icon="COPYDOWN")


def _draw_result(layout: bpy.types.UILayout, obj: bpy.types.Object | None) -> None:
    """What can be done with the texture that is there."""
    if obj is None or not carries_texture(obj):
        return
    column = layout.column(align=True)
    column.operator("csd.compare", icon="ARROW_LEFTRIGHT", depress=shows_before(obj))
    row = column.row(align=True)
    if is_edited(obj):
        row.operator("csd.undo_edit", icon="LOOP_BACK")
    row.operator("csd.revert", icon="TRASH")


def shown_image(obj: bpy.types.Object) -> bpy.types.Image | None:
    """The image that feeds the base colour of the active material, if one does."""
    material = obj.active_material
    shader = find_shader(material) if material else None
    source = follow(shader.node.inputs["Base Color"], shader.groups)[0] if shader else None
    return getattr(source.node, "image", None) if source else None
