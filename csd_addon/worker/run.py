"""One texture job from its folder to its result: load, render the views, optimise, bake, report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..core.mesh import MeshData, Normalization
from ..core.report import Report, quarters
from ..core.settings import JobSettings, Recipe, resolve
from ..jobs.folder import JobFolder, read_json, write_json
from ..protocol import Cancelled, Done, Phase, Preview, Progress, Warning
from .bake import Atlas, bake, build_atlas, measure
from .checkpoint import has_checkpoint
from .control import Control, JobFailure
from .device import choose_device, choose_dtype, peak_memory_mb
from .guidance.prompts import unknown_words
from .guidance.teacher import DiffusionTeacher, read_preferences, read_vocabulary
from .render.surface import Surface
from .render.views import PooledView, sample_pool
from .serve import Emit
from .synthesis import Synthesis

# Seconds between two progress messages, and between two previews.
PROGRESS_PERIOD = 0.5
PREVIEW_PERIOD = 3.0
PREVIEW_SIZE = 256

# A warm worker keeps the teacher of the last job: (what it was made from, the teacher).
_warm: dict[str, Any] = {}


def run_job(folder: JobFolder, control: Control, emit: Emit, resume: bool) -> None:
    """Run the texture job in ``folder``; ends with ``Done`` or ``Cancelled``.

    Raises ``JobFailure`` with a sentence for the artist.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    _Run(folder, control, emit).run(resume)


class _Run:
    """The state that the phases of one job share."""

    def __init__(self, folder: JobFolder, control: Control, emit: Emit) -> None:
        self.folder, self.control, self._emit = folder, control, emit
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self._spoke = self._showed = self._begun = 0.0
        self._first_iteration = 0

    def run(self, resume: bool) -> None:
        began = time.monotonic()
        with self._phase("load", "Loading the teacher"):
            job, mesh = self._read()
            settings = JobSettings.from_json(job["settings"])
            device = choose_device(settings.device)
            teacher = _load_teacher(job["teacher"], device)
            recipe = self._recipe(settings, teacher)
        generator = torch.Generator().manual_seed(settings.seed)
        # Loose vertices may lie anywhere; only what has faces is looked at.
        normalization = Normalization.of(mesh.positions[np.unique(mesh.triangles)])
        with self._phase("views", "Looking at the object from all sides"):
            surface = Surface.of(mesh, normalization, device)
            pool = self._views(surface, recipe, generator, teacher)
            preview_atlas = build_atlas(mesh, normalization, PREVIEW_SIZE, samples=1)
        if self.control.cancel:
            return self._emit(Cancelled(0))
        synthesis = Synthesis(
            teacher, pool, recipe, prompt=settings.prompt, loss=settings.loss, generator=generator
        )
        if resume and has_checkpoint(self.folder.checkpoint):
            synthesis.restore(self.folder.checkpoint)
        with self._phase("optimize", "Growing the texture"):
            self._first_iteration, self._begun = synthesis.iteration, time.monotonic()
            synthesis.run(
                self.control, lambda: self._on_step(synthesis, preview_atlas), self.folder.checkpoint
            )
        if self.control.cancel:
            return self._emit(Cancelled(synthesis.iteration))
        with self._phase("bake", "Baking the texture"):
            figures = self._bake(synthesis, mesh, normalization, settings.size)
        self.seconds["total"] = time.monotonic() - began
        report = Report(
            seconds=_rounded(self.seconds), iterations=synthesis.iteration,
            stopped_early=synthesis.iteration < recipe.iterations, **figures,
            peak_memory_mb=round(peak_memory_mb(device), 1), gradient_norms=quarters(synthesis.norms),
            teacher=settings.teacher, conditions=list(teacher.conditions), device=str(device), seed=settings.seed,
            settings=settings.to_json(), recipe=asdict(recipe), normalization=asdict(normalization),
            warnings=self.warnings, versions=_versions(),
        ).to_json()  # fmt: skip
        write_json(self.folder.report, report)
        self._emit(Done({"basecolor": str(self.folder.basecolor), "report": str(self.folder.report)}, report))

    def _read(self) -> tuple[dict[str, Any], MeshData]:
        try:
            return read_json(self.folder.job), MeshData.load(self.folder.mesh)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error

    def _recipe(self, settings: JobSettings, teacher: DiffusionTeacher) -> Recipe:
        preferences = read_preferences(teacher.root)
        try:
            recipe = resolve(settings.validate(), preferences)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        vocabulary = read_vocabulary(teacher.root)
        unknown = unknown_words(f"{settings.prompt} {settings.negative}", vocabulary) if vocabulary else []
        if unknown:
            self._warn(
                f"The teacher '{settings.teacher}' does not know: {', '.join(unknown)}. It will follow the other words "
                f"only; its vocabulary is in {teacher.root / 'README.md'}."
            )
        for name in ("depth", "canny"):
            if name not in teacher.conditions:
                self._warn(f"The teacher '{settings.teacher}' has no {name} ControlNet; the run goes without it.")
        return recipe

    def _views(
        self, surface: Surface, recipe: Recipe, generator: torch.Generator, teacher: DiffusionTeacher
    ) -> list[PooledView]:
        pool = []
        for view in sample_pool(surface, recipe, generator, teacher.conditions):
            pool.append(view)
            if self.control.cancel:
                break
        return pool

    def _on_step(self, synthesis: Synthesis, atlas: Atlas) -> None:
        now = time.monotonic()
        last = synthesis.iteration == synthesis.recipe.iterations
        if now - self._spoke > PROGRESS_PERIOD or last:
            self._spoke = now
            done = synthesis.iteration - self._first_iteration
            left = (synthesis.recipe.iterations - synthesis.iteration) * (now - self._begun) / max(done, 1)
            memory = peak_memory_mb(synthesis.teacher.device)
            self._emit(
                Progress(
                    synthesis.iteration, synthesis.recipe.iterations, round(left, 1), synthesis.norms[-1],
                    round(memory, 1),
                )  # fmt: skip
            )
        if now - self._showed > PREVIEW_PERIOD:
            self._showed = now
            path = self.folder.preview / "basecolor.png"
            write_png(path, bake(synthesis.field, atlas)[0])
            self._emit(Preview(str(path)))

    def _bake(
        self, synthesis: Synthesis, mesh: MeshData, normalization: Normalization, size: int
    ) -> dict[str, Any]:
        atlas = build_atlas(mesh, normalization, size)
        image, filled = bake(synthesis.field, atlas)
        written = write_png(self.folder.basecolor, image)
        if atlas.overlap > 0.01:
            self._warn(
                f"{atlas.overlap:.0%} of the UV map is shared by several faces (mirrored or overlapping UVs): "
                "they show the same texels."
            )
        return measure(synthesis.field, mesh, normalization, written, filled, atlas)

    def _warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
        self._emit(Warning(sentence))

    @contextmanager
    def _phase(self, name: str, detail: str) -> Iterator[None]:
        began = time.monotonic()
        self._emit(Phase(name, detail))
        yield
        self.seconds[name] = time.monotonic() - began


def write_png(path: Path, image: np.ndarray) -> np.ndarray:
    """Write an (S, S, 3) sRGB-encoded float image as 8-bit PNG, aside first; returns it as it was rounded."""
    texels = np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
    aside = path.with_name(path.name + ".part")
    Image.fromarray(texels).save(aside, format="PNG")
    os.replace(aside, path)
    return texels.astype(np.float32) / 255


def _load_teacher(folders: dict[str, str], device: torch.device) -> DiffusionTeacher:
    key = f"{sorted(folders.items())} {device}"
    if _warm.get("key") != key:
        _warm.clear()
        dtype = choose_dtype(device)
        _warm["teacher"] = DiffusionTeacher(folders, device, dtype, use=("depth", "canny"))
        _warm["key"] = key
    teacher: DiffusionTeacher = _warm["teacher"]
    return teacher


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}


def _versions() -> dict[str, str]:
    libraries = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}
