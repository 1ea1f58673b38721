"""The doctor: what is right and what is wrong on this machine, with remedies. Changes nothing."""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .. import choices
from ..environment import installed, lockfile
from ..environment.compute import Device
from ..environment.installed import Installed
from ..environment.user_python import check_worker_python, find_user_python
from ..errors import RuntimeMissing, TeacherMissing
from ..paths import Paths
from ..teachers import downloaded
from ..teachers.catalogue import BUNDLED, find_teacher
from ..teachers.remote import REMOTE_TEACHERS
from .resources import Finding, examine_machine

INSTALL = "Install the runtime in the add-on's preferences, or run 'python3 -m csd_addon runtime install'."
REPAIR = "Repair the runtime in the add-on's preferences, or run 'python3 -m csd_addon runtime repair'."
REMEDIES = {"ready": "", "busy": "Wait for it, then look again.", "stale": REPAIR, "broken": REPAIR}
STATES = {
    "ready": "The runtime in {} is complete.",
    "busy": "The runtime in {} is being installed by another process right now.",
    "stale": "The runtime in {} belongs to another version of CSD Texture.",
    "broken": "The runtime in {} is not complete: its installation was interrupted, or files were deleted.",
}


def examine(paths: Paths, stamp: str, *, teacher: str = "") -> list[Finding]:
    """Look at everything that a job needs. Where there is a runtime it takes seconds, because its torch computes.

    ``stamp``: see `environment.venv`. ``teacher``: a name or a folder, to look at besides the bundled and the
    downloaded teachers.
    """
    found = [_own_interpreter(), *_choices(paths)]
    own = find_user_python()
    found += _user_python(own) if own else _runtime(installed.find(paths, stamp), installed.log(paths))
    found += examine_machine(paths)
    found += _teachers(paths, [*BUNDLED, *filter(None, [teacher])])
    _remove_empty(paths)
    return found


def _own_interpreter() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("interpreter", True, f"This is Python {version} at {sys.executable}.")


def _choices(paths: Paths) -> Iterator[Finding]:
    if problem := choices.read(paths.base).problem:
        yield Finding("choices", False, problem, "Delete that file and choose the folders again.")


def _user_python(python: Path) -> Iterator[Finding]:
    remedy = "Name another Python, or none to use the runtime of our own (Use This Python, or CSD_WORKER_PYTHON)."
    try:
        device = check_worker_python(python)
    except RuntimeMissing as error:
        yield Finding("worker", False, str(error), remedy)
        return
    yield Finding("worker", True, f"The worker runs in {python}, which you named.")
    yield _device(device)


def _runtime(found: Installed | None, log: Path | None) -> Iterator[Finding]:
    if found is None:
        yield Finding("worker", False, "The runtime is missing: nothing is installed.", INSTALL)
        return
    sentence = STATES[found.state].format(found.directory)
    if log and found.state == "broken":
        sentence = f"{sentence} What its installer said is in {log}."
    yield Finding("worker", found.state == "ready", sentence, REMEDIES[found.state])
    if found.state == "ready":
        yield _packages(found)
        yield from _compute(found)


def _packages(found: Installed) -> Finding:
    changed = changed_packages(found)
    if changed:
        return Finding("packages", False, f"Packages are not the pinned ones: {'; '.join(changed)}.", REPAIR)
    return Finding("packages", True, "Every package has the version of the list that it was installed from.")


def changed_packages(found: Installed) -> list[str]:
    """Return what differs between an environment's packages and the list that it was made from."""
    libraries = "Lib" if sys.platform == "win32" else "lib/python3*"
    packages = found.directory.glob(f"{libraries}/site-packages/*.dist-info")
    there = dict(_plain(folder.name.removesuffix(".dist-info")).rsplit("-", 1) for folder in packages)
    wanted = {_plain(name): version for name, version in lockfile.pins(found.lock).items()} if found.lock else {}
    return [
        f"{name} is {there.get(name, 'missing')} instead of {version}"
        for name, version in wanted.items()
        if there.get(name) != version
    ]


def _plain(name: str) -> str:
    """Return a package's name as its folder has it: pip and uv write dots and hyphens as underscores there."""
    head, separator, version = name.partition("-") if re.search(r"-\d", name) else (name, "", "")
    return re.sub(r"[-_.]+", "_", head).lower() + separator + version


def _compute(found: Installed) -> Iterator[Finding]:
    try:
        device = check_worker_python(found.python)
    except RuntimeMissing as error:
        yield Finding("device", False, str(error), REPAIR)
        return
    yield _device(device, lacks_card=replace(found, device=device).lacks_card)


def _device(device: Device, *, lacks_card: bool = False) -> Finding:
    if device.problem:
        remedy = "Update the card's driver; until then the device above is used."
        return Finding("device", False, f"{device.sentence}. But {device.problem}.", remedy)
    if lacks_card:
        return Finding("device", True, f"{device.sentence}. No NVIDIA card was found, so the processor computes.")
    return Finding("device", True, f"{device.sentence}.")


def _teachers(paths: Paths, names: list[str]) -> Iterator[Finding]:
    for name in names:
        try:
            folder = find_teacher(name, paths).root
        except TeacherMissing as error:
            remedy = "Reinstall the extension." if name in BUNDLED else "Follow the sentence above, or use another."
            yield Finding(f"teacher {name}", False, str(error), remedy)
        else:
            yield Finding(f"teacher {name}", True, f"The teacher {name} lies in {folder}, complete.")
    for teacher in REMOTE_TEACHERS:
        found = downloaded.state(teacher, paths)
        if found.status == "begun":
            sentence = f"The download of {teacher.title} into {found.folder} is not complete."
            remedy = f"Continue it in the add-on's preferences, or run 'teacher download {teacher.identifier}'."
            yield Finding(f"teacher {teacher.identifier}", False, sentence, remedy)
        elif found.status == "ready":
            sentence = f"{teacher.title} lies in {found.folder}; 'teacher verify' reads it and compares its sums."
            yield Finding(f"teacher {teacher.identifier}", True, sentence)


def _remove_empty(paths: Paths) -> None:
    """Delete the folders that were made to see whether they can be written."""
    made = (paths.environments, paths.jobs, paths.logs, paths.cache, paths.teachers, paths.environments.parent)
    for folder in (*made, paths.base):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def anonymize(text: str) -> str:
    """Return ``text`` without the home folder and the user's name in paths, for pasting it into a forum."""
    text = text.replace(str(Path.home()), "~")
    name = re.escape(getpass.getuser())
    return re.sub(rf"(?<=[\\/]){name}(?=[\\/\s.;,']|$)", "USER", text)
