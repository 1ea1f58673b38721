"""The operators on a texture that is there: look at what was before it, step back, remove it; and the dice."""

import random

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..scene.compare import show_after, show_before, shows_before
from ..scene.material import carries_texture, revert, undo_edit
from .session import session


class _OnTexture:
    """For operators on the active object's texture; not while its preview lies above it."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.is_running:
            cls.poll_message_set("A texture is growing: stop or cancel it first")
            return False
        if context.object is None or not carries_texture(context.object):
            cls.poll_message_set("The active object carries no texture of CSD Texture")
            return False
        return True


class CSD_OT_new_seed(bpy.types.Operator):
    """Roll the dice: another seed gives another variation"""

    bl_idname = "csd.new_seed"
    bl_label = "New Seed"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.csd.seed = random.randrange(2**31)
        return {"FINISHED"}


class CSD_OT_compare(_OnTexture, bpy.types.Operator):
    """Show what was there before the texture, or before its last edit; and back again. Nothing is lost"""

    bl_idname = "csd.compare"
    bl_label = "Before / After"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        (show_after if shows_before(context.object) else show_before)(context.object)
        return {"FINISHED"}


class CSD_OT_undo_edit(_OnTexture, bpy.types.Operator):
    """Show the texture again that was there before the last edit"""

    bl_idname = "csd.undo_edit"
    bl_label = "Back to Source"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        name = undo_edit(context.object)
        shown = f"'{name}'" if name else translated("no image")
        self.report({"INFO"}, translated("'{}' shows {} again.").format(context.object.name, shown))
        return {"FINISHED"}


class CSD_OT_revert(_OnTexture, bpy.types.Operator):
    """Remove the texture and put the material back as it was"""

    bl_idname = "csd.revert"
    bl_label = "Revert"
    # Blender's own Revert is another word in other languages: it loads a file again.
    bl_translation_context = "CSD Texture"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        count = revert(context.object)
        self.report({"INFO"}, translated("Materials of '{}' put back: {}.").format(context.object.name, count))
        return {"FINISHED"}
