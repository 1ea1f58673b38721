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
from typing import Any

import bpy

from ..core.checks import check_mesh, check_uvs, overlap_problem
from ..core.mesh import MeshData
from ..core.settings import JobSettings
from ..core.udim import tile_file, tiles_of
from ..jobs.folder import JobFolder, new_folder, write_json
from ..jobs.job import Job
from ..jobs.process import WorkerProcess, program_folder, worker_command
from ..jobs.state import JobState
from ..protocol import PROTOCOL_VERSION
from ..runtime import catalogue, installed
from ..runtime.errors import RuntimeMissing, TeacherMissing
from ..runtime.named import named_python
from ..runtime.paths import Paths, default_base
from ..scene.lookup import ObjectKey
from ..scene.material import apply_texture
from ..scene.original import Original, find_original, put_edit, read_source
from ..scene.preview import Preview, hide_previews, show_preview
from ..scene.read_mesh import active_uv_map, has_uvs, is_rigged, read_mesh
from ..scene.unwrap import put_layer, take_layer, unwrap_into_new_layer
from ..scene.write_image import load_image

# Tests run the whole road without torch by setting this variable to "fake" (worker/fake.py).
FAKE_VARIABLE = "CSD_TEXTURE_WORKER"

# What can go wrong before a job runs, or when its result is put up; each carries one sentence for the artist.
REFUSALS = (ValueError, RuntimeMissing, TeacherMissing, OSError)

_worker: WorkerProcess | None = None


@dataclass(frozen=True)
class Task:
    """A job and where its result goes.

    uvs: of the new UV layer ``settings.uv_map`` that the object gets with the texture, None if it has one
    (``scene.unwrap.take_layer``). edited: for an edit, what it starts from.
    """

    key: ObjectKey
    folder: JobFolder
    settings: JobSettings
    notes: tuple[str, ...] = ()
    uvs: Any = None
    edited: Original | None = None


def prepare(obj: bpy.types.Object, settings: JobSettings, folder: JobFolder) -> Task:
    """Check ``obj`` and ``settings`` and write the job folder. Nothing has changed in Blender afterwards.

    An object without usable UVs is unwrapped, and gets that layer together with the texture. Raises ``ValueError`` with
    one sentence on bad input, ``TeacherMissing`` if the teacher is not there.
    """
    settings.validate()
    _require_own(obj)
    teacher = teacher_folders(settings.teacher)
    original = find_original(obj, settings) if settings.kind == "edit" else None
    wanted = original.uv_map if original else settings.uv_map
    mesh = read_mesh(obj, wanted)
    notes = [*(original.notes if original else ()), *_checked(check_mesh(mesh, obj.name))]
    if is_rigged(obj):
        notes.append(f"'{obj.name}' is rigged: it was textured in its rest pose.")
    avoid = settings.kind == "texture" and settings.overlaps == "new"
    uv_map, new_layer = _uv_layer(obj, mesh, wanted, notes, avoid_overlaps=avoid)
    settings = replace(settings, uv_map=uv_map)
    task = Task(ObjectKey.of(obj), folder, settings, tuple(notes), None, original)
    uvs = None
    try:
        # What may refuse comes before anything is written.
        source = read_source(obj, original, settings) if original else None
        _write_job(task, _with_layer(obj, new_layer) if new_layer else mesh, teacher)
        if source:
            source.save(folder.source)
    finally:
        uvs = take_layer(obj, new_layer) if new_layer else None
    return replace(task, uvs=uvs)


def _require_own(obj: bpy.types.Object) -> None:
    if obj.type == "MESH" and is_linked(obj):
        raise ValueError(
            f"'{obj.name}' comes from a linked library, so nothing can be added to it; make it local first."
        )


def is_linked(obj: bpy.types.Object) -> bool:
    """Whether a linked library holds what would have to change: the object, or its mesh with the material slots."""
    slots = obj.material_slots
    return obj.library is not None or (
        obj.data.library is not None and (not slots or any(slot.link == "DATA" for slot in slots))
    )


def _with_layer(obj: bpy.types.Object, layer: str) -> MeshData:
    mesh = read_mesh(obj, layer)
    if any(problem.severity == "error" for problem in check_uvs(mesh, obj.name)):
        raise ValueError(
            f"After its modifiers '{obj.name}' has no UV map: apply the modifier that rebuilds the mesh, or turn it "
            "off."
        )
    return mesh


def _write_job(task: Task, mesh: MeshData, teacher: dict[str, str]) -> None:
    name, folder = task.key.name, task.folder
    folder.create()
    mesh.save(folder.mesh)
    job = {
        "protocol": PROTOCOL_VERSION, "object": name, "settings": task.settings.to_json(), "teacher": teacher,
        "versions": {"blender": bpy.app.version_string, "python": platform.python_version()},
    }  # fmt: skip
    if task.edited:
        job["source"] = {"image": task.edited.name, "job": task.edited.job}
    write_json(folder.job, job)


def start(obj: bpy.types.Object, settings: JobSettings) -> tuple[Task, Job]:
    """Prepare and launch a job in a new folder, which a refusal (one of ``REFUSALS``) removes again."""
    folder = new_folder(Paths(default_base()).jobs)
    try:
        task = prepare(obj, settings, folder)
        return task, launch(task)
    except REFUSALS:
        shutil.rmtree(folder.path)
        raise


def launch(task: Task, *, resume: bool = False) -> Job:
    """Start the task's job in the shared worker. Raises ``RuntimeMissing`` or ``OSError`` if there is none."""
    job = Job(task.folder, shared_worker(task.folder))
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


def show(task: Task, image: Path) -> bool:
    """Show the preview in the file ``image`` on the task's object; returns whether it is to be seen."""
    obj = task.key.find()
    slots = task.edited.slots if task.edited and task.edited.uid else None
    preview = Preview(image, task.settings.uv_map, str(task.folder.path), slots, task.uvs)
    return obj is not None and show_preview(obj, preview)


def finish(task: Task, result: Path, *, file: Path | None) -> list[str]:
    """Put the finished texture on the object's material in place of the preview; returns notes for the artist.

    file: where the image is to lie, without suffix; None packs it into the .blend. Raises ``ValueError`` if the object
    is gone or the image can't be read, ``OSError`` if the file can't be written; then the object is as it was.
    """
    hide_previews()
    obj = task.key.find()
    if obj is None:
        raise ValueError(f"The object '{task.key.name}' is gone; its texture is kept in {result}.")
    added = task.uvs is not None and put_layer(obj, task.settings.uv_map, task.uvs)
    try:
        if task.edited:
            notes = put_edit(obj, task.edited, result, task.settings, file or result.with_suffix(""), pack=file is None)
        else:
            notes = _put_texture(obj, task, result, file)
    except (ValueError, OSError):
        if added:
            take_layer(obj, task.settings.uv_map)
        raise
    return [*task.notes, *notes]


def _put_texture(obj: bpy.types.Object, task: Task, result: Path, file: Path | None) -> list[str]:
    name = f"{obj.name}_basecolor"
    path, tiles = result, tiles_of(result)
    if file:
        path = file.with_name(file.name + result.suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        for tile in tiles:
            target = tile_file(path, tile)
            aside = target.with_name(target.name + ".part")
            shutil.copyfile(tile_file(result, tile), aside)
            os.replace(aside, target)
    image = load_image(path, name, pack=file is None, tiles=tiles)
    notes = apply_texture(obj, image, task.settings.uv_map, job=str(task.folder.path))
    # An earlier texture of this object had the name until now.
    image.name = name
    return notes


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
    if named := named_python():
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


def shared_worker(folder: JobFolder) -> WorkerProcess:
    """The warm worker, or a new one whose log goes into ``folder``."""
    global _worker
    if _worker is None or _worker.exit_code() is not None:
        python = Path(sys.executable) if is_fake() else worker_python()
        command = worker_command(python, Paths(default_base()).cache / "pycache")
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


def _checked(problems: list) -> list[str]:
    """The notes among ``problems``; an error among them is raised as ``ValueError``."""
    for problem in problems:
        if problem.severity == "error":
            raise ValueError(problem.sentence)
    return [problem.sentence for problem in problems]


def _uv_layer(
    obj: bpy.types.Object, mesh: MeshData, wanted: str, notes: list[str], *, avoid_overlaps: bool
) -> tuple[str, str]:
    """The UV layer to bake into, and its name again if it had to be made."""
    if wanted and wanted not in obj.data.uv_layers:
        layers = ", ".join(layer.name for layer in obj.data.uv_layers) or "none"
        raise ValueError(f"'{obj.name}' has no UV map called '{wanted}'; its UV maps are: {layers}.")
    if has_uvs(obj):
        problems = check_uvs(mesh, obj.name)
        broken = next((p.sentence for p in problems if p.severity == "error"), None)
        if broken is None and avoid_overlaps:
            broken = overlap_problem(mesh, obj.name)
        if broken is None:
            notes += [problem.sentence for problem in problems]
            return wanted or active_uv_map(obj), ""
    else:
        broken = f"'{obj.name}' has no UV map."
    layer = unwrap_into_new_layer(obj)
    notes.append(f"{broken} It was unwrapped into the new UV map '{layer}'.")
    return layer, layer
