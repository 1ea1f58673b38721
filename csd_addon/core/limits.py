"""One sentence for a setting that is not what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def reject_unknown(values: Mapping[str, Any], kind: type, source: str) -> None:
    """Raises ``ValueError`` naming the keys of ``values`` that are no fields of the dataclass ``kind``."""
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise ValueError(f"Unknown setting in {source}: {', '.join(unknown)}.")


def in_choices(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ``ValueError`` naming the setting and its choices."""
    if value not in choices:
        raise ValueError(f"The setting '{name}' is '{value}'; choose one of: {', '.join(choices)}.")


def in_range(name: str, value: float, limits: tuple[float, float]) -> None:
    """Raises ``ValueError`` naming the setting and its range, whose ends belong to it."""
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"The setting '{name}' is {value}; it must lie between {limits[0]} and {limits[1]}.")
