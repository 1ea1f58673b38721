"""What the words and the strength of an edit mean for the method: the one place where they become numbers.

**Keep the pattern, or replace it.** Two ways, each good at one thing (docs/editing.md has the measurements):

- *keep*: distillation, and the score of the source image is subtracted (``recipe.Change.reference``). What both prompts
  share cancels out, so bricks stay where they are and only change their colour.
- *replace*: no reference. By sampling the source is painted over and the target grows as a new texture does. By
  distillation the removed prompt pushes the source away at first, then the target grows.

``keep = "auto"`` reads the prompts: a word that stands in both, and is no colour, names what stays. "red brick" to
"blue brick" keeps the bricks; "red brick" to "red wood" does not, and red stays because the target says so.

**Strength** s in 0..1; at 1 t_max and w2 are the recipe's own, at 0 no step is made, so the source comes back.
By distillation:

    anchor    = anchor (1 / s - 1)        the pull back to the source: none at 1, the recipe's at 1/2, all at 0
    t_max     = t_min + (t_max - t_min) (1 + s) / 2        less noise, smaller changes of structure
    w2        = s w2                      a weak edit does not push away from what it keeps

By sampling the run starts from noise that the source still shows through (SDEdit, arXiv 2108.01073), and nothing
pulls back:

    noise_level     = end + (noise_level - end) s      at 1 all of the source is noise at first
    opacity         = s opacity                        how much of the source is painted over
    negative_weight = s negative_weight
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .recipe import Change, Distill, Numbers, Paint, Recipe, Sample, Schedule, constant
from .settings import JobSettings
from .words import COLOR_WORDS, STOP_WORDS, words_of

# Editing's own numbers over a preset, for a teacher that says nothing else.
EDIT: Numbers = {
    "distill": {"t_min": constant(0.02), "t_max": constant(0.5), "rate_grid": 0.005},
    "change": {"anchor": 0.1},
}
ITERATIONS = {"draft": 500, "balanced": 1200, "paper": 1500}
# At kappa = w1 / 7.5 the reference branch is DDS at its authors' guidance scale.
WAYS: dict[str, Numbers] = {
    "keep": {"change": {"reference": True}, "distill": {"kappa": constant(1 / 7.5), "stop_share": 0.1}},
    "replace": {"change": {"reference": False}, "distill": {"w2": (0.0, 1.0, 0.5, 1.0)}},
}


def way(settings: JobSettings) -> str:
    """ "keep" or "replace": see the module's docstring."""
    if settings.keep != "auto":
        return {"pattern": "keep", "nothing": "replace"}[settings.keep]
    return "keep" if _words(settings.target) & _words(settings.remove) - COLOR_WORDS - STOP_WORDS else "replace"


def strengthened(recipe: Recipe, strength: float) -> dict[str, dict[str, Any]]:
    """What a ``strength`` above 0 makes of the numbers of an edit's ``recipe``, part by part."""
    mover, edit = recipe.mover, recipe.edit
    if isinstance(mover, Sample):
        assert isinstance(edit, Paint)
        start, before, after, end = mover.noise_level
        return {
            "sample": {
                "negative_weight": _mapped(mover.negative_weight, lambda weight: weight * strength),
                "noise_level": (start, after + (before - after) * strength, after, end),
            },
            "paint": {"opacity": edit.opacity * strength},
        }
    assert isinstance(mover, Distill) and isinstance(edit, Change)
    floor = max(mover.t_min[1:3])
    return {
        "distill": {
            "w2": _mapped(mover.w2, lambda w2: w2 * strength),
            "t_max": _mapped(mover.t_max, lambda t: floor + (t - floor) * (1 + strength) / 2),
        },
        "change": {"anchor": edit.anchor * (1 / strength - 1)},
    }


def _mapped(schedule: Schedule, change: Callable[[float], float]) -> Schedule:
    start, before, after, end = schedule
    return (start, change(before), change(after), end)


def _words(text: str) -> set[str]:
    """The words of ``text``; bricks and brick are one."""
    return {w[:-1] if len(w) > 3 and w.endswith("s") and not w.endswith("ss") else w for w in words_of(text)}
