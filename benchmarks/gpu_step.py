"""What a step costs with Stable Diffusion 1.5 and two ControlNets at true size (random weights), on one device.

    python benchmarks/gpu_step.py [--device cuda] [--job] [--tiny --device cpu]

Everything in one run: milliseconds per view for 2 and 3 rows, 1, 4 and 8 views, ControlNet residuals for each row or
shared, compiled or not; the share of the device's own matrix rate; where the time goes; the memory of every rung of
the ladder; and, beside it, a plain loop as public code has it. ``--job`` adds a job of 1000 iterations x 4 views with
its bake. ``--tiny`` uses networks of a few channels, to see that it runs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from csd_addon.core.mesh import Normalization  # noqa: E402
from csd_addon.core.settings import Recipe, constant  # noqa: E402
from csd_addon.worker.bake import bake, build_atlas  # noqa: E402
from csd_addon.worker.guidance.pullback import Encoded  # noqa: E402
from csd_addon.worker.guidance.teacher import DiffusionTeacher  # noqa: E402
from csd_addon.worker.memory import ladder  # noqa: E402
from csd_addon.worker.render.gbuffer import render_gbuffer  # noqa: E402
from csd_addon.worker.render.surface import Surface  # noqa: E402
from csd_addon.worker.render.views import sample_pool  # noqa: E402
from csd_addon.worker.synthesis import Synthesis, composite  # noqa: E402
from tests import shapes  # noqa: E402
from tests.worker.true_size import true_networks  # noqa: E402

REPEATS = 5
# w2 for two rows (text and null) and for three.
ROWS = {2: constant(0.0), 3: constant(0.5)}


@dataclass(frozen=True)
class Bench:
    """The teacher, a mesh, and the device that they are on."""

    teacher: DiffusionTeacher
    device: torch.device
    base: Recipe
    rate: float
    repeats: int = REPEATS

    def sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Least seconds of ``repeats`` calls, after as many as half of them to warm up."""
        spent = []
        for _ in range(self.repeats + self.repeats // 2):
            self.sync()
            began = time.perf_counter()
            work()
            self.sync()
            spent.append(time.perf_counter() - began)
        return min(spent[self.repeats // 2 :])

    def loop(self, views: int, rows: int, *, share: bool = False) -> Synthesis:
        recipe = replace(self.base, views_per_step=views, view_pool=2 * views, w2=ROWS[rows], share_control=share)
        generator = torch.Generator().manual_seed(0)
        pool = list(sample_pool(surface_on(self.device), recipe, generator, self.teacher.conditions))
        return Synthesis(
            self.teacher, pool, recipe, prompt="a red brick wall", negative=recipe.negative, loss="csd",
            generator=generator,
        )  # fmt: skip


def surface_on(device: torch.device) -> Surface:
    mesh = shapes.torus(265, 133, bump=0.05)
    return Surface.of(mesh, Normalization.of(mesh.positions), device)


def matrix_rate(device: torch.device, dtype: torch.dtype, edge: int) -> float:
    """Multiply-adds of a large product, times 2, per second."""
    a, b = (torch.randn(edge, edge, device=device, dtype=dtype) for _ in range(2))
    bench = Bench(None, device, Recipe(), 0.0)  # type: ignore[arg-type]
    return 2 * edge**3 / bench.seconds(lambda: a @ b)


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of ``work``, as torch counts them (products and convolutions)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def steps(bench: Bench, batches: tuple[int, ...], title: str) -> None:
    print(f"\n{title}\n  rows views residuals    ms/step   ms/view   TFLOP  share of the matrix rate")
    for rows in ROWS:
        for views in batches:
            for share in (False, True):
                loop = bench.loop(views, rows, share=share)
                count = operations(loop.step)
                spent = bench.seconds(loop.step)
                word = "shared" if share else "per row"
                part = count / spent / bench.rate
                print(
                    f"  {rows:4} {views:5} {word:9} {spent * 1e3:10.1f} {spent * 1e3 / views:9.1f} {count / 1e12:7.2f}"
                    f"  {part:.0%}"
                )


def parts(bench: Bench, views: int) -> None:
    """Where the time of one step goes."""
    loop = bench.loop(views, 2)
    drawn = loop.pool[:views]
    grey = torch.full((views, 3), 0.5)
    images = composite(drawn, loop.colors(drawn), grey).detach()
    whole = bench.seconds(loop.step)

    def encode() -> None:
        encoded = Encoded(bench.teacher.encode, images, views)
        encoded.pull_back(torch.ones_like(encoded.x))

    def field() -> None:
        composite(drawn, loop.colors(drawn), grey).sum().backward()

    x = Encoded(bench.teacher.encode, images, 1).x
    t = torch.full((views,), 300, device=bench.device)
    noise = torch.randn_like(x)
    spent = {
        "noise prediction": bench.seconds(lambda: loop.guide(drawn, grey, x, t, noise)),
        "autoencoder forward and backward": bench.seconds(encode),
        "field and compositing": bench.seconds(field),
    }
    print(f"\nParts of a step of {views} views, two rows ({whole * 1e3:.1f} ms)")
    for name, value in spent.items():
        print(f"  {name:34} {value * 1e3:8.1f} ms  {value / whole:.0%}")
    teacher = spent["noise prediction"] + spent["autoencoder forward and backward"]
    print(f"  {'everything that is not the teacher':34} {(whole - teacher) * 1e3:8.1f} ms  {1 - teacher / whole:.0%}")
    surface, view = surface_on(bench.device), drawn[0].view
    raster = bench.seconds(lambda: render_gbuffer(surface, view, size=bench.base.resolution))
    print(f"  one G-buffer (once per view of the pool) {raster * 1e3:.1f} ms")


def memory(bench: Bench, views: int) -> None:
    """Peak memory of every rung beside its estimate."""
    print(f"\nMemory of a step of {views} views, three rows: rung, estimate, measured")
    for plan in ladder(views, 3):
        loop = bench.loop(views, 3)
        loop.budget(loop.need(), plan)
        peak = "not measured"
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(bench.device)
        loop.step()
        if bench.device.type == "cuda":
            peak = f"{torch.cuda.max_memory_allocated(bench.device) / 1e9:.2f} GB"
        print(f"  {plan.words():75} {loop.need().bytes(plan) / 1e9:6.2f} GB  {peak}")
    bench.teacher.adopt(ladder(views, 3)[0])
    bench.teacher.plan = None


def plain_loop(bench: Bench, views: int) -> float:
    """Seconds per view of the public way: one view, each row its own forward, nothing laid out for the device."""
    loop = bench.loop(1, 3)
    drawn = loop.pool[:1]
    grey = torch.full((1, 3), 0.5)
    rows = {"text": 1.0, "negative": -0.5, "null": -0.5}

    def step() -> None:
        images = composite(drawn, loop.colors(drawn), grey)
        x = bench.teacher.encode(images)
        t = torch.full((1,), 300, device=bench.device)
        with torch.no_grad():
            texts = {"text": "a red brick wall", "negative": loop.negative, "null": ""}
            g = sum(
                weight * bench.teacher.predict_noise(x, t, loop.embed([texts[row]]), loop.conditions(drawn), [1.0, 1.0])
                for row, weight in rows.items()
            )
        loop.optimizer.zero_grad()
        (x * g).sum().backward()
        loop.optimizer.step()

    return bench.seconds(step)


def job(bench: Bench, iterations: int) -> None:
    """A whole job of two rows and four views, with its bake at 2048 texels."""
    loop = bench.loop(4, 2, share=True)
    bench.sync()
    began = time.perf_counter()
    for _ in range(iterations):
        loop.step()
    bench.sync()
    stepped = time.perf_counter() - began
    mesh = shapes.torus(265, 133, bump=0.05)
    bake(loop.field, build_atlas(mesh, Normalization.of(mesh.positions), (2048, 2048)))
    total = time.perf_counter() - began
    print(f"\nA job of {iterations} iterations x 4 views, two rows: steps {stepped:.1f} s, with the bake {total:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--job", action="store_true")
    words = parser.parse_args()
    torch.set_num_threads(1)
    device, dtype = torch.device(words.device), torch.bfloat16
    rate = matrix_rate(device, dtype, 512 if words.tiny else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    print(f"{name}, torch {torch.__version__}: {rate / 1e12:.2f} TFLOP/s for a large bf16 product")
    networks = true_networks(dtype, words.device, tiny=words.tiny)
    teacher = DiffusionTeacher.of(networks, Path("random"), device, dtype)
    base = Recipe(resolution=128, levels=4, table_log2=10) if words.tiny else Recipe()
    bench = Bench(teacher, device, base, rate, repeats=1 if words.tiny else REPEATS)
    batches = (1, 2) if words.tiny else (1, 4, 8)
    steps(bench, batches, "Steps, eager")
    parts(bench, batches[-1])
    memory(bench, batches[-1])
    ours, plain = bench.seconds(bench.loop(batches[-1], 3).step) / batches[-1], plain_loop(bench, 1)
    print(f"\nThree rows, ms per view: a plain loop {plain * 1e3:.1f}, ours {ours * 1e3:.1f}: {plain / ours:.1f} times")
    if words.job:
        job(bench, 2 if words.tiny else 1000)
    if device.type == "cuda":
        teacher.compile()
        steps(bench, batches, "Steps, compiled")


if __name__ == "__main__":
    main()
