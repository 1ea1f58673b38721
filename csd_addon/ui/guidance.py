"""Numbers of the method that an artist may set by hand; off, they are the preset's and the teacher's own.

A pair is a value at the start and one at the end of the run, with a straight line between them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import bpy
from bpy.props import BoolProperty, FloatProperty, FloatVectorProperty

from ..core.edit import resolve_edit
from ..core.recipe import Recipe, at
from ..core.resolving import resolve
from ..core.settings import JobSettings
from ..drive.choose_teacher import teacher_of
from ..jobs.folder import read_json
from ..runtime.errors import TeacherMissing
from ..runtime.paths import Paths, default_base
from ..runtime.teachers import catalogue

_GUIDANCE = ("w1", "w2", "kappa", "t_min", "t_max")
_VIEWS = ("elevation", "close_up_share", "view_words")
_SCHEDULES = frozenset(name for name in _GUIDANCE)


def _fill(group: bpy.types.PropertyGroup, context: bpy.types.Context, names: tuple[str, ...]) -> None:
    """Begin with the numbers that would be used anyway."""
    recipe = asdict(recipe_of(context.scene))
    for name in names:
        value = recipe[name]
        if name in _SCHEDULES:
            value = (at(value, 0.0), at(value, 1.0)) if is_pair(name) else at(value, 1.0)
        setattr(group, name, value)


class CSD_PG_guidance(bpy.types.PropertyGroup):
    """``scene.csd.guidance``: names and meanings are those of ``core.recipe.Recipe``."""

    own_guidance: BoolProperty(
        name="Own Values", description="Use the numbers below instead of the preset's and the teacher's own",
        update=lambda self, context: _fill(self, context, _GUIDANCE) if self.own_guidance else None,
    )
    w1: FloatProperty(
        name="Prompt Weight", default=1.0, min=0, soft_max=4, description="How hard the prompt (or target) pulls"
    )
    w2: FloatVectorProperty(
        name="Negative Weight", size=2, default=(1.0, 0.5), min=0, soft_max=4,
        description="How hard the negative prompt (or Remove) pushes away, at the start and at the end of the run",
    )
    kappa: FloatVectorProperty(
        name="Restoring Force", size=2, default=(0.05, 0.05), min=0, soft_max=0.5, step=1, precision=3,
        description="Kappa, at the start and at the end of the run. More gives natural colours, much more wipes "
        "patterns out; 0 is the published method",
    )
    t_min: FloatProperty(
        name="Least Noise", default=0.02, min=0, max=1,
        description="Lower end of the noise levels that are drawn; small ones work on detail",
    )
    t_max: FloatVectorProperty(
        name="Most Noise", size=2, default=(0.8, 0.5), min=0, max=1,
        description="Upper end of the noise levels, at the start and at the end of the run; large ones work on shapes",
    )
    own_views: BoolProperty(
        name="Own Values", description="Use the views below instead of the preset's and the teacher's own",
        update=lambda self, context: _fill(self, context, _VIEWS) if self.own_views else None,
    )
    undersides: BoolProperty(
        name="Undersides", default=True,
        description="Look from below the horizon too; off for what stands on the ground: no view is wasted there",
    )
    elevation: FloatVectorProperty(
        name="Elevation", size=2, default=(-45, 75), min=-89, max=89, precision=0,
        description="Lowest and highest view in degrees above the horizon; a low one sees the underside",
    )
    close_up_share: FloatProperty(
        name="Close-Ups", default=0.2, min=0, max=1, subtype="FACTOR",
        description="Share of the views that look at a part from near by, for detail",
    )
    view_words: BoolProperty(
        name="View Words", default=True,
        description="Tell the teacher where a view looks from: front view, side view, back view",
    )


def is_pair(name: str) -> bool:
    """Whether the schedule ``name`` is shown as its first and its last value."""
    return name in ("w2", "kappa", "t_max")


def expert(group: bpy.types.PropertyGroup) -> dict[str, Any]:
    """What ``JobSettings.expert`` gets from ``scene.csd.guidance``."""
    values: dict[str, Any] = {}
    if group.own_guidance:
        values |= {"w1": group.w1, "t_min": group.t_min}
        values |= {name: [0.0, *(round(v, 6) for v in getattr(group, name)), 1.0] for name in ("w2", "kappa", "t_max")}
    if group.own_views:
        values |= {"elevation": sorted(group.elevation), "close_up_share": group.close_up_share}
        values |= {"view_words": group.view_words}
    return values if group.undersides else values | {"undersides": False}


def recall(group: bpy.types.PropertyGroup, values: Mapping[str, Any]) -> set[str]:
    """The inverse of ``expert``: show ``values`` in the panel; returns the names that it has no place for."""
    group.own_guidance = any(name in values for name in _GUIDANCE)
    group.own_views = any(name in values for name in _VIEWS)
    group.undersides = values.get("undersides", True)
    for name in (*_GUIDANCE, *_VIEWS):
        if name in values:
            setattr(group, name, _ends(name, values[name]) if name in _SCHEDULES else values[name])
    return set(values) - {*_GUIDANCE, *_VIEWS, "undersides"}


def _ends(name: str, value: Any) -> Any:
    """What the panel shows of a schedule as it stands in JSON: four numbers, or one."""
    first, last = value[1:3] if isinstance(value, list) else (value, value)
    return (first, last) if is_pair(name) else last


def recipe_of(scene: bpy.types.Scene) -> Recipe:
    """The numbers that a run with the scene's preset and teacher has by itself; the preset's where there is none."""
    kind = scene.csd.mode.lower()
    words = {name: getattr(scene.csd, name) for name in ("prompt", "target", "remove", "keep", "preset")}
    settings = JobSettings(kind=kind, teacher=teacher_of(scene.csd), **words)
    try:
        root = catalogue.find_teacher(settings.teacher, Paths(default_base())).root
        preferences = read_json(root / "csd.json") if (root / "csd.json").is_file() else {}
    except (TeacherMissing, ValueError):
        preferences = {}
    return (resolve_edit if kind == "edit" else resolve)(settings, preferences)
