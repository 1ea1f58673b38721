"""The recipe of one run, layer by layer: the later one decides.

    the classes' own numbers, the method's, the preset's,
    for an edit: its own, then those of its way (``core.edit``),
    the teacher's ``csd.json``: for every run, for the method, for the preset; for an edit the same of its part "edit",
    the strength of an edit, the settings, and the expert values last.

Which method runs is decided first: by the settings, else by a loss that only distils, else by these layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .edit import EDIT, ITERATIONS, WAYS, strengthened, way
from .limits import in_range
from .recipe import (
    METHOD_NAMES,
    METHODS,
    PARTS,
    PRESETS,
    Change,
    Distill,
    Field,
    Guide,
    Numbers,
    Paint,
    Recipe,
    Run,
    Sample,
    Views,
    at,
    check_value,
    in_recipe,
    parts_with,
)
from .settings import FRONTS, JobSettings
from .words import uncontradicted

# The key of a layer in csd.json that is no part.
_METHOD = "method"
# The layers of a csd.json, and of its part "edit" besides the ways.
_LAYERS = ("recipe", "methods", "presets")


@dataclass(frozen=True)
class Layer:
    """source: who says it, in words. numbers: part -> name -> value, as JSON has them or as a recipe does."""

    source: str
    numbers: Numbers


@dataclass(frozen=True)
class Decided:
    """One number of a resolved recipe: its part and name, its value, and the layer that decided it."""

    part: str
    name: str
    value: Any
    source: str


def resolve(settings: JobSettings, preferences: Mapping[str, Any]) -> Recipe:
    """The recipe of a new texture, an edit or a diagnosis.

    preferences: the teacher's ``csd.json`` (``core.teacher_folder``). A diagnosis compares losses by distillation.
    Raises ``ValueError`` with one sentence: an unknown part or number, a number of the other method, noise levels that
    cannot be, or two settings that exclude each other.
    """
    mover, layers = _layers(settings, preferences)
    recipe = _built(layers, mover, is_edit=settings.kind == "edit")
    if settings.kind == "edit" and settings.strength == 0:
        return replace(recipe, run=replace(recipe.run, iterations=0))
    _check(recipe)
    return recipe


def explained(settings: JobSettings, preferences: Mapping[str, Any]) -> list[Decided]:
    """Every number of ``resolve(settings, preferences)`` with the layer that decided it, in the order of the parts.

    Raises ``ValueError`` as ``resolve`` does.
    """
    recipe = resolve(settings, preferences)
    mover, layers = _layers(settings, preferences)
    rows = []
    for part in _active(mover, is_edit=settings.kind == "edit"):
        held = _held(recipe, part)
        for name in (f.name for f in fields(held)):
            said = [layer.source for layer in layers if name in layer.numbers.get(part, {})]
            rows.append(Decided(part, name, getattr(held, name), said[-1] if said else "default"))
    if settings.kind == "edit" and settings.strength == 0:
        rows = [replace(row, source="strength 0") if row.name == "iterations" else row for row in rows]
    return rows


def method(settings: JobSettings, preferences: Mapping[str, Any]) -> str:
    """Which mover runs: "distill" or "sample". Raises ``ValueError`` if the settings ask for what cannot be."""
    if settings.kind == "diagnosis":
        return "distill"
    keeps = settings.kind == "edit" and way(settings) == "keep"
    # Sampling has rows of its own; every other loss than the default is asked for by name.
    if settings.method == "sample" and settings.loss != JobSettings.loss:
        name = settings.loss.upper()
        raise ValueError(f"{name} is a loss of distillation: set the method to distill, or the loss to csd.")
    if settings.method == "sample" and keeps:
        raise ValueError(
            "Sampling replaces the pattern, and this edit keeps it: set the method to distill, or 'keep' to nothing."
        )
    if settings.loss != JobSettings.loss or keeps:
        return "distill"
    if settings.method != "auto":
        return settings.method
    said = [str(body[_METHOD]) for _, body in _said(settings, preferences) if _METHOD in body]
    if said and said[-1] not in METHODS:
        raise ValueError(f"The teacher's csd.json names the method '{said[-1]}'; there are: {', '.join(METHODS)}.")
    return said[-1] if said else "distill"


def overridden(recipe: Recipe, expert: Mapping[str, Any]) -> Recipe:
    """``recipe`` with ``expert`` values laid over it. Raises ``ValueError`` as ``resolve`` does."""
    mover = "distill" if isinstance(recipe.mover, Distill) else "sample"
    parts = _expert(expert, mover, "edit" if recipe.edit else "texture")
    for part, numbers in parts.items():
        attribute = _attribute(part)
        values = {name: in_recipe(name, value) for name, value in numbers.items()}
        recipe = replace(recipe, **{attribute: replace(getattr(recipe, attribute), **values)})
    _check(recipe)
    return recipe


def _layers(settings: JobSettings, preferences: Mapping[str, Any]) -> tuple[str, list[Layer]]:
    """The method, and all layers, the last one above all others."""
    chosen = method(settings, preferences)
    preset = settings.preset
    layers = [Layer(METHOD_NAMES[chosen], METHODS[chosen]), Layer(f"preset {preset}", PRESETS[preset])]
    if settings.kind == "edit":
        layers += [
            Layer("edit", EDIT),
            Layer(f"edit, preset {preset}", {"run": {"iterations": ITERATIONS[preset]}}),
            Layer(f"edit, {way(settings)}", WAYS[way(settings)]),
        ]
    for source, body in _said(settings, preferences, chosen):
        layers.append(Layer(source, _numbers(body, source)))
    if settings.kind == "edit" and settings.strength:
        recipe = _built(layers, chosen, is_edit=True)
        layers.append(Layer(f"strength {settings.strength:g}", strengthened(recipe, settings.strength)))
    return chosen, [*layers, *_by_hand(settings, layers, chosen)]


def _said(settings: JobSettings, preferences: Mapping[str, Any], mover: str = "") -> Iterator[tuple[str, Any]]:
    """What ``preferences`` say, from general to special, each with its source; of a mover only where it is known."""
    edit = _object(preferences, "edit")
    _require_known(preferences, (*_LAYERS, "edit"))
    _require_known(edit, (*_LAYERS, *WAYS))
    parts = [("teacher", preferences, "")]
    if settings.kind == "edit":
        parts.append(("teacher, edit", edit, way(settings)))
    for source, said, chosen in parts:
        yield source, _object(said, "recipe")
        if mover:
            yield f"{source}, {METHOD_NAMES[mover]}", _object(_object(said, "methods"), mover)
        if chosen:
            yield f"{source}, {chosen}", _object(said, chosen)
        yield f"{source}, preset {settings.preset}", _object(_object(said, "presets"), settings.preset)


def _require_known(said: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raises ``ValueError`` naming a layer, a method or a preset of a csd.json that there is not."""
    for known, keys in ((names, said), (METHODS, _object(said, "methods")), (PRESETS, _object(said, "presets"))):
        if unknown := sorted(set(keys) - set(known)):
            raise ValueError(
                f"The teacher's csd.json says '{unknown[0]}', which means nothing there; there are: "
                f"{', '.join(known)}."
            )


def _object(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a csd.json has under ``name``, {} without it. Raises ``ValueError`` if it is no object."""
    value = said.get(name, {})
    if not isinstance(value, dict):
        raise ValueError(f"In the teacher's csd.json '{name}' is {value!r}; it must be an object with names.")
    return value


def _numbers(body: Mapping[str, Any], source: str) -> Numbers:
    """``body`` of a csd.json without its method. Raises ``ValueError`` naming what is no part or no number of it."""
    numbers = {part: values for part, values in body.items() if part != _METHOD}
    for part, values in numbers.items():
        if places := parts_with(part):
            raise ValueError(
                f"The teacher's csd.json says '{part}' outside of its part ({source}): put it into '{places[0]}', as "
                f'in {{"{places[0]}": {{"{part}": ...}}}}.'
            )
        if part not in PARTS or not isinstance(values, dict):
            raise ValueError(
                f"The teacher's csd.json says '{part}' ({source}), which is no part of a recipe; the parts are: "
                f"{', '.join(PARTS)}."
            )
        known = {f.name for f in fields(PARTS[part][0])}
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"Unknown setting in the teacher's csd.json ({source}, {part}): {', '.join(unknown)}; there are: "
                f"{', '.join(sorted(known))}."
            )
        for name, value in values.items():
            check_value(name, value, f"The value '{name}' of the teacher's csd.json")
    return numbers


def _built(layers: list[Layer], mover: str, *, is_edit: bool) -> Recipe:
    """The recipe of all ``layers``."""
    found: dict[str, Any] = {}
    for part in _active(mover, is_edit=is_edit):
        values: dict[str, Any] = {}
        for layer in layers:
            values |= layer.numbers.get(part, {})
        found[part] = PARTS[part][0](**{name: in_recipe(name, value) for name, value in values.items()})
    edit = found.get("change", found.get("paint"))
    return Recipe(found["run"], found["views"], found["field"], found["guide"], found[mover], edit)


def _active(mover: str, *, is_edit: bool) -> list[str]:
    """The parts that a recipe of this mover has."""
    edits = ("change", "paint")
    return [part for part, (_, of) in PARTS.items() if of in ("", mover) and (is_edit or part not in edits)]


def _attribute(part: str) -> str:
    """Where a recipe holds ``part``."""
    return {"distill": "mover", "sample": "mover", "change": "edit", "paint": "edit"}.get(part, part)


def _held(recipe: Recipe, part: str) -> Run | Views | Field | Guide | Distill | Sample | Change | Paint:
    held: Run | Views | Field | Guide | Distill | Sample | Change | Paint = getattr(recipe, _attribute(part))
    return held


def _by_hand(settings: JobSettings, layers: list[Layer], mover: str) -> list[Layer]:
    """The artist's own numbers: the settings', then the expert values."""
    is_edit = settings.kind == "edit"
    numbers: dict[str, dict[str, Any]] = {}
    if settings.iterations:
        numbers["run"] = {"iterations": settings.iterations}
    if settings.front != JobSettings.front:
        numbers["views"] = {"front": FRONTS[settings.front]}
    if not is_edit:
        default = _built(layers, mover, is_edit=False).guide.negative
        # A default never argues with the artist: "plain" is no negative of "plain blue".
        negative = settings.negative or uncontradicted(default, settings.prompt)
        if negative != default:
            numbers["guide"] = {"negative": negative}
    return [Layer("settings", numbers), Layer("expert value", _expert(settings.expert, mover, settings.kind))]


def _expert(values: Mapping[str, Any], mover: str, kind: str) -> dict[str, dict[str, Any]]:
    """``values`` by their parts. Raises ``ValueError`` naming one that this run has no place for."""
    active = _active(mover, is_edit=kind == "edit")
    numbers: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        parts = [part for part in parts_with(name) if part in active]
        if parts:
            numbers.setdefault(parts[0], {})[name] = value
            continue
        needed = PARTS[parts_with(name)[0]][1]
        if needed != mover and kind == "diagnosis":
            raise ValueError(
                f"The expert value '{name}' belongs to {METHOD_NAMES[needed]}, and losses are compared by "
                f"{METHOD_NAMES[mover]}: leave it out."
            )
        if needed != mover:
            raise ValueError(
                f"The expert value '{name}' belongs to {METHOD_NAMES[needed]}, and this run is by "
                f"{METHOD_NAMES[mover]}: leave it out, or set the method to {needed}."
            )
        raise ValueError(f"The expert value '{name}' belongs to edits, and this is a new texture: leave it out.")
    return numbers


def _check(recipe: Recipe) -> None:
    """Raises ``ValueError`` where a number leaves its range, or noise levels are none."""
    mover = recipe.mover
    in_range("noise_share", mover.noise_share, (0.0, 1.0))
    if isinstance(recipe.edit, Paint):
        in_range("opacity", recipe.edit.opacity, (0.0, 1.0))
    if isinstance(mover, Sample):
        in_range("guidance", mover.guidance, (0.0, 100.0))
        _, high, low, _ = mover.noise_level
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"Sampling needs a noise level that falls between 1 and 0, and noise_level goes from {high:g} to "
                f"{low:g}."
            )
        return
    turns = sorted({0.0, 1.0, *(share for t in (mover.t_min, mover.t_max) for share in (t[0], t[3]))})
    # Straight lines between the turns; a step shows its former value just before its turn.
    for progress in (moment for turn in turns for moment in (turn - 1e-9, turn) if moment >= 0):
        low, high = at(mover.t_min, progress), at(mover.t_max, progress)
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"The noise levels run from t_min {low:g} to t_max {high:g} at {progress:.0%} of the run; they "
                "must rise and lie between 0 and 1."
            )
