"""The runtime's part of the preferences: states, the doctor, and that what was started can be ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from csd_addon.drive.warm_worker import FAKE_VARIABLE, worker_python
from csd_addon.protocol import PROTOCOL_VERSION
from csd_addon.runtime.environment import lockfile, venv
from csd_addon.runtime.environment.user_python import WORKER_MODULES
from csd_addon.runtime.paths import Paths
from csd_addon.ui import obstacles, runtime_page, setting_up

pytestmark = pytest.mark.usefixtures("addon")

LOCK = lockfile.LOCKS / "worker-linux-x64-cpu-py311.txt"


@pytest.fixture
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No worker at all: neither the fake one nor a Python that somebody named."""
    monkeypatch.delenv(FAKE_VARIABLE)
    monkeypatch.delenv("CSD_WORKER_PYTHON", raising=False)
    monkeypatch.setattr(obstacles, "_answers", {})
    return home


def lay(home: Path, *, stamp: str = str(PROTOCOL_VERSION), digest: str = "") -> Path:
    """A runtime of empty files; ``stamp``: of which protocol; ``digest``: of which list, ours by default."""
    directory = Paths(home).environments / "worker-cpu-py311"
    files = [venv.interpreter_in(directory)]
    files += [directory / "lib/python3.11/site-packages" / f"{name}.py" for name in WORKER_MODULES]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    marker = {"locks": digest or lockfile.digest([LOCK]), "stamp": stamp}
    (directory / venv.MARKER).write_text(json.dumps(marker), encoding="utf-8")
    return directory


@pytest.mark.parametrize("of_another", [{"stamp": "0"}, {"digest": "an older list's"}])
def test_a_runtime_of_another_release_is_told_and_one_click_away_from_repair(
    bare: Path, of_another: dict[str, str]
) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.preferences.system.use_online_access = True
    lay(bare, **of_another)
    assert "belongs to another version" in runtime_page.describe(runtime_page.find(), None)[0]
    with pytest.raises(RuntimeError, match="is stale: use Repair in the add-on's preferences"):
        bpy.ops.csd.texture(prompt="red brick")
    if bpy.app.online_access_override:
        return
    obstacle = obstacles.find(bpy.context)
    assert obstacle and "belongs to another version" in obstacle.sentence and obstacle.remedy
    asked = _Asked()
    obstacle.remedy(asked)
    assert (asked.name, asked.repair) == ("csd.install_runtime", True)


class _Asked:
    """A layout that notes which operator is drawn, and is its properties too."""

    def operator(self, name: str, **_: object) -> _Asked:
        self.name = name
        return self


def test_the_states_are_sentences(bare: Path) -> None:
    assert "not installed yet" in runtime_page.describe(runtime_page.find(), None)[0]
    directory = lay(bare)
    assert runtime_page.describe(runtime_page.find(), None) == ("The runtime is installed.", "CHECKMARK")
    assert worker_python() == venv.interpreter_in(directory)
    next(directory.rglob("torch.py")).unlink()
    assert "is not complete" in runtime_page.describe(runtime_page.find(), None)[0]
    assert "/own/python" in runtime_page.describe(None, Path("/own/python"))[0]


def test_the_doctor_looks_and_its_findings_name_no_home(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bpy.ops.csd.doctor() == {"FINISHED"}
    found = {finding["name"]: finding for finding in runtime_page.findings(setting_up.runner.last)}
    assert bpy.app.version_string in found["blender"]["sentence"]
    assert not found["worker"]["ok"] and found["worker"]["remedy"] and found["names"]["ok"]
    assert not bare.exists(), "looking leaves nothing behind"


def test_what_is_copied_holds_all_that_was_found_and_no_personal_path(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = tmp_path / "grete"
    person.mkdir()
    monkeypatch.setenv("HOME", str(person))
    monkeypatch.setenv("USERPROFILE", str(person))
    monkeypatch.setenv("CSD_TEXTURE_HOME", str(person / "our data"))
    lay(person / "our data", stamp="0")
    assert bpy.ops.csd.doctor() == {"FINISHED"}
    found = runtime_page.findings(setting_up.runner.last)
    assert any(str(person) in finding["sentence"] for finding in found)
    text = runtime_page.findings_text(setting_up.runner.last)
    print(text)
    assert "grete" not in text and str(Path("~/our data/env/worker-cpu-py311")) in text
    assert [line.split(":")[0].split(None, 1)[1] for line in text.splitlines()] == [each["name"] for each in found]
    assert "PROBLEM worker: " in text and "belongs to another version" in text and "runtime repair" in text


def test_what_was_started_can_be_ended_and_the_add_on_takes_it_along(bare: Path) -> None:
    for stop in (setting_up.runner.cancel, setting_up.runner.end):
        task = setting_up.start("doctor", "doctor")
        assert setting_up.runner.current is task and not bpy.ops.csd.doctor.poll()
        begun = time.monotonic()
        stop()
        print(f"ended after {time.monotonic() - begun:.2f} s")
        assert task.child.poll() is not None and setting_up.runner.current is None
        assert "Cancelled" in setting_up.problem(task)
    assert not setting_up.runner.is_ticking and setting_up.runner.last is None


def test_a_failed_installation_gives_its_sentence_and_its_log(bare: Path, tmp_path: Path) -> None:
    log = tmp_path / "install.log"
    log.write_text("all of it", encoding="utf-8")
    task = setting_up.start("install", "runtime", "install", "--bundle", str(tmp_path))
    setting_up.runner.wait()
    assert "is no complete offline bundle" in setting_up.problem(task) and setting_up.install_log() is None
    task.messages = [{"type": "error", "sentence": "The disk is full.", "detail": str(log)}]
    assert setting_up.install_log() == log and setting_up.problem(task) == "The disk is full."


def test_a_cancelled_removal_is_not_told_as_if_nothing_was_lost(bare: Path) -> None:
    said = {}
    for kind in ("install", "repair", "remove", "use", "doctor"):
        said[kind] = setting_up.problem(SimpleNamespace(kind=kind, cancelled=True))
    assert said["install"] == said["repair"] and "is kept" in said["install"]
    assert "partly removed" in said["remove"]
    assert said["use"] == said["doctor"] == "Cancelled."


def test_a_cancelled_look_is_no_outcome_of_the_runtime(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setting_up.runner, "last", SimpleNamespace(kind="doctor", cancelled=True))
    monkeypatch.setattr(runtime_page, "draw_sentence", lambda *_: pytest.fail("drawn"))
    runtime_page._draw_outcome(None, bpy.context)  # type: ignore[arg-type]
