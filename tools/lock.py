"""Makes every hash-pinned requirement list of the project: ``python3 tools/lock.py [NAME ...]``.

Run it after changing a version below, then read the difference. It takes ``uv`` from the package registry
into a scratch environment and lets it resolve for each machine (``--python-platform``), wheels only. The
lists carry no address and no path: where packages come from is the installing machine's own setting.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from csd_addon.runtime.environment.installer import UV_VERSION  # noqa: E402

LOCKS = ROOT / "csd_addon" / "runtime" / "locks"
TEST_LISTS = ROOT / "tests" / "requirements"

UV = f"uv=={UV_VERSION}"
TORCH = "2.13.0"
WORKER = [
    "diffusers==0.42.1",
    "transformers==5.23.0",
    "tokenizers==0.23.3",
    "safetensors==0.8.0",
    "accelerate==1.15.0",
    "numpy==2.4.6",
    "pillow==13.0.0",
    "psutil==7.2.2",
    "xatlas==0.0.11",
]
BPY = {"3.11": "bpy==4.5.*", "3.13": "bpy==5.2.*"}
TEST = ["pytest==9.2.0", "hypothesis==6.170.15"]
CHECK = [*TEST, "numpy==2.4.6", "ruff==0.17.5", "mypy==2.4.1", UV]

PLATFORMS = {
    "linux-x64": "x86_64-manylinux_2_28",
    "windows-x64": "x86_64-pc-windows-msvc",
    "macos-arm64": "aarch64-apple-darwin",
}
# What the registry's ordinary torch wheel computes on.
REGISTRY_ACCELERATOR = {"linux-x64": "cuda", "windows-x64": "cpu", "macos-arm64": "mps"}


@dataclass(frozen=True)
class Target:
    """One list to make: its file, what it asks for, and the machine it is for (None: any machine)."""

    file: Path
    requirements: list[str]
    python: str
    platform: str | None
    find_links: bool = False
    constraints: tuple[Path, ...] = ()


def targets() -> list[Target]:
    found = [
        Target(
            LOCKS / "worker-linux-x64-cpu-py311.txt",
            [f"torch=={TORCH}+cpu", *WORKER],
            python="3.11",
            platform="linux-x64",
            find_links=True,
        )
    ]
    for python in ("3.11", "3.13"):
        tag = "py" + python.replace(".", "")
        for platform, accelerator in REGISTRY_ACCELERATOR.items():
            worker = LOCKS / f"worker-{platform}-{accelerator}-{tag}.txt"
            found.append(Target(worker, [f"torch=={TORCH}", *WORKER], python, platform))
            found.append(Target(LOCKS / f"blender-{platform}-{tag}.txt", [BPY[python]], python, platform))
    shared = tuple(sorted(target.file for target in found if "linux" in target.file.name))
    found.append(Target(TEST_LISTS / "test.txt", TEST, "3.11", None, constraints=shared))
    found.append(Target(TEST_LISTS / "check.txt", CHECK, "3.11", None))
    return found


def pip_find_links() -> list[str]:
    """Return the folders that this machine's pip is told to look for wheels in."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"\.find-links='([^']+)'", listed)


def resolve(uv: Path, target: Target, scratch: Path) -> dict[str, Any]:
    """Return uv's answer in the standard lock format, which lists only the wheels that fit the target."""
    answer = scratch / "pylock.toml"
    command = [uv, "pip", "compile", "-", "--quiet", "--format", "pylock.toml", "--output-file", answer]
    command += ["--only-binary", ":all:", "--python-version", target.python, "--no-python-downloads"]
    command += ["--python-platform", PLATFORMS[target.platform]] if target.platform else ["--universal"]
    for constraint in target.constraints:
        command += ["--constraint", constraint]
    if target.find_links:
        for folder in pip_find_links():
            command += ["--find-links", folder]
    answer.unlink(missing_ok=True)  # or uv would prefer the versions of the list before
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # torch's wheels ask for macOS 14
    done = subprocess.run(
        command, input="\n".join(target.requirements), capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise SystemExit(f"{target.file.name}: uv could not resolve it:\n{done.stderr}")
    return tomllib.loads(answer.read_text("utf-8"))


def requirement(package: dict[str, Any], *, with_marker: bool) -> str:
    """Return ``name==version`` with the sha256 sum of every wheel that fits, in pip's notation."""
    marker = f" ; {package['marker']}" if with_marker and "marker" in package else ""
    sums = sorted(wheel["hashes"]["sha256"] for wheel in package["wheels"])
    hashes = "".join(f" \\\n    --hash=sha256:{value}" for value in sums)
    return f"{package['name']}=={package['version']}{marker}{hashes}\n"


def scratch_uv(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", UV], check=True)
    return programs / "uv"


def main(names: list[str]) -> None:
    chosen = [target for target in targets() if not names or target.file.stem in names]
    with tempfile.TemporaryDirectory() as scratch:
        uv = scratch_uv(Path(scratch) / "uv")
        for target in chosen:
            packages = resolve(uv, target, Path(scratch))["packages"]
            aside = target.file.with_suffix(".part")
            # On one given machine the markers are decided: uv left out what does not apply.
            lines = [requirement(package, with_marker=target.platform is None) for package in packages]
            aside.write_text("".join(lines), encoding="utf-8", newline="\n")
            os.replace(aside, target.file)
            print(f"{target.file.name}: {len(packages)} packages")


if __name__ == "__main__":
    main(sys.argv[1:])
