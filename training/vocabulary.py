"""The words of the bundled teacher: twelve colours, their synonyms and shades, and the materials.

Colours are sRGB-encoded in [0, 1]. A colour word always stays nearest, in CIELAB, to its own reference,
so that naming a texture's colour by the nearest reference is a fair test of what was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csd_addon.core.color import srgb_to_lab

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.10, 0.10),
    "orange": (0.93, 0.50, 0.08),
    "yellow": (0.93, 0.86, 0.14),
    "green": (0.14, 0.56, 0.17),
    "cyan": (0.16, 0.80, 0.86),
    "blue": (0.10, 0.31, 0.85),
    "purple": (0.58, 0.16, 0.66),
    "pink": (0.94, 0.56, 0.72),
    "brown": (0.43, 0.25, 0.11),
    "white": (0.92, 0.92, 0.92),
    "gray": (0.50, 0.50, 0.50),
    "black": (0.08, 0.08, 0.08),
}
COLOR_NAMES = tuple(COLORS)
REFERENCE = np.array(list(COLORS.values()))  # [12, 3]

SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "cyan": ("cyan", "cyan", "turquoise"),
    "blue": ("blue",),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink",),
    "brown": ("brown",),
    "white": ("white",),
    "gray": ("gray", "grey"),
    "black": ("black",),
}
# A shade moves the reference towards white (positive) or black (negative).
SHADES: dict[str, float] = {"": 0.0, "light": 0.28, "dark": -0.38}
SHADE_NAMES = tuple(SHADES)
SHADE_WORDS: dict[str, tuple[str, ...]] = {"light": ("light", "pale"), "dark": ("dark", "deep")}
SHADED = {"light": ("green", "blue", "gray", "yellow"), "dark": ("green", "blue", "gray", "purple")}


@dataclass(frozen=True)
class Material:
    """One kind of surface.

    weight: how often it is drawn. words: as an adjective or a noun before "texture". nouns: what a thing
    is made of. natural: colours drawn when the caption names none (empty: the caption always names one).
    second: colours the second part may take; None: any other colour, and the caption names it.
    """

    weight: float
    words: tuple[str, ...]
    nouns: tuple[str, ...]
    natural: tuple[str, ...] = ()
    second: tuple[str, ...] | None = ()


MATERIALS: dict[str, Material] = {
    "plain": Material(1.2, ("plain", "painted", "smooth", "plastic"), ("plastic", "paint"), (), ()),
    "brick": Material(
        1.6,
        ("brick", "bricks", "brick wall"),
        ("bricks", "brick"),
        ("red",),
        ("white", "gray", "gray", "black"),
    ),
    "wood": Material(1.5, ("wood", "wooden", "wooden planks", "planks"), ("wood", "wooden planks"), ("brown",), ()),
    "moss": Material(1.0, ("moss", "mossy", "mossy stone"), ("moss", "mossy stone"), ("green",), ("gray",)),
    "stone": Material(1.0, ("stone", "rock", "rocky"), ("stone", "rock"), ("gray",), ()),
    "cobblestone": Material(
        1.2,
        ("cobblestone", "cobblestones"),
        ("cobblestone", "cobblestones"),
        ("gray",),
        ("black", "black", "brown"),
    ),
    "marble": Material(
        1.2,
        ("marble", "polished marble"),
        ("marble",),
        ("white", "white", "gray"),
        ("gray", "gray", "black", "white"),
    ),
    "rust": Material(1.0, ("rust", "rusty", "rusty metal"), ("rust", "rusty metal"), ("brown", "orange"), ("gray",)),
    "checker": Material(2.2, ("checkered", "checker", "checkerboard"), ("checks", "squares"), (), None),
    "stripe": Material(2.2, ("striped", "stripes"), ("stripes",), (), None),
    "dots": Material(2.2, ("polka dot", "dotted", "dots"), ("dots", "polka dots"), (), None),
    "tiles": Material(
        1.0, ("tiles", "tiled", "ceramic tiles"), ("tiles", "ceramic tiles"), (), ("white", "gray", "black")
    ),
    "scales": Material(0.9, ("scales", "scaly", "dragon scales"), ("scales", "fish scales"), (), ("black",)),
    "gold": Material(0.5, ("gold", "golden"), ("gold",), ("yellow",), ()),
    "grass": Material(0.5, ("grass", "grassy"), ("grass",), ("green",), ()),
    "leather": Material(0.6, ("leather",), ("leather",), ("brown", "brown", "black"), ()),
}
MATERIAL_NAMES = tuple(MATERIALS)
TWO_COLORED = tuple(name for name, m in MATERIALS.items() if m.second is None)
NEVER_COLORED = ("gold", "grass")

# One combination in twenty of (colour, material) is never drawn: what the model does with them is
# generalisation.
HELD_OUT = (
    ("blue", "brick"),
    ("purple", "wood"),
    ("pink", "stone"),
    ("orange", "cobblestone"),
    ("green", "marble"),
    ("red", "tiles"),
    ("cyan", "scales"),
    ("yellow", "stripe"),
)

SHAPES = (
    "sphere",
    "cube",
    "cylinder",
    "cone",
    "torus",
    "capsule",
    "vase",
    "rock",
    "blob",
    "object",
    "steps",
    "arch",
)
LIGHT_WORDS = ("shaded", "lit", "with shadow", "soft light")
CLOSE_WORDS = ("close-up", "detail", "closeup", "macro")
JUNK = (
    "high quality",
    "4k",
    "beautiful",
    "detailed",
    "game asset",
    "8k",
    "realistic",
    "nice",
    "seamless",
    "material",
    "of",
    "the",
    "with",
    "very",
    "render",
    "3d",
    "uhd",
    "masterpiece",
    "front view",
    "side view",
    "back view",
    "top view",
    "sharp",
    "studio",
    "pbr",
    "albedo",
    "new",
    "old",
    "best",
)


REFERENCE_LAB = srgb_to_lab(REFERENCE)


def nearest_color(rgb: np.ndarray) -> np.ndarray:
    """Index into COLOR_NAMES of the nearest reference in CIELAB, for colours [..., 3] in [0, 1]."""
    distance = np.linalg.norm(srgb_to_lab(rgb)[..., None, :] - REFERENCE_LAB, axis=-1)
    return distance.argmin(axis=-1)


def sample_color(rng: np.random.Generator, name: str, shade: str = "") -> np.ndarray:
    """A colour [3] near the reference `name`, moved by `shade`; always nearest to its own reference."""
    base, amount = np.array(COLORS[name]), SHADES[shade]
    base = base + (1 - base) * amount if amount > 0 else base * (1 + amount)
    for spread in (0.05, 0.04, 0.03, 0.02, 0.01, 0.0):
        color = np.clip(base + rng.normal(0, spread, 3) * 0.6 + rng.normal(0, spread) * 0.6, 0.06, 0.94)
        if COLOR_NAMES[int(nearest_color(color))] == name:
            return color
    return np.array(COLORS[name])
