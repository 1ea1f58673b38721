"""Our bake beside Blender's own: Cycles' emission bake with one sample, same mesh, UVs, size and margin, in one run.

    python benchmarks/bake.py [--sizes 1024 2048 4096] [--grow "red brick" ...]

Run it with a Python that has the bpy wheel; ``CSD_WORKER_PYTHON`` names one that has torch, which does our part. CPU
seconds of all threads are counted, because other work on a machine stretches wall time; both are printed. The known
image that is baked is smooth over the surface: colour = position. Ours comes from a field of that form.

Three hash grids with random tables stand for grown ones in the times: *bundled*, the bundled teacher's, with about the
contrast of its cobblestone and tiles; *balanced*, 16 levels up to 2048 cells whose amplitude falls as 1 / cells, as
pictures' do; *noise*, the same with equal amplitudes, so that almost every texel is a mean of four points.
``--grow`` adds those that the teacher "mini" grows on the mesh, draft, for these prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MINI = ROOT / "csd_addon" / "teachers" / "mini"
RANDOM = ("bundled", "balanced", "noise")



def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of this process and wall seconds, of the quickest of three runs: other work only makes one slower."""
    found = []
    for _ in range(3):
        cpu, wall = time.process_time(), time.monotonic()
        work()
        found.append((time.process_time() - cpu, time.monotonic() - wall))
    return min(found)


def cycles(folder: Path, sizes: list[int]) -> dict[int, tuple[float, float]]:
    """Make the mesh, write it as the job's mesh, and bake its position as emission at each size."""
    import bpy

    from csd_addon.scene.read_mesh import read_mesh
    from csd_addon.scene.unwrap import unwrap_into_new_layer
    from csd_addon.worker.bake.margin import margin_width

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add()
    obj = bpy.context.object
    obj.modifiers.new("Subdivision", "SUBSURF").levels = 3
    bpy.ops.object.modifier_apply(modifier="Subdivision")
    layer = unwrap_into_new_layer(obj)
    obj.data.uv_layers.active = obj.data.uv_layers[layer]
    mesh = read_mesh(obj, layer)
    mesh.save(folder / "mesh.npz")
    print(f"{len(mesh.triangles)} triangles, charts by Smart UV Project")
    material = bpy.data.materials.new("Position")
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    geometry, shrink = nodes.new("ShaderNodeNewGeometry"), nodes.new("ShaderNodeVectorMath")
    emission, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    target = nodes.new("ShaderNodeTexImage")
    # The object stands at the origin, so world position is object position.
    shrink.operation, shrink.inputs[1].default_value, shrink.inputs[2].default_value = (
        "MULTIPLY_ADD", (1 / 3,) * 3, (0.5,) * 3,
    )  # fmt: skip
    for source, sink in ((geometry.outputs["Position"], shrink.inputs[0]), (shrink.outputs[0], emission.inputs[0]),
                         (emission.outputs[0], output.inputs[0])):  # fmt: skip
        links.new(source, sink)
    nodes.active = target
    obj.data.materials.clear()
    obj.data.materials.append(material)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 1, "CPU"
    scene.render.bake.margin_type = "EXTEND"
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    seconds = {}
    # The first one is not counted: it sets Cycles up.
    for size in (256, *sizes):
        image = bpy.data.images.new(f"Bake {size}", size, size, float_buffer=True)
        image.colorspace_settings.name = "Non-Color"
        target.image = image
        margin = margin_width((size, size))
        seconds[size] = timed(lambda m=margin: bpy.ops.object.bake(type="EMIT", margin=m))
        pixels = np.empty(size * size * 4, np.float32)
        image.pixels.foreach_get(pixels)
        np.save(folder / f"cycles_{size}.npy", pixels.reshape(size, size, 4)[::-1, :, :3])
        bpy.data.images.remove(image)
    return {size: seconds[size] for size in sizes}


def ours(folder: Path, sizes: list[int], prompts: list[str]) -> None:
    """Bake the position and a hash-grid field; one JSON line for each size."""
    import torch

    from csd_addon.core.mesh import MeshData, Normalization
    from csd_addon.core.resolving import resolve
    from csd_addon.core.settings import JobSettings
    from csd_addon.core.teacher_folder import read_preferences
    from csd_addon.worker.bake.bake import bake, build_atlas
    from csd_addon.worker.bake.margin import fill_margin, margin_width

    torch.set_num_threads(1)
    mesh = MeshData.load(folder / "mesh.npz")
    normalization = Normalization.of(mesh.positions)
    settings = JobSettings(prompt="x", preset="balanced")
    bundled, balanced = (resolve(settings, said).field for said in (read_preferences(MINI), {}))
    fields = {"bundled": random_field(bundled, 1.5, 0), "balanced": random_field(balanced, 1.0, 1),
              "noise": random_field(balanced, 0.3, 0)}  # fmt: skip
    fields |= {prompt: optimized(prompt, mesh) for prompt in prompts}

    class Position(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = torch.nn.Parameter(torch.zeros(3))

        def forward(self, points: torch.Tensor) -> torch.Tensor:
            center = torch.tensor(normalization.center, dtype=torch.float32)
            return (points / normalization.scale + center) / 3 + 0.5

    # What only the first bake of a process does is no part of the times.
    bake(fields["bundled"], build_atlas(mesh, normalization, (256, 256)))
    for size in sizes:
        shape = (size, size)

        def geometry(shape: tuple[int, int] = shape) -> None:
            atlas = build_atlas(mesh, normalization, shape)
            fill_margin(np.zeros((*shape, 3), np.float32), atlas.filled(), margin_width(shape))

        figures = {"raster": timed(geometry)}
        for name, field in fields.items():
            figures[name] = timed(lambda f=field, s=shape: bake(f, build_atlas(mesh, normalization, s)))
        image, filled = bake(Position(), build_atlas(mesh, normalization, shape))
        theirs = np.load(folder / f"cycles_{size}.npy")
        chart = build_atlas(mesh, normalization, shape).chart
        difference = np.abs(image - theirs).max(axis=2) * 255
        figures |= {"mean": float(difference[chart].mean()), "largest": float(difference[chart].max())}
        print(json.dumps({"size": size, **figures}), flush=True)


def optimized(prompt: str, mesh: Any) -> Any:
    """The field that "mini" grows on ``mesh``."""
    import torch

    from csd_addon.core.mesh import Normalization
    from csd_addon.core.resolving import resolve
    from csd_addon.core.settings import JobSettings
    from csd_addon.core.teacher_folder import read_preferences
    from csd_addon.worker.look.surface import Surface
    from csd_addon.worker.look.views import sample_pool
    from csd_addon.worker.method.assembly import assemble
    from csd_addon.worker.method.guide import Words
    from csd_addon.worker.shape.appearance import NewTexture
    from csd_addon.worker.teacher.diffusion import DiffusionTeacher

    device, generator = torch.device("cpu"), torch.Generator().manual_seed(0)
    teacher = DiffusionTeacher(
        {"root": str(MINI)}, device, torch.float32, use=("depth", "canny"), lora_words="",
    )  # fmt: skip
    recipe = resolve(JobSettings(prompt=prompt, preset="draft"), read_preferences(MINI))
    surface = Surface.of(mesh, Normalization.of(mesh.positions), device)
    pool = list(sample_pool(surface, recipe.views, generator, teacher.conditions))
    loop = assemble(
        teacher, pool, NewTexture(recipe), recipe, Words(prompt, recipe.guide.negative), loss="csd",
        generator=generator,
    )  # fmt: skip
    while loop.iteration < loop.iterations:
        loop.step()
    return loop.shape.field


def random_field(numbers: Any, amplitude: float, falling: int) -> Any:
    """A field with random tables of this amplitude at the coarsest level, falling with that power of the resolution.

    numbers: ``core.recipe.Field``.
    """
    import torch

    from csd_addon.core.channels import CHANNELS, width
    from csd_addon.worker.field.hashgrid import TextureField, level_table

    levels = level_table(numbers.levels, numbers.table_log2, numbers.coarsest, numbers.finest)
    field = TextureField(levels, channels=width(CHANNELS), albedo=numbers.albedo)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for level in levels:
            size = amplitude * (numbers.coarsest / level.resolution) ** falling
            for table in field.grid_parameters():
                table[level.span].uniform_(-size, size, generator=generator)
    return field


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--grow", nargs="+", default=[], metavar="PROMPT")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.ours:
        ours(words.ours, words.sizes, words.grow)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        blender = cycles(folder, words.sizes)
        from csd_addon.jobs.process import worker_environment

        python = os.environ.get("CSD_WORKER_PYTHON", sys.executable)
        command = [python, __file__, "--ours", str(folder), "--sizes", *map(str, words.sizes)]
        command += ["--grow", *words.grow] if words.grow else []
        environment = worker_environment(os.environ)
        lines = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    names = (*RANDOM, *words.grow)
    print("| size | Cycles, CPU s (wall) | raster + margin | × "
          + "".join(f"| {name} | × " for name in names)
          + "| difference in charts, mean (largest) of 255 |")  # fmt: skip
    print("|" + "---|" * (5 + 2 * len(names)))
    for line in lines.stdout.splitlines():
        f = json.loads(line)
        their = blender[f["size"]]
        row = " ".join(
            f"| {f[name][0]:.2f} ({f[name][1]:.2f}) | {their[0] / f[name][0]:.2f}"
            for name in ("raster", *names)
        )
        print(f"| {f['size']} | {their[0]:.2f} ({their[1]:.2f}) {row} | {f['mean']:.2f} ({f['largest']:.1f}) |")


if __name__ == "__main__":
    main()
