"""Stable Diffusion 1.5 as it really is, but for its weights: one step on the CPU. Minutes, gigabytes: ``-m slow``."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from csd_addon.core.mesh import Normalization
from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.worker.look.surface import Surface
from csd_addon.worker.look.views import sample_pool
from csd_addon.worker.method.assembly import assemble
from csd_addon.worker.method.guide import Words
from csd_addon.worker.method.loop import Loop
from csd_addon.worker.shape.appearance import NewTexture
from csd_addon.worker.teacher.device import peak_memory_mb
from csd_addon.worker.teacher.diffusion import DiffusionTeacher
from csd_addon.worker.teacher.memory import ladder
from tests import shapes
from tests.worker.true_size import true_networks

CPU = torch.device("cpu")


def one_step(teacher: DiffusionTeacher, **expert: object) -> tuple[Loop, dict[str, float]]:
    """One step of the balanced preset on a torus."""
    settings = JobSettings(prompt="a red brick wall", preset="balanced", expert={"view_pool": 1, **expert}).validate()
    recipe, mesh = resolve(settings, {}), shapes.torus()
    generator = torch.Generator().manual_seed(0)
    surface = Surface.of(mesh, Normalization.of(mesh.positions))
    pool = list(sample_pool(surface, recipe.views, generator, teacher.conditions))
    loop = assemble(
        teacher, pool, NewTexture(recipe), recipe, Words(settings.prompt, recipe.guide.negative), loss="csd",
        generator=generator,
    )  # fmt: skip
    return loop, loop.step()


def test_the_same_road_at_tiny_size() -> None:
    teacher = DiffusionTeacher.of(true_networks(torch.bfloat16, tiny=True), Path("tiny"), CPU, torch.bfloat16)
    loop, norms = one_step(teacher, resolution=64, levels=4, table_log2=10)
    print(norms)
    assert norms["total"] > 0 and not loop.notes and teacher.conditions == ("depth", "canny")
    assert all(p.dtype == torch.float32 for p in loop.shape.field.parameters())
    need = loop.need
    assert need.weights == teacher.held() > 0


@pytest.mark.slow
def test_one_step_of_the_true_architecture_at_512_pixels() -> None:
    began = time.process_time()
    teacher = DiffusionTeacher.of(true_networks(torch.bfloat16), Path("sd15"), CPU, torch.bfloat16)
    built = time.process_time() - began
    loop, norms = one_step(teacher)
    step, peak = time.process_time() - began - built, peak_memory_mb(CPU)
    estimate = loop.need.bytes(ladder(loop.need)[0])
    print(f"made in {built:.0f} CPU seconds, one step {step:.0f}; peak {peak:.0f} MiB, limit 10240; {norms} {estimate}")
    assert norms["total"] > 0 and not loop.notes
    assert peak < 10_240
