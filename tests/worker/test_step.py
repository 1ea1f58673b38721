"""One step through true diffusers networks: who sees what, in which order, and what of it reaches the field."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from csd_addon.core.resolving import overridden
from csd_addon.core.views import View
from csd_addon.worker.run.checkpoint import load_checkpoint
from csd_addon.worker.teacher.diffusion import DiffusionTeacher, to_noise
from csd_addon.worker.teacher.interface import Conditioning
from csd_addon.worker.teacher.loading import Networks, load_networks
from tests.worker.test_loop import colors, run
from tests.worker.test_memory import SMALL, make_loop
from tests.worker.test_teacher import CPU, inputs, save_tiny

# With w1 = w2 the row without a prompt would not be evaluated.
THREE_ROWS = overridden(SMALL, {"w2": 0.5})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


@pytest.fixture
def networks(folder: Path) -> Networks:
    return networks_in(folder)


@pytest.fixture
def teacher(networks: Networks, folder: Path) -> DiffusionTeacher:
    return DiffusionTeacher.of(networks, folder, CPU, torch.float32)


def networks_in(folder: Path) -> Networks:
    return load_networks({"root": str(folder)}, torch.float32, ("depth", "canny"))


class Ear:
    """Stands before a network's ``forward`` and notes what it is given."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.heard: list[dict] = []
        self._forward = network.forward
        network.forward = self  # type: ignore[method-assign]

    def __call__(self, x: torch.Tensor, t: torch.Tensor, **options):
        self.heard.append({"x": x.clone(), "t": t.clone(), **options})
        return self._forward(x, t, **options)


def test_every_row_and_every_network_gets_its_own_input(teacher: DiffusionTeacher, networks: Networks) -> None:
    recipe = overridden(THREE_ROWS, {"control_depth": (0.5, 1.0, 0.8, 0.5), "control_canny": 0.6})
    loop = make_loop(teacher, recipe)
    unet, nets = Ear(networks.unet), [Ear(net) for net in networks.controlnets.values()]
    loop.step()
    (heard,) = unet.heard
    text, negative, null = heard["x"].chunk(3)
    assert len(heard["x"]) == 9 and torch.equal(text, negative) and torch.equal(text, null)
    assert torch.equal(heard["t"], heard["t"][:3].repeat(3)), "each view has its step, each row the same ones"
    words = heard["encoder_hidden_states"]
    expected = torch.cat([teacher.embed([w] * 3) for w in ("red brick", "ugly", "")])
    assert torch.equal(words, expected), "text, negative, null"
    for net, scale in zip(nets, (1.0, 0.6), strict=True):
        (control,) = net.heard
        images = control["controlnet_cond"]
        assert images.shape == (9, 3, 64, 64) and torch.equal(images, images[:3].repeat(3, 1, 1, 1))
        assert torch.equal(control["x"], heard["x"]) and torch.equal(control["t"], heard["t"])
        assert torch.equal(control["encoder_hidden_states"], words) and control["conditioning_scale"] == scale
    loop.step(), loop.step()
    assert [control["conditioning_scale"] for control in nets[0].heard] == [1.0, 1.0, 0.8], "annealed at half-time"


def test_residuals_of_both_networks_are_summed(teacher: DiffusionTeacher, networks: Networks) -> None:
    loop = make_loop(teacher)
    unet, answers = Ear(networks.unet), []
    for net in networks.controlnets.values():
        net.register_forward_hook(lambda module, given, answer: answers.append(answer))
    loop.step()
    (heard,) = unet.heard
    (down_a, middle_a), (down_b, middle_b) = answers
    assert torch.equal(heard["mid_block_additional_residual"], middle_a + middle_b)
    for got, a, b in zip(heard["down_block_additional_residuals"], down_a, down_b, strict=True):
        assert torch.equal(got, a + b)


def test_shared_rows_ask_the_controlnets_once_for_each_view(teacher: DiffusionTeacher, networks: Networks) -> None:
    loop = make_loop(teacher, overridden(THREE_ROWS, {"share_control": True}))
    unet, nets = Ear(networks.unet), [Ear(net) for net in networks.controlnets.values()]
    assert loop.step()
    assert len(unet.heard[0]["x"]) == 9 and [len(net.heard[0]["x"]) for net in nets] == [3, 3]
    residual = unet.heard[0]["mid_block_additional_residual"]
    assert torch.equal(residual, residual[:3].repeat(3, 1, 1, 1))


def test_v_prediction_is_converted_on_the_true_road(tmp_path: Path) -> None:
    networks = networks_in(save_tiny(tmp_path, prediction="v_prediction"))
    teacher = DiffusionTeacher.of(networks, tmp_path, CPU, torch.float32)
    images, t, conditions = inputs()
    x, texts = teacher.encode(images), ["red brick", ""]
    abar = teacher.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    rounded, words = x.to(teacher.noise_dtype), teacher.embed(texts).to(teacher.noise_dtype)
    v = networks.unet(rounded, t, encoder_hidden_states=words).sample.float()
    expected = abar.sqrt() * v + (1 - abar).sqrt() * x
    named = dict(zip(("depth", "canny"), conditions, strict=True))
    told = Conditioning({"text": texts}, named, dict.fromkeys(named, 0.0), cameras=[View(0, 0, 4, 35)] * 2)
    found = teacher.predict_noise(x, t, told, ("text",))["text"]
    error = float((found - expected).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-6")
    assert error < 1e-6 and torch.equal(to_noise(v, x, abar.flatten(), "v_prediction"), expected)


def test_a_resumed_run_is_the_same_run_bit_for_bit(teacher: DiffusionTeacher, tmp_path: Path) -> None:
    whole = run(make_loop(teacher), tmp_path)
    first = run(make_loop(teacher), tmp_path, until=2)
    second = make_loop(teacher)
    load_checkpoint(tmp_path, second)
    run(second, tmp_path)
    assert first.iteration == 2 and second.iteration == whole.iteration == 4
    print(f"largest difference {float((colors(second) - colors(whole)).abs().max()):.1e}, tolerance 0")
    assert torch.equal(colors(second), colors(whole))


def test_clipping_pixels_reaches_the_field(teacher: DiffusionTeacher) -> None:
    def grid_gradient(limit: float) -> torch.Tensor:
        loop = make_loop(teacher, overridden(SMALL, {"pixel_clip": limit}))
        loop.step()
        return torch.cat([p.grad.flatten() for p in loop.shape.parameter_groups()["grid"]])

    free, wide, tight = grid_gradient(0.0), grid_gradient(1e6), grid_gradient(0.5)
    assert torch.equal(free, wide)
    assert 0 < float(tight.norm()) < float(free.norm())
