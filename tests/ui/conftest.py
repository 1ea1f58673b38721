"""The add-on registered in an empty file, with the fake worker and a home folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

import csd_addon
from csd_addon.drive.warm_worker import FAKE_VARIABLE

NAME = "csd_addon"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's base folder; the worker is the fake one."""
    monkeypatch.setenv("CSD_TEXTURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(FAKE_VARIABLE, "fake")
    return tmp_path / "home"


@pytest.fixture
def addon(home: Path):
    """The add-on, registered as Blender would; taken back after the test."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    csd_addon.register(NAME)
    yield
    csd_addon.unregister()
