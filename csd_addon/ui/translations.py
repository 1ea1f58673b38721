"""The texts of the interface in other languages, keyed by the English ones that stand in the code.

Each language is a file in ``languages/``, named as Blender names it; its groups are for the reader alone. Blender
translates labels, tooltips and choices by itself once they are registered here; the code does it where it builds a
sentence (``pgettext_iface``) and marks what it says elsewhere (``pgettext_n``). Sentences that name an object, a file
or a number keep their gaps: ``{}``.
"""

from __future__ import annotations

import json
from pathlib import Path

import bpy

_FOLDER = Path(__file__).parent / "languages"
# Blender looks buttons up in another context than everything else; ours is for words that it uses otherwise.
_CONTEXTS = ("*", "Operator", "CSD Texture")


def languages() -> list[str]:
    """Blender's names of the languages that there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def texts(language: str) -> dict[str, str]:
    """English to ``language``."""
    groups = json.loads((_FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return {english: there for group in groups.values() for english, there in group.items()}


def register() -> None:
    """Teach Blender our texts."""
    bpy.app.translations.register(__name__, {language: _table(texts(language)) for language in languages()})


def unregister() -> None:
    """Take them back."""
    bpy.app.translations.unregister(__name__)


def _table(known: dict[str, str]) -> dict[tuple[str, str], str]:
    return {(context, english): there for english, there in known.items() for context in _CONTEXTS}
