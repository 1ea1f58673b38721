"""Noise that is anchored to the surface: a point meets the same noise in every view and at every step.

The unit ball is cut into cubes with an edge of ``1 / cells``, and each of them keeps one normal value N for each
channel of x (or of the image of which x is made: ``whitening``). A pixel of x that sees c_v samples of the surface in
the cube v gets

    eps = sqrt(a) sum_v c_v N_v / sqrt(sum_v c_v^2) + sqrt(1 - a) eps',      a = share * (covered part of the pixel)

with eps' the noise of the step. So eps stays standard normal, and two pixels are as independent as the cubes that
they see are different. With noise that is new at each step a texture moves towards the mean of what each of them asks
for, which is grey for a zebra; with noise that stays it moves towards one of them, as sampling does (Consistent Flow
Distillation does so for whole scenes; docs/pitfalls.md). A share of 0 is the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..look.batches import Batch
from ..look.gbuffer import GBuffer, render_gbuffer
from ..look.views import PooledView

# Cubes share a value where their hashes meet: with 160 to the radius one in twenty of the 27 thousand that a close view
# of Spot passes through.
_TABLE = 1 << 18
# Large primes, one for each axis.
_HASH = (73856093, 19349663, 83492791)
# So many samples along the edge of an image, that two views of a place agree.
SAMPLES = 512


@dataclass(frozen=True)
class ViewNoise:
    """The anchored noise of one view: (C, h, w) ``noise``, and its ``share`` of each pixel's variance (h, w)."""

    noise: torch.Tensor
    share: torch.Tensor

    def mixed(self, fresh: torch.Tensor) -> torch.Tensor:
        """Standard normal noise (C, h, w) of both this and the standard normal ``fresh``."""
        return self.share.sqrt() * self.noise + (1 - self.share).sqrt() * fresh


class AnchoredNoise:
    """share: 0 .. 1, how much of the noise's variance is anchored. cells: cubes along the radius of the unit ball."""

    def __init__(self, share: float, cells: int, seed: int) -> None:
        self.share, self.cells = share, cells
        # Its own generator: the values do not depend on how many others were drawn, so a resumed run has them again.
        self._generator = torch.Generator().manual_seed(seed)
        self._values: torch.Tensor | None = None
        # By the number of the view in its pool.
        self._views: dict[int, ViewNoise] = {}

    def mixed(self, batch: Batch, fresh: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) standard normal noise for the views of ``batch``: anchored, and ``fresh`` for the rest."""
        noises = []
        for number, view, new in zip(batch.numbers, batch.views, fresh, strict=True):
            if number not in self._views:
                self._views[number] = self.of_view(view, len(new), new.shape[-1])
            noises.append(self._views[number].mixed(new))
        return torch.stack(noises)

    def of_view(self, view: PooledView, channels: int, width: int) -> ViewNoise:
        """The anchored noise of ``view`` for images of ``channels`` and ``width`` x ``width`` pixels."""
        samples = max(SAMPLES // view.gbuffer.size, view.gbuffer.supersample)
        fine = render_gbuffer(view.surface, view.view, size=view.gbuffer.size, supersample=samples)
        return self.of_gbuffer(fine, channels, width)

    def of_gbuffer(self, gbuffer: GBuffer, channels: int, width: int) -> ViewNoise:
        """The anchored noise of the view behind ``gbuffer``.

        The more samples a pixel has, the more alike is what two views meet at one place.
        """
        device = gbuffer.position.device
        if self._values is None:
            self._values = torch.randn(_TABLE, channels, generator=self._generator).to(device)
        values = self._values
        pixel = _coarse_pixel(gbuffer, width)
        pairs, count = torch.unique(pixel * _TABLE + self._cubes(gbuffer.position), return_counts=True)
        seen, weight = torch.div(pairs, _TABLE, rounding_mode="floor"), count.to(values.dtype)
        total = values.new_zeros(width * width, channels).index_add(0, seen, values[pairs % _TABLE] * weight[:, None])
        size = values.new_zeros(width * width).index_add(0, seen, weight.square()).sqrt()
        # A pixel of x covers so many samples of the image.
        full = (gbuffer.size * gbuffer.supersample // width) ** 2
        share = self.share * torch.bincount(pixel, minlength=width * width) / full
        noise = (total / size.clamp(min=1)[:, None]).T.reshape(channels, width, width)
        return ViewNoise(noise, share.reshape(width, width))

    def _cubes(self, position: torch.Tensor) -> torch.Tensor:
        """(P,) indices into the table of (P, 3) ``position``."""
        cube = torch.floor(position * self.cells).long()
        return (cube[:, 0] * _HASH[0] ^ cube[:, 1] * _HASH[1] ^ cube[:, 2] * _HASH[2]) % _TABLE


def _coarse_pixel(gbuffer: GBuffer, width: int) -> torch.Tensor:
    """(P,) flat index, in an image of ``width`` pixels, of the pixel that each sample falls into."""
    step = gbuffer.size // width
    row = torch.div(gbuffer.pixel, gbuffer.size * step, rounding_mode="floor")
    column = torch.div(gbuffer.pixel % gbuffer.size, step, rounding_mode="floor")
    return row * width + column
