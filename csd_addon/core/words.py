"""Words of a prompt that name neither a thing nor a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Words that carry no picture.
STOP_WORDS = frozenset("a an and at by for from in into is it of on or over that the this to under with".split())

# Words that only say which colour. Gold is one, though a teacher may take it for a material: what both prompts call
# golden keeps its colour either way.
COLOR_WORDS = frozenset(
    "red orange yellow green cyan turquoise teal blue purple violet magenta pink brown beige white gray grey black "
    "gold golden silver scarlet crimson ruby maroon burgundy rose amber lemon lime emerald aqua azure cobalt navy "
    "olive lavender lilac chocolate tan cream ivory charcoal ebony light dark pale pastel deep bright vivid color "
    "colored colour coloured".split()
)


def words_of(text: str) -> list[str]:
    """The words of ``text`` in lower case and in order; digits and signs are left out."""
    return re.findall(r"[^\W\d_]+", text.lower())


def unknown_words(text: str, vocabulary: Iterable[str]) -> list[str]:
    """Words of ``text`` that are not in a teacher's ``vocabulary``, in order, each once."""
    known = {word for entry in vocabulary for word in words_of(entry)}
    return list(dict.fromkeys(w for w in words_of(text) if w not in known and w not in STOP_WORDS))


def uncontradicted(negative: str, prompt: str) -> str:
    """``negative`` without those of its phrases (between commas) that share a word with ``prompt``."""
    wanted = set(words_of(prompt)) - STOP_WORDS
    return ", ".join(phrase.strip() for phrase in negative.split(",") if not wanted & set(words_of(phrase)))
