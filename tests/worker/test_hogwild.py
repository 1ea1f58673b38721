"""Training's optimisers: what Muon is given are the model's own weights, and a run that goes on is the same run."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from training.hogwild import Learner, Run, as_matrix, train

RATE = 0.01


def small_model() -> nn.Module:
    """Names as in diffusers: the first and the last layer are not Muon's."""
    torch.manual_seed(0)
    model = nn.Sequential()
    for name, layer in (("conv_in", nn.Conv2d(3, 8, 3)), ("inner", nn.Conv2d(8, 16, 3)), ("norm", nn.GroupNorm(4, 16)),
                        ("conv_out", nn.Conv2d(16, 2, 3))):  # fmt: skip
        model.add_module(name, layer)
    return model.to(memory_format=torch.channels_last)


def step(model: nn.Module, learner: Learner, seed: int) -> None:
    model(torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(seed))).square().mean().backward()
    learner.step(RATE)


def test_every_weight_learns_and_inner_matrices_by_orthogonal_steps():
    model = small_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step(model, Learner(model, RATE), 0)
    after = dict(model.named_parameters())
    assert all(not torch.equal(before[name], after[name]) for name in before)
    moved = as_matrix(after["inner.weight"].detach()) - as_matrix(before["inner.weight"]) * (1 - 0.1 * RATE)
    sizes = torch.linalg.svdvals(moved)
    spread = float(sizes.min() / sizes.max())
    rms = float(moved.square().mean().sqrt())
    print(f"smallest to largest direction {spread:.2f} (at least 0.4); RMS {rms:.5f}, {0.2 * RATE} within 30 %")
    assert spread > 0.4
    assert rms == pytest.approx(0.2 * RATE, rel=0.3)


def test_a_weight_whose_matrix_would_be_a_copy_is_refused():
    with pytest.raises(ValueError, match="channels last"):
        Learner(small_model().to(memory_format=torch.contiguous_format), RATE)


def test_a_run_that_goes_on_is_the_same_run(tmp_path: Path):
    model = small_model()
    learner = Learner(model, RATE)
    step(model, learner, 0)
    learner.save(tmp_path / "moments.safetensors")
    other = copy.deepcopy(model)
    going_on = Learner(other, RATE)
    going_on.restore(tmp_path / "moments.safetensors")
    step(model, learner, 1)
    step(other, going_on, 1)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


class Halving:
    """A task: to give half of what comes in."""

    def to(self, device: str) -> None: ...

    def loss(self, model: nn.Module, batch: int, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(batch, 3, 12, 12, generator=generator)
        return (model(x) - x[:, :2, 3:-3, 3:-3] / 2).square().mean()

    def report(self, model: nn.Module) -> str:
        return f"error {self.loss(model, 64, torch.Generator().manual_seed(9)).item():.4f}"

    def draw(self, model: nn.Module, path: Path) -> None:
        path.write_text(self.report(model))


class Model(nn.Sequential):
    def set_attn_processor(self, processor: object) -> None:
        """It has no attention."""


def test_training_draws_sheets_on_its_way_and_learns(tmp_path: Path):
    model, task = Model(small_model()), Halving()
    before = task.report(model)
    run = Run("half", tmp_path, 300, batch=8, processes=1, report_every=150, draw_every=100, average=0.9)
    train(model, task, run)
    sheets = sorted(path.name for path in tmp_path.glob("samples_*.png"))
    assert sheets == ["samples_000100.png", "samples_000200.png", "samples_000300.png"]
    after = (tmp_path / sheets[-1]).read_text()
    print(f"before: {before}; after 300 steps: {after} (at most 0.1; who says nothing is 0.25 wrong)")
    assert float(after.split()[1]) < 0.1
    assert run.marker.exists() and run.result.exists()
