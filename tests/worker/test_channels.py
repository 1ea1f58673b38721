"""Three is not a constant: a texture with a second, made-up channel of two numbers goes the whole way to its texels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from csd_addon.core.channels import BASE_COLOR, Channel, spans, width
from csd_addon.core.mesh import Normalization
from csd_addon.core.recipe import Recipe
from csd_addon.core.resolving import overridden
from csd_addon.worker.bake.bake import bake, build_atlas
from csd_addon.worker.look.compositing import composite
from csd_addon.worker.method import assembly
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.method.loop import Loop
from csd_addon.worker.run.checkpoint import load_checkpoint
from csd_addon.worker.serve.control import JobFailure
from csd_addon.worker.shape.appearance import NewTexture
from csd_addon.worker.teacher.gaussian import gaussian_noise
from tests import shapes
from tests.worker.test_loop import RECIPE, PixelTeacher, batch_of, colors, make_pool, run
from tests.worker.test_sample import SAMPLING

FIVE = (BASE_COLOR, Channel("gloss", 2))
# What the teacher wants in each channel, and what it expects without a prompt; its deviation is 1/2.
MEANS, NULL_MEAN = torch.tensor([0.4, 0.5, 0.6, 0.35, 0.65]), 0.5
# mu_y + (w1 / kappa) (mu_y - mu_null), as in ``test_loop``.
FIXED_POINT = 2 * MEANS - NULL_MEAN


class FiveTeacher(PixelTeacher):
    """Gaussian in five channels, around a mean of its own in each."""

    def predict_noise(self, x_t, t, told, rows):
        abar = self.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        means = {"text": MEANS[:, None, None], "null": NULL_MEAN}
        return {row: gaussian_noise(x_t, abar, means[row], 0.5) for row in rows}


@pytest.fixture(autouse=True)
def five_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "CHANNELS", FIVE)


def make_five(recipe: Recipe) -> Loop:
    generator = torch.Generator().manual_seed(0)
    pool = make_pool(generator, recipe)
    words = Words("five")
    return assemble(FiveTeacher(), pool, NewTexture(recipe), recipe, words, loss="csd", generator=generator)


def baked(loop: Loop, tolerance: float) -> np.ndarray:
    """(n, 5) the texels inside the charts, as they are baked on the torus that the views see.

    tolerance: how far they may be from the field at their centres on the average; where it changes fast they are means.
    """
    mesh = shapes.torus()
    atlas = build_atlas(mesh, Normalization.of(mesh.positions), (64, 64))
    image, filled = bake(loop.shape.field, atlas)
    assert image.shape == (64, 64, 5) and image.dtype == np.float32
    sample = torch.searchsorted(atlas.sample, torch.from_numpy(np.flatnonzero(atlas.alone)))
    with torch.no_grad():
        there = loop.shape.field(atlas.points(sample)).numpy()
    error = np.abs(image[atlas.alone] - there)
    print(f"texels and the field at their centres differ by {error.mean():.4f} on the average (at most {tolerance})")
    assert error.mean() < tolerance and filled[atlas.chart].all()
    return image[atlas.chart]


def test_the_names_of_channels_say_where_they_lie() -> None:
    assert width(FIVE) == 5 and spans(FIVE) == {"basecolor": slice(0, 3), "gloss": slice(3, 5)}


@pytest.mark.parametrize("recipe", [RECIPE, SAMPLING], ids=["trained", "fitted"])
def test_a_field_of_five_channels_shows_grey_and_the_background_of_each_at_first(recipe: Recipe) -> None:
    loop = make_five(recipe)
    backgrounds = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.9], [0.9, 0.8, 0.7, 0.6, 0.0]])
    batch = batch_of(loop, [0, 1], backgrounds)
    images = loop.shape.images(batch).detach()
    assert images.shape == (2, 5, 24, 24) and width(loop.shape.channels) == 5
    coverage = torch.stack([view.gbuffer.coverage for view in batch.views])[:, None]
    error = float((images - (0.5 * coverage + (1 - coverage) * backgrounds[:, :, None, None])).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-3")
    assert error < 1e-3
    assert loop.views.draw(0).backgrounds.shape == (2, 5)


def test_compositing_keeps_channels_apart() -> None:
    loop = make_five(RECIPE)
    views, black = loop.views.pool[:2], torch.zeros(2, 5)
    count = sum(len(view.gbuffer.position) for view in views)
    values = torch.rand(count, 5, generator=torch.Generator().manual_seed(1))
    together = composite(views, values, black)
    alone = torch.cat([composite(views, values[:, k : k + 1], black[:, :1]) for k in range(5)], dim=1)
    assert together.shape == (2, 5, 24, 24) and torch.allclose(together, alone, atol=1e-6)


def test_a_trained_field_reaches_the_fixed_point_of_each_channel_down_to_its_texels(tmp_path: Path) -> None:
    loop = run(make_five(RECIPE), tmp_path)
    means = torch.from_numpy(baked(loop, 0.005)).mean(0)
    print(f"baked {means.tolist()}, expected {FIXED_POINT.tolist()}, tolerance 0.04")
    # Pixels at the silhouette, part of them background, ask the surface for more.
    assert float((means - FIXED_POINT).abs().max()) < 0.04


def test_a_fitted_field_becomes_the_sample_in_each_channel(tmp_path: Path) -> None:
    """From the noise N of one view it ends at mean + deviation * N, as in ``test_sample``."""
    one_view = {"iterations": 200, "views_per_step": 1, "view_pool": 1, "albedo": (0.0, 1.0)}
    loop = run(make_five(overridden(SAMPLING, one_view)), tmp_path)
    batch, blank = batch_of(loop, [0]), torch.zeros(1, 5, 24, 24)
    inside = (batch.views[0].gbuffer.coverage == 1).nonzero(as_tuple=True)
    image = loop.shape.images(batch)[0][:, inside[0], inside[1]]
    _, noise = loop.mover.noise(batch, blank, blank, 0)
    wanted = (MEANS[:, None] + 0.5 * noise[0][:, inside[0], inside[1]]).clamp(0, 1)
    likeness = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(image, wanted, strict=True)]
    other = float(torch.corrcoef(torch.stack([image[0], image[4]]))[0, 1])
    distance = float((image - wanted).abs().mean())
    print(f"correlations {likeness} (at least 0.97), distance {distance:.3f} (at most 0.06); two channels {other:.2f}")
    assert min(likeness) > 0.97 and distance < 0.06 and abs(other) < 0.3
    assert baked(loop, 0.03).std(axis=0).min() > 0.05


@pytest.mark.parametrize("recipe", [RECIPE, SAMPLING], ids=["trained", "fitted"])
def test_five_channels_are_resumed_and_three_do_not_take_their_place(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = overridden(recipe, {"iterations": 4, "pixel_clip": 3.0})
    whole = run(make_five(recipe), tmp_path / "none")
    run(make_five(recipe), tmp_path, until=2)
    second = make_five(recipe)
    load_checkpoint(tmp_path, second)
    assert torch.equal(colors(run(second, tmp_path)), colors(whole))
    monkeypatch.setattr(assembly, "CHANNELS", (BASE_COLOR,))
    with pytest.raises(JobFailure, match="damaged or of another job"):
        load_checkpoint(tmp_path, make_five(recipe))
