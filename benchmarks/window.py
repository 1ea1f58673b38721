"""How long Blender's window has to wait for us while a texture grows: 70,000 triangles, 2048 pixels.

    python benchmarks/window.py [--fake] [--blender "PROGRAM [words]"]

Starts a Blender with a window (on a machine without a screen: "xvfb-run -a blender") and runs itself inside. Printed
are the milliseconds that our code kept the main thread: for the click that starts the job, for each tick of the timer
while it runs, and for putting the result up; for comparison, the gaps between two beats of a timer of 5 ms, without a
job and with one. Gaps hold Blender's own drawing too, which software rendering makes long. --fake: without a teacher.
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


class Clock:
    """Milliseconds of each call of what it wraps, and between the beats of a timer."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.results: list[float] = []
        self.gaps: list[float] = []
        self.beat = time.perf_counter()

    def wrap(self, work: Callable[..., Any], into: list[float]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                into.append((time.perf_counter() - began) * 1e3)

        return timed

    def gap(self) -> None:
        now = time.perf_counter()
        self.gaps.append((now - self.beat) * 1e3)
        self.beat = now


def row(name: str, values: list[float]) -> str:
    ordered = sorted(values)
    middle, high = (ordered[min(int(len(ordered) * share), len(ordered) - 1)] for share in (0.5, 0.99))
    return f"| {name:<34} | {len(ordered):>6} | {middle:>9.2f} | {high:>9.2f} | {ordered[-1]:>9.2f} |"


def steps(clock: Clock) -> Iterator[float]:
    """One state of the window after another; yields the seconds to wait for the next."""
    import bpy

    from csd_addon.ui import session

    def until(seconds: float) -> Iterator[float]:
        end = clock.beat + seconds
        while clock.beat < end:
            clock.gap()
            yield BEAT

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
    with bpy.context.temp_override(window=window, area=area):
        began = time.perf_counter()
        bpy.ops.csd.texture("INVOKE_DEFAULT")
        click = (time.perf_counter() - began) * 1e3
    while session.running()[1].state.previews < 1:
        yield 0.1
    clock.gap()
    clock.gaps.clear()
    clock.ticks.clear()
    yield from until(RUN_SECONDS)
    running, ticks, previews = list(clock.gaps), list(clock.ticks), session.running()[1].state.previews
    session.running()[1].stop_and_keep()
    while session.running():
        yield 0.1
    print(f"\n| {triangles} triangles, 2048 pixels, {previews} previews, job {session.items()[0].status}")
    print(f"| {'milliseconds':<34} | {'count':>6} | {'median':>9} | {'99 %':>9} | {'longest':>9} |")
    print(row("our code, the click", [click]))
    print(row("our code, each tick of the run", ticks))
    print(row("our code, putting the result up", clock.results))
    print(row("gaps of a 5 ms timer, no job", idle))
    print(row("gaps of a 5 ms timer, job running", running))


def inside() -> None:
    import bpy

    sys.path.insert(0, str(ROOT))
    import csd_addon

    csd_addon.register("csd_addon")
    from csd_addon.ui import driver, session

    clock = Clock()
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
