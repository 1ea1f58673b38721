"""What the words and the strength of an edit mean for the method: the one place where they become numbers.

**Keep the pattern, or replace it.** Two ways, each good at one thing (docs/editing.md has the measurements):

- *keep*: the score of the source image is subtracted (``Recipe.reference``). What both prompts share cancels out, so
  bricks stay where they are and only change their colour.
- *replace*: no reference. Where the teacher prefers a ``stride``, the source is painted over and the target grows as a
  new texture does; elsewhere the removed prompt pushes the source away at first, then the target grows.

``keep = "auto"`` reads the prompts: a word that stands in both, and is no colour, names what stays. "red brick" to
"blue brick" keeps the bricks; "red brick" to "red wood" does not, and red stays because the target says so.

**Strength** s in 0..1; at 1 t_max and w2 are the recipe's own, at 0 no step is made, so the source comes back:

    anchor    = anchor (1 / s - 1)        the pull back to the source: none at 1, the recipe's at 1/2, all at 0
    t_max     = t_min + (t_max - t_min) (1 + s) / 2        less noise, smaller changes of structure
    w2        = s w2                      a weak edit does not push away from what it keeps

With a stride the run starts from noise that the source still shows through (SDEdit, arXiv 2108.01073), and nothing
pulls back:

    t         = t_end + (t - t_end) s     t_min and t_max; at 1 all of the source is noise at first
    opacity   = s opacity                 how much of the source is painted over

The expert values are laid over all this: they are final. Only a strength of 0 makes no step whatever they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .recipe import PRESETS, Recipe, Schedule, constant, overlaid
from .resolving import by_hand, layers
from .settings import JobSettings
from .words import COLOR_WORDS, STOP_WORDS, words_of

# Editing's own numbers over a preset, for a teacher that says nothing else (method.md, section 5).
_EDIT: dict[str, Any] = {
    "t_min": constant(0.02), "t_max": constant(0.5), "rate_grid": 0.005, "anchor": 0.1,
}  # fmt: skip
_ITERATIONS = {"draft": 500, "balanced": 1200, "paper": 1500}
# At kappa = w1 / 7.5 the reference branch is DDS at its authors' guidance scale.
_WAYS: dict[str, dict[str, Any]] = {
    "keep": {"reference": True, "kappa": constant(1 / 7.5), "stop_share": 0.1},
    "replace": {"reference": False, "w2": (0.0, 1.0, 0.5, 1.0)},
}


def way(settings: JobSettings) -> str:
    """ "keep" or "replace": see the module's docstring."""
    if settings.keep != "auto":
        return {"pattern": "keep", "nothing": "replace"}[settings.keep]
    return "keep" if _words(settings.target) & _words(settings.remove) - COLOR_WORDS - STOP_WORDS else "replace"


def resolve_edit(settings: JobSettings, preferences: Mapping[str, Any]) -> Recipe:
    """The recipe of an edit at ``settings.strength``.

    preferences: the teacher's ``csd.json``; over what ``settings.resolve`` reads, its part
    ``{"edit": {"recipe": {...}, "presets": {...}, "keep": {...}, "replace": {...}}}``, all optional.
    Raises ``ValueError`` like ``settings.resolve``, and for a stride where the pattern is kept, or with SDS.
    """
    chosen, own = way(settings), preferences.get("edit", {})
    recipe = replace(PRESETS[settings.preset], iterations=_ITERATIONS[settings.preset], **_EDIT, **_WAYS[chosen])
    general, preset = layers(settings, own)
    for layer in (*layers(settings, preferences), general, _of_the_way(settings, own.get(chosen, {})), preset):
        recipe = overlaid(recipe, layer)
    if settings.strength == 0:
        return replace(recipe, iterations=0)
    recipe = by_hand(_strengthened(recipe, settings.strength), settings)
    if recipe.stride and (recipe.reference or settings.loss == "sds"):
        raise ValueError(
            "The expert value 'stride' is for CSD that replaces the pattern; set 'keep' to nothing, or leave it out."
        )
    return recipe


def _of_the_way(settings: JobSettings, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """``layer``, unless it is of steps that SDS cannot take."""
    return {} if settings.loss == "sds" and layer.get("stride") else layer


def _strengthened(recipe: Recipe, strength: float) -> Recipe:
    recipe = replace(recipe, w2=_mapped(recipe.w2, lambda w2: w2 * strength))
    return _painted_thinner(recipe, strength) if recipe.stride else _pulled_back(recipe, strength)


def _painted_thinner(recipe: Recipe, strength: float) -> Recipe:
    t_min, t_max = (
        (start, after + (before - after) * strength, after, end)
        for start, before, after, end in (recipe.t_min, recipe.t_max)
    )
    return replace(recipe, t_min=t_min, t_max=t_max, opacity=recipe.opacity * strength)


def _pulled_back(recipe: Recipe, strength: float) -> Recipe:
    floor = max(recipe.t_min[1:3])
    return replace(
        recipe, anchor=recipe.anchor * (1 / strength - 1),
        t_max=_mapped(recipe.t_max, lambda t: floor + (t - floor) * (1 + strength) / 2),
    )  # fmt: skip


def _mapped(schedule: Schedule, change: Callable[[float], float]) -> Schedule:
    start, before, after, end = schedule
    return (start, change(before), change(after), end)


def _words(text: str) -> set[str]:
    """The words of ``text``; bricks and brick are one."""
    return {w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in words_of(text)}
