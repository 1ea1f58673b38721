"""The recipe of one run: a preset, overlaid by what the teacher's ``csd.json`` prefers, overlaid by the settings that
the artist set by hand, the expert values last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .limits import in_range
from .recipe import PRESETS, Recipe, at, in_field, overlaid
from .settings import FRONTS, JobSettings
from .words import uncontradicted


def resolve(settings: JobSettings, preferences: Mapping[str, Any]) -> Recipe:
    """The recipe of a new texture.

    preferences: the teacher's ``csd.json``: ``{"recipe": {...}, "presets": {"draft": {...}, ...}}``, both optional;
    the first holds for every preset, the second for one. Raises ``ValueError`` naming an unknown key, or a range of
    noise levels that is none.
    """
    recipe = _preset(settings, preferences)
    if recipe.stride and settings.loss == "sds":
        return descending(settings, preferences)
    return _finished(recipe, settings)


def descending(settings: JobSettings, preferences: Mapping[str, Any]) -> Recipe:
    """The recipe of a new texture by gradient descent, as the paper has it, and SDS.

    A teacher may prefer a stride; then these are the numbers of its preset "paper", for as long as the one chosen.
    """
    recipe = _preset(settings, preferences)
    if recipe.stride:
        paper = _preset(replace(settings, preset="paper"), preferences)
        recipe = replace(paper, iterations=recipe.iterations, stride=0.0)
    return _finished(recipe, settings)


def _preset(settings: JobSettings, preferences: Mapping[str, Any]) -> Recipe:
    recipe = PRESETS[settings.preset]
    for layer in layers(settings, preferences):
        recipe = overlaid(recipe, layer)
    return recipe


def _finished(recipe: Recipe, settings: JobSettings) -> Recipe:
    """``recipe`` with its negative and what was set by hand."""
    # A default never argues with the artist: "plain" is no negative of "plain blue".
    negative = settings.negative or uncontradicted(recipe.negative, settings.prompt)
    return by_hand(replace(recipe, negative=negative), settings)


def layers(settings: JobSettings, preferences: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What ``preferences`` say for every preset, then for the one of ``settings``."""
    return preferences.get("recipe", {}), preferences.get("presets", {}).get(settings.preset, {})


def by_hand(recipe: Recipe, settings: JobSettings) -> Recipe:
    """``recipe`` with what the artist set by hand: the front, ``iterations``, then the ``expert`` values.

    Raises ``ValueError`` if noise_share, opacity or the range of noise levels leaves 0..1, that range is empty
    somewhere, or the stride is one that cannot be.
    """
    recipe = replace(recipe, front=FRONTS[settings.front], iterations=settings.iterations or recipe.iterations)
    recipe = replace(recipe, **{name: in_field(name, value) for name, value in settings.expert.items()})
    for name in ("noise_share", "opacity"):
        in_range(name, getattr(recipe, name), (0.0, 1.0))
    turns = sorted({0.0, 1.0, *(share for t in (recipe.t_min, recipe.t_max) for share in (t[0], t[3]))})
    # Straight lines between the turns; a step shows its former value just before its turn.
    for progress in (moment for turn in turns for moment in (turn - 1e-9, turn) if moment >= 0):
        low, high = at(recipe.t_min, progress), at(recipe.t_max, progress)
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"The noise levels run from t_min {low:g} to t_max {high:g} at {progress:.0%} of the run; they "
                "must rise and lie between 0 and 1."
            )
    _check_stride(recipe)
    return recipe


def _check_stride(recipe: Recipe) -> None:
    in_range("stride", recipe.stride, (0.0, 100.0))
    if recipe.stride and recipe.t_max[1] <= recipe.t_max[2]:
        raise ValueError(
            f"With a stride of {recipe.stride:g} the noise level has to fall, and t_max goes from {recipe.t_max[1]:g} "
            f"to {recipe.t_max[2]:g}; let it fall, or set the stride to 0."
        )
