"""What a step costs with Stable Diffusion 1.5 and two ControlNets at true size (random weights), on one device.

    python benchmarks/gpu_step.py [--device cuda] [--job] [--compile] [--tiny --device cpu]

In one run, the bars of the project last: milliseconds per view for 2 and 3 rows, 1, 4 and 8 views, ControlNet
residuals for each row or shared, with the share of the device's own matrix rate; where the time of a step goes; every
rung of the memory's ladder and the plans for cards of 6 to 24 GB beside their estimates; a plain loop as public code
has it; and what a job of 1000 iterations x 4 views takes with its bake, by these figures. ``--job`` runs that job (two
minutes or so), ``--compile`` times 8 views compiled too (minutes of compiling). ``--tiny`` uses networks of a few
channels, to see that it runs. Without the last three it is meant to take less than five minutes on a large GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from csd_addon.core.mesh import Normalization  # noqa: E402
from csd_addon.core.recipe import Recipe, constant  # noqa: E402
from csd_addon.core.resolving import overridden  # noqa: E402
from csd_addon.worker.bake.bake import bake, build_atlas  # noqa: E402
from csd_addon.worker.look.batches import Batch  # noqa: E402
from csd_addon.worker.look.gbuffer import render_gbuffer  # noqa: E402
from csd_addon.worker.look.surface import Surface  # noqa: E402
from csd_addon.worker.look.views import PooledView, sample_pool  # noqa: E402
from csd_addon.worker.method.assembly import assemble  # noqa: E402
from csd_addon.worker.method.guide import FrozenGuide, Words  # noqa: E402
from csd_addon.worker.method.loop import Loop  # noqa: E402
from csd_addon.worker.method.pullback import Encoded  # noqa: E402
from csd_addon.worker.shape.appearance import NewTexture  # noqa: E402
from csd_addon.worker.shape.trained import TrainedSurface  # noqa: E402
from csd_addon.worker.teacher.diffusion import DiffusionTeacher  # noqa: E402
from csd_addon.worker.teacher.memory import OVERHEAD, Plan, empty_cache, fit, ladder  # noqa: E402
from tests import shapes  # noqa: E402
from tests.worker.true_size import true_networks  # noqa: E402

REPEATS = 5
GB = 10**9
# w2 for two rows (text and null) and for three.
ROWS = {2: constant(0.0), 3: constant(0.5)}
MESH = shapes.torus(265, 133, bump=0.05)
CARDS = (6, 8, 12, 24)
ITERATIONS, VIEWS, TEXELS = 1000, 4, 2048
# The bars: least share of the matrix rate, most share of what is not the teacher, most seconds of the job.
LEAST_SHARE, MOST_REST, MOST_SECONDS = 0.45, 0.10, 75.0


@dataclass(frozen=True)
class Bench:
    """The teacher, the views of a mesh, and what was measured so far, by (rows, views, shared)."""

    teacher: DiffusionTeacher
    base: Recipe
    pool: Sequence[PooledView]
    rate: float
    repeats: int = REPEATS
    operations: dict[tuple[int, int, bool], int] = field(default_factory=dict)
    spent: dict[tuple[int, int, bool], float] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.teacher.device

    def seconds(self, work: Callable[[], object]) -> float:
        return seconds(self.device, work, self.repeats)

    def loop(self, views: int, rows: int, *, share: bool = False) -> Loop:
        recipe = overridden(self.base, {"views_per_step": views, "w2": ROWS[rows], "share_control": share})
        return assemble(
            self.teacher, self.pool[: 2 * views], NewTexture(recipe), recipe,
            Words("a red brick wall", recipe.guide.negative), loss="csd", generator=torch.Generator().manual_seed(0),
        )  # fmt: skip


def first_views(loop: Loop, count: int) -> Batch:
    """The first ``count`` views of the loop's pool over grey."""
    return Batch(tuple(range(count)), tuple(loop.views.pool[:count]), torch.full((count, 3), 0.5))


def sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(device: torch.device, work: Callable[[], object], repeats: int) -> float:
    """Least seconds of ``repeats`` calls, after as many as half of them to warm up."""
    spent = []
    for _ in range(repeats + repeats // 2):
        sync(device)
        began = time.perf_counter()
        work()
        sync(device)
        spent.append(time.perf_counter() - began)
    return min(spent[repeats // 2 :])


def surface_on(device: torch.device) -> Surface:
    return Surface.of(MESH, Normalization.of(MESH.positions), device)


def views_on(device: torch.device, recipe: Recipe, teacher: DiffusionTeacher) -> list[PooledView]:
    return list(sample_pool(surface_on(device), recipe.views, torch.Generator().manual_seed(0), teacher.conditions))


def matrix_rate(device: torch.device, dtype: torch.dtype, edge: int) -> float:
    """Multiply-adds of a large product, times 2, per second."""
    a, b = (torch.randn(edge, edge, device=device, dtype=dtype) for _ in range(2))
    return 2 * edge**3 / seconds(device, lambda: a @ b, REPEATS)


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of ``work``, as torch counts them (products and convolutions)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def steps(bench: Bench, batches: Sequence[int], title: str, shares: Sequence[bool] = (False, True)) -> None:
    print(f"\n{title}\n  rows views residuals    ms/step   ms/view   TFLOP  share of the matrix rate")
    for case in [(rows, views, share) for rows in ROWS for views in batches for share in shares]:
        rows, views, share = case
        loop = bench.loop(views, rows, share=share)
        # Counted once: what is compiled can't be looked into.
        count = bench.operations.setdefault(case, 0) or operations(loop.step)
        bench.operations[case], bench.spent[case] = count, bench.seconds(loop.step)
        spent = bench.spent[case]
        print(
            f"  {rows:4} {views:5} {'shared' if share else 'per row':9} {spent * 1e3:10.1f} "
            f"{spent * 1e3 / views:9.1f} {count / 1e12:7.2f}  {count / spent / bench.rate:.0%}"
        )


def parts(bench: Bench, views: int) -> float:
    """Where the time of one step goes; returns the share of everything that is not the teacher."""
    loop = bench.loop(views, 2)
    batch = first_views(loop, views)
    images = loop.shape.images(batch).detach()
    whole = bench.seconds(loop.step)

    def encode() -> None:
        encoded = Encoded(bench.teacher.encode, images, views)
        encoded.pull_back(torch.ones_like(encoded.x))

    def texture() -> None:
        loop.shape.images(batch).sum().backward()

    x = Encoded(bench.teacher.encode, images, 1).x
    t = torch.full((views,), 300, device=bench.device)
    noise = torch.randn_like(x)
    spent = {
        "noise prediction": bench.seconds(lambda: loop.guide.gradient(batch, x, t, noise, 0.0)),
        "autoencoder forward and backward": bench.seconds(encode),
    }
    rest = whole - sum(spent.values())
    spent |= {"everything that is not the teacher": rest, "of that, field and compositing": bench.seconds(texture)}
    print(f"\nParts of a step of {views} views, two rows ({whole * 1e3:.1f} ms)")
    for name, value in spent.items():
        print(f"  {name:34} {value * 1e3:8.1f} ms  {value / whole:.0%}")
    surface, view = surface_on(bench.device), batch.views[0].view
    raster = bench.seconds(lambda: render_gbuffer(surface, view, size=bench.base.views.resolution))
    print(f"  one G-buffer (once per view of the pool) {raster * 1e3:.1f} ms")
    return rest / whole


def memory(bench: Bench, views: int) -> None:
    """Peak memory of every rung beside its estimate, then a step under the limit of each card."""
    print(f"\nMemory of a step of {views} views, three rows: estimate, measured, rung")
    need = bench.loop(views, 3).need
    for plan in ladder(need):
        print(f"  {need.bytes(plan) / GB:6.2f} GB  {peak(bench, views, plan):12}  {plan.words()}")
    print("\nPlans for cards, three rows, half a gigabyte for the desktop: estimate, measured under that limit, plan")
    for card, count in [(card, count) for card in CARDS for count in (1, VIEWS)]:
        need = bench.loop(count, 3).need
        free = (card - 0.5) * GB
        plan = fit(need, int(free))
        measured = peak(bench, count, plan, limit=free - OVERHEAD)
        print(f"  {card:2} GB, {count} views: {need.bytes(plan) / GB:6.2f} GB  {measured:12}  {plan.words()}")
    bench.teacher.adopt(Plan(3 * views, views))
    bench.teacher.plan = None


def peak(bench: Bench, views: int, plan: Plan, limit: float | None = None) -> str:
    """The most memory that torch had in use in two steps, with its own limit where one is given."""
    loop, cuda = bench.loop(views, 3), bench.device.type == "cuda"
    loop.work_in(plan)
    empty_cache(bench.device)
    if cuda:
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (limit or total) / total), bench.device)
        torch.cuda.reset_peak_memory_stats(bench.device)
    for _ in range(2):
        loop.step()
    if not cuda:
        return "not measured"
    torch.cuda.set_per_process_memory_fraction(1.0, bench.device)
    # A step that ran out took a smaller plan, and says so.
    return f"{torch.cuda.max_memory_allocated(bench.device) / GB:.2f} GB{' (stepped down)' * bool(loop.notes)}"


def plain_loop(bench: Bench, tiny: bool) -> float:
    """Seconds per view of the public way: one view, each row its own forward, eager, channels first, half precision."""
    dtype = torch.float16 if bench.device.type == "cuda" else torch.bfloat16
    networks = true_networks(dtype, str(bench.device), tiny=tiny)
    teacher = DiffusionTeacher.of(networks, Path("random"), bench.device, dtype)
    for network in (networks.unet, networks.vae, *networks.controlnets.values()):
        network.to(memory_format=torch.contiguous_format)
    loop = replace(bench, teacher=teacher).loop(1, 3)
    assert isinstance(loop.guide, FrozenGuide) and isinstance(loop.shape, TrainedSurface)
    batch, told = first_views(loop, 1), loop.guide.told(first_views(loop, 1), 0.0)
    parameters = [parameter for group in loop.shape.parameter_groups().values() for parameter in group]
    optimizer = torch.optim.Adam(parameters, fused=True)
    rows = {"text": 1.0, "negative": -0.5, "null": -0.5}

    def step() -> None:
        x = teacher.encode(loop.shape.images(batch))
        t = torch.full((1,), 300, device=bench.device)
        with torch.no_grad():
            g = sum(weight * teacher.predict_noise(x, t, told, (row,))[row] for row, weight in rows.items())
        optimizer.zero_grad()
        (x * g).sum().backward()
        optimizer.step()

    return bench.seconds(step)


def baked(loop: Loop, texels: int) -> float:
    """Seconds of the bake."""
    began = time.perf_counter()
    bake(loop.shape.field, build_atlas(MESH, Normalization.of(MESH.positions), (texels, texels)))
    return time.perf_counter() - began


def job(bench: Bench, iterations: int, views: int, texels: int, *, run: bool) -> float:
    """Seconds of a whole job of two rows with its bake: run, or by the milliseconds of a step."""
    loop = bench.loop(views, 2)
    bake_seconds = baked(loop, texels)
    stepped, way = iterations * bench.spent[2, views, False], "by the step"
    if run:
        sync(bench.device)
        began = time.perf_counter()
        for _ in range(iterations):
            loop.step()
        sync(bench.device)
        stepped, way = time.perf_counter() - began, "run"
    total = stepped + bake_seconds
    print(
        f"\nA job of {iterations} iterations x {views} views, two rows, {way}: steps {stepped:.1f} s, bake at {texels} "
        f"texels {bake_seconds:.1f} s, together {total:.1f} s"
    )
    return total


def bars(bench: Bench, views: int, rest: float, total: float) -> None:
    """The project's bars beside what was measured."""
    shares = {r: bench.operations[r, views, False] / bench.spent[r, views, False] / bench.rate for r in ROWS}
    worst = min(shares.values())
    print("\nBars")
    for text, met in (
        (f"share of the matrix rate at {views} views {worst:.0%}, at least {LEAST_SHARE:.0%}", worst >= LEAST_SHARE),
        (f"what is not the teacher {rest:.0%} of the step, less than {MOST_REST:.0%}", rest < MOST_REST),
        (f"the job {total:.1f} s, less than {MOST_SECONDS:.0f} s", total < MOST_SECONDS),
    ):
        print(f"  {'met    ' if met else 'NOT MET'}  {text}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name in ("--tiny", "--job", "--compile"):
        parser.add_argument(name, action="store_true")
    return parser.parse_args()


def main() -> None:
    words = arguments()
    # Who is cut off after ten minutes has read what was measured until then.
    sys.stdout.reconfigure(line_buffering=True)
    torch.set_num_threads(1)
    device, dtype = torch.device(words.device), torch.bfloat16
    rate = matrix_rate(device, dtype, 512 if words.tiny else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    print(f"{name}, torch {torch.__version__}: {rate / 1e12:.2f} TFLOP/s for a large bf16 product")
    networks = true_networks(dtype, words.device, tiny=words.tiny)
    teacher = DiffusionTeacher.of(networks, Path("random"), device, dtype)
    batches = (1, 2) if words.tiny else (1, 4, 8)
    sizes_of_tiny = {"resolution": 128, "levels": 4, "table_log2": 10} if words.tiny else {}
    base, most = overridden(Recipe(), {"view_pool": 2 * batches[-1], **sizes_of_tiny}), batches[-1]
    bench = Bench(teacher, base, views_on(device, base, teacher), rate, 1 if words.tiny else REPEATS)
    steps(bench, batches, "Steps, eager")
    rest = parts(bench, most)
    sizes = (2, 2, 256) if words.tiny else (ITERATIONS, VIEWS, TEXELS)
    total = job(bench, *sizes, run=words.job)
    bars(bench, most, rest, total)
    plain, ours = plain_loop(bench, words.tiny), bench.spent[3, most, False] / most
    print(f"\nThree rows, ms per view: a plain loop {plain * 1e3:.1f}, ours {ours * 1e3:.1f}: {plain / ours:.1f} times")
    memory(bench, most)
    if words.compile:
        teacher.compile()
        steps(bench, (most,), "Steps, compiled", shares=(False,))


if __name__ == "__main__":
    main()
