"""Synthesis passes through all time steps, so training draws all of them alike."""

from __future__ import annotations

import torch

from training.unet import random_noise


def test_time_steps_are_even():
    latents = torch.zeros(200_000, 1)
    time, noise = random_noise(latents, torch.Generator().manual_seed(0))
    shares = torch.bincount(time // 100, minlength=10) / len(time)
    counts = torch.bincount(time, minlength=1000)
    print(f"share of each hundred: {shares.min():.4f} to {shares.max():.4f} (0.1 within 0.003)")
    assert time.dtype == torch.int64 and noise.shape == latents.shape and len(counts) == 1000
    assert (shares - 0.1).abs().max() < 0.003 and counts.min() >= 120
