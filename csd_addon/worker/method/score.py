"""The one gradient of the method, and its coefficients.

With x the teacher's image (latent or pixels), x_t = sqrt(abar) x + sqrt(1 - abar) eps, and the same x_t, t, eps
and conditions for every row:

    g = w(t) [ c_y eps(x_t; y) + c_n eps(x_t; y_neg) + c_0 eps(x_t; 0) + c_e eps ],     dL/dx := g / B

Parameters move along -g, which ascends the classifier log p(y | x_t). A row with coefficient 0 is not evaluated.
Batches are (B, C, H, W); rows are stacked in front of the batch in the order text, negative, null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..teacher.interface import ROWS, Conditioning, Scorer


@dataclass(frozen=True)
class Coefficients:
    """Weights of the rows in g. ``text + negative + null`` is kappa for ``csd``, 1 for ``sds``."""

    text: float = 0.0
    negative: float = 0.0
    null: float = 0.0
    noise: float = 0.0

    def rows(self) -> tuple[str, ...]:
        """The rows that must be evaluated."""
        return tuple(row for row in ROWS if getattr(self, row) != 0)


def csd(w1: float = 1.0, w2: float = 0.0, kappa: float = 0.0) -> Coefficients:
    """Classifier score: Eq 7 for w2 = 0, Eq 10 with a negative prompt, Eq 11 with target and removed prompt.

    kappa adds a restoring force; at 0 the drift has no fixed point (the paper). It is taken as
    kappa (eps_y - eps): the noise has mean 0, so subtracting it changes no expectation, but removes nearly all
    of the variance that kappa eps_y alone would bring (docs/pitfalls.md).
    """
    return Coefficients(text=w1 + kappa, negative=-w2, null=w2 - w1, noise=-kappa)


def dds(w1: float = 1.0, kappa: float = 0.0) -> tuple[Coefficients, Coefficients]:
    """Delta denoising score: the rows at the edited image, and those at the source image that are added to them.

    With kappa = w1 / s this is DDS at CFG scale s, divided by s / w1. The removed prompt is the negative row; where
    both images are equal the sum is Eq 11 with w1 = w2.
    """
    return Coefficients(text=w1, null=kappa - w1), Coefficients(negative=-w1, null=w1 - kappa)


def guided(guidance: float, negative_weight: float = 0.0) -> Coefficients:
    """Sampling: [eps_y - eps] + (guidance - 1) [eps_y - eps_0], and away from the negative by its own score.

    Along -g times the fall of the noise level this is DDIM at classifier-free guidance (``sample``).
    """
    return Coefficients(
        text=guidance, negative=-negative_weight, null=negative_weight - (guidance - 1), noise=-1.0
    )


def sds(weight: float, negative: bool = False) -> Coefficients:
    """Score distillation in the paper's convention, Eq 6 (Eq 8 with a negative prompt): weight = CFG scale - 1."""
    if negative:
        return Coefficients(text=1 + weight, negative=-weight, noise=-1.0)
    return Coefficients(text=1 + weight, null=-weight, noise=-1.0)


def weight(name: str, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """w(t) for each given abar_t: "sigma2" is 1 - abar, "uniform" is 1."""
    if name == "sigma2":
        return 1 - alphas_cumprod
    if name == "uniform":
        return torch.ones_like(alphas_cumprod)
    raise ValueError(f"Unknown weighting '{name}'; choose sigma2 or uniform.")


def add_noise(x: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """x_t = sqrt(abar) x + sqrt(1 - abar) eps for (B, ...) ``x`` and (B,) ``alphas_cumprod``."""
    abar = alphas_cumprod.reshape(-1, *[1] * (x.dim() - 1))
    return abar.sqrt() * x + (1 - abar).sqrt() * noise


def sample_steps(
    batch: int, t_min: float, t_max: float, steps: int, generator: torch.Generator
) -> torch.Tensor:
    """(batch,) int64 steps, uniform between the shares ``t_min`` and ``t_max`` of ``steps``, bounds included."""
    low, high = round(t_min * (steps - 1)), round(t_max * (steps - 1))
    return torch.randint(low, high + 1, (batch,), generator=generator)


@torch.no_grad()
def score_gradient(
    teacher: Scorer, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, *,
    coefficients: Coefficients, told: Conditioning, weighting: str,
) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
    """g (B, C, h, w), not yet divided by B, and the norms of its parts.

    x: (B, C, h, w). t: (B,) int64. noise: like x. told: the prompts at least of the rows with a coefficient. The same
    x_t, t, eps and conditions go to every row.
    Norms (RMS per element; only of rows that were evaluated): ``generative`` |eps_y - eps|,
    ``classifier`` |eps_y - eps_0|, ``negative`` |eps_neg - eps_0|, ``total`` |g|: the paper's Fig 2(a); ``contrast``
    |eps_y - eps_neg| in place of the middle two where w1 = w2 spares the empty prompt.
    """
    abar = teacher.alphas_cumprod[t]
    predicted = teacher.predict_noise(add_noise(x, noise, abar), t, told, coefficients.rows())
    g = coefficients.noise * noise
    for row, prediction in predicted.items():
        g = g + getattr(coefficients, row) * prediction
    g = weight(weighting, abar).reshape(-1, *[1] * (x.dim() - 1)) * g
    return g, _norms(predicted, noise, g)


def surrogate_loss(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """A scalar whose gradient is dL/dx = g / B exactly; its value means nothing."""
    return (x * (g / len(x)).detach()).sum()


def _norms(predicted: Mapping[str, torch.Tensor], noise: torch.Tensor, g: torch.Tensor) -> dict[str, float]:
    pairs = {"generative": (predicted.get("text"), noise)}
    pairs["classifier"] = (predicted.get("text"), predicted.get("null"))
    pairs["negative"] = (predicted.get("negative"), predicted.get("null"))
    if "null" not in predicted:
        pairs["contrast"] = (predicted.get("text"), predicted.get("negative"))
    parts = {name: a - b for name, (a, b) in pairs.items() if a is not None and b is not None}
    sizes = torch.stack([part.square().mean().sqrt() for part in (*parts.values(), g)])
    # One transfer from the device for all of them.
    return dict(zip((*parts, "total"), sizes.tolist(), strict=True))
