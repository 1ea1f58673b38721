"""From an object and its settings to a running job, and from a finished job back to the object.

Everything that drives a job goes through ``prepare``, ``launch``, ``finish``: the operators, the panel's modal
driver and the command line's ``cli/headless.py``. One worker process is shared and stays warm between jobs.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import bpy

from ..core.checks import check_mesh, check_uvs
from ..core.mesh import MeshData
from ..core.settings import JobSettings
from ..jobs.folder import JobFolder, write_json
from ..jobs.job import Job
from ..jobs.process import WorkerProcess, program_folder, worker_command
from ..jobs.state import JobState
from ..protocol import PROTOCOL_VERSION
from ..runtime import catalogue, environment
from ..runtime.errors import RuntimeMissing
from ..runtime.named import named_python
from ..runtime.paths import Paths, default_base
from ..scene.lookup import ObjectKey
from ..scene.material import apply_texture
from ..scene.original import Original, find_original, put_edit, read_source
from ..scene.read_mesh import active_uv_map, has_uvs, read_mesh
from ..scene.unwrap import unwrap_into_new_layer
from ..scene.write_image import load_image

# Tests run the whole road without torch by setting this variable to "fake" (worker/fake.py).
FAKE_VARIABLE = "CSD_TEXTURE_WORKER"

_worker: WorkerProcess | None = None


@dataclass(frozen=True)
class Task:
    """A job and where its result goes.

    new_layer: the UV layer that was made for it, empty if none. edited: for an edit, what it starts from.
    """

    key: ObjectKey
    folder: JobFolder
    settings: JobSettings
    new_layer: str
    notes: tuple[str, ...]
    edited: Original | None = None


def prepare(obj: bpy.types.Object, settings: JobSettings, folder: JobFolder) -> Task:
    """Check ``obj`` and ``settings`` and write the job folder.

    An object without usable UVs gets a new layer, which ``discard`` removes again. Raises ``ValueError`` with one
    sentence on bad input, ``TeacherMissing`` if the teacher is not there; then nothing has changed.
    """
    settings.validate()
    teacher = teacher_folders(settings.teacher)
    original = find_original(obj, settings) if settings.kind == "edit" else None
    wanted = original.uv_map if original else settings.uv_map
    mesh = read_mesh(obj, wanted)
    notes = [*(original.notes if original else ()), *_checked(check_mesh(mesh, obj.name))]
    uv_map, new_layer = _uv_layer(obj, mesh, wanted, notes)
    settings = replace(settings, uv_map=uv_map)
    task = Task(ObjectKey.of(obj), folder, settings, new_layer, tuple(notes), original)
    try:
        # What may refuse comes before anything is written.
        source = read_source(obj, original, settings) if original else None
        _write_job(task, read_mesh(obj, new_layer) if new_layer else mesh, teacher)
        if source:
            source.save(folder.source)
    except (ValueError, OSError):
        discard(task)
        raise
    return task


def _write_job(task: Task, mesh: MeshData, teacher: dict[str, str]) -> None:
    name, folder = task.key.name, task.folder
    if task.new_layer and any(problem.severity == "error" for problem in check_uvs(mesh, name)):
        raise ValueError(
            f"After its modifiers '{name}' has no UV map: apply the modifier that rebuilds the mesh, or turn it off."
        )
    folder.create()
    mesh.save(folder.mesh)
    job = {
        "protocol": PROTOCOL_VERSION, "object": name, "settings": task.settings.to_json(), "teacher": teacher,
        "versions": {"blender": bpy.app.version_string, "python": platform.python_version()},
    }  # fmt: skip
    if task.edited:
        job["source"] = {"image": task.edited.name, "job": task.edited.job}
    write_json(folder.job, job)


def launch(task: Task, *, resume: bool = False) -> Job:
    """Start the task's job in the shared worker.

    Raises ``RuntimeMissing`` or ``OSError`` if there is none; then the object is as it was before ``prepare``.
    """
    try:
        job = Job(task.folder, shared_worker(task.folder))
    except (RuntimeMissing, OSError):
        discard(task)
        raise
    job.start(resume=resume)
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


def finish(task: Task, result: Path, *, file: Path | None) -> list[str]:
    """Put the finished texture on the object's material; returns notes for the artist.

    file: where the image is to lie, without suffix; None packs it into the .blend. Raises ``ValueError`` if the object
    is gone or the image can't be read, ``OSError`` if the file can't be written.
    """
    obj = task.key.find()
    if obj is None:
        raise ValueError(f"The object '{task.key.name}' is gone; its texture is kept in {result}.")
    try:
        if task.edited:
            notes = put_edit(obj, task.edited, result, task.settings, file or result.with_suffix(""), pack=file is None)
        else:
            notes = _put_texture(obj, task, result, file)
    except (ValueError, OSError):
        discard(task)
        raise
    return [*task.notes, *notes]


def _put_texture(obj: bpy.types.Object, task: Task, result: Path, file: Path | None) -> list[str]:
    name = f"{obj.name}_basecolor"
    path = result
    if file:
        path = file.with_name(file.name + result.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ".part")
        shutil.copyfile(result, aside)
        os.replace(aside, path)
    image = load_image(path, name, pack=file is None)
    notes = apply_texture(obj, image, task.settings.uv_map, job=str(task.folder.path))
    # An earlier texture of this object had the name until now.
    image.name = name
    return notes


def discard(task: Task) -> None:
    """Take back what ``prepare`` added to the object, after a job that gave no result."""
    obj = task.key.find()
    layer = obj.data.uv_layers.get(task.new_layer) if obj and task.new_layer else None
    if layer:
        obj.data.uv_layers.remove(layer)


def teacher_folders(name: str) -> dict[str, str]:
    """The folders of a teacher as plain strings for ``job.json``; none for the fake worker."""
    if _fake():
        return {}
    folders = catalogue.find_teacher(name, Paths(default_base()))
    return {part: str(path) for part, path in asdict(folders).items() if path}


def worker_python() -> Path:
    """The worker's interpreter: one that the user names, else the private environment.

    Raises ``RuntimeMissing`` with a sentence that says how to install it.
    """
    if named := named_python():
        return named
    plan = environment.plan_worker(Paths(default_base()))
    if environment.state(plan, str(PROTOCOL_VERSION)) != "ready":
        raise RuntimeMissing(
            "The texture runtime is not installed: use Install Runtime in the add-on's panel, or run "
            "'python3 -m csd_addon runtime install' in a terminal."
        )
    return environment.python(plan)


def shared_worker(folder: JobFolder) -> WorkerProcess:
    """The warm worker, or a new one whose log goes into ``folder``."""
    global _worker
    if _worker is None or _worker.exit_code() is not None:
        python = Path(sys.executable) if _fake() else worker_python()
        command = worker_command(python, Paths(default_base()).cache / "pycache")
        _worker = WorkerProcess(
            [*command, *(["--fake"] if _fake() else [])], log=folder.log, cwd=program_folder()
        )  # fmt: skip
    return _worker


def stop_worker() -> None:
    """End the shared worker, if there is one."""
    global _worker
    if _worker is not None:
        _worker.stop()
        _worker = None


atexit.register(stop_worker)


def _fake() -> bool:
    return os.environ.get(FAKE_VARIABLE) == "fake"


def _checked(problems: list) -> list[str]:
    """The notes among ``problems``; an error among them is raised as ``ValueError``."""
    for problem in problems:
        if problem.severity == "error":
            raise ValueError(problem.sentence)
    return [problem.sentence for problem in problems]


def _uv_layer(obj: bpy.types.Object, mesh: MeshData, wanted: str, notes: list[str]) -> tuple[str, str]:
    """The UV layer to bake into, and its name again if it had to be made."""
    if wanted and wanted not in obj.data.uv_layers:
        layers = ", ".join(layer.name for layer in obj.data.uv_layers) or "none"
        raise ValueError(f"'{obj.name}' has no UV map called '{wanted}'; its UV maps are: {layers}.")
    if has_uvs(obj):
        problems = check_uvs(mesh, obj.name)
        broken = next((p.sentence for p in problems if p.severity == "error"), None)
        if broken is None:
            notes += [problem.sentence for problem in problems]
            return wanted or active_uv_map(obj), ""
    else:
        broken = f"'{obj.name}' has no UV map."
    layer = unwrap_into_new_layer(obj)
    notes.append(f"{broken} It was unwrapped into the new UV map '{layer}'.")
    return layer, layer
