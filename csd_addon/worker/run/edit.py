"""An edit of a texture: what it starts from, its previews, its pixels.

The result is ``edited.npz``, for each tile (H, W, 4) float32 in the very numbers of the source image, row 0 at the
top: Blender, which read the source's file format, writes it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.atlas import sample_bilinear
from ...core.checks import SHARED, sharing
from ...core.color import srgb_to_lab
from ...core.edit import way
from ...core.mesh import MeshData, Normalization
from ...core.source import EditSource, save_edited
from ..bake.bake import Atlas, build_atlas, evaluate, texel_means
from ..bake.measure import Filling, figures, probes
from ..field.residual import adjust
from ..method.assembly import assemble
from ..method.guide import Words
from ..method.loop import Loop
from ..serve.control import JobFailure
from ..shape.bake_edit import bake_edit
from ..shape.canvas import Canvas, Texture
from ..shape.edited import EditedTexture, source_in_view
from .session import Session
from .texture import PREVIEW_SIZE


class EditProduct:
    """See ``grow.Product``."""

    growing = "Changing the texture"

    def __init__(self, session: Session) -> None:
        self._session, self._albedo = session, session.recipe.field.albedo

    def prepare(self) -> Loop | None:
        """See ``grow.Product``; reads the source and looks at what may change.

        The removed prompt is the negative, so Eq 10's coefficients become Eq 11's. Raises ``JobFailure`` with a
        sentence if the source is damaged, or nothing of it may change.
        """
        session = self._session
        try:
            self._source = EditSource.load(session.folder.source)
            _require_same_faces(self._source, session.mesh)
            texture = self._texture = Texture.of(self._source, session.mesh, session.normalization)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        overlap = max(canvas.overlap for canvas in texture.canvases.values())
        if overlap > SHARED:
            session.warn(sharing(overlap, session.settings, several_materials=session.several_materials))
        pool, sources = [], []
        for view in session.views(session.surface, _interest(texture, self._source)):
            pool.append(view)
            sources.append(source_in_view(view, texture))
        self._sketches = {n: _sketch(c, session.normalization) for n, c in texture.canvases.items()}
        if session.control.cancel:
            return None
        words = Words(session.understood(session.settings.target), session.understood(session.settings.remove))
        return assemble(
            session.teacher, pool, EditedTexture(session.recipe, sources), session.recipe, words,
            loss=session.settings.loss, generator=session.generator,
        )  # fmt: skip

    def preview(self, loop: Loop) -> dict[int, np.ndarray]:
        """See ``grow.Product``, by tile."""
        return {number: self._sketched(loop.shape.field, *sketch) for number, sketch in self._sketches.items()}

    def _sketched(
        self, field: torch.nn.Module, atlas: Atlas, colors: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        flat, share = colors.reshape(-1, 3).copy(), weight.reshape(-1, 1)
        for texel, transform in texel_means(field, atlas):
            index = texel.numpy()
            moved = adjust(transform, torch.from_numpy(flat[index]), self._albedo).numpy()
            flat[index] += share[index] * (moved - flat[index])
        return flat.reshape(colors.shape)

    def bake(self, loop: Loop) -> tuple[Path, dict[str, Any]]:
        """Write the edited pixels; returns their path and their figures."""
        session, field = self._session, loop.shape.field
        pixels, masks, fillings = {}, [], []
        for number, canvas in self._texture.canvases.items():
            atlas = canvas.atlas()
            pixels[number], changed = bake_edit(field, self._albedo, canvas, atlas, session.settings.margin)
            masks.append(changed)
            fillings.append(Filling.of(atlas))
        save_edited(session.folder.edited, pixels)
        # Blender wrote it as it was, because its window waited.
        self._source.save(session.folder.source, compressed=True)
        said = self._figures(field, pixels, fillings)
        said["edit"]["changed"] = _mean(masks)
        return session.folder.edited, said

    def _figures(
        self, field: torch.nn.Module, pixels: dict[int, np.ndarray], fillings: list[Filling]
    ) -> dict[str, Any]:
        canvases = self._texture.canvases
        meshes = {n: canvas.mesh for n, canvas in canvases.items()}
        after = {n: np.clip(replace(c.tile, pixels=pixels[n]).encoded(), 0, 1) for n, c in canvases.items()}
        places = probes(meshes, self._session.normalization)
        looks = [self._look(field, canvases[n], after[n], *place) for n, *place in places]
        before, wanted, found = (np.concatenate(parts) for parts in zip(*looks, strict=True))
        difference = np.linalg.norm(srgb_to_lab(found) - srgb_to_lab(before), axis=1)
        free = _mean(canvas.weight > 0 for canvas in canvases.values())
        return {
            **figures(meshes, after, fillings, wanted, found),
            "edit": {"way": way(self._session.settings), "free": free, "mean_delta_e": float(difference.mean())},
        }

    def _look(
        self, field: torch.nn.Module, canvas: Canvas, after: np.ndarray, points: torch.Tensor, uv: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Colours (P, 3) at points of a tile: before, as the field has them, and after."""
        before, weight = sample_bilinear(canvas.colors, uv), sample_bilinear(canvas.weight[..., None], uv)
        source = torch.from_numpy(before.astype(np.float32))
        moved = adjust(evaluate(field, points), source, self._albedo).numpy()
        return before, before + weight * (moved - before), sample_bilinear(after, uv)


def _sketch(canvas: Canvas, normalization: Normalization) -> tuple[Atlas, np.ndarray, np.ndarray]:
    """A small copy of a tile: samples of the field, colours (S, S, 3) and weights (S, S)."""
    size = PREVIEW_SIZE
    atlas = build_atlas(canvas.mesh, normalization, (size, size), samples=1)
    grid = (np.arange(size) + 0.5) / size
    uv = np.stack(np.meshgrid(grid, 1 - grid), axis=-1).reshape(-1, 2)
    colors, weight = canvas.look_up(uv, max(canvas.shape) / size)
    return atlas, colors.reshape(size, size, 3), weight.reshape(size, size)


def _mean(masks: Iterable[np.ndarray]) -> float:
    """The share of texels that are set."""
    return float(np.concatenate([mask.ravel() for mask in masks]).mean())


def _require_same_faces(source: EditSource, mesh: MeshData) -> None:
    own, wanted = len(source.number), len(mesh.triangles)
    if own != wanted:
        raise ValueError(f"The source texture is of {own} faces, but the mesh has {wanted}: they are of two jobs.")


def _interest(texture: Texture, source: EditSource) -> np.ndarray | None:
    """(T,) how free each triangle is, or None where the whole object may change."""
    shown = source.number >= 0
    if shown.all() and not any((c.weight[c.chart] < 1).any() for c in texture.canvases.values()):
        return None
    middle = np.full((len(shown), 3), 1 / 3)
    _, weight = texture.look_up(np.arange(len(shown)), middle, 0.0)
    interest = np.maximum(weight, source.corner_mask.mean(axis=1)) * shown
    return np.asarray(interest)
