from __future__ import annotations

import sys
from pathlib import Path

import pytest

from csd_addon.runtime.paths import Paths, bundled_teachers, default_base


def test_everything_hangs_from_the_base(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "home")
    folders = [paths.environments, paths.jobs, paths.logs, paths.teachers, paths.cache]
    assert all(folder.parent == paths.base for folder in folders)
    assert len(set(folders)) == len(folders)
    assert not paths.base.exists()  # naming a folder does not make it


def test_the_variable_names_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSD_TEXTURE_HOME", str(tmp_path / "Zuhause ü"))
    assert default_base() == tmp_path / "Zuhause ü"


def test_a_relative_variable_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSD_TEXTURE_HOME", "here")
    assert default_base() == tmp_path / "here"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the XDG rules are Linux's")
def test_linux_follows_the_xdg_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CSD_TEXTURE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, expected in {
        str(tmp_path / "data"): tmp_path / "data" / "csd_texture",
        "relative/is/ignored": tmp_path / ".local" / "share" / "csd_texture",
        "": tmp_path / ".local" / "share" / "csd_texture",
    }.items():
        monkeypatch.setenv("XDG_DATA_HOME", value)
        assert default_base() == expected


def test_bundled_teachers_lie_beside_the_code() -> None:
    assert bundled_teachers().parent.name == "csd_addon"
