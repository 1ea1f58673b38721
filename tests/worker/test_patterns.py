"""The judge made by hand: its statistics are what they are called, and they tell materials apart."""

from __future__ import annotations

import numpy as np
import pytest

from training import patterns
from training.dataset import generate
from training.patterns import RADII, correlations, edges, learn
from training.vocabulary import MATERIAL_NAMES

SIZE = 64
EVERYWHERE = np.ones((SIZE, SIZE), bool)


def waves(period: float, angle: float) -> np.ndarray:
    """Lightness [64, 64] of a grating; angle in degrees of the way that crosses it."""
    y, x = np.mgrid[:SIZE, :SIZE]
    turn = np.radians(angle)
    return 0.5 + 0.4 * np.cos(2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / period)


@pytest.mark.parametrize("angle", [0, 90, 45])
def test_a_grating_correlates_with_itself_at_its_period_and_the_other_way_at_half_of_it(angle):
    mean, least, largest = correlations(waves(8, angle), EVERYWHERE).reshape(-1, 3).T
    at = {radius: i for i, radius in enumerate(RADII)}
    print(f"{angle}: least at 4 px {least[at[4]]:.2f} (-1), at 8 px largest {largest[at[8]]:.2f} (1)")
    # Along the grating nothing changes, so the largest is 1 at every distance.
    assert least[at[4]] == pytest.approx(-1, abs=0.12)
    assert largest.min() > 0.85
    assert mean[at[4]] < 0.3


@pytest.mark.parametrize(("angles", "order"), [((20,), 0), ((10, 100), 1), ((0, 60, 120), 2)])
def test_edges_agree_on_as_many_directions_as_a_pattern_has(angles, order):
    # One strip of the image for each direction.
    strips = np.arange(SIZE) * len(angles) // SIZE
    light = np.choose(np.broadcast_to(strips, (SIZE, SIZE)), [waves(9, angle) for angle in angles])
    agreed = edges(light, EVERYWHERE)[2:]
    print(f"{len(angles)} directions: 2, 4 and 6 agree by {agreed.round(2)}")
    assert agreed[order] > 0.5
    assert all(agreed[order] > agreed[i] + 0.2 for i in range(order))


def test_what_is_not_the_object_does_not_count():
    mask = np.zeros((SIZE, SIZE), bool)
    mask[8:56, 8:56] = True
    rng = np.random.default_rng(0)
    image = np.repeat((waves(8, 30)[..., None] * 255).astype(np.uint8), 3, axis=2)
    other = np.where(mask[..., None], image, rng.integers(0, 255, image.shape).astype(np.uint8))
    one, two = patterns.features(np.stack([image, other]), np.stack([mask, mask]))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_statistics_tell_materials_apart():
    teach, ask = generate(61_000, 1500, 3), generate(62_000, 150, 3)
    known = learn(teach.images, teach.depth[teach.buffer] > 20, [look.material for look in teach.looks])
    masks = ask.depth[ask.buffer] > 20
    names = known.named(ask.images, masks)
    share = np.mean([name == look.material for name, look in zip(names, ask.looks, strict=True)])
    print(f"right in {share:.0%} of {len(names)} (at least 25 %, chance is {1 / len(MATERIAL_NAMES):.0%})")
    assert share > 0.25
    assert known.named_together(ask.images[:1], masks[:1]) == names[0]
