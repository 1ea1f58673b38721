"""Every test begins with an empty file and Blender's factory settings."""

from __future__ import annotations

import bpy
import pytest


@pytest.fixture(autouse=True)
def empty_file() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
