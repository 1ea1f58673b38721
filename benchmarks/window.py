"""How long Blender's window has to wait for us while a texture grows: 70,000 triangles, 2048 pixels.

    python benchmarks/window.py [--fake] [--blender "PROGRAM [words]"]

Starts a Blender with a window (on a machine without a screen: "xvfb-run -a blender") and runs itself inside. Printed
are the milliseconds that our code kept the main thread: for the click that starts the job, for each tick of the timer
while it runs, for putting the result up, and for the history's pictures; for comparison, the gaps between two beats of
a timer of 5 ms, without a job and with one. Gaps hold Blender's own drawing too, which software rendering makes long.
Each of our figures comes twice: by the clock, and in the main thread's own processor time, which other programs on the
machine do not lengthen. Then when previews came. --fake: without a teacher.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BEAT = 0.005
IDLE_SECONDS = 10.0
RUN_SECONDS = 45.0
LIMIT = 400


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--blender", default="blender", help="the program, with further words if it needs them")
    words.add_argument("--fake", action="store_true", help="the worker of the tests: no teacher, no torch")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as home:
        variables = {**os.environ, "CSD_TEXTURE_HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
        if given.fake:
            variables["CSD_TEXTURE_WORKER"] = "fake"
        command = [*shlex.split(given.blender), "--factory-startup", "--python", str(Path(__file__).resolve())]
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
        self.ticks: list[Cost] = []
        self.results: list[Cost] = []
        self.pictures: list[Cost] = []
        self.gaps: list[float] = []
        self.beat = time.perf_counter()

    def wrap(self, work: Callable[..., Any], into: list[Cost]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began, used = time.perf_counter(), time.thread_time()
            try:
                return work(*arguments)
            finally:
                into.append(((time.perf_counter() - began) * 1e3, (time.thread_time() - used) * 1e3))

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

    from csd_addon.ui import past_runs, session

    def until(seconds: float) -> Iterator[float]:
        end = clock.beat + seconds
        while clock.beat < end:
            clock.gap()
            yield BEAT

    shown: list[float] = []

    def previews_until(seconds: float) -> Iterator[float]:
        count = 0
        for wait in until(seconds):
            if session.running()[1].state.previews != count:
                count = session.running()[1].state.previews
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
    settings = bpy.context.scene.csd
    settings.prompt, settings.size, settings.preset, settings.iterations = "red brick", 2048, "draft", 100_000
    yield 3.0
    clock.gap()
    clock.gaps.clear()
    yield from until(IDLE_SECONDS)
    idle = list(clock.gaps)
    clicks: list[Cost] = []
    for _ in range(2):
        # The first click starts the worker, which stays warm.
        with bpy.context.temp_override(window=window, area=area):
            clock.wrap(lambda: bpy.ops.csd.texture("INVOKE_DEFAULT"), clicks)()
        clicked = time.perf_counter()
        while session.running()[1].state.previews < 2:
            yield 0.02
        second = time.perf_counter() - clicked
        if len(clicks) < 2:
            session.running()[1].cancel()
            while session.running():
                yield 0.1
    clock.gap()
    clock.gaps.clear()
    clock.ticks.clear()
    yield from previews_until(RUN_SECONDS)
    running, ticks, previews = list(clock.gaps), list(clock.ticks), session.running()[1].state.previews
    session.running()[1].stop_and_keep()
    while session.running():
        yield 0.1
    clock.pictures.clear()
    past_runs.wake()
    yield 3.0
    apart = [(b - a) * 1e3 for a, b in zip(shown, shown[1:], strict=False)]
    print(f"\n| {triangles} triangles, 2048 pixels, {previews} previews, job {session.items()[0].status}")
    print(f"| {'milliseconds':<44} | {'count':>6} | {'median':>9} | {'99 %':>9} | {'longest':>9} |")
    print(rows("our code, the click that starts the worker", clicks[:1]))
    print(rows("our code, the click", clicks[1:]))
    print(rows("our code, each tick of the run", ticks))
    print(rows("our code, putting the result up", clock.results[-1:]))
    print(rows("our code, the history's list and pictures", clock.pictures))
    print(row("from one preview to the next", apart))
    print(row("from the click to the first coloured one", [second * 1e3]))
    print(row("gaps of a 5 ms timer, no job", idle))
    print(row("gaps of a 5 ms timer, job running", running))


def inside() -> None:
    import bpy

    sys.path.insert(0, str(ROOT))
    import csd_addon

    csd_addon.register("csd_addon")
    from csd_addon.ui import driver, past_runs, session

    clock = Clock()
    past_runs._work = clock.wrap(past_runs._work, clock.pictures)
    session._tick = clock.wrap(session._tick, clock.ticks)
    session._conclude = clock.wrap(session._conclude, clock.results)
    walk = steps(clock)

    def tick() -> float | None:
        try:
            return next(walk)
        except StopIteration:
            sys.stdout.flush()
        except Exception as error:
            print(f"failed: {error!r}", file=sys.stderr)
        driver.stop_worker()
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(tick, first_interval=1.0, persistent=True)


if __name__ == "__main__":
    # Blender runs this file as a script, too.
    if "bpy" in sys.modules:
        inside()
    else:
        sys.exit(main())
