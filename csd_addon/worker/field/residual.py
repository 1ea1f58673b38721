"""The change of an existing texture: a colour transform at every surface point, the identity everywhere at first.

With s the source's C values at a point, sRGB-encoded, and (M, b) the field's values there:

    value = clamp(s + M (s - 1/2) + b,  min(s, low),  max(s, high))

M (C x C) and b (C) vary as smoothly as the grid's cells, so a change of colour keeps the source's finest detail, and
M = -1 lets the field paint over it. At M = 0, b = 0 the value is s exactly, even where s is outside the albedo range.
What is meant to be painted over has a fixed M and learns b alone (``PaintField``): a learned M follows the old pattern
for long (docs/pitfalls.md).
"""

from __future__ import annotations

from typing import Any

import torch

from .colorgrid import ColorGrid
from .hashgrid import Cells, HashField, Level


class ResidualField(HashField):
    """A hash field of (N, C * C + C) transforms of C channels, M row by row, then b; exactly zero until the first step.
    """

    def __init__(
        self, levels: tuple[Level, ...], *, channels: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(levels, outputs=channels * channels + channels, generator=generator)
        torch.nn.init.zeros_(self.output)


class PaintField(ColorGrid):
    """A grid of values as the (N, C * C + C) transforms that lay its values c over the source:

        value = (1 - opacity) s + opacity c,      that is M = -opacity, b = opacity (c - 1/2)

    opacity: 0 shows the source alone, as at first; 1 hides it.
    """

    opacity: torch.Tensor

    def __init__(self, levels: tuple[Level, ...], *, channels: int, albedo: tuple[float, float]) -> None:
        super().__init__(levels, channels=channels, albedo=albedo)
        self.register_buffer("opacity", torch.zeros(()))

    def forward(self, points: torch.Tensor | Cells) -> torch.Tensor:
        """(N, 3) points to (N, C * C + C) transforms."""
        offset = self.opacity * (super().forward(points) - 0.5)
        matrix = -self.opacity * torch.eye(offset.shape[1], dtype=offset.dtype, device=offset.device)
        return torch.cat([matrix.reshape(1, -1).expand(len(offset), -1), offset], dim=1)


def adjust(transform: torch.Tensor, source: torch.Tensor, albedo: tuple[float, float]) -> torch.Tensor:
    """(N, C) values: ``source`` (N, C) changed by ``transform`` (N, C * C + C); see the module's formula."""
    channels = source.shape[1]
    matrix, offset = transform[:, :-channels].reshape(-1, channels, channels), transform[:, -channels:]
    moved = source + (matrix * (source - 0.5)[:, None]).sum(2) + offset
    low, high = source.clamp(max=albedo[0]), source.clamp(min=albedo[1])
    clamped: torch.Tensor = _Clamp.apply(moved, low, high)
    return clamped


class _Clamp(torch.autograd.Function):
    """Clamp that still passes the gradients which lead back inside: a plain one would hold a colour at its bound."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> Any:
        ctx.save_for_backward(values < low, values > high)
        return torch.minimum(torch.maximum(values, low), high)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        below, above = ctx.saved_tensors
        stuck = (below & (gradient > 0)) | (above & (gradient < 0))
        return gradient.masked_fill(stuck, 0.0), None, None
