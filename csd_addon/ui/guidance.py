"""Numbers of the method that an artist may set by hand; off, they are the preset's and the teacher's own.

A pair is a value at the start and one at the end of the run. Ticking *Own Values* changes no number: a slider that was
not moved stands for the very schedule that it was filled from, and a moved one keeps that schedule's times.
"""

import json
from array import array
from typing import Any

import bpy
from bpy.props import BoolProperty, FloatProperty, FloatVectorProperty, StringProperty

from ..core.recipe import KINDS, Recipe, at
from ..core.resolving import method, resolve
from ..core.settings import JobSettings
from ..drive.choose_teacher import preferences_of, shown_settings, with_chosen_teacher

# The sliders of each mover.
SLIDERS = {
    "distill": ("w1", "w2", "kappa", "t_min", "t_max"), "sample": ("guidance", "negative_weight", "noise_level"),
}  # fmt: skip
_GUIDANCE = (*SLIDERS["distill"], *SLIDERS["sample"])
_VIEWS = ("elevation", "close_up_share", "view_words")


def _fill_guidance(group: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Begin with the numbers that would be used anyway, for both movers."""
    if not group.own_guidance or not _can_resolve(context.scene):
        return
    numbers = {}
    for mover, names in SLIDERS.items():
        found = recipe_of(context.scene, mover).mover
        numbers |= {name: getattr(found, name) for name in names if hasattr(found, name)}
    group.filled = json.dumps(numbers)
    for name, value in numbers.items():
        setattr(group, name, _shown(name, value))


def _fill_views(group: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    if not group.own_views or not _can_resolve(context.scene):
        return
    views = recipe_of(context.scene).views
    for name in _VIEWS:
        setattr(group, name, getattr(views, name))


def _can_resolve(scene: bpy.types.Scene) -> bool:
    """Whether the scene's settings and the teacher's own make a recipe; if not, the run itself says why."""
    try:
        recipe_of(scene)
    except ValueError:
        return False
    return True


class CSD_PG_guidance(bpy.types.PropertyGroup):
    """``scene.csd.guidance``: names and meanings are those of ``core.recipe``."""

    own_guidance: BoolProperty(
        name="Own Values", description="Use the numbers below instead of the preset's and the teacher's own",
        update=_fill_guidance,
    )
    # What the sliders were filled from, as JSON.
    filled: StringProperty(options={"HIDDEN"})
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
        name="Least Noise", default=0.02, min=0, max=1, precision=3,
        description="Lower end of the noise levels that are drawn, at the end of the run; small ones work on detail",
    )
    t_max: FloatVectorProperty(
        name="Most Noise", size=2, default=(0.8, 0.5), min=0, max=1, precision=3,
        description="Upper end of the noise levels, at the start and at the end of the run; large ones work on shapes",
    )
    guidance: FloatProperty(
        name="Guidance", default=5.0, min=0, soft_max=10, max=100,
        description="How strictly the texture follows the prompt; 1 is the most natural, more is more typical",
    )
    negative_weight: FloatVectorProperty(
        name="Negative Weight", size=2, default=(1.0, 1.0), min=0, soft_max=4,
        description="How hard the negative prompt (or Remove) pushes away, at the start and at the end of the run",
    )
    noise_level: FloatVectorProperty(
        name="Noise Level", size=2, default=(0.98, 0.02), min=0, max=1, precision=3,
        description="Where sampling begins and where it ends; it has to fall",
    )
    own_views: BoolProperty(
        name="Own Values", description="Use the views below instead of the preset's and the teacher's own",
        update=_fill_views,
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
    """Whether the number ``name`` is shown as its first and its last value."""
    return name in ("w2", "kappa", "t_max", "negative_weight", "noise_level")


def expert(group: bpy.types.PropertyGroup, settings: JobSettings) -> dict[str, Any]:
    """What ``JobSettings.expert`` gets from ``scene.csd.guidance`` for a run with ``settings``."""
    values: dict[str, Any] = {}
    if group.own_guidance:
        filled = json.loads(group.filled or "{}")
        values |= {name: _meant(group, name, filled.get(name)) for name in SLIDERS[mover_of(settings)]}
    if group.own_views:
        values |= {"elevation": sorted(group.elevation), "close_up_share": group.close_up_share}
        values |= {"view_words": group.view_words}
    return values if group.undersides else values | {"undersides": False}


def recall(group: bpy.types.PropertyGroup, settings: JobSettings) -> set[str]:
    """The inverse of ``expert``: show the values of a run with ``settings``.

    Returns the names that the panel has no place for, or that another run of these settings does not take.
    """
    values = settings.expert
    group.own_guidance = any(name in values for name in _GUIDANCE)
    group.own_views = any(name in values for name in _VIEWS)
    group.undersides = values.get("undersides", True)
    filled = json.loads(group.filled or "{}")
    for name in (*_GUIDANCE, *_VIEWS):
        if name in values:
            filled[name] = values[name]
            setattr(group, name, _shown(name, values[name]) if name in _GUIDANCE else values[name])
    group.filled = json.dumps(filled)
    return set(values) - {*SLIDERS[mover_of(settings)], *_VIEWS, "undersides"}


def _shown(name: str, value: Any) -> Any:
    """What the sliders show of a number: a schedule's first and last value, or only its last."""
    if KINDS[name] != "Schedule":
        return value
    schedule = tuple(value) if isinstance(value, (list, tuple)) else (0.0, value, value, 0.0)
    return (at(schedule, 0.0), at(schedule, 1.0)) if is_pair(name) else at(schedule, 1.0)


def _meant(group: bpy.types.PropertyGroup, name: str, filled: Any) -> Any:
    """The number behind the sliders: what they were filled from, as long as none was moved."""
    now = getattr(group, name)
    sliders = list(now) if is_pair(name) else [now]
    if filled is not None:
        shown = _shown(name, filled)
        # Blender's sliders hold 32 bits.
        if sliders == list(array("f", shown if is_pair(name) else [shown])):
            return filled
    values = [round(value, 6) for value in sliders]
    if not isinstance(filled, list) or filled[1] == filled[2]:
        # It was constant: a pair becomes a straight line over the whole run.
        return [0.0, *values, 1.0] if is_pair(name) else values[0]
    return [filled[0], *(values if is_pair(name) else [filled[1], values[0]]), filled[3]]


def recipe_of(scene: bpy.types.Scene, mover: str = "") -> Recipe:
    """The numbers that a run with the scene's settings has by itself.

    mover: of the run instead of the scene's, where that can be: an edit that keeps its pattern is always distilled.
    """
    settings = shown_settings(scene.csd)
    preferences = preferences_of(settings.teacher)
    if mover:
        try:
            return resolve(shown_settings(scene.csd, method=mover), preferences)
        except ValueError:
            # The scene's words and settings exclude this mover.
            pass
    return resolve(settings, preferences)


def mover_of(settings: JobSettings) -> str:
    """The mover of a run with ``settings``: "distill" or "sample"."""
    try:
        return method(settings, preferences_of(with_chosen_teacher(settings).teacher))
    except ValueError:
        # Settings that exclude each other; the run itself will say so.
        return "distill"
