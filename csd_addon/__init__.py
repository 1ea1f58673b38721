"""CSD Texture. Importing this imports nothing else: the worker runs from the same tree without bpy."""

from __future__ import annotations


def register(package: str) -> None:
    """Register everything with Blender; ``package`` is the add-on's full name, as Blender gives it."""
    from . import ui

    ui.register(package)


def unregister() -> None:
    """Take back everything that `register` did."""
    from . import ui

    ui.unregister()
