"""The albedo of any named material with any wear, at points on an object: `surfaces` drawn by name, then `wear`."""

from __future__ import annotations

import numpy as np

from . import wear
from .surfaces import built, coated, fabric, metal, mineral, organic
from .surfaces.common import Paint

ALBEDO_RANGE = (0.06, 0.94)


def albedo(
    material: str, paint: Paint, position: np.ndarray, normal: np.ndarray, worn: str = ""
) -> np.ndarray:
    """Albedo [P, 3] float32 within ALBEDO_RANGE at positions and unit normals [P, 3].

    worn: a key of `vocabulary.WEAR`, or "" for none.
    """
    # A face in a plane through a cell border must not flicker between two cells.
    nudged = position - 0.013 * normal
    color = SURFACES[material](paint, nudged, normal)
    if worn:
        color = wear.EFFECTS[worn](paint.rng, color, nudged, normal)
    return np.clip(color, *ALBEDO_RANGE).astype(np.float32)


SURFACES = {
    f.__name__: f
    for f in (
        built.brick, built.wood, built.cobblestone, built.tiles, built.shingles, built.concrete, built.wicker,
        built.straw, built.hexagons,
        mineral.stone, mineral.marble, mineral.granite, mineral.gravel, mineral.sand, mineral.strata, mineral.mud,
        mineral.lava, mineral.snow, mineral.ice, mineral.water, mineral.terracotta, mineral.stars,
        mineral.camouflage, mineral.clouds, mineral.crystal,
        organic.moss, organic.grass, organic.bark, organic.leaves, organic.leather, organic.scales,
        organic.feathers, organic.fur, organic.zebra, organic.tiger, organic.leopard, organic.giraffe, organic.flowers,
        fabric.checker, fabric.stripe, fabric.dots, fabric.plaid, fabric.knit, fabric.denim, fabric.fabric,
        metal.rust, metal.gold, metal.silver, metal.copper, metal.brushed, metal.hammered,
        coated.plain, coated.ceramic, coated.rubber, coated.chipped, coated.porcelain, coated.glitter, coated.slime,
    )
}  # fmt: skip
