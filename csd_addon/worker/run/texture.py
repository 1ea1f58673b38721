"""A new texture: its views, its previews, its images in the artist's UVs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...core.channels import BASE_COLOR, CHANNELS, spans
from ...core.checks import SHARED, sharing
from ...core.images import STEP, image_of, parts, picture_file
from ..bake.bake import bake, build_atlas
from ..bake.measure import Filling, measure, shares, unseen_texels
from ..bake.unseen import Seen, SeenFaces, directions
from ..bake.write_png import write_map, write_png
from ..method.assembly import assemble
from ..method.guide import Words
from ..method.loop import Loop
from ..shape.appearance import NewTexture
from .session import Session

PREVIEW_SIZE = 512


class TextureProduct:
    """See ``grow.Product``."""

    growing = "Growing the texture"

    def __init__(self, session: Session) -> None:
        self._session = session
        # The faces that show each picture.
        self._meshes = parts(session.mesh)

    def prepare(self) -> Loop | None:
        """See ``grow.Product``. The recipe's negative is what it should not show."""
        session = self._session
        self._pool = list(session.views(session.surface))
        if tiles := {number % STEP for number in self._meshes} - {0}:
            session.warn(f"The UV map lies on {len(tiles)} UDIM tiles: each gets an image of its own.")
        self._preview_atlases = {
            number: build_atlas(mesh, session.normalization, (PREVIEW_SIZE, PREVIEW_SIZE), samples=1)
            for number, mesh in self._meshes.items()
        }
        if session.control.cancel:
            return None
        negative = session.recipe.guide.negative
        words = Words(session.understood(session.settings.prompt), session.understood(negative))
        return assemble(
            session.teacher, self._pool, NewTexture(session.recipe), session.recipe, words, loss=session.settings.loss,
            generator=session.generator,
        )  # fmt: skip

    def preview(self, loop: Loop) -> dict[int, np.ndarray]:
        """See ``grow.Product``."""
        color = spans(loop.shape.channels)[BASE_COLOR.name]
        return {
            number: bake(loop.shape.field, atlas)[0][..., color] for number, atlas in self._preview_atlases.items()
        }

    def bake(self, loop: Loop) -> tuple[Path, dict[str, Any]]:
        """Write the images of all channels; returns the path of the base colour, and the figures."""
        session, settings, field = self._session, self._session.settings, loop.shape.field
        size, depth = settings.size, 8 if settings.depth == "auto" else int(settings.depth)
        all_seen = Seen.of(self._pool, session.mesh, session.recipe.views.resolution)
        seen = {number: SeenFaces(all_seen, directions(mesh)) for number, mesh in self._meshes.items()}
        written, fillings = {}, {}
        for number, mesh in self._meshes.items():
            # One after the other: an atlas of 4096 texels takes a gigabyte.
            average = settings.overlaps == "average"
            atlas = build_atlas(mesh, session.normalization, (size, size), average=average)
            exact = 0.5 / (2**depth - 1)
            image, _ = bake(field, atlas, settings.margin, seen[number], exact)
            rounded = [
                write_png(picture_file(session.folder.image(name), number), image[..., span], depth=depth)
                for name, span in spans(CHANNELS).items()
            ]
            written[number] = np.concatenate(rounded, axis=2)
            unseen = unseen_texels(atlas, seen[number])
            fillings[number] = Filling.of(atlas, unseen)
            if settings.unseen_map:
                write_map(picture_file(session.folder.unseen, number), unseen)
        overlap = max(filling.overlap for filling in fillings.values())
        if overlap > SHARED:
            session.warn(sharing(overlap, settings, several_materials=session.several_materials))
        figures = measure(field, self._meshes, session.normalization, written, [*fillings.values()], seen)
        figures["images"] = [self._image_figures(k, fillings) for k in range(len(session.materials))]
        if settings.unseen_map:
            figures["unseen_map"] = [picture_file(session.folder.unseen, number).name for number in written]
        return session.folder.basecolor, figures

    def _image_figures(self, image: int, fillings: Mapping[int, Filling]) -> dict[str, Any]:
        own = [number for number in fillings if image_of(number) == image]
        files = [picture_file(self._session.folder.basecolor, number).name for number in own]
        material = self._session.materials[image]
        return {"material": material, "files": files, **shares([fillings[number] for number in own])}
