"""Entry point of the Blender extension. Imports stand inside the functions so that tools and tests that
import this file by accident need no Blender."""


def register() -> None:
    from . import csd_addon

    csd_addon.register(__package__)


def unregister() -> None:
    from . import csd_addon

    csd_addon.unregister()
