"""Places: the cubes of the unit ball into which the surface is divided where views are compared."""

from __future__ import annotations

import torch

# Cubes along the radius of the unit ball.
_ALONG = 16


def cubes(position: torch.Tensor) -> torch.Tensor:
    """(P,) one number for each cube, for (P, 3) positions in the unit ball."""
    x, y, z = (torch.floor(position * _ALONG).long() + _ALONG).unbind(1)
    return (x * 4 * _ALONG + y) * 4 * _ALONG + z
