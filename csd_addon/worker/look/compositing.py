"""Images of views from the colours of their samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .views import PooledView


def composite(views: Sequence[PooledView], colors: torch.Tensor, backgrounds: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S) images of ``views`` from their samples' (P, 3) ``colors`` over solid (B, 3) ``backgrounds``."""
    parts = colors.split([len(v.gbuffer.position) for v in views])
    images = []
    for view, part, background in zip(views, parts, backgrounds.to(colors.device), strict=True):
        uncovered = 1 - view.gbuffer.coverage[..., None]
        images.append(view.gbuffer.resolve(part) + uncovered * background)
    return torch.stack(images).permute(0, 3, 1, 2)
