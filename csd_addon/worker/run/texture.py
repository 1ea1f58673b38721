"""One texture job from its folder to its result: load, render the views, optimise, bake, report.

An edit takes the same way (``edit_run``); the methods without an underscore are where it differs.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.checks import SHARED, sharing
from ...core.images import STEP, image_of, parts, picture_file
from ...core.mesh import MeshData, Normalization
from ...core.recipe import Recipe
from ...core.resolving import resolve
from ...core.settings import JobSettings
from ...jobs.folder import JobFolder, read_json, write_json
from ...protocol import Cancelled, Done, Phase, Preview, Progress, Warning
from ..bake.bake import bake, build_atlas
from ..bake.measure import Filling, measure, shares, unseen_texels
from ..bake.unseen import Seen, SeenFaces, directions
from ..bake.write_png import write_map, write_png
from ..look.surface import Surface
from ..look.views import PooledView, sample_pool
from ..method.synthesis import Synthesis
from ..serve.control import Control, JobFailure
from ..serve.process import Emit
from ..teacher.device import choose_device, peak_memory_mb
from ..teacher.diffusion import DiffusionTeacher
from ..teacher.memory import fit, free_bytes
from ..teacher.preferences import read_preferences
from ..teacher.vocabulary import in_known_words, told_unknown
from ..teacher.warm import warm_teacher
from .checkpoint import has_checkpoint, remove_checkpoint
from .pacing import Pacing
from .pictures import write_pictures
from .report import Report, quarters

# Seconds between two progress messages.
PROGRESS_PERIOD = 0.5
PREVIEW_SIZE = 512


class TextureRun:
    """The phases of one job and the state that they share."""

    growing = "Growing the texture"
    settings: JobSettings
    mesh: MeshData
    normalization: Normalization
    materials: list[str]
    teacher: DiffusionTeacher
    recipe: Recipe
    generator: torch.Generator

    def __init__(self, folder: JobFolder, control: Control, emit: Emit) -> None:
        self.folder, self.control, self._emit = folder, control, emit
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self._spoke = self._begun = 0.0
        self._pacing = Pacing(0.0)
        self._first_iteration = 0
        self._shown: dict[int, np.ndarray] = {}

    def run(self, resume: bool) -> None:
        """Ends with ``Done`` or ``Cancelled``. Raises ``JobFailure`` with a sentence for the artist."""
        began = time.monotonic()
        device = self._load()
        with self._phase("views", "Looking at the object from all sides"):
            synthesis = self.prepare(Surface.of(self.mesh, self.normalization, device))
            self._fit(synthesis)
        if self.control.cancel:
            return self._emit(Cancelled(0))
        if resume and has_checkpoint(self.folder.checkpoint):
            synthesis.restore(self.folder.checkpoint)
        with self._phase("optimize", self.growing):
            self._first_iteration, self._begun = synthesis.iteration, time.monotonic()
            self._pacing = Pacing(self._begun)
            synthesis.run(self.control, lambda: self._on_step(synthesis), self.folder.checkpoint)
        if self.control.cancel:
            write_pictures(self.folder, self.mesh, self._shown)
            return self._emit(Cancelled(synthesis.iteration))
        with self._phase("bake", "Baking the texture"):
            path, figures = self.bake(synthesis)
            write_pictures(self.folder, self.mesh, self.preview(synthesis))
        self.seconds["total"] = time.monotonic() - began
        write_json(self.folder.report, self._report(synthesis, figures))
        remove_checkpoint(self.folder.checkpoint)
        paths = {"basecolor": str(path), "report": str(self.folder.report)}
        self._emit(Done(paths, read_json(self.folder.report)))

    def _load(self) -> torch.device:
        """Read the job and load its teacher; returns the device that it is on."""
        with self._phase("load", "Loading the teacher"):
            job = self._read()
            device = choose_device(self.settings.device)
            self.teacher = self._load_teacher(job["teacher"], device)
            self.recipe = self._recipe()
        self.generator = torch.Generator().manual_seed(self.settings.seed)
        return device

    def prepare(self, surface: Surface) -> Synthesis:
        """Render the views and set the loop up."""
        pool = list(self.views(surface))
        self.meshes = parts(self.mesh)
        if tiles := {number % STEP for number in self.meshes} - {0}:
            self.warn(f"The UV map lies on {len(tiles)} UDIM tiles: each gets an image of its own.")
        self._preview_atlases = {
            number: build_atlas(mesh, self.normalization, (PREVIEW_SIZE, PREVIEW_SIZE), samples=1)
            for number, mesh in self.meshes.items()
        }
        return Synthesis(
            self.teacher, pool, self.recipe, prompt=self.understood(self.settings.prompt),
            negative=self.understood(self.recipe.negative), loss=self.settings.loss, generator=self.generator,
        )  # fmt: skip

    def resolve(self, preferences: dict[str, Any]) -> Recipe:
        """The numbers of this run."""
        return resolve(self.settings, preferences)

    def words(self) -> str:
        """All words that the teacher should know."""
        return f"{self.settings.prompt} {self.settings.negative}"

    def understood(self, text: str) -> str:
        """``text`` in the teacher's words."""
        return in_known_words(self.teacher.root, text)

    def preview(self, synthesis: Synthesis) -> dict[int, np.ndarray]:
        """By picture (S, S, 3) sRGB-encoded, the texture as it is now."""
        return {number: bake(synthesis.field, atlas)[0] for number, atlas in self._preview_atlases.items()}

    def bake(self, synthesis: Synthesis) -> tuple[Path, dict[str, Any]]:
        """Write the finished texture; returns its path and its figures."""
        size, depth, written, fillings = self.settings.size, _depth(self.settings), {}, {}
        all_seen = Seen.of(synthesis.pool, self.mesh, self.recipe.resolution)
        seen = {number: SeenFaces(all_seen, directions(mesh)) for number, mesh in self.meshes.items()}
        for number, mesh in self.meshes.items():
            # One after the other: an atlas of 4096 texels takes a gigabyte.
            average = self.settings.overlaps == "average"
            atlas = build_atlas(mesh, self.normalization, (size, size), average=average)
            exact = 0.5 / (2**depth - 1)
            image, _ = bake(synthesis.field, atlas, self.settings.margin, seen[number], exact)
            written[number] = write_png(picture_file(self.folder.basecolor, number), image, depth=depth)
            unseen = unseen_texels(atlas, seen[number])
            fillings[number] = Filling.of(atlas, unseen)
            if self.settings.unseen_map:
                write_map(picture_file(self.folder.unseen, number), unseen)
        self.warn_of_overlap(max(filling.overlap for filling in fillings.values()))
        figures = measure(synthesis.field, self.meshes, self.normalization, written, [*fillings.values()], seen)
        figures["images"] = [self._image_figures(k, fillings) for k in range(len(self.materials))]
        if self.settings.unseen_map:
            figures["unseen_map"] = [picture_file(self.folder.unseen, number).name for number in written]
        return self.folder.basecolor, figures

    def _image_figures(self, image: int, fillings: Mapping[int, Filling]) -> dict[str, Any]:
        own = [number for number in fillings if image_of(number) == image]
        files = [picture_file(self.folder.basecolor, number).name for number in own]
        return {"material": self.materials[image], "files": files, **shares([fillings[number] for number in own])}

    def warn_of_overlap(self, overlap: float) -> None:
        """Say it when faces share texels."""
        if overlap > SHARED:
            self.warn(sharing(overlap, self.settings, several_materials=self._several_materials))

    def views(self, surface: Surface, interest: np.ndarray | None = None) -> Iterator[PooledView]:
        """The pool, one by one; ends early when the job is cancelled. interest: see ``sample_pool``."""
        for view in sample_pool(surface, self.recipe, self.generator, self.teacher.conditions, interest):
            yield view
            if self.control.cancel:
                return

    def warn(self, sentence: str) -> None:
        """Tell the artist, and note it in the report."""
        self.warnings.append(sentence)
        self._emit(Warning(sentence))

    def _read(self) -> dict[str, Any]:
        try:
            job = read_json(self.folder.job)
            self.settings = JobSettings.from_json(job["settings"]).validate()
            self.mesh = MeshData.load(self.folder.mesh)
            self.materials = _materials(job, self.mesh)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        self._several_materials = job.get("materials", 1) != 1
        # Loose vertices may lie anywhere; only what has faces is looked at.
        self.normalization = Normalization.of(self.mesh.positions[np.unique(self.mesh.triangles)])
        return job

    def _load_teacher(self, folders: dict[str, str], device: torch.device) -> DiffusionTeacher:
        teacher = warm_teacher(folders, device, self.settings.lora)
        self._tell_of_lora(teacher)
        return teacher

    def _tell_of_lora(self, teacher: DiffusionTeacher) -> None:
        merged = teacher.merged
        if merged and (merged.foreign or merged.text):
            self.warn(
                f"The LoRA changes {merged.fitted} layers of the teacher; {merged.foreign} that it does not have and "
                f"{merged.text} pieces for the text encoder are left out."
            )

    def _fit(self, synthesis: Synthesis) -> None:
        """Cut the steps up so that they fit into the device's memory."""
        need = synthesis.need()
        device = self.teacher.device
        if self.recipe.compile:
            self.teacher.compile()
        free = free_bytes(device)
        plan = fit(need, None if free is None else free + self.teacher.held())
        synthesis.budget(need, plan)
        self.memory = {"plan": asdict(plan), "estimate_mb": need.bytes(plan) >> 20, "free_mb": free and free >> 20}
        if plan != fit(need, None):
            self.warn(f"To fit into the memory of the device {device}, it works with {plan.words()}.")

    def _recipe(self) -> Recipe:
        root = self.teacher.root
        try:
            recipe = self.resolve(read_preferences(root))
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        if sentence := told_unknown(root, self.settings.teacher, self.words()):
            self.warn(sentence)
        for name in ("depth", "canny"):
            if name not in self.teacher.conditions:
                self.warn(f"The teacher '{self.settings.teacher}' has no {name} ControlNet; the run goes without it.")
        return recipe

    def _report(self, synthesis: Synthesis, figures: dict[str, Any]) -> dict[str, Any]:
        return Report(
            seconds={name: round(value, 3) for name, value in self.seconds.items()}, iterations=synthesis.iteration,
            stopped_early=synthesis.iteration < self.recipe.iterations, **figures,
            peak_memory_mb=round(peak_memory_mb(self.teacher.device), 1), gradient_norms=quarters(synthesis.norms),
            teacher=self.settings.teacher, conditions=list(self.teacher.conditions), device=str(self.teacher.device),
            seed=self.settings.seed, settings=self.settings.to_json(), recipe=asdict(self.recipe),
            normalization=asdict(self.normalization), warnings=self.warnings, versions=_versions(), memory=self.memory,
        ).to_json()  # fmt: skip

    def _on_step(self, synthesis: Synthesis) -> None:
        while synthesis.notes:
            self.warn(synthesis.notes.pop(0))
        now = time.monotonic()
        last = synthesis.iteration == synthesis.recipe.iterations
        if now - self._spoke > PROGRESS_PERIOD or last:
            self._spoke = now
            self._emit(self._progress(synthesis, now))
        if self._pacing.is_due(now):
            self._show(synthesis)

    def _show(self, synthesis: Synthesis) -> None:
        """Write a preview and say so."""
        began, path = time.monotonic(), self.folder.preview / "basecolor.png"
        # Windows can't replace a file at the moment when Blender reads it; then the next preview comes soon.
        with contextlib.suppress(PermissionError):
            self._shown = self.preview(synthesis)
            for number, image in self._shown.items():
                write_png(picture_file(path, number), image, effort=1)
            self._emit(Preview(str(path)))
        self._pacing.shown(began, time.monotonic())

    def _progress(self, synthesis: Synthesis, now: float) -> Progress:
        done, of = synthesis.iteration - self._first_iteration, synthesis.recipe.iterations
        left = (of - synthesis.iteration) * (now - self._begun) / max(done, 1)
        memory = peak_memory_mb(synthesis.teacher.device)
        return Progress(synthesis.iteration, of, round(left, 1), synthesis.norms[-1], round(memory, 1))

    @contextmanager
    def _phase(self, name: str, detail: str) -> Iterator[None]:
        began = time.monotonic()
        self._emit(Phase(name, detail))
        yield
        self.seconds[name] = time.monotonic() - began


def _materials(job: dict[str, Any], mesh: MeshData) -> list[str]:
    """The material of each image; none where one image serves all. Raises ``ValueError`` if they don't fit the mesh."""
    if mesh.image is None:
        return []
    try:
        names = [str(image["material"]) for image in job["images"]]
    except (KeyError, TypeError) as error:
        raise ValueError("The job does not say which materials its images are for.") from error
    if set(np.unique(mesh.image).tolist()) - {-1} != set(range(len(names))):
        raise ValueError(f"The job names {len(names)} images, and the faces of its mesh show others.")
    return names


def _depth(settings: JobSettings) -> int:
    """Bits of a channel of a new texture."""
    return 8 if settings.depth == "auto" else int(settings.depth)


def _versions() -> dict[str, str]:
    libraries = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}
