"""Which views a step looks at: a batch for an iteration, from a pool that is rendered once.

A batch is all that is drawn for the images of one step. Those here are of a surface, so each of their views is a
``PooledView``. Fresh cameras around a volume would be other ``Views``, whose batches hold a plain ``CameraView`` each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from .views import CameraView, PooledView


@dataclass(frozen=True)
class Batch:
    """The B views of one step.

    numbers: of the views in their pool; what is kept for a view is kept under its number.
    backgrounds: (B, C) solid colours behind the surface, one for each view.
    groups: (B,) int64, the views with one number belong together, and a teacher of several views judges them so; None
    where each stands alone.
    """

    numbers: tuple[int, ...]
    views: tuple[CameraView, ...]
    backgrounds: torch.Tensor
    groups: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.views)


class Views(Protocol):
    """Draws the batch of an iteration."""

    def draw(self, iteration: int) -> Batch:
        """The batch of step ``iteration``, counted from 0."""


class RandomViews:
    """Neighbours from a random place in the pool: its golden-ratio azimuths lie far apart."""

    def __init__(self, pool: Sequence[PooledView], count: int, channels: int, generator: torch.Generator) -> None:
        """count: views of a batch. channels: of their images. generator: on the CPU."""
        self.pool = pool
        self._count, self._channels, self._generator = count, channels, generator

    def draw(self, iteration: int) -> Batch:
        """See ``Views``."""
        start = int(torch.randint(len(self.pool), (), generator=self._generator))
        numbers = tuple((start + i) % len(self.pool) for i in range(self._count))
        return _batch(self.pool, numbers, self._channels, self._generator)


class ViewsInTurn:
    """Each view of the pool in its turn, in an order that ``seed`` fixes: sampling knows when a view comes again.

    turn: after how many iterations it does.
    """

    def __init__(
        self, pool: Sequence[PooledView], count: int, channels: int, generator: torch.Generator, seed: int
    ) -> None:
        """count, channels, generator: see ``RandomViews``."""
        self.pool, self.turn = pool, len(pool) / count
        self._count, self._channels, self._generator = count, channels, generator
        # Its own generator: the order does not depend on what was drawn before.
        self._order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed)).tolist()

    def draw(self, iteration: int) -> Batch:
        """See ``Views``."""
        places = (iteration * self._count + i for i in range(self._count))
        numbers = tuple(self._order[place % len(self.pool)] for place in places)
        return _batch(self.pool, numbers, self._channels, self._generator)


def _batch(
    pool: Sequence[PooledView], numbers: tuple[int, ...], channels: int, generator: torch.Generator
) -> Batch:
    """Half of the backgrounds are random colours, the others white to dark grey, so none sticks to the surface."""
    count = len(numbers)
    colors = torch.rand(count, channels, generator=generator)
    grays = torch.rand(count, 1, generator=generator).expand(count, channels)
    pick = torch.rand(count, 1, generator=generator) < 0.5
    return Batch(numbers, tuple(pool[i] for i in numbers), torch.where(pick, colors, grays))
