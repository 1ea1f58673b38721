"""Recipes as tests read them: a number by its name, wherever it stands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from csd_addon.core.recipe import Recipe


def numbers_of(recipe: Recipe) -> dict[str, Any]:
    """All numbers of ``recipe`` by name; names are unique over its parts."""
    found: dict[str, Any] = {}
    for part in (recipe.run, recipe.views, recipe.field, recipe.guide, recipe.mover, recipe.edit):
        if part is not None:
            found |= asdict(part)
    return found


def number(recipe: Recipe, name: str) -> Any:
    """The number ``name`` of ``recipe``."""
    return numbers_of(recipe)[name]
