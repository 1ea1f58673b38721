"""Words that a teacher does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from csd_addon.jobs.folder import write_json
from csd_addon.worker.guidance.vocabulary import suggested_words, told_unknown, unknown_words, with_advice


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


@pytest.mark.parametrize(
    ("word", "answer"),
    [("lava", "lava (the teacher 'broad' does)"), ("mahogany", "mahogany (try: dark brown wood)"),
     ("brik", "brik (try: brick or bricks)"), ("zeppelin", "zeppelin")],
)  # fmt: skip
def test_an_unknown_word_comes_with_advice(word: str, answer: str, tmp_path: Path) -> None:
    for name, words in (("mini", ["brick", "bricks"]), ("broad", ["lava"])):
        (tmp_path / name).mkdir()
        vocabulary = {"words": words, "related": {"mahogany": "dark brown wood"}}
        write_json(tmp_path / name / "vocabulary.json", vocabulary)
    root = tmp_path / "mini"
    assert with_advice(root, word) == answer
    told = told_unknown(root, "mini", f"{word} bricks, brick")
    assert told.startswith(f"The teacher 'mini' does not know: {answer}.")
    assert told_unknown(root, "mini", "brick") == "" == told_unknown(tmp_path, "other", word)
