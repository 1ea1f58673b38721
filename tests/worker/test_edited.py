"""Editing with a teacher whose score is known in closed form: exact at first, in the predicted place at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from csd_addon.core.color import encode_srgb
from csd_addon.core.mesh import MeshData, Normalization
from csd_addon.core.recipe import Change, Distill, Field, Guide, Paint, Recipe, Run, Sample, Views, constant
from csd_addon.core.resolving import overridden
from csd_addon.core.source import EditSource, Tile
from csd_addon.worker.bake.bake import build_atlas
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.method import score
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.run.checkpoint import load_checkpoint, save_checkpoint
from csd_addon.worker.shape.bake_edit import bake_edit
from csd_addon.worker.shape.canvas import Texture
from csd_addon.worker.shape.edited import EditedTexture, source_in_view
from csd_addon.worker.teacher.gaussian import gaussian_noise
from csd_addon.worker.teacher.interface import Conditioning
from tests import shapes
from tests.worker.test_loop import PixelTeacher, batch_of, run

RECIPE = Recipe(
    Run(iterations=120),
    Views(view_words=False, resolution=24, supersample=2, views_per_step=2, view_pool=16, close_up_share=0.0),
    Field(levels=4, table_log2=10, coarsest=2, finest=12, albedo=(0.06, 0.94)),
    Guide(),
    Distill(
        w1=constant(1.0), w2=constant(1.0), kappa=constant(1.0), weighting="uniform", t_min=constant(0.02),
        t_max=constant(0.5), rate_grid=0.01, rate_mlp=0.01, rate_factor=(0.6, 1.0, 0.1, 1.0),
    ),
    Change(),
)  # fmt: skip
SHORT = overridden(RECIPE, {"iterations": 12})
# The teacher's mean colours under each prompt; the deviation is the same, which makes all predictions exact.
MEANS = {"target": 0.55, "removed": 0.45, "": 0.5}
DEVIATION = 0.5
SIZE = 48
MESH = shapes.torus(24, 12)


class WordTeacher(PixelTeacher):
    """Gaussian in pixels, around a grey that the prompt names; remembers the means of all samples of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.means: list[list[float]] = []

    def predict_noise(self, x_t, t, told, rows):
        abar = self.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        means = {row: [MEANS[text] for text in told.prompts[row]] for row in rows}
        self.means.append([mean for row in rows for mean in means[row]])
        return {
            row: gaussian_noise(x_t, abar, torch.tensor(means[row]).reshape(-1, 1, 1, 1), DEVIATION) for row in rows
        }


def pixels_of(shape=(SIZE, SIZE)) -> np.ndarray:
    """Fine random bricks in the middle of the range, 8-bit numbers, with an alpha of their own."""
    generator = np.random.default_rng(0)
    bricks = generator.uniform(0.4, 0.6, (shape[0] // 4, shape[1] // 4, 4)).repeat(4, axis=0).repeat(4, axis=1)
    return (np.round(bricks * 255) / 255).astype(np.float32)


def source_of(
    mesh: MeshData = MESH, *, shown: np.ndarray | None = None, corner_mask: np.ndarray | None = None, **changes
) -> EditSource:
    """shown: (T,) bool, the faces that show the image."""
    count = len(mesh.triangles)
    number = np.where(np.ones(count, bool) if shown is None else shown, 0, -1).astype(np.int32)
    mask = np.ones((count, 3), np.float32) if corner_mask is None else corner_mask
    tile = replace(Tile(pixels_of(), False, np.ones((1, 1), np.float32)), **changes)
    return EditSource({0: tile}, number, mesh.corner_uvs, mask)


class Case:
    """An edit of ``source`` on ``mesh``, set up as a job does it."""

    def __init__(
        self, source: EditSource | None = None, recipe: Recipe = RECIPE, *, mesh: MeshData = MESH, seed: int = 0,
        loss: str = "csd",
    ) -> None:  # fmt: skip
        self.recipe = recipe
        normalization = Normalization.of(mesh.positions)
        self.texture = Texture.of(source or source_of(mesh), mesh, normalization)
        self.canvas = self.texture.canvases[0]
        self.atlas, self.pixels = self.canvas.atlas(), self.canvas.tile.pixels
        generator = torch.Generator().manual_seed(seed)
        self.pool = list(sample_pool(Surface.of(mesh, normalization), recipe.views, generator, ()))
        self.sources = [source_in_view(view, self.texture) for view in self.pool]
        self.appearance = EditedTexture(recipe, self.sources)
        self.loop = assemble(
            WordTeacher(), self.pool, self.appearance, recipe, Words("target", "removed"), loss=loss,
            generator=generator,
        )  # fmt: skip

    def run(self, folder: Path, *, until: int | None = None) -> Case:
        run(self.loop, folder, until=until)
        return self

    def colors(self, number: int) -> torch.Tensor:
        """(P, 3) what the samples of one view show."""
        with torch.no_grad():
            return self.appearance.values(self.loop.shape.field, batch_of(self.loop, [number]))

    def bake(self) -> tuple[np.ndarray, np.ndarray]:
        return bake_edit(self.loop.shape.field, self.recipe.field.albedo, self.canvas, self.atlas)

    def change(self) -> np.ndarray:
        """(n, 3) what the edit added to the encoded colours of the texels inside the charts."""
        pixels, _ = self.bake()
        return (pixels[..., :3] - self.pixels[..., :3])[self.atlas.chart]


def half(mesh: MeshData = MESH) -> np.ndarray:
    """(T, 3) a hard mask: the faces in the right half of the UV square."""
    right = mesh.corner_uvs[..., 0].mean(axis=1) > 0.5
    return np.repeat(right[:, None], 3, axis=1).astype(np.float32)


@pytest.mark.parametrize("kind", ["bytes", "light"])
@pytest.mark.parametrize("masked", [False, True])
def test_before_the_first_step_the_source_comes_back_byte_for_byte(kind: str, masked: bool) -> None:
    pixels = pixels_of()
    if kind == "light":
        pixels = np.random.default_rng(1).uniform(-0.5, 9, pixels.shape).astype(np.float32)
    mask = {"corner_mask": half()} if masked else {}
    got, changed = Case(source_of(pixels=pixels, linear=kind == "light", **mask)).bake()
    assert got.dtype == pixels.dtype and got.tobytes() == pixels.tobytes() and not changed.any()


def test_views_show_the_source_through_the_mesh() -> None:
    ramp = np.ones((SIZE, SIZE, 4), np.float32)
    ramp[..., 0] = (np.arange(SIZE) + 0.5) / SIZE
    ramp[..., 1] = 1 - (np.arange(SIZE)[:, None] + 0.5) / SIZE
    case = Case(source_of(pixels=ramp))
    view = case.pool[0]
    share, triangle = view.gbuffer.barycentric.numpy(), view.gbuffer.triangle.numpy()
    uv = np.einsum("pk,pkc->pc", share, MESH.corner_uvs[triangle])
    # Away from the chart's border, where coarse look-ups are one-sided.
    inner = ((uv > 0.2) & (uv < 0.8)).all(axis=1)
    source = case.sources[0]
    error = float(np.abs(source.values.numpy()[inner, :2] - uv[inner]).max())
    print(f"u in red and v in green, seen through the view: largest error {error:.1e}, tolerance 0.005")
    assert error < 0.005 and inner.sum() > 20 and source.shown.all()
    assert torch.equal(case.colors(0), source.values), "the image at step 0 is the source's"


def guided(recipe: Recipe) -> tuple[torch.Tensor, list[list[float]], torch.Tensor, tuple]:
    """g of the guide at the source image; the means of its rows; the image; step and noise."""
    loop = Case(recipe=recipe).loop
    generator = torch.Generator().manual_seed(1)
    batch = batch_of(loop, [0, 1], torch.rand(2, 3, generator=generator))
    x = loop.shape.images(batch).detach()
    t, noise = torch.tensor([100, 400]), torch.randn(x.shape, generator=generator)
    g, _ = loop.guide.gradient(batch, x, t, noise, 0.0)
    return g, loop.teacher.means, x, (t, noise)


def plain(x: torch.Tensor, t: torch.Tensor, noise: torch.Tensor, coefficients: score.Coefficients) -> torch.Tensor:
    """``score_gradient`` itself with the prompts of an edit."""
    texts = {"text": "target", "negative": "removed", "null": ""}
    prompts = {row: [texts[row]] * len(x) for row in coefficients.rows()}
    told = Conditioning(prompts, images={}, scales={}, cameras=())
    g, _ = score.score_gradient(
        WordTeacher(), x, t, noise, coefficients=coefficients, told=told, weighting="uniform"
    )  # fmt: skip
    return g


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    error = float((a - b).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-6; size {float(b.abs().max()):.2f}")
    assert error < 1e-6 < b.abs().max()


def test_an_edit_that_removes_nothing_is_the_classifier_score() -> None:
    g, means, x, (t, noise) = guided(overridden(RECIPE, {"w2": 0.0, "kappa": 0.0}))
    assert_same(g, plain(x, t, noise, score.Coefficients(text=1, null=-1)))
    assert means == [[0.55, 0.55, 0.5, 0.5]], "the removed prompt is not even asked"


def test_equal_weights_do_not_ask_the_empty_prompt() -> None:
    g, means, x, (t, noise) = guided(overridden(RECIPE, {"kappa": 0.0}))
    assert_same(g, plain(x, t, noise, score.Coefficients(text=1, negative=-1)))
    assert means == [[0.55, 0.55, 0.45, 0.45]]


@pytest.mark.parametrize("kappa", [0.0, 0.3])
def test_with_the_reference_the_first_step_is_an_edit_with_equal_weights(kappa: float) -> None:
    recipe = overridden(RECIPE, {"reference": True, "w1": 1.5, "w2": 0.2, "kappa": kappa})
    g, means, x, (t, noise) = guided(recipe)
    assert_same(g, plain(x, t, noise, score.csd(1.5, 1.5)))
    assert means == [[0.55, 0.55, 0.5, 0.5], [0.45, 0.45, 0.5, 0.5]], "target here, removed at the source"


@pytest.mark.parametrize(("w1", "w2"), [(1.0, 0.0), (1.0, 1.0), (1.0, 0.4), (0.7, 2.0)])
def test_the_drift_goes_to_the_target_and_away_from_the_removed(w1: float, w2: float) -> None:
    # -g = (sigma alpha / v) [w1 (target - null) - w2 (removed - null)] for equal variances, whatever x and the noise.
    g, _, _, (t, _) = guided(overridden(RECIPE, {"w1": w1, "w2": w2, "kappa": 0.0}))
    abar = WordTeacher().alphas_cumprod[t]
    factor = ((1 - abar) * abar).sqrt() / (abar * DEVIATION**2 + 1 - abar)
    expected = factor * (w1 * (0.55 - 0.5) - w2 * (0.45 - 0.5))
    error = float((-g - expected[:, None, None, None]).abs().max())
    print(f"drift {expected.tolist()}, largest error {error:.1e}, tolerance 5e-6")
    assert error < 5e-6 and (expected > 0.03).all()


def test_replacing_ends_at_the_one_colour_that_the_theory_names(tmp_path: Path) -> None:
    # target + (target - null) w1 / kappa + (null - removed) w2 / kappa.
    case = Case(recipe=overridden(RECIPE, {"iterations": 200})).run(tmp_path)
    pixels, changed = case.bake()
    inside = pixels[..., :3][case.atlas.chart]
    before = pixels_of()[..., :3][case.atlas.chart]
    print(f"mean {inside.mean():.4f}, expected 0.65 +- 0.015; spread {inside.std():.4f}, before {before.std():.4f}")
    assert inside.mean() == pytest.approx(0.65, abs=0.015) and inside.std() < before.std() / 2
    assert changed[case.atlas.chart].all()
    assert pixels[..., 3].tobytes() == case.pixels[..., 3].tobytes(), "alpha is not ours"


FALLING = (0.0, 0.999, 0.02, 1.0)
PAINTING = overridden(
    replace(
        RECIPE, edit=Paint(),
        mover=Sample(guidance=2.0, negative_weight=constant(0.0), noise_level=FALLING, noise_share=1.0, noise_cells=8),
    ),
    {"iterations": 80},
)  # fmt: skip
@pytest.mark.parametrize(("opacity", "least", "most"), [(1.0, -0.15, 0.15), (0.4, 0.25, 0.65)])
def test_painting_over_leaves_no_more_of_the_source_than_its_opacity(
    tmp_path: Path, opacity: float, least: float, most: float
) -> None:
    case = Case(recipe=overridden(PAINTING, {"opacity": opacity})).run(tmp_path)
    assert case.loop.iteration == 80, "it is painted to the last step"
    with pytest.raises(ValueError, match="'stop_share' belongs to Distillation"):
        overridden(case.recipe, {"stop_share": 1.0})
    after = case.bake()[0][..., :3][case.atlas.chart].ravel()
    before = case.pixels[..., :3][case.atlas.chart].ravel()
    slope = float(np.cov(after, before)[0, 1] / before.var())
    # The teacher wants a pattern of its own, and paint that is thin works against the old one too.
    print(f"of the source's pattern {slope:.2f} is left, expected {least} to {most}; contrast {after.std():.2f}")
    assert least < slope < most and after.std() > 0.05


@pytest.mark.parametrize("steps", [0, 5])
def test_paint_that_was_interrupted_goes_on_bit_for_bit(tmp_path: Path, steps: int) -> None:
    recipe = overridden(PAINTING, {"iterations": 12})
    whole, _ = Case(recipe=recipe).run(tmp_path / "none").bake()
    first = Case(recipe=recipe)
    if steps:
        first.run(tmp_path, until=steps)
    else:
        assert first.bake()[0].tobytes() == first.pixels.tobytes(), "before the first step nothing is painted"
        save_checkpoint(tmp_path, first.loop)
    second = Case(recipe=recipe)
    load_checkpoint(tmp_path, second.loop)
    assert second.bake()[0].tobytes() == first.bake()[0].tobytes()
    assert second.run(tmp_path).bake()[0].tobytes() == whole.tobytes()


def test_keeping_shifts_the_colours_and_leaves_the_pattern(tmp_path: Path) -> None:
    # source + (target - removed) w1 / kappa: the same everywhere. Pixels at the silhouette, half of them background,
    # ask the surface for more.
    case = Case(recipe=overridden(RECIPE, {"iterations": 200, "reference": True})).run(tmp_path)
    change, bricks = case.change(), case.pixels[..., :3][case.atlas.chart]
    print(f"change {change.mean():.4f}, expected 0.1 +- 0.01; spread {change.std():.4f}, bricks {bricks.std():.4f}")
    assert change.mean() == pytest.approx(0.1, abs=0.01) and change.std() < bricks.std() / 3


def test_outside_the_mask_not_one_byte_changes(tmp_path: Path) -> None:
    mask = half()
    pixels = np.random.default_rng(2).uniform(-0.5, 3, (SIZE, SIZE, 4)).astype(np.float32)
    case = Case(source_of(corner_mask=mask, pixels=pixels, linear=True), SHORT).run(tmp_path)
    got, changed = case.bake()
    differs = (got.view(np.uint32) != pixels.view(np.uint32)).any(axis=2)
    free = case.canvas.weight > 0
    print(f"{differs.sum()} texels differ, {(free & case.atlas.chart).sum()} may; {(~free).sum()} are kept")
    assert not (differs & ~changed).any() and (differs[free & case.atlas.chart]).mean() > 0.9
    kept = build_atlas(_faces(mask[:, 0] == 0), Normalization.of(MESH.positions), (SIZE, SIZE)).chart
    assert kept.sum() > 500 and not (differs & kept).any()
    assert not (differs & ~free & case.atlas.filled()).any()


def test_a_half_free_texel_takes_half_of_the_change(tmp_path: Path) -> None:
    case = Case(source_of(corner_mask=np.full((len(MESH.triangles), 3), 0.5, np.float32)), SHORT).run(tmp_path)
    part = case.change()
    case.canvas = replace(case.canvas, weight=np.ones_like(case.canvas.weight))
    error = float(np.abs(part - case.change() / 2).max())
    print(f"largest change {np.abs(part).max():.4f}, off by at most {error:.1e}, tolerance 1e-6")
    assert error < 1e-6 < 0.01 < np.abs(part).max()


def _faces(chosen: np.ndarray) -> MeshData:
    return MeshData(MESH.positions, MESH.triangles[chosen], MESH.corner_normals[chosen], MESH.corner_uvs[chosen])


def test_the_margin_beside_changed_texels_follows_them_and_no_other_margin_does(tmp_path: Path) -> None:
    case = Case(source_of(corner_mask=half(), pixels=pixels_of((96, 96))), SHORT).run(tmp_path)
    got, changed = case.bake()
    filled, before = case.atlas.filled(), case.pixels
    (rows,) = np.nonzero(~filled[:48, 70])
    assert len(rows) > 1, "there is a margin above the chart"
    for row in rows:
        assert changed[row, 60:80].all() and (got[row, 60:80, :3] == got[rows[-1] + 1, 60:80, :3]).all()
        assert got[row, 10:40].tobytes() == before[row, 10:40].tobytes(), "beside kept texels the margin stays too"
    margin = changed & ~filled
    assert margin.any() and got[margin][:, 3].tobytes() == before[margin][:, 3].tobytes()


def test_a_face_that_shows_another_image_never_changes(tmp_path: Path) -> None:
    # The cube's charts lie apart; faces 2 and 3 have another image.
    mesh = shapes.cube()
    shown = np.ones(12, bool)
    shown[4:8] = False
    case = Case(source_of(mesh, shown=shown), SHORT, mesh=mesh).run(tmp_path)
    got, changed = case.bake()
    normalization = Normalization.of(mesh.positions)
    other = MeshData(mesh.positions, *(v[~shown] for v in (mesh.triangles, mesh.corner_normals, mesh.corner_uvs)))
    others = build_atlas(other, normalization, (SIZE, SIZE)).chart
    center = others & np.roll(others, 6, 0) & np.roll(others, -6, 0) & np.roll(others, 6, 1) & np.roll(others, -6, 1)
    assert center.sum() > 10 and not changed[center].any()
    assert got[center].tobytes() == case.pixels[center].tobytes() and changed[case.atlas.chart].all()
    for number, (view, source) in enumerate(zip(case.pool, case.sources, strict=True)):
        elsewhere = ~shown[view.gbuffer.triangle.numpy()]
        assert (source.shown.numpy() == ~elsewhere).all() and (source.values.numpy()[elsewhere] == 0.5).all()
        assert (case.colors(number).numpy()[elsewhere] == 0.5).all()


def test_a_stronger_anchor_changes_less(tmp_path: Path) -> None:
    sizes = []
    for anchor in (0.0, 0.1, 1.0, 10.0):
        case = Case(recipe=overridden(RECIPE, {"iterations": 60, "reference": True, "anchor": anchor})).run(tmp_path)
        sizes.append(float(np.abs(case.change()).mean()))
    print(f"mean change for anchors 0, 0.1, 1 and 10: {[round(size, 4) for size in sizes]}")
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0.08 and sizes[-1] < 0.2 * sizes[0]


def test_the_anchor_weighs_the_squared_difference_of_each_view() -> None:
    case = Case(recipe=overridden(RECIPE, {"anchor": 0.7}))
    batch = batch_of(case.loop, [0, 1])
    images = case.appearance.source_images(batch)
    assert float(case.loop.shape.penalty(batch, images)) == 0
    moved = images + 0.1
    expected = 0.7 * 0.01 * images.numel() / 2
    assert float(case.loop.shape.penalty(batch, moved)) == pytest.approx(expected, rel=1e-4)


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path) -> None:
    a, b, c = (Case(recipe=SHORT, seed=seed).run(tmp_path).bake()[0].tobytes() for seed in (3, 3, 4))
    assert a == b != c


@pytest.mark.parametrize("reference", [False, True])
def test_a_resumed_edit_is_the_same_edit_bit_for_bit(tmp_path: Path, reference: bool) -> None:
    recipe = overridden(SHORT, {"reference": reference, "anchor": 0.1})
    whole, _ = Case(recipe=recipe).run(tmp_path / "none").bake()
    first = Case(recipe=recipe).run(tmp_path, until=5)
    assert first.loop.iteration == 5
    second = Case(recipe=recipe)
    load_checkpoint(tmp_path, second.loop)
    assert second.loop.iteration == 5 and second.bake()[0].tobytes() == first.bake()[0].tobytes()
    resumed, _ = second.run(tmp_path).bake()
    assert resumed.tobytes() == whole.tobytes() and resumed.tobytes() != first.bake()[0].tobytes()


def test_light_beyond_white_comes_back_where_it_is_not_edited_and_is_tamed_where_it_is(tmp_path: Path) -> None:
    pixels = np.full((SIZE, SIZE, 4), 6.0, np.float32)
    got, changed = Case(source_of(pixels=pixels, linear=True, corner_mask=half()), SHORT).run(tmp_path).bake()
    assert changed.any() and (got[~changed] == 6).all() and encode_srgb(got[changed][:, :3]).max() <= 1


def test_an_edit_that_has_settled_ends_early_and_one_that_may_not_does_not(tmp_path: Path) -> None:
    recipe = overridden(RECIPE, {"iterations": 200, "reference": True})
    stopping = Case(recipe=overridden(recipe, {"stop_share": 0.3})).run(tmp_path)
    reached = stopping.loop.iteration
    print(f"ended after {reached} of 200 steps, expected 100 to 190; change {stopping.change().mean():.4f}")
    assert 100 <= reached <= 190 and stopping.change().mean() == pytest.approx(0.1, abs=0.02)
    assert Case(recipe=overridden(SHORT, {"reference": True})).run(tmp_path).loop.iteration == SHORT.run.iterations


def test_a_resumed_edit_ends_at_the_same_step(tmp_path: Path) -> None:
    recipe = overridden(RECIPE, {"iterations": 120, "reference": True, "stop_share": 0.5})
    whole = Case(recipe=recipe).run(tmp_path)
    Case(recipe=recipe).run(tmp_path, until=40)
    second = Case(recipe=recipe)
    load_checkpoint(tmp_path, second.loop)
    assert second.run(tmp_path).loop.iteration == whole.loop.iteration < 120


def test_black_of_a_painted_mask_is_kept_between_the_charts_too(tmp_path: Path) -> None:
    painted = np.ones((SIZE, SIZE), np.float32)
    painted[:, : SIZE // 2] = 0
    pixels = pixels_of()
    got, changed = Case(source_of(painted=painted, pixels=pixels), SHORT).run(tmp_path).bake()
    black = painted == 0
    print(f"{changed[black].sum()} texels of the black half differ (0), {changed[~black].sum()} of the white one")
    assert got[black].tobytes() == pixels[black].tobytes() and changed[~black].any()


def test_the_teacher_sees_the_whole_object_changed_the_bake_a_part(tmp_path: Path) -> None:
    whole, part = (Case(source_of(corner_mask=mask), SHORT).run(tmp_path) for mask in (np.ones_like(half()), half()))
    assert torch.equal(whole.loop.shape.field.output, part.loop.shape.field.output), "masked or not, the same run"
    inside = (part.canvas.weight == 1) & part.atlas.chart
    assert inside.any() and (whole.bake()[0][inside] == part.bake()[0][inside]).all()


def test_score_distillation_knows_no_reference() -> None:
    recipe = overridden(RECIPE, {"reference": True, "sds_weight": 2.0})
    csd, sds = (Case(recipe=recipe, loss=loss).loop for loss in ("csd", "sds"))
    size = RECIPE.views.resolution
    batch, x, t = batch_of(csd, [0]), torch.rand(1, 3, size, size), torch.tensor([300])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    difference, g = (loop.guide.gradient(batch, x, t, noise, 0.0)[0] for loop in (csd, sds))
    expected = plain(x, t, noise, score.sds(2.0, negative=True))
    assert torch.equal(g, expected) and not torch.allclose(g, difference)
