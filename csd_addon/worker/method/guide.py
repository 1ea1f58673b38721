"""What pulls a step: rows of a teacher's predictions, weighted as the method says (``score``).

``guide_for`` has one line for each guide. A guide that trains something of its own, as VSD trains a LoRA, does so in
``after_step``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from ...core.recipe import Change, Distill, Recipe, Sample, at
from ..look.batches import Batch
from ..teacher.interface import Conditioning, Teacher
from ..teacher.prompts import text_for
from . import score


@dataclass(frozen=True)
class Words:
    """prompt: what the texture should show. negative: what it should not, or should lose; may be empty."""

    prompt: str
    negative: str = ""


# Shares of a run at which its rows are counted: schedules turn between them, and hardly ever within.
_MOMENTS = (0.0, 0.5, 0.999)


class Guide(Protocol):
    """The gradient on a batch's x. progress: share of the run that is done, 0..1."""

    def rows(self) -> int:
        """How many rows a step evaluates at most, side by side."""

    def gradient(
        self, batch: Batch, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """g and the norms of its parts: see ``score.score_gradient``."""

    def after_step(self, batch: Batch, x: torch.Tensor, progress: float) -> None:
        """Called after each step that moved the shape, with the x that was judged."""

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps of it."""

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """The inverse of ``state``."""


class FrozenGuide:
    """A guide of the teacher alone, which learns nothing."""

    def __init__(self, teacher: Teacher, words: Words, recipe: Recipe) -> None:
        self._teacher, self._words, self._recipe = teacher, words, recipe
        self._weighting = recipe.mover.weighting if isinstance(recipe.mover, Distill) else "uniform"

    def told(self, batch: Batch, progress: float) -> Conditioning:
        """What the teacher is told of ``batch``. Only the text row gets view words."""
        views, guide = batch.views, self._recipe.guide
        scales = {"depth": guide.control_depth, "canny": guide.control_canny}
        return Conditioning(
            prompts={
                "text": [
                    text_for(self._words.prompt, v.view, self._recipe.views, close_up=v.close_up) for v in views
                ],
                "negative": [self._words.negative] * len(views),
                "null": [""] * len(views),
            },
            images={name: condition_images(batch, name) for name in self._teacher.conditions},
            scales={name: at(scales[name], progress) for name in self._teacher.conditions},
            cameras=[v.view for v in views],
            groups=batch.groups,
            share_control=guide.share_control,
        )

    def score(
        self, batch: Batch, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, progress: float,
        coefficients: score.Coefficients,
    ) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
        """``score.score_gradient`` with what the teacher is told of ``batch``."""
        return score.score_gradient(
            self._teacher, x, t, noise, coefficients=coefficients, told=self.told(batch, progress),
            weighting=self._weighting,
        )  # fmt: skip

    def after_step(self, batch: Batch, x: torch.Tensor, progress: float) -> None:
        """Nothing."""

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing."""


class ScoreGuide(FrozenGuide):
    """CSD, SDS, or the guidance of sampling: rows whose coefficients depend on the progress alone."""

    def __init__(
        self, teacher: Teacher, words: Words, recipe: Recipe, coefficients: Callable[[float], score.Coefficients]
    ) -> None:
        super().__init__(teacher, words, recipe)
        self.coefficients = coefficients

    def rows(self) -> int:
        """See ``Guide``."""
        return len({row for progress in _MOMENTS for row in self.coefficients(progress).rows()})

    def gradient(
        self, batch: Batch, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """See ``Guide``."""
        return self.score(batch, x, t, noise, progress, self.coefficients(progress))


class DeltaGuide(FrozenGuide):
    """DDS: the score of the source, rendered in the same views with the same t and noise, is subtracted.

        g = [eps_cfg(x_t; target)] - [eps_cfg(x_source_t; removed)],      eps_cfg = s eps_y + (1 - s) eps_0
    """

    def __init__(
        self, teacher: Teacher, words: Words, recipe: Recipe, source_images: Callable[[Batch], torch.Tensor]
    ) -> None:
        """source_images: (B, C, S, S) of the source over the batch's backgrounds."""
        super().__init__(teacher, words, recipe)
        self._source_images = source_images

    def rows(self) -> int:
        """See ``Guide``."""
        return max(len(part.rows()) for progress in _MOMENTS for part in self._coefficients(progress))

    def gradient(
        self, batch: Batch, x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """See ``Guide``. The norms are those at the edited images."""
        here, there = self._coefficients(progress)
        g, norms = self.score(batch, x, t, noise, progress, here)
        source = self._teacher.encode_still(self._source_images(batch))
        behind, _ = self.score(batch, source, t, noise, progress, there)
        return g + behind, norms

    def _coefficients(self, progress: float) -> tuple[score.Coefficients, score.Coefficients]:
        numbers = self._recipe.mover
        assert isinstance(numbers, Distill)
        return score.dds(at(numbers.w1, progress), at(numbers.kappa, progress))


def guide_for(
    teacher: Teacher, words: Words, recipe: Recipe, loss: str, source_images: Callable[[Batch], torch.Tensor] | None
) -> Guide:
    """The guide of a run. loss: "csd" or "sds", of distillation. source_images: of an edit, else None."""
    if loss == "csd" and isinstance(recipe.edit, Change) and recipe.edit.reference:
        assert source_images is not None
        return DeltaGuide(teacher, words, recipe, source_images)
    return ScoreGuide(teacher, words, recipe, coefficients_of(recipe, loss, has_negative=bool(words.negative)))


def coefficients_of(recipe: Recipe, loss: str, *, has_negative: bool) -> Callable[[float], score.Coefficients]:
    """The weights of the rows by the progress in 0..1. Without a negative its row is not evaluated."""
    mover = recipe.mover
    if isinstance(mover, Sample):
        weight = mover.negative_weight if has_negative else (0.0, 0.0, 0.0, 0.0)
        return lambda progress: score.guided(mover.guidance, at(weight, progress))
    # One line for each of ``core.settings.LOSSES``.
    return {
        "csd": lambda progress: score.csd(
            at(mover.w1, progress), at(mover.w2, progress) if has_negative else 0.0, at(mover.kappa, progress)
        ),
        "sds": lambda progress: score.sds(mover.sds_weight, negative=has_negative),
    }[loss]


def condition_images(batch: Batch, name: str) -> torch.Tensor:
    """(B, 3, S, S) in [0, 1]: the images ``name`` of the batch's views."""
    images: torch.Tensor = torch.stack([v.conditions[name] for v in batch.views])[:, None]
    return images.float().expand(-1, 3, -1, -1)
