"""What is read from the machine: the peak of this process's memory, and what is free."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from csd_addon.worker.teacher.device import peak_memory_mb
from csd_addon.worker.teacher.memory import free_bytes

CPU = torch.device("cpu")

# Prints the peak in MiB before a block of 400 MiB is filled, after it, and after it was given back.
BLOCK = """
import numpy, torch
from csd_addon.worker.teacher.device import peak_memory_mb
peaks = [peak_memory_mb(torch.device("cpu"))]
block = numpy.ones(400 * 2**20, numpy.uint8)
peaks.append(peak_memory_mb(torch.device("cpu")))
del block
peaks.append(peak_memory_mb(torch.device("cpu")))
print(*peaks)
"""


def test_the_peak_rises_with_what_is_used_and_never_falls() -> None:
    # Linux counts what the starting process held, and that may be gigabytes here: a small one starts it.
    small = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BLOCK!r}], check=True)"
    said = subprocess.run([sys.executable, "-c", small], capture_output=True, text=True, check=True).stdout
    before, filled, after = map(float, said.split())
    print(f"{before:.0f} MiB, {filled:.0f} MiB, {after:.0f} MiB")
    assert filled - before == pytest.approx(400, abs=20) and after >= filled


def test_on_windows_the_peak_is_that_of_the_working_set(monkeypatch: pytest.MonkeyPatch) -> None:
    used = SimpleNamespace(rss=10 * 2**20, peak_wset=1234 * 2**20)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: used))
    assert peak_memory_mb(CPU) == 1234


@pytest.mark.skipif(sys.platform != "linux", reason="compares with Linux' own table")
def test_free_memory_is_what_a_new_program_can_have() -> None:
    # Files that Linux holds in memory are free for a new program, this block is not.
    block = torch.ones(300 * 2**20, dtype=torch.uint8)
    table = dict(line.split(":") for line in Path("/proc/meminfo").read_text("ascii").splitlines())
    available, free = int(table["MemAvailable"].split()[0]) * 1024, free_bytes(CPU)
    print(f"{free / 2**20:.0f} MiB are free; {available / 2**20:.0f} MiB are available by Linux' own estimate")
    assert abs(free - available) < 150 * 2**20 and free < psutil.virtual_memory().total - len(block)
