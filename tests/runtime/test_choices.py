from __future__ import annotations

from pathlib import Path

import pytest

from csd_addon.runtime import choices
from csd_addon.runtime.environment.user_python import find_user_python
from csd_addon.runtime.machine.doctor import examine
from csd_addon.runtime.paths import Paths


def test_choices_are_kept_one_by_one(tmp_path: Path) -> None:
    base = tmp_path / "not yet there"
    assert choices.read(base) == choices.Choices() and not base.exists()
    choices.change(base, runtime=str(tmp_path / "große Platte"))
    choices.change(base, teachers="/weights")
    assert choices.read(base) == choices.Choices(runtime=str(tmp_path / "große Platte"), teachers="/weights")
    choices.change(base, runtime="")
    assert choices.read(base) == choices.Choices(teachers="/weights")
    assert [file.name for file in base.iterdir()] == [choices.FILE]
    choices.change(base, teachers="")
    assert not list(base.iterdir()), "nothing is chosen, so nothing is kept"


def test_the_folders_follow(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "base")
    choices.change(paths.base, runtime=str(tmp_path / "r"), teachers=str(tmp_path / "t"))
    assert (paths.environments, paths.cache) == (tmp_path / "r" / "env", tmp_path / "r" / "cache")
    assert paths.teachers == tmp_path / "t"
    assert paths.jobs == tmp_path / "base" / "jobs"  # the artist's own stay


def test_a_folder_that_is_not_absolute_is_ignored(tmp_path: Path) -> None:
    choices.change(tmp_path, runtime="runtime", teachers="here/teachers")
    paths = Paths(tmp_path)
    assert (paths.environments, paths.teachers) == (tmp_path / "env", tmp_path / "teachers")


def test_a_variable_goes_before_the_chosen_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSD_TEXTURE_HOME", str(tmp_path))
    choices.change(tmp_path, python="/chosen")
    assert find_user_python() == Path("/chosen")
    monkeypatch.setenv("CSD_WORKER_PYTHON", "/from/variable")
    assert find_user_python() == Path("/from/variable")


@pytest.mark.parametrize("text", ["{", "[1]", "\udcff"])
def test_a_damaged_file_is_told_by_the_doctor_and_stops_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / choices.FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    paths = Paths(tmp_path)
    assert paths.environments == tmp_path / "env"
    found = {finding.name: finding for finding in examine(paths, "1")}
    assert not found["choices"].ok and "cannot be read" in found["choices"].sentence and found["choices"].remedy
    choices.change(tmp_path, teachers="/t")
    assert choices.read(tmp_path) == choices.Choices(teachers="/t")
