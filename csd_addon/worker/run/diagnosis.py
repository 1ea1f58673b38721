"""The paper's diagnostics on one mesh: the runs of ``core.diagnosis`` one after another, in one worker.

In the job's result folder: ``diagnosis.json``, ``norms.csv`` (every step), ``results.csv``, ``norms.png`` (Fig 2a),
``sweep.png`` (Fig 2b) and ``negatives.png`` (Fig 5); pictures show the same four views of each run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ...core import diagnosis
from ...core.channels import BASE_COLOR, spans, width
from ...core.color import srgb_to_lab
from ...core.diagnosis import Outcome, Variant
from ...core.recipe import Recipe, to_json
from ...core.resolving import overridden
from ...core.views import View, framing_distance
from ...jobs.folder import read_json, write_json
from ...protocol import Cancelled, Done, Progress
from ..look.batches import Batch
from ..look.gbuffer import GBuffer, render_gbuffer
from ..look.views import PooledView
from ..method import score
from ..method.assembly import assemble
from ..method.guide import Words, condition_images
from ..method.loop import Loop
from ..shape.appearance import NewTexture
from ..teacher.interface import Conditioning
from .checkpoint import save_checkpoint
from .plot import plot_norms
from .session import PROGRESS_PERIOD, Session

SHOWN = [View(azimuth, 15, framing_distance(35, 0.95), 35) for azimuth in (0, 90, 180, 270)]
EDGE, LABEL = 192, 28
# Noise levels (shares of the teacher's steps) at which the finished views are judged, and how many views.
LEVELS, JUDGED = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 8
# What a diagnosis leaves; "norms.png" only where there is something to plot.
OUTPUTS = ("diagnosis.json", "norms.csv", "results.csv", "norms.png", "sweep.png", "negatives.png")
# Words for a negative prompt where neither the artist nor the teacher names any.
NEGATIVE = "plain gray"


def diagnose(session: Session) -> None:
    """All runs of one diagnosis, with one mesh, teacher, pool and seed. A diagnosis begins anew when it is resumed.

    Ends with ``Done`` or ``Cancelled``. Raises ``JobFailure`` with a sentence.
    """
    surface, outcomes, pictures = session.surface, {}, {}
    with session.phase("views", "Looking at the object from all sides"):
        pool = list(session.views(surface))
        shown = [render_gbuffer(surface, view, size=EDGE, supersample=2) for view in SHOWN]
    for index, variant in enumerate(diagnosis.VARIANTS):
        with session.phase(variant.name, f"Run {index + 1} of {len(diagnosis.VARIANTS)}: {variant.title}"):
            loop = _optimized(session, pool, variant, index)
        # Runs of unequal length can't be compared, so to stop is to cancel.
        if session.control.asked:
            return session.emit(Cancelled(loop.iteration))
        pictures[variant.name] = _pictures(loop, shown)
        outcomes[variant.name] = _outcome(session, loop, pool, pictures[variant.name], shown)
    _write(session, outcomes, pictures)


def _optimized(session: Session, pool: Sequence[PooledView], variant: Variant, index: int) -> Loop:
    """One run to its end."""
    recipe, negative = recipe_of(session.recipe, variant, session.settings.negative)
    loop = assemble(
        session.teacher, pool, NewTexture(recipe), recipe,
        Words(session.understood(session.settings.prompt), session.understood(negative)), loss=variant.loss,
        generator=torch.Generator().manual_seed(session.settings.seed),
    )  # fmt: skip
    session.fit_memory(loop)
    began, spoke = time.monotonic(), 0.0

    def tell() -> None:
        """Progress over all runs."""
        nonlocal spoke
        while loop.notes:
            session.warn(loop.notes.pop(0))
        now, of, runs = time.monotonic(), loop.iterations, len(diagnosis.VARIANTS)
        if now - spoke < PROGRESS_PERIOD:
            return
        spoke = now
        left = (of * (runs - index) - loop.iteration) * (now - began) / loop.iteration
        session.emit(Progress(index * of + loop.iteration, of * runs, round(left, 1), loop.norms[-1]))

    loop.run(session.control, tell, lambda: save_checkpoint(session.folder.checkpoint, loop))
    return loop


@torch.no_grad()
def _pictures(loop: Loop, shown: Sequence[GBuffer]) -> np.ndarray:
    """(4, EDGE, EDGE, 3) sRGB-encoded in [0, 1], over white."""
    color = spans(loop.shape.channels)[BASE_COLOR.name]
    images = []
    for gbuffer in shown:
        values = loop.shape.field(gbuffer.position)[:, color]
        image = gbuffer.resolve(values) + (1 - gbuffer.coverage[..., None])
        images.append(image.cpu().numpy())
    return np.stack(images)


def _outcome(
    session: Session, loop: Loop, pool: Sequence[PooledView], pictures: np.ndarray, shown: Sequence[GBuffer]
) -> Outcome:
    covered = np.stack([gbuffer.coverage.cpu().numpy() == 1 for gbuffer in shown])
    lab = srgb_to_lab(pictures[covered].clip(0, 1))
    chroma, contrast = np.hypot(lab[:, 1], lab[:, 2]).mean(), lab[:, 0].std()
    return Outcome(loop.norms, _gain(session, loop, pool), float(chroma), float(contrast))


@torch.no_grad()
def _gain(session: Session, loop: Loop, pool: Sequence[PooledView]) -> float:
    """How much better the prompt explains the views than no prompt; see ``core.diagnosis``."""
    teacher, generator = session.teacher, torch.Generator().manual_seed(0)
    numbers = tuple(range(0, len(pool), max(1, len(pool) // JUDGED)))[:JUDGED]
    views = tuple(pool[i] for i in numbers)
    batch = Batch(numbers, views, torch.full((len(views), width(loop.shape.channels)), 0.5))
    x = teacher.encode_still(loop.shape.images(batch))
    # The bare prompt, without view words.
    told = Conditioning(
        prompts={
            "text": [session.understood(session.settings.prompt)] * len(views), "null": [""] * len(views),
        },
        images={name: condition_images(batch, name) for name in teacher.conditions},
        scales=dict.fromkeys(teacher.conditions, 1.0), cameras=[view.view for view in views],
    )  # fmt: skip
    gains = []
    for share in LEVELS:
        t = torch.full((len(x),), round(share * (len(teacher.alphas_cumprod) - 1)), device=x.device)
        noise = torch.randn(x.shape, generator=generator).to(x.device)
        x_t = score.add_noise(x, noise, teacher.alphas_cumprod[t])
        errors = [
            (teacher.predict_noise(x_t, t, told, (row,))[row] - noise).square().mean() for row in ("text", "null")
        ]
        gains.append(float(errors[1] - errors[0]))
    return float(np.mean(gains))


def _write(session: Session, outcomes: dict[str, Outcome], pictures: dict[str, np.ndarray]) -> None:
    result, judged = session.folder.result, diagnosis.claims(outcomes)
    (result / "norms.csv").write_text(diagnosis.norms_table(outcomes), encoding="utf-8")
    (result / "results.csv").write_text(diagnosis.results_table(outcomes), encoding="utf-8")
    norms = outcomes["sds_40"].norms
    curves = {n: [(i, s[n]) for i, s in enumerate(norms, 1)] for n in ("generative", "classifier")}
    plot = plot_norms(curves)
    if plot is not None:
        _save(Image.fromarray(plot), result / "norms.png")
    _save(sheet(diagnosis.FIGURE_2, pictures), result / "sweep.png")
    _save(sheet(diagnosis.FIGURE_5, pictures), result / "negatives.png")
    settings = session.settings
    body: dict[str, Any] = {
        "claims": [asdict(claim) for claim in judged],
        "runs": {n: {"gain": o.gain, "chroma": o.chroma, "contrast": o.contrast} for n, o in outcomes.items()},
        "seconds": session.seconds, "settings": settings.to_json(), "recipe": to_json(session.recipe),
        "negative": recipe_of(session.recipe, diagnosis.VARIANTS[-1], settings.negative)[1],
        "teacher": settings.teacher, "warnings": session.warnings,
    }  # fmt: skip
    write_json(result / "diagnosis.json", body)
    # The folder also holds the result of the texture that brought the mesh here.
    paths = {name: str(result / name) for name in OUTPUTS if (result / name).is_file()}
    session.emit(Done(paths, read_json(result / "diagnosis.json")))


def recipe_of(recipe: Recipe, variant: Variant, negative: str) -> tuple[Recipe, str]:
    """The recipe of one run and its negative prompt, as the paper has it: kappa 0, new noise at every step.

    A negative only where the run has one.
    """
    words = (negative or recipe.guide.negative or NEGATIVE) if variant.negative else ""
    return overridden(recipe, {"kappa": 0.0, "noise_share": 0.0, "negative": words, **variant.expert}), words


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
