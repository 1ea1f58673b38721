"""The diffusers teacher with tiny random models that are saved and loaded back, as the real ones are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from csd_addon.core.teacher_folder import TeacherDamaged, read_preferences
from csd_addon.core.views import View
from csd_addon.worker.method.score import add_noise
from csd_addon.worker.serve.control import JobFailure
from csd_addon.worker.teacher import device
from csd_addon.worker.teacher.device import choose_noise_dtype
from csd_addon.worker.teacher.diffusion import DiffusionTeacher, to_noise
from csd_addon.worker.teacher.interface import Conditioning
from csd_addon.worker.teacher.loading import load_networks

MINI_TOKENIZER = Path(__file__).parents[2] / "csd_addon" / "teachers" / "mini" / "tokenizer"
CPU = torch.device("cpu")


# What tells Stable Diffusion 2.1 from 1.5, but for the sizes: its words have 1024 numbers, projections are linear.
SD21 = {"cross_attention_dim": 1024, "use_linear_projection": True, "attention_head_dim": (4, 8)}


def save_tiny(
    folder: Path, *, prediction: str = "epsilon", vae: bool = True, controls: bool = True, **changes: object
) -> Path:
    """A Stable-Diffusion-shaped teacher of a few thousand random weights, in diffusers layout.

    changes: of the UNet's config; the text encoder's words are as wide as the UNet asks for.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        **{
            "sample_size": 8, "in_channels": 4 if vae else 3, "out_channels": 4 if vae else 3,
            "block_out_channels": (16, 32), "layers_per_block": 1, "cross_attention_dim": 32, "attention_head_dim": 4,
            "norm_num_groups": 8, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), **changes,
        }
    )  # fmt: skip
    unet.save_pretrained(folder / "unet")
    if controls:
        for name in ("depth", "canny"):
            net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 16, 16))
            for weight in net.parameters():
                torch.nn.init.normal_(weight, std=0.05)
            net.save_pretrained(folder / f"controlnet_{name}")
    if vae:
        AutoencoderKL(
            block_out_channels=(8, 8, 8, 8), latent_channels=4, norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ).save_pretrained(folder / "vae")  # fmt: skip
    text = CLIPTextConfig(
        vocab_size=2000, hidden_size=unet.config.cross_attention_dim, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=32,
    )  # fmt: skip
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction
    ).save_pretrained(folder / "scheduler")
    (folder / "tokenizer").symlink_to(MINI_TOKENIZER)
    return folder


def load(folder: Path) -> DiffusionTeacher:
    return DiffusionTeacher({"root": str(folder)}, CPU, torch.float32, use=("depth", "canny"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> DiffusionTeacher:
    return load(save_tiny(tmp_path_factory.mktemp("tiny")))


def inputs(batch: int = 2, size: int = 64):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(batch, 3, size, size, generator=generator)
    conditions = [torch.rand(batch, 3, size, size, generator=generator) for _ in range(2)]
    return images, torch.tensor([100, 800][:batch]), conditions


def told(
    prompts: Mapping[str, Sequence[str]], conditions: Sequence[torch.Tensor] = (), scales: Sequence[float] = ()
) -> Conditioning:
    """What a teacher is told of some images. prompts: by row. conditions, scales: of depth, then canny, or none."""
    names, count = ("depth", "canny")[: len(conditions)], len(next(iter(prompts.values())))
    return Conditioning(
        prompts, images=dict(zip(names, conditions, strict=True)), scales=dict(zip(names, scales, strict=True)),
        cameras=[View(0, 0, 4, 35)] * count,
    )  # fmt: skip


def predict(
    teacher: DiffusionTeacher, x_t: torch.Tensor, t: torch.Tensor, texts: Sequence[str],
    conditions: Sequence[torch.Tensor] = (), scales: Sequence[float] = (),
) -> torch.Tensor:  # fmt: skip
    """eps of the text row."""
    return teacher.predict_noise(x_t, t, told({"text": texts}, conditions, scales), ("text",))["text"]


def test_round_trip_and_shapes(tiny: DiffusionTeacher) -> None:
    images, t, conditions = inputs()
    assert tiny.conditions == ("depth", "canny") and tiny.prediction == "epsilon"
    x = tiny.encode(images)
    eps = predict(tiny, x, t, ["red brick", ""], conditions, [1.0, 1.0])
    assert x.shape == eps.shape == (2, 4, 8, 8) and eps.dtype == torch.float32
    assert abs(float(tiny.alphas_cumprod[500]) - 0.2763) < 1e-3


def test_control_residuals_are_summed_and_follow_their_scale(tiny: DiffusionTeacher) -> None:
    images, t, conditions = inputs()
    # Stacked rows lie in memory so; in another layout sums are rounded otherwise.
    x, texts = tiny.encode(images).contiguous(), ["red brick", "moss"]

    def eps(*scales: float) -> torch.Tensor:
        return predict(tiny, x, t, texts, conditions, scales)

    unet = load_networks({"root": str(tiny.root)}, torch.float32, ()).unet
    assert torch.equal(eps(0, 0), unet(x, t, encoder_hidden_states=tiny.embed(texts)).sample)
    assert not torch.allclose(eps(1, 0), eps(0, 0)) and not torch.allclose(eps(0, 1), eps(1, 0))
    assert not torch.allclose(eps(0.5, 0), eps(1, 0))
    swapped = predict(tiny, x, t, texts, conditions[::-1], [1.0, 0.0])
    assert not torch.allclose(swapped, eps(1, 0)), "each net must see its own image"


def test_encoder_passes_its_gradient_to_the_pixels(tiny: DiffusionTeacher) -> None:
    # A linear functional of x must give the pixels W^T g: compare with a finite difference along a direction.
    images, *_ = inputs(batch=1)
    images.requires_grad_()
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    (tiny.encode(images) * weights).sum().backward()
    analytic = float((images.grad * direction).sum())
    with torch.no_grad():
        h = 1e-3
        ends = [(tiny.encode(images + s * h * direction) * weights).sum().item() for s in (1, -1)]
    numeric = (ends[0] - ends[1]) / (2 * h)
    print(f"analytic {analytic:.5f}, numeric {numeric:.5f}, tolerance 2 %")
    assert numeric == pytest.approx(analytic, rel=0.02, abs=1e-3)


def test_conversions_to_noise_are_consistent() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 3, 4, 8, 8, generator=generator, dtype=torch.float64)
    abar = torch.tensor([0.9, 0.5, 0.01], dtype=torch.float64)
    a, s = abar.sqrt().reshape(-1, 1, 1, 1), (1 - abar).sqrt().reshape(-1, 1, 1, 1)
    x_t, v = a * x0 + s * eps, a * eps - s * x0
    for output, kind in ((eps, "epsilon"), (v, "v_prediction"), (x0, "sample")):
        error = float((to_noise(output, x_t, abar, kind) - eps).abs().max())
        print(f"{kind}: {error:.1e}, tolerance 1e-9")
        assert error < 1e-9
    with pytest.raises(JobFailure, match="flow"):
        to_noise(eps, x_t, abar, "flow")


def test_v_prediction_is_read_from_the_scheduler(tmp_path: Path) -> None:
    assert load(save_tiny(tmp_path, prediction="v_prediction", controls=False)).prediction == "v_prediction"


def test_a_teacher_like_stable_diffusion_21(tmp_path: Path) -> None:
    teacher = load(save_tiny(tmp_path, prediction="v_prediction", **SD21))
    images, t, conditions = inputs()
    x, texts = teacher.encode(images), ["red brick", ""]
    prompts = teacher.embed(texts)
    assert prompts.shape[2] == 1024
    eps = predict(teacher, x, t, texts, conditions, [1.0, 1.0])
    v = velocity(tmp_path, x, t, prompts, conditions, teacher.noise_dtype)
    abar = teacher.alphas_cumprod[t].reshape(-1, 1, 1, 1)
    error = float((eps - abar.sqrt() * v - (1 - abar).sqrt() * x).abs().max())
    print(f"{prompts.shape} words; eps from v: {error:.1e}, tolerance 1e-6")
    assert error < 1e-6 and teacher.conditions == ("depth", "canny") and torch.isfinite(eps).all()


def velocity(
    folder: Path, x: torch.Tensor, t: torch.Tensor, prompts: torch.Tensor, conditions: Sequence[torch.Tensor],
    dtype: torch.dtype,
) -> torch.Tensor:  # fmt: skip
    """What the UNet in ``folder`` itself says under the sum of both ControlNets, in ``dtype``."""
    networks = load_networks({"root": str(folder)}, torch.float32, ("depth", "canny"))
    # Stacked rows lie in memory so; in another layout sums are rounded otherwise.
    x, prompts, residuals = x.to(dtype).contiguous(), prompts.to(dtype), []
    for net, image in zip(networks.controlnets.values(), conditions, strict=True):
        down, middle = net.to(dtype)(
            x, t, encoder_hidden_states=prompts, controlnet_cond=image.to(dtype), return_dict=False
        )
        residuals.append([*down, middle])
    *downs, middle = (first + second for first, second in zip(*residuals, strict=True))
    return networks.unet.to(dtype)(
        x, t, encoder_hidden_states=prompts, down_block_additional_residuals=downs,
        mid_block_additional_residual=middle,
    ).sample.float()  # fmt: skip


def test_parts_of_different_models_are_told_apart(tmp_path: Path) -> None:
    small = save_tiny(tmp_path / "15")
    wide = save_tiny(tmp_path / "21", **SD21)
    inpainting = save_tiny(tmp_path / "inpainting", controls=False, in_channels=9)
    added = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    xl = save_tiny(tmp_path / "xl", controls=False, projection_class_embeddings_input_dim=80, **added)

    def mixed(**places: Path) -> str:
        with pytest.raises(JobFailure) as caught:
            DiffusionTeacher({name: str(path) for name, path in places.items()}, CPU, torch.float32, use=("canny",))
        assert caught.value.kind == "teacher"
        return str(caught.value)

    assert "controlnet_canny takes 1024 numbers for a word, the teacher gives 32: it is for another model" in mixed(
        root=small, controlnet_canny=wide / "controlnet_canny"
    )
    assert "it is an inpainting model" in mixed(root=inpainting)
    assert "is a Stable Diffusion XL model" in mixed(root=xl)
    shutil.rmtree(small / "text_encoder")
    shutil.copytree(wide / "text_encoder", small / "text_encoder")
    assert "takes 32 numbers for a word, its text encoder gives 1024" in mixed(root=small)


def test_compiling_asks_for_each_network_once_and_changes_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, honest = [], torch.nn.Module.compile

    def compile_eagerly(network: torch.nn.Module) -> None:
        compiled.append(type(network).__name__)
        # Traces the network as always, but needs no compiler on the machine.
        honest(network, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_eagerly)
    teacher = load(save_tiny(tmp_path))
    images, t, conditions = inputs()
    arguments = (teacher, teacher.encode(images), t, ["red brick", ""], conditions, [1.0, 0.7])
    before = predict(*arguments)
    teacher.compile()
    teacher.compile()
    error = float((predict(*arguments) - before).abs().max())
    print(f"{compiled}: {error:.1e}, tolerance 1e-5")
    assert compiled == ["UNet2DConditionModel", "ControlNetModel", "ControlNetModel"] and error < 1e-5


def test_pixel_teacher_without_vae_or_controlnets(tmp_path: Path) -> None:
    teacher = load(save_tiny(tmp_path, vae=False, controls=False))
    images, t, _ = inputs(size=16)
    x = teacher.encode(images)
    assert teacher.conditions == () and torch.equal(x, 2 * images - 1)
    assert predict(teacher, x, t, ["a", "b"]).shape == x.shape


def test_damaged_folders_get_a_sentence(tmp_path: Path) -> None:
    root = save_tiny(tmp_path / "a", controls=False)
    (root / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(JobFailure, match="unet"):
        load(root)
    (root / "csd.json").write_text("{", encoding="utf-8")
    with pytest.raises(TeacherDamaged, match=r"csd\.json is damaged"):
        read_preferences(root)
    said = {"recipe": {"distill": {"kappa": 0}}}
    (root / "csd.json").write_text(json.dumps(said), encoding="utf-8")
    assert read_preferences(root) == said


def test_half_precision_files_alone_are_found(tmp_path: Path) -> None:
    root = save_tiny(tmp_path, controls=False)
    for part in ("unet", "vae", "text_encoder"):
        for path in (root / part).glob("*.safetensors"):
            path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    assert load(root).conditions == ()


def test_a_cpu_that_can_rounds_what_predicts_v_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    half, single = torch.bfloat16, torch.float32
    for able in (True, False):
        monkeypatch.setattr(device, "has_bfloat16", lambda able=able: able)
        assert choose_noise_dtype(CPU, single, "v_prediction") == (half if able else single)
        assert choose_noise_dtype(CPU, single, "epsilon") == single
        assert choose_noise_dtype(torch.device("cuda"), torch.float16, "v_prediction") == torch.float16


def test_a_rounded_teacher_says_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `broad`, at the noisiest step and at a quiet one: the error of the clean image that eps stands for."""
    broad, found = MINI_TOKENIZER.parents[1] / "broad", []
    for able in (True, False):
        monkeypatch.setattr(device, "has_bfloat16", lambda able=able: able)
        teacher = load(broad)
        images, _, conditions = inputs()
        x, t = teacher.encode(images), torch.tensor([999, 200])
        x_t = add_noise(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(4)), teacher.alphas_cumprod[t])
        eps = predict(teacher, x_t, t, ["red brick", "moss"], conditions, [1.0, 0.0])
        abar = teacher.alphas_cumprod[t].reshape(-1, 1, 1, 1)
        found.append((x_t - (1 - abar).sqrt() * eps) / abar.sqrt())
    error = (found[0] - found[1]).square().mean(dim=(1, 2, 3)).sqrt()
    print(f"RMS difference of the clean images {error.tolist()} of 1, at most 0.01; not the same bits")
    assert error.max() < 0.01 and error.min() > 0
