"""Runs the installer's commands. All their output goes to the log, and progress to a callback."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import RuntimeMissing
from . import installer_errors
from .compute import CHECK
from .folder_growth import FolderGrowth

# (phase, detail, fraction done in [0, 1] or None where it is not known)
Report = Callable[[str, str, float | None], None]

# pip counts in powers of 1000, uv in powers of 1024.
MEGABYTES = {"KB": 0.001, "kB": 0.001, "MB": 1.0, "GB": 1000.0, "KiB": 0.001024, "MiB": 1.048576, "GiB": 1073.741824}
# Bytes on the disk per byte of a wheel, measured with CUDA's list: 4.99 GB out of 2.79 GB.
UNPACK_RATIO = 1.8
# How many of the packages that are still to come are named.
NAMES_SHOWN = 3


def no_report(phase: str, detail: str, fraction: float | None) -> None:
    """Report nothing."""


def run_installer(
    command: Sequence[str],
    *,
    packages: int,
    log: Path,
    environment: Mapping[str, str],
    report: Report,
    cache: Path | None = None,
) -> None:
    """Run the command that installs ``packages`` packages and report each one it comes to.

    ``cache``: the folder where uv unpacks what it fetches. Its growth is reported meanwhile.
    """
    parser = _ProgressParser(packages, report, cache)
    try:
        run_step(command, log=log, environment=environment, follow=parser)
    finally:
        parser.close()


class _ProgressParser:
    """Turns an installer's lines into reports. Fetching is reported as 5 % to 75 % of the work.

    pip names every package and fetches one after another. uv names the large ones with their sizes and fetches them
    side by side; only the growth of its cache shows how much of them has come.
    """

    def __init__(self, packages: int, report: Report, cache: Path | None) -> None:
        self._packages, self._report, self._cache = packages, report, cache
        self._seen = 0
        # Megabytes by name of what is announced and not here yet, and of all that was announced.
        self._coming: dict[str, float] = {}
        self._total = 0.0
        self._growth: FolderGrowth | None = None
        # The growth is reported from a thread of its own.
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        if match := re.match(r"(?:Collecting|Processing) (\S+)", line):
            self._seen += 1
            self._say(match[1].rpartition("/")[2], 0.05 + 0.7 * min(self._seen / self._packages, 1.0))
        elif match := re.match(r"\s*Downloading (\S+) \(([\d.]+) ?([KkMG]i?B)\)", line):
            self._begin(match[1], float(match[2]) * MEGABYTES[match[3]])
        elif match := re.match(r"\s*Downloaded (\S+)", line):
            self._coming.pop(match[1], None)
        elif line.startswith("Installing collected packages"):
            self._say(f"unpacking {self._packages} packages", 0.8)
        elif re.match(r"Prepared \d+ packages?", line):
            self.close()
            self._say(f"putting {self._packages} packages in place", 0.75)
        elif re.match(r"Installed \d+ packages?", line):
            self._say(f"compiling {self._packages} packages, which takes some minutes", 0.8)

    def _begin(self, name: str, megabytes: float) -> None:
        self._coming[name] = megabytes
        self._total += megabytes
        self._say(f"fetching {name}, {megabytes:.1f} MB")
        if self._cache and self._growth is None:
            self._growth = FolderGrowth(self._cache, self._on_growth)
            self._growth.start()

    def _on_growth(self, grown: float, speed: float) -> None:
        coming = dict(self._coming)  # the installer's next line may change it
        come = min(max(grown / UNPACK_RATIO, self._total - sum(coming.values())), self._total)
        names = sorted(coming, key=lambda name: -coming[name])
        listed = ", ".join(names[:NAMES_SHOWN]) + (" ..." if len(names) > NAMES_SHOWN else "")
        amount = f"{come / 1000:.2f} / {self._total / 1000:.2f} GB, {speed / UNPACK_RATIO:.0f} MB/s"
        self._say(f"fetching about {amount}: {listed or '...'}", 0.05 + 0.7 * come / self._total)

    def close(self) -> None:
        """Stop measuring the cache."""
        if self._growth:
            self._growth.stop()
            self._growth = None

    def _say(self, what: str, fraction: float | None = None) -> None:
        with self._lock:
            self._report("install", what, fraction)


def run_step(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    follow: Callable[[str], None] | None = None,
) -> str:
    """Run ``command``, append its output to ``log``, pass each line to ``follow``, and return the whole output.

    Raises RuntimeMissing with cause and remedy when it fails. The child never outlives the call.
    """
    lines: list[str] = []
    with log.open("a", encoding="utf-8") as record, _start(command, environment) as child:
        record.write(f"$ {' '.join(word for word in command if word != CHECK)}\n")
        assert child.stdout is not None
        try:
            for line in child.stdout:
                record.write(line)
                record.flush()
                lines.append(line)
                if follow:
                    follow(line)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise RuntimeMissing(installer_errors.explain(lines, child.returncode), log)
    return "".join(lines)


def _start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise RuntimeMissing(f"{command[0]} could not be started: {error.strerror}.") from error
