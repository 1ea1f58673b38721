"""A teacher whose score is known in closed form: the correctness tests run the true guidance code through it.

x_0 | y ~ N(mu_y, s_y^2 I), hence eps(x_t; y) = sigma (x_t - alpha mu_y) / v_y with v_y = alpha^2 s_y^2 + sigma^2.
A prompt embedding is (B, 1, 2): the mean and the standard deviation themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def stable_diffusion_schedule(steps: int = 1000) -> torch.Tensor:
    """abar_t of Stable Diffusion 1.5: scaled-linear betas 0.00085 .. 0.012; (steps,) float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


class GaussianTeacher:
    """Predicts the exact noise of Gaussian data; conditions are ignored."""

    def __init__(self, alphas_cumprod: torch.Tensor | None = None) -> None:
        self.alphas_cumprod = stable_diffusion_schedule() if alphas_cumprod is None else alphas_cumprod

    @staticmethod
    def prompt(mean: float, deviation: float, batch: int = 1) -> torch.Tensor:
        """The (batch, 1, 2) float64 embedding of N(mean, deviation^2)."""
        return torch.tensor([[mean, deviation]], dtype=torch.float64).expand(batch, 1, 2)

    def predict_noise(
        self, x_t: torch.Tensor, t: torch.Tensor, prompts: torch.Tensor,
        conditions: Sequence[torch.Tensor] = (), scales: Sequence[float] = (), *, shared_rows: int = 1,
    ) -> torch.Tensor:  # fmt: skip
        """The posterior-mean noise for (N, ...) ``x_t``; see the module's formula."""
        shape = (-1, *[1] * (x_t.dim() - 1))
        abar = self.alphas_cumprod[t].reshape(shape)
        mean, deviation = prompts[:, 0, 0].reshape(shape), prompts[:, 0, 1].reshape(shape)
        variance = abar * deviation**2 + (1 - abar)
        return (1 - abar).sqrt() * (x_t - abar.sqrt() * mean) / variance
