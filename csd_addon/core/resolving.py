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
from .words import uncontradicted, words_of


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


def by_hand(recipe: Recipe, settings: JobSettings) -> Recipe:
    """``recipe`` with what the artist set by hand: the front, ``iterations``, then the ``expert`` values.

    Raises ``ValueError`` if noise_share or the range of noise levels leaves 0..1, or that range is empty somewhere.
    """
    recipe = replace(recipe, front=FRONTS[settings.front], iterations=settings.iterations or recipe.iterations)
    recipe = replace(recipe, **{name: in_field(name, value) for name, value in settings.expert.items()})
    in_range("noise_share", recipe.noise_share, (0.0, 1.0))
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
