"""Algebraic identities of the gradient, and its plumbing: rows, order, conditions, loss trick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch

from csd_addon.core.views import View
from csd_addon.worker.method import score
from csd_addon.worker.teacher.gaussian import stable_diffusion_schedule
from csd_addon.worker.teacher.interface import Conditioning

W = 7.5
TOLERANCE = 1e-6


SEEDS = {"text": 1, "negative": 2, "null": 3}
TEXTS = {"text": "a", "negative": "b", "null": ""}


class RecordedTeacher:
    """Any fixed tensors as predictions, others for each row; records its calls."""

    def __init__(self) -> None:
        self.alphas_cumprod = stable_diffusion_schedule()
        self.calls: list[dict] = []

    def predict_noise(self, x_t, t, told, rows):
        self.calls.append({"x_t": x_t, "t": t, "told": told, "rows": tuple(rows)})
        return {row: torch.stack([fixed(x, SEEDS[row]) for x in x_t]) for row in rows}


def fixed(like: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed), dtype=like.dtype)


def told_of(
    batch: int, rows: Sequence[str] = score.ROWS, images: Mapping[str, torch.Tensor] | None = None,
    scales: Mapping[str, float] | None = None,
) -> Conditioning:  # fmt: skip
    """What a teacher is told of ``batch`` images: one text for each of the ``rows``."""
    prompts = {row: [TEXTS[row]] * batch for row in rows}
    return Conditioning(prompts, images or {}, scales or {}, cameras=[View(0, 0, 4, 35)] * batch)


def gradient(coefficients: score.Coefficients, *, batch: int = 2, weighting: str = "sigma2") -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 4, 6, 6, generator=generator, dtype=torch.float64)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    t = torch.tensor([300, 700][:batch])
    g, _ = score.score_gradient(
        RecordedTeacher(), x, t, noise, coefficients=coefficients, told=told_of(batch), weighting=weighting
    )
    return g


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    error = float((a - b).abs().max())
    print(f"largest difference {error:.2e}, tolerance {TOLERANCE}")
    assert error < TOLERANCE


def test_sds_is_generative_part_plus_weighted_classifier() -> None:
    generative = gradient(score.Coefficients(text=1, noise=-1))
    assert_same(gradient(score.sds(W)), generative + W * gradient(score.csd()))


def test_negative_prompt_splits_into_two_classifier_scores() -> None:
    # Eq 9: eps_y - eps_neg = (eps_y - eps_0) - (eps_neg - eps_0).
    difference = gradient(score.csd()) - gradient(score.Coefficients(text=0, negative=1, null=-1))
    assert_same(gradient(score.csd(w1=1, w2=1)), difference)


def test_three_weight_form_is_difference_form() -> None:
    # Eq 10: w1 (eps_y - eps_0) - w2 (eps_neg - eps_0).
    negative = gradient(score.Coefficients(text=0, negative=1, null=-1))
    assert_same(gradient(score.csd(1.3, 0.4)), 1.3 * gradient(score.csd()) - 0.4 * negative)


def test_edit_without_removal_is_plain_classifier_score() -> None:
    assert score.csd(1.0, 0.0) == score.Coefficients(text=1, null=-1)


def test_vsd_equals_weighted_difference_only_if_null_predictions_agree() -> None:
    # Eq 12: (1+w) eps_y - w eps_0 - phi_y = (w+1) cls(y) - cls_phi(y), given eps_0 = phi_0.
    eps_y, eps_0, phi_y, phi_0 = torch.randn(4, 10, generator=torch.Generator().manual_seed(2))
    vsd = (1 + W) * eps_y - W * eps_0 - phi_y
    assert_same(vsd, (1 + W) * (eps_y - eps_0) - (phi_y - eps_0))
    assert (vsd - ((1 + W) * (eps_y - eps_0) - (phi_y - phi_0))).abs().max() > 0.1


def test_dds_at_the_source_is_edit_with_equal_weights() -> None:
    target = gradient(score.Coefficients(text=W, null=1 - W))
    source = gradient(score.Coefficients(text=0, negative=W, null=1 - W))
    assert_same(target - source, gradient(score.csd(W, W)))


def test_coefficient_sums() -> None:
    def predictions(c: score.Coefficients) -> float:
        return c.text + c.negative + c.null

    for c in (score.csd(), score.csd(1, 0.7), score.csd(1, 0.5, 0.05), score.sds(W), score.sds(W, negative=True),
              score.guided(W, 0.5)):  # fmt: skip
        assert abs(predictions(c) + c.noise) < 1e-12, "a shift of all predictions by the noise changes nothing"
    assert predictions(score.csd(1, 0.7)) == pytest.approx(0, abs=1e-12)
    assert predictions(score.csd(1, 0.5, kappa=0.05)) == pytest.approx(0.05)
    assert predictions(score.sds(W)) == pytest.approx(1)
    # NFSD: at noisy steps Eq 10 with (s, 1), below them a row that keeps the prediction's own size.
    assert score.csd(W, 1) == score.Coefficients(text=W, negative=-1, null=1 - W)
    assert predictions(score.Coefficients(text=W, null=1 - W)) == pytest.approx(1)


@pytest.mark.parametrize("negative_weight", [0.0, 0.5])
def test_guidance_of_sampling_is_the_generative_part_and_so_much_classifier(negative_weight: float) -> None:
    # [eps_y - eps] + (guidance - 1) [eps_y - eps_0] - weight [eps_neg - eps_0]; diffusers counts guidance so.
    generative = gradient(score.Coefficients(text=1, noise=-1))
    negative = gradient(score.Coefficients(text=0, negative=1, null=-1))
    expected = generative + (W - 1) * gradient(score.csd()) - negative_weight * negative
    assert_same(gradient(score.guided(W, negative_weight)), expected)
    assert score.guided(W, negative_weight) == score.csd(W - 1, negative_weight, kappa=1.0)
    assert score.guided(1.0).rows() == ("text",), "guidance 1 is the prompt alone"


def test_cfg_conventions_differ_by_one() -> None:
    # diffusers: eps_0 + s (eps_y - eps_0), the paper: eps_y + w (eps_y - eps_0); s = w + 1.
    eps_y, eps_0 = torch.randn(2, 10, generator=torch.Generator().manual_seed(3))
    assert_same(eps_0 + (W + 1) * (eps_y - eps_0), eps_y + W * (eps_y - eps_0))
    assert score.sds(W).text == W + 1


@pytest.mark.parametrize(
    ("coefficients", "rows"),
    [
        (score.csd(), ("text", "null")),
        (score.csd(1, 1), ("text", "negative")),
        (score.csd(1, 0.5), ("text", "negative", "null")),
        (score.sds(W, negative=True), ("text", "negative")),
        (score.Coefficients(text=1, noise=-1), ("text",)),
    ],
)
def test_rows_with_coefficient_zero_are_not_evaluated(coefficients: score.Coefficients, rows: tuple) -> None:
    teacher, x = RecordedTeacher(), torch.randn(2, 4, 6, 6)
    _, norms = score.score_gradient(
        teacher, x, torch.tensor([10, 20]), torch.randn_like(x), coefficients=coefficients, told=told_of(2, rows),
        weighting="uniform",
    )  # fmt: skip
    (call,) = teacher.calls
    assert call["rows"] == rows and call["told"].prompts == {row: [TEXTS[row]] * 2 for row in rows}
    assert norms["total"] > 0


def test_every_row_gets_the_same_image_step_and_conditions() -> None:
    teacher, x = RecordedTeacher(), torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(4))
    noise, t = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)), torch.tensor([10, 500, 900])
    depth, canny = torch.rand(2, 3, 3, 8, 8)
    told = told_of(3, images={"depth": depth, "canny": canny}, scales={"depth": 1.0, "canny": 0.5})
    score.score_gradient(
        teacher, x, t, noise, coefficients=score.csd(1, 0.5), told=told, weighting="uniform"
    )  # fmt: skip
    # One call for all rows: whatever they are told, it is one x_t, one t and one set of conditions.
    (call,) = teacher.calls
    assert call["rows"] == ("text", "negative", "null") and call["told"] is told
    abar = teacher.alphas_cumprod[t].reshape(3, 1, 1, 1)
    assert torch.equal(call["x_t"], abar.sqrt() * x + (1 - abar).sqrt() * noise) and torch.equal(call["t"], t)


@pytest.mark.parametrize("batch", [1, 4])
def test_loss_trick_gives_exactly_g_over_batch(batch: int) -> None:
    x = torch.randn(batch, 4, 5, 5, requires_grad=True)
    g = torch.randn(batch, 4, 5, 5)
    score.surrogate_loss(x, g).backward()
    assert torch.equal(x.grad, g / batch)


def test_steps_stay_in_inclusive_bounds_and_follow_the_seed() -> None:
    def draw(seed: int) -> torch.Tensor:
        return score.sample_steps(5000, 0.02, 0.04, 1000, torch.Generator().manual_seed(seed))

    t = draw(0)
    assert (t.min(), t.max()) == (20, 40)
    assert torch.equal(t, draw(0)) and not torch.equal(t, draw(1))
    assert len(score.sample_steps(4, 0.0, 1.0, 1000, torch.Generator().manual_seed(0)).unique()) > 1


def test_weightings() -> None:
    abar = stable_diffusion_schedule()[[20, 500, 980]]
    expected = torch.tensor([0.0187, 0.7237, 0.9942], dtype=torch.float64)
    assert (score.weight("sigma2", abar) - expected).abs().max() < 1e-4
    assert torch.equal(score.weight("uniform", abar), torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="sigma2 or uniform"):
        score.weight("square", abar)
