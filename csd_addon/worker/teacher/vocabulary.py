"""Words that a teacher does not know, and what to say about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from ...core.teacher_folder import read_related, read_vocabulary
from ...core.words import unknown_words


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
        f"The teacher '{teacher}' does not know: {named}. It follows the words that it knows; its vocabulary is in "
        f"{root / 'README.md'}."
    )


def with_advice(root: Path, word: str) -> str:
    """The unknown ``word`` with what it is taken as, another teacher that knows it, or known words spelled alike."""
    if meant := read_related(root).get(word):
        return f"{word} (taken as: {meant})"
    for other in sorted(root.parent.glob("*/vocabulary.json")):
        if not unknown_words(word, read_vocabulary(other.parent)):
            return f"{word} (the teacher '{other.parent.name}' does)"
    words = " or ".join(spelled_alike(word, read_vocabulary(root)))
    return f"{word} (try: {words})" if words else word


def in_known_words(root: Path, text: str) -> str:
    """``text`` as the teacher in ``root`` understands it: unknown words in the words that its list gives for them."""
    vocabulary, related = read_vocabulary(root), read_related(root)
    for word in unknown_words(text, vocabulary) if vocabulary else []:
        letter = r"[^\W\d_]"
        text = re.sub(rf"(?<!{letter}){word}(?!{letter})", related.get(word, word), text, flags=re.IGNORECASE)
    return text


def spelled_alike(word: str, vocabulary: Iterable[str]) -> list[str]:
    """At most three known words that may be meant by ``word``, which may have a typing error."""
    return get_close_matches(word, sorted(set(vocabulary)), n=3, cutoff=0.75)
