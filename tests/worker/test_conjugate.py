"""Fitting a field to images: as far as is asked for, whatever the rates, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from csd_addon.worker.field.conjugate import ConjugateGradients
from csd_addon.worker.field.hashgrid import TextureField, level_table

LEVELS = level_table(6, 12, 4, 40)


def line(unknowns: int = 12) -> tuple[torch.nn.Parameter, torch.Tensor, torch.Tensor]:
    """Linear residuals A p - b whose columns have about the same length but are far from orthogonal."""
    generator = torch.Generator().manual_seed(4)
    matrix = torch.randn(40, unknowns, generator=generator) + 1.5
    return torch.nn.Parameter(torch.zeros(unknowns)), matrix, matrix @ torch.randn(unknowns, generator=generator)


@pytest.mark.parametrize("rate", [0.1, 30.0])
def test_linear_residuals_vanish_whatever_the_rate(rate: float) -> None:
    p, matrix, target = line()
    optimizer = ConjugateGradients([{"params": [p], "lr": rate}])
    sizes = []
    for _ in range(60):
        optimizer.step(lambda: matrix @ p - target)
        sizes.append(float((matrix @ p - target).norm().detach() / target.norm()))
    print(f"rate {rate}: {sizes[9]:.1e} of the residuals after 10 steps, {sizes[-1]:.1e} after 60 (at most 1e-3)")
    assert sizes[-1] < 1e-3
    assert all(later <= sooner * (1 + 1e-4) for sooner, later in zip(sizes, sizes[1:], strict=False))


def test_conjugate_directions_get_farther_than_restarted_ones() -> None:
    left = []
    for restarts in (False, True):
        p, matrix, target = line()
        optimizer = ConjugateGradients([{"params": [p], "lr": 0.1}])
        for _ in range(30):
            if restarts:
                optimizer.restart()
            optimizer.step(lambda p=p, matrix=matrix, target=target: matrix @ p - target)
        left.append(float((matrix @ p - target).norm().detach()))
    print(f"left after 30 steps: {left[0]:.2e} conjugate, {left[1]:.2e} restarted (at least 3 times as much)")
    assert left[1] > 3 * left[0]


@pytest.mark.parametrize("change", [0.002, 0.05])
def test_a_field_goes_three_quarters_of_a_way_of_any_length(change: float) -> None:
    """And what the images do not show stays as it is: no momentum carries it on."""
    field = TextureField(LEVELS, albedo=(0.0, 1.0), generator=torch.Generator().manual_seed(2))
    optimizer = ConjugateGradients(
        [{"params": field.grid_parameters(), "lr": 0.02}, {"params": field.mlp_parameters(), "lr": 0.004}]
    )
    shown = torch.rand(3000, 3, generator=torch.Generator().manual_seed(3)) * torch.tensor([0.4, 0.9, 0.9])
    hidden = -shown[:500] - 0.2
    way = change * torch.sin(9 * shown)
    for turn in range(8):
        before, unseen = field(shown).detach(), field.first.detach().clone()
        optimizer.restart()
        for _ in range(3):
            optimizer.step(lambda target=before + way: field(shown) - target)
        went = float(((field(shown).detach() - before) * way).sum() / way.square().sum())
        print(f"change {change}, turn {turn}: went {went:.2f} of the way")
    assert 0.75 < went < 1.1
    used = torch.autograd.grad(field(hidden).sum(), field.first)[0] != 0
    seen = torch.autograd.grad(field(shown).sum(), field.first)[0] != 0
    assert torch.equal(field.first[used & ~seen], unseen[used & ~seen]) and int((used & ~seen).sum()) > 100


def test_nothing_to_do_changes_nothing() -> None:
    p, matrix, _ = line()
    optimizer = ConjugateGradients([{"params": [p], "lr": 0.1}])
    for _ in range(3):
        optimizer.step(lambda: matrix @ p)
    assert torch.equal(p, torch.zeros_like(p))


def test_a_trial_that_fails_is_taken_back() -> None:
    p, matrix, target = line()
    optimizer, calls = ConjugateGradients([{"params": [p], "lr": 0.1}]), []

    def residuals() -> torch.Tensor:
        calls.append(p.detach().clone())
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return matrix @ p - target

    with pytest.raises(RuntimeError, match="out of memory"):
        optimizer.step(residuals)
    assert not torch.equal(calls[1], calls[0]) and torch.equal(p, calls[0])
