"""The paper's diagnostics on one mesh: the runs of ``core.diagnosis`` one after another, in one worker.

In the job's result folder: ``diagnosis.json``, ``norms.csv`` (every step), ``results.csv``, ``norms.png`` (Fig 2a),
``sweep.png`` (Fig 2b) and ``negatives.png`` (Fig 5); pictures show the same four views of each run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ...core import diagnosis
from ...core.color import srgb_to_lab
from ...core.diagnosis import Outcome, Variant
from ...core.recipe import Recipe
from ...core.resolving import by_hand, descending
from ...core.settings import JobSettings
from ...core.views import View, framing_distance
from ...jobs.folder import read_json, write_json
from ...protocol import Cancelled, Done, Progress
from ..look.compositing import composite
from ..look.gbuffer import render_gbuffer
from ..look.surface import Surface
from ..look.views import PooledView
from ..method import score
from ..method.synthesis import Synthesis
from .plot import plot_norms
from .texture import PROGRESS_PERIOD, TextureRun

SHOWN = [View(azimuth, 15, framing_distance(35, 0.95), 35) for azimuth in (0, 90, 180, 270)]
EDGE, LABEL = 192, 28
# Noise levels (shares of the teacher's steps) at which the finished views are judged, and how many views.
LEVELS, JUDGED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 8
# What a diagnosis leaves; "norms.png" only where there is something to plot.
OUTPUTS = ("diagnosis.json", "norms.csv", "results.csv", "norms.png", "sweep.png", "negatives.png")
# Words for a negative prompt where neither the artist nor the teacher names any.
NEGATIVE = "plain gray"


class Diagnosis(TextureRun):
    """All runs of one diagnosis, and what they share: mesh, teacher, views, seed."""

    def run(self, resume: bool) -> None:
        """See ``TextureRun.run``; a diagnosis begins anew."""
        device = self._load()
        surface = Surface.of(self.mesh, self.normalization, device)
        with self._phase("views", "Looking at the object from all sides"):
            self.pool = list(self.views(surface))
            self.shown = [render_gbuffer(surface, view, size=EDGE, supersample=2) for view in SHOWN]
        outcomes, pictures = {}, {}
        for index, variant in enumerate(diagnosis.VARIANTS):
            with self._phase(variant.name, f"Run {index + 1} of {len(diagnosis.VARIANTS)}: {variant.title}"):
                synthesis = self._optimized(variant, index)
            # Runs of unequal length can't be compared, so to stop is to cancel.
            if self.control.asked:
                return self._emit(Cancelled(synthesis.iteration))
            pictures[variant.name] = self._pictures(synthesis)
            outcomes[variant.name] = self._outcome(synthesis, pictures[variant.name])
        self._write(outcomes, pictures)

    def resolve(self, preferences: dict[str, Any]) -> Recipe:
        """See ``TextureRun.resolve``. The paper's losses are compared as it has them, by gradient descent."""
        return descending(self.settings, preferences)

    def warn(self, sentence: str) -> None:
        """Tell the artist once, not in each run again."""
        if sentence not in self.warnings:
            super().warn(sentence)

    def _optimized(self, variant: Variant, index: int) -> Synthesis:
        recipe, negative = recipe_of(self.recipe, variant, self.settings.negative)
        synthesis = Synthesis(
            self.teacher, self.pool, recipe, prompt=self.understood(self.settings.prompt),
            negative=self.understood(negative), loss=variant.loss,
            generator=torch.Generator().manual_seed(self.settings.seed),
        )  # fmt: skip
        self._fit(synthesis)
        self._first_iteration, self._begun = 0, time.monotonic()
        synthesis.run(self.control, lambda: self._tell(synthesis, index), self.folder.checkpoint)
        return synthesis

    def _tell(self, synthesis: Synthesis, index: int) -> None:
        """Progress over all runs."""
        while synthesis.notes:
            self.warn(synthesis.notes.pop(0))
        now, of = time.monotonic(), synthesis.recipe.iterations
        if now - self._spoke < PROGRESS_PERIOD:
            return
        self._spoke = now
        per_step = (now - self._begun) / synthesis.iteration
        left = (of * (len(diagnosis.VARIANTS) - index) - synthesis.iteration) * per_step
        done = index * of + synthesis.iteration
        self._emit(Progress(done, of * len(diagnosis.VARIANTS), round(left, 1), synthesis.norms[-1]))

    @torch.no_grad()
    def _pictures(self, synthesis: Synthesis) -> np.ndarray:
        """(4, EDGE, EDGE, 3) sRGB-encoded in [0, 1], over white."""
        images = []
        for gbuffer in self.shown:
            image = gbuffer.resolve(synthesis.field(gbuffer.position)) + (1 - gbuffer.coverage[..., None])
            images.append(image.cpu().numpy())
        return np.stack(images)

    def _outcome(self, synthesis: Synthesis, pictures: np.ndarray) -> Outcome:
        covered = np.stack([gbuffer.coverage.cpu().numpy() == 1 for gbuffer in self.shown])
        lab = srgb_to_lab(pictures[covered].clip(0, 1))
        chroma, contrast = np.hypot(lab[:, 1], lab[:, 2]).mean(), lab[:, 0].std()
        return Outcome(synthesis.norms, self._gain(synthesis), float(chroma), float(contrast))

    @torch.no_grad()
    def _gain(self, synthesis: Synthesis) -> float:
        """How much better the prompt explains the views than no prompt; see ``core.diagnosis``."""
        generator = torch.Generator().manual_seed(0)
        views = self.pool[:: max(1, len(self.pool) // JUDGED)][:JUDGED]
        x = self.teacher.encode_still(composite(views, synthesis.colors(views), torch.full((len(views), 3), 0.5)))
        gains = []
        for share in LEVELS:
            t = torch.full((len(x),), round(share * (len(self.teacher.alphas_cumprod) - 1)), device=x.device)
            noise = torch.randn(x.shape, generator=generator).to(x.device)
            errors = [(prediction - noise).square().mean() for prediction in self._both(synthesis, views, x, t, noise)]
            gains.append(float(errors[1] - errors[0]))
        return float(np.mean(gains))

    def _both(
        self, synthesis: Synthesis, views: Sequence[PooledView], x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor
    ) -> list[torch.Tensor]:
        """The noise that the teacher predicts with the prompt and without."""
        x_t = score.add_noise(x, noise, self.teacher.alphas_cumprod[t])
        conditions = synthesis.conditions(views)
        texts = ([self.understood(self.settings.prompt)] * len(views), [""] * len(views))
        return [
            self.teacher.predict_noise(x_t, t, synthesis.embed(words), conditions, [1.0] * len(conditions))
            for words in texts
        ]

    def _write(self, outcomes: dict[str, Outcome], pictures: dict[str, np.ndarray]) -> None:
        result, judged = self.folder.result, diagnosis.claims(outcomes)
        (result / "norms.csv").write_text(diagnosis.norms_table(outcomes), encoding="utf-8")
        (result / "results.csv").write_text(diagnosis.results_table(outcomes), encoding="utf-8")
        norms = outcomes["sds_40"].norms
        curves = {n: [(i, s[n]) for i, s in enumerate(norms, 1)] for n in ("generative", "classifier")}
        plot = plot_norms(curves)
        if plot is not None:
            _save(Image.fromarray(plot), result / "norms.png")
        _save(sheet(diagnosis.FIGURE_2, pictures), result / "sweep.png")
        _save(sheet(diagnosis.FIGURE_5, pictures), result / "negatives.png")
        body: dict[str, Any] = {
            "claims": [asdict(claim) for claim in judged],
            "runs": {n: {"gain": o.gain, "chroma": o.chroma, "contrast": o.contrast} for n, o in outcomes.items()},
            "seconds": self.seconds, "settings": self.settings.to_json(), "recipe": asdict(self.recipe),
            "negative": recipe_of(self.recipe, diagnosis.VARIANTS[-1], self.settings.negative)[1],
            "teacher": self.settings.teacher, "warnings": self.warnings,
        }  # fmt: skip
        write_json(result / "diagnosis.json", body)
        # The folder also holds the result of the texture that brought the mesh here.
        paths = {name: str(result / name) for name in OUTPUTS if (result / name).is_file()}
        self._emit(Done(paths, read_json(result / "diagnosis.json")))


def recipe_of(recipe: Recipe, variant: Variant, negative: str) -> tuple[Recipe, str]:
    """The recipe of one run and its negative prompt, as the paper has it: kappa 0, new noise at every step.

    A negative only where the run has one.
    """
    words = (negative or recipe.negative or NEGATIVE) if variant.negative else ""
    plain = replace(recipe, kappa=(0.0, 0.0, 0.0, 0.0), noise_share=0.0, negative=words)
    by_name = JobSettings(expert=variant.expert)
    return replace(by_hand(plain, by_name), front=recipe.front, iterations=recipe.iterations), words


def sheet(names: Sequence[str], pictures: dict[str, np.ndarray]) -> Image.Image:
    """The views of some runs, a labelled row for each."""
    titles = {variant.name: variant.title for variant in diagnosis.VARIANTS}
    columns = len(next(iter(pictures.values())))
    picture = Image.new("RGB", (columns * EDGE, len(names) * (EDGE + LABEL)), (255, 255, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    for row, name in enumerate(names):
        top = row * (EDGE + LABEL)
        draw.text((8, top + 5), titles[name], fill=(20, 20, 20), font=font)
        for column, image in enumerate(pictures[name]):
            tile = Image.fromarray((image.clip(0, 1) * 255).round().astype(np.uint8))
            picture.paste(tile, (column * EDGE, top + LABEL))
    return picture


def _save(picture: Image.Image, path: Path) -> None:
    aside = path.with_name(path.name + ".part")
    picture.save(aside, format="PNG")
    os.replace(aside, path)
