"""Words that a teacher does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from csd_addon.jobs.folder import write_json
from csd_addon.worker.teacher.vocabulary import in_known_words, spelled_alike, told_unknown, with_advice


def test_a_typing_error_is_answered_by_its_spelling() -> None:
    assert spelled_alike("brcik", ["red", "brick", "bricks"]) == ["brick"]
    assert spelled_alike("zeppelin", ["red", "brick", "bricks"]) == []


def test_words_of_a_list_are_put_in_known_words(tmp_path: Path) -> None:
    vocabulary = {"words": ["brown", "wood", "log"], "related": {"oak": "brown wood", "log": "bark"}}
    write_json(tmp_path / "vocabulary.json", vocabulary)
    # Whole words only, in any spelling; a word that is known stays itself, one that nobody knows too.
    assert in_known_words(tmp_path, "An OAK log, soaked oaks, zeppelin") == "An brown wood log, soaked oaks, zeppelin"
    assert in_known_words(tmp_path / "none", "oak") == "oak"


@pytest.mark.parametrize(
    ("word", "answer"),
    [("lava", "lava (the teacher 'broad' does)"), ("mahogany", "mahogany (taken as: dark brown wood)"),
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
