"""Sampling, the other mover: steps as long as those of a sampler, to which a linear shape is fitted.

With noise eps that stays the same at every step, sampling (DDIM) moves the clean image from one noise level to the
next by

    x <- x - g (r_t - r_next),      r = sqrt(1 - abar) / sqrt(abar),      g: ``score.guided``,

which Consistent Flow Distillation takes over to scenes. Gradient descent with Adam knows no such length: it moves every
point at the same pace for as long as the sign lasts, and whites, reds and their complements run to the end of their
range (docs/pitfalls.md).

The views take turns, so the next noise level of a view is the one that the run has reached at its next turn.
"""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F

from ...core.recipe import Sample as Numbers
from ...core.recipe import at
from ..look.batches import Batch, ViewsInTurn
from ..shape.interface import Fittable
from ..teacher.interface import Teacher
from . import score
from .anchored_noise import AnchoredNoise
from .pullback import clip_pixels
from .whitening import Whitening


class Sample:
    """Moves ``shape`` by fitting it to its own images, moved by a step of sampling."""

    def __init__(
        self, shape: Fittable, numbers: Numbers, teacher: Teacher, views: ViewsInTurn, *, iterations: int,
        resolution: int, channels: int, generator: torch.Generator,
    ) -> None:  # fmt: skip
        """iterations: of the run. resolution, channels: of the images. generator: on the CPU."""
        self._shape, self._numbers, self._teacher, self._views = shape, numbers, teacher, views
        self._iterations, self._resolution, self._channels = iterations, resolution, channels
        self._generator = generator
        self._anchored = AnchoredNoise(numbers.noise_share, numbers.noise_cells, generator.initial_seed())

    @cached_property
    def whitening(self) -> Whitening:
        """What the teacher's encoder amplifies."""
        return Whitening(self._teacher.encode, self._channels, self._resolution, self._teacher.device)

    def noise(
        self, batch: Batch, images: torch.Tensor, x: torch.Tensor, iteration: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Mover``.

        Where the encoder is linear, noise is anchored as an image: the same channels of x are another picture where
        the view is turned, or moved by less than a patch.
        """
        level = at(self._numbers.noise_level, iteration / self._iterations)
        steps = len(self._teacher.alphas_cumprod)
        t = score.sample_steps(len(batch), level, level, steps, self._generator).to(x.device)
        as_image = self._numbers.noise_share > 0 and self.whitening.linear
        fresh = torch.randn((images if as_image else x).shape, generator=self._generator).to(x.device)
        if not self._numbers.noise_share:
            return t, fresh
        anchored = self._anchored.mixed(batch, fresh)
        return t, self.whitening.white(anchored) if as_image else anchored

    def into_encoder(self, g: torch.Tensor) -> torch.Tensor:
        """``g`` divided by the encoder's gains: a step of x becomes that of the image (``whitening``)."""
        return g / self.whitening.gains

    def move(self, batch: Batch, images: torch.Tensor, gradient: torch.Tensor, iteration: int) -> None:
        """Fit the shape to its images, moved by a step of sampling."""
        clipped = clip_pixels(gradient, self._numbers.pixel_clip)
        way = -self.length(iteration) * clipped - self._hidden(batch, images)
        self._shape.fit(batch, way)

    def length(self, iteration: float) -> float:
        """By how many times -g the x of a view moves: the fall of the noise level until its next turn."""
        after = iteration + self._views.turn
        # The last turn ends at the clean image.
        return self._level(iteration) - (self._level(after) if after < self._iterations else 0.0)

    def _level(self, iteration: float) -> float:
        """r at ``iteration``."""
        alphas = self._teacher.alphas_cumprod
        share = at(self._numbers.noise_level, iteration / self._iterations)
        abar = float(alphas[round(share * (len(alphas) - 1))])
        return float(((1 - abar) / abar) ** 0.5)

    def _hidden(self, batch: Batch, images: torch.Tensor) -> torch.Tensor | float:
        """What the encoder does not see of the ``images``, in the pixels of x that the surface fills.

        No score moves it, and what the fits leave there would pile up.
        """
        if not self.whitening.linear:
            return 0.0
        beside = torch.stack([view.gbuffer.coverage < 1 for view in batch.views])[:, None].float()
        patch = images.shape[-1] // self.whitening.edge
        filled = 1 - F.interpolate(F.max_pool2d(beside, patch), scale_factor=patch)
        return filled * self.whitening.hidden(images)

    def settled(self, iteration: int) -> bool:
        """Never: a sample is finished at its last step."""
        return False

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing: the anchored noise and the order of the views follow from the seed."""
        return {}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing."""
