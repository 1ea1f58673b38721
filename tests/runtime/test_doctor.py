from __future__ import annotations

from pathlib import Path

import pytest

from csd_addon.runtime import doctor, environment
from csd_addon.runtime.paths import Paths

from .test_catalogue import REQUIRED, lay


def findings(paths: Paths, teacher: str) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(paths, "1", teacher=teacher)}


def test_a_fresh_machine_lacks_only_the_worker(tmp_path: Path) -> None:
    teacher = lay(tmp_path / "teacher", REQUIRED)
    found = findings(Paths(tmp_path / "home"), str(teacher))
    assert [name for name, finding in found.items() if not finding.ok] == ["worker"]
    assert "is missing" in found["worker"].sentence and found["worker"].remedy
    assert not any(list(folder.iterdir()) for folder in (tmp_path / "home").iterdir())


def test_each_trouble_has_a_sentence_and_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("CSD_WORKER_PYTHON", str(file))
    monkeypatch.setattr(doctor, "JOB_GB", 1e9)
    found = findings(Paths(file / "home"), "no such teacher")
    bad = {name for name, finding in found.items() if not finding.ok}
    assert bad == set(found) - {"interpreter"}
    assert all(found[name].remedy and found[name].sentence.endswith(".") for name in bad)
    assert "does not run as Python" in found["worker"].sentence


def test_a_ready_environment_is_found_ready(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    plan = environment.plan_worker(paths)
    python = environment.python(plan)
    python.parent.mkdir(parents=True)
    python.touch()
    environment.write_marker(plan, "1")
    assert findings(paths, "mini")["worker"].ok
