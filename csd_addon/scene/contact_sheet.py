"""A picture of the result: 8 views of the textured objects, rendered by Blender in a scene of its own.

Cycles on the CPU, because it is the one engine that works without a display everywhere; soft even light; the
Standard view transform, so that colours are what the texture says. Nothing in the artist's scene changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import bpy
import numpy as np
from mathutils import Matrix

from ..core.views import View, framing_distance

# Azimuth and elevation in degrees: six around, one from above, one from below.
VIEWS = ((0, 15), (60, 15), (120, 15), (180, 15), (240, 15), (300, 15), (30, 65), (210, -50))
COLUMNS = 4
TILE = 320
_FOV = 35.0
_SAMPLES = 16


def render_contact_sheet(objects: Sequence[bpy.types.Object], path: Path) -> None:
    """Write a PNG with all ``VIEWS`` of ``objects``, ``COLUMNS`` to a row. Raises ``OSError`` where that fails."""
    scene = _studio(objects)
    try:
        with TemporaryDirectory() as folder:
            bounds = _bounds(objects)
            tiles = [_render(scene, *bounds, view, Path(folder) / f"{i}.png") for i, view in enumerate(VIEWS)]
        rows = [np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in range(0, len(tiles), COLUMNS)]
        # Blender's rows run from the bottom: the first row of tiles goes last.
        _save(np.concatenate(rows[::-1], axis=0), path)
    finally:
        _dismantle(scene)


def _studio(objects: Sequence[bpy.types.Object]) -> bpy.types.Scene:
    scene = bpy.data.scenes.new("CSD contact sheet")
    for obj in objects:
        scene.collection.objects.link(obj)
    scene.camera = bpy.data.objects.new("CSD camera", bpy.data.cameras.new("CSD camera"))
    scene.camera.data.angle = np.radians(_FOV)
    sun = bpy.data.objects.new("CSD sun", bpy.data.lights.new("CSD sun", "SUN"))
    sun.data.energy = 1.5
    sun.parent = scene.camera
    sun.matrix_local = Matrix.Rotation(np.radians(-35), 4, "X") @ Matrix.Rotation(np.radians(-25), 4, "Y")
    for helper in (scene.camera, sun):
        scene.collection.objects.link(helper)
    scene.world = bpy.data.worlds.new("CSD world")
    scene.world.color = (0.6, 0.6, 0.6)
    scene.render.engine = "CYCLES"
    scene.cycles.samples = _SAMPLES
    scene.cycles.use_denoising = False
    scene.cycles.max_bounces = 1
    scene.render.resolution_x = scene.render.resolution_y = TILE
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "Standard"
    return scene


def _render(
    scene: bpy.types.Scene, center: np.ndarray, radius: float, angles: tuple[float, float], path: Path
) -> np.ndarray:
    """One tile, (TILE, TILE, 4) float32, rows from the bottom, of what lies within ``radius`` of ``center``."""
    view = View(*angles, framing_distance(_FOV, 0.92), _FOV)
    camera = np.linalg.inv(view.world_to_camera())
    camera[:3, 3] = center + radius * camera[:3, 3]
    scene.camera.matrix_world = Matrix(camera.tolist())
    scene.camera.data.clip_start = radius * 0.01
    scene.camera.data.clip_end = radius * 20
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True, scene=scene.name)
    tile = bpy.data.images.load(str(path))
    pixels = np.empty(TILE * TILE * 4, np.float32)
    tile.pixels.foreach_get(pixels)
    bpy.data.images.remove(tile)
    return pixels.reshape(TILE, TILE, 4)


def _bounds(objects: Sequence[bpy.types.Object]) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of the evaluated vertices in world space."""
    points = np.concatenate([_world_vertices(obj) for obj in objects])
    center = (points.min(axis=0) + points.max(axis=0)) / 2
    return center, float(np.linalg.norm(points - center, axis=1).max()) or 1.0


def _world_vertices(obj: bpy.types.Object) -> np.ndarray:
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    vertices = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    evaluated.to_mesh_clear()
    matrix = np.array(obj.matrix_world)
    return vertices.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def _save(pixels: np.ndarray, path: Path) -> None:
    height, width, _ = pixels.shape
    sheet = bpy.data.images.new("CSD contact sheet", width, height)
    sheet.pixels.foreach_set(pixels.ravel())
    sheet.filepath_raw = str(path)
    sheet.file_format = "PNG"
    try:
        sheet.save()
    except RuntimeError as error:
        raise OSError(f"The preview {path} can't be written: {str(error).strip()}") from error
    finally:
        bpy.data.images.remove(sheet)


def _dismantle(scene: bpy.types.Scene) -> None:
    """Remove the scene and all that was made for it."""
    world, camera = scene.world, scene.camera
    helpers = [camera, *camera.children]
    bpy.data.scenes.remove(scene)
    bpy.data.worlds.remove(world)
    for helper in helpers:
        data = helper.data
        bpy.data.objects.remove(helper)
        (bpy.data.cameras if data.id_type == "CAMERA" else bpy.data.lights).remove(data)
