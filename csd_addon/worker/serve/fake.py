"""Speaks the protocol with numpy alone, so that everything around the worker is tested without torch.

Paints the UV coordinates, tinted by the seed, in ``iterations`` steps. An edit inverts its source. A diagnosis makes
its figures up. The pictures of the history are flat. Two words in the prompt or the target make it fail on purpose:
"crash" ends the process, "hang" stops answering.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...core.diagnosis import VARIANTS, Outcome, claims
from ...core.images import parts, picture_file
from ...core.mesh import MeshData
from ...core.png import encode_png
from ...core.settings import JobSettings
from ...core.source import EditSource, Tile, save_edited
from ...jobs.folder import JobFolder, read_json, write_json
from ...protocol import Cancelled, Done, Message, Phase, Preview, Progress
from .control import Control, JobFailure
from .process import Emit

STEP_SECONDS = 0.01
# Steps between two previews, each as bright as no other.
PREVIEW_STEPS = 100
DEFAULT_ITERATIONS = 20


def run_job(folder: JobFolder, control: Control, emit: Emit, resume: bool) -> None:
    """The fake's counterpart of ``worker.run.entry.run_job``: the same messages, files and endings."""
    emit(Phase("load"))
    try:
        settings = JobSettings.from_json(read_json(folder.job)["settings"])
        mesh = MeshData.load(folder.mesh)
    except ValueError as error:
        raise JobFailure("input", str(error)) from error
    if settings.kind == "diagnosis":
        return _diagnose(folder, control, emit, settings)
    start = _saved(folder) if resume else 0
    total = settings.iterations or DEFAULT_ITERATIONS
    numbers = list(parts(mesh))
    reached = _optimize(folder, control, emit, settings, numbers, start, total)
    if control.cancel:
        (folder.checkpoint / "fake.txt").write_text(str(reached), encoding="utf-8")
        _write_pictures(folder, settings)
        return emit(Cancelled(reached))
    emit(Phase("bake"))
    try:
        result = _result(folder, settings, numbers)
    except ValueError as error:
        raise JobFailure("input", str(error)) from error
    _write_pictures(folder, settings)
    report = {
        "iterations": reached, "stopped_early": reached < total, "seed": settings.seed, "teacher": "fake",
        "coverage": 1.0, "faces": len(mesh.triangles), "seconds": {"total": total * STEP_SECONDS},
    }  # fmt: skip
    write_json(folder.report, report)
    (folder.checkpoint / "fake.txt").unlink(missing_ok=True)
    emit(Done({"basecolor": str(result), "report": str(folder.report)}, report))


def _result(folder: JobFolder, settings: JobSettings, numbers: list[int]) -> Path:
    """A painted texture; an edit inverts the source wherever its painted mask allows it."""
    if settings.kind == "texture":
        for n in numbers:
            image = _paint(settings, n, settings.size)
            _write_png(picture_file(folder.basecolor, n), image * np.uint16(257) if settings.depth == "16" else image)
            if settings.unseen_map:
                _write_png(picture_file(folder.unseen, n), np.zeros_like(image))
        return folder.basecolor
    source = EditSource.load(folder.source)
    save_edited(folder.edited, {number: _inverted(tile) for number, tile in source.tiles.items()})
    return folder.edited


def _diagnose(folder: JobFolder, control: Control, emit: Emit, settings: JobSettings) -> None:
    """The files of a diagnosis with made-up figures: CSD explains its views best, SDS without guidance worst."""
    steps = settings.iterations or DEFAULT_ITERATIONS
    outcomes: dict[str, Outcome] = {}
    for index, variant in enumerate(VARIANTS):
        emit(Phase(variant.name, f"Run {index + 1} of {len(VARIANTS)}: {variant.title}"))
        reached = _optimize(folder, control, _over_all(emit, index, steps), settings, [], 0, steps)
        if control.asked:
            return emit(Cancelled(reached))
        norms = {"generative": 0.5, "classifier": 0.1, "total": 0.1 + index}
        outcomes[variant.name] = Outcome([norms] * steps, 0.01 * index, 20.0 + index, 10.0)
    for row, name in enumerate(("norms.png", "sweep.png", "negatives.png")):
        _write_png(folder.result / name, _paint(settings, row, 256))
    body = {"claims": [asdict(claim) for claim in claims(outcomes)], "settings": settings.to_json()}
    write_json(folder.result / "diagnosis.json", body)
    emit(Done({path.name: str(path) for path in folder.result.iterdir()}, body))


def _over_all(emit: Emit, index: int, steps: int) -> Emit:
    """``emit`` with the progress of the run ``index`` as a part of that of all runs, and nothing else."""

    def tell(message: Message) -> None:
        if isinstance(message, Progress):
            done, of = index * steps + message.iteration, len(VARIANTS) * steps
            emit(Progress(done, of, (of - done) * STEP_SECONDS, message.norms))

    return tell


def _inverted(tile: Tile) -> np.ndarray:
    pixels = tile.pixels.copy()
    height, width = pixels.shape[:2]
    rows, columns = (np.arange(n) * tile.painted.shape[i] // n for i, n in enumerate((height, width)))
    free = tile.painted[np.ix_(rows, columns)] > 0
    pixels[free, :3] = 1 - pixels[free, :3]
    return pixels


def _optimize(
    folder: JobFolder, control: Control, emit: Emit, settings: JobSettings, numbers: list[int], start: int, total: int
) -> int:
    words = settings.prompt + settings.target
    emit(Phase("optimize"))
    for iteration in range(start + 1, total + 1):
        if control.stop or control.cancel:
            return iteration - 1
        time.sleep(STEP_SECONDS)
        if iteration == start + 3 and "crash" in words:
            os._exit(11)
        if iteration == start + 3 and "hang" in words:
            time.sleep(3600)
        emit(Progress(iteration, total, (total - iteration) * STEP_SECONDS, {"total": 1 / iteration}))
        if iteration % PREVIEW_STEPS == 2 or iteration == start + 2:
            path = folder.preview / "basecolor.png"
            for number in numbers:
                _write_png(picture_file(path, number), _preview(settings, number, iteration))
            emit(Preview(str(path)))
    return total


def _saved(folder: JobFolder) -> int:
    path = folder.checkpoint / "fake.txt"
    return int(path.read_text(encoding="utf-8")) if path.is_file() else 0


def _paint(settings: JobSettings, number: int, size: int) -> np.ndarray:
    """(size, size, 3) uint8, row 0 at the top: red is u, green is v, blue comes from the seed and the picture."""
    grid = (np.arange(size) + 0.5) / size
    image = np.empty((size, size, 3))
    image[..., 0], image[..., 1] = grid[None, :], 1 - grid[:, None]
    image[..., 2] = np.random.default_rng(settings.seed + number).random()
    return (image * 255).round().astype(np.uint8)


def _preview(settings: JobSettings, number: int, iteration: int) -> np.ndarray:
    """(64, 64, 3) uint8, another shade at each preview."""
    shade = 0.3 + 0.7 * (iteration // PREVIEW_STEPS * 0.382 % 1)
    return (_paint(settings, number, 64) * shade).astype(np.uint8)


def _write_pictures(folder: JobFolder, settings: JobSettings) -> None:
    """Flat stand-ins for the history's two pictures, of the true sizes and channels. Each seed has its own colour."""
    color = np.random.default_rng(settings.seed).integers(0, 256, 3, np.uint8)
    thumbnail = np.full((128, 128, 4), 255, np.uint8)
    thumbnail[..., :3] = color
    _write_png(folder.thumbnail, thumbnail)
    _write_png(folder.plot, np.full((512, 512, 3), color // 2, np.uint8))


def _write_png(path: Path, image: np.ndarray) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(encode_png(image))
    os.replace(aside, path)
