"""Python interpreters on this machine. Each is run to learn what it is; nothing is guessed from its name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import RuntimeMissing

SUPPORTED = ("3.11", "3.13")
PROBE_SECONDS = 30
# What a child must not inherit from the process that starts it: Blender sets some of these for itself.
NOT_INHERITED = {
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
}

PROBE = """
import importlib.util, json, platform, sys, sysconfig
print(json.dumps({
    "version": sys.version_info[:2],
    "build": sys.implementation.name + getattr(sys, "abiflags", ""),
    "platform": sysconfig.get_platform(),
    "machine": platform.machine(),
    "has_venv": all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that was run and answered."""

    executable: Path
    # (major, minor)
    version: tuple[int, int]
    # As in the add-on's manifest: "linux-x64". The platform's own name where there is no list for it.
    platform: str
    # Whether it can make an environment without ``uv``.
    has_venv: bool

    @property
    def tag(self) -> str:
        """``py311``, as in the names of the locks."""
        return f"py{self.version[0]}{self.version[1]}"

    @property
    def wheel_tag(self) -> str:
        """``cp311``, as in the names of wheels."""
        return f"cp{self.version[0]}{self.version[1]}"


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would mix another Python's packages into a child's.

    ``PIP_*`` stays: proxies, certificates and wheel folders of the machine are the user's own choice.
    """
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {**kept, "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def probe(executable: Path) -> Interpreter:
    """Run ``executable`` and return what it says about itself.

    Raises RuntimeMissing when it does not start, is not CPython, or answers something else.
    """
    try:
        done = subprocess.run(
            [executable, "-I", "-c", PROBE],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PROBE_SECONDS,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            check=True,
        )
        said = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise RuntimeMissing(f"{executable} does not run as Python: {_reason(error)}.") from error
    if said["build"] != "cpython":
        raise RuntimeMissing(f"{executable} is {said['build']}; a standard build of CPython is needed.")
    major, minor = said["version"]
    platform = _platform_name(said["platform"], said["machine"])
    return Interpreter(Path(executable), (major, minor), platform, has_venv=said["has_venv"])


def _reason(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error)
    return str(said).strip().rpartition("\n")[2].rstrip(".")


def _platform_name(platform: str, machine: str) -> str:
    # A universal2 build of macOS names no processor, so the machine is asked there.
    if platform.startswith("macosx") and machine == "arm64":
        return "macos-arm64"
    return {"linux-x86_64": "linux-x64", "win-amd64": "windows-x64"}.get(platform, platform)


def has_nvidia() -> bool:
    """Return whether the driver of an NVIDIA card is installed. Looks at files only."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def candidate_pythons() -> Iterator[Path]:
    """Yield executables that may be a supported Python: on PATH, then in pyenv's folder."""
    for version in SUPPORTED:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return
    done = subprocess.run([pyenv, "root"], capture_output=True, text=True, timeout=PROBE_SECONDS)
    if done.returncode == 0:
        for version in SUPPORTED:
            yield from sorted(Path(done.stdout.strip()).glob(f"versions/{version}.*/bin/python{version}"))


def find_interpreters(first: Path) -> tuple[list[Interpreter], list[str]]:
    """Return the interpreters that answer, ``first`` first, and a sentence for each that does not.

    Of each version only the first that is found is returned.
    """
    answered: dict[tuple[int, int], Interpreter] = {}
    refused = []
    for executable in (first, *candidate_pythons()):
        try:
            interpreter = probe(executable)
        except RuntimeMissing as error:
            refused.append(str(error))
        else:
            answered.setdefault(interpreter.version, interpreter)
    return list(answered.values()), refused
