"""One texture or edit from its folder to its result: look, optimise, bake, report. What is grown is a ``Product``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...core.images import picture_file
from ...core.recipe import to_json
from ...jobs.folder import read_json, write_json
from ...protocol import Cancelled, Done, Preview, Progress
from ..bake.write_png import write_png
from ..method.loop import Loop
from ..teacher.device import peak_memory_mb
from .checkpoint import has_checkpoint, load_checkpoint, remove_checkpoint, save_checkpoint
from .pacing import Pacing
from .pictures import write_pictures
from .report import Report, quarters
from .session import PROGRESS_PERIOD, Session, versions


class Product(Protocol):
    """A new texture, or an edit of one. growing: what the artist reads meanwhile."""

    growing: str

    def prepare(self) -> Loop | None:
        """Look at the object from all sides and put the loop together; None if the job is cancelled meanwhile."""

    def preview(self, loop: Loop) -> dict[int, np.ndarray]:
        """By picture (S, S, 3) sRGB-encoded, the texture as it is now."""

    def bake(self, loop: Loop) -> tuple[Path, dict[str, Any]]:
        """Write the finished result; returns its path and its figures."""


def grow(session: Session, product: Product, *, resume: bool) -> None:
    """Ends with ``Done`` or ``Cancelled``. Raises ``JobFailure`` with a sentence for the artist."""
    folder, control = session.folder, session.control
    with session.phase("views", "Looking at the object from all sides"):
        loop = product.prepare()
        if loop is not None:
            session.fit_memory(loop)
    if loop is None or control.cancel:
        return session.emit(Cancelled(0))
    if resume and has_checkpoint(folder.checkpoint):
        load_checkpoint(folder.checkpoint, loop)
    with session.phase("optimize", f"{product.growing} by {session.method}"):
        watch = _Watch(session, product, loop)
        loop.run(control, watch.on_step, lambda: save_checkpoint(folder.checkpoint, loop))
    if control.cancel:
        write_pictures(folder, session.mesh, watch.shown)
        return session.emit(Cancelled(loop.iteration))
    if loop.iteration < loop.iterations and not control.stop:
        session.warn(f"It had settled after {loop.iteration} of {loop.iterations} steps and ended early.")
    with session.phase("bake", "Baking the texture"):
        path, figures = product.bake(loop)
        write_pictures(folder, session.mesh, product.preview(loop))
    session.seconds["total"] = time.monotonic() - session.began
    write_json(folder.report, _report(session, loop, figures))
    remove_checkpoint(folder.checkpoint)
    paths = {"basecolor": str(path), "report": str(folder.report)}
    session.emit(Done(paths, read_json(folder.report)))


class _Watch:
    """Tells the artist how the loop goes on. shown: the newest preview."""

    def __init__(self, session: Session, product: Product, loop: Loop) -> None:
        self._session, self._product, self._loop = session, product, loop
        self._first, self._began = loop.iteration, time.monotonic()
        self._spoke, self._pacing = 0.0, Pacing(self._began)
        self.shown: dict[int, np.ndarray] = {}

    def on_step(self) -> None:
        """Called after each step."""
        session, loop = self._session, self._loop
        while loop.notes:
            session.warn(loop.notes.pop(0))
        now = time.monotonic()
        if now - self._spoke > PROGRESS_PERIOD or loop.iteration == loop.iterations:
            self._spoke = now
            done = loop.iteration - self._first
            left = (loop.iterations - loop.iteration) * (now - self._began) / max(done, 1)
            memory = round(peak_memory_mb(session.teacher.device), 1)
            session.emit(Progress(loop.iteration, loop.iterations, round(left, 1), loop.norms[-1], memory))
        if self._pacing.is_due(now):
            self._show()

    def _show(self) -> None:
        """Write a preview and say so."""
        began, path = time.monotonic(), self._session.folder.preview / "basecolor.png"
        # Windows can't replace a file at the moment when Blender reads it; then the next preview comes soon.
        with contextlib.suppress(PermissionError):
            self.shown = self._product.preview(self._loop)
            for number, image in self.shown.items():
                write_png(picture_file(path, number), image, effort=1)
            self._session.emit(Preview(str(path)))
        self._pacing.shown(began, time.monotonic())


def _report(session: Session, loop: Loop, figures: Mapping[str, Any]) -> dict[str, Any]:
    settings, teacher = session.settings, session.teacher
    return Report(
        seconds={name: round(value, 3) for name, value in session.seconds.items()}, iterations=loop.iteration,
        stopped_early=loop.iteration < loop.iterations, **figures,
        peak_memory_mb=round(peak_memory_mb(teacher.device), 1), gradient_norms=quarters(loop.norms),
        method=session.method, teacher=settings.teacher, conditions=list(teacher.conditions),
        device=str(teacher.device), seed=settings.seed, settings=settings.to_json(), recipe=to_json(session.recipe),
        normalization=asdict(session.normalization), warnings=session.warnings, versions=versions(),
        memory=session.memory,
    ).to_json()  # fmt: skip
