"""View words at their angles, vocabulary, embedding cache."""

from __future__ import annotations

import pytest
import torch

from csd_addon.core.settings import Recipe
from csd_addon.core.views import View
from csd_addon.worker.guidance.prompts import PromptCache, suggested_words, text_for, unknown_words, view_word


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [(0, 0, "front"), (44.9, 0, "front"), (45.1, 0, "side"), (-44.9, 0, "front"), (134.9, 0, "side"),
     (135.1, 0, "back"), (180, 0, "back"), (-180, 0, "back"), (181, 0, "back"), (539.9, 0, "back"), (360, 0, "front"),
     (315.1, 0, "front"), (314.9, 0, "side"), (0, 60, "front"), (0, 60.1, "overhead"), (180, -60.1, "bottom")],
)  # fmt: skip
def test_view_words(azimuth: float, elevation: float, word: str) -> None:
    assert view_word(View(azimuth, elevation, 3, 40)) == f"{word} view"


def test_text_row_gets_view_and_close_up_words_as_the_recipe_says() -> None:
    view = View(180, 0, 3, 40)
    assert text_for("brick", view, Recipe(), close_up=True) == "brick, back view, close-up"
    assert text_for("brick", view, Recipe(view_words=False), close_up=False) == "brick"
    assert text_for("brick", view, Recipe(view_words=False, close_up_words=""), close_up=True) == "brick"


def test_unknown_words_once_each_in_order_without_stop_words() -> None:
    known = ["red", "brick", "close-up"]
    assert unknown_words("A red BRICK with a Zeppelin, zeppelin of käse", known) == ["zeppelin", "käse"]
    assert unknown_words("red close-up", known) == []


def test_an_unknown_word_is_answered_by_its_meaning_or_else_by_its_spelling() -> None:
    known, related = ["red", "brick", "bricks", "wood"], {"mahogany": "dark brown wood", "brik": "wood"}
    assert suggested_words("mahogany", known, related) == ["dark brown wood"]
    assert suggested_words("brik", known, related) == ["wood"]
    assert suggested_words("brcik", known, {}) == ["brick"]
    assert suggested_words("zeppelin", known, related) == []


def test_each_text_is_embedded_once() -> None:
    asked: list[str] = []

    def embed(texts) -> torch.Tensor:
        asked.extend(texts)
        return torch.stack([torch.full((2, 3), float(len(text))) for text in texts])

    cache = PromptCache(embed)
    result = cache(["a", "bbb", "a"])
    assert cache(["bbb"]).shape == (1, 2, 3) and asked == ["a", "bbb"]
    assert result[:, 0, 0].tolist() == [1.0, 3.0, 1.0]
