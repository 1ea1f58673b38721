"""The terminal's whole road with the bpy wheel and the fake worker, in processes of their own.

Real Blender takes the same road in ``tests/blender``.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from csd_addon.cli.request import SUZANNE, Request
from csd_addon.cli.session import PREFIX
from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import read_json, write_json
from csd_addon.jobs.process import program_folder
from tests.scene.objects import base_color_source, cube, principled

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")
SECONDS = 100


def environment(tmp_path: Path) -> dict[str, str]:
    """The fake worker; every process that is started has ``tmp_path`` among its words, so that it can be found."""
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return {
        **os.environ, "CSD_TEXTURE_WORKER": "fake", "CSD_TEXTURE_HOME": str(tmp_path / "home"),
        "TMPDIR": str(scratch), "BLENDER_USER_RESOURCES": str(scratch), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def start_headless(request: Request, tmp_path: Path) -> subprocess.Popen[str]:
    path = tmp_path / "request.json"
    write_json(path, request.to_json())
    return subprocess.Popen(
        [sys.executable, "-m", "csd_addon.cli.headless", str(path)], cwd=program_folder(), text=True,
        env=environment(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def messages(stream: Any) -> Iterator[dict[str, Any]]:
    for line in stream:
        if line.startswith(PREFIX):
            yield json.loads(line.removeprefix(PREFIX))
        elif line.startswith('{"type"'):
            yield json.loads(line)


def headless(file: Path | str, tmp_path: Path, **arguments: Any) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and messages of one request, with small settings."""
    settings = JobSettings(**{"prompt": "red brick", "size": 64, "iterations": 4, **arguments.pop("settings", {})})
    child = start_headless(Request(str(file), str(tmp_path / "out"), settings, **arguments), tmp_path)
    with child:
        said = list(messages(child.stdout))
        return child.wait(SECONDS), said


def scene_file(tmp_path: Path) -> Path:
    """A .blend with two textured-to-be cubes, a camera and an empty mesh."""
    for name in ("Seat", "Back/rest"):
        cube(name).data.materials.append(principled(name))
    for name, data in (("Eye", bpy.data.cameras.new("Eye")), ("Void", bpy.data.meshes.new("Void"))):
        obj = bpy.data.objects.new(name, data)
        obj.hide_render = name == "Void"
        bpy.context.scene.collection.objects.link(obj)
    bpy.ops.object.select_all(action="DESELECT")
    path = tmp_path / "chair.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def processes(word: str) -> list[int]:
    """Living processes with ``word`` on their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line, state = (folder / "cmdline").read_bytes(), (folder / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word.encode() in line and state != "Z":
            found.append(int(folder.name))
    return found


def wait_until_gone(word: str) -> float:
    began = time.monotonic()
    while processes(word) and time.monotonic() - began < 10:
        time.sleep(0.05)
    return time.monotonic() - began


def test_one_object_of_a_blend_file(tmp_path: Path) -> None:
    source = scene_file(tmp_path)
    before = sha(source)
    code, said = headless(source, tmp_path, objects=("Seat",))
    out = tmp_path / "out"
    assert code == 0 and said[-1]["type"] == "done" and sha(source) == before
    found = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    promised = {
        "chair.blend", "textures/Seat_basecolor.png", "preview.png", "report.json", "job/request.json", "job/job.json",
        "job/mesh.npz", "job/events.jsonl", "job/worker.log", "job/result/basecolor.png", "job/result/report.json",
    }  # fmt: skip
    assert promised <= found and not [name for name in found if ".part" in name], found
    report = read_json(out / "report.json")
    assert (report["object"], report["iterations"], report["warnings"]) == ("Seat", 4, [])
    kinds = [m["type"] for m in said]
    assert {"phase", "progress", "preview", "done"} <= set(kinds) and "error" not in kinds
    # Moved elsewhere, the file still finds its texture beside it.
    out.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "chair.blend"))
    image = base_color_source(bpy.data.objects["Seat"].active_material).image
    assert tuple(image.size) == (64, 64) and image.filepath == "//textures/Seat_basecolor.png"
    assert base_color_source(bpy.data.objects["Back/rest"].active_material) is None


def test_an_image_for_each_material(tmp_path: Path) -> None:
    obj = cube("Crate")
    for name in ("Wood", "Eisen/é"):
        obj.data.materials.append(principled(name))
    for polygon in obj.data.polygons:
        polygon.material_index = polygon.index % 2
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "crate.blend"))
    code, _ = headless(tmp_path / "crate.blend", tmp_path, settings={"images": "material"})
    out = tmp_path / "out"
    names = {"Crate_Wood_basecolor.png", "Crate_Eisen_é_basecolor.png"}
    assert code == 0 and {path.name for path in (out / "textures").iterdir()} == names
    out.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "crate.blend"))
    images = [base_color_source(slot.material).image for slot in bpy.data.objects["Crate"].material_slots]
    assert {image.filepath for image in images} == {f"//textures/{name}" for name in names}
    assert {tuple(image.size) for image in images} == {(64, 64)}


def test_every_mesh_where_none_is_named(tmp_path: Path) -> None:
    code, _ = headless(scene_file(tmp_path), tmp_path)
    out = tmp_path / "out"
    assert code == 0 and set(read_json(out / "report.json")["objects"]) == {"Seat", "Back/rest"}
    assert {p.name for p in (out / "textures").iterdir()} == {"Seat_basecolor.png", "Back_rest_basecolor.png"}
    assert (out / "job" / "Back_rest" / "result" / "report.json").is_file()


@pytest.mark.parametrize(
    ("objects", "code", "words"),
    [(("Eye",), 2, "'Eye' is a camera, not a mesh"), (("Void",), 2, "'Void' has no faces"),
     (("Legs",), 2, "no object 'Legs' in the scene; its meshes are: Back/rest, Seat, Void")],
    ids=["camera", "empty mesh", "unknown object"],
)  # fmt: skip
def test_objects_that_can_not_be_textured(tmp_path: Path, objects: tuple, code: int, words: str) -> None:
    source = scene_file(tmp_path)
    got, said = headless(source, tmp_path, objects=objects)
    assert got == code and said[-1]["type"] == "error" and words in said[-1]["sentence"]
    assert not (tmp_path / "out" / "chair.blend").exists()


def test_vertices_that_are_no_numbers(tmp_path: Path) -> None:
    cube("Broken").data.vertices[0].co.x = float("nan")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "broken.blend"))
    code, said = headless(tmp_path / "broken.blend", tmp_path)
    assert code == 2 and "'Broken' has 1 vertices whose position is not a number" in said[-1]["sentence"]


@pytest.mark.parametrize("name", ["corrupt.blend", "corrupt.glb", "corrupt.obj"])
def test_a_corrupt_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"BLENDER-v405 and then nothing sensible" * 20)
    code, said = headless(tmp_path / name, tmp_path)
    assert code == 2 and f"can't read {tmp_path / name}" in said[-1]["sentence"]


def test_a_crashing_worker_ends_with_4(tmp_path: Path) -> None:
    code, said = headless(SUZANNE, tmp_path, settings={"prompt": "crash"})
    assert code == 4 and "exit code 11" in said[-1]["sentence"]


def test_what_was_finished_before_an_interruption_is_not_made_again(tmp_path: Path) -> None:
    settings = JobSettings(prompt="red brick", size=64, iterations=100)
    request = Request(str(scene_file(tmp_path)), str(tmp_path / "out"), settings, ("Seat", "Back/rest"))
    with start_headless(request, tmp_path) as child:
        said = messages(child.stdout)
        next(m for m in said if m["type"] == "phase" and "Back" in m["detail"])
        next(m for m in said if m["type"] == "progress")
        child.stdin.write("cancel\n")
        child.stdin.flush()
        assert child.wait(SECONDS) == 130
    kept = tmp_path / "out" / "job" / "Seat"
    made = (kept / "result" / "basecolor.png").stat().st_mtime_ns
    assert (kept / "result" / "report.json").is_file() and not list((kept / "checkpoint").iterdir())
    with start_headless(request.resumed(), tmp_path) as child:
        said = list(messages(child.stdout))
        assert child.wait(SECONDS) == 0, said
    assert [m["name"] for m in said if m["type"] == "phase"].count("optimize") == 1, "only the second one"
    assert (kept / "result" / "basecolor.png").stat().st_mtime_ns == made
    assert len(list((tmp_path / "out" / "textures").glob("*.png"))) == 2
    assert set(read_json(tmp_path / "out" / "report.json")["objects"]) == {"Seat", "Back/rest"}


def test_a_resumed_run_takes_no_texture_of_an_older_run(tmp_path: Path) -> None:
    source = scene_file(tmp_path)
    assert headless(source, tmp_path)[0] == 0
    settings = JobSettings(prompt="mossy stone", size=64, iterations=100)
    request = Request(str(source), str(tmp_path / "out"), settings, ("Seat", "Back/rest"))
    with start_headless(request, tmp_path) as child:
        next(m for m in messages(child.stdout) if m["type"] == "progress")
        child.stdin.write("cancel\n")
        child.stdin.flush()
        assert child.wait(SECONDS) == 130
    with start_headless(request.resumed(), tmp_path) as child:
        said = list(messages(child.stdout))
        assert child.wait(SECONDS) == 0, said
    reports = read_json(tmp_path / "out" / "report.json")["objects"]
    assert {name: report["iterations"] for name, report in reports.items()} == {"Seat": 100, "Back/rest": 100}


@LINUX
def test_the_worker_goes_when_blender_is_killed(tmp_path: Path) -> None:
    settings = JobSettings(prompt="red brick", size=64, iterations=100_000)
    child = start_headless(Request(SUZANNE, str(tmp_path / "out"), settings), tmp_path)
    with child:
        next(m for m in messages(child.stdout) if m["type"] == "progress" and m["iteration"] > 3)
        assert len(processes(str(tmp_path))) == 2, "Blender and the worker"
        child.kill()
        child.wait(SECONDS)
        seconds = wait_until_gone(str(tmp_path))
    print(f"the worker was gone after {seconds:.1f} s, limit 5")
    assert seconds < 5 and (tmp_path / "out" / "job" / "checkpoint" / "fake.txt").is_file()


@LINUX
def test_blender_ends_when_the_terminal_is_gone(tmp_path: Path) -> None:
    settings = JobSettings(prompt="red brick", size=64, iterations=100_000)
    child = start_headless(Request(SUZANNE, str(tmp_path / "out"), settings), tmp_path)
    with child:
        next(m for m in messages(child.stdout) if m["type"] == "progress" and m["iteration"] > 3)
        child.stdin.close()
        assert child.wait(SECONDS) == 130 and wait_until_gone(str(tmp_path)) < 5


@pytest.fixture
def terminal(tmp_path: Path) -> dict[str, str]:
    """Variables for ``python -m csd_addon``, with a ``blender`` program that is the bpy wheel."""
    if not os.environ.get("CSD_WORKER_PYTHON"):
        pytest.skip("CSD_WORKER_PYTHON names no interpreter with torch, which the command line checks")
    program = tmp_path / "blender"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "Blender 4.5.0" && exit\n'
        "for last; do :; done\n"
        f'exec "{sys.executable}" -m csd_addon.cli.headless "$last"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return {**environment(tmp_path), "CSD_BLENDER": str(program)}


def start_terminal(words: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "csd_addon", *words, "--json"], cwd=program_folder(), env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        # A test run that a script started in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


@LINUX
def test_ctrl_c_and_resume(tmp_path: Path, terminal: dict[str, str]) -> None:
    out = tmp_path / "out"
    source = scene_file(tmp_path)
    words = ["texture", str(source), "--object", "Seat", "--prompt", "red brick", "--size", "64"]
    with start_terminal([*words, "--iterations", "500", "--output", str(out)], terminal) as child:
        said = messages(child.stdout)
        reached = next(m["iteration"] for m in said if m["type"] == "progress" and m["iteration"] > 3)
        began = time.monotonic()
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(SECONDS) == 130
        seconds = time.monotonic() - began
    print(f"cancelled at {reached}, ended after {seconds:.1f} s, limit 5; left: {processes(str(tmp_path))}")
    assert seconds < 5 and not processes(str(tmp_path)) and not (out / "chair.blend").exists()
    with start_terminal(["resume", str(out)], terminal) as child:
        said = list(messages(child.stdout))
        assert child.wait(SECONDS) == 0, said
    first = next(m["iteration"] for m in said if m["type"] == "progress")
    assert first >= reached and said[-1]["type"] == "done" and (out / "chair.blend").is_file()
    assert not processes(str(tmp_path)) and not list((tmp_path / "scratch").glob("tmp*"))
