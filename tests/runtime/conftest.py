"""A package small enough to be built, pinned and installed by real pip in each test, without a network."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from csd_addon.runtime.environment import Plan
from csd_addon.runtime.installer import Installer, Settings
from csd_addon.runtime.interpreter import probe
from csd_addon.runtime.paths import Paths


def build_wheel(folder: Path, *, version: str = "1.0", code: str = "ANSWER = 42\n") -> Path:
    """Write ``csd_toy-VERSION-py3-none-any.whl`` and return it."""
    info = f"csd_toy-{version}.dist-info"
    files = {
        "csd_toy.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: csd-toy\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={_record_sum(text)},{len(text.encode())}" for name, text in files.items()]
    wheel = folder / f"csd_toy-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    return wheel


def _record_sum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def pin(wheel: Path) -> str:
    version = wheel.name.split("-")[1]
    return f"csd-toy=={version} \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@dataclass(frozen=True)
class Toy:
    """A plan for an environment with only the toy package in it, and what it is made from."""

    plan: Plan
    lock: Path
    wheel: Path
    paths: Paths


def toy_in(base: Path) -> Toy:
    base.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(base)
    lock = base / "toy.txt"
    lock.write_text(pin(wheel), encoding="utf-8")
    paths = Paths(base / "home")
    plan = Plan(
        name="toy",
        interpreter=probe(Path(sys.executable)),
        locks=(lock,),
        directory=paths.environments / "toy",
        log=paths.logs / "install-toy.log",
        installer=Installer(Settings(), paths.cache),
        modules=("csd_toy",),
        disk_gb=0.01,
    )
    return Toy(plan, lock, wheel, paths)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A fresh plan; pip sees only the toy's folder and no index, as on a machine without a network."""
    made = toy_in(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", made.wheel.parent.as_uri())
    return made


@pytest.fixture(autouse=True)
def no_named_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CSD_WORKER_PYTHON", raising=False)
