"""Training asks mostly where synthesis asks: which time steps are drawn."""

from __future__ import annotations

import torch

from training.unet import EARLY, EARLY_SHARE, random_noise


def test_most_time_steps_are_early_and_all_of_them_come():
    latents = torch.zeros(200_000, 1)
    time, noise = random_noise(latents, torch.Generator().manual_seed(0))
    share = (time < EARLY).float().mean().item()
    counts = torch.bincount(time, minlength=1000)
    print(f"below {EARLY}: {share:.4f} (0.8 within 0.005); least often drawn: {counts.min()} (at least 60)")
    assert time.dtype == torch.int64 and noise.shape == latents.shape and len(counts) == 1000
    assert abs(share - EARLY_SHARE) < 0.005 and counts.min() >= 60
