"""Images of views from the values of their samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .views import PooledView


def composite(views: Sequence[PooledView], values: torch.Tensor, backgrounds: torch.Tensor) -> torch.Tensor:
    """(B, C, S, S) images of ``views`` from their samples' (P, C) ``values`` over solid (B, C) ``backgrounds``."""
    parts = values.split([len(v.gbuffer.position) for v in views])
    images = []
    for view, part, background in zip(views, parts, backgrounds.to(values.device), strict=True):
        uncovered = 1 - view.gbuffer.coverage[..., None]
        images.append(view.gbuffer.resolve(part) + uncovered * background)
    return torch.stack(images).permute(0, 3, 1, 2)
