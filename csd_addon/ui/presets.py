"""The settings in Blender's own preset menu, in the header of the panel.

A preset holds what the artist chooses for every object alike; the words stay as they are typed.
"""

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from .properties import NAMES

_FOLDER = "csd_texture"
# They belong to one object or one prompt.
PERSONAL = {"prompt", "target", "remove", "uv_map", "mask", "seed", "front"}


class CSD_PT_presets(PresetPanel, bpy.types.Panel):
    """The list of presets, with a field to add one."""

    bl_label = "CSD Texture Presets"
    preset_subdir = _FOLDER
    preset_operator = "script.execute_preset"
    preset_add_operator = "csd.add_preset"


class CSD_OT_add_preset(AddPresetBase, bpy.types.Operator):
    """Add the settings as a preset, or remove a preset"""

    bl_idname = "csd.add_preset"
    bl_label = "Add CSD Texture Preset"
    preset_menu = "CSD_PT_presets"
    preset_subdir = _FOLDER
    preset_defines = ["settings = bpy.context.scene.csd"]
    preset_values = [f"settings.{name}" for name in (*NAMES, "guidance", "output") if name not in PERSONAL]


CLASSES = (CSD_PT_presets, CSD_OT_add_preset)
