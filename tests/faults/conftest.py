"""``CSD_ALL_FAULTS=1`` runs every fault in every phase; without it each fault strikes in one phase.

The count of what was injected and what was lost is printed at the end.
"""

from __future__ import annotations

import os

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
