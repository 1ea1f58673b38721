"""Training's pictures and captions: every surface draws what its words say, and captions never contradict it."""

from __future__ import annotations

import numpy as np
import pytest

from csd_addon.core.color import srgb_to_lab
from training.captions import Look, caption, random_look, random_second
from training.dataset import PATTERN_PIXELS, SIZE, random_fineness, random_view
from training.materials import ALBEDO_RANGE, SURFACES, albedo
from training.meshes import random_shape
from training.surfaces.common import Paint, cells
from training.vocabulary import (
    COLOR_NAMES,
    HELD_OUT,
    JUNK,
    MATERIALS,
    NEVER_WORN,
    SHADED,
    SYNONYMS,
    THINGS,
    WEAR,
    nearest_color,
    sample_color,
)

POINTS = 4000


def sphere(seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(POINTS, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def drawn(material: str, color: str, seed: int, worn: str = "") -> np.ndarray:
    rng = np.random.default_rng(seed)
    second = random_second(rng, material, color)
    paint = Paint(rng, sample_color(rng, color), sample_color(rng, second or color), 0)
    return albedo(material, paint, sphere(), sphere(), worn)


def test_every_material_has_a_surface_and_there_are_at_least_forty():
    print(f"{len(MATERIALS)} materials (at least 40), {len(COLOR_NAMES)} colours (at least 14)")
    assert set(MATERIALS) == set(SURFACES) and len(MATERIALS) >= 40 and len(COLOR_NAMES) >= 14
    assert set(NEVER_WORN) == set(WEAR) and {m for names in NEVER_WORN.values() for m in names} <= set(MATERIALS)


@pytest.mark.parametrize("material", MATERIALS)
def test_a_surface_is_in_range_repeatable_and_shows_its_colour(material):
    nameable = MATERIALS[material].colors
    colors = COLOR_NAMES if nameable is None else nameable or MATERIALS[material].natural
    leads = []
    for seed, color in enumerate(colors):
        image = drawn(material, color, seed)
        assert image.shape == (POINTS, 3) and image.dtype == np.float32
        assert image.min() >= ALBEDO_RANGE[0] - 1e-6 and image.max() <= ALBEDO_RANGE[1] + 1e-6
        np.testing.assert_array_equal(image, drawn(material, color, seed))
        counts = np.bincount(nearest_color(image), minlength=len(COLOR_NAMES))
        leads.append(COLOR_NAMES.index(color) in counts.argsort()[-2:])
    print(f"{material}: its colour is one of the two that lead in {sum(leads)} of {len(leads)} (at least 70 %)")
    if nameable != ():
        assert np.mean(leads) >= 0.7


@pytest.mark.parametrize("worn", WEAR)
def test_wear_changes_a_surface_and_leaves_most_of_it_recognisable(worn):
    fresh, aged = drawn("tiles", "blue", 3), drawn("tiles", "blue", 3, worn)
    changed = float((np.abs(fresh - aged).max(axis=1) > 0.05).mean())
    print(f"{worn} changes {changed:.0%} of the points (at least 5 %)")
    assert changed > 0.05
    assert not np.allclose(fresh.mean(0), aged.mean(0), atol=1e-4)


def test_a_close_up_shows_the_pattern_at_a_size_that_can_be_seen():
    cube = next(shape for seed in range(200) if (shape := random_shape(np.random.default_rng(seed))).kind == "cube")
    rng, shown = np.random.default_rng(3), []
    for _ in range(300):
        view = random_view(rng, cube, close=True)
        pixels = SIZE / 2 / (view.distance * np.tan(np.radians(view.fov / 2)))
        shown.append(pixels / random_fineness(rng, view, close=True))
    print(f"{min(shown):.1f} to {max(shown):.1f} pixels a unit ({PATTERN_PIXELS})")
    assert PATTERN_PIXELS[0] - 1e-6 < min(shown) < 40 and 70 < max(shown) < PATTERN_PIXELS[1] + 1e-6
    whole = [random_fineness(rng, view, close=False) for _ in range(300)]
    assert min(whole) == 1 and 1.8 < max(whole) <= 2


def test_cells_are_voronoi_cells():
    points = sphere(1)
    found = cells(np.random.default_rng(5), points, 0.4, 0.8)
    assert found.edge.min() >= 0 and len(np.unique(found.owner)) > 30
    # All points of one cell see the same seed.
    for owner in np.unique(found.owner)[:10]:
        seeds = points[found.owner == owner] / 0.4 - found.center[found.owner == owner]
        assert np.ptp(seeds, axis=0).max() < 1e-4


def test_held_out_pairs_are_never_drawn_and_all_others_may_be():
    rng = np.random.default_rng(0)
    looks = [random_look(rng, "cube", False) for _ in range(20_000)]
    named = {(look.first, look.material) for look in looks if not look.natural}
    assert not named & set(HELD_OUT)
    free = {(c, "brick") for c in COLOR_NAMES} - set(HELD_OUT)
    assert free <= named
    assert {look.worn for look in looks} == {"", *WEAR}
    assert not any(look.worn and look.material in NEVER_WORN[look.worn] for look in looks)


def test_a_judge_sees_the_held_out_pairs_as_often_as_others():
    rng = np.random.default_rng(0)
    looks = [random_look(rng, "cube", False, every_pair=True) for _ in range(20_000)]
    named = [(look.first, look.material) for look in looks if not look.natural]
    assert set(HELD_OUT) <= set(named)
    bricks = [color for color, material in named if material == "brick"]
    share = sum((color, "brick") in HELD_OUT for color in bricks) / len(bricks)
    print(f"{share:.3f} of {len(bricks)} bricks are of held-out colours, expected 2 of 14 = 0.143, within 0.06")
    assert abs(share - 2 / 14) < 0.06


def test_captions_name_no_colour_that_the_picture_lacks():
    rng = np.random.default_rng(1)
    single = {word for words in SYNONYMS.values() for word in words}
    for _ in range(4000):
        look = random_look(rng, "vase", False)
        mine = {w for c in (look.first, look.second) if c for w in SYNONYMS[c]}
        words = set(caption(rng, look).replace(",", " ").split())
        assert not (words & single) - mine - set(THINGS) - set(JUNK), (look, words)


def test_shades_are_lighter_or_darker_by_more_than_chance():
    """A shade that left its colour's name would fall back to the plain colour and show no difference."""
    rng = np.random.default_rng(2)
    for shade, names in SHADED.items():
        for name in names:
            shaded, plain = (
                np.mean([srgb_to_lab(sample_color(rng, name, s))[0] for _ in range(40)]) for s in (shade, "")
            )
            gap = (shaded - plain) * (1 if shade == "light" else -1)
            print(f"{shade} {name}: lightness differs by {gap:.1f} (at least 2)")
            assert gap > 2, (shade, name)


def test_a_caption_is_lower_case_and_says_the_wear_now_and_then():
    look = Look("brick", "red", "", "white", 0, False, "cracked", False, False, False, "cube")
    rng = np.random.default_rng(3)
    texts = [caption(rng, look) for _ in range(200)]
    said = sum(any(word in text for word in WEAR["cracked"]) for text in texts)
    print(f"{said} of 200 captions say that it is cracked (140 to 199)")
    assert 140 <= said < 200 and all(text == text.lower() for text in texts)
