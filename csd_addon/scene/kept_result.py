"""Whether the kept result of an earlier job still fits the object that it is to be put on."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from ..core.mesh import MeshData
from ..core.settings import JobSettings
from ..core.source import EditSource
from .mask import vertex_group
from .original import Original, find_original, read_source
from .read_mesh import MeshSnapshot, read_snapshot, require_mesh
from .unwrap import LAYER_NAME, restore_layer, take_layer

# UVs are 32-bit floats that were stored as they are; a modifier may round them differently after a change elsewhere.
_TOLERANCE = 1e-5


def fitting_uvs(
    obj: bpy.types.Object, settings: JobSettings, mesh: Path, layer: Path
) -> tuple[np.ndarray | None, MeshSnapshot]:
    """The UV layer that ``obj`` lacks by now and the job had made, and what is seen of ``obj`` with it.

    The layer is as from ``take_layer``, None if ``obj`` has it. settings: the job's. layer: the file in which the job
    kept it (``unwrap.restore_layer``). Raises ``ValueError`` with a sentence unless
    ``obj`` has (or gets) the UVs that the job's file ``mesh`` was read with. The shape may be another: a pose or a
    sculpted detail leaves the texture where it was.
    """
    require_mesh(obj)
    uv_map = settings.uv_map
    missing = uv_map not in obj.data.uv_layers
    if missing and uv_map != LAYER_NAME:
        raise ValueError(f"'{obj.name}' has no UV map '{uv_map}', which this texture was made for.")
    if missing:
        restore_layer(obj, uv_map, layer)
    try:
        seen = read_snapshot(obj, vertex_group(obj, settings.mask) if settings.kind == "edit" else "")
        _require_same(obj.name, uv_map, MeshData.load(mesh).corner_uvs, seen.corner_uvs(uv_map))
    finally:
        uvs = take_layer(obj, uv_map) if missing else None
    return uvs, seen


def _require_same(name: str, uv_map: str, kept: np.ndarray, now: np.ndarray) -> None:
    if kept.shape != now.shape:
        raise ValueError(
            f"'{name}' has {len(now)} triangles and this texture was made for {len(kept)}: the mesh has changed, "
            "or it is another one. Recall the settings and make the texture anew."
        )
    if not np.allclose(kept, now, rtol=0, atol=_TOLERANCE):
        raise ValueError(
            f"The UV map '{uv_map}' of '{name}' has changed since this texture was made. Recall the settings and "
            "make the texture anew."
        )


def same_original(obj: bpy.types.Object, settings: JobSettings, source: Path, seen: MeshSnapshot) -> Original:
    """What an edit of ``obj`` starts from now, if that is what the job's file ``source`` holds.

    seen: as from ``fitting_uvs``. Raises ``ValueError`` with a sentence if ``obj`` shows another texture.
    """
    original = find_original(obj, settings)
    if not _same_pixels(EditSource.load(source), read_source(obj, original, settings, seen)):
        raise ValueError(
            f"This edit started from another texture than the one that '{obj.name}' shows now: go back to that one "
            "first."
        )
    return original


def _same_pixels(kept: EditSource, now: EditSource) -> bool:
    if kept.tiles.keys() != now.tiles.keys():
        return False
    return all(np.array_equal(tile.pixels, now.tiles[number].pixels) for number, tile in kept.tiles.items())
