"""Where a teacher can come from: a folder, a single file, the hub's cache; and a LoRA on top."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from csd_addon.runtime.errors import TeacherMissing
from csd_addon.runtime.paths import Paths
from csd_addon.runtime.teachers.catalogue import find_teacher
from csd_addon.runtime.teachers.remote import SD15, SD15_CANNY, SD15_DEPTH
from csd_addon.runtime.teachers.single_file import require_checkpoint
from csd_addon.worker.serve.control import JobFailure
from csd_addon.worker.teacher import lora
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from csd_addon.worker.teacher.loading import OUTLINE
from csd_addon.worker.teacher.warm import warm_teacher
from tests.worker.original_layout import write_controlnet, write_outline, write_single_file
from tests.worker.test_teacher import CPU, inputs, load, predict, save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "teacher")


def predicted(teacher: DiffusionTeacher) -> torch.Tensor:
    """Everything that a step asks of a teacher, in one tensor."""
    images, t, conditions = inputs()
    return predict(teacher, teacher.encode(images), t, ["red brick", ""], conditions, [1.0, 0.7])


def as_strings(found) -> dict[str, str]:
    return {name: str(path) for name, path in vars(found).items() if path}


def test_a_single_file_is_the_same_teacher(folder: Path, tmp_path: Path) -> None:
    file = write_single_file(folder, tmp_path / "model.safetensors")
    for name in ("controlnet_depth", "controlnet_canny"):
        shutil.copytree(folder / name, tmp_path / name)
    found = find_teacher(str(file), Paths(tmp_path / "home"))
    assert found.controlnet_depth == tmp_path / "controlnet_depth"
    teacher = DiffusionTeacher(
        {**as_strings(found), "outline": str(tmp_path / "outline")}, CPU, torch.float32, use=("depth", "canny")
    )
    difference = float((predicted(teacher) - predicted(load(folder))).abs().max())
    print(f"largest difference from the folder {difference:.1e}, tolerance 0")
    assert difference == 0 and teacher.conditions == ("depth", "canny")


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_controlnets_in_single_files_are_the_same(folder: Path, tmp_path: Path, prefix: str) -> None:
    file, paths = write_single_file(folder, tmp_path / "model.safetensors"), Paths(tmp_path / "home")
    names = {"depth": "control_v11f1p_sd15_depth_fp16.safetensors", "canny": "control_v11p_sd15_canny.safetensors"}
    for kind, name in names.items():
        write_controlnet(folder / f"controlnet_{kind}", tmp_path / name, prefix=prefix)
    found = find_teacher(str(file), paths)
    assert (found.controlnet_depth, found.controlnet_canny) == tuple(tmp_path / name for name in names.values())
    outline = {"outline": str(tmp_path / "outline")}
    teacher = DiffusionTeacher({**as_strings(found), **outline}, CPU, torch.float32, use=("depth", "canny"))
    difference = float((predicted(teacher) - predicted(load(folder))).abs().max())
    print(f"largest difference from the folders {difference:.1e}, tolerance 0")
    assert difference == 0 and teacher.conditions == ("depth", "canny")


def test_controlnets_in_single_files_go_with_a_teachers_folder(folder: Path, tmp_path: Path) -> None:
    own = shutil.copytree(folder, tmp_path / "own", ignore=shutil.ignore_patterns("controlnet_*"))
    write_outline(folder, tmp_path / "outline")
    file = write_controlnet(folder / "controlnet_canny", own / "control_v11p_sd15_canny.safetensors")
    found = find_teacher(str(own), Paths(tmp_path / "home"))
    assert (found.controlnet_depth, found.controlnet_canny) == (None, file)
    places = {**as_strings(found), "outline": str(tmp_path / "outline")}
    assert DiffusionTeacher(places, CPU, torch.float32, use=("depth", "canny")).conditions == ("canny",)


def test_a_controlnet_that_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    own = shutil.copytree(folder, tmp_path / "own", ignore=shutil.ignore_patterns("controlnet_*"))
    paths = Paths(tmp_path / "home")
    wrong = own / "control_canny_xl.safetensors"
    hint = {"input_hint_block.0.weight": (1,), "zero_convs.0.0.weight": (1,)}
    for shapes, words in (
        ({"w": (1,)}, "canny_xl.safetensors is no ControlNet under its original names"),
        ({**hint, CROSS.removeprefix("model.diffusion_model."): (2, 2048)}, "is a ControlNet of Stable Diffusion XL"),
    ):
        checkpoint(wrong, **shapes)
        with pytest.raises(TeacherMissing, match=words):
            find_teacher(str(own), paths)
    fits = write_controlnet(folder / "controlnet_canny", own / "control_v11p_sd15_canny.safetensors")
    assert find_teacher(str(own), paths).controlnet_canny == fits, "one that fits is enough"
    tensors = load_file(fits)
    del tensors["control_model.middle_block_out.0.weight"]
    save_file(tensors, fits)
    with pytest.raises(JobFailure, match="control_v11p_sd15_canny.safetensors can't be read as a ControlNet"):
        DiffusionTeacher(as_strings(find_teacher(str(own), paths)), CPU, torch.float32, use=("canny",))


def test_a_single_file_takes_the_tokenizer_beside_it_or_of_sd15(folder: Path, tmp_path: Path) -> None:
    file, paths = write_single_file(folder, tmp_path / "model.safetensors"), Paths(tmp_path / "home")
    assert find_teacher(str(file), paths).tokenizer == tmp_path / "tokenizer"
    of_sd15 = paths.teachers / "sd15" / "tokenizer"
    of_sd15.parent.mkdir(parents=True)
    (tmp_path / "tokenizer").rename(of_sd15)
    assert find_teacher(str(file), paths).tokenizer == of_sd15
    (of_sd15 / "vocab.json").unlink()
    (of_sd15 / "tokenizer.json").unlink(missing_ok=True)
    with pytest.raises(TeacherMissing, match="model.safetensors needs the tokenizer of Stable Diffusion 1.5"):
        find_teacher(str(file), paths)


def test_the_hubs_cache_is_the_same_teacher(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    places = {SD15: None, SD15_DEPTH: "controlnet_depth", SD15_CANNY: "controlnet_canny"}
    for repository, part in places.items():
        snapshot = tmp_path / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc"
        shutil.copytree(
            folder / part if part else folder, snapshot, ignore=shutil.ignore_patterns("controlnet_*"), symlinks=False
        )
    found = find_teacher("sd15", Paths(tmp_path / "home"))
    teacher = DiffusionTeacher(as_strings(found), CPU, torch.float32, use=("depth", "canny"))
    assert torch.equal(predicted(teacher), predicted(load(folder)))


def test_saving_and_loading_changes_nothing(folder: Path, tmp_path: Path) -> None:
    whole = shutil.copytree(folder, tmp_path / "again")
    shutil.rmtree(whole / "unet")
    UNet2DConditionModel.from_pretrained(folder / "unet").save_pretrained(whole / "unet", max_shard_size="100KB")
    assert (whole / "unet" / "diffusion_pytorch_model.safetensors.index.json").is_file(), "in shards this time"
    assert torch.equal(predicted(load(whole)), predicted(load(folder)))


def test_the_shipped_outline_is_stable_diffusion_15() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(OUTLINE / "unet"))
        control = ControlNetModel.from_config(ControlNetModel.load_config(OUTLINE / "controlnet"))
    counts = [sum(p.numel() for p in network.parameters()) for network in (unet, control)]
    print(f"{counts} parameters; 859,520,964 and 361,279,120 in the published models")
    assert counts == [859_520_964, 361_279_120]


# --- Wrong files -------------------------------------------------------------------------------------------------


def checkpoint(path: Path, **shapes: tuple[int, ...]) -> Path:
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path)
    return path


FIRST = "model.diffusion_model.input_blocks.0.0.weight"
CROSS = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [({"w": (1,)}, "lacks the UNet, the autoencoder, the text encoder"),
     ({FIRST: (8, 4, 3, 3)}, "lacks the autoencoder, the text encoder"),
     ({FIRST: (8, 4, 3, 3), CROSS: (2, 1024)}, "is a Stable Diffusion 2 model.*as a folder"),
     ({CROSS: (2, 2048)}, "is a Stable Diffusion XL model, which is not supported")],
)  # fmt: skip
def test_another_kind_of_checkpoint_is_named(tmp_path: Path, shapes: dict, words: str) -> None:
    with pytest.raises(TeacherMissing, match=words):
        require_checkpoint(checkpoint(tmp_path / "m.safetensors", **shapes))


def test_an_inpainting_model_is_named(folder: Path, tmp_path: Path) -> None:
    file = write_single_file(folder, tmp_path / "m.safetensors")
    tensors = load_file(file)
    tensors[FIRST] = torch.zeros(16, 9, 3, 3)
    save_file(tensors, file)
    with pytest.raises(TeacherMissing, match="inpainting"):
        require_checkpoint(file)


def test_a_file_that_can_run_code_is_never_opened(tmp_path: Path) -> None:
    for name in ("model.ckpt", "model.pt"):
        (tmp_path / name).write_bytes(b"\x80\x04.")
        with pytest.raises(TeacherMissing, match="can run code.*convert it to .safetensors"):
            find_teacher(str(tmp_path / name), Paths(tmp_path))
    (tmp_path / "notes.txt").write_text("", encoding="utf-8")
    with pytest.raises(TeacherMissing, match="is no teacher"):
        find_teacher(str(tmp_path / "notes.txt"), Paths(tmp_path))
    (tmp_path / "m.safetensors").write_bytes(b"<html>")
    with pytest.raises(TeacherMissing, match="damaged or no .safetensors"):
        find_teacher(str(tmp_path / "m.safetensors"), Paths(tmp_path))


def test_a_folder_with_pickles_says_so(folder: Path, tmp_path: Path) -> None:
    root = shutil.copytree(folder, tmp_path / "old")
    (root / "unet" / "diffusion_pytorch_model.safetensors").rename(root / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(TeacherMissing, match="diffusion_pytorch_model.bin can run code"):
        find_teacher(str(root), Paths(tmp_path))
    with pytest.raises(JobFailure, match="unet"):
        load(root)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "scheduler", "tokenizer", "controlnet_depth"])
def test_each_damaged_part_is_named(folder: Path, tmp_path: Path, part: str) -> None:
    root = shutil.copytree(folder, tmp_path / "broken", symlinks=False)
    for file in (root / part).iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(JobFailure, match=part) as caught:
        load(root)
    print(str(caught.value)[:160])
    assert caught.value.kind == "teacher"


# --- LoRA --------------------------------------------------------------------------------------------------------


def layers_of(unet) -> dict[str, torch.nn.Module]:
    named = dict(unet.named_modules())
    wanted = [n for n in named if n.endswith(("attn1.to_q", "attn2.to_out.0", "ff.net.2"))]
    return {n: named[n] for n in [*wanted, "down_blocks.0.resnets.0.conv1"]}


def lora_file(path: Path, unet, style: str, rank: int = 2, alpha: float = 1.0) -> dict[str, torch.Tensor]:
    """Write random pieces in one of the three styles; returns what each layer must change by."""
    generator = torch.Generator().manual_seed(3)
    tensors, deltas = {}, {}
    for name, layer in layers_of(unet).items():
        kernel = layer.weight.shape[2:]
        down = torch.randn(rank, layer.weight.shape[1], *kernel, generator=generator)
        up = torch.randn(layer.weight.shape[0], rank, *[1] * len(kernel), generator=generator)
        plain = f"lora_unet_{name.replace('.', '_')}"
        first, second = {
            "kohya": (f"{plain}.lora_down.weight", f"{plain}.lora_up.weight"),
            "peft": (f"unet.{name}.lora_A.weight", f"unet.{name}.lora_B.weight"),
            "diffusers": (f"unet.{old(name)}_lora.down.weight", f"unet.{old(name)}_lora.up.weight"),
            "dotted": (f"unet.{name}.lora.down.weight", f"unet.{name}.lora.up.weight"),
        }[style]
        if style == "diffusers" and "attn" not in name:
            continue
        tensors |= {first: down, second: up}
        if style == "kohya":
            tensors[f"{plain}.alpha"] = torch.tensor(alpha)
        scale = alpha / rank if style == "kohya" else 1.0
        deltas[name] = scale * (up.flatten(1) @ down.flatten(1)).reshape(layer.weight.shape)
    save_file(tensors, path)
    return deltas


def old(name: str) -> str:
    block, _, part = name.removesuffix(".0").rpartition(".")
    return f"{block}.processor.{part}"


@pytest.mark.parametrize("style", ["kohya", "peft", "diffusers", "dotted"])
def test_a_lora_is_added_to_the_weights(folder: Path, tmp_path: Path, style: str) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    before = {name: layer.weight.detach().clone() for name, layer in layers_of(unet).items()}
    deltas = lora_file(tmp_path / "l.safetensors", unet, style)
    merged = lora.merge(unet, tmp_path / "l.safetensors", 0.5)
    assert (merged.fitted, merged.foreign) == (len(deltas), 0) and deltas
    for name, layer in layers_of(unet).items():
        expected = before[name] + 0.5 * deltas.get(name, torch.zeros_like(before[name]))
        error = float((layer.weight.detach() - expected).abs().max())
        assert error < 1e-6, name
    print(f"{style}: {merged.fitted} layers, last error {error:.1e}, tolerance 1e-6")


def test_a_lora_reaches_the_predictions_and_weight_0_does_not(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "l.safetensors"
    lora_file(file, UNet2DConditionModel.from_pretrained(folder / "unet"), "kohya")

    def teacher(words: str) -> DiffusionTeacher:
        return DiffusionTeacher({"root": str(folder)}, CPU, torch.float32, use=("depth", "canny"), lora_words=words)

    plain = predicted(load(folder))
    assert torch.equal(predicted(teacher(f"{file}:0")), plain)
    assert not torch.allclose(predicted(teacher(str(file))), plain)


def test_a_warm_worker_sees_that_a_file_was_written_again(folder: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    file, root = tmp_path / "l.safetensors", {"root": str(folder)}
    lora_file(file, unet, "kohya")
    first = warm_teacher(root, CPU, str(file))
    assert warm_teacher(root, CPU, str(file)) is first
    lora_file(file, unet, "kohya", rank=1)
    assert warm_teacher(root, CPU, str(file)) is not first
    model = write_single_file(folder, tmp_path / "model.safetensors")
    single = {"root": str(model), "tokenizer": str(folder / "tokenizer"), "outline": str(tmp_path / "outline")}
    second = warm_teacher(single, CPU, "")
    assert warm_teacher(single, CPU, "") is second
    os.utime(model, ns=(1, 1))
    assert warm_teacher(single, CPU, "") is not second


def test_lora_words(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.touch()
    assert lora.parse(str(file)) == (file, 1.0) and lora.parse(f"{file}:0.25") == (file, 0.25)
    with pytest.raises(JobFailure, match="no LoRA file"):
        lora.parse(str(tmp_path / "b.safetensors:0.5"))
    with pytest.raises(JobFailure, match="can run code"):
        lora.parse(str(tmp_path / "b.pt"))


def test_a_lora_that_does_not_fit_says_so(folder: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    file, name = tmp_path / "l.safetensors", next(iter(layers_of(unet)))
    plain = f"lora_unet_{name.replace('.', '_')}"
    cases = {
        "fits nothing": {"lora_unet_other.lora_down.weight": (2, 3), "lora_unet_other.lora_up.weight": (3, 2)},
        "is for another model": {f"{plain}.lora_down.weight": (2, 3), f"{plain}.lora_up.weight": (3, 2)},
        "of a kind that is not supported": {f"{plain}.hada_w1_a": (2, 3)},
    }
    for words, shapes in cases.items():
        save_file({key: torch.zeros(shape) for key, shape in shapes.items()}, file)
        with pytest.raises(JobFailure, match=words):
            lora.merge(unet, file, 1.0)
    file.write_bytes(b"nonsense")
    with pytest.raises(JobFailure, match="damaged"):
        lora.merge(unet, file, 1.0)


def test_pieces_for_the_text_encoder_are_counted_and_left_out(folder: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    file = tmp_path / "l.safetensors"
    lora_file(file, unet, "kohya")
    extra = {f"lora_te_text_model_x.lora_{side}.weight": torch.zeros(2, 2) for side in ("down", "up")}
    save_file({**load_file(file), **extra}, file)
    merged = lora.merge(unet, file, 1.0)
    assert merged.text == 2 and merged.foreign == 0
    assert json.dumps(vars(merged))
