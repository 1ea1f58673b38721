"""Texture synthesis: the loop.

    sample views -> constant G-buffers -> field -> image -> teacher's x -> noise -> classifier score -> step

A step is one of Adam's along the gradient, or, with a stride, a move of the images by a given length
(``guidance/stride.py``) that the field is fitted to (``fitting.py``).

The field is optimised in unit-ball space; images are (B, 3, S, S) sRGB-encoded in [0, 1], row 0 at the top.
Everything random comes from one CPU generator, so a seed fixes the run (bit for bit on the CPU), and a
checkpoint holds that generator's state, so a resumed run is the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F

from ...core.recipe import Recipe, at
from ..field.colorgrid import ColorGrid
from ..field.hashgrid import Cells, HashField, Level, TextureField, level_table
from ..look.compositing import composite
from ..look.gbuffer import render_gbuffer
from ..look.views import PooledView
from ..run.checkpoint import load_checkpoint, save_checkpoint
from ..serve.control import Control, JobFailure, is_out_of_memory
from ..shape.fitting import Fitting
from ..teacher.diffusion import DiffusionTeacher
from ..teacher.memory import Need, Plan, empty_cache, smaller
from ..teacher.prompts import PromptCache, text_for
from . import score, stride
from .anchored_noise import Stuck, SurfaceNoise
from .pullback import Encoded, clip_pixels
from .whitening import Whitening

# Seconds between two checkpoints.
CHECKPOINT_PERIOD = 30.0
# Noise that sticks as an image is sampled so many times along the edge of the image, that two views of a place agree.
NOISE_SAMPLES = 512
# So many steps in a row may be left out because a number in them is not finite.
MOST_SKIPPED = 5


class Synthesis:
    """One run: a field, its optimiser, the views and the teacher. ``run`` is the loop, ``step`` one turn of it."""

    def __init__(
        self, teacher: DiffusionTeacher, pool: Sequence[PooledView], recipe: Recipe, *,
        prompt: str, negative: str, loss: str, generator: torch.Generator,
    ) -> None:  # fmt: skip
        """prompt, negative: the words of these rows; without a negative its row is not evaluated.

        loss: "csd" or "sds". generator: CPU, also gives the field's first weights.
        """
        self.teacher, self.pool, self.recipe = teacher, pool, recipe
        self.prompt, self.negative, self.loss, self.generator = prompt, negative, loss, generator
        self.embed = PromptCache(teacher.embed)
        levels = level_table(recipe.levels, recipe.table_log2, recipe.coarsest, recipe.finest)
        self.field = self.make_field(levels).to(teacher.device)
        # A field has either: it is fitted, or an optimiser descends.
        self.fitting = Fitting(self.field, pool, self) if isinstance(self.field, ColorGrid) else None
        self.optimizer = _adam(self.field, recipe) if isinstance(self.field, HashField) else None
        self.surface_noise = SurfaceNoise(recipe.noise_share, recipe.noise_cells, generator.initial_seed())
        self._order = stride.order(len(pool), generator.initial_seed())
        # By the number of the view in the pool.
        self._stuck: dict[int, Stuck] = {}
        self.iteration = 0
        self.norms: list[dict[str, float]] = []
        # What the artist should be told; whoever runs the loop takes them away.
        self.notes: list[str] = []
        self.plan: Plan | None = None
        self._need: Need | None = None
        self._skipped = 0

    def make_field(self, levels: tuple[Level, ...]) -> HashField | ColorGrid:
        """The field that is optimised, with its first weights; with a stride one that can be fitted."""
        if self.recipe.stride:
            return ColorGrid(levels, albedo=self.recipe.albedo)
        return TextureField(levels, albedo=self.recipe.albedo, generator=self.generator)

    def run(self, control: Control, on_step: Callable[[], None], checkpoint: Path) -> None:
        """Optimise until the recipe's last iteration or until ``control`` asks for an end.

        on_step is called after every step. A checkpoint is written now and then, and when cancelled.
        """
        saved = time.monotonic()
        while self.iteration < self.recipe.iterations and not control.asked and not self.settled():
            try:
                self.norms.append(self.step())
            except JobFailure:
                self.save(checkpoint)
                raise
            on_step()
            if time.monotonic() - saved > CHECKPOINT_PERIOD:
                self.save(checkpoint)
                saved = time.monotonic()
        if control.cancel:
            self.save(checkpoint)

    def need(self) -> Need:
        """What a step of this run takes of the memory."""
        recipe = self.recipe
        rows = {row for progress in (0.0, 0.5, 0.999) for row in self.coefficients(progress).rows()}
        return self.teacher.need(
            views=recipe.views_per_step, rows=len(rows), resolution=recipe.resolution, supersample=recipe.supersample,
            field_parameters=sum(p.numel() for p in self.field.parameters()),
            fitted=len(self.pool) * len(self.field.levels) if recipe.stride else 0,
        )  # fmt: skip

    def budget(self, need: Need, plan: Plan) -> None:
        """Work in the pieces of ``plan``, and in smaller ones of ``need``'s ladder where the memory runs out."""
        self._need, self.plan = need, plan
        self.teacher.adopt(plan)

    def step(self) -> dict[str, float]:
        """One optimisation step; returns the gradient norms, {} if the step had to be left out."""
        drawn = self.generator.get_state()
        while (norms := self._within_memory()) is None:
            self._take_smaller_pieces()
            self.generator.set_state(drawn)
        return norms

    def _within_memory(self) -> dict[str, float] | None:
        """One attempt at the step, None if the memory did not suffice; what the attempt held is free again then."""
        try:
            return self._attempt()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _take_smaller_pieces(self) -> None:
        empty_cache(self.teacher.device)
        plan = smaller(self.plan, self._need) if self.plan and self._need else None
        if plan is None or self._need is None:
            raise JobFailure(
                "memory",
                f"The memory of the device {self.teacher.device} does not suffice for one view of "
                f"{self.recipe.resolution} pixels: close other programs, or compute on the CPU.",
            )
        self.budget(self._need, plan)
        self.notes.append(f"The memory ran out at step {self.iteration + 1}; it goes on with {plan.words()}.")

    def _attempt(self) -> dict[str, float]:
        recipe, progress = self.recipe, self.iteration / self.recipe.iterations
        drawn = self._draw_views()
        views = [self.pool[i] for i in drawn]
        backgrounds = self._backgrounds(len(views))
        images = self._images(drawn, backgrounds)
        encoded = Encoded(self.teacher.encode, images, self.plan.encoder_views if self.plan else len(views))
        x = encoded.x
        t = score.sample_steps(
            len(views), at(recipe.t_min, progress), at(recipe.t_max, progress),
            len(self.teacher.alphas_cumprod), self.generator,
        ).to(x.device)  # fmt: skip
        g, norms = self.guide(views, backgrounds, x, t, self._noise(drawn, x))
        back = encoded.pull_back(g / self.whitening.gains if recipe.stride else g)
        pixels = clip_pixels(back, recipe.pixel_clip)
        if not bool(torch.isfinite(g).all() & torch.isfinite(pixels).all()):
            return self._skip()
        self._skipped = 0
        if self.fitting:
            way = -self._length(len(views)) * pixels - self._hidden(views, images, x.shape[-1])
            self.fitting.move(drawn, backgrounds, way)
        else:
            loss = score.surrogate_loss(images, pixels) + self.penalty(views, images, backgrounds)
            self._descend(loss, at(recipe.rate_factor, progress))
        self.iteration += 1
        return norms

    @cached_property
    def whitening(self) -> Whitening:
        """What the teacher's encoder amplifies."""
        return Whitening(self.teacher.encode, self.recipe.resolution, self.teacher.device)

    def _noise(self, drawn: Sequence[int], x: torch.Tensor) -> torch.Tensor:
        """The noise of one step for the ``drawn`` views of the pool, like ``x``.

        With a stride it sticks to the surface as an image, where the encoder is linear: the same channels of x are
        another picture where the view is turned, or moved by less than a patch.
        """
        if not self.recipe.noise_share:
            return torch.randn(x.shape, generator=self.generator).to(x.device)
        as_image = self.recipe.stride > 0 and self.whitening.linear
        edge = self.recipe.resolution
        fresh = torch.randn((len(drawn), 3, edge, edge) if as_image else x.shape, generator=self.generator)
        noise = [self._met(i, new) for i, new in zip(drawn, fresh.to(x.device), strict=True)]
        return self.whitening.white(torch.stack(noise)) if as_image else torch.stack(noise)

    def _met(self, number: int, fresh: torch.Tensor) -> torch.Tensor:
        """The noise (C, h, w) that the view with this ``number`` meets, with ``fresh`` where none sticks."""
        if number not in self._stuck:
            view = self.pool[number]
            samples = max(NOISE_SAMPLES // view.gbuffer.size, view.gbuffer.supersample)
            gbuffer = render_gbuffer(view.surface, view.view, size=view.gbuffer.size, supersample=samples)
            self._stuck[number] = self.surface_noise.stuck(gbuffer, len(fresh), fresh.shape[-1])
        return self._stuck[number].mixed(fresh)

    def _images(self, drawn: Sequence[int], backgrounds: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) of the ``drawn`` views; differentiable in the field where an optimiser descends."""
        if self.fitting:
            return self.fitting.images(drawn, backgrounds)
        views = [self.pool[i] for i in drawn]
        return composite(views, self.colors(views), backgrounds)

    def _length(self, drawn: int) -> float:
        """By how many times the gradient pixels move. ``drawn``: how many views of the pool a step draws."""
        return stride.length(self.recipe, self.iteration, self.teacher.alphas_cumprod, len(self.pool) / drawn)

    def _hidden(self, views: Sequence[PooledView], images: torch.Tensor, edge: int) -> torch.Tensor | float:
        """What the teacher's encoder does not see of the ``images``, in the pixels of x, ``edge`` along a side, that
        the surface fills. No score moves it, and what the fits leave there would pile up.
        """
        if not self.whitening.linear:
            return 0.0
        beside = torch.stack([view.gbuffer.coverage < 1 for view in views])[:, None].float()
        patch = images.shape[-1] // edge
        filled = 1 - F.interpolate(F.max_pool2d(beside, patch), scale_factor=patch)
        return filled * self.whitening.hidden(images)

    def _skip(self) -> dict[str, float]:
        """Leave the step out: field and optimiser stay as the last good step left them."""
        self.iteration += 1
        self._skipped += 1
        if self._skipped == 1:
            self.notes.append(f"The gradient of step {self.iteration} was not finite; the step was left out.")
        if self._skipped < MOST_SKIPPED:
            return {}
        self.iteration -= self._skipped
        raise JobFailure(
            "internal",
            f"The teacher's prediction stopped being finite at step {self.iteration + 1}; what was good until then is "
            "in the checkpoint and can be resumed. Half precision on this device is the usual cause.",
        )

    def state(self) -> torch.nn.Module:
        """What a checkpoint holds besides the optimiser and the generator."""
        return self.field

    def settled(self) -> bool:
        """Whether there is nothing left to do before the last iteration."""
        return False

    def colors(self, views: Sequence[PooledView]) -> torch.Tensor:
        """The (P, 3) colours of all samples of ``views``, one view after the other."""
        return self.field(self._cells(torch.cat([v.gbuffer.position for v in views])))

    def _cells(self, points: torch.Tensor) -> Cells:
        """Where the field is asked for colours whose gradient will be asked for too."""
        return Cells(points, self.field.levels, keep=True)

    def share(self, view: PooledView) -> torch.Tensor:
        """(P,) how much of the field's colour each sample of ``view`` shows."""
        return torch.ones(len(view.gbuffer.position), device=view.gbuffer.position.device)

    def painted(self, views: Sequence[PooledView], gray: float) -> torch.Tensor:
        """``colors`` if the field were the colour (``gray``, ``gray``, ``gray``) everywhere."""
        device = views[0].gbuffer.position.device
        return torch.full((sum(len(v.gbuffer.position) for v in views), 3), gray, device=device)

    def guide(
        self, views: Sequence[PooledView], backgrounds: torch.Tensor, x: torch.Tensor, t: torch.Tensor,
        noise: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
        """g and the norms of its parts for the images ``x`` of ``views`` over ``backgrounds`` (B, 3)."""
        return self.score(views, x, t, noise, self.coefficients(self.iteration / self.recipe.iterations))

    def score(
        self, views: Sequence[PooledView], x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor,
        coefficients: score.Coefficients,
    ) -> tuple[torch.Tensor, dict[str, float]]:  # fmt: skip
        """``score.score_gradient`` with the prompts and conditions of ``views``."""
        progress = self.iteration / self.recipe.iterations
        return score.score_gradient(
            self.teacher, x, t, noise, coefficients=coefficients, prompts=self._prompts(views, coefficients),
            weighting=self.recipe.weighting, conditions=self.conditions(views), scales=self._scales(progress),
            share_control=self.recipe.share_control,
        )  # fmt: skip

    def penalty(
        self, views: Sequence[PooledView], images: torch.Tensor, backgrounds: torch.Tensor
    ) -> torch.Tensor | float:
        """A further loss on the (B, 3, S, S) ``images``; none for a new texture."""
        return 0.0

    def coefficients(self, progress: float) -> score.Coefficients:
        """The weights of the rows at ``progress`` in 0..1 of the run."""
        if self.loss == "sds":
            return score.sds(self.recipe.sds_weight, negative=bool(self.negative))
        w2 = at(self.recipe.w2, progress) if self.negative else 0.0
        return score.csd(at(self.recipe.w1, progress), w2, at(self.recipe.kappa, progress))

    def save(self, path: Path) -> None:
        """Write a checkpoint: field, optimiser, iteration and the generator's state."""
        save_checkpoint(path, self.state(), self.optimizer, self.generator, self.iteration)

    def restore(self, path: Path) -> None:
        """Continue from ``path``. Raises ``JobFailure`` if it is damaged or of another run."""
        self.iteration = load_checkpoint(path, self.state(), self.optimizer, self.generator)

    def _draw_views(self) -> list[int]:
        """The numbers of the views of one step.

        With a stride they take turns; else B neighbours from a random place in the pool: its golden-ratio azimuths lie
        far apart.
        """
        count, pool = self.recipe.views_per_step, len(self.pool)
        if self.recipe.stride:
            return [self._order[(self.iteration * count + i) % pool] for i in range(count)]
        start = int(torch.randint(pool, (), generator=self.generator))
        return [(start + i) % pool for i in range(count)]

    def _backgrounds(self, count: int) -> torch.Tensor:
        """(count, 3): half of them random colours, the others white to dark grey, so none sticks to the surface."""
        colors = torch.rand(count, 3, generator=self.generator)
        grays = torch.rand(count, 1, generator=self.generator).expand(count, 3)
        pick = torch.rand(count, 1, generator=self.generator) < 0.5
        return torch.where(pick, colors, grays)

    def _prompts(
        self, views: Sequence[PooledView], coefficients: score.Coefficients
    ) -> dict[str, torch.Tensor]:
        texts = {
            "text": [text_for(self.prompt, v.view, self.recipe, close_up=v.close_up) for v in views],
            "negative": [self.negative] * len(views),
            "null": [""] * len(views),
        }
        return {row: self.embed(texts[row]) for row in coefficients.rows()}

    def conditions(self, views: Sequence[PooledView]) -> list[torch.Tensor]:
        """One (B, 3, S, S) image batch for each of the teacher's ControlNets."""
        return [
            torch.stack([v.conditions[name] for v in views])[:, None].float().expand(-1, 3, -1, -1)
            for name in self.teacher.conditions
        ]

    def _scales(self, progress: float) -> list[float]:
        schedules = {"depth": self.recipe.control_depth, "canny": self.recipe.control_canny}
        return [at(schedules[name], progress) for name in self.teacher.conditions]

    def _descend(self, loss: torch.Tensor, factor: float) -> None:
        """One step of the optimiser at ``factor`` times its learning rates."""
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def _adam(field: HashField, recipe: Recipe) -> torch.optim.Adam:
    groups = [
        {"params": field.grid_parameters(), "rate": recipe.rate_grid},
        {"params": field.mlp_parameters(), "rate": recipe.rate_mlp},
    ]
    # The tiny epsilon is safe because the field and its gradients are float32.
    return torch.optim.Adam(groups, betas=recipe.betas, eps=1e-15, fused=True)
