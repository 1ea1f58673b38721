"""From an object and its settings to a job folder: what is checked, read and written before a job runs."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import Any

import bpy

from ..core.checks import check_mesh, check_uvs, overlap_problem
from ..core.mesh import MeshData
from ..core.pieces import Pieces, beside
from ..core.settings import JobSettings
from ..core.source import EditSource
from ..jobs.folder import JobFolder, write_json
from ..protocol import PROTOCOL_VERSION
from ..scene.lookup import ObjectKey
from ..scene.original import Original, find_original, reading_source
from ..scene.read_mesh import active_uv_map, has_uvs, is_rigged, read_mesh
from ..scene.unwrap import take_layer, unwrap_into_new_layer


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


def begin(obj: bpy.types.Object, settings: JobSettings, folder: JobFolder) -> tuple[Task, Pieces[None]]:
    """Check ``obj`` and valid ``settings``, read the mesh; what is left reads the pixels and writes what is large.

    Raises ``ValueError`` with one sentence on bad input.
    """
    _require_own(obj)
    original = find_original(obj, settings) if settings.kind == "edit" else None
    wanted = original.uv_map if original else settings.uv_map
    mesh = read_mesh(obj, wanted)
    notes = [*(original.notes if original else ()), *_checked(check_mesh(mesh, obj.name))]
    if is_rigged(obj):
        notes.append(f"'{obj.name}' is rigged: it was textured in its rest pose.")
    avoid = settings.kind == "texture" and settings.overlaps == "new"
    uv_map, new_layer = _uv_layer(obj, mesh, wanted, notes, avoid_overlaps=avoid)
    settings = replace(settings, uv_map=uv_map)
    uvs = source = None
    try:
        if new_layer:
            mesh = _with_layer(obj, new_layer)
        if original:
            source = reading_source(obj, original, settings, mesh.corner_uvs)
    finally:
        uvs = take_layer(obj, new_layer) if new_layer else None
    task = Task(ObjectKey.of(obj), folder, settings, tuple(notes), uvs, original)
    return task, _writing(folder, mesh, source)


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


def write_job(task: Task, teacher: dict[str, str]) -> None:
    """Write ``job.json``. teacher: folders (``driver.teacher_folders``)."""
    job = {
        "protocol": PROTOCOL_VERSION, "object": task.key.name, "settings": task.settings.to_json(), "teacher": teacher,
        "versions": {"blender": bpy.app.version_string, "python": platform.python_version()},
    }  # fmt: skip
    if task.edited:
        job["source"] = {"image": task.edited.name, "job": task.edited.job}
    write_json(task.folder.create().job, job)


def _writing(folder: JobFolder, mesh: MeshData, reading: Pieces[EditSource] | None) -> Pieces[None]:
    # What may refuse comes before anything is written.
    source = (yield from reading) if reading else None
    yield from beside(_write, folder, mesh, source)


def _write(folder: JobFolder, mesh: MeshData, source: EditSource | None) -> None:
    mesh.save(folder.create().mesh)
    if source:
        source.save(folder.source)


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
