"""The worker's own parts on a GPU agree with the CPU; prints figures."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.settings import JobSettings
from csd_addon.core.views import View
from csd_addon.jobs.folder import new_folder, write_json
from csd_addon.worker.field.hashgrid import encode, level_table
from csd_addon.worker.look.gbuffer import render_gbuffer
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.run.entry import run_job
from csd_addon.worker.serve.control import Control
from tests import shapes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
MINI = Path(__file__).parents[2] / "csd_addon" / "teachers" / "mini"


def test_rasteriser_gives_the_same_triangles() -> None:
    mesh = shapes.torus(265, 133, bump=0.05)
    buffers = [
        render_gbuffer(Surface.of(mesh, Normalization.of(mesh.positions), device), View(30, 40, 4, 35), size=512)
        for device in ("cpu", "cuda")
    ]
    assert torch.equal(buffers[0].triangle, buffers[1].triangle.cpu())


def test_hash_grid_agrees() -> None:
    levels = level_table(16, 19, 16, 2048)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(100_000, 3, generator=generator) * 2 - 1
    tables = torch.rand(2, sum(level.entries for level in levels), generator=generator)
    here = encode(points, *tables, levels)
    there = encode(points.cuda(), *tables.cuda(), levels).cpu()
    error = float((here - there).abs().max())
    print(f"largest difference {error:.1e}, tolerance 1e-5")
    assert error < 1e-5


def test_a_job_runs_and_reports_its_memory(tmp_path: Path) -> None:
    folder = new_folder(tmp_path)
    shapes.cube().save(folder.mesh)
    settings = JobSettings(prompt="red brick", preset="draft", iterations=50, device="cuda", size=256)
    write_json(folder.job, {"settings": settings.to_json(), "teacher": {"root": str(MINI)}})
    said: list = []
    began = time.monotonic()
    run_job(folder, Control(), said.append, False)
    report = said[-1].report
    print(f"{time.monotonic() - began:.1f} s, {report['peak_memory_mb']} MB, phases {report['seconds']}")
    assert report["device"] == "cuda" and report["peak_memory_mb"] > 0 and report["coverage"] == 1.0
