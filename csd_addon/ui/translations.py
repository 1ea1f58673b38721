"""The texts of the interface in other languages, keyed by the English ones that stand in the code.

Each language is a file in ``languages/``, named as Blender names it; its groups are for the reader alone. Blender
translates labels, tooltips and choices by itself once they are registered here; the code does it where it builds a
sentence (``pgettext_iface``) and marks what it says elsewhere (``pgettext_n``). Sentences that name an object, a file
or a number keep their gaps: ``{}``.

Other parts of the program, and the worker, know English alone; their sentences arrive whole. ``translate_sentence``
finds the one with gaps that such a sentence was made from: a text in these files that ends with a full stop, or one of
the groups "steps" (what an installer is doing) and "setup" (what it and the doctor say).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated

_FOLDER = Path(__file__).parent / "languages"
# Blender looks buttons up in another context than everything else; ours is for words that it uses otherwise.
_CONTEXTS = ("*", "Operator", "CSD Texture")

_TOLD = ("steps", "setup")

# Sentences with gaps, in the order in which they are tried, and the pattern of what is made from each.
_patterns: dict[str, re.Pattern[str]] = {}


def languages() -> list[str]:
    """Blender's names of the languages that there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def texts(language: str) -> dict[str, str]:
    """English to ``language``."""
    return {english: there for group in _groups(language).values() for english, there in group.items()}


def _groups(language: str) -> dict[str, dict[str, str]]:
    return json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))


def translate_sentence(sentence: str) -> str:
    """``sentence`` in the language of the interface; as it is where that language does not have it."""
    if (whole := translated(sentence)) != sentence:
        return whole
    for template, pattern in _patterns.items():
        if match := pattern.fullmatch(sentence):
            there = translated(template)
            # A gap may hold a sentence of its own; names stay as they are.
            gaps = [translate_sentence(gap) if gap.endswith(".") else gap for gap in match.groups()]
            return there.format(*gaps) if there != template else sentence
    return sentence


def register() -> None:
    """Teach Blender our texts."""
    known = {language: texts(language) for language in languages()}
    bpy.app.translations.register(__name__, {language: _table(table) for language, table in known.items()})
    whole = {text for language in known for group in _TOLD for text in _groups(language).get(group, {})}
    said = {text for table in known.values() for text in table if text.endswith(".")} | whole
    sentences = {text for text in said if "{" in text}
    # First those that may begin with another sentence, which would else take the rest for one of its gaps.
    for template in sorted(sentences, key=lambda text: (not text.startswith("{}"), -len(text), text)):
        parts = re.split(r"\{[^}]*\}", template)
        _patterns[template] = re.compile("(.+?)".join(map(re.escape, parts)), re.DOTALL)


def unregister() -> None:
    """Take them back."""
    bpy.app.translations.unregister(__name__)
    _patterns.clear()


def _table(known: dict[str, str]) -> dict[tuple[str, str], str]:
    return {(context, english): there for english, there in known.items() for context in _CONTEXTS}
