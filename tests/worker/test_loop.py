"""The loop, end to end, with a teacher whose fixed point is known: convergence, seeds, resume, cancel, coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from csd_addon.core.channels import width
from csd_addon.core.mesh import Normalization
from csd_addon.core.recipe import Distill, Field, Guide, Recipe, Run, Views, constant
from csd_addon.core.resolving import overridden
from csd_addon.worker.look.batches import Batch
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import PooledView, sample_pool
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.method.loop import Loop
from csd_addon.worker.run.checkpoint import load_checkpoint, save_checkpoint
from csd_addon.worker.serve.control import Control, JobFailure
from csd_addon.worker.shape.appearance import NewTexture
from csd_addon.worker.teacher.gaussian import gaussian_noise, stable_diffusion_schedule
from csd_addon.worker.teacher.memory import Need, Plan
from tests import shapes

RECIPE = Recipe(
    Run(iterations=450),
    Views(view_words=False, resolution=24, supersample=2, views_per_step=2, view_pool=12, close_up_share=0.0),
    Field(levels=6, table_log2=12, coarsest=4, finest=40),
    Guide(negative=""),
    Distill(
        w2=constant(0.0), kappa=constant(1.0), weighting="uniform", t_min=constant(0.02), t_max=constant(0.5),
        rate_grid=0.01, rate_mlp=0.003,
    ),
)  # fmt: skip
NULL_MEAN = 0.5


def target(points: torch.Tensor) -> torch.Tensor:
    """(P,) grey value of the target texture at unit-ball points: mild, so that the fixed point is in range."""
    return 0.5 + 0.06 * torch.sin(4 * points[:, 0]) * torch.cos(3 * points[:, 2])


class PixelTeacher:
    """What teachers have in common that see pixels, compute in closed form and need no memory."""

    root = Path("none")
    device = torch.device("cpu")
    conditions: tuple[str, ...] = ()
    plan: Plan | None = None
    notes = ()

    def __init__(self) -> None:
        self.alphas_cumprod = stable_diffusion_schedule().float()

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    encode_still = encode

    def need(self, **sizes) -> Need:
        return Need.of(**sizes, latent=1, element=4, weights=0, text_weights=0, encoder_width=0, unet_width=1)

    def held(self) -> int:
        return 0

    def adopt(self, plan: Plan) -> None:
        self.plan = plan


class ImageTeacher(PixelTeacher):
    """Gaussian around the depth condition image for the text row (here: the rendered target), grey for null."""

    conditions = ("depth",)

    def predict_noise(self, x_t, t, told, rows):
        abar = self.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        # A condition image is grey: its channels are equal.
        means = {"text": told.images["depth"][:, :1], "null": NULL_MEAN}
        return {row: gaussian_noise(x_t, abar, means[row], 0.5) for row in rows}


def make_pool(generator: torch.Generator, recipe: Recipe = RECIPE) -> list[PooledView]:
    mesh = shapes.torus()
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    pool = []
    for view in sample_pool(surface, recipe.views, generator, ()):
        painted = view.gbuffer.resolve(target(view.gbuffer.position)[:, None])[..., 0]
        painted = painted + (1 - view.gbuffer.coverage) * NULL_MEAN
        pool.append(replace(view, conditions={"depth": painted}))
    return pool


def make_run(recipe: Recipe = RECIPE, seed: int = 0) -> Loop:
    generator = torch.Generator().manual_seed(seed)
    pool = make_pool(generator, recipe)
    return assemble(
        ImageTeacher(), pool, NewTexture(recipe), recipe, Words("target"), loss="csd", generator=generator
    )


def run(loop: Loop, folder: Path, *, until: int | None = None, control: Control | None = None) -> Loop:
    """Go on to the end, or to the step ``until``, as a job does."""
    control = control or Control()

    def on_step() -> None:
        if until is not None and loop.iteration == until:
            control.request_cancel()

    loop.run(control, on_step, lambda: save_checkpoint(folder, loop))
    return loop


def colors(loop: Loop) -> torch.Tensor:
    """(P, 3) what the field is at all that the views see."""
    points = torch.cat([view.gbuffer.position for view in loop.views.pool])
    with torch.no_grad():
        return loop.shape.field(points)


def batch_of(loop: Loop, numbers: Sequence[int], backgrounds: torch.Tensor | None = None) -> Batch:
    """The views of the pool with these ``numbers``, over black if no ``backgrounds`` are given."""
    views = tuple(loop.views.pool[i] for i in numbers)
    black = torch.zeros(len(views), width(loop.shape.channels))
    return Batch(tuple(numbers), views, black if backgrounds is None else backgrounds)


def test_reaches_the_predicted_fixed_point(tmp_path: Path) -> None:
    # kappa form: mu_y + (w1 / kappa) (mu_y - mu_null), here 2 mu_y - 1/2.
    loop = make_run()
    points = torch.cat([view.gbuffer.position for view in loop.views.pool])
    expected = (2 * target(points) - NULL_MEAN)[:, None].expand(-1, 3)
    before = float((colors(loop) - expected).abs().mean())
    after = float((colors(run(loop, tmp_path)) - expected).abs().mean())
    plain = float((target(points)[:, None] - expected).abs().mean())
    print(f"mean distance from the fixed point: {before:.4f} at grey, {after:.4f} after, tolerance 0.02")
    print(f"the target itself is {plain:.4f} away: the overshoot of the theory is there")
    assert after < 0.02 < plain


def test_equal_seeds_give_equal_runs_and_others_do_not(tmp_path: Path) -> None:
    short = overridden(RECIPE, {"iterations": 15})
    a, b, c = (colors(run(make_run(short, seed), tmp_path)) for seed in (3, 3, 4))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_resumed_run_is_the_same_run_bit_for_bit(tmp_path: Path) -> None:
    short = overridden(RECIPE, {"iterations": 30})
    whole = colors(run(make_run(short), tmp_path))
    first = run(make_run(short), tmp_path, until=11)
    assert first.iteration == 11
    second = make_run(short)
    load_checkpoint(tmp_path, second)
    assert second.iteration == 11
    resumed = colors(run(second, tmp_path))
    print(f"largest difference {float((resumed - whole).abs().max()):.1e}, tolerance 0")
    assert torch.equal(resumed, whole)


def test_damaged_checkpoint_gets_a_sentence(tmp_path: Path) -> None:
    run(make_run(overridden(RECIPE, {"iterations": 5})), tmp_path, until=2)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(JobFailure, match="damaged"):
        load_checkpoint(tmp_path, make_run(overridden(RECIPE, {"iterations": 5})))
    with pytest.raises(JobFailure, match="damaged or of another job"):
        run(make_run(overridden(RECIPE, {"iterations": 5})), tmp_path, until=2)
        load_checkpoint(tmp_path, make_run(overridden(RECIPE, {"levels": 3})))


def test_a_checkpoint_of_an_earlier_version_is_named_as_such(tmp_path: Path) -> None:
    loop = make_run(overridden(RECIPE, {"iterations": 5}))
    old = {name.replace("shape.", "field."): value for name, value in loop.state().items()}
    save_checkpoint(tmp_path, cast(Loop, SimpleNamespace(state=lambda: old, iteration=2)))
    with pytest.raises(JobFailure, match="was written by an earlier version"):
        load_checkpoint(tmp_path, loop)


def test_stop_ends_the_loop_without_a_checkpoint_and_cancel_with_one(tmp_path: Path) -> None:
    control = Control()
    control.request_stop()
    assert run(make_run(), tmp_path, control=control).iteration == 0 and not list(tmp_path.iterdir())
    control.request_cancel()
    run(make_run(), tmp_path, control=control)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_step_that_is_not_finite_is_left_out_and_named(tmp_path: Path) -> None:
    loop = make_run(overridden(RECIPE, {"iterations": 8}))
    honest, calls = loop.teacher.predict_noise, []

    def once(*arguments):
        calls.append(1)
        return {row: eps * (float("nan") if len(calls) == 3 else 1) for row, eps in honest(*arguments).items()}

    loop.teacher.predict_noise = once
    for _ in range(2):
        loop.step()
    before = colors(loop)
    assert loop.step() == {} and torch.equal(colors(loop), before)
    assert loop.notes == ["The gradient of step 3 was not finite; the step was left out."]
    assert loop.step() and not torch.equal(colors(loop), before)
    run(loop, tmp_path)
    assert loop.iteration == 8 and len(loop.notes) == 1


def test_a_teacher_that_stays_not_finite_stops_the_run_with_the_last_good_state(tmp_path: Path) -> None:
    loop = make_run()
    run(loop, tmp_path, until=3)
    good = colors(loop)
    loop.teacher.predict_noise = lambda x_t, t, told, rows: dict.fromkeys(rows, x_t * float("nan"))
    with pytest.raises(JobFailure, match="step 4"):
        run(loop, tmp_path)
    again = make_run()
    load_checkpoint(tmp_path, again)
    assert again.iteration == 3 and torch.equal(colors(again), good)


def test_pool_sees_every_side_of_a_closed_mesh() -> None:
    mesh = shapes.cube()
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    views = replace(RECIPE.views, elevation=(-10.0, 45.0), view_pool=24)
    pool = list(sample_pool(surface, views, torch.Generator().manual_seed(0), ("depth", "canny")))
    seen = set(torch.cat([view.gbuffer.triangle for view in pool]).tolist())
    assert seen == set(range(12)), "the underside too, though no elevation below -10 was asked for"
    assert all(view.conditions.keys() == {"depth", "canny"} for view in pool)
    close = replace(views, close_up_share=1.0)
    assert all(view.close_up for view in sample_pool(surface, close, torch.Generator().manual_seed(0), ()))


def test_backgrounds_do_not_reach_the_surface() -> None:
    loop = make_run()
    view = loop.views.pool[0]
    (image,) = loop.shape.images(batch_of(loop, [0], torch.rand(1, 3))).detach()
    inside = view.gbuffer.coverage == 1
    assert (image[:, inside] - 0.5).abs().max() < 1e-3, "the field starts grey and covered pixels show only it"
