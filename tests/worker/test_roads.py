"""The method on true diffusers networks from each source: a folder, a single file with ControlNets, the hub's cache.

The identities are those that ``test_score`` proves for any predictions. Here tiny random
Stable Diffusion networks with two ControlNets make them, through the same call that the loop uses.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from csd_addon.core.resolving import overridden
from csd_addon.runtime.paths import Paths
from csd_addon.runtime.teachers.catalogue import find_teacher
from csd_addon.runtime.teachers.remote import SD15, SD15_CANNY, SD15_DEPTH
from csd_addon.worker.method import score
from csd_addon.worker.run.checkpoint import load_checkpoint
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from tests.worker.original_layout import write_controlnet, write_single_file
from tests.worker.test_loop import colors, run
from tests.worker.test_memory import SMALL, make_loop
from tests.worker.test_sources import as_strings
from tests.worker.test_teacher import CPU, inputs, load, save_tiny, told

W = 7.5
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


@pytest.fixture(scope="module", params=["folder", "file", "cache"])
def teacher(request, folder: Path, tmp_path_factory) -> DiffusionTeacher:
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "folder":
        return load(folder)
    if request.param == "file":
        file = write_single_file(folder, place / "model.safetensors")
        for kind, name in {"depth": "control_v11f1p_sd15_depth", "canny": "control_v11p_sd15_canny"}.items():
            write_controlnet(folder / f"controlnet_{kind}", place / f"{name}.safetensors")
        found = {**as_strings(find_teacher(str(file), Paths(place / "home"))), "outline": str(place / "outline")}
        return DiffusionTeacher(found, CPU, torch.float32, use=("depth", "canny"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(place))
        for repository, part in {SD15: "", SD15_DEPTH: "controlnet_depth", SD15_CANNY: "controlnet_canny"}.items():
            snapshot = place / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc"
            ignore = shutil.ignore_patterns("controlnet_*")
            shutil.copytree(folder / part, snapshot, ignore=ignore, symlinks=False)
        found = as_strings(find_teacher("sd15", Paths(place / "home")))
    return DiffusionTeacher(found, CPU, torch.float32, use=("depth", "canny"))


def gradient(
    teacher: DiffusionTeacher, coefficients: score.Coefficients, **words: str
) -> tuple[torch.Tensor, dict[str, float]]:
    """g and its norms for two images under both ControlNets."""
    images, t, conditions = inputs()
    x = teacher.encode(images)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    texts = {"text": "red brick", "negative": "plain gray", "null": "", **words}
    given = told({row: [texts[row]] * 2 for row in coefficients.rows()}, conditions, [1.0, 0.7])
    return score.score_gradient(teacher, x, t, noise, coefficients=coefficients, told=given, weighting="sigma2")


def assert_same(a: torch.Tensor, b: torch.Tensor) -> None:
    error, size = float((a - b).abs().max()), float(b.abs().max())
    print(f"largest difference {error:.1e} of {size:.2f}, tolerance {TOLERANCE}")
    assert error < TOLERANCE * max(size, 1) and size > 1e-3


def test_identities_hold_for_its_predictions(teacher: DiffusionTeacher) -> None:
    def g(coefficients: score.Coefficients, **words: str) -> torch.Tensor:
        return gradient(teacher, coefficients, **words)[0]

    classifier, generative = g(score.csd()), g(score.Coefficients(text=1, noise=-1))
    negative = g(score.csd(), text="plain gray")
    assert_same(g(score.sds(W)), generative + W * classifier)  # 8
    assert_same(g(score.csd(1, 1)), classifier - negative)  # 9
    assert_same(g(score.csd(1.3, 0.4)), 1.3 * classifier - 0.4 * negative)  # 10
    assert_same(g(score.csd(1, 0)), classifier)  # 11
    edited, source = score.dds(W, 1.0)
    assert_same(g(edited) + g(source), g(score.csd(W, W)))  # 13: at the source image
    assert_same(g(score.csd(1, 0.5, 0.05)), g(score.csd(1, 0.5)) + 0.05 * generative)  # 14
    assert_same(g(score.Coefficients(text=W, negative=-1, null=1 - W)), g(score.csd(W, 1)))  # 15: NFSD
    assert_same(g(score.Coefficients(text=W + 1, null=-W, noise=-1)), g(score.sds(W)))  # 16: s = w + 1


def test_only_rows_with_a_weight_are_evaluated(teacher: DiffusionTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    honest = UNet2DConditionModel.forward

    def forward(network: UNet2DConditionModel, x: torch.Tensor, *given, **named):
        sizes.append(len(x))
        return honest(network, x, *given, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    for coefficients in (score.csd(), score.csd(1, 1), score.csd(1, 0.5), score.Coefficients(text=1, noise=-1)):
        gradient(teacher, coefficients)
    assert sizes == [4, 4, 6, 2], "two views for each row"


def test_norms_are_those_of_the_parts(teacher: DiffusionTeacher) -> None:
    _, norms = gradient(teacher, score.csd(1, 0.5))
    unweighted = [score.Coefficients(text=1, noise=-1), score.csd()]
    images, t, _ = inputs()
    w = (1 - teacher.alphas_cumprod[t]).reshape(-1, 1, 1, 1)
    expected = [float((gradient(teacher, c)[0] / w).square().mean().sqrt()) for c in unweighted]
    print(f"{norms} against {expected}, tolerance 1e-4")
    assert [norms["generative"], norms["classifier"]] == pytest.approx(expected, rel=1e-4)


def test_a_run_is_the_same_run_whatever_the_source(teacher: DiffusionTeacher, folder: Path, tmp_path: Path) -> None:
    recipe = overridden(SMALL, {"w2": 0.5})
    here, there = (run(make_loop(each, recipe), tmp_path) for each in (teacher, load(folder)))
    difference = float((colors(here) - colors(there)).abs().max())
    print(f"{here.iteration} steps: largest difference from the folder's run {difference:.1e}, tolerance 0")
    assert here.iteration == 4 and difference == 0
    assert float((colors(here) - 0.5).abs().max()) > 1e-3, "and it has moved"


def test_a_resumed_run_is_the_same_run(teacher: DiffusionTeacher, tmp_path: Path) -> None:
    whole, first, second = (make_loop(teacher) for _ in range(3))
    run(whole, tmp_path)
    run(first, tmp_path, until=2)
    load_checkpoint(tmp_path, second)
    run(second, tmp_path)
    assert torch.equal(colors(second), colors(whole))
