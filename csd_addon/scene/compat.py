"""Every difference between Blender versions; each branch says when it can go."""

from __future__ import annotations

import bpy


def enable_nodes(material: bpy.types.Material) -> bool:
    """Give ``material`` a node tree; returns whether it had none. Delete at 5.0: there every material has one."""
    if bpy.app.version >= (5, 0, 0) or material.use_nodes:
        return False
    material.use_nodes = True
    return True


def disable_nodes(material: bpy.types.Material) -> None:
    """The inverse of an ``enable_nodes`` that returned True. Delete with it."""
    material.use_nodes = False


def nodes_of(material: bpy.types.Material) -> bpy.types.NodeTree | None:
    """The nodes that ``material`` is rendered with. Delete at 5.0: there it is ``material.node_tree``."""
    return material.node_tree if bpy.app.version >= (5, 0, 0) or material.use_nodes else None
