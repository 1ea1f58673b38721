"""The command around a diagnosis: what it asks of Blender, what it makes of the figures. No torch, no Blender."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from csd_addon.cli import diagnose, main
from csd_addon.cli.request import Request
from csd_addon.core.settings import JobSettings
from csd_addon.jobs.folder import JobFolder, read_json, write_json
from csd_addon.runtime.errors import RuntimeMissing
from csd_addon.runtime.paths import Paths

OWN = JobSettings(prompt="red brick", iterations=50, loss="sds", expert={"w1": 2.0})
# Stands in for the worker's interpreter: notes its arguments, then says what a worker would say.
WORKER = """#!{python}
import json, pathlib, sys
folder = pathlib.Path(sys.argv[-1])
result = folder / "result" / "sweep.png"
result.write_bytes(b"picture")
(folder.parents[1] / "asked.json").write_text(json.dumps([sys.argv[-2], json.loads((folder / "job.json").read_text())]))
claim = {{"claim": "One", "shows": {shows}, "figures": "2 / 1"}}
print(json.dumps({{"type": "progress", "iteration": 1, "of": 2}}))
print(json.dumps({last}))
"""
DONE = '{"type": "done", "paths": {"sweep.png": str(result)}, "report": {"claims": [claim]}}'


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Request, Request]:
    """A request and that of its export, whose mesh is there. The output folder holds another run's files."""
    request = Request("/chair.obj", str(tmp_path / "out"), OWN)
    (tmp_path / "out" / "export").mkdir(parents=True)
    for name in ("report.json", "export/scene.glb"):
        (tmp_path / "out" / name).write_text("the artist's", encoding="utf-8")
    export = diagnose.export_request(request)
    assert export.settings.iterations == 1 and export.settings.prompt == "red brick"
    # The mesh is exported by a texture, which may be sampled: numbers of the comparison are not for it.
    assert export.settings.expert == {} and export.settings.loss == "csd"
    job = JobFolder(export.jobs).create()
    write_json(job.job, {"settings": export.settings.to_json(), "teacher": {"root": "mini"}})
    return request, export


def stand_in(tmp_path: Path, *, shows: bool = True, last: str = DONE) -> Path:
    path = tmp_path / "python"
    path.write_text(WORKER.format(python=sys.executable, shows=shows, last=last), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a shebang")
@pytest.mark.parametrize("shows", [True, False])
def test_figures_and_verdicts_come_out(tmp_path: Path, exported: tuple[Request, Request], shows: bool) -> None:
    messages: list[dict] = []
    said: list[str] = []
    python = stand_in(tmp_path, shows=shows)
    assert diagnose.run(*exported, python, Paths(tmp_path / "home"), messages.append, said.append) == 0
    out = tmp_path / "out"
    own = Path(exported[1].output).name
    assert {p.name for p in out.iterdir()} == {"asked.json", "sweep.png", "report.json", "export", own}
    assert (out / "sweep.png").read_bytes() == b"picture"
    for name in ("report.json", "export/scene.glb"):
        assert (out / name).read_text(encoding="utf-8") == "the artist's"
    assert said[0].startswith("SHOWS: One" if shows else "DOES NOT SHOW: One") and "2 / 1" in said[0]
    assert [m["type"] for m in messages] == ["progress", "done"]
    word, job = read_list(out)
    assert word == "--replay" and job["teacher"] == {"root": "mini"}
    assert job["settings"]["kind"] == "diagnosis" and job["settings"]["iterations"] == 50
    assert (job["settings"]["expert"], job["settings"]["loss"]) == ({"w1": 2.0}, "sds"), "they reach the comparison"


def read_list(out: Path) -> list:
    return json.loads((out / "asked.json").read_text(encoding="utf-8"))


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a shebang")
def test_a_failed_diagnosis_keeps_the_exported_job(tmp_path: Path, exported: tuple[Request, Request]) -> None:
    messages: list[dict] = []
    python = stand_in(tmp_path, last='{"type": "error", "kind": "teacher", "sentence": "No.", "detail": ""}')
    assert diagnose.run(*exported, python, Paths(tmp_path / "home"), messages.append, print) == 4
    assert messages[-1]["sentence"] == "No." and Path(exported[1].output).is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a shebang")
def test_a_worker_that_dies_is_told(tmp_path: Path, exported: tuple[Request, Request]) -> None:
    messages: list[dict] = []
    python = stand_in(tmp_path, last='{"type": "phase", "name": "load"}')
    assert diagnose.run(*exported, python, Paths(tmp_path / "home"), messages.append, print) == 4
    assert "ended without a result" in messages[-1]["sentence"] and exported[1].output in messages[-1]["sentence"]


def test_a_file_of_several_meshes_needs_a_choice(tmp_path: Path) -> None:
    request = Request("/room.blend", str(tmp_path / "out"), JobSettings(prompt="red brick"))
    (tmp_path / "out").mkdir()
    export = diagnose.export_request(request)
    for name in ("Chair", "Table"):
        job = JobFolder(export.jobs / name).create()
        write_json(job.job, {})
    with pytest.raises(ValueError, match=r"choose one with --object \(Chair, Table\)"):
        diagnose.run(request, export, tmp_path, Paths(tmp_path), print, print)
    assert read_json(job.job) == {}


@pytest.mark.parametrize(
    ("exports", "runs", "expected", "stays"),
    [
        (130, 0, 130, False), (0, 130, 130, False), (0, KeyboardInterrupt, 130, False), (0, RuntimeMissing, 3, False),
        (2, 0, 2, False), (4, 0, 4, True), (0, 4, 4, True), (0, 0, 0, False),
    ],
)  # fmt: skip
def test_only_a_failed_diagnosis_leaves_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports: int, runs: int | type[BaseException], expected: int,
    stays: bool,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    (out / "diagnosis-notes.txt").write_text("the artist's", encoding="utf-8")

    def export(request: Request, screen: object) -> int:
        (JobFolder(request.jobs).create().path / "mesh.npz").touch()
        return exports

    def run(*_: object) -> int:
        if isinstance(runs, int):
            return runs
        raise runs("said so")

    monkeypatch.setattr(main, "_run", export)
    monkeypatch.setattr(main.session, "worker_python", lambda *_: Path(sys.executable))
    monkeypatch.setattr(main.diagnose, "run", run)
    mesh = tmp_path / "chair.obj"
    mesh.touch()
    assert main.main(["diagnose", str(mesh), "--prompt", "red brick", "--output", str(out)]) == expected
    left = sorted(path.name for path in out.iterdir())
    print(left)
    assert len(left) == 1 + stays and (out / "diagnosis-notes.txt").read_text(encoding="utf-8") == "the artist's"
