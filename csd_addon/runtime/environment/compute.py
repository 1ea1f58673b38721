"""The check of an environment: its libraries are imported, and its torch multiplies matrices on the best device.

The check runs in the environment's own Python. It tries CUDA, then MPS, then the processor, as the worker does. When a
card is seen but computes wrongly or not at all, ``Device.problem`` says so and the next device is taken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CHECK = """
import importlib, json, shutil, subprocess, sys, time

SIDE, SECONDS = 1024, 0.5  # of the matrices; for how long they are multiplied

missing = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        missing.append(f"{name} ({type(error).__name__}: {error})")
if missing:
    sys.exit("ERROR: these modules do not import: " + "; ".join(missing))


def speed(torch, kind):
    ones = torch.ones(SIDE, SIDE, device=kind)
    if float((ones @ ones)[0, SIDE - 1]) != SIDE:
        raise RuntimeError("a product of two matrices is wrong")
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        float((ones @ ones)[0, 0])
        count += 1
    return 2 * SIDE**3 * count / (time.perf_counter() - start) / 1e9


def describe(torch, kind):
    if kind != "cuda":
        return {"name": {"mps": "Apple GPU", "cpu": "Processor"}[kind]}
    card = torch.cuda.get_device_properties(0)
    major, minor = torch.cuda.get_device_capability(0)
    return {
        "name": card.name, "memory_gb": round(card.total_memory / 1e9, 1), "capability": f"{major}.{minor}",
        "driver": driver(),
    }


def driver():
    program = shutil.which("nvidia-smi")
    if not program:
        return ""
    ask = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(ask, capture_output=True, text=True, timeout=30).stdout.split("\\n")[0].strip()


def compute(torch):
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    problems = []
    for kind in [kind for kind in seen if seen[kind]]:
        try:
            found = {"kind": kind, "torch": torch.__version__, **describe(torch, kind)}
            return {**found, "gflops": round(speed(torch, kind), 1), "problem": "; ".join(problems)}
        except Exception as error:
            problems.append(f"{kind} is there but does not compute: {str(error).strip().splitlines()[0]}")
    sys.exit("ERROR: no device multiplies two matrices: " + "; ".join(problems))


if "torch" in sys.argv[1:]:
    print("CSD-DEVICE " + json.dumps(compute(sys.modules["torch"])))
"""
MARK = "CSD-DEVICE "


@dataclass(frozen=True)
class Device:
    """What torch computes on."""

    # "cuda", "mps" or "cpu".
    kind: str
    # For a person: "NVIDIA H200", "Processor".
    name: str
    # The version of torch.
    torch: str
    # 10^9 operations a second, measured with 1024 x 1024 float32 matrices.
    gflops: float
    # The card's memory in GB (10^9 bytes); 0 for other devices.
    memory_gb: float = 0.0
    # CUDA's compute capability: "9.0"; "" for other devices.
    capability: str = ""
    # The version of NVIDIA's driver; "" where it is not known.
    driver: str = ""
    # Why a better device is not used; "" where nothing is wrong.
    problem: str = ""

    @property
    def sentence(self) -> str:
        """Name, memory, driver, capability and speed, as far as they are known, without a full stop."""
        known = [
            f"{self.memory_gb:g} GB" if self.memory_gb else "",
            f"driver {self.driver}" if self.driver else "",
            f"compute capability {self.capability}" if self.capability else "",
            f"{self.gflops:.0f} GFLOP/s",
            f"torch {self.torch}",
        ]
        name = self.name if self.kind == "cpu" else f"{self.name} ({self.kind})"
        return f"{name}: {', '.join(filter(None, known))}"

    def to_json(self) -> dict[str, str | float]:
        """Return all fields, for a file or a message."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: object) -> Device | None:
        """Return the device that `to_json` described; None where ``kept`` comes from another release."""
        names = {field.name for field in fields(cls)}
        if not isinstance(kept, dict) or not {"kind", "name", "torch", "gflops"} <= set(kept) <= names:
            return None
        return cls(**kept)


def check_command(python: Path, modules: Sequence[str]) -> list[str]:
    """Return the command that imports ``modules`` in ``python``; with torch among them, it computes, too."""
    return [str(python), "-I", "-c", CHECK, *modules]


def read_device(output: str) -> Device | None:
    """Return the device from the check's ``output``; None where the check failed or there was no torch."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    return Device.from_json(json.loads(lines[-1].removeprefix(MARK))) if lines else None
