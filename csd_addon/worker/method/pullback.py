"""From a gradient on the teacher's x back to the pixels of the images, in pieces that fit into memory.

    x = encode(images),  p = (d x / d images)^T g

Where all views fit at once their graph is kept from the one forward pass; else x is computed without a graph and each
piece is encoded a second time for its backward: the same numbers. g is scaled to about 1 by a power of two on its
way through the encoder, because half-precision numbers end at 6e-8 and a classifier score is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

Encode = Callable[[torch.Tensor], torch.Tensor]


class Encoded:
    """The images of one step and their x (B, C, h, w), which carries no graph.

    images: (B, C, S, S), taken as they are. piece: how many views' graphs may live at one time.
    """

    def __init__(self, encode: Encode, images: torch.Tensor, piece: int) -> None:
        self._encode, self._images, self._piece = encode, images.detach(), piece
        self._graph: tuple[torch.Tensor, torch.Tensor] | None = None
        if piece >= len(images):
            leaf = self._images.requires_grad_()
            self._graph = (leaf, encode(leaf))
            self.x = self._graph[1].detach()
        else:
            with torch.no_grad():
                self.x = torch.cat([encode(part) for part in self._images.split(piece)])

    def pull_back(self, g: torch.Tensor) -> torch.Tensor:
        """(B, C, S, S): the gradient on the pixels that belongs to ``g`` on x. May be called once."""
        scale = _power_of_two(g)
        if self._graph is not None:
            leaf, x = self._graph
            self._graph = None
            return torch.autograd.grad(x, leaf, g * scale)[0] / scale
        pieces = zip(self._images.split(self._piece), g.split(self._piece), strict=True)
        return torch.cat([self._one(images, part * scale) for images, part in pieces]) / scale

    def _one(self, images: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(self._encode(leaf), leaf, g)[0]


def _power_of_two(g: torch.Tensor) -> float:
    """What brings the RMS of ``g`` to about 1; exact in floating point. 1 where ``g`` is 0 or not finite."""
    rms = float(g.square().mean().sqrt())
    return 2.0 ** -round(math.log2(rms)) if math.isfinite(rms) and rms > 1e-30 else 1.0


def clip_pixels(gradient: torch.Tensor, limit: float) -> torch.Tensor:
    """Pixel-wise gradient clipping, relative to the image: (B, C, H, W) to the same.

    Where a channel of a pixel exceeds ``limit`` times the image's RMS over its pixels with any gradient, the whole
    pixel is scaled down to it: its direction stays, no norm ever grows. limit 0: nothing is clipped.
    """
    if limit == 0:
        return gradient
    largest = gradient.abs().amax(1, keepdim=True)
    seen = (largest > 0).sum((2, 3), keepdim=True).clamp(min=1)
    rms = (gradient.square().sum((1, 2, 3), keepdim=True) / (gradient.shape[1] * seen)).sqrt()
    return gradient * (limit * rms / largest.clamp(min=1e-30)).clamp(max=1)
