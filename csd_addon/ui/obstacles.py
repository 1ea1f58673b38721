"""Why a job can't start, in one sentence, and the button that removes the obstacle where there is one.

Panels ask at every drawing, so only what is cheap is asked here, and looks at the disk are kept for a moment. What
only a look at the whole mesh can tell is said after a click (``remember``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..core.settings import AUTO_TEACHER
from ..drive.choose_teacher import teacher_of
from ..drive.prepare_job import is_linked
from ..drive.warm_worker import is_fake
from ..runtime.environment.user_python import find_user_python
from ..runtime.errors import TeacherMissing
from ..runtime.paths import Paths, default_base
from ..runtime.teachers import catalogue
from ..scene.base_color import find_shader, linked
from ..scene.material import shared_materials
from . import runtime_page, setting_up

Remedy = Callable[[bpy.types.UILayout], Any]

# Seconds for which an answer that needs the disk is good.
_FRESH = 2.0
_answers: dict[object, tuple[float, Any]] = {}
# The last refusal of a click: what it was about, and the sentence.
_refused: tuple[object, str] | None = None


@dataclass(frozen=True)
class Obstacle:
    """sentence: what is wrong and what to do. remedy: draws the button that does it. final: no use in trying."""

    sentence: str
    remedy: Remedy | None = None
    final: bool = True


def find(context: bpy.types.Context) -> Obstacle | None:
    """The first thing that stands in the way of the scene's mode on the active object, or None."""
    checks = (_object, _runtime, _teacher, _words, _uv_map, _mask, _source, _materials, _output, _last_click)
    return next((found for check in checks if (found := check(context, context.scene.csd))), None)


def find_for_diagnosis(context: bpy.types.Context) -> Obstacle | None:
    """The first thing that stands in the way of a comparison of losses on the active object, or None."""
    checks = (_object, _runtime, _teacher, _new_words, _last_click)
    return next((found for check in checks if (found := check(context, context.scene.csd))), None)


def refuse(operator: bpy.types.Operator, context: bpy.types.Context, error: Exception) -> set[str]:
    """End ``operator`` with its refusal, which stays in sight until something that it may be about has changed."""
    global _refused
    _refused = (_refusal_key(context), str(error))
    operator.report({"ERROR"}, str(error))
    return {"CANCELLED"}


def _object(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    obj = context.object
    if obj is None:
        return Obstacle(translated("Select the mesh that should get a texture."))
    if obj.type != "MESH":
        return Obstacle(translated("'{}' is a {}. Select a mesh.").format(obj.name, obj.type.lower()))
    if is_linked(obj):
        return Obstacle(
            translated("'{}' comes from a linked library, so nothing can be added to it.").format(obj.name),
            lambda layout: _set(layout.operator("object.make_local", icon="LIBRARY_DATA_DIRECT"), type="SELECT_OBDATA"),
        )
    if not obj.data.polygons and not obj.modifiers:
        return Obstacle(translated("'{}' has no faces, so there is no surface to texture.").format(obj.name))
    return None


def _runtime(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    task = setting_up.runner.current
    if task and task.kind != "doctor":
        return Obstacle(
            translated("The runtime is being set up."), lambda layout: runtime_page.draw_progress(layout, task)
        )
    if runtime_ready():
        return None
    if bpy.app.online_access:
        found = runtime_page.find()
        text, values = (marked("Repair"), {"repair": True}) if found else (marked("Install Runtime"), {})
        return Obstacle(
            runtime_page.describe(found, None)[0],
            lambda layout: _set(layout.operator("csd.install_runtime", text=text, icon="IMPORT"), **values),
        )
    if bpy.app.online_access_override:
        return Obstacle(
            translated("The runtime is not installed, and Blender runs in offline mode: start it without.")
        )
    return Obstacle(
        translated(
            "The runtime is not installed, and online access is off. Allow it in the preferences to install it."
        ),
        lambda layout: _set(
            layout.operator("screen.userpref_show", text="Open Preferences", icon="PREFERENCES"), section="SYSTEM"
        ),
    )


def _teacher(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    problem = teacher_problem(teacher_of(settings))
    remedy = _setting("teacher", AUTO_TEACHER, marked("Use the Bundled Teacher"), "FILE_REFRESH")
    return problem and Obstacle(problem, remedy)


def _words(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    if settings.mode == "TEXTURE":
        asked = translated("Write a prompt: what the texture should show, for example 'red brick'.")
        return None if settings.prompt.strip() else Obstacle(asked)
    if not settings.target.strip():
        return Obstacle(
            translated("Write a target: what the texture should show afterwards, for example 'blue brick'.")
        )
    if settings.target.lower().split() == settings.remove.lower().split():
        return Obstacle(translated("Target and Remove say the same, so there is nothing to change."))
    return None


def _new_words(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    if settings.mode == "TEXTURE":
        return _words(context, settings)
    return Obstacle(
        translated("Losses are compared on new textures, which have a prompt, not on an edit."), _new_texture
    )


def _uv_map(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    if settings.mode == "EDIT" or settings.uv_map in ("", *context.object.data.uv_layers.keys()):
        return None
    return Obstacle(
        translated("'{}' has no UV map '{}'.").format(context.object.name, settings.uv_map),
        _setting("uv_map", "", marked("Use the Active UV Map"), "GROUP_UVS"),
    )


def _mask(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    obj, kind, name = context.object, settings.mask_kind, settings.mask_name
    names = {
        "GROUP": (marked("vertex group"), obj.vertex_groups.keys()), "IMAGE": (marked("image"), bpy.data.images.keys()),
        "MATERIAL": (marked("material"), [slot.material.name for slot in obj.material_slots if slot.material]),
    }  # fmt: skip
    if settings.mode == "TEXTURE" or kind not in names or name in names[kind][1]:
        return None
    if kind == "IMAGE" and ("/" in name or "\\" in name):
        # A file, which the edit looks for.
        return None
    what, everywhere = translated(names[kind][0]), _setting("mask", "", marked("Edit Everywhere"), "WORLD")
    if not name:
        return Obstacle(translated("Choose the {} that is the mask.").format(what), everywhere)
    return Obstacle(translated("'{}' has no {} '{}' for the mask.").format(obj.name, what, name), everywhere)


def _source(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    if settings.mode == "TEXTURE" or has_base_color(context.object):
        return None
    return Obstacle(
        translated("'{}' has no texture to edit yet: its base colour is plain.").format(context.object.name),
        _new_texture,
    )


def _materials(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    shared = [] if settings.copy_shared else _cached(("shared", context.object.session_uid), _shared, context.object)
    if not shared:
        return None
    return Obstacle(
        translated("The material '{}' is used by other objects too. May '{}' get its own copy?").format(
            shared[0], context.object.name
        ),
        lambda layout: layout.prop(
            context.scene.csd, "copy_shared", text="Give It Its Own Copy", toggle=True, icon="DUPLICATE"
        ),
    )


def _output(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    if settings.output == "PACK" or bpy.data.filepath:
        return None
    return Obstacle(
        translated("The image is to lie beside the file, but the file is not saved yet."),
        lambda layout: layout.operator("wm.save_mainfile", text="Save File", icon="FILE_TICK"),
    )


def _last_click(context: bpy.types.Context, settings: bpy.types.PropertyGroup) -> Obstacle | None:
    if _refused is None or _refused[0] != _refusal_key(context):
        return None
    return Obstacle(_refused[1], final=False)


def runtime_ready() -> bool:
    """Whether there is a worker's environment, or one that the user names. Looks at files only."""
    return _cached("runtime", lambda: is_fake() or bool(find_user_python()) or _is_installed())


def _is_installed() -> bool:
    found = runtime_page.find()
    return found is not None and found.state == "ready"


def teacher_problem(name: str) -> str:
    """Why the teacher can't be used, empty if it can."""
    return _cached(("teacher", name), _look_for_teacher, name)[1]


def teacher_folder(name: str) -> Path | None:
    """Where the teacher lies that a job would use, None if there is none that can be used."""
    return _cached(("teacher", name), _look_for_teacher, name)[0]


def has_base_color(obj: bpy.types.Object) -> bool:
    """Whether something feeds the base colour of ``obj``, so that there is a texture to edit."""
    material = obj.active_material or next((slot.material for slot in obj.material_slots if slot.material), None)
    shader = find_shader(material) if material else None
    # Behind a Mix Shader there is no one base colour to look at; the edit bakes it.
    return bool(material) and (shader is None or linked(shader.node.inputs["Base Color"]) is not None)


def _look_for_teacher(name: str) -> tuple[Path | None, str]:
    try:
        return catalogue.find_teacher(name, Paths(default_base())).root, ""
    except TeacherMissing as error:
        return None, str(error)


def _shared(obj: bpy.types.Object) -> list[str]:
    return [material.name for material in shared_materials(obj)]


def _cached(key: object, answer: Callable[..., Any], *arguments: object) -> Any:
    """``answer(*arguments)``, asked again only when the last answer is no longer fresh."""
    now = time.monotonic()
    if key not in _answers or now - _answers[key][0] > _FRESH:
        _answers[key] = (now, answer(*arguments))
    return _answers[key][1]


def _refusal_key(context: bpy.types.Context) -> object:
    """What a refusal may be about: another value means that it may be over."""
    obj, settings = context.object, context.scene.csd
    mesh = obj.data if obj and obj.type == "MESH" else None
    counts = (len(mesh.vertices), len(mesh.polygons), tuple(mesh.uv_layers.keys())) if mesh else ()
    names = ("mode", "prompt", "target", "mask", "uv_map", "images", "teacher")
    words = tuple(str(getattr(settings, name)) for name in names)
    return obj and obj.session_uid, counts, tuple(m.type for m in obj.modifiers) if obj else (), words


def _setting(name: str, value: str, text: str, icon: str) -> Remedy:
    """A button that gives the scene's setting ``name`` another value."""
    return lambda layout: _set(
        layout.operator("wm.context_set_string", text=text, icon=icon), data_path=f"scene.csd.{name}", value=value
    )


def _new_texture(layout: bpy.types.UILayout) -> None:
    """A button that makes a new texture what the panel asks for."""
    _set(
        layout.operator("wm.context_set_enum", text="Make a New Texture", icon="TEXTURE"),
        data_path="scene.csd.mode", value="TEXTURE",
    )  # fmt: skip


def _set(operator: bpy.types.OperatorProperties, **values: object) -> None:
    for name, value in values.items():
        setattr(operator, name, value)
