"""One edit from its folder to its result: what differs from ``texture_run``.

The result is ``edited.npy``, (H, W, 4) float32 in the very numbers of the source image, row 0 at the top: Blender,
which read the source's file format, writes it again.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.atlas import sample_bilinear, seam_error
from ..core.color import srgb_to_lab
from ..core.edit import resolve_edit, way
from ..core.mesh import MeshData
from ..core.report import psnr
from ..core.settings import Recipe
from ..core.source import EditSource
from .bake import PROBES, build_atlas, evaluate, surface_points, texel_means
from .canvas import Canvas
from .control import JobFailure
from .editing import Editing, bake_edit, show_source
from .field.residual import adjust
from .render.surface import Surface
from .synthesis import Synthesis
from .texture_run import PREVIEW_SIZE, TextureRun


class EditRun(TextureRun):
    """The phases of one edit."""

    growing = "Changing the texture"

    def prepare(self, surface: Surface) -> Synthesis:
        """Read the source, look at it from all sides that matter, and set the loop up."""
        try:
            source = EditSource.load(self.folder.source)
            _require_same_faces(source, self.mesh)
            self.shown, corner_mask = _part(self.mesh, source.shown), source.corner_mask[source.shown]
            height, width = source.pixels.shape[:2]
            self.atlas = build_atlas(self.shown, self.normalization, (height, width))
            self.canvas = Canvas.of(replace(source, corner_mask=corner_mask), self.shown, self.atlas)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        self.warn_of_overlap(self.atlas)
        interest = _interest(self.mesh, source, self.canvas)
        edge = self.recipe.resolution * self.recipe.supersample
        pool = [
            show_source(view, self.canvas, self.mesh, self.normalization, edge)
            for view in self.views(surface, interest)
        ]
        self._prepare_preview()
        return Editing(
            self.teacher, pool, self.recipe, target=self.settings.target, remove=self.settings.remove,
            loss=self.settings.loss, generator=self.generator,
        )  # fmt: skip

    def resolve(self, preferences: dict[str, Any]) -> Recipe:
        """The numbers of this edit."""
        return resolve_edit(self.settings, preferences)

    def words(self) -> str:
        """Target and removed prompt."""
        return f"{self.settings.target} {self.settings.remove}"

    def preview(self, synthesis: Synthesis) -> np.ndarray:
        """(S, S, 3) sRGB-encoded, the edit as it is now."""
        image = self._preview_colors.copy()
        flat, weight = image.reshape(-1, 3), self._preview_weight.reshape(-1, 1)
        for texel, transform in texel_means(synthesis.field, self._preview_atlas):
            index = texel.numpy()
            moved = adjust(transform, torch.from_numpy(flat[index]), self.recipe.albedo).numpy()
            flat[index] += weight[index] * (moved - flat[index])
        return image

    def bake(self, synthesis: Synthesis) -> tuple[Path, dict[str, Any]]:
        """Write the edited pixels; returns their path and their figures."""
        assert isinstance(synthesis, Editing)
        if synthesis.iteration < self.recipe.iterations and not self.control.stop:
            self.warn(
                f"The edit had settled after {synthesis.iteration} of {self.recipe.iterations} steps and ended early."
            )
        pixels, changed = bake_edit(synthesis, self.canvas, self.atlas)
        aside = self.folder.edited.with_name("edited.part.npy")
        np.save(aside, pixels, allow_pickle=False)
        os.replace(aside, self.folder.edited)
        return self.folder.edited, self._figures(synthesis, pixels, changed)

    def _prepare_preview(self) -> None:
        """What the source shows at every texel of the preview, and the samples of the field there."""
        size = PREVIEW_SIZE
        self._preview_atlas = build_atlas(self.shown, self.normalization, (size, size), samples=1)
        grid = (np.arange(size) + 0.5) / size
        uv = np.stack(np.meshgrid(grid, 1 - grid), axis=-1).reshape(-1, 2)
        colors, weight = self.canvas.look_up(uv, max(self.canvas.shape) / size)
        self._preview_colors = colors.reshape(size, size, 3)
        self._preview_weight = weight.reshape(size, size)

    def _figures(self, editing: Editing, pixels: np.ndarray, changed: np.ndarray) -> dict[str, Any]:
        points, uv = surface_points(self.shown, self.normalization, PROBES)
        canvas = self.canvas
        after = np.clip(replace(canvas.source, pixels=pixels).encoded(), 0, 1)
        before_at, after_at = sample_bilinear(canvas.colors, uv), sample_bilinear(after, uv)
        weight = sample_bilinear(canvas.weight[..., None], uv)
        before = torch.from_numpy(before_at.astype(np.float32))
        moved = adjust(evaluate(editing.field, points), before, self.recipe.albedo).numpy()
        mean, largest = seam_error(after, self.shown.triangles, self.shown.corner_uvs)
        difference = np.linalg.norm(srgb_to_lab(after_at) - srgb_to_lab(before_at), axis=1)
        return {
            "coverage": float((self.atlas.filled() & canvas.chart).sum() / max(canvas.chart.sum(), 1)),
            "seam_error": {"mean": mean, "max": largest},
            "bake_psnr": psnr(before_at + weight * (moved - before_at), after_at),
            "overlap": self.atlas.overlap,
            "edit": {
                "way": way(self.settings), "changed": float(changed.mean()), "free": float((canvas.weight > 0).mean()),
                "mean_delta_e": float(difference.mean()),
            },
        }  # fmt: skip


def _require_same_faces(source: EditSource, mesh: MeshData) -> None:
    own, wanted = len(source.shown), len(mesh.triangles)
    if own != wanted:
        raise ValueError(f"The source texture is of {own} faces, but the mesh has {wanted}: they are of two jobs.")


def _part(mesh: MeshData, chosen: np.ndarray) -> MeshData:
    """The (T,) ``chosen`` triangles of ``mesh``; all vertices stay."""
    return MeshData(mesh.positions, mesh.triangles[chosen], mesh.corner_normals[chosen], mesh.corner_uvs[chosen])


def _interest(mesh: MeshData, source: EditSource, canvas: Canvas) -> np.ndarray | None:
    """(T,) how free each triangle is, or None where the whole object may change."""
    if not (canvas.weight[canvas.chart] < 1).any() and source.shown.all():
        return None
    _, weight = canvas.look_up(mesh.corner_uvs.mean(axis=1), 1.0)
    interest = np.maximum(weight, source.corner_mask.mean(axis=1)) * source.shown
    return np.asarray(interest)
