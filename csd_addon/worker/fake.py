"""Speaks the protocol with numpy alone, so that everything around the worker is tested without torch.

Paints the UV coordinates, tinted by the seed, in ``iterations`` steps; an edit inverts its source. Two words in the
prompt or the target make it fail on purpose: "crash" ends the process, "hang" stops answering.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from ..core.mesh import MeshData
from ..core.png import encode_png
from ..core.settings import JobSettings
from ..core.source import EditSource, Tile, save_edited
from ..core.udim import layout, tile_file
from ..jobs.folder import JobFolder, read_json, write_json
from ..protocol import Cancelled, Done, Phase, Preview, Progress
from .control import Control, JobFailure
from .pictures import write_pictures
from .serve import Emit

STEP_SECONDS = 0.01
# Steps between two previews, each as bright as no other.
PREVIEW_STEPS = 100
DEFAULT_ITERATIONS = 20


def run_job(folder: JobFolder, control: Control, emit: Emit, resume: bool) -> None:
    """The fake's counterpart of ``worker.run.run_job``: the same messages, files and endings."""
    emit(Phase("load"))
    try:
        settings = JobSettings.from_json(read_json(folder.job)["settings"])
        mesh = MeshData.load(folder.mesh)
    except ValueError as error:
        raise JobFailure("input", str(error)) from error
    start = _saved(folder) if resume else 0
    total = settings.iterations or DEFAULT_ITERATIONS
    tiles = np.unique(layout(mesh.corner_uvs)[0]).tolist()
    reached = _optimize(folder, control, emit, settings, tiles, start, total)
    if control.cancel:
        (folder.checkpoint / "fake.txt").write_text(str(reached), encoding="utf-8")
        write_pictures(folder, mesh, {tile: _preview(settings, tile, reached) / 255 for tile in tiles})
        return emit(Cancelled(reached))
    emit(Phase("bake"))
    try:
        result = _result(folder, settings, tiles)
    except ValueError as error:
        raise JobFailure("input", str(error)) from error
    write_pictures(folder, mesh, {tile: _paint(settings, tile, 64) / 255 for tile in tiles})
    report = {
        "iterations": reached, "stopped_early": reached < total, "seed": settings.seed, "teacher": "fake",
        "coverage": 1.0, "faces": len(mesh.triangles), "seconds": {"total": total * STEP_SECONDS},
    }  # fmt: skip
    write_json(folder.report, report)
    (folder.checkpoint / "fake.txt").unlink(missing_ok=True)
    emit(Done({"basecolor": str(result), "report": str(folder.report)}, report))



def _result(folder: JobFolder, settings: JobSettings, tiles: list[int]) -> Path:
    """A painted texture; an edit inverts the source wherever its painted mask allows it."""
    if settings.kind == "texture":
        for tile in tiles:
            image = _paint(settings, tile, settings.size)
            _write_png(tile_file(folder.basecolor, tile), image * np.uint16(257) if settings.depth == "16" else image)
            if settings.unseen_map:
                _write_png(tile_file(folder.unseen, tile), np.zeros_like(image))
        return folder.basecolor
    source = EditSource.load(folder.source)
    save_edited(folder.edited, {number: _inverted(tile) for number, tile in source.tiles.items()})
    return folder.edited


def _inverted(tile: Tile) -> np.ndarray:
    pixels = tile.pixels.copy()
    height, width = pixels.shape[:2]
    rows, columns = (np.arange(n) * tile.painted.shape[i] // n for i, n in enumerate((height, width)))
    free = tile.painted[np.ix_(rows, columns)] > 0
    pixels[free, :3] = 1 - pixels[free, :3]
    return pixels


def _optimize(
    folder: JobFolder, control: Control, emit: Emit, settings: JobSettings, tiles: list[int], start: int, total: int
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
            for tile in tiles:
                _write_png(tile_file(path, tile), _preview(settings, tile, iteration))
            emit(Preview(str(path)))
    return total


def _saved(folder: JobFolder) -> int:
    path = folder.checkpoint / "fake.txt"
    return int(path.read_text(encoding="utf-8")) if path.is_file() else 0


def _paint(settings: JobSettings, tile: int, size: int) -> np.ndarray:
    """(size, size, 3) uint8, row 0 at the top: red is u, green is v, blue comes from the seed and the UDIM tile."""
    grid = (np.arange(size) + 0.5) / size
    image = np.empty((size, size, 3))
    image[..., 0], image[..., 1] = grid[None, :], 1 - grid[:, None]
    image[..., 2] = np.random.default_rng(settings.seed + tile).random()
    return (image * 255).round().astype(np.uint8)


def _preview(settings: JobSettings, tile: int, iteration: int) -> np.ndarray:
    """(64, 64, 3) uint8, another shade at each preview."""
    shade = 0.3 + 0.7 * (iteration // PREVIEW_STEPS * 0.382 % 1)
    return (_paint(settings, tile, 64) * shade).astype(np.uint8)


def _write_png(path: Path, image: np.ndarray) -> None:
    aside = path.with_name(path.name + ".part")
    aside.write_bytes(encode_png(image))
    os.replace(aside, path)
