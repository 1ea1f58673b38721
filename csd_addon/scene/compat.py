"""Every difference between Blender versions; each branch says when it can go."""

from __future__ import annotations

import bpy


def enable_nodes(material: bpy.types.Material) -> None:
    """Give ``material`` a node tree. Delete when the minimum is 5.0: there every material has one."""
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
