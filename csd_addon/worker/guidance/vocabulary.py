"""Words that a teacher does not know, and what to say about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from ...core.words import STOP_WORDS, words_of
from .preferences import read_related, read_vocabulary


def told_unknown(root: Path, teacher: str, prompt: str) -> str:
    """A sentence that names the words of ``prompt`` that the teacher in ``root`` does not know, with advice on each.

    "" where it knows all of them, or keeps no list. teacher: its name for the artist.
    """
    vocabulary = read_vocabulary(root)
    unknown = unknown_words(prompt, vocabulary) if vocabulary else []
    if not unknown:
        return ""
    named = ", ".join(with_advice(root, word) for word in unknown)
    return (
        f"The teacher '{teacher}' does not know: {named}. It will follow the other words only; its vocabulary is in "
        f"{root / 'README.md'}."
    )


def with_advice(root: Path, word: str) -> str:
    """The unknown ``word`` with the teacher beside this one that knows it, or else with what to write instead."""
    for other in sorted(root.parent.glob("*/vocabulary.json")):
        if not unknown_words(word, read_vocabulary(other.parent)):
            return f"{word} (the teacher '{other.parent.name}' does)"
    words = " or ".join(suggested_words(word, read_vocabulary(root), read_related(root)))
    return f"{word} (try: {words})" if words else word


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
