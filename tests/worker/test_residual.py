"""The change of a texture: nothing at first, the formula after that, and a clamp that no colour gets stuck at."""

from __future__ import annotations

import pytest
import torch

from csd_addon.worker.field.hashgrid import level_table
from csd_addon.worker.field.residual import PaintField, ResidualField, adjust

LEVELS = level_table(4, 9, 2, 12)
ALBEDO = (0.06, 0.94)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def transform(matrix: float | torch.Tensor, offset: float | torch.Tensor, count: int = 1) -> torch.Tensor:
    """(count, 12): ``matrix`` times the identity, or (3, 3) itself, and ``offset`` in every channel, or (3,)."""
    square = matrix if isinstance(matrix, torch.Tensor) else matrix * torch.eye(3, dtype=torch.float64)
    row = torch.cat([square.reshape(9), torch.as_tensor(offset, dtype=torch.float64).expand(3)])
    return row.expand(count, 12).clone()


def test_the_field_is_exactly_zero_at_first_and_learns_from_the_first_step() -> None:
    field = ResidualField(LEVELS, channels=3, generator=torch.Generator().manual_seed(0))
    points = random(500, 3).float() * 2 - 1
    values = field(points)
    assert values.shape == (500, 12) and not values.any()
    values.sum().backward()
    assert field.output.grad.abs().max() > 0, "zero weights must not be a dead end"
    optimizer = torch.optim.SGD(field.parameters(), lr=1.0)
    optimizer.step()
    assert field(points).abs().max() > 0


def test_no_change_returns_the_source_bit_for_bit_even_outside_the_albedo_range() -> None:
    source = torch.cat([random(1000, 3) * 3 - 1, torch.tensor([[0.0, 1.0, 0.06], [0.94, 0.03, 0.97]])]).float()
    got = adjust(torch.zeros(len(source), 12), source, ALBEDO)
    assert got.numpy().tobytes() == source.numpy().tobytes()
    assert source.min() < 0 and source.max() > 1


def test_the_formula() -> None:
    matrix = torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.3, 0.4], [0.5, 0.0, 0.0]], dtype=torch.float64)
    source, offset = torch.tensor([[0.4, 0.6, 0.3]], dtype=torch.float64), torch.tensor([0.01, 0.02, -0.03])
    got = adjust(transform(matrix, offset), source, ALBEDO)
    # Row by row: red moves by 0.1 (r - 1/2) + 0.2 (g - 1/2) + 0.01, and so on.
    expected = torch.tensor([[0.4 - 0.01 + 0.02 + 0.01, 0.6 - 0.03 - 0.08 + 0.02, 0.3 - 0.05 - 0.03]])
    error = float((got - expected).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-7")
    assert error < 1e-7


def test_minus_one_paints_over_whatever_was_there() -> None:
    source = random(200, 3)
    got = adjust(transform(-1.0, torch.tensor([0.2, -0.1, 0.0]), 200), source, ALBEDO)
    error = float((got - torch.tensor([0.7, 0.4, 0.5])).abs().max())
    print(f"largest distance from the one painted colour {error:.1e}, tolerance 1e-7; the source spans 0..1")
    assert error < 1e-7


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_paint_lies_over_the_source_with_its_opacity(opacity: float) -> None:
    field = PaintField(LEVELS, channels=3, albedo=ALBEDO).double()
    torch.nn.init.normal_(field.table, 0, 0.2, generator=torch.Generator().manual_seed(1))
    points, source = random(300, 3) * 2 - 1, random(300, 3, seed=1)
    assert adjust(field(points), source, ALBEDO).equal(source), "until the first step nothing is painted"
    field.opacity.fill_(opacity)
    paint = super(PaintField, field).forward(points)
    error = float((adjust(field(points), source, ALBEDO) - source.lerp(paint, opacity)).detach().abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-12; the paint spans {paint.min():.2f} to {paint.max():.2f}")
    assert error < 1e-12 and paint.max() - paint.min() > 0.1


def test_colours_stay_between_the_albedo_range_and_the_source() -> None:
    source = torch.tensor([[0.5, 0.02, 0.99]], dtype=torch.float64)
    for offset, bound in ((5.0, [0.94, 0.94, 0.99]), (-5.0, [0.06, 0.02, 0.06])):
        assert adjust(transform(0.0, offset), source, ALBEDO).tolist() == [bound]


def gradient_at(offset: float, upstream: float) -> float:
    """d loss / d b of one grey texel whose colour's own gradient is ``upstream``."""
    values = transform(0.0, offset).requires_grad_()
    (adjust(values, torch.full((1, 3), 0.5, dtype=torch.float64), ALBEDO) * upstream).sum().backward()
    assert values.grad[0, 9] == values.grad[0, 10] == values.grad[0, 11]
    return float(values.grad[0, 9])


@pytest.mark.parametrize(
    ("offset", "upstream", "passed"),
    [(0.9, 2.0, 2.0), (0.9, -2.0, 0.0), (-0.9, -2.0, -2.0), (-0.9, 2.0, 0.0), (0.1, 2.0, 2.0), (0.1, -2.0, -2.0)],
    ids=["above, back", "above, further", "below, back", "below, further", "inside, down", "inside, up"],
)  # fmt: skip
def test_the_clamp_passes_what_leads_back_inside(offset: float, upstream: float, passed: float) -> None:
    # A step goes against the gradient.
    assert gradient_at(offset, upstream) == passed


def test_a_colour_beyond_its_bound_finds_back_by_descent() -> None:
    values = transform(0.0, 0.9).requires_grad_()
    optimizer = torch.optim.SGD([values], lr=0.1)
    for _ in range(60):
        colors = adjust(values, torch.full((1, 3), 0.5, dtype=torch.float64), ALBEDO)
        optimizer.zero_grad()
        (colors - 0.3).square().sum().backward()
        optimizer.step()
    ended = colors[0, 0].item()
    print(f"ended at {ended:.4f}, wanted 0.3 +- 0.01")
    assert ended == pytest.approx(0.3, abs=0.01)


def test_the_gradient_is_that_of_finite_differences_inside() -> None:
    source = random(6, 3, seed=1) * 0.4 + 0.3
    values = ((random(6, 12, seed=2) - 0.5) * 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: adjust(v, source, ALBEDO), (values,), eps=1e-6, atol=1e-8)


def test_the_whole_field_has_the_gradient_of_finite_differences() -> None:
    field = ResidualField(LEVELS, channels=3, generator=torch.Generator().manual_seed(3)).double()
    # Away from zero, where the hidden layer's ReLUs have their kinks.
    for seed, name in enumerate(("output", "first", "second")):
        torch.nn.init.normal_(getattr(field, name), 0, 0.1, generator=torch.Generator().manual_seed(seed))
    points, source, weights = random(40, 3, seed=5) * 2 - 1, random(40, 3, seed=6) * 0.4 + 0.3, random(40, 3, seed=7)

    def loss() -> torch.Tensor:
        return (adjust(field(points), source, ALBEDO) * weights).sum()

    loss().backward()
    for name in ("output", "first"):
        parameter = getattr(field, name)
        flat, index = parameter.data.reshape(-1), int(parameter.grad.abs().argmax())
        before, step = flat[index].item(), 1e-6
        flat[index] = before + step
        above = loss().item()
        flat[index] = before - step
        measured = (above - loss().item()) / (2 * step)
        flat[index] = before
        analytic = parameter.grad.reshape(-1)[index].item()
        print(f"{name}[{index}]: {analytic:.8f}, by differences {measured:.8f}, tolerance 1e-6 relative")
        assert analytic == pytest.approx(measured, rel=1e-6) and analytic != 0
