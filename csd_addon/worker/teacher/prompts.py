"""Prompts: view words and an embedding cache.

Azimuth and elevation in degrees as in ``core.views``; the object's front looks towards the azimuth ``Recipe.front``.
Only the text row gets view words; the negative prompt is the same for every view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ...core.recipe import Recipe
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


def text_for(prompt: str, view: View, recipe: Recipe, *, close_up: bool) -> str:
    """The text row's prompt for one view."""
    words = [prompt]
    if recipe.view_words:
        words.append(view_word(view, recipe.front))
    if close_up and recipe.close_up_words:
        words.append(recipe.close_up_words)
    return ", ".join(words)


class PromptCache:
    """Each text is embedded once. ``embed`` maps N texts to (N, L, D)."""

    def __init__(self, embed: Callable[[Sequence[str]], torch.Tensor]) -> None:
        self._embed = embed
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, L, D) embeddings of ``texts``."""
        missing = list(dict.fromkeys(t for t in texts if t not in self._known))
        if missing:
            self._known.update(zip(missing, self._embed(missing), strict=True))
        return torch.stack([self._known[t] for t in texts])
