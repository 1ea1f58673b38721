"""Prompts: view words, words that the teacher does not know, and an embedding cache.

Azimuth and elevation in degrees as in ``core.views``; the object's front looks towards the azimuth ``Recipe.front``.
Only the text row gets view words; the negative prompt is the same for every view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches

import torch

from ...core.settings import Recipe
from ...core.views import View
from ...core.words import STOP_WORDS, words_of

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


def unknown_words(prompt: str, vocabulary: Iterable[str]) -> list[str]:
    """Words of ``prompt`` that are not in the teacher's ``vocabulary``, in order, each once."""
    known = {word for entry in vocabulary for word in words_of(entry)}
    return list(dict.fromkeys(w for w in words_of(prompt) if w not in known and w not in STOP_WORDS))


def suggested_words(word: str, vocabulary: Iterable[str], related: Mapping[str, str]) -> list[str]:
    """At most three known words that may be meant by the unknown ``word``.

    related: the teacher's own list of near meanings ("mahogany": "dark brown wood"); without an entry there, the words
    that are spelled most alike (a typing error).
    """
    if word in related:
        return [related[word]]
    return get_close_matches(word, sorted(set(vocabulary)), n=3, cutoff=0.75)


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
