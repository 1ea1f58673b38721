"""The stages of training in order, what each reads and leaves in the working folder, and their sizes."""

from __future__ import annotations

import json
import os
import shutil
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from . import dataset
from .captions import caption
from .controlnets import KINDS, ConditionData, ControlNetTask, new_controlnet
from .evaluate import Judge
from .hogwild import Run, train, write
from .latent import encode_all, new_autoencoder, projection, train_decoder
from .package import known_words, write_part, write_tokenizer, write_vocabulary
from .text_encoder import inherit, new_model, pretrain, tokenize, train_tokenizer
from .unet import DenoisingData, UNetTask, new_scheduler, new_unet
from .vocabulary import HARD


@dataclass(frozen=True)
class Sizes:
    """How much each stage makes, or how many steps it takes. hard: how often the images of `HARD` are drawn for one
    of the others.
    """

    images: int
    held_out: int
    captions: int
    text_steps: int
    decoder_steps: int
    unet_steps: int
    controlnet_steps: int
    batch: int = 32
    rate: float = 2e-3
    hard: int = 1


FULL = Sizes(84_000, 2_000, 4, 1_500, 800, 9_000, 600)
# On from the weights of a teacher that is there; the full rate would undo what was learned as it fell.
CONTINUED = Sizes(120_000, 2_000, 4, 1_100, 300, 7_000, 1_000, rate=1e-3, hard=3)
# One GPU, from nothing or on from a teacher; the machine that has one makes the images with all its cores.
ACCELERATED = Sizes(240_000, 2_000, 4, 1_500, 800, 20_000, 3_000, batch=512)
SMOKE = Sizes(60, 10, 1, 3, 3, 3, 2)
SEED = 1000
# Images of higher seeds are for measuring: the held-out ones here, those of the judges in `benchmarks/judges.py`.
HIGHEST_SEED = 8_000


@dataclass(frozen=True)
class Workplace:
    """work: data and checkpoints. output: the finished teacher. start: a teacher whose weights training goes on from;
    None: from nothing. compiled: whether torch compiles the networks that learn. seed: of the images, and of those, the
    captions, time steps and noise that the diffusion parts draw.
    """

    work: Path
    output: Path
    sizes: Sizes
    processes: int
    start: Path | None = None
    device: str = "cpu"
    controlnets_only: bool = False
    compiled: bool = False
    seed: int = SEED

    def tokenizer(self) -> CLIPTokenizer:
        return CLIPTokenizer.from_pretrained(self.work / "tokenizer", local_files_only=True)

    def text_encoder(self) -> CLIPTextModel:
        model = CLIPTextModel.from_pretrained(self.work / "text_encoder", local_files_only=True)
        return model.float().eval().requires_grad_(False)

    def autoencoder(self) -> AutoencoderTiny:
        return AutoencoderTiny.from_pretrained(self.work / "vae", local_files_only=True)

    def denoising_data(self, split: str, count: int | None = None) -> DenoisingData:
        tensors = load_file(self.work / f"{split}.safetensors")
        empty = tokenize(self.tokenizer(), [""])[0].to(torch.int16)
        every = 1 if count is None else max(1, len(tensors["latents"]) // count)
        latents = tensors["latents"][::every]
        return DenoisingData(latents, tensors["tokens"][::every], empty, torch.arange(len(latents)))

    def training_data(self) -> DenoisingData:
        """All images; those of hard materials are drawn `sizes.hard` times as often as the others."""
        materials = [look.material for look in dataset.load_looks(self.work / "images")]
        return replace(self.denoising_data("images"), deck=deck(materials, self.sizes.hard))

    def condition_data(self, split: str, kind: str, count: int | None = None) -> ConditionData:
        data = dataset.load(self.work / split)
        every = 1 if count is None else max(1, len(data.images) // count)
        return ConditionData(torch.from_numpy(getattr(data, kind)), torch.from_numpy(data.buffer[::every]))

    def averaged_unet(self) -> UNet2DConditionModel:
        model = new_unet(SEED)
        model.load_state_dict(load_file(self.run("unet", self.sizes.unet_steps).result))
        return model.eval()

    def judge(self, unet: UNet2DConditionModel) -> Judge:
        return Judge(unet, self.text_encoder(), self.tokenizer(), self.autoencoder(), new_scheduler())

    def draw_prompts(self, unet: UNet2DConditionModel, path: Path) -> None:
        self.judge(deepcopy(unet).cpu()).sheet_of_prompts(path)

    def draw_conditions(self, kind: str, controlnet: ControlNetModel, path: Path) -> None:
        conditions = getattr(dataset.load(self.work / "held_out"), kind)
        judge = self.judge(self.averaged_unet())
        judge.sheet_of_conditions(deepcopy(controlnet).cpu(), conditions[:240:20], path)

    def started(self, kind: type, part: str):
        """One part of the teacher that training starts from, in float32."""
        return kind.from_pretrained(self.start / part, local_files_only=True).float()

    def run(self, name: str, steps: int, **fields) -> Run:
        return Run(
            name, self.work / name, steps, batch=self.sizes.batch, rate=self.sizes.rate, processes=self.processes,
            seed=self.seed, device=self.device, compiled=self.compiled, **fields,
        )  # fmt: skip


def deck(materials: list[str], hard: int) -> torch.Tensor:
    """[M] int64 numbers of the images with these `materials`; of hard ones each is in it `hard` times."""
    times = torch.tensor([hard if material in HARD else 1 for material in materials])
    return torch.arange(len(materials)).repeat_interleave(times)


def images(place: Workplace) -> None:
    dataset.build(place.work / "images", place.sizes.images, place.seed)
    # Every held-out image has a mesh of its own share and two paints; none of the seeds is used above.
    dataset.build(place.work / "held_out", place.sizes.held_out, 9 * SEED, paints=2)


def text(place: Workplace) -> None:
    if (place.work / "text_encoder").exists():
        return
    if place.start and known_words() == json.loads((place.start / "vocabulary.json").read_text())["words"]:
        keep_text(place)
    else:
        learn_text(place)


def keep_text(place: Workplace) -> None:
    """The words are those of the teacher that training starts from, and so are the tokenizer and the encoder."""
    print("text: the same words, so the tokenizer and the text encoder stay")
    shutil.copytree(place.start / "tokenizer", place.work / "tokenizer", dirs_exist_ok=True)
    save_text_encoder(place, place.started(CLIPTextModel, "text_encoder"))


def learn_text(place: Workplace) -> None:
    looks = dataset.load_looks(place.work / "images")
    rng = np.random.default_rng(SEED)
    train_tokenizer([caption(rng, look) for look in looks], place.work / "tokenizer")
    tokenizer = place.tokenizer()
    model = new_model(tokenizer, SEED)
    if place.start:
        known = CLIPTokenizer.from_pretrained(place.start / "tokenizer", local_files_only=True)
        inherit(model, tokenizer, place.started(CLIPTextModel, "text_encoder"), known)
    pretrain(model, tokenizer, looks, steps=place.sizes.text_steps, seed=SEED)
    save_text_encoder(place, model)


def save_text_encoder(place: Workplace, model: CLIPTextModel) -> None:
    """Its folder marks the stage as done, so it appears whole."""
    model.save_pretrained(place.work / "text_encoder.part")
    os.replace(place.work / "text_encoder.part", place.work / "text_encoder")


def latent(place: Workplace) -> None:
    """The autoencoder's projection, and every image as latents with its captions as tokens."""
    if (place.work / "held_out.safetensors").exists():
        return
    train_set = dataset.load(place.work / "images")
    if place.start:
        # The UNet's weights belong to this latent space.
        model = place.started(AutoencoderTiny, "vae")
    else:
        model = new_autoencoder(*projection(train_set.images[:: max(1, len(train_set.images) // 8000)]))
    model.save_pretrained(place.work / "vae")
    for split, data in (("images", train_set), ("held_out", dataset.load(place.work / "held_out"))):
        rng = np.random.default_rng(SEED + len(data.images))
        texts = [caption(rng, look) for look in data.looks for _ in range(place.sizes.captions)]
        tokens = tokenize(place.tokenizer(), texts).reshape(len(data.looks), place.sizes.captions, -1)
        tensors = {"latents": encode_all(model, data.images, place.device), "tokens": tokens.to(torch.int16)}
        write(tensors, place.work / f"{split}.safetensors")


def decoder(place: Workplace) -> None:
    model, done = place.autoencoder(), place.work / "vae" / "decoder_trained"
    if done.exists() or place.controlnets_only:
        return
    train_decoder(model, dataset.load(place.work / "images").images, steps=place.sizes.decoder_steps, seed=SEED)
    model.save_pretrained(place.work / "vae")
    done.touch()


def unet(place: Workplace) -> None:
    run = place.run("unet", place.sizes.unet_steps)
    if run.marker.exists():
        return
    if place.controlnets_only:
        run.folder.mkdir()
        write(place.started(UNet2DConditionModel, "unet").state_dict(), run.result)
        run.marker.touch()
    else:
        task = UNetTask(
            place.training_data(), place.denoising_data("held_out", 48), place.text_encoder(),
            place.draw_prompts,
        )  # fmt: skip
        train(place.started(UNet2DConditionModel, "unet") if place.start else new_unet(SEED), task, run)


def depth(place: Workplace) -> None:
    train_controlnet(place, "depth")


def canny(place: Workplace) -> None:
    train_controlnet(place, "canny")


def train_controlnet(place: Workplace, kind: str) -> None:
    run = place.run(kind, place.sizes.controlnet_steps, average=0.995)
    if run.marker.exists():
        return
    model = place.averaged_unet()
    task = ControlNetTask(
        model, place.text_encoder(),
        place.training_data(), place.condition_data("images", kind),
        place.denoising_data("held_out", 48), place.condition_data("held_out", kind, 48),
        partial(place.draw_conditions, kind),
    )  # fmt: skip
    train(first_controlnet(place, kind, model), task, run)


def first_controlnet(place: Workplace, kind: str, model: UNet2DConditionModel) -> ControlNetModel:
    """What the training of one ControlNet begins with."""
    return place.started(ControlNetModel, f"controlnet_{kind}") if place.start else new_controlnet(model)


def package(place: Workplace) -> None:
    """Write what has been trained so far; a ControlNet without a checkpoint is written as it starts."""
    teacher, model = place.output, place.averaged_unet()
    teacher.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        controlnet = first_controlnet(place, kind, model)
        result = place.run(kind, place.sizes.controlnet_steps).result
        if result.exists():
            controlnet.load_state_dict(load_file(result))
        write_part(controlnet, teacher / f"controlnet_{kind}")
    write_part(model, teacher / "unet")
    write_part(place.autoencoder(), teacher / "vae")
    write_part(place.text_encoder(), teacher / "text_encoder")
    write_part(new_scheduler(), teacher / "scheduler")
    write_tokenizer(place.work / "tokenizer", teacher / "tokenizer")
    write_vocabulary(teacher / "vocabulary.json")


def evaluate(place: Workplace) -> None:
    """Print figures of the model as trained and write sheets of samples beside the checkpoints."""
    if place.sizes is SMOKE:
        return
    judge = place.judge(place.averaged_unet())
    judge.sheet_of_prompts(place.work / "samples.png")
    for kind in KINDS:
        controlnet = new_controlnet(judge.unet)
        controlnet.load_state_dict(load_file(place.run(kind, place.sizes.controlnet_steps).result))
        place.draw_conditions(kind, controlnet, place.work / f"{kind}.png")
        if kind == "depth":
            judge.count_named_colors(controlnet, dataset.load(place.work / "held_out").depth)


ORDER = (images, text, latent, decoder, unet, depth, canny, package, evaluate)
STAGES = {stage.__name__: stage for stage in ORDER}
