from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from csd_addon.runtime.environment import installed, lockfile, venv
from csd_addon.runtime.environment.compute import Device
from csd_addon.runtime.machine import doctor, resources
from csd_addon.runtime.paths import Paths

from .test_catalogue import REQUIRED, lay
from .test_installed import LOCK
from .test_installed import lay as lay_runtime


def findings(paths: Paths, teacher: str) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(paths, "1", teacher=teacher)}


def test_a_fresh_machine_lacks_only_the_worker(tmp_path: Path) -> None:
    teacher = lay(tmp_path / "teacher", REQUIRED)
    found = findings(Paths(tmp_path / "home"), str(teacher))
    assert [name for name, finding in found.items() if not finding.ok] == ["worker"]
    assert "is missing" in found["worker"].sentence and found["worker"].remedy
    assert not (tmp_path / "home").exists(), "looking leaves nothing behind"


def test_each_trouble_has_a_sentence_and_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("CSD_WORKER_PYTHON", str(file))
    monkeypatch.setattr(resources, "JOB_GB", 1e9)
    monkeypatch.setattr(resources, "WORKER_GB", 1e9)
    found = findings(Paths(file / "home"), "no such teacher")
    bad = {name for name, finding in found.items() if not finding.ok}
    assert bad == set(found) - {"interpreter", "names", "long paths", "teacher mini", "teacher broad"}
    assert all(found[name].remedy and found[name].sentence.endswith(".") for name in bad)
    assert "does not run as Python" in found["worker"].sentence


def test_a_ready_environment_is_found_ready(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    directory = lay_runtime(paths)
    found = findings(paths, "")
    assert found["worker"].ok and "is complete" in found["worker"].sentence
    assert not found["packages"].ok and "torch is missing instead of" in found["packages"].sentence
    assert not found["device"].ok and "does not run as Python" in found["device"].sentence
    assert all(found[name].remedy for name in ("packages", "device"))
    (directory / venv.MARKER).unlink()
    broken = findings(paths, "")["worker"]
    assert not broken.ok and "was interrupted" in broken.sentence and "runtime repair" in broken.remedy


def test_packages_that_changed_are_named(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    directory = lay_runtime(paths)
    (packages,) = directory.glob("[Ll]ib*/**/site-packages")
    pins = lockfile.pins(LOCK)
    for name, version in pins.items():
        (packages / f"{name.replace('-', '_')}-{version}.dist-info").mkdir()
    found = installed.find(paths, "1")
    assert found and doctor.changed_packages(found) == []
    (packages / f"numpy-{pins['numpy']}.dist-info").rename(packages / "numpy-1.0.dist-info")
    (packages / f"huggingface_hub-{pins['huggingface-hub']}.dist-info").rmdir()
    assert sorted(doctor.changed_packages(found)) == [
        f"huggingface_hub is missing instead of {pins['huggingface-hub']}", f"numpy is 1.0 instead of {pins['numpy']}",
    ]  # fmt: skip


def test_a_card_that_does_not_compute_is_a_problem_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device("cpu", "processor", "2.0", 7.0, problem="cuda is there but does not compute: no kernel image")
    monkeypatch.setattr(doctor, "check_worker_python", lambda python: device)
    ready = installed.Installed(Path("worker-cuda-py311"), "ready")
    (finding,) = doctor._compute(ready)
    assert not finding.ok and "no kernel image" in finding.sentence and "driver" in finding.remedy
    monkeypatch.setattr(doctor, "check_worker_python", lambda python: replace(device, problem=""))
    (finding,) = doctor._compute(ready)
    assert finding.ok and "No NVIDIA card was found" in finding.sentence


def test_what_is_copied_names_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "grete")
    monkeypatch.setattr(doctor.getpass, "getuser", lambda: "grete")
    said = f"In {tmp_path}/grete/x y. Also D:\\work\\grete\\z, /data/grete. But not /data/gretel."
    assert doctor.anonymize(said) == "In ~/x y. Also D:\\work\\USER\\z, /data/USER. But not /data/gretel."


def test_names_and_paths_that_a_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path longer than any system takes stands for Windows with its 260 characters."""
    monkeypatch.setattr(resources, "LONGEST_PACKAGE_PATH", 10_000)
    found = findings(Paths(tmp_path / "home"), "")
    assert not found["long paths"].ok and "C:\\csd" in found["long paths"].remedy and found["names"].ok
    assert not list(tmp_path.iterdir())
