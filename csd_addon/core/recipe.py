"""The numbers of the method, in parts: what a run is made of. ``core.resolving`` decides them.

A *schedule* is ``(start, from, to, end)``: the value runs linearly from ``from`` to ``to`` between the shares
``start`` and ``end`` of the run (0..1) and is constant outside; ``start == end`` is a step. Angles are in degrees.
Lengths are in unit-ball units, shares in 0..1.

Names are unique over all parts, so ``--set NAME=VALUE`` need not name the part. Only the two movers share a few: a run
has one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .limits import in_choices

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
class Run:
    """How long a run is."""

    iterations: int = 4000  # steps
    compile: bool = False  # whether torch compiles the networks first; pays in long runs on a GPU


@dataclass(frozen=True)
class Views:
    """Which cameras look, and how large their images are."""

    resolution: int = 512  # edge of an image in pixels
    supersample: int = 1  # samples along the edge of a pixel
    views_per_step: int = 1  # images of one step
    view_pool: int = 128  # different views of one run
    undersides: bool = True  # whether cameras go below the horizon
    elevation: tuple[float, float] = (-45.0, 75.0)  # range of whole-object views
    fov: tuple[float, float] = (25.0, 45.0)  # range of the field of view
    fill: tuple[float, float] = (0.7, 1.0)  # share of the image that the unit ball spans
    close_up_share: float = 0.2  # share of the views that show a part only
    close_up_fill: tuple[float, float] = (1.6, 2.4)  # ``fill`` of close-ups
    close_up_directions: Count = 0  # directions that all close-ups share; 0: each has its own
    view_words: bool = True  # whether prompts say "front view" and the like
    front: float = 0.0  # azimuth from which the object's front is seen, for view words
    close_up_words: str = "close-up"  # what a close-up's prompt gets besides


@dataclass(frozen=True)
class Field:
    """The grid of values over the surface."""

    levels: int = 16  # grids, from coarse to fine
    table_log2: int = 19  # base-2 logarithm of a level's most entries
    coarsest: int = 16  # cells along an axis of the first level
    finest: int = 2048  # cells along an axis of the last level
    albedo: tuple[float, float] = (0.03, 0.97)  # darkest and lightest value of a new texture's channels


@dataclass(frozen=True)
class Guide:
    """What the teacher is told in every row, whatever the mover."""

    negative: str = (
        "oversaturated color, ugly, tiling, low quality, noisy, shadow, harsh lighting, specular highlights, blurry"
    )  # words that a new texture should not show; an edit's are those that it removes
    control_depth: Schedule = (0.17, 1.0, 0.8, 0.17)  # scale of the depth ControlNet
    control_canny: Schedule = (0.17, 1.0, 0.8, 0.17)  # scale of the canny ControlNet
    share_control: bool = False  # whether all rows take the ControlNets' answer to the first one; faster, not exact


@dataclass(frozen=True)
class Distill:
    """The mover of the paper: Adam along a score at random noise levels (``worker/method/distill.py``)."""

    w1: Schedule = constant(1.0)  # weight of the prompt against the empty prompt (CSD)
    w2: Schedule = (0.0, 1.0, 0.5, 0.5)  # weight of the negative or removed prompt (CSD)
    kappa: Schedule = constant(0.05)  # restoring force (CSD); 0 is the paper
    sds_weight: float = 40.0  # guidance of SDS in the paper's convention: CFG scale - 1
    weighting: str = "sigma2"  # w(t): "sigma2" is 1 - abar, "uniform" is 1
    t_min: Schedule = (0.125, 0.2, 0.02, 0.125)  # lowest noise level that is drawn, share of the teacher's steps
    t_max: Schedule = (0.125, 0.8, 0.5, 0.125)  # highest noise level that is drawn
    noise_share: float = 0.0  # share of the noise's variance that is anchored to the surface; 0 is the paper
    noise_cells: int = 64  # cubes of anchored noise along the ball's radius
    rate_grid: float = 0.01  # learning rate of the field's tables
    rate_mlp: float = 0.001  # learning rate of its MLP
    rate_factor: Schedule = (0.6, 1.0, 0.1, 1.0)  # factor on both rates
    betas: tuple[float, float] = (0.9, 0.99)  # of Adam
    pixel_clip: float = 0.0  # most that a pixel's gradient may be, in RMS of its image; 0: no limit
    stop_share: float = 0.0  # a run ends when its smoothed gradient fell to this share of its peak; 0: never


@dataclass(frozen=True)
class Sample:
    """The mover of sampling: DDIM steps over anchored noise, fitted by the field (``worker/method/sample.py``)."""

    guidance: float = 5.0  # classifier-free guidance: 1 is the prompt alone
    negative_weight: Schedule = constant(1.0)  # how hard a negative prompt pushes away, in units of its score
    noise_level: Schedule = (0.0, 0.98, 0.02, 1.0)  # share of the teacher's steps; has to fall
    noise_share: float = 1.0  # share of the noise's variance that is anchored to the surface
    noise_cells: int = 160  # cubes of anchored noise along the ball's radius
    pixel_clip: float = 0.0  # most that a pixel's gradient may be, in RMS of its image; 0: no limit


@dataclass(frozen=True)
class Change:
    """An edit by distillation: a change of the source's colours."""

    anchor: float = 0.0  # pull to the source at strength 1/2, per squared difference of a pixel's channel
    reference: bool = False  # whether the score of the source is subtracted (DDS)


@dataclass(frozen=True)
class Paint:
    """An edit by sampling: paint over the source."""

    opacity: float = 1.0  # how far the source is painted over


Mover = Distill | Sample


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run. The mover says which method it is; edit is None for a new texture."""

    run: Run = Run()
    views: Views = Views()
    field: Field = Field()
    guide: Guide = Guide()
    mover: Mover = Distill()
    edit: Change | Paint | None = None


# The parts as files name them, by the kind of mover that they are for ("" for both).
PARTS: dict[str, tuple[type, str]] = {
    "run": (Run, ""), "views": (Views, ""), "field": (Field, ""), "guide": (Guide, ""),
    "distill": (Distill, "distill"), "sample": (Sample, "sample"),
    "change": (Change, "distill"), "paint": (Paint, "sample"),
}  # fmt: skip
METHOD_NAMES = {"distill": "Distillation", "sample": "Sampling"}

Numbers = Mapping[str, Mapping[str, Any]]
# A preset that says nothing of a number leaves it as it is in the classes above.
PRESETS: dict[str, Numbers] = {
    "draft": {
        "run": {"iterations": 1500},
        "views": {"elevation": (-20.0, 45.0), "close_up_share": 0.0},
        "guide": {"control_depth": constant(1.0), "control_canny": constant(1.0)},
        "distill": {"w2": constant(1.0), "t_min": (0.2, 0.2, 0.02, 0.2), "t_max": (0.2, 0.8, 0.5, 0.2)},
    },
    "balanced": {},
    "paper": {
        "run": {"iterations": 10_000},
        "views": {"elevation": (-10.0, 45.0), "close_up_share": 0.0},
        "field": {"finest": 4096},
        "guide": {"control_depth": constant(1.0), "control_canny": constant(1.0)},
        "distill": {
            "w2": (0.0, 1.0, 0.5, 1.0), "kappa": constant(0.0), "t_min": constant(0.02),
            "t_max": (0.5, 0.98, 0.5, 0.5), "rate_grid": 0.001, "betas": (0.9, 0.999),
        },
    },
}  # fmt: skip
# A view has to have some ten turns, and what is fitted to all of them at once must fit into the memory.
METHODS: dict[str, Numbers] = {"distill": {}, "sample": {"views": {"view_pool": 48}}}


# What a value has to be, by the type of its field.
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
# The type of every number by its name.
KINDS = {f.name: str(f.type) for kind, _ in PARTS.values() for f in fields(kind)}


def parts_with(name: str) -> list[str]:
    """The parts that have a number of this ``name``."""
    return [part for part, (kind, _) in PARTS.items() if name in {f.name for f in fields(kind)}]


def check_value(name: str, value: Any, called: str) -> None:
    """Raises ``ValueError`` if ``value`` is none of the number ``name``. called: what the sentence begins with."""
    words, fits = _KINDS[KINDS[name]]
    if not fits(value):
        raise ValueError(f"{called} is {value!r}; it must be {words}.")
    if name == "weighting":
        in_choices(name, value, WEIGHTINGS)


def check_expert(values: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` naming an expert value that there is not, or that is no value of its number."""
    for name, value in values.items():
        if name not in KINDS:
            raise ValueError(f"There is no expert value '{name}'; there are: {', '.join(sorted(KINDS))}.")
        check_value(name, value, f"The expert value '{name}'")


def in_recipe(name: str, value: Any) -> Any:
    """The JSON ``value`` of the number ``name`` as a recipe holds it."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return constant(value) if KINDS[name] == "Schedule" else value


def to_json(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The numbers of ``recipe`` by the names of their parts, for report.json: only its own mover's are there."""
    held = (recipe.run, recipe.views, recipe.field, recipe.guide, recipe.mover, recipe.edit)
    names = {kind: part for part, (kind, _) in PARTS.items()}
    return {names[type(part)]: asdict(part) for part in held if part is not None}


def method_of(recipe: Recipe, loss: str) -> str:
    """Which method runs, in the words of panel, report and README. loss: "csd" or "sds"."""
    if isinstance(recipe.mover, Sample):
        return "Sampling"
    if loss == "csd" and isinstance(recipe.edit, Change) and recipe.edit.reference:
        return "Distillation (DDS)"
    return f"Distillation ({loss.upper()})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(value: Any, count: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == count and all(map(_is_number, value))
