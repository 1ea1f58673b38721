"""From an object and its settings to a running job, and from a finished job back to the object.

Everything that drives a job goes through ``prepare``, ``launch``, ``finish``: the operators, the panel's modal
driver and the command line's ``cli/headless.py``. One worker process is shared and stays warm between jobs.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import bpy

from ..core.images import image_file
from ..core.settings import JobSettings
from ..jobs.folder import JobFolder, new_folder
from ..jobs.job import Job
from ..jobs.process import WorkerProcess, program_folder, worker_command
from ..jobs.state import JobState
from ..protocol import PROTOCOL_VERSION
from ..runtime.environment import installed
from ..runtime.environment.user_python import find_user_python
from ..runtime.errors import RuntimeMissing, TeacherMissing
from ..runtime.paths import Paths, default_base
from ..runtime.teachers import catalogue
from ..scene.original import put_edit, writing_edit
from ..scene.pieces import Pieces, to_the_end
from ..scene.preview import Preview, hide_previews, show_preview
from ..scene.unwrap import put_layer, take_layer
from .apply_result import Place, put_texture
from .choose_teacher import with_chosen_teacher
from .prepare_job import Task, begin, write_job

# Tests run the whole road without torch by setting this variable to "fake" (worker/serve/fake.py).
FAKE_VARIABLE = "CSD_TEXTURE_WORKER"

# What can go wrong before a job runs, or when its result is put up; each carries one sentence for the artist.
REFUSALS = (ValueError, RuntimeMissing, TeacherMissing, OSError)

_worker: WorkerProcess | None = None


def prepare(obj: bpy.types.Object, settings: JobSettings, folder: JobFolder) -> Task:
    """Check ``obj`` and ``settings`` and write the job folder. Nothing has changed in Blender afterwards.

    An object without usable UVs is unwrapped, and gets that layer together with the texture. Raises ``ValueError`` with
    one sentence on bad input, ``TeacherMissing`` if the teacher is not there.
    """
    settings = with_chosen_teacher(settings.validate())
    teacher = teacher_folders(settings.teacher)
    task, rest = begin(obj, settings, folder, _interpreter)
    to_the_end(rest)
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
        settings = with_chosen_teacher(settings.validate())
        teacher = teacher_folders(settings.teacher)
        task, rest = begin(obj, settings, folder, _interpreter)
        # At once, or the history meets a folder without it.
        write_job(task, teacher)
        first = _or_nothing(rest, folder)
        next(first)
        return task, launch(task, first=first)
    except REFUSALS:
        shutil.rmtree(folder.path)
        raise


def _or_nothing(pieces: Pieces[None], folder: JobFolder) -> Pieces[None]:
    """``pieces``; where they are refused or ended before the last one, their folder goes.

    The first piece does nothing: what has not begun does not notice that it is closed.
    """
    try:
        yield
        yield from pieces
    except (GeneratorExit, *REFUSALS):
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def launch(task: Task, *, resume: bool = False, first: Pieces[None] | None = None) -> Job:
    """Start the task's job in the shared worker. Raises ``RuntimeMissing`` or ``OSError`` if there is none.

    first: as in ``Job.start``.
    """
    job = Job(task.folder, shared_worker(task.folder))
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


def show(task: Task, image: Path) -> bool:
    """Show the preview in the file ``image`` on the task's object; returns whether it is to be seen."""
    obj = task.key.find()
    slots = task.edited.slots if task.edited and task.edited.uid else None
    parts = [(image_file(image, k), own.slots) for k, own in enumerate(task.images)] or [(image, slots)]
    previews = (Preview(file, task.settings.uv_map, str(task.folder.path), own, task.uvs) for file, own in parts)
    return obj is not None and show_preview(obj, *previews)


def finish(task: Task, result: Path, *, place: Place | None) -> list[str]:
    """Put the finished texture on the object's material in place of the preview; returns notes for the artist.

    place: of its images; None packs them into the .blend. Raises ``ValueError`` if the object is gone or an image can't
    be read, ``OSError`` if a file can't be written; then the object is as it was.
    """
    return to_the_end(finishing(task, result, place=place))


def finishing(task: Task, result: Path, *, place: Place | None) -> Pieces[list[str]]:
    """``finish`` in pieces: the last one puts the texture up, the others change nothing in Blender."""
    written = None
    if task.edited:
        _require_object(task, result)
        file = place(task.key.name, "edit") if place else result.with_suffix("")
        written = yield from writing_edit(task.edited, result, task.settings, file)
    hide_previews()
    obj = _require_object(task, result)
    added = task.uvs is not None and put_layer(obj, task.settings.uv_map, task.uvs)
    try:
        if written:
            notes = put_edit(obj, task.edited, written, task.settings, str(task.folder.path), pack=place is None)
        else:
            notes = put_texture(obj, task, result, place)
    except (ValueError, OSError):
        if added:
            take_layer(obj, task.settings.uv_map)
        raise
    return [*task.notes, *notes]


def _require_object(task: Task, result: Path) -> bpy.types.Object:
    obj = task.key.find()
    if obj is None:
        raise ValueError(f"The object '{task.key.name}' is gone; its texture is kept in {result}.")
    return obj


def teacher_folders(name: str) -> dict[str, str]:
    """The folders of a teacher as plain strings for ``job.json``; none for the fake worker."""
    if is_fake():
        return {}
    folders = catalogue.find_teacher(name, Paths(default_base()))
    return {part: str(path) for part, path in asdict(folders).items() if path}


def worker_python() -> Path:
    """The worker's interpreter: one that the user names, else the private environment.

    Raises ``RuntimeMissing`` with a sentence that says how to install it.
    """
    if named := find_user_python():
        return named
    found = installed.find(Paths(default_base()), str(PROTOCOL_VERSION))
    if found is None:
        raise RuntimeMissing(
            "The texture runtime is not installed: use Install Runtime in the add-on's panel, or run "
            "'python3 -m csd_addon runtime install' in a terminal."
        )
    if found.state != "ready":
        raise RuntimeMissing(
            f"The texture runtime in {found.directory} is {found.state}: use Repair in the add-on's preferences, or "
            "run 'python3 -m csd_addon runtime repair' in a terminal."
        )
    return found.python


def _interpreter() -> Path:
    """The worker's Python; of the tests' worker, which needs no runtime, this one."""
    return Path(sys.executable) if is_fake() else worker_python()


def shared_worker(folder: JobFolder) -> WorkerProcess:
    """The warm worker, or a new one whose log goes into ``folder``."""
    global _worker
    if _worker is None or _worker.exit_code() is not None:
        command = worker_command(_interpreter(), Paths(default_base()).cache / "pycache")
        _worker = WorkerProcess(
            [*command, *(["--fake"] if is_fake() else [])], log=folder.log, cwd=program_folder()
        )  # fmt: skip
    return _worker


def stop_worker() -> None:
    """End the shared worker, if there is one."""
    global _worker
    if _worker is not None:
        _worker.stop()
        _worker = None


atexit.register(stop_worker)


def is_fake() -> bool:
    """Whether the tests' worker runs, which needs no runtime."""
    return os.environ.get(FAKE_VARIABLE) == "fake"
