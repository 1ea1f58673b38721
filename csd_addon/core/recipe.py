"""The numbers of the method: what a run is made of, and the presets they start from.

A *schedule* is ``(start, from, to, end)``: the value runs linearly from ``from`` to ``to`` between the shares
``start`` and ``end`` of the run (0..1) and is constant outside; ``start == end`` is a step. Angles in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .limits import in_choices, reject_unknown

Schedule = tuple[float, float, float, float]
# A whole number, 0 for none.
Count = int
WEIGHTINGS = ("sigma2", "uniform")


def constant(value: float) -> Schedule:
    """A schedule that never changes."""
    return (0.0, value, value, 0.0)


def at(schedule: Schedule, progress: float) -> float:
    """Value of ``schedule`` at ``progress`` in 0..1 of the run. A step takes its new value at ``start``."""
    start, before, after, end = schedule
    if progress < start:
        return before
    if progress >= end:
        return after
    return before + (after - before) * (progress - start) / (end - start)


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run. Lengths are in unit-ball units, shares in 0..1, resolutions in cells or pixels.

    Guidance (method.md, section 2): w1, w2, kappa, weighting ("sigma2" or "uniform"), t_min and t_max as shares
    of the teacher's steps, sds_weight in the paper's convention, control_depth and control_canny scales; noise_share
    (0..1) of the noise's variance sticks to the surface, in cubes of which noise_cells make the ball's radius;
    with a stride a view's turn moves its image so many times the drop of the noise level to its next turn (0: gradient
    descent).
    Views: whether prompts get view words, and from which azimuth these count; image size, samples per pixel edge,
    views per step, size of the pool, whether cameras go below the horizon, ranges of elevation, field
    of view and fill (share of the image that the unit ball spans), share and fill of close-ups, and how many directions
    these have together (0: each its own).
    Field: levels, log2 of table entries, coarsest and finest resolution, albedo range; of Adam, which a stride does
    without, the learning rates of tables and MLP, a factor on both over the run and the betas.
    Editing: weight of the anchor to the source at strength 1/2 (per squared difference of a pixel's channel), whether
    the score of the source is subtracted (DDS), and the share of
    its start to which the smoothed gradient must fall for the run to end early (0: never). A stride does without the
    first and the last; with it opacity (0..1) is how far the source is painted over.
    The step: pixel_clip, how many times the RMS of its image a pixel's gradient may be (0: no limit); whether the rows
    share the ControlNets' answer to the first of them; whether torch compiles the networks.
    """

    iterations: int = 4000
    w1: Schedule = constant(1.0)
    w2: Schedule = (0.0, 1.0, 0.5, 0.5)
    kappa: Schedule = constant(0.05)
    weighting: str = "sigma2"
    t_min: Schedule = (0.125, 0.2, 0.02, 0.125)
    t_max: Schedule = (0.125, 0.8, 0.5, 0.125)
    sds_weight: float = 40.0
    noise_share: float = 0.0
    noise_cells: int = 64
    stride: float = 0.0
    control_depth: Schedule = (0.17, 1.0, 0.8, 0.17)
    control_canny: Schedule = (0.17, 1.0, 0.8, 0.17)
    negative: str = (
        "oversaturated color, ugly, tiling, low quality, noisy, shadow, harsh lighting, specular highlights, blurry"
    )
    view_words: bool = True
    front: float = 0.0
    close_up_words: str = "close-up"
    resolution: int = 512
    supersample: int = 1
    views_per_step: int = 1
    view_pool: int = 128
    undersides: bool = True
    elevation: tuple[float, float] = (-45.0, 75.0)
    fov: tuple[float, float] = (25.0, 45.0)
    fill: tuple[float, float] = (0.7, 1.0)
    close_up_share: float = 0.2
    close_up_fill: tuple[float, float] = (1.6, 2.4)
    close_up_directions: Count = 0
    levels: int = 16
    table_log2: int = 19
    coarsest: int = 16
    finest: int = 2048
    albedo: tuple[float, float] = (0.03, 0.97)
    rate_grid: float = 0.01
    rate_mlp: float = 0.001
    rate_factor: Schedule = (0.6, 1.0, 0.1, 1.0)
    betas: tuple[float, float] = (0.9, 0.99)
    anchor: float = 0.0
    reference: bool = False
    stop_share: float = 0.0
    opacity: float = 1.0
    pixel_clip: float = 0.0
    share_control: bool = False
    compile: bool = False


PRESETS: dict[str, Recipe] = {
    "draft": Recipe(
        iterations=1500, w2=constant(1.0), t_min=(0.2, 0.2, 0.02, 0.2), t_max=(0.2, 0.8, 0.5, 0.2),
        control_depth=constant(1.0), control_canny=constant(1.0), elevation=(-20.0, 45.0), close_up_share=0.0,
    ),
    "balanced": Recipe(),
    "paper": Recipe(
        iterations=10_000, w2=(0.0, 1.0, 0.5, 1.0), kappa=constant(0.0),
        t_min=constant(0.02), t_max=(0.5, 0.98, 0.5, 0.5), control_depth=constant(1.0), control_canny=constant(1.0),
        elevation=(-10.0, 45.0), close_up_share=0.0, finest=4096, rate_grid=0.001, betas=(0.9, 0.999),
    ),
}  # fmt: skip


def overlaid(recipe: Recipe, layer: Mapping[str, Any]) -> Recipe:
    """``recipe`` with the values of ``layer``. Raises ``ValueError`` naming an unknown key."""
    reject_unknown(layer, Recipe, "the teacher's csd.json")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in layer.items()}
    return replace(recipe, **values)


# What the value of an expert setting has to be, by the type of its field.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "Schedule": (
        "one number, or four: start, from, to, end, the first and the last between 0 and 1",
        lambda v: _is_number(v) or (_are_numbers(v, 4) and 0 <= v[0] <= v[3] <= 1),
    ),
    "tuple[float, float]": ("two numbers, the smaller one first", lambda v: _are_numbers(v, 2) and v[0] <= v[1]),
    "Count": ("a whole number, 0 or more", lambda v: type(v) is int and v >= 0),
    "int": ("a whole number above 0", lambda v: type(v) is int and v > 0),
    "float": ("a number", lambda v: _is_number(v)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "str": ("text", lambda v: isinstance(v, str)),
}


def check_expert(values: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` naming an expert value that there is not, or that is no value of its field."""
    types = {f.name: str(f.type) for f in fields(Recipe)}
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"There is no expert value '{name}'; there are: {', '.join(sorted(types))}.")
        words, fits = _KINDS[types[name]]
        if not fits(value):
            raise ValueError(f"The expert value '{name}' is {value!r}; it must be {words}.")
        if name == "weighting":
            in_choices(name, value, WEIGHTINGS)


def in_field(name: str, value: Any) -> Any:
    """The JSON ``value`` as the recipe holds it."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return constant(value) if Recipe.__annotations__[name] == "Schedule" else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(value: Any, count: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == count and all(map(_is_number, value))
