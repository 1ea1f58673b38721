"""The words of the bundled teacher: fourteen colours, their synonyms and shades, the materials and their wear.

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
    "teal": (0.05, 0.46, 0.46),
    "cyan": (0.16, 0.80, 0.86),
    "blue": (0.10, 0.31, 0.85),
    "purple": (0.58, 0.16, 0.66),
    "pink": (0.94, 0.56, 0.72),
    "brown": (0.43, 0.25, 0.11),
    "beige": (0.84, 0.74, 0.56),
    "white": (0.92, 0.92, 0.92),
    "gray": (0.50, 0.50, 0.50),
    "black": (0.08, 0.08, 0.08),
}
COLOR_NAMES = tuple(COLORS)
REFERENCE = np.array(list(COLORS.values()))  # [14, 3]

SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "red", "scarlet", "crimson", "ruby"),
    "orange": ("orange", "orange", "amber"),
    "yellow": ("yellow", "yellow", "lemon"),
    "green": ("green", "green", "emerald"),
    "teal": ("teal",),
    "cyan": ("cyan", "cyan", "turquoise", "aqua"),
    "blue": ("blue", "blue", "blue", "cobalt", "azure"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose"),
    "brown": ("brown", "brown", "chocolate"),
    "beige": ("beige", "beige", "tan", "cream"),
    "white": ("white", "white", "white", "ivory"),
    "gray": ("gray", "grey"),
    "black": ("black", "black", "black", "ebony"),
}
# A shade moves the reference towards white (positive) or black (negative).
SHADES: dict[str, float] = {"": 0.0, "light": 0.28, "dark": -0.38}
SHADE_NAMES = tuple(SHADES)
SHADE_WORDS: dict[str, tuple[str, ...]] = {
    "": ("bright", "vivid"), "light": ("light", "pale", "pastel"), "dark": ("dark", "deep"),
}  # fmt: skip
# The colours that keep their name when they are shaded, and single words for some of them.
SHADED = {
    "light": ("green", "blue", "gray", "yellow", "purple", "orange", "cyan"),
    "dark": ("green", "blue", "gray", "purple", "red", "brown"),
}
SHADED_SYNONYMS: dict[tuple[str, str], tuple[str, ...]] = {
    ("dark", "blue"): ("navy", "navy blue"),
    ("dark", "red"): ("maroon", "burgundy"),
    ("light", "green"): ("lime", "lime green"),
    ("light", "blue"): ("sky blue",),
    ("light", "purple"): ("lavender", "lilac"),
    ("dark", "gray"): ("charcoal",),
}


@dataclass(frozen=True)
class Material:
    """One kind of surface.

    weight: how often it is drawn. words: as an adjective or a noun before "texture". nouns: what a thing
    is made of. natural: colours drawn when the caption names none (empty: the caption always names one).
    second: colours the second part may take; None: any other colour, and the caption names it.
    colors: colours that a caption may name; None: all, (): none.
    """

    weight: float
    words: tuple[str, ...]
    nouns: tuple[str, ...]
    natural: tuple[str, ...] = ()
    second: tuple[str, ...] | None = ()
    colors: tuple[str, ...] | None = None


EARTHEN = ("red", "orange", "yellow", "brown", "beige", "white", "gray", "black", "pink")
COATS = ("orange", "brown", "beige", "white", "gray", "black", "pink", "blue", "red")

MATERIALS: dict[str, Material] = {
    "plain": Material(1.2, ("plain", "painted", "smooth", "plastic", "matte"), ("plastic", "paint", "enamel")),
    "brick": Material(
        1.8, ("brick", "bricks", "brick wall"), ("bricks", "brick"), ("red",), ("white", "gray", "gray", "black"),
    ),
    "wood": Material(
        1.8, ("wood", "wooden", "wooden planks", "planks", "timber"), ("wood", "wooden planks", "oak"), ("brown",),
    ),
    "moss": Material(1.2, ("moss", "mossy", "mossy stone"), ("moss", "mossy stone"), ("green",), ("gray",)),
    "stone": Material(1.2, ("stone", "rock", "rocky"), ("stone", "rock"), ("gray",)),
    "cobblestone": Material(
        1.2, ("cobblestone", "cobblestones", "stone wall"), ("cobblestone", "cobblestones", "cobbles"), ("gray",),
        ("black", "black", "brown"),
    ),
    "marble": Material(
        1.2, ("marble",), ("marble",), ("white", "white", "gray"), ("gray", "gray", "black", "white"),
    ),
    "rust": Material(
        1.2, ("rust", "rusty", "rusty metal", "rusted iron"), ("rust", "rusty metal", "rusty iron"),
        ("brown", "orange"), ("gray",),
    ),
    "checker": Material(2.0, ("checkered", "checker", "checkerboard"), ("checks", "squares"), (), None),
    "stripe": Material(2.0, ("striped", "stripes"), ("stripes",), (), None),
    "dots": Material(2.0, ("polka dot", "dotted", "dots", "spotted"), ("dots", "polka dots", "spots"), (), None),
    "plaid": Material(1.4, ("plaid", "tartan"), ("plaid", "tartan"), (), None),
    "flowers": Material(1.4, ("floral", "flowers", "flowery"), ("flowers", "blossoms"), (), None),
    "tiles": Material(
        1.2, ("tiles", "tiled", "ceramic tiles"), ("tiles", "ceramic tiles"), (), ("white", "gray", "black"),
    ),
    "hexagons": Material(
        0.9, ("hexagon", "hexagonal tiles", "honeycomb"), ("hexagons", "honeycomb"), ("yellow",), ("black", "white"),
    ),
    "shingles": Material(
        0.9, ("roof tiles", "shingles", "roof shingles"), ("roof tiles", "shingles"), ("red", "brown", "gray"), (),
        ("red", "orange", "brown", "gray", "black", "green", "blue", "teal"),
    ),
    "concrete": Material(0.9, ("concrete", "cement"), ("concrete", "cement", "plaster"), ("gray",)),
    "wicker": Material(
        0.9, ("wicker", "woven wicker", "rattan", "basket weave"), ("wicker", "rattan"), ("beige", "brown"), (),
        EARTHEN,
    ),
    "straw": Material(0.8, ("straw", "thatch", "hay"), ("straw", "hay"), ("beige", "yellow"), (), ()),
    "granite": Material(0.9, ("granite", "speckled granite"), ("granite",), ("gray", "pink", "gray"), (), EARTHEN),
    "gravel": Material(0.8, ("gravel", "pebbles"), ("gravel", "pebbles"), ("gray", "beige"), (), EARTHEN),
    "sand": Material(0.8, ("sand", "sandy", "desert sand"), ("sand",), ("beige",), (), EARTHEN),
    "strata": Material(
        0.9, ("rock strata", "sandstone", "layered rock", "canyon rock"), ("sandstone", "layered rock"),
        ("orange", "beige", "brown"), (), EARTHEN,
    ),
    "mud": Material(0.8, ("mud", "muddy", "dirt", "soil", "dried mud"), ("mud", "dirt"), ("brown",), (), ()),
    "lava": Material(1.2, ("lava", "magma", "molten lava", "molten rock"), ("lava", "magma"), ("black",), (), ()),
    "snow": Material(1.0, ("snow", "fresh snow"), ("snow",), ("white",), (), ()),
    "ice": Material(1.0, ("ice", "icy", "frozen"), ("ice", "frozen water"), ("cyan",), (), ()),
    "water": Material(0.8, ("water", "ocean", "sea water"), ("water",), ("blue", "cyan"), (), ("blue", "cyan", "teal")),
    "clouds": Material(0.7, ("clouds", "cloudy sky", "sky"), ("clouds", "sky"), ("blue",), (), ()),
    "terracotta": Material(
        0.9, ("terracotta", "clay", "earthenware"), ("terracotta", "clay", "fired clay"), ("orange",), (), (),
    ),
    "stars": Material(0.8, ("starry", "galaxy", "night sky", "space"), ("stars", "a galaxy"), ("purple",), (), ()),
    "camouflage": Material(
        0.9, ("camouflage", "camo", "military camouflage"), ("camouflage",), ("green",), (),
        ("green", "blue", "gray", "pink", "purple", "teal"),
    ),
    "crystal": Material(
        0.8, ("crystal", "crystals", "gemstone", "faceted"), ("crystal", "gemstone"), ("cyan", "purple"),
    ),
    "bark": Material(
        0.9, ("bark", "tree bark", "tree trunk"), ("bark", "tree bark"), ("brown",), (), ("brown", "gray", "white",
        "black"),
    ),
    "leaves": Material(
        0.9, ("leaves", "leafy", "foliage", "ivy"), ("leaves", "foliage"), ("green",), (),
        ("green", "red", "orange", "yellow", "brown", "purple"),
    ),
    "grass": Material(0.8, ("grass", "grassy", "lawn"), ("grass",), ("green",), (), ()),
    "leather": Material(1.0, ("leather",), ("leather",), ("brown", "brown", "black")),
    "scales": Material(
        1.2, ("scales", "scaly", "dragon scales", "reptile skin"), ("scales", "fish scales"), (), ("black",),
    ),
    "feathers": Material(1.0, ("feathers", "feathered", "plumage"), ("feathers",), ("brown", "white", "gray")),
    "fur": Material(1.0, ("fur", "furry", "fluffy", "hairy"), ("fur", "hair"), ("brown", "gray", "white"), (), COATS),
    "zebra": Material(0.8, ("zebra", "zebra stripes", "zebra print"), ("zebra stripes",), ("white",), ("black",), ()),
    "tiger": Material(0.8, ("tiger", "tiger stripes", "tiger fur"), ("tiger stripes",), ("orange",), ("black",), ()),
    "leopard": Material(
        0.8, ("leopard", "leopard print", "leopard spots", "cheetah"), ("leopard spots", "leopard fur"), ("beige",),
        (), (),
    ),
    "giraffe": Material(0.8, ("giraffe", "giraffe pattern"), ("giraffe spots",), ("brown",), ("beige",), ()),
    "knit": Material(
        1.0, ("knitted", "knit", "woolen", "wool", "crochet"), ("knitted wool", "wool", "yarn"), ("beige", "white",
        "red"),
    ),
    "denim": Material(
        0.9, ("denim", "jeans"), ("denim",), ("blue",), (), ("blue", "black", "gray", "white", "red", "teal"),
    ),
    "fabric": Material(
        0.9, ("fabric", "cloth", "linen", "canvas", "woven fabric"), ("fabric", "cloth", "linen"), ("beige",),
    ),
    "gold": Material(1.0, ("gold", "golden"), ("gold", "brass"), ("yellow",), (), ()),
    "silver": Material(0.9, ("silver", "chrome"), ("silver", "chrome"), ("gray",), (), ()),
    "copper": Material(0.9, ("copper", "bronze"), ("copper", "bronze"), ("orange",), (), ()),
    "brushed": Material(
        1.0, ("brushed metal", "metal", "metallic", "steel", "brushed steel"), ("metal", "steel", "iron", "aluminum"),
        ("gray",),
    ),
    "hammered": Material(
        0.9, ("hammered metal", "hammered", "beaten metal"), ("hammered metal", "hammered iron"), ("gray",),
    ),
    "ceramic": Material(
        1.1, ("ceramic", "glazed ceramic", "glazed", "pottery"), ("ceramic", "glazed ceramic", "glaze"), ("white",),
    ),
    "porcelain": Material(
        0.8, ("porcelain", "painted porcelain"), ("porcelain", "china"), ("blue",), (),
        ("blue", "red", "green", "purple", "teal"),
    ),
    "rubber": Material(0.8, ("rubber", "rubber tread", "tire"), ("rubber",), ("black",)),
    "chipped": Material(
        1.0, ("peeling paint", "chipped paint", "flaking paint"), ("peeling paint", "chipped paint"), ("white",
        "green"),
    ),
    "glitter": Material(0.7, ("glitter", "sparkly", "sequins"), ("glitter", "sequins")),
    "slime": Material(0.7, ("slime", "slimy", "goo"), ("slime", "goo"), ("green",)),
}  # fmt: skip
MATERIAL_NAMES = tuple(MATERIALS)
TWO_COLORED = tuple(name for name, m in MATERIALS.items() if m.second is None)

# Adjectives that change the picture of any material, and the materials on which each would not be seen or make sense.
WEAR: dict[str, tuple[str, ...]] = {
    "rough": ("rough", "coarse"),
    "polished": ("polished", "shiny", "glossy"),
    "weathered": ("weathered", "worn", "aged", "old"),
    "mossy": ("mossy", "overgrown"),
    "cracked": ("cracked", "shattered"),
    "wet": ("wet", "dripping"),
    "dirty": ("dirty", "grimy", "stained"),
    "snowy": ("snowy", "snow covered", "frosty"),
}
WEAR_NAMES = ("", *WEAR)
SOFT = (
    "moss", "grass", "snow", "water", "clouds", "stars", "lava", "fur", "feathers", "slime", "glitter", "zebra",
    "tiger",
    "leopard", "giraffe", "leaves", "straw", "knit", "flowers", "plaid", "checker", "stripe", "dots", "camouflage",
)  # fmt: skip
NEVER_WORN: dict[str, tuple[str, ...]] = {
    "rough": (*SOFT, "sand", "gravel", "granite", "bark", "mud", "crystal", "ice"),
    "polished": (*SOFT, "gold", "silver", "copper", "mud", "sand", "gravel", "bark", "rust", "chipped"),
    "weathered": ("moss", "grass", "snow", "water", "clouds", "stars", "lava", "slime", "glitter", "ice", "mud"),
    "mossy": (*SOFT, "stone", "sand", "mud", "ice", "glitter"),
    "cracked": (*SOFT, "mud", "ice", "gravel", "sand", "wicker"),
    "wet": ("water", "clouds", "stars", "lava", "slime", "ice", "snow", "glitter"),
    "dirty": ("moss", "grass", "water", "clouds", "stars", "lava", "mud", "slime"),
    "snowy": ("water", "clouds", "stars", "lava", "snow", "ice", "slime"),
}

# About one combination in twenty of (colour, material) is never drawn: what the model does with them is
# generalisation.
HELD_OUT = (
    ("blue", "brick"), ("purple", "wood"), ("pink", "stone"), ("orange", "cobblestone"), ("green", "marble"),
    ("red", "tiles"), ("cyan", "scales"), ("yellow", "stripe"), ("teal", "brick"), ("green", "wood"),
    ("white", "leather"), ("purple", "knit"), ("yellow", "ceramic"), ("red", "plaid"), ("orange", "dots"),
    ("blue", "feathers"), ("pink", "rubber"), ("beige", "tiles"), ("green", "hammered"), ("red", "concrete"),
    ("cyan", "fabric"), ("black", "checker"), ("gray", "scales"), ("teal", "leather"), ("blue", "chipped"),
    ("pink", "crystal"), ("brown", "ceramic"), ("purple", "brushed"),
)  # fmt: skip

# Those that samples of the sixth edition missed most where true renders are named; training that goes on shows them
# more often.
HARD = (
    "wood", "moss", "cobblestone", "marble", "checker", "stripe", "tiles", "hexagons", "sand", "strata", "mud",
    "camouflage", "leaves", "denim", "chipped", "slime", "concrete", "brushed", "flowers",
)  # fmt: skip

SHAPES = (
    "sphere", "cube", "cylinder", "cone", "torus", "capsule", "vase", "rock", "blob", "object", "steps", "arch",
)  # fmt: skip
# Things a prompt may name. No image shows them: the model learns that they say nothing about the surface.
THINGS = (
    "cow", "monkey", "bunny", "teapot", "house", "castle", "statue", "chair", "table", "barrel", "crate", "box",
    "sword",
    "shield", "helmet", "robot", "car", "dragon", "dog", "cat", "horse", "bird", "fish", "tree", "ball", "cup",
    "bottle",
    "lamp", "shoe", "boot", "hat", "mask", "head", "body", "wheel", "tower", "wall", "floor", "door", "bench", "sofa",
    "pillow", "bag", "toy", "sculpture", "figurine", "bust", "creature", "animal", "character", "prop", "pot", "bowl",
    "plate", "ring", "crown", "armor", "column", "pillar", "bridge", "ship", "boat", "plane", "mushroom", "skull",
    "egg",
    "chest", "bed", "book", "guitar", "phone", "face", "hand", "person", "man", "woman", "knight", "elephant", "bear",
    "frog", "turtle", "lizard", "dinosaur", "goblin", "spot", "suzanne",
)  # fmt: skip
LIGHT_WORDS = ("shaded", "lit", "with shadow", "soft light", "shadow", "harsh lighting")
CLOSE_WORDS = ("close-up", "detail", "closeup", "macro")
JUNK = (
    "high quality", "4k", "beautiful", "detailed", "highly detailed", "game asset", "8k", "realistic", "photorealistic",
    "nice", "seamless", "material", "of", "the", "with", "very", "render", "3d", "uhd", "masterpiece", "front view",
    "side view", "back view", "top view", "sharp", "studio", "pbr", "albedo", "new", "best", "stylized", "fantasy",
    "cute", "ancient", "medieval", "modern", "natural", "handmade", "fine", "simple", "elegant", "hd", "texture",
    "surface", "covered", "made", "from", "all", "over", "intricate", "classic", "big", "small",
)  # fmt: skip

# Words that artists use and the model does not know, and what to write instead.
RELATED = {
    "mahogany": "dark brown wood", "walnut": "dark brown wood", "pine": "light brown wood", "birch": "white bark",
    "bamboo": "beige wood", "plywood": "wood", "parquet": "wooden planks", "driftwood": "weathered wood",
    "log": "bark", "oaken": "oak", "slate": "dark gray stone", "limestone": "beige stone", "basalt": "dark gray stone",
    "obsidian": "polished black stone", "boulder": "rock", "asphalt": "dark gray gravel", "tarmac": "dark gray gravel",
    "stucco": "rough plaster", "masonry": "brick", "pavement": "cobblestone", "mosaic": "tiles", "jade": "green marble",
    "onyx": "black marble", "quartz": "white crystal", "diamond": "crystal", "amethyst": "purple crystal",
    "sapphire": "blue crystal", "topaz": "yellow crystal", "opal": "white crystal", "pearl": "polished white ceramic",
    "glass": "polished cyan plain", "mirror": "chrome", "titanium": "brushed metal", "platinum": "silver",
    "tin": "metal", "lead": "dark gray metal", "zinc": "metal", "pewter": "dark gray metal", "verdigris": "copper",
    "corroded": "rusty", "oxidized": "rusty", "patina": "weathered copper", "carbon": "black fabric",
    "velvet": "red fabric", "silk": "shiny fabric", "satin": "shiny fabric", "cotton": "white fabric", "felt": "wool",
    "burlap": "rough beige fabric", "lace": "white fabric", "corduroy": "striped fabric", "carpet": "wool",
    "quilt": "checkered fabric", "suede": "leather", "snakeskin": "scales", "crocodile": "green scales",
    "alligator": "green scales", "dalmatian": "white with black spots", "cheetah": "leopard", "jaguar": "leopard",
    "lion": "orange fur", "wolf": "gray fur", "panda": "black and white spots", "wings": "feathers", "skin": "leather",
    "bone": "ivory plain", "tooth": "ivory plain", "shell": "scales", "coral": "pink rock", "kelp": "green leaves",
    "algae": "green slime", "fungus": "mossy", "lichen": "mossy stone", "clover": "grass", "hedge": "leaves",
    "autumn": "orange leaves", "forest": "leaves", "jungle": "leaves", "desert": "desert sand", "beach": "sand",
    "earth": "dirt", "dust": "dirty", "ash": "gray sand", "coal": "rough black rock", "ember": "lava", "fire": "lava",
    "flame": "lava", "volcano": "lava", "volcanic": "lava", "glacier": "ice", "frost": "frosty", "frozen": "ice",
    "sea": "ocean", "river": "water", "waves": "water", "nebula": "galaxy", "cosmos": "galaxy", "cosmic": "galaxy",
    "universe": "galaxy", "candy": "red and white striped", "cookie": "brown with beige dots", "bread": "rough beige",
    "cheese": "yellow with orange dots", "watermelon": "green and red striped", "lego": "plastic", "vinyl": "plastic",
    "acrylic": "plastic", "lacquer": "glossy paint", "varnished": "polished wood", "waxed": "polished",
    "graffiti": "peeling paint", "faded": "weathered", "burnt": "black wood", "charred": "black wood",
    "bloody": "dirty red", "muddy": "dirty", "sooty": "dirty", "damp": "wet", "icy": "ice", "tiled": "tiles",
    "gilded": "gold", "metallic": "metal", "iron": "metal", "khaki": "beige", "magenta": "pink", "fuchsia": "pink",
    "indigo": "dark blue", "olive": "dark green", "mint": "light green", "mustard": "dark yellow",
    "peach": "light orange",
    "salmon": "pink", "sand-colored": "beige", "golden": "gold", "bluish": "blue", "reddish": "red",
    "greenish": "green",
    "houndstooth": "black and white checkered", "gingham": "red and white checkered", "argyle": "plaid",
    "chequered": "checkered", "chess": "black and white checkered", "chessboard": "black and white checkered",
    "hexes": "hexagons", "bubbles": "white dots", "pebble": "pebbles", "shingle": "shingles", "thatched": "thatch",
}  # fmt: skip

REFERENCE_LAB = srgb_to_lab(REFERENCE)


def nearest_color(rgb: np.ndarray) -> np.ndarray:
    """Index into COLOR_NAMES of the nearest reference in CIELAB, for colours [..., 3] in [0, 1]."""
    distance = np.linalg.norm(srgb_to_lab(rgb)[..., None, :] - REFERENCE_LAB, axis=-1)
    return distance.argmin(axis=-1)


def leading_color(pixels: np.ndarray) -> str:
    """The colour name that most of the pixels [P, 3] in 0..1 are nearest to."""
    return COLOR_NAMES[int(np.bincount(nearest_color(pixels), minlength=len(COLOR_NAMES)).argmax())]


def sample_color(rng: np.random.Generator, name: str, shade: str = "") -> np.ndarray:
    """A colour [3] near the reference `name`, moved by `shade`; always nearest to its own reference."""
    base, amount = np.array(COLORS[name]), SHADES[shade]
    base = base + (1 - base) * amount if amount > 0 else base * (1 + amount)
    for spread in (0.05, 0.04, 0.03, 0.02, 0.01, 0.0):
        color = np.clip(base + rng.normal(0, spread, 3) * 0.6 + rng.normal(0, spread) * 0.6, 0.06, 0.94)
        if COLOR_NAMES[int(nearest_color(color))] == name:
            return color
    return np.array(COLORS[name])
