"""Stable Diffusion 1.5 as it really is, but for its weights: one step on the CPU. Minutes, gigabytes: ``-m slow``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from csd_addon.worker.method.synthesis import Synthesis

from csd_addon.core.mesh import Normalization
from csd_addon.core.recipe import PRESETS
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.teacher.device import peak_memory_mb
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from tests import shapes
from tests.worker.true_size import true_networks

CPU = torch.device("cpu")


def one_step(teacher: DiffusionTeacher, **changes: object) -> tuple[Synthesis, dict[str, float]]:
    """One step of the balanced preset on a torus."""
    recipe = replace(PRESETS["balanced"], view_pool=1, **changes)
    mesh = shapes.torus()
    generator = torch.Generator().manual_seed(0)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    pool = list(sample_pool(surface, recipe, generator, teacher.conditions))
    synthesis = Synthesis(
        teacher, pool, recipe, prompt="a red brick wall", negative=recipe.negative, loss="csd", generator=generator
    )
    return synthesis, synthesis.step()


def test_the_same_road_at_tiny_size() -> None:
    teacher = DiffusionTeacher.of(true_networks(torch.bfloat16, tiny=True), Path("tiny"), CPU, torch.bfloat16)
    synthesis, norms = one_step(teacher, resolution=64, levels=4, table_log2=10)
    print(norms)
    assert norms["total"] > 0 and not synthesis.notes and teacher.conditions == ("depth", "canny")
    assert all(p.dtype == torch.float32 for p in synthesis.field.parameters())
    need = synthesis.need()
    assert need.weights == teacher.held() > 0


@pytest.mark.slow
def test_one_step_of_the_true_architecture_at_512_pixels() -> None:
    began = time.process_time()
    teacher = DiffusionTeacher.of(true_networks(torch.bfloat16), Path("sd15"), CPU, torch.bfloat16)
    built = time.process_time() - began
    synthesis, norms = one_step(teacher)
    step, peak = time.process_time() - began - built, peak_memory_mb(CPU)
    estimate = synthesis.need().bytes(synthesis.plan) if synthesis.plan else 0
    print(f"made in {built:.0f} CPU seconds, one step {step:.0f}; peak {peak:.0f} MiB, limit 10240; {norms} {estimate}")
    assert norms["total"] > 0 and not synthesis.notes
    assert peak < 10_240
