"""Running the installer's commands: everything goes to the log, the gist to a progress callback."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import troubles
from .compute import CHECK
from .errors import RuntimeMissing

# (phase, detail, fraction done in [0, 1] or None where it is not known)
Report = Callable[[str, str, float | None], None]

MEGABYTES = {"K": 0.001, "M": 1.0, "G": 1000.0}


def quiet(phase: str, detail: str, fraction: float | None) -> None:
    """Report nothing."""


def run_installer(
    command: Sequence[str], *, packages: int, log: Path, environment: Mapping[str, str], report: Report
) -> None:
    """Run the command that installs ``packages`` packages and report each one it comes to."""
    follow = _Follower(packages, report)
    run_step(command, log=log, environment=environment, follow=follow)


class _Follower:
    """Turns an installer's lines into reports; between 5 % and 75 % things are fetched.

    pip names every package and fetches one after another. uv names the large ones with their sizes and fetches them
    side by side, so what counts there is the share of their bytes.
    """

    def __init__(self, packages: int, report: Report) -> None:
        self._packages, self._report = packages, report
        self._seen = 0
        self._sizes: dict[str, float] = {}
        self._done = 0.0

    def __call__(self, line: str) -> None:
        if match := re.match(r"(?:Collecting|Processing) (\S+)", line):
            self._seen += 1
            self._say(match[1].rpartition("/")[2], min(self._seen / self._packages, 1.0))
        elif match := re.match(r"\s*Downloading (\S+) \(([\d.]+) ?([KMG]i?B)\)", line):
            self._sizes[match[1]] = float(match[2]) * MEGABYTES[match[3][0]]
            self._report("install", f"fetching {match[1]}, {match[2]} {match[3]}", None)
        elif match := re.match(r"\s*Downloaded (\S+)", line):
            self._done += self._sizes.get(match[1], 0.0)
            total = sum(self._sizes.values()) or 1.0
            self._say(f"{match[1]} is here: {self._done:.0f} of {total:.0f} MB", self._done / total)
        elif line.startswith("Installing collected packages"):
            self._report("install", f"unpacking {self._packages} packages", 0.8)
        elif re.match(r"(Resolved|Prepared|Installed) \d+ packages?", line):
            self._report("install", line.strip(), None)

    def _say(self, what: str, share: float) -> None:
        self._report("install", what, 0.05 + 0.7 * share)


def run_step(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    follow: Callable[[str], None] | None = None,
) -> str:
    """Run ``command``, add its output to ``log``, hand each line to ``follow``, and return all of it.

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
        raise RuntimeMissing(troubles.sentence(lines, child.returncode), log)
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
