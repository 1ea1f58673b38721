"""A package small enough to be built, pinned and installed by real pip in each test, without a network."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from csd_addon.runtime.environment.installer import Installer, Settings, fitting_wheel, unpack
from csd_addon.runtime.environment.interpreter import probe
from csd_addon.runtime.environment.planning import Plan
from csd_addon.runtime.paths import Paths, bundled_wheels


def build_wheel(
    folder: Path, *, version: str = "1.0", code: str = "ANSWER = 42\n", name: str = "csd_toy", ballast: int = 0
) -> Path:
    """Write ``NAME-VERSION-py3-none-any.whl`` with one module, and ``ballast`` bytes that do not compress."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{name}_ballast.txt": random.Random(0).randbytes(ballast // 2).hex(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{name},sha256={_record_sum(text)},{len(text.encode())}" for name, text in files.items()]
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,", ""]))
    return wheel


def _record_sum(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def pin(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n"


# What the check asks of torch, and nothing more: each name stands for a device ("cuda", "mps", "cpu").
TOY_TORCH = """
from types import SimpleNamespace
SEEN, WRONG, BROKEN = {seen!r}, {wrong!r}, {broken!r}
__version__ = "0.0"
cuda = SimpleNamespace(
    is_available=lambda: "cuda" in SEEN, get_device_capability=lambda index: (6, 1),
    get_device_properties=lambda index: SimpleNamespace(name="Toy card", total_memory=8e9))
backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: "mps" in SEEN))

class ones:
    def __init__(self, rows, columns, device):
        if device in BROKEN:
            raise RuntimeError("no kernel image is available\\nfor this card")
        self.rows, self.value = rows, 0 if device in WRONG else 1

    def __matmul__(self, other):
        product = object.__new__(ones)
        product.rows, product.value = self.rows, self.rows * self.value
        return product

    def __getitem__(self, index):
        return self.value
"""


def toy_torch(*, seen: str = "", wrong: str = "", broken: str = "") -> str:
    """The source of a ``torch`` for the check: the card that it sees, that miscalculates, that raises."""
    return TOY_TORCH.format(seen=seen, wrong=wrong, broken=broken)


def lay_packages(directory: Path, *names: str) -> list[Path]:
    """Put empty modules into the environment in ``directory``, where the installer would have put them."""
    packages = directory / ("Lib" if os.name == "nt" else "lib/python3.11") / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    modules = [packages / f"{name}.py" for name in names]
    for module in modules:
        module.touch()
    return modules


def uv_program(cache: Path) -> Path:
    """The ``uv`` that a release carries if it was fetched here, else the one beside the Python that runs the tests."""
    program = "uv.exe" if os.name == "nt" else "uv"
    if wheel := fitting_wheel(bundled_wheels(), probe(Path(sys.executable)).platform):
        unpack(wheel, cache / program)
        return cache / program
    beside = Path(sysconfig.get_path("scripts")) / program
    assert beside.is_file(), "no uv: run tools/package.py once, or the tests through tests/run.py"
    return beside


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
