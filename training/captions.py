"""What an image shows, as attributes, and captions for it in many wordings.

A Look is drawn once per image; `caption` words it differently each time. Words never contradict the image;
any of them may be left out. Some words say nothing on purpose: things that a prompt may name (`THINGS`), praise
(`JUNK`), and made-up words, so that an unknown word in a prompt means as little as it can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .vocabulary import (
    CLOSE_WORDS,
    COLOR_NAMES,
    HELD_OUT,
    JUNK,
    LIGHT_WORDS,
    MATERIAL_NAMES,
    MATERIALS,
    NEVER_WORN,
    SHADE_WORDS,
    SHADED,
    SHADED_SYNONYMS,
    SYNONYMS,
    THINGS,
    TWO_COLORED,
    WEAR,
)  # fmt: skip

DIRECTIONS = ("horizontal", "vertical", "diagonal")
NATURAL_SHARE = 0.4
WORN_SHARE = 0.25
PARTS = {"brick": "mortar", "marble": "veins", "tiles": "grout", "hexagons": "lines"}
WEIGHTS = np.array([m.weight for m in MATERIALS.values()])


@dataclass(frozen=True)
class Look:
    """Attributes of one image; names from the vocabulary, "" where absent.

    natural: the material's own colour, which captions need not name. worn: a key of WEAR.
    """

    material: str
    first: str
    shade: str
    second: str
    direction: int
    natural: bool
    worn: str
    lit: bool
    close: bool
    blurred: bool
    shape: str


def random_look(rng: np.random.Generator, shape: str, close: bool, every_pair: bool = False) -> Look:
    """`every_pair`: held-out pairs of colour and material too, which only a judge may see."""
    material = str(rng.choice(MATERIAL_NAMES, p=WEIGHTS / WEIGHTS.sum()))
    natural, first = random_first(rng, material, () if every_pair else HELD_OUT)
    shade = str(rng.choice([s for s, names in SHADED.items() if first in names] or [""]))
    direction = int(rng.choice(3, p=[0.6, 0.28, 0.12])) if material == "stripe" else int(rng.random() < 0.6)
    wears = [name for name in WEAR if material not in NEVER_WORN[name]]
    return Look(
        material, first, shade if rng.random() < 0.22 and not natural else "",
        random_second(rng, material, first), direction, natural,
        str(rng.choice(wears)) if wears and rng.random() < WORN_SHARE else "",
        lit=bool(rng.random() < 0.35), close=close, blurred=bool(rng.random() < 0.02), shape=shape,
    )  # fmt: skip


def random_first(
    rng: np.random.Generator, material: str, never: tuple[tuple[str, str], ...]
) -> tuple[bool, str]:
    """Whether the material shows its own colour, and the leading colour; pairs in `never` are not drawn."""
    spec = MATERIALS[material]
    nameable = COLOR_NAMES if spec.colors is None else spec.colors
    if spec.natural and (not nameable or rng.random() < NATURAL_SHARE):
        return True, str(rng.choice(spec.natural))
    return False, str(rng.choice([c for c in nameable if (c, material) not in never]))


def random_second(rng: np.random.Generator, material: str, first: str) -> str:
    second = MATERIALS[material].second
    choices = [c for c in (COLOR_NAMES if second is None else second) if c != first]
    if material == "marble":
        pale = ("white", "yellow", "pink", "cyan", "orange", "gray", "beige")
        choices = ["gray", "black"] if first in pale else ["white"]
    return str(rng.choice(choices)) if choices else ""


def color_words(rng: np.random.Generator, look: Look) -> str:
    single = SHADED_SYNONYMS.get((look.shade, look.first))
    if single and rng.random() < 0.5:
        return str(rng.choice(single))
    word = str(rng.choice(SYNONYMS[look.first]))
    return f"{rng.choice(SHADE_WORDS[look.shade])} {word}" if rng.random() < (0.8 if look.shade else 0.06) else word


def two_colored(rng: np.random.Generator, look: Look, a: str, b: str) -> str:
    way = ""
    if look.material == "stripe" and rng.random() < 0.4:
        way = DIRECTIONS[look.direction] + " "
    adjective, noun = rng.choice(MATERIALS[look.material].words), rng.choice(MATERIALS[look.material].nouns)
    pair = f"{a} {b}" if rng.random() < 0.15 else f"{a} and {b}"
    if look.material in ("dots", "flowers"):
        return str(rng.choice([
            f"{a} with {b} {noun}", f"{a} with {b} {noun}", f"{pair} {adjective}", f"{b} {noun} on {a}",
            f"{adjective} pattern, {a} and {b}", f"{a}, {b} {noun}", f"{b} {noun} on {a} background",
        ]))  # fmt: skip
    return str(rng.choice([
        f"{pair} {way}{adjective}", f"{pair} {way}{adjective}", f"{way}{adjective} {pair}",
        f"{way}{noun} in {pair}", f"{way}{noun}, {pair}", f"{adjective} pattern, {pair}", f"{pair} {way}{noun}",
    ]))  # fmt: skip


def described(rng: np.random.Generator, look: Look) -> str:
    """Material and colours: "red brick", "bricks, red", "rusty metal", "blue and yellow checkered"."""
    spec, a = MATERIALS[look.material], color_words(rng, look)
    if look.material in TWO_COLORED:
        return two_colored(rng, look, a, str(rng.choice(SYNONYMS[look.second])))
    word = str(rng.choice(spec.words + spec.nouns))
    if look.natural and (spec.colors == () or rng.random() < 0.7):
        return word
    if look.material == "plain":
        return str(rng.choice([f"{a}", f"plain {a}", f"{a} {word}", f"painted {a}", f"{a} color", f"solid {a}"]))
    if look.material == "rust" and not look.natural:
        return str(rng.choice([f"rusty {a} metal", f"{a} metal with rust", f"{a} rusty metal"]))
    if look.material == "moss" and rng.random() < 0.3:
        return str(rng.choice([f"mossy {a} stone", f"{a} moss on stone", f"stone with {a} moss"]))
    if look.second and look.material in PARTS and rng.random() < 0.15:
        return f"{a} {word} with {look.second} {PARTS[look.material]}"
    ways = [f"{a} {word}"] * 3 + [f"{word}, {a}", f"{a} {spec.words[0]}", f"{word} in {a}"]
    return str(rng.choice(ways))


def with_wear(rng: np.random.Generator, text: str, worn: str) -> str:
    if not worn or rng.random() < 0.1:
        return text
    word = str(rng.choice(WEAR[worn]))
    if worn == "mossy" and rng.random() < 0.4:
        return f"{text} covered in moss"
    if worn == "snowy" and rng.random() < 0.4:
        return f"{text} covered in snow"
    return str(rng.choice([f"{word} {text}", f"{word} {text}", f"{text}, {word}"]))


def invented_word(rng: np.random.Generator) -> str:
    """Two to four random syllables."""
    parts = [rng.choice(list("bcdfghjklmnprstvwz")) + rng.choice(list("aeiouy")) for _ in range(rng.integers(2, 5))]
    return "".join(parts) + str(rng.choice(["", "n", "r", "s", "l"]))


def caption(rng: np.random.Generator, look: Look) -> str:
    """One wording of `look`, lower case."""
    thing = str(rng.choice([look.shape, "object", str(rng.choice(THINGS)), str(rng.choice(THINGS))]))
    if look.material not in TWO_COLORED and not look.natural and not look.worn and rng.random() < 0.03:
        return str(rng.choice([color_words(rng, look), f"{color_words(rng, look)} {thing}"]))
    text = with_wear(rng, described(rng, look), look.worn)
    text = str(rng.choice([
        text, text, text, text, f"a {text} texture", f"{text} texture", f"a photo of {text}", f"{text} surface",
        f"a photo of an object made of {text}", f"{thing} made of {text}", f"a {text} {thing}",
        f"{text} {thing}", f"{thing}, {text}", f"a 3d model of a {text} {thing}", f"{text} pattern",
        f"a {thing} with {text} texture", f"a {thing} covered in {text}",
    ]))  # fmt: skip
    return with_extras(rng, text, look)


def with_extras(rng: np.random.Generator, text: str, look: Look) -> str:
    """`text` with words about the picture, and words that say nothing, before and after it."""
    extra = []
    if look.close and rng.random() < 0.3:
        extra.append(str(rng.choice(CLOSE_WORDS)))
    if look.lit and rng.random() < 0.35:
        extra.append(str(rng.choice(LIGHT_WORDS)))
    if look.blurred and rng.random() < 0.9:
        extra.append("blurry")
    if rng.random() < 0.15:
        extra += [str(w) for w in rng.choice(JUNK, rng.integers(1, 4))]
    if rng.random() < 0.06:
        extra += [invented_word(rng) for _ in range(rng.integers(1, 3))]
    rng.shuffle(extra)
    for word in extra:
        text = f"{word} {text}" if rng.random() < 0.4 else f"{text}, {word}"
    return text
