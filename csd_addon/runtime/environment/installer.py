"""The two programs that fill an environment: ``uv`` from our own wheel, else ``venv`` and ``pip``.

Both get the same hash-pinned lists, wheels only. pip reads the machine's settings by itself. uv does not read pip's
find-links and index URL, so they are handed on to it.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import RuntimeMissing
from ..file_lock import locked
from .bundle import Bundle
from .interpreter import PROBE_SECONDS, Interpreter, clean_environment

UV_VERSION = "0.13.8"
# The registry's own sha256 of that version's wheels.
UV_WHEELS = {
    "linux-x64": "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    "windows-x64": "cfbc13020a64cdf2f116d2936824c38edbf41e5c07f1ea291baf02e31ebf3ed0",
    "macos-arm64": "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
}
# How long to wait for another process that unpacks uv.
UNPACK_SECONDS = 60.0


@dataclass(frozen=True)
class Settings:
    """Where this machine's pip looks for wheels."""

    # Folders, ``file:`` addresses and web pages.
    find_links: tuple[str, ...] = ()
    # The registry; None means the installer's default.
    index_url: str | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The find-links entries that are folders on this disk."""
        return tuple(folder for folder in map(_as_folder, self.find_links) if folder.is_dir())


def _as_folder(entry: str) -> Path:
    return Path(url2pathname(urlsplit(entry).path) if entry.startswith("file:") else entry).expanduser()


def settings(interpreter: Interpreter) -> Settings:
    """Return the settings of the interpreter's pip. For a Python without pip, only the ``PIP_*`` variables count."""
    listed = subprocess.run(
        [interpreter.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        timeout=PROBE_SECONDS,
        env=clean_environment(),
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, separator, value = line.partition("=")
        if separator and value.startswith(("'", '"')):
            found[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    find_links = (os.environ.get("PIP_FIND_LINKS") or found.get("find-links", "")).split()
    # pip passes over a folder that is not there; uv would end.
    present = tuple(entry for entry in find_links if _is_remote(entry) or _as_folder(entry).exists())
    return Settings(present, os.environ.get("PIP_INDEX_URL") or found.get("index-url"))


def _is_remote(entry: str) -> bool:
    return urlsplit(entry).scheme in ("http", "https")


@dataclass(frozen=True)
class Installer:
    """Command lines for making one environment."""

    settings: Settings
    # `Paths.cache`
    cache: Path
    # The program ``uv``, which `prepare` unpacks from ``wheel``. Both are None where pip does the work.
    uv: Path | None = None
    wheel: Path | None = None
    # Whether wheels come from the folders of ``settings`` alone.
    offline: bool = False

    @property
    def uv_cache(self) -> Path:
        """Where uv unpacks what it fetches, and keeps it."""
        return self.cache / "uv"

    def prepare(self) -> None:
        """Unpack ``uv`` unless it is there. Raises RuntimeMissing when the wheel is not the pinned one."""
        if self.uv and self.wheel:
            unpack(self.wheel, self.uv)

    def make(self, interpreter: Interpreter, directory: Path) -> list[str]:
        """Return the command that makes an empty environment."""
        if self.uv:
            return [str(self.uv), "venv", "--python", str(interpreter.executable), str(directory)]
        return [str(interpreter.executable), "-m", "venv", str(directory)]

    def fill(self, python: Path, locks: Sequence[Path]) -> list[str]:
        """Return the command that installs ``locks`` into the environment of ``python``."""
        lists = [part for lock in locks for part in ("--requirement", str(lock))]
        links = [part for link in self.settings.find_links for part in ("--find-links", link)]
        wheels_only = ["--require-hashes", "--only-binary", ":all:", *lists]
        if self.offline:
            wheels_only = ["--no-index", *links, *wheels_only]
        if not self.uv:
            return [str(python), "-m", "pip", "install", "--no-input", "--progress-bar", "off", *wheels_only]
        links = [] if self.offline else links
        compiled = "--compile-bytecode"  # as pip does: importing torch is what a job waits for first
        return [str(self.uv), "pip", "install", "--python", str(python), compiled, *links, *wheels_only]

    def environment(self) -> dict[str, str]:
        """Return the environment variables for both commands."""
        own = {"UV_CACHE_DIR": str(self.uv_cache), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
        if self.offline:
            own["UV_OFFLINE"] = "1"
        elif self.settings.index_url:
            own["UV_DEFAULT_INDEX"] = self.settings.index_url
        return {**clean_environment(), **own}


def choose_installer(
    interpreter: Interpreter, *, wheels: Path, cache: Path, bundle: Bundle | None = None
) -> Installer:
    """Return uv where ``wheels`` or the ``bundle`` holds it for this platform, else pip. Writes nothing."""
    platform, offline = interpreter.platform, bundle is not None
    told = Settings((str(bundle.wheels),)) if bundle else settings(interpreter)
    wheel = fitting_wheel(wheels, platform) or (fitting_wheel(bundle.folder, platform) if bundle else None)
    if wheel is None:
        return Installer(told, cache, offline=offline)
    program = "uv.exe" if platform == "windows-x64" else "uv"
    unpacked = cache / f"uv-{UV_WHEELS[platform][:16]}" / program
    return Installer(told, cache, uv=unpacked, wheel=wheel, offline=offline)


def fitting_wheel(wheels: Path, platform: str) -> Path | None:
    """Return the wheel of ``uv`` for ``platform`` that lies in ``wheels``, if any."""
    return next((found for found in sorted(wheels.glob("uv-*.whl")) if _fits(found.name, platform)), None)


def _fits(name: str, platform: str) -> bool:
    words = {
        "linux-x64": ("linux", "x86_64"),
        "windows-x64": ("win_amd64",),
        "macos-arm64": ("macosx", "arm64"),
    }
    return platform in words and all(word in name for word in words[platform])


def unpack(wheel: Path, program: Path) -> None:
    """Unpack ``uv`` from ``wheel`` to the path ``program``, unless it is there whole.

    Raises RuntimeMissing when the wheel's sha256 does not stand in ``UV_WHEELS``.
    """
    if hashlib.sha256(wheel.read_bytes()).hexdigest() not in UV_WHEELS.values():
        raise RuntimeMissing(f"{wheel} is damaged or was changed: reinstall the extension.")
    # Beside the folder and not in it: removing the runtime deletes the whole folder.
    lock = program.parent.with_suffix(".lock")
    with locked(lock, timeout=UNPACK_SECONDS), zipfile.ZipFile(wheel) as archive:
        program.parent.mkdir(parents=True, exist_ok=True)
        member = next(
            info for info in archive.infolist() if info.filename.endswith(f"/scripts/{program.name}")
        )
        if program.is_file() and program.stat().st_size == member.file_size:
            return
        aside = program.with_suffix(".part")
        with archive.open(member) as source, aside.open("wb") as target:
            shutil.copyfileobj(source, target)
        aside.chmod(0o755)
        os.replace(aside, program)
