"""One edit from its folder to its result: what differs from ``texture_run``.

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
from ...core.color import srgb_to_lab
from ...core.edit import resolve_edit, way
from ...core.mesh import MeshData, Normalization
from ...core.recipe import Recipe
from ...core.source import EditSource, save_edited
from ..bake.bake import Atlas, build_atlas, evaluate, texel_means
from ..bake.measure import Filling, figures, probes
from ..field.residual import adjust
from ..look.surface import Surface
from ..method.synthesis import Synthesis
from ..serve.control import JobFailure
from ..shape.canvas import Canvas, Texture
from ..shape.editing import Editing, bake_edit, show_source
from .texture import PREVIEW_SIZE, TextureRun


class EditRun(TextureRun):
    """The phases of one edit."""

    growing = "Changing the texture"

    def prepare(self, surface: Surface) -> Synthesis:
        """Read the source, look at it from all sides that matter, and set the loop up."""
        try:
            self.source = EditSource.load(self.folder.source)
            _require_same_faces(self.source, self.mesh)
            self.texture = Texture.of(self.source, self.mesh, self.normalization)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        self.warn_of_overlap(max(canvas.overlap for canvas in self.texture.canvases.values()))
        edge = self.recipe.resolution * self.recipe.supersample
        interest = _interest(self.texture, self.source)
        pool = [show_source(view, self.texture, edge) for view in self.views(surface, interest)]
        self._sketches = {n: _sketch(c, self.normalization) for n, c in self.texture.canvases.items()}
        return Editing(
            self.teacher, pool, self.recipe, target=self.understood(self.settings.target),
            remove=self.understood(self.settings.remove), loss=self.settings.loss, generator=self.generator,
        )  # fmt: skip

    def resolve(self, preferences: dict[str, Any]) -> Recipe:
        """The numbers of this edit."""
        return resolve_edit(self.settings, preferences)

    def words(self) -> str:
        """Target and removed prompt."""
        return f"{self.settings.target} {self.settings.remove}"

    def preview(self, synthesis: Synthesis) -> dict[int, np.ndarray]:
        """By tile (S, S, 3) sRGB-encoded, the edit as it is now."""
        return {number: self._sketched(synthesis, *sketch) for number, sketch in self._sketches.items()}

    def _sketched(self, synthesis: Synthesis, atlas: Atlas, colors: np.ndarray, weight: np.ndarray) -> np.ndarray:
        flat, share = colors.reshape(-1, 3).copy(), weight.reshape(-1, 1)
        for texel, transform in texel_means(synthesis.field, atlas):
            index = texel.numpy()
            moved = adjust(transform, torch.from_numpy(flat[index]), self.recipe.albedo).numpy()
            flat[index] += share[index] * (moved - flat[index])
        return flat.reshape(colors.shape)

    def bake(self, synthesis: Synthesis) -> tuple[Path, dict[str, Any]]:
        """Write the edited pixels; returns their path and their figures."""
        assert isinstance(synthesis, Editing)
        if synthesis.iteration < self.recipe.iterations and not self.control.stop:
            self.warn(
                f"The edit had settled after {synthesis.iteration} of {self.recipe.iterations} steps and ended early."
            )
        pixels, masks, fillings = {}, [], []
        for number, canvas in self.texture.canvases.items():
            atlas = canvas.atlas()
            pixels[number], changed = bake_edit(synthesis, canvas, atlas, self.settings.margin)
            masks.append(changed)
            fillings.append(Filling.of(atlas))
        save_edited(self.folder.edited, pixels)
        # Blender wrote it as it was, because its window waited.
        self.source.save(self.folder.source, compressed=True)
        said = self._figures(synthesis, pixels, fillings)
        said["edit"]["changed"] = _mean(masks)
        return self.folder.edited, said

    def _figures(self, editing: Editing, pixels: dict[int, np.ndarray], fillings: list[Filling]) -> dict[str, Any]:
        canvases = self.texture.canvases
        meshes = {n: canvas.mesh for n, canvas in canvases.items()}
        after = {n: np.clip(replace(c.tile, pixels=pixels[n]).encoded(), 0, 1) for n, c in canvases.items()}
        looks = [self._look(editing, canvases[n], after[n], *place) for n, *place in probes(meshes, self.normalization)]
        before, wanted, found = (np.concatenate(parts) for parts in zip(*looks, strict=True))
        difference = np.linalg.norm(srgb_to_lab(found) - srgb_to_lab(before), axis=1)
        free = _mean(canvas.weight > 0 for canvas in canvases.values())
        return {
            **figures(meshes, after, fillings, wanted, found),
            "edit": {"way": way(self.settings), "free": free, "mean_delta_e": float(difference.mean())},
        }

    def _look(
        self, editing: Editing, canvas: Canvas, after: np.ndarray, points: torch.Tensor, uv: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Colours (P, 3) at points of a tile: before, as the field has them, and after."""
        before, weight = sample_bilinear(canvas.colors, uv), sample_bilinear(canvas.weight[..., None], uv)
        source = torch.from_numpy(before.astype(np.float32))
        moved = adjust(evaluate(editing.field, points), source, self.recipe.albedo).numpy()
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
