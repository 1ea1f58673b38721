"""What the finished image is like: bits of a channel and the margin around the charts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from csd_addon.core.mesh import Normalization
from csd_addon.worker.bake.bake import bake, build_atlas
from csd_addon.worker.bake.write_png import write_png
from tests import shapes
from tests.png import read_png
from tests.worker.test_bake import PositionField
from tests.worker.test_run import brick_source, bricks, edit_folder, edited, make_folder, run
from tests.worker.test_unseen import box_in_box


def test_16_bits_hold_the_image_a_hundred_times_as_closely(tmp_path: Path) -> None:
    mesh = shapes.cube()
    image, _ = bake(PositionField(), build_atlas(mesh, Normalization.of(mesh.positions), (64, 64)))
    for depth, tolerance in ((8, 0.5 / 255), (16, 0.5 / 65535)):
        rounded = write_png(tmp_path / "image.png", image, depth=depth)
        # Pillow reads what it writes, with every kind of filter; but not 16 bits.
        data = (tmp_path / "image.png").read_bytes()
        written = read_png(data) if depth == 16 else np.asarray(Image.open(tmp_path / "image.png"))
        difference = float(np.abs(rounded - image.clip(0, 1)).max())
        print(f"{depth} bits: largest difference {difference:.2e}, tolerance {tolerance:.2e}")
        assert difference <= tolerance * 1.001 and written.itemsize * 8 == depth
        assert np.array_equal(np.float32(written) / np.float32(2**depth - 1), rounded)


def test_a_job_writes_the_depth_and_the_margin_that_it_is_told(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, depth="16", margin=7, iterations=1)
    report = run(folder)[-1].report
    assert read_png(folder.basecolor.read_bytes()).itemsize == 2
    assert (report["settings"]["depth"], report["settings"]["margin"]) == ("16", 7)


@pytest.mark.parametrize("asked", [True, False])
def test_the_map_of_what_no_view_saw_is_written_when_asked_for(tmp_path: Path, asked: bool) -> None:
    folder = make_folder(tmp_path, unseen_map=asked, iterations=1)
    box_in_box().save(folder.mesh)
    report = run(folder)[-1].report
    assert report.get("unseen_map") == (["unseen.png"] if asked else None) and folder.unseen.is_file() is asked
    if asked:
        picture = np.asarray(Image.open(folder.unseen))
        white = (picture == 255).all(axis=2)
        print(f"{white.mean():.3f} of the map is white; unseen in the report: {report['unseen']:.3f} of the charts")
        assert picture.shape == (64, 64, 3) and np.isin(picture, (0, 255)).all()
        assert not white[:, :30].any() and 0.1 < white.mean() < 0.5, "white is on the right, where the inner box lies"


@pytest.mark.parametrize("margin", [2, 8])
def test_the_margin_is_as_wide_as_asked_for(margin: int) -> None:
    mesh = shapes.torus()
    atlas = build_atlas(mesh, Normalization.of(mesh.positions), (256, 256))
    image, filled = bake(PositionField(), atlas, margin)
    # One chart with a straight left edge: going left from it, copies of the border, then the mean everywhere.
    row = 128
    edge = int(np.flatnonzero(filled[row])[0])
    copies = [(image[row, edge - k] == image[row, edge]).all() for k in range(1, margin + 1)]
    print(f"edge at {edge}: {copies}")
    assert all(copies) and np.array_equal(image[row, edge - margin - 1], image[0, 0])


def test_the_margin_of_an_edit_follows_the_setting(tmp_path: Path) -> None:
    widths, large = {}, brick_source(pixels=bricks().repeat(6, axis=0).repeat(6, axis=1))
    for margin in (1, 4):
        folder = edit_folder(tmp_path, large, margin=margin, iterations=1)
        before = folder.source.read_bytes()
        run(folder)
        widths[margin] = int((edited(folder) != edited_source(before, tmp_path)).any(axis=2).sum())
    print(f"texels changed with margins of 1 and 4: {widths}")
    assert widths[4] > widths[1] * 1.02


def edited_source(data: bytes, tmp_path: Path) -> np.ndarray:
    (tmp_path / "source.npz").write_bytes(data)
    with np.load(tmp_path / "source.npz") as arrays:
        return arrays["pixels_0"]
