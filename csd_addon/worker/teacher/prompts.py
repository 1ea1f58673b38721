"""Prompts with view words.

Azimuth and elevation are in degrees as in ``core.views``; the object's front is seen from ``recipe.Views.front``. Only
the text row gets view words; the negative prompt is the same for every view.
"""

from __future__ import annotations

from ...core import recipe
from ...core.views import View

# Beyond these angles a view counts as front, back, overhead or bottom; a later rule overrides an earlier one.
FRONT_ANGLE = 45.0
OVERHEAD_ANGLE = 60.0


def view_word(view: View, front: float) -> str:
    """"front view", "side view", "back view", "overhead view" or "bottom view".

    front: the azimuth towards which the object's face looks.
    """
    azimuth = (view.azimuth - front + 180) % 360 - 180
    word = "side view"
    if abs(azimuth) <= FRONT_ANGLE:
        word = "front view"
    elif abs(azimuth) >= 180 - FRONT_ANGLE:
        word = "back view"
    if view.elevation > OVERHEAD_ANGLE:
        word = "overhead view"
    elif view.elevation < -OVERHEAD_ANGLE:
        word = "bottom view"
    return word


def text_for(prompt: str, view: View, numbers: recipe.Views, *, close_up: bool) -> str:
    """The text row's prompt for one view."""
    words = [prompt]
    if numbers.view_words:
        words.append(view_word(view, numbers.front))
    if close_up and numbers.close_up_words:
        words.append(numbers.close_up_words)
    return ", ".join(words)
