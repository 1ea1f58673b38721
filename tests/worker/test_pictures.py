"""The pictures of a run that the worker leaves in the job folder, of new textures and of edits, kept and cancelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from csd_addon.jobs.folder import JobFolder, new_folder
from csd_addon.protocol import Cancelled, Message, Progress, encode
from csd_addon.worker.run import grow
from csd_addon.worker.run.entry import run_job
from csd_addon.worker.run.pictures import write_pictures
from csd_addon.worker.serve.control import Control
from tests import shapes
from tests.worker.test_run import edit_folder, make_folder


def run_recorded(folder: JobFolder, *, cancel: bool = False) -> list[Message]:
    """What is said in a run whose norms go where the server writes them. cancel: at the first progress."""
    control, said = Control(), []

    def emit(message: Message) -> None:
        said.append(message)
        with open(folder.events, "ab") as events:
            events.write(encode(message))
        if cancel and isinstance(message, Progress):
            control.request_cancel()

    run_job(folder, control, emit, False)
    return said


def colors(path: Path) -> np.ndarray:
    """(N, 3) 0..255, of the opaque pixels."""
    pixels = np.asarray(Image.open(path))
    return pixels[pixels[..., 3] == 255][:, :3].astype(float)


@pytest.mark.parametrize("edge", [32, 700, 2048])
def test_textures_of_any_size(tmp_path: Path, edge: int) -> None:
    folder = new_folder(tmp_path)
    stripes = np.zeros((edge, edge, 4), np.float32)
    stripes[..., 0], stripes[::2, :, 1], stripes[..., 3] = 0.8, 0.4, 0.1
    write_pictures(folder, shapes.cube(), {0: stripes})
    found = colors(folder.thumbnail)
    share = float((found[:, 1] / found[:, 0]).mean())
    print(f"{edge}: green is {share:.3f} of red, 0.25 on the whole surface")
    assert share == pytest.approx(0.25, abs=0.03) and found[:, 0].max() <= 0.81 * 255
    assert not folder.plot.exists() and not list(folder.path.rglob("*.part"))


def test_without_a_texture_there_is_only_the_plot(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    steps = (Progress(i, 9, 0.0, {"total": 1 / i}, 0.0) for i in range(1, 10))
    folder.events.write_bytes(b"".join(map(encode, steps)))
    write_pictures(folder, shapes.cube(), {})
    assert folder.plot.is_file() and not folder.thumbnail.exists()


def test_every_tile_is_shown(tmp_path: Path) -> None:
    cube, folder = shapes.cube(), new_folder(tmp_path)
    number = np.repeat([1001, 1002, 1011], 4)
    offset = np.stack([(number - 1001) % 10, (number - 1001) // 10], axis=1)
    mesh = replace(cube, corner_uvs=(cube.corner_uvs + offset[:, None]).astype(np.float32))
    write_pictures(folder, mesh, {n: np.full((8, 8, 3), (0.8, 0.1, 0.1)) for n in (1001, 1002, 1011)})
    assert (np.ptp(colors(folder.thumbnail), axis=1) < 1).mean() < 0.1, "no face is left grey"


@pytest.mark.parametrize("make", [make_folder, edit_folder])
def test_a_run_leaves_its_pictures_and_no_checkpoint(tmp_path: Path, make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grow, "PROGRESS_PERIOD", 0.0)
    folder = make(tmp_path, iterations=2)
    (folder.checkpoint / "state.safetensors").write_bytes(b"of an earlier part of the run")
    run_recorded(folder)
    assert folder.report.is_file() and not list(folder.checkpoint.iterdir())
    assert Image.open(folder.thumbnail).size == (128, 128) and Image.open(folder.plot).size == (512, 512)


def test_a_cancelled_run_shows_how_far_it_had_grown_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, iterations=50)
    said = run_recorded(folder, cancel=True)
    assert isinstance(said[-1], Cancelled) and 0 < said[-1].iteration < 50
    assert folder.thumbnail.is_file() and [p.name for p in folder.checkpoint.iterdir()] == ["state.safetensors"]
