"""The texture field: interpolation, gradients, initial grey, determinism."""

from __future__ import annotations

import pytest
import torch

from csd_addon.worker.field import hashgrid
from csd_addon.worker.field.hashgrid import Cells, TextureField, encode, level_table

find = hashgrid._cell

LEVELS = level_table(4, 10, 4, 40)


def tables(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    total = sum(level.entries for level in LEVELS)
    first, second = torch.randn(2, total, generator=generator, dtype=dtype)
    return first.requires_grad_(), second.requires_grad_()


def test_levels_grow_geometrically_and_switch_to_hashing() -> None:
    resolutions = [level.resolution for level in level_table(16, 19, 16, 4096)]
    assert resolutions[:3] == [16, 23, 33] and resolutions[-1] == 4096
    assert [level.hashed for level in LEVELS] == [False, False, True, True]
    assert all(b.offset == a.offset + a.entries for a, b in zip(LEVELS, LEVELS[1:], strict=False))


def test_gradient_agrees_with_finite_differences_at_all_corners() -> None:
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    first, second = tables()
    assert torch.autograd.gradcheck(lambda a, b: encode(points, a, b, LEVELS), (first, second), fast_mode=True)
    output = encode(points, first, second, LEVELS)
    output[0].sum().backward()
    touched = first.grad[LEVELS[0].span].count_nonzero()
    print(f"{int(touched)} entries of the first level touched by 5 points (at most 40)")
    assert 8 <= touched <= 40 and abs(float(first.grad.sum()) - 5) < 1e-9, "the 8 weights of a point sum to 1"


def test_kept_cells_are_found_once_and_give_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    field = TextureField(LEVELS, channels=3, albedo=(0.0, 1.0), generator=torch.Generator().manual_seed(5))
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(6)) * 2 - 1
    found: list[int] = []
    monkeypatch.setattr(hashgrid, "_CPU_BLOCK", 128)
    monkeypatch.setattr(hashgrid, "_cell", lambda axes, level: found.append(0) or find(axes, level))
    cells = Cells(points, LEVELS, keep=True)
    for _ in range(2):
        (once,) = torch.autograd.grad(field(cells).square().sum(), field.first)
        assert len(found) == 3 * len(LEVELS), "a cell for each block and level"
    (anew,) = torch.autograd.grad(field(points).square().sum(), field.first)
    assert len(found) == 3 * 3 * len(LEVELS), "forward and backward without keeping"
    assert torch.equal(field(cells), field(points)) and torch.equal(once, anew)


def test_interpolation_is_exact_at_vertices_and_linear_between() -> None:
    level = LEVELS[0]
    first, second = tables()
    corner = torch.tensor([[1, 2, 3]], dtype=torch.float64)
    index = int(1 + 2 * (level.resolution + 1) + 3 * (level.resolution + 1) ** 2)

    def value(cells: torch.Tensor) -> float:
        return encode(cells / level.resolution * 2 - 1, first, second, LEVELS)[0, 0].item()

    assert abs(value(corner) - float(first[index])) < 1e-12
    halfway = value(corner + torch.tensor([[0.5, 0, 0]], dtype=torch.float64))
    assert abs(halfway - float(first[index] + first[index + 1]) / 2) < 1e-12


def test_points_on_the_box_faces_are_inside() -> None:
    points = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, 0.3]], dtype=torch.float64)
    assert torch.isfinite(encode(points, *tables(), LEVELS)).all()


def test_hashing_agrees_with_instant_ngp_in_64_bits() -> None:
    level = LEVELS[3]
    cells = torch.randint(0, level.resolution, (50, 3), generator=torch.Generator().manual_seed(2))
    primes = torch.tensor([1, 2654435761, 805459861])
    x, y, z = (cells * primes).T
    expected = (x ^ y ^ z) % level.entries
    first, second = tables()
    found = encode(cells.double() / level.resolution * 2 - 1, first, second, LEVELS)[6]
    error = float((found - first[level.span][expected]).abs().max())
    print(f"largest difference {error:.2e}, tolerance 1e-6")
    assert error < 1e-6


def test_field_starts_mid_grey_and_equal_seeds_give_equal_fields() -> None:
    points = torch.rand(4096, 3) * 2 - 1

    def colors(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        levels = level_table(16, 19, 16, 2048)
        return TextureField(levels, channels=3, albedo=(0.03, 0.97), generator=generator)(points)

    grey = float((colors(0) - 0.5).abs().max().detach())
    print(f"largest distance from grey {grey:.1e}, tolerance 1e-3")
    assert grey < 1e-3
    assert torch.equal(colors(0), colors(0)) and not torch.equal(colors(0), colors(1))


def test_colours_stay_inside_the_albedo_range() -> None:
    field = TextureField(LEVELS, channels=3, albedo=(0.1, 0.8))
    with torch.no_grad():
        field.first.uniform_(-100, 100)
        colors = field(torch.rand(1000, 3) * 2 - 1)
    assert colors.min() >= 0.1 and colors.max() <= 0.8


def test_unobserved_entries_get_no_gradient() -> None:
    field = TextureField(LEVELS, channels=3, albedo=(0.0, 1.0))
    field(torch.full((10, 3), -0.9)).sum().backward()
    far = encode(torch.full((1, 3), 0.9, dtype=torch.float32), field.first.grad, field.first.grad, LEVELS[:2])
    assert (far == 0).all() and field.first.grad.abs().sum() > 0
