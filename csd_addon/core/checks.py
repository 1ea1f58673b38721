"""Can this mesh be textured? Problems in plain language, before anything is started.

An *error* makes the job pointless, a *note* is something the artist should know. ``{name}`` is the object's name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .images import STEP, parts
from .mesh import MeshData
from .settings import JobSettings
from .uv_raster import overlap, owners

# Texels along an edge of the square on which overlaps are looked for, and the share of shared ones that counts.
_RASTER = 512
SHARED = 0.01

# What becomes of them, by the setting ``overlaps``.
_SHARED_TEXELS = {
    "first": "{} of the texels are shared by several faces (mirrored or overlapping UVs): the first of them gives the "
    "colour (Overlaps can average them, or make a new UV map).",
    "average": "{} of the texels are shared by several faces (mirrored or overlapping UVs): each shows the mean of "
    "them all.",
    "new": "{} of the texels are shared by several faces (mirrored or overlapping UVs): the first of them gives the "
    "colour, for the new UV map has overlaps too.",
}

# Faces with so much less room in the UV map than the mean are blurred beyond use.
_SQUEEZED = 400
# Beyond this many repeats of the image, UVs look like a tiling layout.
_MANY_TILES = 4


@dataclass(frozen=True)
class Problem:
    """severity: "error" or "note". sentence: what is wrong and what to do."""

    severity: str
    sentence: str


def check_mesh(mesh: MeshData, name: str) -> list[Problem]:
    """All problems of ``mesh``, errors first. UV problems are reported by ``check_uvs``."""
    if len(mesh.triangles) == 0:
        return [Problem("error", f"'{name}' has no faces, so there is no surface to texture.")]
    bad = int((~np.isfinite(mesh.positions)).any(axis=1).sum())
    if bad:
        return [
            Problem("error", f"'{name}' has {bad} vertices whose position is not a number; delete or repair them.")
        ]
    areas = mesh.triangle_areas()
    if areas.sum() == 0:
        return [Problem("error", f"'{name}' has no surface area: all its faces are degenerate.")]
    flat = int((areas == 0).sum())
    return [Problem("note", f"'{name}' has {flat} triangles without area; they get no texture.")] if flat else []


def check_uvs(mesh: MeshData, name: str) -> list[Problem]:
    """Problems of the chosen UV layer. An error means: another UV layer is needed."""
    uvs = mesh.corner_uvs
    if not np.isfinite(uvs).all():
        return [Problem("error", f"The UV map of '{name}' has coordinates that are not numbers.")]
    areas = np.abs(mesh.uv_areas())
    if areas.sum() < 1e-8:
        return [Problem("error", f"The UV map of '{name}' is collapsed to points or lines.")]
    problems = []
    # Blender's window waits for this: each area is computed once.
    surface = mesh.triangle_areas()
    visible = surface > 0
    flat = int((visible & (areas < 1e-14)).sum())
    if flat:
        problems.append(
            Problem("note", f"{flat} faces of '{name}' have no area in the UV map; each shows a single texel.")
        )
    squeezed = int((_density(surface, areas)[visible & (areas >= 1e-14)] < 1 / _SQUEEZED).sum())
    if squeezed:
        which = f"1 face of '{name}' is" if squeezed == 1 else f"{squeezed} faces of '{name}' are"
        problems.append(
            Problem(
                "note",
                f"{which} squeezed in the UV map: each gets less than a {_SQUEEZED}th of the texels that others get "
                "and will look blurred; unwrap anew.",
            )
        )
    tiles = np.abs(np.floor(uvs)).max()
    if tiles >= _MANY_TILES and not any(number % STEP for number in parts(mesh)):
        problems.append(
            Problem("note", f"The UV map of '{name}' repeats the image {int(tiles)} times; faces share texels.")
        )
    return problems


def _density(areas: np.ndarray, room: np.ndarray) -> np.ndarray:
    """(T,) float64: the room that each face has in the UV map for its size, 1 for the mean of all."""
    return np.asarray(room * areas.sum() / np.maximum(areas * room.sum(), 1e-300))


def overlap_problem(mesh: MeshData, name: str) -> str | None:
    """The sentence about faces that share texels, or None if hardly any do."""
    share = max(overlap(owners(part.corner_uvs, (_RASTER, _RASTER))) for part in parts(mesh).values())
    if share <= SHARED:
        return None
    return f"{share:.0%} of the texels in the UV map of '{name}' are shared by several faces."


def sharing(share: float, settings: JobSettings, *, several_materials: bool) -> str:
    """The sentence about a finished texture of which faces share texels, and how to have it otherwise."""
    is_new = settings.kind == "texture"
    sentence = _SHARED_TEXELS[settings.overlaps if is_new else "first"].format(f"{share:.0%}")
    if is_new and several_materials and settings.images == "one":
        return f"{sentence} Where they are of different materials, set Images to one per material."
    return sentence
