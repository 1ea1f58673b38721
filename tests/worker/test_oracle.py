"""The independent judge of the teacher suite: it learns, keeps its verdicts in a file and sees through softness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training import dataset, oracle

STEPS = 60


@pytest.fixture(scope="module")
def data() -> dataset.Dataset:
    return dataset.generate(5, 40, 5)


@pytest.fixture(scope="module")
def learned(data) -> oracle.Oracle:
    return oracle.train_oracle(data, steps=STEPS, seed=0)


def test_it_learns_the_colours_of_a_few_pictures(data, learned):
    right = oracle.accuracy(learned, data)["first"]
    print(f"after {STEPS} steps {right:.0%} of {len(data.images)} colours (at least 50 %; by chance about 7 %)")
    assert right >= 0.5


def test_a_stored_oracle_gives_the_same_verdicts(data, learned, tmp_path):
    oracle.save(learned, tmp_path / "oracle.safetensors")
    assert oracle.judge(oracle.load(tmp_path / "oracle.safetensors"), data.images) == oracle.judge(learned, data.images)


def test_softened_pictures_keep_their_size_range_and_flat_colour():
    noise = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    soft = oracle.softened(noise, 28)
    print(f"spread {noise.std():.3f} before, {soft.std():.3f} after (at most half)")
    assert soft.shape == noise.shape and 0 <= soft.min() and soft.max() <= 1
    assert soft.std() <= noise.std() / 2
    flat = torch.full((1, 3, 64, 64), 0.3)
    np.testing.assert_allclose(oracle.softened(flat, 28), flat, atol=1e-6)
