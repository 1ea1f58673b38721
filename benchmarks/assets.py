"""What becomes of hard assets: the table of docs/assets.md, and how time grows with triangles and texels.

    python benchmarks/assets.py [--size 2048] [--case NAME]… [--heavy]
    python benchmarks/assets.py --scale

Run it with a Python that has the bpy wheel; ``CSD_WORKER_PYTHON`` names one that has torch. Each asset takes the true
road through Blender with the fake worker; what that left in the job folder is then baked by the true bake from a
field of known form (colour = position and a ripple), so that every texel's right value is known. CPU seconds of one
thread; peak memory is the baking process's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MIPS = (1, 2, 3)
# Of the scale's runs: triangles at a fixed size, sizes at a fixed number of triangles.
TRIANGLES, SIZES, VIEWS = (10_000, 100_000, 1_000_000), (1024, 2048, 4096), 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--heavy", action="store_true", help="the million triangles too")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--bake", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.bake:
        print(json.dumps(baked(words.bake, words.size)))
    elif words.scale:
        scale()
    else:
        table(words)


# --- The table: in Blender's Python ------------------------------------------------------------------------------


def table(words: argparse.Namespace) -> None:
    import bpy

    import csd_addon
    from csd_addon.drive.warm_worker import FAKE_VARIABLE
    from tests.assets.cases import CASES
    from tests.assets.road import walk

    chosen = [c for c in CASES.values() if c.name in words.case or (not words.case and (words.heavy or not c.heavy))]
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update({"CSD_TEXTURE_HOME": scratch, FAKE_VARIABLE: "fake"})
        bpy.ops.wm.read_factory_settings(use_empty=True)
        csd_addon.register("csd_addon")
        print("| Asset | Ends in | Coverage | Seams: mean, max | from afar | Bake, dB | Shared | Kept | CPU s | MB |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        with Baker(words.size) as baker:
            for case in chosen:
                began = time.process_time()
                outcome = walk(case, Path(scratch))
                seconds = time.process_time() - began
                kept = "yes" if not outcome.different else "NO: " + ", ".join(outcome.different)
                if outcome.refusal:
                    print(f"| {case.name} | \"{outcome.refusal}\" | | | | | | {kept} | {seconds:.1f} | |", flush=True)
                    continue
                f = baker(outcome.folder / "mesh.npz")
                layer = "a texture, new UV map" if case.unwrapped else "a texture"
                print(
                    f"| {case.name} | {layer} | {f['coverage']:.3f} | {f['seams'][0][0]:.2f}, {f['seams'][0][1]:.1f} "
                    f"| {max(m for m, _ in f['seams'][1:]):.2f}, {max(x for _, x in f['seams'][1:]):.1f} "
                    f"| {f['psnr']:.1f} | {f['overlap']:.0%} | {kept} | {seconds + f['seconds']:.1f} | {f['memory']} |",
                    flush=True,
                )
        csd_addon.unregister()


class Baker:
    """A process with torch that bakes one mesh after another: paths in, figures out."""

    def __init__(self, size: int) -> None:
        from csd_addon.jobs.process import worker_environment

        python = os.environ.get("CSD_WORKER_PYTHON", sys.executable)
        self._child = subprocess.Popen(
            [python, str(Path(__file__).resolve()), "--bake", "-", "--size", str(size)], text=True,
            env=worker_environment(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, mesh: Path) -> dict[str, Any]:
        self._child.stdin.write(f"{mesh}\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())

    def __enter__(self) -> Baker:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stdin.close()
        self._child.wait()


# --- The bake: in the worker's Python ----------------------------------------------------------------------------


def serve(size: int) -> None:
    for line in sys.stdin:
        print(json.dumps(baked(Path(line.strip()), size)), flush=True)


def baked(path: Path, size: int) -> dict[str, Any]:
    """Figures of the bake of the mesh at ``path``."""
    from csd_addon.core.atlas import seam_error
    from csd_addon.core.images import parts
    from csd_addon.core.mesh import MeshData, Normalization
    from csd_addon.worker.bake.bake import bake, build_atlas
    from csd_addon.worker.bake.measure import Filling, measure
    from tests.worker.test_bake import PositionField, mip

    reset_peak()
    began = time.process_time()
    mesh = MeshData.load(path)
    normalization = Normalization.of(mesh.positions[np.unique(mesh.triangles)])
    meshes, images, fillings = parts(mesh), {}, []
    for number, part in meshes.items():
        atlas = build_atlas(part, normalization, (size, size))
        images[number] = np.round(bake(PositionField(), atlas)[0] * 255) / 255
        fillings.append(Filling.of(atlas))
    seconds = time.process_time() - began
    figures = measure(PositionField(), meshes, normalization, images, fillings)
    seams = [(figures["seam_error"]["mean"], figures["seam_error"]["max"])]
    seams += [seam_error({n: mip(image, level) for n, image in images.items()}, meshes) for level in MIPS]
    return {
        "coverage": figures["coverage"], "seams": seams, "psnr": figures["bake_psnr"], "overlap": figures["overlap"],
        "seconds": seconds, "memory": peak_mb(),
    }  # fmt: skip


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> int:
    """Largest resident memory since ``reset_peak``, Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


# --- The scale ---------------------------------------------------------------------------------------------------


def scale() -> None:
    """Time of export, views and bake over triangles and texels, each run in a process of its own."""
    found = {}
    for triangles, size in [*((t, SIZES[1]) for t in TRIANGLES), *((TRIANGLES[1], s) for s in SIZES),
                            (TRIANGLES[-1], SIZES[-1])]:  # fmt: skip
        if (triangles, size) not in found:
            found[triangles, size] = measured(triangles, size)
            f = found[triangles, size]
            print(f"{f['triangles']:>9} triangles, {size}²: export {f['export']:.1f}, {VIEWS} views {f['views']:.1f}, "
                  f"bake {f['bake']:.1f} CPU s, {f['memory']} MB", flush=True)  # fmt: skip
    for name in ("export", "views", "bake"):
        by_triangles = exponent([(found[t, SIZES[1]]["triangles"], found[t, SIZES[1]][name]) for t in TRIANGLES])
        by_texels = exponent([(s * s, found[TRIANGLES[1], s][name]) for s in SIZES])
        print(f"{name}: time grows with triangles^{by_triangles:.2f}, with texels^{by_texels:.2f}")


def exponent(pairs: list[tuple[float, float]]) -> float:
    """Slope of log time over log number, between the first and the last."""
    (n, a), (m, b) = pairs[0], pairs[-1]
    return float(np.log(b / a) / np.log(m / n))


def measured(triangles: int, size: int) -> dict[str, float]:
    from csd_addon.jobs.process import worker_environment

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "mesh.npz"
        count, export = exported(triangles, path)
        python = os.environ.get("CSD_WORKER_PYTHON", sys.executable)
        done = subprocess.run(
            [python, __file__, "--scale", "--bake", str(path), "--size", str(size)], stdout=subprocess.PIPE,
            env=worker_environment(os.environ), check=True, text=True,
        )  # fmt: skip
    return {"triangles": count, "export": export, **json.loads(done.stdout)}


def exported(triangles: int, path: Path) -> tuple[int, float]:
    """Make a torus in Blender, read it and write it as a job's mesh; its triangles, and CPU seconds of the latter."""
    import bpy

    from csd_addon.core.checks import check_mesh, check_uvs
    from csd_addon.scene.read_mesh import read_mesh

    bpy.ops.wm.read_factory_settings(use_empty=True)
    obj = torus(round((triangles / 4) ** 0.5))
    began = time.process_time()
    mesh = read_mesh(obj)
    assert not check_mesh(mesh, "x") and not check_uvs(mesh, "x")
    mesh.save(path)
    return len(mesh.triangles), time.process_time() - began


def torus(rings: int) -> Any:
    """An object of ``rings`` x 2 ``rings`` quads, its UVs a grid. Blender's own operators are far slower."""
    import bpy

    across, around = rings, 2 * rings
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(across), np.arange(around), indexing="ij"))
    a, b = 2 * np.pi * i / across, 2 * np.pi * j / around
    radius = 1 + 0.4 * np.cos(a)
    points = np.stack([radius * np.cos(b), radius * np.sin(b), 0.4 * np.sin(a)], 1)
    corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
    quads = np.stack([(i + di) % across * around + (j + dj) % around for di, dj in corners], 1)
    uvs = np.stack([np.stack([(j + dj) / around, (i + di) / across], 1) for di, dj in corners], 1)
    mesh = bpy.data.meshes.new("Torus")
    mesh.from_pydata(points, [], quads)
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", (0.01 + 0.98 * uvs).astype(np.float32).ravel())
    obj = bpy.data.objects.new("Torus", mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    return obj


def views_and_bake(path: Path, size: int) -> dict[str, float]:
    """CPU seconds of the views at 512 and of the bake from the balanced preset's grid, as a job does both."""
    import torch

    from benchmarks.bake import random_field
    from csd_addon.core.mesh import MeshData, Normalization
    from csd_addon.core.resolving import resolve
    from csd_addon.core.settings import JobSettings
    from csd_addon.worker.bake.bake import bake, build_atlas
    from csd_addon.worker.bake.measure import Filling, unseen_texels
    from csd_addon.worker.bake.unseen import Seen, SeenFaces, directions
    from csd_addon.worker.look.surface import Surface
    from csd_addon.worker.look.views import sample_pool

    torch.set_num_threads(1)
    mesh, recipe = MeshData.load(path), resolve(JobSettings(prompt="x", preset="balanced"), {})
    normalization = Normalization.of(mesh.positions)
    marks = [time.process_time()]
    views = sample_pool(Surface.of(mesh, normalization), recipe.views, torch.Generator().manual_seed(0), ("depth",))
    pool = list(itertools.islice(views, VIEWS))
    marks.append(time.process_time())
    seen = SeenFaces(Seen.of(pool, mesh, recipe.views.resolution), directions(mesh))
    atlas = build_atlas(mesh, normalization, (size, size))
    bake(random_field(recipe.field, 1.0, 1), atlas, seen=seen)
    Filling.of(atlas, unseen_texels(atlas, seen))
    marks.append(time.process_time())
    return {"views": marks[1] - marks[0], "bake": marks[2] - marks[1], "memory": peak_mb()}


if __name__ == "__main__":
    if "--bake" in sys.argv and "-" in sys.argv:
        serve(int(sys.argv[sys.argv.index("--size") + 1]))
    elif "--scale" in sys.argv and "--bake" in sys.argv:
        given = dict(zip(sys.argv, sys.argv[1:], strict=False))
        print(json.dumps(views_and_bake(Path(given["--bake"]), int(given["--size"]))))
    else:
        main()
