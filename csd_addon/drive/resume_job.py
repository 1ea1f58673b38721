"""From a job folder back to a task, so that a job that was cancelled or lost its worker can go on."""

from __future__ import annotations

from dataclasses import replace

import bpy

from ..core.mesh import MeshData
from ..core.settings import JobSettings
from ..jobs.folder import JobFolder, read_json
from ..scene.lookup import ObjectKey
from ..scene.material_images import MaterialImage, require_same_images
from ..scene.original import Original, find_original
from ..scene.read_mesh import MeshSnapshot, is_same_surface, read_snapshot
from ..scene.unwrap import restore_layer, take_layer
from .prepare_job import Task


def reopen(folder: JobFolder, key: ObjectKey | None = None) -> Task:
    """The task in ``folder``, for the object ``key`` or else the one of the job's name in this file.

    Raises ``ValueError`` with a sentence if the job is finished or damaged, or its object is gone or another by now.
    """
    job = read_json(folder.job)
    if folder.report.is_file():
        raise ValueError(f"The job in {folder.path} is finished; there is nothing to go on with.")
    settings = JobSettings.from_json(job.get("settings", {})).validate()
    name = job.get("object", "")
    obj = key.find() if key else bpy.data.objects.get(name)
    if obj is None:
        raise ValueError(f"The object '{name}', whose texture was growing, is not in this file.")
    edited = _original(obj, settings, job) if settings.kind == "edit" else None
    uvs, seen = _new_uvs(obj, settings.uv_map, folder)
    return Task(ObjectKey.of(obj), folder, settings, (), uvs, edited, kept_images(obj, folder, settings, seen))


def kept_images(
    obj: bpy.types.Object, folder: JobFolder, settings: JobSettings, seen: MeshSnapshot
) -> tuple[MaterialImage, ...]:
    """The images of a job's materials, if ``obj`` still has these on the same faces; none where one serves all.

    Raises ``ValueError`` with a sentence if it has not, or the job is damaged.
    """
    if settings.kind != "texture" or settings.images != "material":
        return ()
    entries = read_json(folder.job).get("images")
    images = tuple(map(MaterialImage.from_json, entries if isinstance(entries, list) and entries else [None]))
    require_same_images(obj, images, seen.material, MeshData.load(folder.mesh).image)
    return images


def _original(obj: bpy.types.Object, settings: JobSettings, job: dict) -> Original:
    original = find_original(obj, replace(settings, uv_map=""))
    wanted = job.get("source", {}).get("image", "")
    if original.name != wanted:
        raise ValueError(
            f"'{obj.name}' shows {repr(original.name) if original.name else 'no image'} now, but the edit began with "
            f"{repr(wanted) if wanted else 'no image'}; start it again."
        )
    return original


def _new_uvs(obj: bpy.types.Object, uv_map: str, folder: JobFolder) -> tuple[object, MeshSnapshot]:
    """The UVs of the layer that the job made, None if ``obj`` has it, and what is seen of ``obj`` with it.

    Raises ``ValueError`` with a sentence if that is not the job's own mesh.
    """
    made = "" if uv_map in obj.data.uv_layers else restore_layer(obj, uv_map, folder.layer)
    try:
        seen = read_snapshot(obj)
        same = is_same_surface(seen.mesh(made or uv_map), MeshData.load(folder.mesh))
    finally:
        uvs = take_layer(obj, made) if made else None
    if not same or (made and made != uv_map):
        raise ValueError(f"The mesh, the pose or the UV map of '{obj.name}' has changed meanwhile; start again.")
    return uvs, seen
