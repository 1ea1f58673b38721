"""What an image shows, as attributes, and captions for it in many wordings.

A Look is drawn once per image; `caption` words it differently each time. Words never contradict the image;
any of them may be left out.
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
    NEVER_COLORED,
    SHADE_WORDS,
    SHADED,
    SYNONYMS,
    TWO_COLORED,
)  # fmt: skip

DIRECTIONS = ("horizontal", "vertical", "diagonal")
NATURAL_SHARE = 0.45


@dataclass(frozen=True)
class Look:
    """Attributes of one image; names from the vocabulary, "" where absent.

    natural: the material's own colour, which captions need not name.
    """

    material: str
    first: str
    shade: str
    second: str
    direction: int
    natural: bool
    lit: bool
    close: bool
    blurred: bool
    shape: str


def random_look(rng: np.random.Generator, shape: str, close: bool) -> Look:
    weights = np.array([m.weight for m in MATERIALS.values()])
    material = str(rng.choice(MATERIAL_NAMES, p=weights / weights.sum()))
    spec = MATERIALS[material]
    natural = bool(spec.natural) and (material in NEVER_COLORED or rng.random() < NATURAL_SHARE)
    allowed = [c for c in COLOR_NAMES if (c, material) not in HELD_OUT]
    first = str(rng.choice(spec.natural if natural else allowed))
    shade = str(rng.choice([s for s, names in SHADED.items() if first in names] or [""]))
    shade = shade if rng.random() < 0.22 and not natural else ""
    choices = [c for c in (spec.second if spec.second is not None else COLOR_NAMES) if c != first]
    if material == "marble":
        choices = ["gray", "black"] if first in ("white", "yellow", "pink", "cyan", "orange", "gray") else ["white"]
    second = str(rng.choice(choices)) if choices else ""
    direction = int(rng.choice(3, p=[0.6, 0.28, 0.12])) if material == "stripe" else int(rng.random() < 0.6)
    return Look(
        material,
        first,
        shade,
        second,
        direction,
        natural,
        bool(rng.random() < 0.4),
        close,
        bool(rng.random() < 0.03),
        shape,
    )


def color_words(rng: np.random.Generator, look: Look) -> str:
    word = str(rng.choice(SYNONYMS[look.first]))
    return f"{rng.choice(SHADE_WORDS[look.shade])} {word}" if look.shade and rng.random() < 0.8 else word


def two_colored(rng: np.random.Generator, look: Look, a: str, b: str) -> str:
    way = ""
    if look.material == "stripe" and rng.random() < 0.4:
        way = DIRECTIONS[look.direction] + " "
    adjective, noun = rng.choice(MATERIALS[look.material].words), rng.choice(MATERIALS[look.material].nouns)
    pair = f"{a} {b}" if rng.random() < 0.15 else f"{a} and {b}"
    if look.material == "dots":
        return str(
            rng.choice(
                [
                    f"{a} with {b} {noun}",
                    f"{a} with {b} polka dots",
                    f"{pair} {adjective}",
                    f"{b} {noun} on {a}",
                    f"{adjective} pattern, {a} and {b}",
                    f"{a}, {b} {noun}",
                ]
            )
        )
    return str(
        rng.choice(
            [
                f"{pair} {way}{adjective}",
                f"{pair} {way}{adjective}",
                f"{way}{adjective} {pair}",
                f"{way}{noun} in {pair}",
                f"{way}{noun}, {pair}",
                f"{adjective} pattern, {pair}",
                f"{pair} {way}{noun}",
            ]
        )
    )


def described(rng: np.random.Generator, look: Look) -> str:
    """Material and colours: "red brick", "bricks, red", "rusty metal", "blue and yellow checkered"."""
    spec, a = MATERIALS[look.material], color_words(rng, look)
    if look.material in TWO_COLORED:
        return two_colored(rng, look, a, str(rng.choice(SYNONYMS[look.second])))
    word = str(rng.choice(spec.words + spec.nouns))
    if look.natural and (look.material in NEVER_COLORED or rng.random() < 0.7):
        return word
    if look.material == "plain":
        return str(rng.choice([f"{a}", f"plain {a}", f"{a} {word}", f"painted {a}", f"{a} color", f"solid {a}"]))
    if look.material == "rust" and not look.natural:
        return str(rng.choice([f"rusty {a} metal", f"{a} metal with rust", f"{a} rusty metal"]))
    if look.material == "moss" and rng.random() < 0.3:
        return str(rng.choice([f"mossy {a} stone", f"{a} moss on stone", f"stone with {a} moss"]))
    ways = [
        f"{a} {word}",
        f"{a} {word}",
        f"{a} {word}",
        f"{word}, {a}",
        f"{a} {spec.words[0]}",
        f"{word} in {a}",
    ]
    if look.second and look.material in ("brick", "marble", "tiles") and rng.random() < 0.15:
        part = {"brick": "mortar", "marble": "veins", "tiles": "grout"}[look.material]
        ways = [f"{a} {word} with {look.second} {part}"]
    return str(rng.choice(ways))


def caption(rng: np.random.Generator, look: Look) -> str:
    """One wording of `look`, lower case."""
    shape = look.shape if rng.random() < 0.7 else "object"
    if look.material not in TWO_COLORED and not look.natural and rng.random() < 0.03:
        return str(rng.choice([color_words(rng, look), f"{color_words(rng, look)} {shape}"]))
    text = described(rng, look)
    text = str(rng.choice([
        text, text, text, f"a {text} texture", f"{text} texture", f"a photo of {text}", f"{text} surface",
        f"a photo of an object made of {text}", f"{shape} made of {text}", f"a {text} {shape}",
        f"{text} {shape}",
        f"{shape}, {text}", f"a 3d model of a {text} {shape}", f"{text} pattern",
        f"a {shape} with {text} texture",
    ]))  # fmt: skip
    extra = []
    if look.close and rng.random() < 0.7:
        extra.append(str(rng.choice(CLOSE_WORDS)))
    if look.lit and rng.random() < 0.35:
        extra.append(str(rng.choice(LIGHT_WORDS)))
    if look.blurred and rng.random() < 0.9:
        extra.append("blurry")
    if rng.random() < 0.15:
        extra += [str(w) for w in rng.choice(JUNK, rng.integers(1, 4))]
    rng.shuffle(extra)
    for word in extra:
        text = f"{word} {text}" if rng.random() < 0.3 else f"{text}, {word}"
    return text
