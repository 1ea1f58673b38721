"""``CSD_ALL_FAULTS=1`` runs every fault in every phase; without it each fault strikes in one phase.

The count of what was injected and what was lost is printed at the end.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

COUNTS = {"injected": 0, "lost": 0}


def every_fault() -> bool:
    return bool(os.environ.get("CSD_ALL_FAULTS"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and "tests/faults" in item.path.as_posix() and report.outcome != "skipped":
        COUNTS["injected"] += 1
        COUNTS["lost"] += report.failed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS["injected"]:
        terminalreporter.write_line("faults: {injected} injected, {lost} lost".format(**COUNTS))


@pytest.fixture
def addon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The add-on, registered with the fake worker and a home of its own; taken back after the test."""
    # Here, because most faults are tested where there is no Blender.
    import bpy

    import csd_addon
    from csd_addon.drive.warm_worker import FAKE_VARIABLE

    monkeypatch.setenv("CSD_TEXTURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(FAKE_VARIABLE, "fake")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    csd_addon.register("csd_addon")
    yield
    csd_addon.unregister()
