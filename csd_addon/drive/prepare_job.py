"""From an object and its settings to a job folder: what is checked, read and written before a job runs."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from ..core.checks import check_mesh, check_uvs, overlap_problem
from ..core.mesh import MeshData
from ..core.polygons import Polygons, load_layer, save_layer
from ..core.settings import JobSettings
from ..core.source import EditSource
from ..jobs.folder import JobFolder, write_json
from ..protocol import PROTOCOL_VERSION
from ..runtime.paths import Paths, default_base
from ..scene.lookup import ObjectKey
from ..scene.mask import vertex_group
from ..scene.material_images import MaterialImage, image_of_faces, material_images
from ..scene.original import Original, find_original, read_source_in_pieces, tile_notes
from ..scene.pieces import Pieces, in_thread
from ..scene.read_mesh import active_uv_map, has_uvs, is_rigged, read_mesh, read_snapshot
from ..scene.unwrap import polygons_of, put_layer, take_layer, unwrap_into_new_layer
from .unwrap_xatlas import unwrap_in_pieces
from .warm_worker import interpreter


@dataclass(frozen=True)
class Task:
    """A job and where its result goes.

    uvs: of the new UV layer ``settings.uv_map`` that the object gets with the texture, None if it has one
    (``scene.unwrap.take_layer``). edited: for an edit, what it starts from. images: the images of the object's
    materials, none where one image serves all. materials: how many different ones are in its slots.
    """

    key: ObjectKey
    folder: JobFolder
    settings: JobSettings
    notes: Sequence[str] = ()
    uvs: Any = None
    edited: Original | None = None
    images: tuple[MaterialImage, ...] = ()
    materials: int = 1


def prepare_in_pieces(obj: bpy.types.Object, settings: JobSettings, folder: JobFolder) -> tuple[Task, Pieces[None]]:
    """Check ``obj`` and valid ``settings``, read the mesh; what is left reads the pixels and writes what is large.

    Raises ``ValueError`` with one sentence on bad input, ``RuntimeMissing`` where the worker's Python has to unwrap and
    there is none.
    """
    if obj.type == "MESH" and is_linked(obj):
        raise ValueError(
            f"'{obj.name}' comes from a linked library, so nothing can be added to it; make it local first."
        )
    texture = settings.kind == "texture"
    original = find_original(obj, settings) if settings.kind == "edit" else None
    group = vertex_group(obj, settings.mask) if original else ""
    seen = read_snapshot(obj, group)
    wanted = original.uv_map if original else settings.uv_map
    mesh = seen.mesh(wanted)
    notes = [*original.notes, *tile_notes(obj, original, seen)] if original else []
    for problem in check_mesh(mesh, obj.name):
        if problem.severity == "error":
            raise ValueError(problem.sentence)
        notes.append(problem.sentence)
    if is_rigged(obj):
        notes.append(f"'{obj.name}' is rigged: it was textured in its rest pose.")
    images = material_images(obj, seen.material) if texture and settings.images == "material" else ()
    image = image_of_faces(obj, images, seen.material) if images else None
    if image is not None and (bare := int((image < 0).sum())):
        notes.append(f"{bare} triangles of '{obj.name}' show a material that is not in its slots; they get no image.")
    avoid = texture and settings.overlaps == "new"
    uv_map, new_layer = _choose_uv_layer(obj, mesh, wanted, notes, avoid_overlaps=avoid)
    settings = replace(settings, uv_map=uv_map)
    uvs = source = None
    try:
        if new_layer:
            # What modifiers make of a layer shows only when they have run.
            seen = read_snapshot(obj, group)
            mesh = seen.mesh(new_layer)
            if any(problem.severity == "error" for problem in check_uvs(mesh, obj.name)):
                raise ValueError(
                    f"After its modifiers '{obj.name}' has no UV map: apply the modifier that rebuilds the mesh, or "
                    "turn it off."
                )
        if original:
            source = read_source_in_pieces(obj, original, settings, seen)
    finally:
        uvs = take_layer(obj, new_layer) if new_layer else None
    mesh = replace(mesh, image=image)
    materials = len({slot.material for slot in obj.material_slots})
    task = Task(ObjectKey.of(obj), folder, settings, notes, uvs, original, images, materials)
    if new_layer and texture and settings.unwrap == "xatlas":
        return task, _unwrap_then_write(task, mesh, notes, polygons_of(obj), interpreter())
    return task, _read_then_write(task, mesh, source)


def is_linked(obj: bpy.types.Object) -> bool:
    """Whether a linked library holds what would have to change: the object, or its mesh with the material slots."""
    slots = obj.material_slots
    return obj.library is not None or (
        obj.data.library is not None and (not slots or any(slot.link == "DATA" for slot in slots))
    )


def write_job(task: Task, teacher: dict[str, str]) -> None:
    """Write ``job.json``. teacher: folders (``object_job.teacher_folders``)."""
    job = {
        "protocol": PROTOCOL_VERSION, "object": task.key.name, "settings": task.settings.to_json(), "teacher": teacher,
        "versions": {"blender": bpy.app.version_string, "python": platform.python_version()},
        "materials": task.materials,
    }  # fmt: skip
    if task.images:
        job["images"] = [asdict(image) for image in task.images]
    if task.edited:
        job["source"] = {"image": task.edited.name, "job": task.edited.job}
    write_json(task.folder.create().job, job)


def _unwrap_then_write(
    task: Task, mesh: MeshData, notes: list[str], polygons: Polygons, python: Path
) -> Pieces[None]:
    """Let xatlas unwrap first: its UVs go into ``mesh`` and ``task``, or ``notes`` say why there are none."""
    yield from in_thread(polygons.save, task.folder.create().polygons)
    trouble = yield from unwrap_in_pieces(python, Paths(default_base()).cache / "pycache", task.folder)
    if not trouble:
        mesh, trouble = _take_xatlas_uvs(task, mesh)
    if trouble:
        notes.append(f"xatlas gave no UV map, because {trouble}: '{task.key.name}' has Smart UV Project's.")
    yield from _read_then_write(task, mesh, None)


def _take_xatlas_uvs(task: Task, mesh: MeshData) -> tuple[MeshData, str]:
    """``mesh`` with the UVs in the task's folder, which become the task's; or as it is, and why they are of no use."""
    obj, name = task.key.find(), task.settings.uv_map
    if obj is None:
        raise ValueError(f"The object '{task.key.name}' is gone.")
    try:
        uvs = load_layer(task.folder.layer)
    except ValueError:
        return mesh, "its answer is damaged"
    put_layer(obj, name, uvs)
    try:
        found = read_mesh(obj, name)
    finally:
        take_layer(obj, name)
    if found.corner_uvs.shape != mesh.corner_uvs.shape:
        raise ValueError(f"The faces of '{obj.name}' have changed meanwhile, so its new UV map no longer fits.")
    found = replace(mesh, corner_uvs=found.corner_uvs)
    if any(problem.severity == "error" for problem in check_uvs(found, obj.name)):
        return mesh, "its answer is no UV map"
    task.uvs[:] = uvs
    return found, ""


def _read_then_write(task: Task, mesh: MeshData, reading: Pieces[EditSource] | None) -> Pieces[None]:
    # What may refuse comes before anything is written.
    source = (yield from reading) if reading else None
    yield from in_thread(_write, task, mesh, source)


def _write(task: Task, mesh: MeshData, source: EditSource | None) -> None:
    folder = task.folder.create()
    mesh.save(folder.mesh)
    if task.uvs is not None:
        save_layer(folder.layer, task.uvs)
    if source:
        source.save(folder.source)


def _choose_uv_layer(
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
