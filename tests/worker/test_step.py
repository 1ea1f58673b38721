"""One step through true diffusers networks: who sees what, in which order, and what of it reaches the field."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from csd_addon.core.recipe import constant
from csd_addon.worker.serve.control import Control
from csd_addon.worker.teacher.diffusion import DiffusionTeacher, to_noise
from tests.worker.test_memory import SMALL, make_loop
from tests.worker.test_synthesis import colors
from tests.worker.test_teacher import inputs, load, save_tiny

# With w1 = w2 the row without a prompt would not be evaluated.
THREE_ROWS = replace(SMALL, w2=constant(0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


@pytest.fixture
def teacher(folder: Path) -> DiffusionTeacher:
    return load(folder)


class Ear:
    """Stands before a network's ``forward`` and notes what it is given."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.heard: list[dict] = []
        self._forward = network.forward
        network.forward = self  # type: ignore[method-assign]

    def __call__(self, x: torch.Tensor, t: torch.Tensor, **options):
        self.heard.append({"x": x.clone(), "t": t.clone(), **options})
        return self._forward(x, t, **options)


def test_every_row_and_every_network_gets_its_own_input(teacher: DiffusionTeacher) -> None:
    recipe = replace(THREE_ROWS, control_depth=(0.5, 1.0, 0.8, 0.5), control_canny=constant(0.6))
    loop = make_loop(teacher, recipe)
    unet, nets = Ear(teacher._unet), [Ear(net) for net in teacher._controlnets]
    loop.step()
    (heard,) = unet.heard
    text, negative, null = heard["x"].chunk(3)
    assert len(heard["x"]) == 9 and torch.equal(text, negative) and torch.equal(text, null)
    assert torch.equal(heard["t"], heard["t"][:3].repeat(3)), "each view has its step, each row the same ones"
    words = heard["encoder_hidden_states"]
    expected = torch.cat([loop.embed([w] * 3) for w in ("red brick", "ugly", "")])
    assert torch.equal(words, expected), "text, negative, null"
    for net, scale in zip(nets, (1.0, 0.6), strict=True):
        (control,) = net.heard
        images = control["controlnet_cond"]
        assert images.shape == (9, 3, 64, 64) and torch.equal(images, images[:3].repeat(3, 1, 1, 1))
        assert torch.equal(control["x"], heard["x"]) and torch.equal(control["t"], heard["t"])
        assert torch.equal(control["encoder_hidden_states"], words) and control["conditioning_scale"] == scale
    loop.step(), loop.step()
    assert [control["conditioning_scale"] for control in nets[0].heard] == [1.0, 1.0, 0.8], "annealed at half-time"


def test_residuals_of_both_networks_are_summed(teacher: DiffusionTeacher) -> None:
    loop = make_loop(teacher)
    unet, answers = Ear(teacher._unet), []
    for net in teacher._controlnets:
        net.register_forward_hook(lambda module, given, answer: answers.append(answer))
    loop.step()
    (heard,) = unet.heard
    (down_a, middle_a), (down_b, middle_b) = answers
    assert torch.equal(heard["mid_block_additional_residual"], middle_a + middle_b)
    for got, a, b in zip(heard["down_block_additional_residuals"], down_a, down_b, strict=True):
        assert torch.equal(got, a + b)


def test_shared_rows_ask_the_controlnets_once_for_each_view(teacher: DiffusionTeacher) -> None:
    loop = make_loop(teacher, replace(THREE_ROWS, share_control=True))
    unet, nets = Ear(teacher._unet), [Ear(net) for net in teacher._controlnets]
    assert loop.step()
    assert len(unet.heard[0]["x"]) == 9 and [len(net.heard[0]["x"]) for net in nets] == [3, 3]
    residual = unet.heard[0]["mid_block_additional_residual"]
    assert torch.equal(residual, residual[:3].repeat(3, 1, 1, 1))


def test_v_prediction_is_converted_on_the_true_road(tmp_path: Path) -> None:
    teacher = load(save_tiny(tmp_path, prediction="v_prediction"))
    images, t, conditions = inputs()
    x, prompts = teacher.encode(images), teacher.embed(["red brick", ""])
    abar = teacher.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    rounded, words = x.to(teacher.noise_dtype), prompts.to(teacher.noise_dtype)
    v = teacher._unet(rounded, t, encoder_hidden_states=words).sample.float()
    expected = abar.sqrt() * v + (1 - abar).sqrt() * x
    found = teacher.predict_noise(x, t, prompts, conditions, [0.0, 0.0])
    error = float((found - expected).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-6")
    assert error < 1e-6 and torch.equal(to_noise(v, x, abar.flatten(), "v_prediction"), expected)


def test_a_resumed_run_is_the_same_run_bit_for_bit(teacher: DiffusionTeacher, tmp_path: Path) -> None:
    whole = make_loop(teacher)
    whole.run(Control(), lambda: None, tmp_path)
    first, control = make_loop(teacher), Control()
    first.run(control, lambda: control.request_cancel() if first.iteration == 2 else None, tmp_path)
    second = make_loop(teacher)
    second.restore(tmp_path)
    second.run(Control(), lambda: None, tmp_path)
    assert first.iteration == 2 and second.iteration == whole.iteration == 4
    print(f"largest difference {float((colors(second) - colors(whole)).abs().max()):.1e}, tolerance 0")
    assert torch.equal(colors(second), colors(whole))


def test_clipping_pixels_reaches_the_field(teacher: DiffusionTeacher) -> None:
    def grid_gradient(limit: float) -> torch.Tensor:
        loop = make_loop(teacher, replace(SMALL, pixel_clip=limit))
        loop.step()
        return torch.cat([p.grad.flatten() for p in loop.field.grid_parameters()])

    free, wide, tight = grid_gradient(0.0), grid_gradient(1e6), grid_gradient(0.5)
    assert torch.equal(free, wide)
    assert 0 < float(tight.norm()) < float(free.norm())
