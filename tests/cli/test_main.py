"""The terminal's commands up to the door of Blender: exit codes, one sentence on stderr, nothing left behind."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from csd_addon.cli import setting_up
from csd_addon.cli.main import main
from csd_addon.cli.progress import ProgressLine
from csd_addon.jobs.process import program_folder
from csd_addon.protocol import PROTOCOL_VERSION
from csd_addon.runtime import choices
from csd_addon.runtime.environment import planning, venv
from csd_addon.runtime.errors import RuntimeMissing
from csd_addon.runtime.paths import Paths


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CSD_TEXTURE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CSD_WORKER_PYTHON", raising=False)
    monkeypatch.delenv("CSD_BLENDER", raising=False)
    return tmp_path / "home"


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    path = tmp_path / "chair.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", encoding="utf-8")
    return path


def texture(mesh: Path, output: Path, *words: str) -> list[str]:
    return ["texture", str(mesh), "--prompt", "red brick", "--output", str(output), *words]


def one_sentence(text: str) -> str:
    """The only line of ``text``, which is no traceback."""
    lines = text.splitlines()
    assert len(lines) == 1 and "Traceback" not in text, text
    return lines[0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [([], "COMMAND"), (["texture"], "--prompt"), (["paint", "x"], "'paint'"), (["resume"], "DIR")],
)
def test_usage_errors_end_with_2(words: list[str], sentence: str, capsys: pytest.CaptureFixture) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert sentence in one_sentence(said.err) and said.out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--size", "0"], "The setting 'size' is 0; it must lie between 64 and 8192."),
     (["--prompt", " "], "The prompt is empty"), (["--size", "9000"], "'size' is 9000")],
)  # fmt: skip
def test_bad_settings_end_with_2(mesh: Path, tmp_path: Path, capsys, words: list[str], sentence: str) -> None:
    assert main(texture(mesh, tmp_path / "out", *words)) == 2
    assert sentence in one_sentence(capsys.readouterr().err) and not (tmp_path / "out").exists()


def test_a_missing_file_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(texture(tmp_path / "nothing.obj", tmp_path / "out")) == 2
    assert "There is no file" in one_sentence(capsys.readouterr().err) and not (tmp_path / "out").exists()


def test_an_output_folder_that_can_not_be_written_ends_with_2(mesh: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    assert main(texture(mesh, tmp_path / "taken" / "deep")) == 2
    assert "can't be written" in (said := one_sentence(capsys.readouterr().err)) and "choose another" in said


def test_overwriting_the_source_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source = tmp_path / "scene.blend"
    source.write_bytes(b"BLENDER")
    assert main(texture(source, tmp_path)) == 2
    assert "would overwrite" in one_sentence(capsys.readouterr().err) and source.read_bytes() == b"BLENDER"


def test_an_unknown_teacher_ends_with_3(mesh: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(texture(mesh, tmp_path / "out", "--teacher", str(tmp_path / "none"))) == 3
    assert "No teacher" in one_sentence(capsys.readouterr().err)


def test_a_worker_that_can_not_run_ends_with_3_and_leaves_no_folder(mesh, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("CSD_WORKER_PYTHON", str(tmp_path / "no-python"))
    assert main(texture(mesh, tmp_path / "deep" / "out")) == 3
    assert "no-python" in one_sentence(capsys.readouterr().err) and not (tmp_path / "deep").exists()


def test_a_program_that_is_no_blender_ends_with_3(mesh: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("csd_addon.cli.session.worker_python", lambda paths, report: Path(sys.executable))
    monkeypatch.setenv("CSD_BLENDER", sys.executable)
    assert main(texture(mesh, tmp_path / "out")) == 3
    assert "which is no Blender 4.5 or newer" in one_sentence(capsys.readouterr().err)
    monkeypatch.setenv("CSD_BLENDER", str(tmp_path / "missing"))
    assert main(texture(mesh, tmp_path / "out")) == 3
    assert "can't be started" in one_sentence(capsys.readouterr().err)


def test_resume_without_a_run_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["resume", str(tmp_path)]) == 2
    assert "holds no run to resume" in one_sentence(capsys.readouterr().err)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "request.json").write_text("{ half", encoding="utf-8")
    assert main(["resume", str(tmp_path)]) == 2
    assert "request.json is missing or damaged" in one_sentence(capsys.readouterr().err)


def test_errors_as_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([*texture(tmp_path / "nothing.obj", tmp_path / "out"), "--json"]) == 2
    said = capsys.readouterr()
    message = json.loads(one_sentence(said.out))
    assert said.err == "" and (message["type"], message["kind"]) == ("error", "input")
    assert "There is no file" in message["sentence"]


def test_doctor_as_json_names_what_is_missing(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor", "--json"]) == 3
    findings = {f["name"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {"interpreter", "worker", "disk", "teacher mini"} <= set(findings)
    assert findings["interpreter"]["ok"] and not findings["worker"]["ok"] and findings["worker"]["remedy"]


def test_doctor_for_people(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("PROBLEM worker:") for line in lines)
    assert any(line.startswith("ok      interpreter:") for line in lines)


def test_a_python_that_does_not_do_is_told_and_not_kept(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for python, trouble in ((tmp_path / "python", "does not run as Python"), (Path("/bin/true"), "does not run as")):
        assert main(["runtime", "use", str(python)]) == 3
        assert f"{python} {trouble}" in one_sentence(capsys.readouterr().err)
        assert choices.read(home).python == ""
    choices.change(home, python=str(tmp_path / "python"))
    assert main(["doctor"]) == 3
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("PROBLEM worker:"))
    assert "does not run as Python" in said and "Name another Python, or none" in said
    assert main(["runtime", "use"]) == 0 and choices.read(home).python == ""


@pytest.mark.parametrize("accelerator", ["cuda", "auto"])
def test_repair_without_a_card_makes_again_what_automatic_chose(
    home: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    """On Linux the registry has CUDA's build alone, so it is there without a card too; the panel names it."""
    asked: list[str] = []

    def plan(paths: Paths, *, accelerator: str, bundle: object) -> object:
        asked.append(accelerator)
        raise RuntimeMissing("Planned.")

    monkeypatch.setattr(setting_up, "has_nvidia", lambda: False)
    monkeypatch.setattr(planning, "plan_worker", plan)
    assert main(["runtime", "install", "--accelerator", "cuda"]) == 3 and not asked, "nothing is there to repair"
    (Paths(home).environments / "worker-cuda-py311").mkdir(parents=True)
    assert main(["runtime", "repair", "--accelerator", accelerator]) == 3
    assert asked == ["cuda"]


def test_runtime_remove_where_there_is_none(home: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["runtime", "remove"]) == 0
    assert venv.state(planning.plan_worker(Paths(home)), str(PROTOCOL_VERSION)) == "missing"


@pytest.mark.parametrize(
    ("words", "code", "stream"),
    [(["--help"], 0, "stdout"), (["texture", "--help"], 0, "stdout"), ([], 2, "stderr"), (["texture"], 2, "stderr")],
)  # fmt: skip
def test_as_a_program(words: list[str], code: int, stream: str) -> None:
    command = [sys.executable, "-m", "csd_addon", *words]
    done = subprocess.run(command, cwd=program_folder(), capture_output=True, text=True, timeout=60)
    assert done.returncode == code and "Traceback" not in done.stderr
    said = done.stdout if stream == "stdout" else one_sentence(done.stderr)
    assert "python3 -m csd_addon" in said


def test_the_command_line_needs_neither_blender_nor_torch() -> None:
    program = (
        "import sys; import csd_addon.cli.main; "
        "print([m for m in ('bpy', 'torch', 'numpy', 'diffusers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=program_folder(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(iteration: int) -> dict:
    return {"type": "progress", "iteration": iteration, "of": 100, "seconds_left": 12.4, "norms": {}, "memory_mb": 0}


def test_progress_in_a_log_file_is_rare_whole_lines() -> None:
    stream = io.StringIO()
    line = ProgressLine(stream)
    line.message({"type": "phase", "name": "optimize", "detail": ""})
    for iteration in range(100):
        line.message(progress(iteration))
    line.message({"type": "warning", "sentence": "The prompt has a word the teacher does not know."})
    line.message({"type": "phase", "name": "bake", "detail": "Writing the texture"})
    line.close()
    assert stream.getvalue() == (
        "optimize\nNote: The prompt has a word the teacher does not know.\nWriting the texture\n"
    )


def test_progress_on_a_terminal_is_one_line_rewritten() -> None:
    stream = Terminal()
    line = ProgressLine(stream)
    for iteration in (1, 50, 100):
        line.message(progress(iteration))
    line.say("Done.")
    rows = stream.getvalue().split("\r")
    assert stream.getvalue().count("\n") == 2 and "[############............] 50/100 steps, 12 s left" in rows[2]
    assert len({len(row) for row in rows[1:-1]}) == 1, "each row covers the one before"


def test_a_progress_bar_never_leaves_its_frame() -> None:
    stream = Terminal()
    ProgressLine(stream).setup("download", "torch", 1.7)
    assert "[########################]" in stream.getvalue()
