"""Writing an offline bundle: pip downloads every wheel of a plan's list and checks it against the sums in the list."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ..errors import RuntimeMissing
from . import bundle, lockfile, sizes
from .planning import Plan
from .run_installer import Report, no_report, run_installer, run_step
from .venv import interpreter_in


def write(plan: Plan, folder: Path, *, report: Report = no_report) -> bundle.Bundle:
    """Download into ``folder`` what ``plan`` installs, for this kind of machine.

    Raises RuntimeMissing when something can't be downloaded. What has come stays, and the next call continues there.
    """
    (folder / "wheels").mkdir(parents=True, exist_ok=True)
    (folder / bundle.FILE).unlink(missing_ok=True)
    _check_disk(plan, folder)
    (lock,) = plan.locks
    log = folder / "bundle.log"
    with tempfile.TemporaryDirectory() as scratch:
        # An environment of its own, because an interpreter that uv or a distribution set up may have no pip.
        command = [str(plan.interpreter.executable), "-m", "venv", str(Path(scratch) / "pip")]
        report("make", "pip", 0.02)
        run_step(command, log=log, environment=plan.installer.environment())
        fetch = [str(interpreter_in(Path(scratch) / "pip")), "-m", "pip", "download", "--no-deps", "--require-hashes"]
        fetch += ["--only-binary", ":all:", "--progress-bar", "off", "--dest", str(folder / "wheels")]
        run_installer(
            [*fetch, "--requirement", str(lock)],
            packages=len(lockfile.pins(lock)),
            log=log,
            environment=plan.installer.environment(),
            report=report,
        )
    if plan.installer.wheel:
        shutil.copyfile(plan.installer.wheel, folder / plan.installer.wheel.name)
    log.unlink()
    report("ready", str(folder), 1.0)
    return bundle.finish(folder, lock)


def _check_disk(plan: Plan, folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free / 1e9, sizes.BUNDLE_REQUIRED_GB[plan.accelerator or "cpu"]
    if free < needed:
        raise RuntimeMissing(f"{folder} has {free:.1f} GB free and the bundle needs {needed:g} GB: make room.")
