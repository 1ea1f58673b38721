"""Previews come by the clock: soon at first, then at most five seconds apart, however slow a step is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from csd_addon.worker.run.pacing import LONGEST, SHORTEST, Pacing


def gaps(step: float, cost: float, *, jitter: float = 0.0, seconds: float = 120.0) -> tuple[float, list[float]]:
    """When the first preview is shown, and the seconds from each to the next, in a run of equal steps.

    jitter: each step and preview takes up to this share more.
    """
    dice, now, shown = np.random.default_rng(0), 100.0, []
    pacing = Pacing(now)
    while now < 100 + seconds:
        now += step * (1 + jitter * dice.random())
        if pacing.is_due(now):
            began = now
            now += cost * (1 + jitter * dice.random())
            pacing.shown(began, now)
            shown.append(now)
    return shown[0] - 100, [b - a for a, b in itertools.pairwise(shown)]


@pytest.mark.parametrize("jitter", [0.0, 0.3])
@pytest.mark.parametrize("cost", [0.01, 0.3, 0.8])
@pytest.mark.parametrize("step", [0.05, 0.4, 1.0, 1.4])
def test_never_more_than_five_seconds_apart(step: float, cost: float, jitter: float) -> None:
    first, apart = gaps(step, cost, jitter=jitter)
    print(f"steps of {step} s, previews of {cost} s: {max(apart):.2f} s at most, {np.mean(apart):.2f} s on average")
    assert max(apart) <= LONGEST and first <= (step + cost) * 1.3
    assert min(apart) >= min(SHORTEST, step + cost)


def test_cheap_previews_come_often_and_dear_ones_are_spaced() -> None:
    assert np.mean(gaps(0.05, 0.02)[1]) < 2.2
    assert np.mean(gaps(0.05, 0.5)[1]) > 3.5


def test_the_second_preview_follows_the_grey_one_soon() -> None:
    assert gaps(0.2, 0.3)[1][0] < SHORTEST + 1.2


def test_steps_of_many_seconds_are_all_shown() -> None:
    assert gaps(7.0, 0.5)[1] == pytest.approx([7.5] * len(gaps(7.0, 0.5)[1]))
