"""Install Runtime in a real window to its end: refused, repaired, used, removed; the keys are true ones.

The list is a tiny one (four toy packages, the true names), from an index on loopback that refuses at first. How the
true list went is told in docs/platforms.md: it is gigabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from csd_addon.runtime.environment.interpreter import SUPPORTED, probe
from csd_addon.runtime.environment.user_python import WORKER_MODULES
from tests.blender.conftest import END, in_clean_profile
from tests.blender.test_install import install
from tests.runtime.conftest import build_wheel, pin, toy_torch

# Bytes of torch, more than uv fetches without a word, and the seconds for which its second half is kept back.
BALLAST, PAUSE = 5_000_000, 8.0

SCRIPT = """
import json, subprocess, sys, time, traceback
from pathlib import Path
import bpy
FOLDER = sys.argv[-1]
package = next(n for n in sys.modules if n.endswith(".csd_texture"))
own = lambda name: sys.modules[f"{package}.csd_addon.{name}"]
page, setting_up, translations = own("ui.runtime_page"), own("ui.setting_up"), own("ui.translations")
found = {"details": []}

def area():
    return max(bpy.context.window_manager.windows[0].screen.areas, key=lambda a: a.width * a.height)

def here():
    region = next(r for r in area().regions if r.type == "WINDOW")
    return bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area(), region=region)

def shot(name):
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area()):
        bpy.ops.screen.screenshot(filepath=f"{FOLDER}/{name}.png")

def confirm(operator, name, **values):
    # The question that a click on the button asks, and Enter.
    before = setting_up.runner.last
    with here():
        operator("INVOKE_DEFAULT", **values)
    yield 1.0
    shot(name)
    subprocess.run(["xdotool", "key", "Return"], check=True)
    end = time.monotonic() + 20
    while setting_up.runner.current is None and setting_up.runner.last is before and time.monotonic() < end:
        yield 0.1

def ended(picture=""):
    end = time.monotonic() + 90
    while setting_up.runner.current and time.monotonic() < end:
        detail = setting_up.runner.current.detail
        found["details"] += [detail] if detail and detail not in found["details"] else []
        if picture and detail.startswith("fetching about"):
            shot(picture)
            picture = ""
        yield 0.2
    assert setting_up.runner.last, "not over in time"
    yield 0.5

def state():
    there = page.find()
    return there and there.state

def steps():
    bpy.context.preferences.active_section = "ADDONS"
    area().type = "PREFERENCES"
    bpy.context.window_manager.addon_search = "CSD"
    bpy.context.preferences.system.use_online_access = True
    yield 1.0
    with here():
        bpy.ops.preferences.addon_expand(module=package)
    yield from confirm(bpy.ops.csd.install_runtime, "1-consent")
    yield from ended()
    found["refused"], found["after refusal"] = setting_up.problem(setting_up.runner.last), state()
    found["log"] = setting_up.install_log().is_file()
    shot("2-refused")
    Path(FOLDER, "refuse").unlink()
    yield from confirm(bpy.ops.csd.install_runtime, "3-repair", repair=True)
    yield from ended("4-fetching")
    found["repaired"], found["after repair"] = setting_up.problem(setting_up.runner.last), state()
    found["device"] = page.find().device.sentence
    shot("5-ready")
    yield from confirm(bpy.ops.csd.remove_runtime, "6-remove")
    yield from ended()
    found["removed"], found["in the end"] = setting_up.problem(setting_up.runner.last), state()
    shot("7-removed")
"""


class Registry(ThreadingHTTPServer):
    """Serves ``folder``, unless the file ``refuse`` is there; torch comes slowly."""

    def __init__(self, folder: Path, refuse: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.refuse = folder, refuse


class _Handler(SimpleHTTPRequestHandler):
    server: Registry

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(arguments[2].folder))

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):  # the installer has given up
            self._answer()

    def _answer(self) -> None:
        if self.server.refuse.exists():
            self.send_error(503)
        elif not self.path.endswith(".whl") or "/torch-" not in self.path:
            super().do_GET()
        else:
            self._send_slowly(Path(self.translate_path(self.path)).read_bytes())

    def _send_slowly(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        time.sleep(PAUSE)
        self.wfile.write(content[len(content) // 2 :])

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    """Toys with the names of what the worker needs, in the folder of a package index."""
    served = tmp_path / "served"
    served.mkdir()
    made = []
    for name in WORKER_MODULES:
        big = {"code": toy_torch(), "ballast": BALLAST} if name == "torch" else {"code": ""}
        made.append(build_wheel(served, name=name, **big))
        page = served / "simple" / name / "index.html"
        page.parent.mkdir(parents=True)
        digest = hashlib.sha256(made[-1].read_bytes()).hexdigest()
        page.write_text(f'<a href="/{made[-1].name}#sha256={digest}">{made[-1].name}</a>', encoding="utf-8")
    return made


@pytest.fixture
def registry(tmp_path: Path, wheels: list[Path]) -> Iterator[Registry]:
    shots = tmp_path / "shots"
    shots.mkdir()
    (shots / "refuse").touch()
    with Registry(tmp_path / "served", shots / "refuse") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def put_lists(profile: Path, wheels: list[Path]) -> None:
    """Our lists for the processor in place of those of the installed extension, for each Python that may be here."""
    (folder,) = profile.rglob("csd_texture/csd_addon/runtime/environment/locks")
    for path in folder.glob("worker-*.txt"):
        path.unlink()
    platform = probe(Path(sys.executable)).platform
    for version in SUPPORTED:
        lock = folder / f"worker-{platform}-cpu-py{version.replace('.', '')}.txt"
        lock.write_text("".join(map(pin, wheels)), encoding="utf-8")


def test_install_repair_and_remove_in_a_window(
    blender: str, archive: Path, tmp_path: Path, wheels: list[Path], registry: Registry
) -> None:
    if Path(blender).name != "real-blender":
        pytest.skip("its keys need the virtual screen of real-blender")
    home, shots = tmp_path / "用户 home", tmp_path / "shots"
    here = {"PIP_INDEX_URL": f"http://127.0.0.1:{registry.server_port}/simple", "UV_HTTP_RETRIES": "0"}
    unset = dict.fromkeys(("CSD_WORKER_PYTHON", "CSD_TEXTURE_WORKER", "PIP_FIND_LINKS", "UV_DEFAULT_INDEX"))
    run = in_clean_profile(
        blender, tmp_path / "profile", CSD_TEXTURE_HOME=str(home), NO_PROXY="127.0.0.1", **here, **unset
    )
    install(run, archive)
    put_lists(tmp_path / "profile", wheels)
    script = tmp_path / "window.py"
    script.write_text(SCRIPT + END, encoding="utf-8")
    done = run("gui", "--python", script, "--", shots, timeout=400)
    said = done.stdout + done.stderr
    assert (shots / "found.json").is_file(), said
    found = json.loads((shots / "found.json").read_text("utf-8"))
    print(f"screenshots in {shots}: {json.dumps(found, indent=1)}")
    assert "traceback" not in found and "Traceback" not in said, found.get("traceback", said)
    assert found["refused"].startswith("The package registry cannot be reached: ") and found["log"]
    assert (found["after refusal"], found["after repair"], found["in the end"]) == ("broken", "ready", None)
    assert found["repaired"] == found["removed"] == "" and "GFLOP/s" in found["device"]
    assert any(detail.startswith("fetching about 0.00 / 0.0") for detail in found["details"]), found["details"]
    assert len(list(shots.glob("*.png"))) == 7
    assert not home.exists() or not any(home.iterdir()), sorted(home.rglob("*"))
