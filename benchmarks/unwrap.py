"""xatlas beside Smart UV Project: how much of the image is used, how much is stretched, how long it takes.

    python benchmarks/unwrap.py [MESH.obj ...]

Run it with a Python that has the bpy wheel; ``CSD_WORKER_PYTHON`` names one that has xatlas. Suzanne, Suzanne smoothed
to 63,000 triangles, a torus, and what is named.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from csd_addon.core.polygons import Polygons, load_layer  # noqa: E402
from csd_addon.core.uv_raster import overlap, owners  # noqa: E402
from csd_addon.drive.unwrap_xatlas import unwrap_in_pieces  # noqa: E402
from csd_addon.jobs.folder import new_folder  # noqa: E402
from csd_addon.scene.pieces import run_to_end  # noqa: E402
from csd_addon.scene.unwrap import polygons_of, take_layer, unwrap_into_new_layer  # noqa: E402
from tests.stretch import stretch  # noqa: E402


def main() -> None:
    python = Path(os.environ.get("CSD_WORKER_PYTHON", sys.executable))
    print("| Mesh | Triangles | Unwrapped by | Used | Stretch | Shared | Seconds |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, obj in meshes(sys.argv[1:]):
            while obj.data.uv_layers:
                obj.data.uv_layers.remove(obj.data.uv_layers[0])
            began = time.monotonic()
            uvs = take_layer(obj, unwrap_into_new_layer(obj))
            tell(name, polygons_of(obj), "Smart UV Project", uvs, time.monotonic() - began)
            began, folder = time.monotonic(), new_folder(Path(scratch))
            polygons_of(obj).save(folder.polygons)
            if trouble := run_to_end(unwrap_in_pieces(python, Path(scratch), folder)):
                raise SystemExit(f"{name}: {trouble}")
            tell(name, polygons_of(obj), "xatlas", load_layer(folder.layer), time.monotonic() - began)


def meshes(files: list[str]) -> Iterator[tuple[str, bpy.types.Object]]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    yield "Suzanne", bpy.context.object
    bpy.context.object.modifiers.new("Subdivision", "SUBSURF").levels = 3
    bpy.ops.object.modifier_apply(modifier="Subdivision")
    yield "Suzanne, smooth", bpy.context.object
    bpy.ops.mesh.primitive_torus_add(major_segments=96, minor_segments=48)
    yield "torus", bpy.context.object
    for file in files:
        bpy.ops.wm.obj_import(filepath=file)
        yield Path(file).stem, bpy.context.object


def tell(name: str, mesh: Polygons, by: str, flat: np.ndarray, seconds: float) -> None:
    places = flat.reshape(-1, 2)[mesh.loops]
    count = owners(places, (1024, 1024))
    found = stretch(mesh.positions[mesh.triangles], places)
    print(f"| {name} | {len(places)} | {by} | {(count > 0).mean():.2f} | {found:.2f} | {overlap(count):.2%} "
          f"| {seconds:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
