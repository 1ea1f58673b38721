"""What every job shares: its folder, its settings, its mesh, its teacher, its numbers, and what it says to the artist.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from ...core.mesh import MeshData, Normalization
from ...core.recipe import Recipe, Sample, method_of
from ...core.resolving import resolve
from ...core.settings import JobSettings
from ...core.teacher_folder import TeacherDamaged, read_preferences
from ...jobs.folder import JobFolder, read_json
from ...protocol import Phase, Warning
from ..look.surface import Surface
from ..look.views import PooledView, sample_pool
from ..method.loop import Loop
from ..serve.control import Control, JobFailure
from ..serve.process import Emit
from ..teacher.device import choose_device
from ..teacher.interface import Teacher
from ..teacher.memory import OVERHEAD, fit, free_bytes
from ..teacher.vocabulary import in_known_words, told_unknown
from ..teacher.warm import warm_teacher

# Seconds between two progress messages.
PROGRESS_PERIOD = 0.5


class Session:
    """A job that was read and whose teacher is loaded.

    control: what the artist asks for meanwhile. emit: sends a message to Blender. seconds: of the phases so far.
    warnings: what the artist was told. materials: the material of each image, none where one image serves all.
    method: in words (``recipe.method_of``). memory: how the steps are cut up, once ``fit_memory`` has decided it.
    """

    settings: JobSettings
    mesh: MeshData
    normalization: Normalization
    materials: list[str]
    several_materials: bool
    teacher: Teacher
    recipe: Recipe
    method: str
    generator: torch.Generator

    def __init__(self, folder: JobFolder, control: Control, emit: Emit) -> None:
        """Read the job and load its teacher. Raises ``JobFailure`` with a sentence for the artist."""
        self.folder, self.control, self.emit = folder, control, emit
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self.memory: dict[str, Any] = {}
        with self.phase("load", "Loading the teacher"):
            teacher = self._read()
            device = choose_device(self.settings.device)
            self.teacher = warm_teacher(teacher, device, self.settings.lora)
            for sentence in self.teacher.notes:
                self.warn(sentence)
            self._resolve()
        self.generator = torch.Generator().manual_seed(self.settings.seed)

    @property
    def surface(self) -> Surface:
        """The mesh on the teacher's device."""
        return Surface.of(self.mesh, self.normalization, self.teacher.device)

    def views(self, surface: Surface, interest: np.ndarray | None = None) -> Iterator[PooledView]:
        """The pool, one by one; ends early when the job is cancelled. interest: see ``sample_pool``."""
        for view in sample_pool(surface, self.recipe.views, self.generator, self.teacher.conditions, interest):
            yield view
            if self.control.cancel:
                return

    def understood(self, text: str) -> str:
        """``text`` in the teacher's words."""
        return in_known_words(self.teacher.root, text)

    def warn(self, sentence: str) -> None:
        """Tell the artist once, and note it for the report."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self.emit(Warning(sentence))

    @contextmanager
    def phase(self, name: str, detail: str) -> Iterator[None]:
        """Tell of a phase and take its time."""
        began = time.monotonic()
        self.emit(Phase(name, detail))
        yield
        self.seconds[name] = time.monotonic() - began

    def fit_memory(self, loop: Loop) -> None:
        """Cut the steps of ``loop`` up so that they fit into the device's memory.

        Raises ``JobFailure`` (kind "memory") where sampling keeps more of its views than fits.
        """
        device, need = self.teacher.device, loop.need
        if self.recipe.run.compile:
            self.teacher.compile()
        free = free_bytes(device)
        # What the teacher holds is part of the need.
        room = free + self.teacher.held()
        self._require_room_for_views(need.weights + need.field, room, free)
        plan = fit(need, room)
        loop.work_in(plan)
        self.memory = {"plan": asdict(plan), "estimate_mb": need.bytes(plan) >> 20, "free_mb": free >> 20}
        if plan != fit(need, None):
            self.warn(f"To fit into the memory of the device {device}, it works with {plan.words()}.")

    def _require_room_for_views(self, needed: int, room: int, free: int) -> None:
        """needed: bytes of the teacher and of all views. room: what there is for both."""
        if not isinstance(self.recipe.mover, Sample) or needed + OVERHEAD <= room:
            return
        views = self.recipe.views
        raise JobFailure(
            "memory",
            f"Sampling keeps what {views.view_pool} views of {views.resolution} pixels show, about "
            f"{needed / 2**30:.0f} GB, and the device {self.teacher.device} has {free / 2**30:.0f} GB: set the method "
            "to distill, or take fewer or smaller views (the expert values 'view_pool' and 'resolution').",
        )

    def _read(self) -> dict[str, str]:
        """Read the job; returns the folders of its teacher."""
        try:
            job = read_json(self.folder.job)
            self.settings = JobSettings.from_json(job["settings"]).validate()
            self.mesh = MeshData.load(self.folder.mesh)
            self.materials = _materials(job, self.mesh)
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        self.several_materials = job.get("materials", 1) != 1
        # Loose vertices may lie anywhere; only what has faces is looked at.
        self.normalization = Normalization.of(self.mesh.positions[np.unique(self.mesh.triangles)])
        folders: dict[str, str] = job["teacher"]
        return folders

    def _resolve(self) -> None:
        """Decide the numbers of the run, and tell what the teacher lacks for it."""
        settings, root = self.settings, self.teacher.root
        words = f"{settings.target} {settings.remove}" if settings.kind == "edit" else (
            f"{settings.prompt} {settings.negative}"
        )  # fmt: skip
        try:
            self.recipe = resolve(settings, read_preferences(root))
            unknown = told_unknown(root, settings.teacher, words)
        except TeacherDamaged as error:
            raise JobFailure("teacher", str(error)) from error
        except ValueError as error:
            raise JobFailure("input", str(error)) from error
        self.method = method_of(self.recipe, settings.loss)
        if unknown:
            self.warn(unknown)
        for name in ("depth", "canny"):
            if name not in self.teacher.conditions:
                self.warn(f"The teacher '{settings.teacher}' has no {name} ControlNet; the run goes without it.")


def _materials(job: Mapping[str, Any], mesh: MeshData) -> list[str]:
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


def versions() -> dict[str, str]:
    """Of Python and the libraries that a result depends on."""
    libraries = ("torch", "diffusers", "transformers", "safetensors", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}
