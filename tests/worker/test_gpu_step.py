"""The benchmark for GPUs runs to its end at tiny size on the CPU and prints every figure that is asked of it.

It takes a minute of the processor: ``-m slow``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTIONS = (
    "TFLOP/s for a large bf16 product", "Steps, eager", "Parts of a step of 2 views, two rows", "noise prediction",
    "autoencoder forward and backward", "everything that is not the teacher", "one G-buffer", "A job of 2 iterations",
    "Bars", "share of the matrix rate at 2 views", "a plain loop", "Memory of a step", "Plans for cards",
    "Steps, compiled",
)  # fmt: skip


@pytest.mark.slow
def test_the_gpu_benchmark_prints_every_figure() -> None:
    command = [sys.executable, "benchmarks/gpu_step.py", "--tiny", "--device", "cpu", "--job", "--compile"]
    # Compiled, but by no compiler: none may be on this machine.
    variables = {**os.environ, "TORCH_COMPILE_DISABLE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=900)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
    missing = [section for section in SECTIONS if section not in done.stdout]
    assert not missing
    table = done.stdout.split("Steps, eager")[1].split("Parts of")[0]
    cases = [line.split()[:3] for line in table.splitlines() if "%" in line]
    assert cases == [[rows, views, kind] for rows in "23" for views in "12" for kind in ("per", "shared")]
    plans = done.stdout.split("Plans for cards")[1].split("Steps, compiled")[0]
    assert [plans.count(f"{card:2} GB, ") for card in (6, 8, 12, 24)] == [2, 2, 2, 2]
