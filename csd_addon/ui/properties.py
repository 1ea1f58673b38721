"""The settings as Blender properties, on the scene and as optional arguments of the operators.

Names, defaults and ranges are those of ``core.settings.JobSettings``. This module does not postpone annotations,
because Blender reads them when a class is registered.
"""

from dataclasses import fields, replace
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from ..core.recipe import PRESETS
from ..core.settings import (
    CHOICES_OF_METHOD,
    DEPTHS,
    DEVICES,
    FRONTS,
    IMAGES,
    ITERATION_RANGE,
    KEEPS,
    LOSSES,
    MARGIN_RANGE,
    OVERLAPS,
    SIZE_RANGE,
    STRENGTH_RANGE,
    UNWRAPS,
    JobSettings,
)
from .guidance import CSD_PG_guidance, expert

_DEFAULT = {f.name: f.default for f in fields(JobSettings)}

_PRESET_TIPS = {
    "draft": "Fewest steps: a first look",
    "balanced": "The default: all sides, undersides and close-ups",
    "paper": "The published method's numbers: no restoring force, most steps",
}
_METHOD_TIPS = {
    "auto": "As the teacher and the preset prefer",
    "distill": "Score distillation, as in the paper: an optimiser follows the teacher's score at random noise levels",
    "sample": "Steps of sampling over noise that is anchored to the surface",
}
_METHOD_NAMES = {"auto": "Automatic", "distill": "Distillation", "sample": "Sampling"}
# identifier, name, tooltip, number, and the settings behind it: the two choices of method and loss as one menu.
_METHODS = (
    ("AUTO", "Automatic", _METHOD_TIPS["auto"], 0, ("auto", "csd")),
    ("SAMPLE", "Sampling", _METHOD_TIPS["sample"], 1, ("sample", "csd")),
    (
        "CSD", "Distillation (CSD)", "Classifier Score Distillation, as in the paper: only what tells the prompt from "
        "no prompt moves the texture", 2, ("distill", "csd"),
    ),
    (
        "SDS", "Distillation (SDS)", "Score Distillation Sampling: the older method, for comparison", 3,
        ("distill", "sds"),
    ),
)  # fmt: skip
_LOSS_TIPS = {
    "csd": "Classifier Score Distillation: only what tells the prompt from no prompt",
    "sds": "Score Distillation Sampling: the older method, for comparison",
}
_KEEP_TIPS = {
    "auto": "A word in both prompts that is no colour stays: red brick to blue brick keeps the bricks",
    "pattern": "Keep the pattern where it is and change its colours",
    "nothing": "Replace the texture by the target",
}
_FRONT_NAMES = {
    "front": "Front View (-Y)", "right": "Right View (X)", "back": "Back View (Y)", "left": "Left View (-X)",
}  # fmt: skip
_DEPTH_NAMES = {"auto": "Auto", "8": "8 Bit", "16": "16 Bit"}
_DEPTH_TIPS = {
    "auto": "An edit keeps the depth of the image it starts from; a new texture has 8 bits",
    "8": "Smallest files",
    "16": "No banding in smooth gradients, and room for later corrections",
}

_OVERLAP_NAMES = {"first": "First Face", "average": "Average", "new": "New UV Map"}
_OVERLAP_TIPS = {
    "first": "The first face that shows a texel gives it its colour",
    "average": "A texel gets the mean of all faces that show it",
    "new": "The object gets a new UV map in which no faces overlap; its own stays as it is",
}

_UNWRAP_NAMES = {"smart": "Smart UV Project", "xatlas": "xatlas"}
_UNWRAP_TIPS = {
    "smart": "Blender's own, in less than a second",
    "xatlas": "Less stretch and fewer islands; takes seconds to minutes, and Blender's own stands in if it fails",
}
_IMAGES_NAMES = {"one": "One for All", "material": "One per Material"}
_IMAGES_TIPS = {
    "one": "All materials of the object show one image",
    "material": "Each material of the object gets an image of its own, so their UVs may lie on each other",
}


def _items(names: tuple[str, ...], tips: dict[str, str]) -> list[tuple[str, str, str]]:
    short = ("cpu", "cuda", "mps", "csd", "sds")
    return [(name, name.upper() if name in short else name.title(), tips.get(name, "")) for name in names]


class SettingsMixin:
    """One property for each setting that the panel and the operators share."""

    prompt: StringProperty(
        name="Prompt", default=_DEFAULT["prompt"], description="What the texture should show, for example 'red brick'"
    )
    negative: StringProperty(
        name="Negative", default=_DEFAULT["negative"],
        description="What it should not show; empty for the teacher's own choice",
    )
    target: StringProperty(
        name="Target", default=_DEFAULT["target"],
        description="What the texture should show after the edit, for example 'blue brick'",
    )
    remove: StringProperty(
        name="Remove", default=_DEFAULT["remove"],
        description="What it shows now and should lose, for example 'red brick'",
    )
    strength: FloatProperty(
        name="Strength", default=_DEFAULT["strength"], min=STRENGTH_RANGE[0], max=STRENGTH_RANGE[1], subtype="FACTOR",
        description="0 changes nothing, 1 goes all the way to the target",
    )
    mask: StringProperty(
        name="Mask", default=_DEFAULT["mask"],
        description="Where the edit may change something: faces (the selected ones), a vertex group, a material or a "
        "painted image; empty for everywhere",
    )
    keep: EnumProperty(
        name="Keep", default=_DEFAULT["keep"], items=_items(KEEPS, _KEEP_TIPS),
        description="Whether the edit keeps the pattern that is there",
    )
    preset: EnumProperty(
        name="Preset", default=_DEFAULT["preset"], items=_items(tuple(PRESETS), _PRESET_TIPS),
        description="How much work goes into the texture",
    )
    teacher: StringProperty(
        name="Teacher", default=_DEFAULT["teacher"],
        description="The image model that guides the texture: auto (the bundled one that knows the words), "
        "mini or broad (bundled: few words or many), sd15, or a folder in diffusers layout",
    )
    lora: StringProperty(
        name="LoRA", default=_DEFAULT["lora"],
        description="A .safetensors file that is merged into the teacher, and after a colon its weight: "
        "style.safetensors:0.8",
    )
    device: EnumProperty(
        name="Device", default=_DEFAULT["device"], items=_items(DEVICES, {}), description="What the worker computes on"
    )
    iterations: IntProperty(
        name="Iterations", default=_DEFAULT["iterations"], min=ITERATION_RANGE[0], max=ITERATION_RANGE[1],
        description="Optimisation steps; 0 for the preset's own number",
    )
    size: IntProperty(
        name="Texture Size", default=_DEFAULT["size"], min=SIZE_RANGE[0], max=SIZE_RANGE[1], subtype="PIXEL",
        description="Width and height of the image",
    )
    depth: EnumProperty(
        name="Depth", default=_DEFAULT["depth"], items=[(n, _DEPTH_NAMES[n], _DEPTH_TIPS[n]) for n in DEPTHS],
        description="Bits of each colour channel of the image",
    )  # fmt: skip
    margin: IntProperty(
        name="Margin", default=_DEFAULT["margin"], min=MARGIN_RANGE[0], max=MARGIN_RANGE[1], subtype="PIXEL",
        description="Width of the border around each UV island; 0 for as much as the image's size asks for",
    )
    overlaps: EnumProperty(
        name="Overlaps", default=_DEFAULT["overlaps"],
        items=[(n, _OVERLAP_NAMES[n], _OVERLAP_TIPS[n]) for n in OVERLAPS],
        description="What a new texture does where faces share texels (mirrored or overlapping UVs)",
    )
    unwrap: EnumProperty(
        name="Unwrap", default=_DEFAULT["unwrap"], items=[(n, _UNWRAP_NAMES[n], _UNWRAP_TIPS[n]) for n in UNWRAPS],
        description="What makes the UV map where the object needs a new one",
    )
    images: EnumProperty(
        name="Images", default=_DEFAULT["images"], items=[(n, _IMAGES_NAMES[n], _IMAGES_TIPS[n]) for n in IMAGES],
        description="How many images a new texture of an object of several materials has",
    )
    unseen_map: BoolProperty(
        name="Map of the Unseen", default=_DEFAULT["unseen_map"],
        description="Also write an image that shows in white which texels no view saw and were filled from others",
    )
    seed: IntProperty(
        name="Seed", default=_DEFAULT["seed"], min=0, description="Equal seeds give equal textures on one machine"
    )
    uv_map: StringProperty(
        name="UV Map", default=_DEFAULT["uv_map"],
        description="The UV map to bake into; empty for the one that renders, or a new one if there is none",
    )
    front: EnumProperty(
        name="Front", default=_DEFAULT["front"], items=[(n, _FRONT_NAMES[n], "") for n in FRONTS],
        description="Which of Blender's views shows the object's front, for teachers that know view words",
    )
    method: EnumProperty(
        name="Method", default=_DEFAULT["method"],
        items=[(n, _METHOD_NAMES[n], _METHOD_TIPS[n]) for n in CHOICES_OF_METHOD],
        description="How the texture is moved: by distillation or by sampling",
    )
    loss: EnumProperty(
        name="Loss", default=_DEFAULT["loss"], items=_items(LOSSES, _LOSS_TIPS),
        description="What distillation follows; SDS is always distillation",
    )


NAMES = tuple(SettingsMixin.__annotations__)


# identifier, name, tooltip, icon, number: how the panel says what the text ``mask`` means (``scene.mask``).
MASK_KINDS = (
    ("EVERYWHERE", "Everywhere", "The whole texture may change", "WORLD", 0),
    ("FACES", "Selected Faces", "Only the faces that are selected in Edit Mode may change", "FACESEL", 1),
    ("GROUP", "Vertex Group", "Only where a vertex group has weight, softly", "GROUP_VERTEX", 2),
    ("MATERIAL", "Material Slot", "Only the faces of a material may change", "MATERIAL", 3),
    ("IMAGE", "Painted Image", "Only where an image is white", "TEXTURE", 4),
    ("NAME", "By Name", "A vertex group, an image, a file or a material, whichever has this name", "FONT_DATA", 5),
)
_WORDS = {"EVERYWHERE": "", "FACES": "faces", "GROUP": "group:", "MATERIAL": "material:", "IMAGE": "image:", "NAME": ""}


def mask_kind(mask: str) -> str:
    """Which of ``MASK_KINDS`` the text ``mask`` is."""
    whole = {"": "EVERYWHERE", "faces": "FACES"}
    kinds = (kind for kind in ("GROUP", "MATERIAL", "IMAGE") if mask.startswith(_WORDS[kind]))
    return whole.get(mask) or next(kinds, "NAME")


def _get_kind(group: bpy.types.PropertyGroup) -> int:
    return next(number for name, _, _, _, number in MASK_KINDS if name == mask_kind(group.mask))


def _set_kind(group: bpy.types.PropertyGroup, number: int) -> None:
    kind = MASK_KINDS[number][0]
    # Without any text it would be everywhere.
    group.mask = "?" if kind == "NAME" else _WORDS[kind]


def _get_name(group: bpy.types.PropertyGroup) -> str:
    return group.mask.removeprefix(_WORDS[mask_kind(group.mask)])


def _set_name(group: bpy.types.PropertyGroup, name: str) -> None:
    group.mask = _WORDS[mask_kind(group.mask)] + name


def _get_method(group: bpy.types.PropertyGroup) -> int:
    # A loss of its own is shown as what it is, whatever the method.
    method = "distill" if group.loss != _DEFAULT["loss"] else group.method
    return next(number for *_, number, behind in _METHODS if behind == (method, group.loss))


def _set_method(group: bpy.types.PropertyGroup, number: int) -> None:
    group.method, group.loss = next(behind for *_, found, behind in _METHODS if found == number)


class CSD_PG_settings(SettingsMixin, bpy.types.PropertyGroup):
    """``scene.csd``: the settings, and what only the panel and the add-on need."""

    mode: EnumProperty(
        name="Mode", items=[
            ("TEXTURE", "Texture", "Grow a new texture from a prompt", "TEXTURE", 0),
            ("EDIT", "Edit", "Change the texture that is there by words", "GREASEPENCIL", 1),
        ],
        description="A new texture, or a change of the one that is there",
    )  # fmt: skip
    method_menu: EnumProperty(
        name="Method", items=[item[:4] for item in _METHODS], get=_get_method, set=_set_method,
        description="How the texture grows",
    )
    mask_kind: EnumProperty(
        name="Mask", items=MASK_KINDS, get=_get_kind, set=_set_kind,
        description="Where the edit may change something; outside, every pixel stays as it is",
    )
    mask_name: StringProperty(
        name="Name", get=_get_name, set=_set_name, description="The vertex group, material or image that is the mask"
    )
    output: EnumProperty(
        name="Image", items=[
            ("PACK", "Pack into the File", "The image is kept inside the .blend"),
            ("BESIDE", "Save beside the File", "The image is a file in the folder 'textures' beside the .blend"),
        ],
        description="Where the finished image is kept",
    )  # fmt: skip
    copy_shared: BoolProperty(
        name="Copy If Shared",
        description="Give the object its own copy of a material that other objects use too; they keep theirs",
    )
    diagnosis_steps: IntProperty(
        name="Steps of Each", default=100, min=10, max=ITERATION_RANGE[1],
        description="Optimisation steps of each of the textures that are compared",
    )
    guidance: PointerProperty(type=CSD_PG_guidance)


def read_settings(
    scene: bpy.types.Scene, kind: str, operator: bpy.types.Operator | None = None
) -> JobSettings:
    """The scene's settings for a job of that kind, overridden by the arguments that were given to ``operator``.

    An edit takes size and UV map from its source unless they are given.
    """
    values = {name: getattr(scene.csd, name) for name in NAMES}
    if kind == "edit":
        values.update(size=0, uv_map="")
    if operator is not None:
        given = operator.properties.is_property_set
        values.update({name: getattr(operator, name) for name in NAMES if given(name)})
    if values["lora"].strip():
        # The worker stands in another folder. A weight after a colon stays where it is.
        values["lora"] = str(Path(bpy.path.abspath(values["lora"])).absolute())
    settings = JobSettings(kind=kind, **values)
    return replace(settings, expert=expert(scene.csd.guidance, settings))
