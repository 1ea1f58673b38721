"""Running the installer's commands: everything goes to the log, the gist to a progress callback."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .errors import RuntimeMissing

# (phase, detail, fraction done in [0, 1] or None where it is not known)
Report = Callable[[str, str, float | None], None]

IMPORT_EACH = """
import importlib, sys
missing = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        missing.append(f"{name} ({type(error).__name__}: {error})")
if missing:
    sys.exit("ERROR: these modules do not import: " + "; ".join(missing))
"""


def quiet(phase: str, detail: str, fraction: float | None) -> None:
    """Report nothing."""


def import_check(python: Path, modules: Sequence[str]) -> list[str]:
    """Return the command that fails, naming them, unless ``python`` imports all of ``modules``."""
    return [str(python), "-I", "-c", IMPORT_EACH, *modules]


def run_installer(
    command: Sequence[str], *, packages: int, log: Path, environment: Mapping[str, str], report: Report
) -> None:
    """Run the command that installs ``packages`` packages and report each one it comes to."""
    seen = 0

    def follow(line: str) -> None:
        nonlocal seen
        if match := re.match(r"(?:Collecting|Processing) (\S+)", line):
            seen += 1
            report("install", match[1].rpartition("/")[2], 0.05 + 0.7 * min(seen / packages, 1.0))
        elif match := re.match(r"\s*(Downloading \S+ \(.*\))", line):
            report("install", match[1], None)
        elif line.startswith("Installing collected packages"):
            report("install", f"unpacking {packages} packages", 0.8)
        elif re.match(r"(Resolved|Prepared|Installed) \d+ packages", line):
            report("install", line.strip(), None)

    run_step(command, log=log, environment=environment, follow=follow)


def run_step(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    follow: Callable[[str], None] | None = None,
) -> None:
    """Run ``command``, add its output to ``log`` and hand each line to ``follow``.

    Raises RuntimeMissing with the last error line when it fails. The child never outlives the call.
    """
    lines: list[str] = []
    with log.open("a", encoding="utf-8") as record, _start(command, environment) as child:
        record.write(f"$ {' '.join(word for word in command if word != IMPORT_EACH)}\n")
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
        raise RuntimeMissing(f"{_last_error(lines)} (exit status {child.returncode}).", log)


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


def _last_error(lines: Sequence[str]) -> str:
    errors = [line for line in lines if re.match(r"\s*(error|×)", line, re.IGNORECASE)]
    said = (errors or lines or ["it said nothing"])[-1].strip()
    return "The environment could not be made: " + said.removeprefix("ERROR: ").rstrip(".")
