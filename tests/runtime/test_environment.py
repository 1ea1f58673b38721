from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from csd_addon.runtime.environment import planning, venv
from csd_addon.runtime.environment.user_python import check_worker_python, find_user_python
from csd_addon.runtime.errors import RuntimeMissing
from csd_addon.runtime.paths import Paths

from .conftest import Toy, build_wheel, lay_packages, pin, toy_in

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from csd_addon.runtime.environment import venv
from tests.runtime.conftest import toy_in

def report(phase, detail, fraction):
    print(phase, flush=True)
    {act}

venv.create(toy_in(Path({base!r})).plan, "1", report=report)
"""


def child(base: Path, *, act: str) -> subprocess.Popen[str]:
    """Start a process that makes the toy environment below ``base`` and acts on each report."""
    code = textwrap.dedent(CHILD).format(root=str(ROOT), base=str(base), act=act)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=base)


def answer(python: Path) -> str:
    code = "import csd_toy; print(csd_toy.ANSWER)"
    return subprocess.run([python, "-I", "-c", code], capture_output=True, text=True).stdout.strip()


def test_an_environment_is_made_reused_renewed_and_removed(toy: Toy) -> None:
    said: list[tuple[str, str, float | None]] = []
    assert venv.state(toy.plan, "1") == "missing"
    python = venv.create(toy.plan, "1", report=lambda *step: said.append(step))
    assert venv.state(toy.plan, "1") == "ready"
    assert answer(python) == "42"
    phases = list(dict.fromkeys(phase for phase, _, _ in said))
    assert phases == ["check", "make", "install", "verify", "ready"]
    fractions = [fraction for _, _, fraction in said if fraction is not None]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert "csd_toy-1.0" in toy.plan.log.read_text("utf-8")

    said.clear()
    venv.create(toy.plan, "1", report=lambda *step: said.append(step))
    assert [phase for phase, _, _ in said] == ["ready"]

    assert venv.state(toy.plan, "2") == "stale"
    newer = build_wheel(toy.wheel.parent, version="2.0", code="ANSWER = 43\n")
    toy.lock.write_text(pin(newer), encoding="utf-8")
    assert venv.state(toy.plan, "1") == "stale"
    assert answer(venv.create(toy.plan, "1")) == "43"
    assert venv.state(toy.plan, "1") == "ready"

    venv.remove(toy.plan)
    assert venv.state(toy.plan, "1") == "missing"
    assert not toy.plan.log.exists()


def test_a_lost_interpreter_or_a_spoilt_marker_is_not_ready(toy: Toy) -> None:
    python = venv.python(toy.plan)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    assert venv.state(toy.plan, "1") == "broken"
    venv.write_marker(toy.plan, "1")
    assert venv.state(toy.plan, "1") == "broken", "its one package is not there"
    (packages,) = lay_packages(toy.plan.directory, "csd_toy")
    assert venv.state(toy.plan, "1") == "ready"
    marker = toy.plan.directory / venv.MARKER
    text = marker.read_text("utf-8")
    for spoilt, state in {"": "broken", text[:-1]: "broken", "[]": "stale"}.items():
        marker.write_text(spoilt, encoding="utf-8")
        assert venv.state(toy.plan, "1") == state
    marker.write_text(text, encoding="utf-8")
    python.unlink()
    python.symlink_to(toy.paths.base / "uninstalled" / "python")
    assert venv.state(toy.plan, "1") == "broken"
    python.unlink()
    python.symlink_to(sys.executable)
    assert venv.state(toy.plan, "1") == "ready"
    packages.unlink()
    assert venv.state(toy.plan, "1") == "broken", "somebody deleted the package"
    (packages.parent / "csd_toy-1.0.dist-info").mkdir()
    (packages.parent / "csd_toy").mkdir()
    assert venv.state(toy.plan, "1") == "broken", "its list of files and its empty folder are not the package"
    (packages.parent / "csd_toy" / "__init__.so").touch()
    assert venv.state(toy.plan, "1") == "ready", "compiled, as bpy is"


def test_a_killed_installation_is_noticed_and_made_anew(toy: Toy, tmp_path: Path) -> None:
    for phase in ("install", "verify"):
        with child(tmp_path, act=f"phase == {phase!r} and os._exit(9)") as killed:
            killed.communicate(timeout=120)
        assert killed.returncode == 9
        assert venv.python(toy.plan).exists()
        assert venv.state(toy.plan, "1") == "broken"
    assert answer(venv.create(toy.plan, "1")) == "42"


def test_two_processes_build_it_once(toy: Toy, tmp_path: Path) -> None:
    with child(tmp_path, act="pass") as first, child(tmp_path, act="pass") as second:
        said = [process.communicate(timeout=180)[0].split() for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    builders = [phases for phases in said if "make" in phases]
    assert len(builders) == 1, said  # the other waited and found it ready
    assert venv.state(toy.plan, "1") == "ready"


def test_waiting_for_another_builder_ends(toy: Toy, tmp_path: Path) -> None:
    with child(tmp_path, act="phase == 'make' and __import__('time').sleep(60)") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "check\n"
        with pytest.raises(RuntimeMissing, match="Another process is working on"):
            venv.create(toy.plan, "1", timeout=0.3)
        with pytest.raises(RuntimeMissing, match="Another process is working on"):
            (toy.plan.directory).mkdir(parents=True, exist_ok=True)
            venv.remove(toy.plan)
        holder.kill()
    assert answer(venv.create(toy.plan, "1", timeout=5.0)) == "42"


def test_a_wheel_with_another_sum_is_refused_with_the_log(toy: Toy) -> None:
    build_wheel(toy.wheel.parent, code="ANSWER = 'tampered'\n")
    with pytest.raises(RuntimeMissing) as caught:
        venv.create(toy.plan, "1")
    assert caught.value.log == toy.plan.log
    assert "DO NOT MATCH THE HASHES" in toy.plan.log.read_text("utf-8").upper()
    assert venv.state(toy.plan, "1") == "broken"


def test_a_package_that_does_not_import_is_not_ready(toy: Toy) -> None:
    plan = replace(toy.plan, modules=("csd_toy", "csd_absent"))
    with pytest.raises(RuntimeMissing, match="csd_absent .*No module named") as caught:
        venv.create(plan, "1")
    assert str(plan.log) in str(caught.value)
    assert venv.state(plan, "1") == "broken"


def test_an_exception_in_the_report_ends_the_installer(toy: Toy) -> None:
    class Stop(Exception):
        pass

    def stop(phase: str, detail: str, fraction: float | None) -> None:
        if phase == "install":
            raise Stop

    with pytest.raises(Stop):
        venv.create(toy.plan, "1", report=stop)
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(toy.plan.directory) not in processes
    assert venv.state(toy.plan, "1") == "broken"


def test_too_little_room_is_said_before_anything_is_made(toy: Toy) -> None:
    with pytest.raises(RuntimeMissing, match=r"GB free and toy needs 1e\+09 GB: make room"):
        venv.create(replace(toy.plan, disk_gb=1e9), "1")
    assert venv.state(toy.plan, "1") == "missing"


def test_a_python_without_venv_is_said(toy: Toy) -> None:
    bare = replace(toy.plan.interpreter, has_venv=False)
    with pytest.raises(RuntimeMissing, match="lacks the venv or ensurepip module: install"):
        venv.create(replace(toy.plan, interpreter=bare), "1")


def test_a_base_that_cannot_be_written_is_said(toy: Toy, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    plan = replace(toy.plan, directory=file / "env" / "toy")
    with pytest.raises(RuntimeMissing, match="cannot be written .*CSD_TEXTURE_HOME"):
        venv.create(plan, "1")


def test_a_base_with_spaces_and_other_scripts_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = toy_in(tmp_path / "Änne's 材质 folder")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", toy.wheel.parent.as_uri())
    python = venv.create(toy.plan, "1")
    assert answer(python) == "42"
    with pytest.raises(RuntimeMissing, match="torch .*diffusers .*transformers .*safetensors") as caught:
        check_worker_python(python)
    assert str(python) in str(caught.value)


def test_the_users_own_python_is_named_by_argument_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_user_python() is None
    monkeypatch.setenv("CSD_WORKER_PYTHON", "/from/variable")
    assert find_user_python() == Path("/from/variable")
    assert find_user_python("/from/argument") == Path("/from/argument")


def test_a_named_program_that_is_no_python_is_refused() -> None:
    with pytest.raises(RuntimeMissing, match="does not run as Python"):
        check_worker_python(Path("/bin/false" if os.name == "posix" else "C:\\nothing.exe"))


def test_the_workers_plan_fits_this_machine(tmp_path: Path) -> None:
    """Where this machine has a fitting Python (as any that runs the tests has), a plan names real files."""
    plan = planning.plan_worker(Paths(tmp_path))
    assert plan.locks[0].is_file() and plan.name.startswith("worker-")
    assert plan.directory.parent == tmp_path / "env"
    assert venv.state(plan, "1") == "missing"
    assert not list(tmp_path.iterdir())  # planning writes nothing


def test_no_fitting_python_lists_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeMissing, match="No Python here fits .*install Python 3.11 or 3.13") as caught:
        planning.plan_worker(Paths(tmp_path), interpreter=tmp_path / "python9")
    assert "python9 does not run" in str(caught.value)


def test_an_accelerator_that_no_registry_has_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match="The registry has no torch for 'mps' on .*: choose Automatic") as caught:
        planning.plan_worker(Paths(tmp_path), accelerator="mps")
    assert "install Python" not in str(caught.value)
