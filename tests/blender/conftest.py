"""A real Blender with the built extension installed in a clean profile, once for all tests here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 110

Run = Callable[..., subprocess.CompletedProcess[str]]

# What scripts in a window begin with: WORDS after "--", FOLDER for what stays, ``found`` for the test.
BEGINNING = """
import json, sys, time, traceback
import bpy
FOLDER, *WORDS = sys.argv[sys.argv.index("--") + 1:]
found = {}
package = next(n for n in sys.modules if n.endswith(".csd_texture"))
own = lambda name: sys.modules[f"{package}.csd_addon.{name}"]
session = own("ui.session").session

def view():
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    return {"window": window, "area": area, "region": next(r for r in area.regions if r.type == "WINDOW")}

def shot(name):
    with bpy.context.temp_override(**view()):
        for region in view()["area"].regions:
            region.tag_redraw()
        bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
        bpy.ops.screen.screenshot(filepath=f"{FOLDER}/{name}.png")

def until(done, seconds=20):
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        yield 0.1

def ended():
    return not session.is_running
"""
# And what they end with: ``steps`` is a generator that yields the seconds to the next look, driven by a timer.
END = """
walk = steps()

def tick():
    try:
        return next(walk)
    except StopIteration:
        pass
    except BaseException:
        found["traceback"] = traceback.format_exc()
    with open(f"{FOLDER}/found.json", "w") as stream:
        json.dump(found, stream)
    bpy.ops.wm.quit_blender()

bpy.context.preferences.view.show_splash = False
bpy.app.timers.register(tick, first_interval=1.0, persistent=True)
"""


@dataclass(frozen=True)
class Installed:
    """run: starts that Blender with the given words. archive: the built zip. folder: scratch. output: of installing."""

    run: Run
    archive: Path
    folder: Path
    output: str


@pytest.fixture(scope="session")
def blender() -> str:
    program = os.environ.get("CSD_BLENDER")
    if not program:
        pytest.skip("CSD_BLENDER names no real Blender")
    return program


@pytest.fixture(scope="session")
def published(blender: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a release is: a zip for each platform and the repository's index."""
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, str(ROOT / "tools" / "package.py"), "--output", str(folder), "--blender", blender]
    done = subprocess.run(words, capture_output=True, text=True, timeout=6 * SECONDS, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return folder


@pytest.fixture(scope="session")
def archive(published: Path) -> Path:
    """The zip that users of this platform get."""
    ending = {"linux": "linux_x64", "win32": "windows_x64", "darwin": "macos_arm64"}[sys.platform]
    (made,) = published.glob(f"*-{ending}.zip")
    return made


@pytest.fixture(scope="session")
def installed(blender: str, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("profile")
    run = in_clean_profile(blender, folder, CSD_TEXTURE_WORKER="fake", CSD_TEXTURE_HOME=str(folder / "home"))
    done = run("--command", "extension", "install-file", "--repo", "user_default", "--enable", archive)
    assert done.returncode == 0, done.stdout + done.stderr
    return Installed(run, archive, folder, done.stdout + done.stderr)


def in_clean_profile(blender: str, folder: Path, **changed: str | None) -> Run:
    """Return what starts ``blender`` with an empty profile in ``folder``; changed: variables, None takes one away."""
    (folder / "resources").mkdir(parents=True)
    wanted = {"BLENDER_USER_RESOURCES": str(folder / "resources"), "PYTHONDONTWRITEBYTECODE": "1", **changed}
    variables = {name: value for name, value in {**os.environ, **wanted}.items() if value is not None}

    def run(*words: object, timeout: float = SECONDS) -> subprocess.CompletedProcess[str]:
        command = [blender, *map(str, words)]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=variables, cwd=folder, start_new_session=True,
        ) as child:  # fmt: skip
            try:
                out, err = child.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                # The virtual screen is a child of its own and would stay.
                os.killpg(child.pid, signal.SIGKILL)
                out, err = child.communicate()
                raise AssertionError(f"not done after {timeout} s: {command}\n{out}{err}") from None
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    return run


Window = Callable[..., dict[str, Any]]


@pytest.fixture
def window(installed: Installed, blender: str, tmp_path: Path) -> Window:
    """Runs a script between ``BEGINNING`` and ``END`` in a real window; returns what it found. Its pictures stay."""
    if Path(blender).name != "real-blender" and not shutil.which("xvfb-run"):
        pytest.skip("no virtual screen: neither real-blender nor xvfb-run")

    def run(script: str, *words: object, timeout: float = SECONDS) -> dict[str, Any]:
        path = tmp_path / "script.py"
        path.write_text(BEGINNING + script + END, encoding="utf-8")
        done = installed.run("gui", "--python", path, "--", tmp_path, *words, timeout=timeout)
        said = done.stdout + done.stderr
        assert (tmp_path / "found.json").is_file(), said
        found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
        print(f"screenshots in {tmp_path}\n{found}")
        assert "traceback" not in found, found["traceback"]
        assert "Traceback" not in said, said
        return found

    return run


@pytest.fixture(scope="session")
def names(archive: Path) -> list[str]:
    """The files in the zip."""
    with zipfile.ZipFile(archive) as package:
        return package.namelist()
