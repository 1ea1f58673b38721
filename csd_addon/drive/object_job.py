"""From an object and its settings to a job that runs in the shared worker.

Everything that starts a job goes through ``prepare``, ``start`` and ``launch``: the operators, the panel's session and
``cli/headless.py``. What becomes of the result is in ``apply_result``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict

import bpy

from ..core.settings import JobSettings
from ..jobs.folder import JobFolder, new_folder
from ..jobs.job import Job
from ..jobs.state import JobState
from ..runtime.errors import RuntimeMissing, TeacherMissing
from ..runtime.paths import Paths, default_base
from ..runtime.teachers import catalogue
from ..scene.pieces import Pieces, run_to_end
from .choose_teacher import checked_settings
from .prepare_job import Task, prepare_in_pieces, write_job
from .warm_worker import is_fake, shared_worker

# What can go wrong before a job runs, or when its result is put up; each carries one sentence for the artist.
REFUSALS = (ValueError, RuntimeMissing, TeacherMissing, OSError)


def prepare(obj: bpy.types.Object, settings: JobSettings, folder: JobFolder) -> Task:
    """Check ``obj`` and ``settings`` and write the job folder. Nothing has changed in Blender afterwards.

    An object without usable UVs is unwrapped, and gets that layer together with the texture. Raises ``ValueError`` with
    one sentence on bad input, ``TeacherMissing`` if the teacher is not there.
    """
    settings = checked_settings(settings)
    teacher = teacher_folders(settings.teacher)
    task, rest = prepare_in_pieces(obj, settings, folder)
    run_to_end(rest)
    write_job(task, teacher)
    return task


def start(obj: bpy.types.Object, settings: JobSettings) -> tuple[Task, Job]:
    """Prepare and launch a job in a new folder, which a refusal (one of ``REFUSALS``) removes again.

    The window does not wait: pixels are read and files written by the first polls of the job. What is refused then
    fails the job.
    """
    paths = Paths(default_base())
    folder = new_folder(paths.diagnoses if settings.kind == "diagnosis" else paths.jobs)
    try:
        settings = checked_settings(settings)
        teacher = teacher_folders(settings.teacher)
        task, rest = prepare_in_pieces(obj, settings, folder)
        # At once, or the history meets a folder without it.
        write_job(task, teacher)
        first = _remove_folder_on_failure(rest, folder)
        next(first)
        return task, launch(task, first=first)
    except REFUSALS:
        shutil.rmtree(folder.path)
        raise


def _remove_folder_on_failure(pieces: Pieces[None], folder: JobFolder) -> Pieces[None]:
    """``pieces``; where they are refused or ended before the last one, their folder goes.

    The first piece does nothing: what has not begun does not notice that it is closed.
    """
    try:
        yield
        yield from pieces
    except BaseException:
        # Refused, ended, or an error that nobody foresaw: there is nothing to resume.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def launch(task: Task, *, resume: bool = False, first: Pieces[None] | None = None) -> Job:
    """Start the task's job in the shared worker. Raises ``RuntimeMissing`` or ``OSError`` if there is none.

    first: as in ``Job.start``.
    """
    job = Job(task.folder, shared_worker.get(task.folder))
    job.start(resume=resume, first=first)
    return job


def run_blocking(task: Task, *, on_change: Callable[[JobState, Job], None] | None = None, resume: bool = False) -> Job:
    """Run the task to its end in this call: the driver of scripts and ``--background``, where timers don't fire."""
    return wait(launch(task, resume=resume), on_change=on_change)


def wait(job: Job, *, on_change: Callable[[JobState, Job], None] | None = None) -> Job:
    """Wait for a started job; Ctrl-C cancels it."""
    try:
        job.wait((lambda state: on_change(state, job)) if on_change else None)
    except KeyboardInterrupt:
        job.cancel()
        job.wait()
    return job


def teacher_folders(name: str) -> dict[str, str]:
    """The folders of a teacher as plain strings for ``job.json``; none for the fake worker."""
    if is_fake():
        return {}
    folders = catalogue.find_teacher(name, Paths(default_base()))
    return {part: str(path) for part, path in asdict(folders).items() if path}
