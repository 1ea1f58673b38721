"""The true guidance code against a teacher whose score is known in closed form."""

from __future__ import annotations

import pytest
import torch

from csd_addon.worker.method import score
from csd_addon.worker.teacher.gaussian import GaussianTeacher, stable_diffusion_schedule
from csd_addon.worker.teacher.interface import Conditioning

ALPHAS = stable_diffusion_schedule()
MU, S = 0.5, 0.8
# A Gaussian teacher hears no words.
NOTHING_TOLD = Conditioning(prompts={}, images={}, scales={}, cameras=())


def drift(
    x: float, t: torch.Tensor, coefficients: score.Coefficients, prompts: dict[str, tuple[float, float]],
    weighting: str = "sigma2", seed: int | None = 0,
) -> torch.Tensor:  # fmt: skip
    """g at the constant image ``x`` for every step in ``t``; (len(t), 1, 1, 1).

    prompts: mean and standard deviation under each row.

    Without a seed the noise is 0: g is linear in it, so this is the exact expectation.
    """
    batch = len(t)
    image = torch.full((batch, 1, 1, 1), x, dtype=torch.float64)
    noise = torch.zeros_like(image)
    if seed is not None:
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return score.score_gradient(
        GaussianTeacher(prompts), image, t, noise, coefficients=coefficients, told=NOTHING_TOLD, weighting=weighting
    )[0]


def fixed_point(
    coefficients: score.Coefficients, prompts: dict[str, tuple[float, float]], low: int, high: int
) -> float:
    """Where the mean drift over steps [low, high) vanishes: it is linear in x, so two values suffice."""
    t = torch.arange(low, high)
    at_0, at_1 = (float(drift(x, t, coefficients, prompts, seed=None).mean()) for x in (0.0, 1.0))
    return at_0 / (at_0 - at_1)


def test_equal_covariance_makes_the_classifier_score_constant() -> None:
    t = torch.full((200,), 400)
    for x in (-3.0, 0.0, 5.0):
        g = drift(x, t, score.csd(), {"text": (MU, S), "null": (0.0, S)}, weighting="uniform")
        abar = ALPHAS[400]
        expected = (1 - abar).sqrt() * abar.sqrt() / (abar * S**2 + 1 - abar) * (0 - MU)
        print(f"x {x}: std {float(g.std()):.2e} (tolerance 1e-12), mean off by {float(g.mean() - expected):.2e}")
        assert g.std() < 1e-12 and abs(g.mean() - expected) < 1e-12


@pytest.mark.parametrize(
    ("low", "high", "kappa", "expected"),
    [(20, 200, 0, 0.517), (20, 500, 0, 1.170), (200, 800, 0, 2.382), (20, 980, 0, 2.389),
     (20, 200, 0.05, 0.48), (20, 500, 0.05, 1.056), (200, 800, 0.05, 2.04), (20, 980, 0.05, 2.04)],
)  # fmt: skip
def test_overshoot_with_unequal_covariance(low: int, high: int, kappa: float, expected: float) -> None:
    x = fixed_point(score.csd(kappa=kappa), {"text": (MU, 0.6), "null": (0.0, 1.2)}, low, high)
    overshoot = (x - MU) / MU
    print(f"overshoot {overshoot:.3f}, theory {expected}, tolerance 0.006")
    assert overshoot == pytest.approx(expected, abs=0.006)


def test_gradient_descent_converges_to_the_fixed_point() -> None:
    generator = torch.Generator().manual_seed(0)
    prompts = {"text": (MU, 0.6), "null": (0.0, 1.2)}
    x, tail = 0.0, []
    for step in range(6000):
        t = torch.randint(20, 500, (16,), generator=generator)
        x -= 0.05 * float(drift(x, t, score.csd(), prompts, seed=step).mean())
        if step >= 4000:
            tail.append(x)
    mean = sum(tail) / len(tail)
    print(f"converged to {mean:.4f}, theory 1.0851, tolerance 0.01")
    assert mean == pytest.approx(1.0851, abs=0.01)


@pytest.mark.parametrize(("weight", "expected"), [(7.5, 4.25), (20, 10.5), (100, 50.5)])
def test_sds_fixed_point(weight: float, expected: float) -> None:
    # mu_y + w (mu_y - mu_null).
    prompts = {"text": (MU, S), "null": (0.0, S)}
    x = fixed_point(score.sds(weight), prompts, 20, 980)
    print(f"{x:.3f}, theory {expected}, tolerance 1e-6")
    assert x == pytest.approx(expected, rel=1e-6)


def test_kappa_gives_a_finite_fixed_point() -> None:
    kappa, w1, w2 = 0.05, 1.0, 0.5
    prompts = {"text": (MU, S), "negative": (-0.3, S), "null": (0.0, S)}
    expected = MU + (w1 * (MU - 0.0) + w2 * (0.0 + 0.3)) / kappa
    x = fixed_point(score.csd(w1, w2, kappa), prompts, 300, 301)
    print(f"{x:.3f}, theory {expected:.3f}, tolerance 1e-6")
    assert x == pytest.approx(expected, rel=1e-6)


def test_generative_part_dominates_and_its_share_falls_with_t() -> None:
    # Fig 2(a): E|eps_y - eps|^2 = (sigma alpha / v)^2 |x - mu|^2 + (alpha^2 s^2 / v)^2 per dimension.
    ratios = []
    for step in (100, 500, 900):
        abar = ALPHAS[step]
        v = abar * S**2 + 1 - abar
        t = torch.full((20_000,), step)
        prompts = {"text": (MU, S), "null": (0.0, S)}
        generative = drift(0.2, t, score.Coefficients(text=1, noise=-1), prompts, "uniform")
        expected = (1 - abar) * abar / v**2 * (0.2 - MU) ** 2 + (abar * S**2 / v) ** 2
        print(f"t {step}: {float(generative.square().mean()):.4f}, theory {float(expected):.4f}, tolerance 3 %")
        assert float(generative.square().mean()) == pytest.approx(float(expected), rel=0.03)
        classifier = drift(0.2, t, score.csd(), prompts, "uniform")
        ratios.append(float(generative.square().mean().sqrt() / classifier.square().mean().sqrt()))
    print(f"generative over classifier: {ratios}")
    assert ratios[0] > ratios[1] > ratios[2] and ratios[0] > 2


def test_score_vanishes_once_the_classifier_is_certain() -> None:
    # A null prompt that is a mixture of the class and another one: delta = -sigma (1 - p) alpha (mu_y - mu_n) / v.
    abar = ALPHAS[200]
    alpha, sigma, v = abar.sqrt(), (1 - abar).sqrt(), abar * S**2 + 1 - abar
    mu_n = -0.5
    teacher = GaussianTeacher({"text": (MU, S), "negative": (mu_n, S)})

    def delta(x: float) -> tuple[float, float]:
        x_t = torch.tensor([[[[x]]]], dtype=torch.float64) * alpha
        eps = teacher.predict_noise(x_t, torch.tensor([200]), NOTHING_TOLD, ("text", "negative"))
        logit = float(((x_t - alpha * mu_n) ** 2 - (x_t - alpha * MU) ** 2) / (2 * v))
        p = 1 / (1 + torch.tensor(-logit).exp().item())
        null = p * eps["text"] + (1 - p) * eps["negative"]
        return float(eps["text"] - null), float(-sigma * (1 - p) * alpha * (MU - mu_n) / v)

    for x in (-2.0, 0.0, 3.0):
        measured, theory = delta(x)
        assert measured == pytest.approx(theory, abs=1e-12)
    assert abs(delta(8.0)[0]) < 0.01 * abs(delta(-2.0)[0])


def test_edit_drift_adds_the_target_and_subtracts_the_removed() -> None:
    w1, w2, mu_remove = 1.0, 0.6, -0.4
    t = torch.full((10,), 300)
    abar = ALPHAS[300]
    factor = (1 - abar).sqrt() * abar.sqrt() / (abar * S**2 + 1 - abar)
    prompts = {"text": (MU, S), "negative": (mu_remove, S), "null": (0.1, S)}
    g = drift(0.0, t, score.csd(w1, w2), prompts, "uniform")
    expected = -factor * (w1 * (MU - 0.1) - w2 * (mu_remove - 0.1))
    assert float((g - expected).abs().max()) < 1e-12


def test_one_step_from_grey_makes_the_prompt_likelier() -> None:
    t = torch.arange(20, 980, 10)
    prompts = {"text": (MU, 0.6), "negative": (-0.2, 0.9), "null": (0.0, 1.2)}
    step = -0.1 * float(drift(0.0, t, score.csd(1, 0.5, 0.05), prompts).mean())

    def likelihood(x: float) -> float:
        abar = ALPHAS[t]
        v_y, v_0 = abar * 0.6**2 + 1 - abar, abar * 1.2**2 + 1 - abar
        # Expected log p(y | x_t) up to terms that do not depend on x.
        return float((-abar * (x - MU) ** 2 / (2 * v_y) + abar * x**2 / (2 * v_0)).mean())

    print(f"step {step:.4f}; log-likelihood {likelihood(0.0):.4f} -> {likelihood(step):.4f}")
    assert step > 0 and likelihood(step) > likelihood(0.0)
