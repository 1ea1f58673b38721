"""From the zip to an empty profile again, as an artist goes, in a real Blender and without a network.

The worker's Python is one that has torch already (CSD_WORKER_PYTHON), taken through *Use This Python*: fetching torch
for each run of the tests would take minutes. How an installation from the registry and from a bundle went is told in
docs/platforms.md.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.blender.conftest import END, Run, in_clean_profile

# Runs in the installed Blender, which is told to stay offline.
LIFE = """
import json, sys
import bpy
python, folder = sys.argv[-2:]
page = sys.modules[next(n for n in sys.modules if n.endswith(".csd_texture")) + ".csd_addon.ui.runtime_page"]
setting_up = page.setting_up
found = {"online": bpy.app.online_access}

def refusal(operator, **values):
    try:
        operator(**values)
    except RuntimeError as error:
        return str(error)

def doctor():
    assert bpy.ops.csd.doctor() == {"FINISHED"}
    return {finding["name"]: finding for finding in page.findings(setting_up.runner.last)}

bpy.ops.mesh.primitive_monkey_add()
found["no runtime"] = refusal(bpy.ops.csd.texture, prompt="red brick")
found["offline"] = refusal(bpy.ops.csd.install_runtime)
found["no bundle"] = refusal(bpy.ops.csd.install_bundle, directory=folder)
found["no python"] = refusal(bpy.ops.csd.use_python, filepath=folder + "/nothing")
found["before"] = doctor()
assert bpy.ops.csd.use_python(filepath=python) == {"FINISHED"}
found["after"] = doctor()
assert bpy.ops.csd.texture(prompt="red brick", size=64, iterations=3, preset="draft") == {"FINISHED"}
found["image"] = list(next(image.size for image in bpy.data.images if image.packed_file))
bpy.ops.wm.save_as_mainfile(filepath=folder + "/monkey.blend")
assert bpy.ops.csd.use_python(own=True) == {"FINISHED"}
assert bpy.ops.csd.remove_runtime() == {"FINISHED"}
found["in the end"] = doctor()["worker"]
with open(folder + "/found.json", "w") as stream:
    json.dump(found, stream)
"""


@pytest.fixture
def worker_python() -> str:
    python = os.environ.get("CSD_WORKER_PYTHON")
    if not python:
        pytest.skip("CSD_WORKER_PYTHON names no Python with torch")
    return python


def install(run: Run, archive: Path) -> str:
    done = run("--offline-mode", "--command", "extension", "install-file", "-r", "user_default", "-e", archive)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_the_zip_to_an_empty_profile_without_a_network(
    blender: str, archive: Path, worker_python: str, tmp_path: Path
) -> None:
    home = tmp_path / "用户 Änne's home"
    unset = dict.fromkeys(("CSD_WORKER_PYTHON", "CSD_TEXTURE_HOME", "CSD_TEXTURE_WORKER"))
    run = in_clean_profile(blender, tmp_path / "profile", XDG_DATA_HOME=str(home), **unset)
    said = install(run, archive)
    before = sorted((tmp_path / "profile").rglob("csd_texture/**/*"))
    weights = home / "csd_texture" / "teachers" / "mine" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"downloaded")
    script, artist = tmp_path / "life.py", tmp_path / "artist"
    artist.mkdir()
    script.write_text(LIFE, encoding="utf-8")
    words = ["--offline-mode", "--background", "--python-exit-code", 1, "--python", script, "--", worker_python, artist]
    done = run(*words, timeout=600)
    said += done.stdout + done.stderr
    assert done.returncode == 0 and "olicy violation" not in said and "Traceback" not in said, said
    found = json.loads((artist / "found.json").read_text("utf-8"))
    assert not found["online"]
    assert "The texture runtime is not installed: use Install Runtime" in found["no runtime"]
    assert "Allow online access" in found["offline"]
    assert "is no complete offline bundle" in found["no bundle"]
    assert "nothing does not run as Python" in found["no python"]
    assert not found["before"]["worker"]["ok"] and found["before"]["worker"]["remedy"]
    troubles = [finding for name, finding in found["after"].items() if not finding["ok"] and name != "memory"]
    assert not troubles, troubles
    print(found["after"]["device"]["sentence"])
    assert "GFLOP/s" in found["after"]["device"]["sentence"]
    assert found["image"] == [64, 64] and (artist / "monkey.blend").is_file()
    assert not found["in the end"]["ok"], "the Python of the user's own is forgotten, and there is no runtime"
    assert sorted((tmp_path / "profile").rglob("csd_texture/**/*")) == before, "nothing is written beside the code"

    done = run("--offline-mode", "--command", "extension", "remove", "csd_texture")
    assert done.returncode == 0, done.stdout + done.stderr
    left = [path for path in (tmp_path / "profile").rglob("*") if "csd" in path.name.lower()]
    assert not left, left
    kept = sorted(path.name for path in (home / "csd_texture").iterdir())
    print(f"kept: {kept}")
    assert kept == ["jobs", "teachers"], "what the artist made and fetched"
    assert weights.read_bytes() == b"downloaded"


@pytest.fixture
def address(published: Path) -> Iterator[str]:
    """The release's folder on a web server of this machine."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(published))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.json"
        server.shutdown()
        thread.join()


def test_blender_installs_from_the_repositorys_address(blender: str, address: str, tmp_path: Path) -> None:
    run = in_clean_profile(blender, tmp_path / "profile", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    steps = (
        ["repo-add", "csd_remote", "--name", "CSD Texture", "--url", address],
        ["sync"],
        ["install", "--enable", "csd_texture"],
        ["list"],
    )
    said = ""
    for words in steps:
        done = run("--online-mode", "--command", "extension", *words)
        said += done.stdout + done.stderr
        assert done.returncode == 0, said
    assert "olicy violation" not in said and "Traceback" not in said, said
    (folder,) = (tmp_path / "profile").rglob("csd_remote/csd_texture")
    assert (folder / "LICENSES.md").is_file() and list(folder.glob("wheels/uv-*.whl"))


# In a window: the page in two states, and what a click on Install shows.
WINDOW = """
import json, os, sys, traceback
import bpy
FOLDER = sys.argv[-1]
package = next(n for n in sys.modules if n.endswith(".csd_texture"))
found = {}

def shot(name):
    window = bpy.context.window_manager.windows[0]
    bpy.ops.wm.redraw_timer(type="DRAW_WIN_SWAP", iterations=1)
    with bpy.context.temp_override(window=window, area=area()):
        bpy.ops.screen.screenshot(filepath=f"{FOLDER}/{name}.png")

def area():
    return max(bpy.context.window_manager.windows[0].screen.areas, key=lambda a: a.width * a.height)

def steps():
    bpy.context.preferences.active_section = "ADDONS"
    area().type = "PREFERENCES"
    bpy.context.window_manager.addon_search = "CSD"
    yield 1.0
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area()):
        bpy.ops.preferences.addon_expand(module=package)
    yield 1.0
    shot("1-not-installed")
    bpy.context.preferences.addons[package].preferences.teachers = FOLDER
    bpy.context.preferences.system.use_online_access = True
    yield 0.5
    region = next(r for r in area().regions if r.type == "WINDOW")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area(), region=region):
        found["asked"] = sorted(bpy.ops.csd.install_runtime("INVOKE_DEFAULT"))
    yield 1.0
    shot("2-consent")
"""


def test_the_preferences_in_a_window(blender: str, archive: Path, tmp_path: Path) -> None:
    if Path(blender).name != "real-blender" and not shutil.which("xvfb-run"):
        pytest.skip("no virtual screen: neither real-blender nor xvfb-run")
    unset = dict.fromkeys(("CSD_WORKER_PYTHON", "CSD_TEXTURE_WORKER"))
    run = in_clean_profile(blender, tmp_path / "profile", CSD_TEXTURE_HOME=str(tmp_path / "home"), **unset)
    install(run, archive)
    script = tmp_path / "window.py"
    script.write_text(WINDOW + END, encoding="utf-8")
    shots = tmp_path / "shots"
    shots.mkdir()
    done = run("gui", "--python", script, "--", shots)
    said = done.stdout + done.stderr
    assert (shots / "found.json").is_file(), said
    found = json.loads((shots / "found.json").read_text("utf-8"))
    print(f"screenshots in {shots}: {found}")
    assert found == {"asked": ["RUNNING_MODAL"]}, found
    assert "Traceback" not in said and len(list(shots.glob("*.png"))) == 2, said
    assert json.loads((tmp_path / "home" / "choices.json").read_text("utf-8")) == {"teachers": str(shots)}
    assert not list((tmp_path / "home").glob("env/*")), "nothing is installed before the click on Install"
