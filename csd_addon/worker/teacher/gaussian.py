"""A teacher whose score is known in closed form: the correctness tests run the true guidance code through it.

x_0 | y ~ N(mu_y, s_y^2 I), hence eps(x_t; y) = sigma (x_t - alpha mu_y) / v_y with v_y = alpha^2 s_y^2 + sigma^2.
Each row has a mean and a standard deviation of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from .interface import Conditioning


def stable_diffusion_schedule(steps: int = 1000) -> torch.Tensor:
    """abar_t of Stable Diffusion 1.5: scaled-linear betas 0.00085 .. 0.012; (steps,) float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0)


class GaussianTeacher:
    """Predicts the exact noise of Gaussian data; conditions are ignored.

    rows: the mean and the standard deviation under each row, numbers or what broadcasts to x.
    """

    def __init__(
        self, rows: Mapping[str, tuple[float, float]], alphas_cumprod: torch.Tensor | None = None
    ) -> None:
        self.rows = dict(rows)
        self.alphas_cumprod = stable_diffusion_schedule() if alphas_cumprod is None else alphas_cumprod

    def predict_noise(
        self, x_t: torch.Tensor, t: torch.Tensor, told: Conditioning | None, rows: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """The posterior-mean noise for (B, ...) ``x_t``; see the module's formula."""
        abar = self.alphas_cumprod[t].reshape(-1, *[1] * (x_t.dim() - 1))
        return {row: gaussian_noise(x_t, abar, *self.rows[row]) for row in rows}


def gaussian_noise(
    x_t: torch.Tensor, abar: torch.Tensor, mean: torch.Tensor | float, deviation: torch.Tensor | float
) -> torch.Tensor:
    """eps(x_t) of N(mean, deviation^2); all broadcast against ``x_t``."""
    variance = abar * deviation**2 + (1 - abar)
    return (1 - abar).sqrt() * (x_t - abar.sqrt() * mean) / variance
