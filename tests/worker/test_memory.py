"""The memory policy: its numbers for Stable Diffusion 1.5, and that smaller pieces give the same step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from csd_addon.core.recipe import Recipe
from csd_addon.core.resolving import overridden
from csd_addon.core.views import View
from csd_addon.jobs.folder import JobFolder
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.method.loop import Loop
from csd_addon.worker.method.pullback import Encoded, clip_pixels
from csd_addon.worker.serve.control import JobFailure, is_out_of_memory
from csd_addon.worker.serve.process import _as_message
from csd_addon.worker.shape.appearance import NewTexture
from csd_addon.worker.teacher import memory
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from csd_addon.worker.teacher.interface import ROWS, Conditioning
from csd_addon.worker.teacher.loading import Networks, load_networks
from csd_addon.worker.teacher.memory import Need, Plan, fit, ladder, smaller
from tests.worker.test_loop import RECIPE, colors, make_pool
from tests.worker.test_teacher import CPU, inputs, save_tiny

GB = 10**9
# Stable Diffusion 1.5 with two ControlNets in 16 bits: UNet, two ControlNets, autoencoder, text encoder.
WEIGHTS = 1_719_125_304 + 2 * 722_598_642 + 167_335_342 + 246_144_864


def sd15(views: int, rows: int = 3) -> Need:
    return Need.of(
        views=views, rows=rows, resolution=512, supersample=1, latent=64, element=2, weights=WEIGHTS,
        text_weights=246_144_864, encoder_width=128, unet_width=320, field_parameters=12_600_000,
        tiles=True,
    )  # fmt: skip


SAVED = {"text_on_cpu": True}
LAST = {**SAVED, "recompute": True, "tile": 256}


@pytest.mark.parametrize(
    ("card", "views", "expected"),
    [(24, 4, Plan(12, 4)), (24, 8, Plan(8, 8, **SAVED)), (12, 1, Plan(3, 1)), (12, 4, Plan(4, 2, **SAVED)),
     (8, 1, Plan(3, 1)), (8, 4, Plan(4, 1, recompute=True, **SAVED)), (6, 1, Plan(1, 1, **LAST)),
     (6, 4, Plan(2, 1, **LAST))],
)  # fmt: skip
def test_profiles_of_graphics_cards(card: int, views: int, expected: Plan) -> None:
    need, free = sd15(views), (card - 0.5) * GB  # the desktop takes its share
    for plan in ladder(need):
        print(f"{card} GB, {views} views: {need.bytes(plan) / GB:.2f} GB with {plan.words()}")
    assert fit(need, int(free)) == expected
    assert need.bytes(expected) <= memory.SAFETY * free or (card, views) == (6, 4)


def test_the_larger_consumer_gives_first() -> None:
    plans = ladder(sd15(4))
    assert plans == [
        Plan(12, 4), Plan(12, 4, **SAVED), Plan(4, 4, **SAVED), Plan(4, 2, **SAVED), Plan(4, 1, **SAVED),
        Plan(4, 1, recompute=True, **SAVED), Plan(4, 1, **LAST), Plan(2, 1, **LAST),
    ]  # fmt: skip
    many_samples = replace(sd15(4), noise=sd15(4).encoder)
    assert Plan(2, 2, **SAVED) in ladder(many_samples), "the noise is the larger one there"
    assert ladder(replace(sd15(4), tile=0))[-1] == Plan(4, 1, recompute=True, **SAVED)


def test_small_images_are_never_cut_into_tiles() -> None:
    sizes = {"views": 1, "rows": 3, "supersample": 1, "latent": 8, "element": 2, "weights": 0, "text_weights": 0,
             "encoder_width": 128, "unet_width": 320, "field_parameters": 0}  # fmt: skip
    edges = {edge: Need.of(**sizes, resolution=edge, tiles=True).tile for edge in (64, 480, 512, 768)}
    assert edges == {64: 0, 480: 0, 512: 256, 768: 384} and Need.of(**sizes, resolution=512).tile == 0


def test_every_rung_takes_less_than_the_one_above() -> None:
    for views in (1, 2, 4, 5, 8):
        for rows in (1, 2, 3):
            need = sd15(views, rows)
            sizes = [need.bytes(plan) for plan in ladder(need)]
            assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)


def test_what_fits_nowhere_gets_the_last_rung_and_what_is_unknown_the_first() -> None:
    need = sd15(4)
    plans = ladder(need)
    assert fit(need, 10**9) == plans[-1] and fit(need, None) == plans[0]
    assert smaller(plans[-1], need) is None and smaller(plans[0], need) == plans[1]


def test_signs_of_a_full_memory() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value), "the real message of this torch"
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError())
    on_a_mac = RuntimeError("MPS backend out of memory (MPS allocated: 17.03 GB, other allocations: 1.05 GB)")
    assert is_out_of_memory(on_a_mac)
    assert [_as_message(e, JobFolder(Path())).kind for e in (on_a_mac, caught.value)] == ["memory"] * 2


def test_what_torch_holds_without_using_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GB, 12 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4 * GB)
    assert memory.free_bytes(torch.device("cuda")) == 4 * GB
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * GB)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 4 * GB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 9 * GB)
    assert memory.free_bytes(torch.device("mps")) == 8 * GB


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_what_torch_holds_without_using_it_is_given_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for backend in ("cuda", "mps"):
        monkeypatch.setattr(getattr(torch, backend), "empty_cache", lambda name=backend: asked.append(name))
    memory.empty_cache(torch.device(kind))
    memory.empty_cache(torch.device("cpu"))
    assert asked == [kind]


# --- The same numbers in smaller pieces --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


# Every kind of piece for two views and three rows.
TINY = [Plan(6, 2), Plan(2, 2, text_on_cpu=True), Plan(1, 1), Plan(1, 1, recompute=True, text_on_cpu=True)]


@pytest.fixture
def networks(folder: Path) -> Networks:
    return load_networks({"root": str(folder)}, torch.float32, ("depth", "canny"))


@pytest.fixture
def teacher(networks: Networks, folder: Path) -> DiffusionTeacher:
    return DiffusionTeacher.of(networks, folder, CPU, torch.float32)


def told(prompts: dict[str, list[str]], scales: tuple[float, float], *, share: bool) -> Conditioning:
    """What the teacher is told of the two images of ``inputs``. share: whether all rows share the residuals."""
    images = dict(zip(("depth", "canny"), inputs()[2], strict=True))
    return Conditioning(
        prompts, images, dict(zip(images, scales, strict=True)), cameras=[View(0, 0, 4, 35)] * 2, share_control=share
    )


def test_noise_in_pieces_equals_noise_at_once(teacher: DiffusionTeacher) -> None:
    images, t, _ = inputs()
    x, prompts = teacher.encode(images), {"text": ["a", "b"], "negative": ["red", "brick"], "null": ["", ""]}

    def noise(share: bool) -> torch.Tensor:
        predicted = teacher.predict_noise(x, t, told(prompts, (1.0, 0.5), share=share), ROWS)
        return torch.cat([predicted[row] for row in ROWS])

    whole = {share: noise(share) for share in (False, True)}
    for plan in TINY:
        teacher.adopt(plan)
        for share, expected in whole.items():
            error = float((noise(share) - expected).abs().max())
            print(f"{plan.noise_batch} at a time, {3 if share else 1} rows shared: {error:.1e}, tolerance 1e-5")
            assert error < 1e-5


def test_shared_residuals_are_exact_for_the_first_row_alone(teacher: DiffusionTeacher) -> None:
    images, t, _ = inputs()
    x, prompts = teacher.encode(images), {"text": ["red brick"] * 2, "null": [""] * 2}
    own, shared = (
        teacher.predict_noise(x, t, told(prompts, (1.0, 1.0), share=share), ("text", "null")) for share in (False, True)
    )
    assert torch.allclose(own["text"], shared["text"], atol=1e-5)
    difference = float((own["null"] - shared["null"]).abs().max())
    assert difference > 1e-4, "the other row hears another prompt's residuals"


def test_images_without_a_gradient_are_encoded_in_pieces(teacher: DiffusionTeacher, networks: Networks) -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    whole = teacher.encode(images).detach()
    honest, sizes = networks.vae.encode, []

    def encode(pixels):
        sizes.append(len(pixels))
        return honest(pixels)

    networks.vae.encode = encode
    for plan, expected in ((None, [3]), (Plan(9, 2), [2, 1])):
        sizes.clear()
        if plan:
            teacher.adopt(plan)
        still = teacher.encode_still(images)
        error = float((still - whole).abs().max())
        print(f"{sizes} at a time: {error:.1e}, tolerance 1e-5")
        assert sizes == expected and error < 1e-5 and not still.requires_grad


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("piece", [1, 2, 3])
def test_pull_back_in_pieces_equals_plain_backward(
    teacher: DiffusionTeacher, networks: Networks, piece: int, recompute: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 64, 64, generator=generator, requires_grad=True)
    g = torch.randn(3, 4, 8, 8, generator=generator) * 1e-6
    x = teacher.encode(images)
    x.backward(g)
    teacher.adopt(Plan(3, piece, recompute))
    encoded = Encoded(teacher.encode, images, piece)
    pixels = encoded.pull_back(g)
    error = float((pixels - images.grad).abs().max() / images.grad.abs().max())
    print(f"{piece} views at a time, recompute {recompute}: relative error {error:.1e}, tolerance 1e-5")
    assert error < 1e-5 and torch.allclose(encoded.x, x, atol=1e-6) and not encoded.x.requires_grad
    assert networks.vae.encoder.gradient_checkpointing == recompute


@pytest.mark.parametrize("piece", [1, 3])
def test_a_linear_encoder_gives_the_pixels_its_transpose(piece: int) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(10, 3 * 4 * 4, generator=generator, dtype=torch.float64)
    images, g = (torch.rand(3, *shape, generator=generator, dtype=torch.float64) for shape in ((3, 4, 4), (10,)))
    pixels = Encoded(lambda part: part.flatten(1) @ matrix.T, images, piece).pull_back(g)
    error = float((pixels.flatten(1) - g @ matrix).abs().max())
    print(f"largest difference from W^T g: {error:.1e}, tolerance 1e-12")
    assert error < 1e-12


def test_tiles_are_another_x_with_its_own_exact_gradient(teacher: DiffusionTeacher) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 128, 128, generator=generator)
    whole = teacher.encode(images)
    teacher.adopt(Plan(6, 1, recompute=True, tile=64))
    encoded = Encoded(teacher.encode, images, 1)
    difference = float((encoded.x - whole).square().mean().sqrt() / whole.std())
    print(f"{difference:.3f} of the spread of x, from 1e-4 to 0.8 (random weights)")
    assert encoded.x.shape == whole.shape and 1e-4 < difference < 0.8
    g, direction = (torch.randn(shape, generator=generator) for shape in (whole.shape, images.shape))
    analytic = float((encoded.pull_back(g) * direction).sum())
    with torch.no_grad():
        ends = [float((teacher.encode(images + h * direction) * g).sum()) for h in (1e-3, -1e-3)]
    numeric = (ends[0] - ends[1]) / 2e-3
    print(f"analytic {analytic:.5f}, numeric {numeric:.5f}, tolerance 2 %")
    assert numeric == pytest.approx(analytic, rel=0.02, abs=1e-3)
    teacher.adopt(Plan(6, 2))
    assert torch.equal(teacher.encode(images), whole)


def test_a_small_gradient_survives_half_precision() -> None:
    def encode(images: torch.Tensor) -> torch.Tensor:
        return (images.half() * 0.5).float()

    images = torch.rand(1, 3, 8, 8)
    g = torch.full_like(images, 1e-9)
    pixels = Encoded(encode, images, 1).pull_back(g)
    assert torch.allclose(pixels, g / 2, rtol=1e-3, atol=0), "1e-9 is 0 in float16"


def test_clipping_keeps_directions_and_never_raises_a_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(2, 3, 16, 16, generator=generator)
    gradient[:, :, 0, 0] *= 50
    gradient[:, :, :, 8:] = 0  # background: it does not count for the RMS
    clipped = clip_pixels(gradient, 3.0)
    before, after = gradient.norm(dim=1), clipped.norm(dim=1)
    rms = gradient[0, :, :, :8].square().mean().sqrt()
    print(f"largest channel {float(clipped[0].abs().max()):.3f}, limit {float(3 * rms):.3f}")
    assert (after <= before * (1 + 1e-6)).all()
    assert float(clipped[0].abs().max()) == pytest.approx(float(3 * rms), rel=1e-5)
    cosine = torch.nn.functional.cosine_similarity(gradient[:, :, :, :8], clipped[:, :, :, :8], dim=1)
    assert torch.allclose(cosine, torch.ones_like(cosine), atol=1e-5)
    small = gradient.abs().amax(1) <= 3 * rms
    assert torch.equal(clipped.permute(0, 2, 3, 1)[small], gradient.permute(0, 2, 3, 1)[small])
    assert torch.equal(clip_pixels(gradient, 0), gradient) and not clip_pixels(gradient * 0, 3).any()


def test_clipping_is_relative_to_all_channels_that_there_are() -> None:
    gradient = torch.ones(1, 5, 8, 8)
    gradient[:, :, 0, 0] = 100
    limit = 2 * gradient.square().mean().sqrt()
    largest = float(clip_pixels(gradient, 2.0).max())
    print(f"largest {largest:.4f}, limit {float(limit):.4f}")
    assert largest == pytest.approx(float(limit), rel=1e-5)


# --- The loop ----------------------------------------------------------------------------------------------------

SMALL = overridden(
    RECIPE,
    {"iterations": 4, "resolution": 64, "views_per_step": 3, "view_pool": 6, "weighting": "sigma2", "negative": "ugly",
     "w2": (0.0, 1.0, 0.5, 1.0), "levels": 3, "table_log2": 8},
)  # fmt: skip


def make_loop(teacher: DiffusionTeacher, recipe: Recipe = SMALL) -> Loop:
    generator = torch.Generator().manual_seed(0)
    pool = [
        replace(view, conditions={name: view.conditions["depth"].half() for name in ("depth", "canny")})
        for view in make_pool(generator, recipe)
    ]
    return assemble(
        teacher, pool, NewTexture(recipe), recipe, Words("red brick", "ugly"), loss="csd", generator=generator
    )


def after(loop: Loop, steps: int) -> torch.Tensor:
    for _ in range(steps):
        assert loop.step()
    return colors(loop)


def test_every_rung_of_the_ladder_makes_the_same_step(teacher: DiffusionTeacher) -> None:
    whole = after(make_loop(teacher), 1)
    loop = make_loop(teacher)
    need = loop.need
    print(f"{need.bytes(ladder(need)[0]) / 1e6:.0f} MB estimated for the tiny teacher")
    assert (need.views, need.rows) == (3, 3)
    for plan in ladder(need):
        loop = make_loop(teacher)
        loop.work_in(plan)
        error = float((after(loop, 1) - whole).abs().max())
        print(f"{plan.words()}: {error:.1e}, tolerance 1e-4")
        # Adam's first step is the sign of the gradient, so rounding may show a little.
        assert error < 1e-4


def test_when_the_memory_runs_out_the_same_step_is_made_in_smaller_pieces(
    teacher: DiffusionTeacher, networks: Networks
) -> None:
    expected = after(make_loop(teacher), 3)
    loop = make_loop(teacher)
    loop.work_in(ladder(loop.need)[0])
    honest, refused = networks.unet.forward, []

    def forward(x, *arguments, **options):
        if len(x) > 3 and loop.iteration >= 1:
            refused.append(len(x))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return honest(x, *arguments, **options)

    networks.unet.forward = forward
    found = after(loop, 3)
    error = float((found - expected).abs().max())
    print(f"refused batches {refused}; {loop.notes}; difference from the whole run {error:.1e}, tolerance 1e-3")
    assert refused == [9, 9] and len(loop.notes) == 2 and error < 1e-3
    assert loop.notes[0].startswith("The memory ran out at step 2; it goes on with")
    assert teacher.plan == Plan(3, 3, text_on_cpu=True)


def test_when_nothing_is_left_to_save_it_is_said(teacher: DiffusionTeacher, networks: Networks) -> None:
    loop = make_loop(teacher)
    loop.work_in(ladder(loop.need)[0])
    before = colors(loop)

    def forward(*arguments, **options):
        raise MemoryError

    networks.unet.forward = forward
    with pytest.raises(JobFailure, match="does not suffice for one view of a step: .*'resolution'") as caught:
        loop.step()
    assert caught.value.kind == "memory" and teacher.plan == ladder(loop.need)[-1]
    assert torch.equal(colors(loop), before)


def test_another_error_is_not_taken_for_a_full_memory(teacher: DiffusionTeacher, networks: Networks) -> None:
    loop = make_loop(teacher)
    loop.work_in(ladder(loop.need)[0])

    def forward(*arguments, **options):
        raise RuntimeError("shapes differ")

    networks.unet.forward = forward
    with pytest.raises(RuntimeError, match="shapes differ"):
        loop.step()
    assert not loop.notes


def test_the_estimate_knows_the_sizes_of_the_networks(teacher: DiffusionTeacher) -> None:
    need = make_loop(teacher).need
    assert need.weights == teacher.held() and 0 < need.text_weights < need.weights
    assert memory.free_bytes(torch.device("cpu")) > 10**8
