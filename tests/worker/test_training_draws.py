"""What training draws: all time steps alike, for synthesis passes through all; hard materials more often; other images
for another seed, but for those that it is measured by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.judges import HELD_OUT_SEED, ORACLE_SEED
from training import dataset
from training.__main__ import parsed
from training.stages import ACCELERATED, CONTINUED, FULL, HIGHEST_SEED, SEED, SMOKE, STAGES, Workplace, deck, images
from training.unet import DenoisingData, random_noise
from training.vocabulary import HARD, MATERIAL_NAMES


def test_time_steps_are_even():
    latents = torch.zeros(200_000, 1)
    time, noise = random_noise(latents, torch.Generator().manual_seed(0))
    shares = torch.bincount(time // 100, minlength=10) / len(time)
    counts = torch.bincount(time, minlength=1000)
    print(f"share of each hundred: {shares.min():.4f} to {shares.max():.4f} (0.1 within 0.003)")
    assert time.dtype == torch.int64 and noise.shape == latents.shape and len(counts) == 1000
    assert (shares - 0.1).abs().max() < 0.003 and counts.min() >= 120


def test_hard_materials_are_drawn_more_often():
    materials = ["gold", HARD[0], "snow", HARD[1]]
    assert set(HARD) <= set(MATERIAL_NAMES)
    latents = torch.arange(4.0).reshape(4, 1, 1, 1)
    tokens = torch.zeros(4, 1, 32, dtype=torch.int16)
    data = DenoisingData(latents, tokens, torch.zeros(32, dtype=torch.int16), deck(materials, 3))
    index, drawn, _ = data.draw(80_000, torch.Generator().manual_seed(0))
    shares = torch.bincount(index, minlength=4) / len(index)
    print(f"shares {shares.tolist()}, wanted 1/8, 3/8, 1/8, 3/8 within 0.006")
    assert (drawn.flatten() == index).all()
    assert (shares - torch.tensor([1, 3, 1, 3]) / 8).abs().max() < 0.006


def test_another_seed_draws_other_images_and_is_measured_by_the_same(tmp_path):
    for seed in (1000, 4000):
        images(Workplace(tmp_path / str(seed), tmp_path, replace(SMOKE, images=5, held_out=2), 1, seed=seed))
    one, other = tmp_path / "1000", tmp_path / "4000"
    assert dataset.load_looks(one / "images") == dataset.load(one / "images").looks
    assert dataset.load_looks(one / "images") != dataset.load_looks(other / "images")
    np.testing.assert_array_equal(dataset.load(one / "held_out").images, dataset.load(other / "held_out").images)


@pytest.mark.parametrize("seed", [-1, HIGHEST_SEED + 1, 9 * SEED])
def test_no_seed_makes_the_images_that_it_is_measured_by(seed, monkeypatch, capsys):
    most = HIGHEST_SEED + max(sizes.images for sizes in (FULL, CONTINUED, ACCELERATED)) // dataset.SHARD
    print(f"highest seed of a shard {most}, below {9 * SEED}, {ORACLE_SEED} and {HELD_OUT_SEED}")
    assert most < min(9 * SEED, ORACLE_SEED, HELD_OUT_SEED)
    monkeypatch.setattr("sys.argv", ["training", "--seed", str(seed)])
    with pytest.raises(SystemExit):
        parsed(tuple(STAGES))
    assert f"--seed is {seed}" in capsys.readouterr().err
