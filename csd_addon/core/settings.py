"""Every choice of a job, with one default and one range each; and the numbers of the method behind them.

``JobSettings`` are the artist's words: the same names in the panel, the flags and the operators.
``Recipe`` are the method's numbers. A run's recipe is a preset (below), overlaid by what the teacher's
``csd.json`` prefers, overlaid by the settings that the artist set by hand (``resolve``), the expert values last.

A *schedule* is ``(start, from, to, end)``: the value runs linearly from ``from`` to ``to`` between the shares
``start`` and ``end`` of the run (0..1) and is constant outside; ``start == end`` is a step. Angles in degrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from .words import uncontradicted, words_of

Schedule = tuple[float, float, float, float]

# The name that stands for whichever bundled teacher knows most of the words (``ui.choosing``).
AUTO_TEACHER = "auto"
KINDS = ("texture", "edit", "diagnosis")
KEEPS = ("auto", "pattern", "nothing")
LOSSES = ("csd", "sds")
DEVICES = ("auto", "cpu", "cuda", "mps")
WEIGHTINGS = ("sigma2", "uniform")
# Which of Blender's views shows the object's front, and the azimuth (``core.views``) from which that one looks.
FRONTS = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}
DEPTHS = ("auto", "8", "16")
# What becomes of texels that several faces share.
OVERLAPS = ("first", "average", "new")
# How an object without (usable) UVs gets them.
UNWRAPS = ("smart", "xatlas")
# How many images a new texture of an object of several materials has.
IMAGES = ("one", "material")
SIZE_RANGE = (64, 8192)
ITERATION_RANGE = (0, 100_000)
STRENGTH_RANGE = (0.0, 1.0)
MARGIN_RANGE = (0, 128)


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
class JobSettings:
    """What the artist chose. Empty text and 0 iterations mean: as the preset and the teacher prefer.

    kind: "texture" for a new texture, "edit" for a change of the one that is there, "diagnosis" to compare losses
    (``core.diagnosis``).
    prompt, negative: what a new texture should show and should not.
    target, remove: what an edited texture should show, and what it shows now and should lose. strength: 0 .. 1.
    mask: where an edit may change something, empty for everywhere (``scene.mask``). keep: one of ``KEEPS``, whether an
    edit keeps the source's pattern (``core.edit``).
    preset: a key of ``PRESETS``. teacher: "auto" for the bundled one that knows the words, "mini", "broad", "sd15", a
    folder or a .safetensors file. lora: a file to be merged into the teacher's UNet, ``FILE`` or ``FILE:WEIGHT``, empty
    for none. device: one of ``DEVICES``.
    iterations: optimisation steps. size: edge of the image in pixels; 0 for an edit: as the source.
    depth: one of ``DEPTHS``, bits of a channel; auto: as the source for an edit, else 8. margin: texels around each
    chart; 0: as many as the image's size asks for (``atlas.margin_width``).
    overlaps: one of ``OVERLAPS``, for a new texture: where faces share texels the first one gives the colour, or all of
    them their mean, or the object gets a new UV map without overlaps.
    unwrap: one of ``UNWRAPS``, where it gets a new UV map: Blender's Smart UV Project, or xatlas beside the worker.
    images: one of ``IMAGES``, for a new texture: one image for the object, or each of its materials has its own.
    unseen_map: whether a new texture comes with an image that shows in white what no view saw.
    seed: 0 .. 2**31 - 1. uv_map: name of the UV layer, empty for the active one. loss: one of ``LOSSES``.
    front: a key of ``FRONTS``, for the view words of teachers that know them.
    expert: names of ``Recipe`` fields with their values as in JSON, laid over everything else; one number for a
    schedule stays the same for the whole run.
    """

    kind: str = "texture"
    prompt: str = ""
    negative: str = ""
    target: str = ""
    remove: str = ""
    strength: float = 1.0
    mask: str = ""
    keep: str = "auto"
    preset: str = "balanced"
    teacher: str = AUTO_TEACHER
    lora: str = ""
    device: str = "auto"
    iterations: int = 0
    size: int = 1024
    depth: str = "auto"
    margin: int = 0
    overlaps: str = "first"
    unwrap: str = "smart"
    images: str = "one"
    unseen_map: bool = False
    seed: int = 0
    uv_map: str = ""
    front: str = "front"
    loss: str = "csd"
    expert: Mapping[str, Any] = field(default_factory=dict)

    def validate(self) -> JobSettings:
        """Return ``self``. Raises ``ValueError`` with one sentence that names the setting and its range."""
        self._check_words()
        _in_choices("keep", self.keep, KEEPS)
        _in_choices("preset", self.preset, tuple(PRESETS))
        _in_choices("loss", self.loss, LOSSES)
        _in_choices("device", self.device, DEVICES)
        _in_choices("front", self.front, tuple(FRONTS))
        _in_choices("depth", self.depth, DEPTHS)
        _in_choices("overlaps", self.overlaps, OVERLAPS)
        _in_choices("unwrap", self.unwrap, UNWRAPS)
        _in_choices("images", self.images, IMAGES)
        _in_range("margin", self.margin, MARGIN_RANGE)
        if self.kind == "texture" or self.size:
            _in_range("size", self.size, SIZE_RANGE)
        _in_range("iterations", self.iterations, ITERATION_RANGE)
        _in_range("seed", self.seed, (0, 2**31 - 1))
        _in_range("strength", self.strength, STRENGTH_RANGE)
        _check_expert(self.expert)
        return self

    def _check_words(self) -> None:
        _in_choices("kind", self.kind, KINDS)
        if self.kind != "edit" and not self.prompt.strip():
            raise ValueError("The prompt is empty: write what the texture should show, for example 'red brick'.")
        if self.kind == "edit" and not self.target.strip():
            raise ValueError("The target is empty: write what the texture should show, for example 'blue brick'.")
        if self.kind == "edit" and self.target.lower().split() == self.remove.lower().split():
            raise ValueError("Target and remove say the same, so there is nothing to change: let them differ.")

    def to_json(self) -> dict[str, Any]:
        """Plain dict for ``job.json``; ``from_json`` is the inverse."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> JobSettings:
        """Raises ``ValueError`` naming the settings that this version does not know."""
        _reject_unknown(values, JobSettings, "job.json")
        return JobSettings(**values)


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run. Lengths are in unit-ball units, shares in 0..1, resolutions in cells or pixels.

    Guidance (method.md, section 2): w1, w2, kappa, weighting ("sigma2" or "uniform"), t_min and t_max as shares
    of the teacher's steps, sds_weight in the paper's convention, control_depth and control_canny scales; noise_share
    (0..1) of the noise's variance sticks to the surface, in cubes of which noise_cells make the ball's radius;
    negative holds unless the prompt has a word of negative_unless.
    Views: whether prompts get view words, and from which azimuth these count; image size, samples per pixel edge,
    views per step, size of the pool, whether cameras go below the horizon, ranges of elevation, field
    of view and fill (share of the image that the unit ball spans), share and fill of close-ups.
    Field: levels, log2 of table entries, coarsest and finest resolution, albedo range, learning rates, a
    factor on both of them over the run, Adam betas.
    Editing: weight of the anchor to the source at strength 1/2 (per squared difference of a pixel's channel), whether
    the score of the source is subtracted (DDS), and the share of
    its start to which the smoothed gradient must fall for the run to end early (0: never).
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
    control_depth: Schedule = (0.17, 1.0, 0.8, 0.17)
    control_canny: Schedule = (0.17, 1.0, 0.8, 0.17)
    negative: str = (
        "oversaturated color, ugly, tiling, low quality, noisy, shadow, harsh lighting, specular highlights, blurry"
    )
    negative_unless: str = ""
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


def resolve(settings: JobSettings, preferences: Mapping[str, Any]) -> Recipe:
    """The recipe of a new texture.

    preferences: the teacher's ``csd.json``: ``{"recipe": {...}, "presets": {"draft": {...}, ...}}``, both optional;
    the first holds for every preset, the second for one. Raises ``ValueError`` naming an unknown key, or a range of
    noise levels that is none.
    """
    recipe = PRESETS[settings.preset]
    for layer in layers(settings, preferences):
        recipe = overlaid(recipe, layer)
    return by_hand(replace(recipe, negative=settings.negative or _default_negative(recipe, settings.prompt)), settings)


def _default_negative(recipe: Recipe, prompt: str) -> str:
    """The default negative. It never argues with the artist: "plain" is no negative of "plain blue"."""
    contradicted = set(words_of(prompt)) & set(words_of(recipe.negative_unless))
    return "" if contradicted else uncontradicted(recipe.negative, prompt)


def layers(settings: JobSettings, preferences: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What ``preferences`` say for every preset, then for the one of ``settings``."""
    return preferences.get("recipe", {}), preferences.get("presets", {}).get(settings.preset, {})


def overlaid(recipe: Recipe, layer: Mapping[str, Any]) -> Recipe:
    """``recipe`` with the values of ``layer``. Raises ``ValueError`` naming an unknown key."""
    _reject_unknown(layer, Recipe, "the teacher's csd.json")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in layer.items()}
    return replace(recipe, **values)


def by_hand(recipe: Recipe, settings: JobSettings) -> Recipe:
    """``recipe`` with what the artist set by hand: the front, ``iterations``, then the ``expert`` values.

    Raises ``ValueError`` if noise_share or the range of noise levels leaves 0..1, or that range is empty somewhere.
    """
    recipe = replace(recipe, front=FRONTS[settings.front], iterations=settings.iterations or recipe.iterations)
    recipe = replace(recipe, **{name: _in_field(name, value) for name, value in settings.expert.items()})
    _in_range("noise_share", recipe.noise_share, (0.0, 1.0))
    turns = sorted({0.0, 1.0, *(share for t in (recipe.t_min, recipe.t_max) for share in (t[0], t[3]))})
    # Straight lines between the turns; a step shows its former value just before its turn.
    for progress in (moment for turn in turns for moment in (turn - 1e-9, turn) if moment >= 0):
        low, high = at(recipe.t_min, progress), at(recipe.t_max, progress)
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"The noise levels run from t_min {low:g} to t_max {high:g} at {progress:.0%} of the run; they "
                "must rise and lie between 0 and 1."
            )
    return recipe


# What the value of an expert setting has to be, by the type of its field.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "Schedule": (
        "one number, or four: start, from, to, end, the first and the last between 0 and 1",
        lambda v: _is_number(v) or (_are_numbers(v, 4) and 0 <= v[0] <= v[3] <= 1),
    ),
    "tuple[float, float]": ("two numbers, the smaller one first", lambda v: _are_numbers(v, 2) and v[0] <= v[1]),
    "int": ("a whole number above 0", lambda v: type(v) is int and v > 0),
    "float": ("a number", lambda v: _is_number(v)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "str": ("text", lambda v: isinstance(v, str)),
}


def _check_expert(values: Mapping[str, Any]) -> None:
    types = {f.name: str(f.type) for f in fields(Recipe)}
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"There is no expert value '{name}'; there are: {', '.join(sorted(types))}.")
        words, fits = _KINDS[types[name]]
        if not fits(value):
            raise ValueError(f"The expert value '{name}' is {value!r}; it must be {words}.")
        if name == "weighting":
            _in_choices(name, value, WEIGHTINGS)


def _in_field(name: str, value: Any) -> Any:
    """The JSON ``value`` as the recipe holds it."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return constant(value) if Recipe.__annotations__[name] == "Schedule" else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_numbers(value: Any, count: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == count and all(map(_is_number, value))


def _reject_unknown(values: Mapping[str, Any], kind: type, source: str) -> None:
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise ValueError(f"Unknown setting in {source}: {', '.join(unknown)}.")


def _in_choices(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"The setting '{name}' is '{value}'; choose one of: {', '.join(choices)}.")


def _in_range(name: str, value: float, limits: tuple[float, float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"The setting '{name}' is {value}; it must lie between {limits[0]} and {limits[1]}.")
