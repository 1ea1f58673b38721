"""How long Blender's window has to wait for us while a texture grows: 70,000 triangles, 2048 pixels.

    python benchmarks/window.py [--edit] [--fake] [--blender "PROGRAM [words]"]

Starts a Blender with a window (on a machine without a screen: "xvfb-run -a blender") and runs itself inside. Printed
are the milliseconds that our code kept the main thread: for the click that starts the job, for each tick of the timer
until the worker can begin, while it runs, and while the result is put up, and for the history's pictures; then all of
them together. For comparison, the gaps between two beats of a timer of 5 ms, without a job and with one: they hold
Blender's own drawing too, which software rendering makes long. Each of our figures comes twice: by the clock, and in
the main thread's own processor time, which other programs on the machine do not lengthen. Then when previews came.
--edit: changes a painted, packed texture instead of making a new one. --fake: without a teacher.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEAT = 0.005
IDLE_SECONDS = 10.0
RUN_SECONDS = 45.0
LIMIT = 400
EDGE = 2048


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--blender", default="blender", help="the program, with further words if it needs them")
    words.add_argument("--edit", action="store_true", help="an edit of a painted texture")
    words.add_argument("--fake", action="store_true", help="the worker of the tests: no teacher, no torch")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as home:
        variables = {**os.environ, "CSD_TEXTURE_HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
        if given.fake:
            variables["CSD_TEXTURE_WORKER"] = "fake"
        command = [*shlex.split(given.blender), "--factory-startup", "--python", str(Path(__file__).resolve())]
        command += ["--", "edit" if given.edit else "texture"]
        done = subprocess.run(command, env=variables, timeout=LIMIT, capture_output=True, text=True)
    figures = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    print("\n".join(figures) if figures else done.stdout + done.stderr)
    return 0 if figures else 1


# --- Inside Blender ------------------------------------------------------------------------------------------


# Milliseconds by the clock, and of the thread's processor time.
Cost = tuple[float, float]


class Clock:
    """Milliseconds of each call of what it wraps, by the clock and of processor time, and between beats of a timer."""

    def __init__(self) -> None:
        self.costs: dict[str, list[Cost]] = {}
        self.phase = ""
        self.gaps: list[float] = []
        self.beat = time.perf_counter()

    def wrap(self, work: Callable[..., Any], name: str = "") -> Callable[..., Any]:
        """name: what its calls are counted as; by default as what the phase is called in which they end."""

        def timed(*arguments: Any) -> Any:
            began, used = time.perf_counter(), time.thread_time()
            try:
                return work(*arguments)
            finally:
                cost = ((time.perf_counter() - began) * 1e3, (time.thread_time() - used) * 1e3)
                self.costs.setdefault(name or self.phase, []).append(cost)

        return timed

    def gap(self) -> None:
        now = time.perf_counter()
        self.gaps.append((now - self.beat) * 1e3)
        self.beat = now


def rows(name: str, costs: list[Cost]) -> str:
    return "\n".join(row(f"{name}, {kind}", [cost[i] for cost in costs]) for i, kind in ((0, "clock"), (1, "CPU")))


def row(name: str, values: list[float]) -> str:
    ordered = sorted(values)
    middle, high = (ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.99))
    return f"| {name:<44} | {len(ordered):>6} | {middle:>9.2f} | {high:>9.2f} | {ordered[-1]:>9.2f} |"


def steps(clock: Clock) -> Iterator[float]:
    """One state of the window after another; yields the seconds to wait for the next."""
    import bpy

    from csd_addon.ui import past_runs
    from csd_addon.ui.session import session

    def until(seconds: float) -> Iterator[float]:
        end = clock.beat + seconds
        while clock.beat < end:
            clock.gap()
            yield BEAT

    shown: list[float] = []

    def previews_until(seconds: float) -> Iterator[float]:
        count = 0
        for wait in until(seconds):
            if session.job.state.previews != count:
                count = session.job.state.previews
                shown.append(time.perf_counter())
            yield wait

    bpy.context.preferences.view.show_splash = False
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    area.spaces.active.shading.color_type = "TEXTURE"
    area.spaces.active.show_region_ui = True
    yield 1.0
    next(region for region in area.regions if region.type == "UI").active_panel_category = "CSD"
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.object.select_all(action="SELECT")
        bpy.ops.object.delete()
        bpy.ops.mesh.primitive_uv_sphere_add(segments=266, ring_count=133)
    triangles = len(bpy.context.view_layer.objects.active.data.loop_triangles) or 266 * 132 * 2
    settings, kind = bpy.context.scene.csd, sys.argv[-1]
    settings.prompt, settings.size, settings.preset, settings.iterations = "red brick", EDGE, "draft", 100_000
    if kind == "edit":
        settings.mode, settings.target, settings.remove = "EDIT", "blue brick", "red brick"
        paint(bpy.context.view_layer.objects.active)
    yield 3.0
    clock.gap()
    clock.gaps.clear()
    yield from until(IDLE_SECONDS)
    idle = list(clock.gaps)
    for click in ("the click that starts the worker", "the click"):
        clock.phase = "each tick until the worker begins"
        with bpy.context.temp_override(window=window, area=area):
            clock.wrap(lambda: getattr(bpy.ops.csd, kind)("INVOKE_DEFAULT"), click)()
        clicked = time.perf_counter()
        while session.job.is_preparing:
            yield 0.005
        clock.phase = "each tick of the run"
        while session.job.state.previews < 2:
            yield 0.02
        second = time.perf_counter() - clicked
        if click != "the click":
            session.job.cancel()
            while session.is_running:
                yield 0.1
    clock.gap()
    clock.gaps.clear()
    yield from previews_until(RUN_SECONDS)
    running, previews = list(clock.gaps), session.job.state.previews
    job = session.job
    job.stop_and_keep()
    while not job.state.ended:
        yield 0.005
    clock.phase = "each tick of putting the result up"
    while session.is_running:
        yield 0.005
    past_runs.wake()
    yield 3.0
    apart = [(b - a) * 1e3 for a, b in zip(shown, shown[1:], strict=False)]
    print(f"\n| {kind}: {triangles} triangles, {EDGE} pixels, {previews} previews, job {session.items[0].status}")
    print(f"| {'milliseconds':<44} | {'count':>6} | {'median':>9} | {'99 %':>9} | {'longest':>9} |")
    for name, costs in clock.costs.items():
        print(rows(name, costs))
    print(rows("all of it", [cost for costs in clock.costs.values() for cost in costs]))
    print(row("from one preview to the next", apart))
    print(row("from the click to the first coloured one", [second * 1e3]))
    print(row("gaps of a 5 ms timer, no job", idle))
    print(row("gaps of a 5 ms timer, job running", running))


def paint(obj: Any) -> None:
    """Give ``obj`` a packed texture with strokes on it that are not saved."""
    import bpy
    import numpy as np

    image = bpy.data.images.new("Painted", EDGE, EDGE)
    values = np.random.default_rng(0).integers(0, 256, (EDGE, EDGE, 4)).astype(np.float32) / 255
    values[..., 3] = 1
    image.pixels.foreach_set(values.ravel())
    image.pack()
    values[: EDGE // 4, :, :3] = (0.6, 0.2, 0.15)
    image.pixels.foreach_set(values.ravel())
    material = bpy.data.materials.new("Painted")
    obj.data.materials.append(material)
    if material.node_tree is None:
        # Blender before 5.
        material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = next(n for n in tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")
    tree.links.new(node.outputs[0], shader.inputs["Base Color"])


def inside() -> None:
    import bpy

    sys.path.insert(0, str(ROOT))
    import csd_addon

    csd_addon.register("csd_addon")
    from csd_addon.drive.warm_worker import shared_worker
    from csd_addon.ui import past_runs
    from csd_addon.ui.session import session

    clock = Clock()
    past_runs._work = clock.wrap(past_runs._work, "the history's list and pictures")
    session._timer = clock.wrap(session.tick)
    walk = steps(clock)

    def tick() -> float | None:
        try:
            return next(walk)
        except StopIteration:
            sys.stdout.flush()
        except Exception:
            traceback.print_exc()
        shared_worker.stop()
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)


if __name__ == "__main__":
    # Blender runs this file as a script, too.
    if "bpy" in sys.modules:
        inside()
    else:
        sys.exit(main())
