"""The bundled teachers: their files load through the library classes alone, and broad has learned what it claims.

The held-out images come from training's own generator with a seed that no training shard has. Losses are mean
squared errors of the predicted noise, equal noise on both sides of every comparison.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from csd_addon.core.recipe import at
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.core.teacher_folder import read_preferences
from csd_addon.worker.teacher.diffusion import to_noise
from training import stages
from training.captions import caption
from training.controlnets import predict
from training.dataset import Dataset, generate
from training.latent import Inverse, patches
from training.text_encoder import inherit, new_model, tokenize

ROOT = Path(__file__).resolve().parents[2]
TEACHERS = ROOT / "csd_addon" / "teachers"
# What today's generator and vocabulary have taught; mini is of an earlier, smaller edition.
BROAD = TEACHERS / "broad"
HELD_OUT_SEED = 77_000
TIMES = (600, 700, 800)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def part(kind, name: str):
    model = kind.from_pretrained(BROAD / name, local_files_only=True)
    return model.float().eval().requires_grad_(False) if isinstance(model, torch.nn.Module) else model


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    return generate(HELD_OUT_SEED, 48, 1)


@pytest.fixture(scope="module")
def latents(held_out: Dataset) -> torch.Tensor:
    """[48, 24, 16, 16], as the teacher's encoder makes them."""
    vae = part(AutoencoderTiny, "vae")
    images = torch.from_numpy(held_out.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return vae.encode(images).latents * vae.config.scaling_factor


@pytest.fixture(scope="module")
def text(held_out: Dataset) -> torch.Tensor:
    """[48, 32, 128] embeddings of one right caption for every image."""
    rng = np.random.default_rng(0)
    tokens = tokenize(part(CLIPTokenizer, "tokenizer"), [caption(rng, look) for look in held_out.looks])
    return part(CLIPTextModel, "text_encoder")(tokens).last_hidden_state


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return part(UNet2DConditionModel, "unet")


@dataclass(frozen=True)
class Problem:
    """``noisy`` latents at step ``time`` of the teacher's own scheduler, and the noise in them."""

    scheduler: DDPMScheduler
    time: int
    noisy: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def of(cls, latents: torch.Tensor, time: int) -> Problem:
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(time))
        scheduler = part(DDPMScheduler, "scheduler")
        return cls(scheduler, time, scheduler.add_noise(latents, noise, torch.full((len(latents),), time)), noise)

    def loss(self, output: torch.Tensor) -> float:
        """Mean squared error of the noise that the model's ``output`` stands for."""
        abar = self.scheduler.alphas_cumprod[self.time].expand(len(output))
        guess = to_noise(output, self.noisy, abar, self.scheduler.config.prediction_type)
        return float((guess - self.noise).square().mean())


@pytest.mark.parametrize(("name", "most"), [("mini", 30), ("broad", 60)])
def test_files_are_small_and_free_of_local_paths(name, most):
    files = [path for path in (TEACHERS / name).rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    largest = max(path.stat().st_size for path in files)
    print(f"{len(files)} files, {total / 1e6:.1f} MB (< {most}), largest {largest / 1e6:.1f} MB (< 16)")
    assert total < most * 1e6
    assert largest < 16e6
    for path in files:
        assert path.suffix in (".json", ".safetensors", ".txt", ".md"), path
        if path.suffix != ".safetensors":
            assert "/root" not in path.read_text() and "/home" not in path.read_text(), path


@pytest.mark.parametrize("name", ["mini", "broad"])
def test_every_part_loads_and_predicts_finite_numbers(name):
    folder = TEACHERS / name
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True).float()
    tokens = tokenize(CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True), ["red brick"])
    embedded = text(tokens).last_hidden_state
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True).float()
    latents = torch.randn(1, unet.config.in_channels, 16, 16, generator=torch.Generator().manual_seed(0))
    output = unet(latents, 500, embedded).sample
    assert output.isfinite().all() and 0.3 < float(output.std()) < 3
    for kind in ("depth", "canny"):
        ControlNetModel.from_pretrained(folder / f"controlnet_{kind}", local_files_only=True)


def test_tokenizer_knows_the_vocabulary_and_survives_anything_else():
    tokenizer = part(CLIPTokenizer, "tokenizer")
    known = json.loads((BROAD / "vocabulary.json").read_text())
    assert {"red", "brick", "wood", "striped"} <= set(known["words"])
    assert set(known["colours"]) | {w for m in known["materials"] for w in m.split()} <= set(known["words"])
    tokens = tokenize(tokenizer, ["red brick", "Zürich \N{SNOWMAN} xyzzy " * 20, ""])
    assert tokens.shape == (3, 32)
    assert tokenizer.decode(tokens[0], skip_special_tokens=True) == "red brick"
    assert tokens.max() < part(CLIPTextModel, "text_encoder").config.vocab_size


def test_encoder_is_linear_and_local():
    """The latent of a patch depends on that patch alone, and linearly, so gradients pass undistorted."""
    vae = part(AutoencoderTiny, "vae")
    a, b = torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    middle = vae.encode((a + b) / 2).latents
    gap = float((middle - (vae.encode(a).latents + vae.encode(b).latents) / 2).abs().max())
    changed = a.clone()
    changed[:, :, 8:12, 20:24] = 0
    difference = (vae.encode(changed).latents - vae.encode(a).latents).abs().amax(dim=(0, 1))
    print(f"largest departure from linearity {gap:.2e} (allowed 1e-4)")
    assert gap < 1e-4
    assert torch.nonzero(difference > 1e-5).tolist() == [[2, 5]]
    assert patches(a).shape == (1, 48, 16, 16)


def psnr(images: torch.Tensor, wanted: np.ndarray) -> float:
    """Of images (N, 3, 64, 64) in [-1, 1]."""
    error = images / 2 + 0.5 - torch.from_numpy(wanted).permute(0, 3, 1, 2) / 255
    return float(-10 * torch.log10(error.square().mean()))


def test_images_come_back_from_latents(held_out, latents):
    """By the way that synthesis goes, and roughly by the decoder that other programs go by."""
    vae = part(AutoencoderTiny, "vae")
    inverse = psnr(Inverse(vae)(latents), held_out.images)
    decoder = psnr(vae.decode(latents / vae.config.scaling_factor).sample, held_out.images)
    print(f"inverse of the encoder {inverse:.1f} dB (at least 33), decoder {decoder:.1f} dB (at least 22)")
    assert inverse > 33 and decoder > 22


def test_the_inverse_goes_back_to_the_same_latents(latents):
    vae = part(AutoencoderTiny, "vae")
    again = vae.encode(Inverse(vae)(latents)).latents * vae.config.scaling_factor
    gap = float((again - latents).abs().max())
    print(f"largest difference {gap:.1e} (allowed 1e-3)")
    assert gap < 1e-3


def test_right_captions_lower_the_loss(unet, latents, text):
    """Between t = 600 and 800, where CSD decides on colour and material."""
    losses = {"right": 0.0, "wrong": 0.0}
    for time in TIMES:
        problem = Problem.of(latents, time)
        for name, condition in (("right", text), ("wrong", text.roll(1, 0))):
            losses[name] += problem.loss(unet(problem.noisy, time, condition).sample) / len(TIMES)
    print(f"held-out loss, right caption {losses['right']:.5f}, another image's {losses['wrong']:.5f}")
    assert losses["right"] < 0.97 * losses["wrong"]


@pytest.mark.parametrize("kind", ["depth", "canny"])
def test_right_conditions_lower_the_loss(unet, latents, text, held_out, kind):
    controlnet = part(ControlNetModel, f"controlnet_{kind}")
    images = torch.from_numpy(getattr(held_out, kind)[held_out.buffer]).float()[:, None] / 255
    images = images.expand(-1, 3, -1, -1).contiguous()
    losses = {"right": 0.0, "without": 0.0, "wrong": 0.0}
    for time in TIMES:
        problem = Problem.of(latents, time)
        predictions = {
            "right": predict(unet, controlnet, problem.noisy, time, text, images),
            "without": unet(problem.noisy, time, text).sample,
            "wrong": predict(unet, controlnet, problem.noisy, time, text, images.roll(1, 0)),
        }
        for name, predicted in predictions.items():
            losses[name] += problem.loss(predicted) / len(TIMES)
    print(f"held-out loss with {kind}: " + ", ".join(f"{name} {value:.5f}" for name, value in losses.items()))
    assert losses["right"] < losses["without"] < losses["wrong"]


@pytest.mark.parametrize("name", ["mini", "broad"])
def test_an_edit_guides_away_from_what_it_removes_to_the_end(name):
    """A new texture's negative may fade out; an edit that keeps the pattern has only that to lose its old colour by."""
    settings = JobSettings("edit", target="blue brick", remove="red brick", keep="pattern", preset="balanced")
    mover = resolve(settings, read_preferences(TEACHERS / name)).mover
    weights = [at(mover.w2, share / 10) for share in range(11)]
    print(name, weights)
    assert weights == [1.0] * 11


def test_training_runs_from_nothing_to_a_loadable_teacher(tmp_path):
    """Every stage, at tiny sizes; a second start finds everything done and is quick."""
    output = tmp_path / "teacher"
    command = [sys.executable, "-m", "training", "--smoke", "--processes", "1"]
    command += ["--work", str(tmp_path / "work"), "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unet 3" in done.stdout and "depth 2" in done.stdout and "canny 2" in done.stdout
    for kind, name in ((UNet2DConditionModel, "unet"), (ControlNetModel, "controlnet_depth"),
                       (ControlNetModel, "controlnet_canny"), (AutoencoderTiny, "vae")):  # fmt: skip
        assert next(kind.from_pretrained(output / name, local_files_only=True).parameters()).isfinite().all()
    command += ["--stage", "unet"]
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert again.returncode == 0 and b"right" not in again.stdout


def test_training_goes_on_from_a_teacher(tmp_path):
    """After three steps the weights are still near those it started from, and the latent space is the same."""
    output = tmp_path / "teacher"
    command = [sys.executable, "-m", "training", "--smoke", "--processes", "1", "--start", str(BROAD)]
    command += ["--work", str(tmp_path / "work"), "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0 and "the same words" in done.stdout, done.stderr[-2000:]
    for kind, name, allowed in ((UNet2DConditionModel, "unet", 0.01), (AutoencoderTiny, "vae", 0.2)):
        new = torch.cat([p.flatten() for p in kind.from_pretrained(output / name).float().parameters()]).detach()
        old = torch.cat([p.flatten() for p in part(kind, name).parameters()])
        moved = float((new - old).norm() / old.norm())
        print(f"{name} moved by {moved:.4f} of its norm (at most {allowed})")
        assert 0 < moved < allowed
    encoders = [kind.from_pretrained(folder / "vae").encoder for kind, folder in
                ((AutoencoderTiny, output), (AutoencoderTiny, BROAD))]  # fmt: skip
    for new, old in zip(encoders[0].parameters(), encoders[1].parameters(), strict=True):
        assert torch.equal(new.half(), old.half())


def test_where_controlnets_learn_alone_all_else_stays(tmp_path):
    """Before they learn, the teacher that is written is the one that training started from, bit for bit."""
    place = stages.Workplace(tmp_path / "work", tmp_path / "new", stages.SMOKE, 1, BROAD, controlnets_only=True)
    shutil.copytree(BROAD / "vae", place.work / "vae")
    for stage in (stages.keep_text, stages.decoder, stages.unet, stages.package):
        stage(place)
    for kind, name in ((UNet2DConditionModel, "unet"), (ControlNetModel, "controlnet_depth"),
                       (ControlNetModel, "controlnet_canny"), (AutoencoderTiny, "vae")):  # fmt: skip
        pairs = zip(kind.from_pretrained(place.output / name).parameters(), part(kind, name).parameters(), strict=True)
        assert all(torch.equal(new.float(), old) for new, old in pairs), name


def test_shared_words_keep_their_embeddings_when_the_tokenizer_changes():
    known = part(CLIPTokenizer, "tokenizer")
    other = part(CLIPTextModel, "text_encoder")
    fewer = CLIPTokenizer(
        vocab={t: i for i, t in enumerate(reversed(list(known.get_vocab())))}, merges=[], model_max_length=32
    )
    model = new_model(fewer, seed=0)
    inherit(model, fewer, other, known)
    new, old = model.get_input_embeddings().weight, other.get_input_embeddings().weight
    token = known.tokenize("brick")[0]
    assert torch.equal(new[fewer.get_vocab()[token]], old[known.get_vocab()[token]])
    assert fewer.get_vocab()[token] != known.get_vocab()[token]
