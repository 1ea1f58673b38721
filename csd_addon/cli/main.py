"""``python3 -m csd_addon``: the commands, from words to exit code (design, section 3)."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.settings import AUTO_TEACHER, JobSettings
from ..jobs.folder import read_json
from ..runtime.errors import DownloadFailed, RuntimeMissing, TeacherMissing
from ..runtime.paths import Paths, default_base
from ..runtime.teachers import catalogue
from . import diagnose, explain, session, setting_up, teacher
from .arguments import UsageError, job_request, parser
from .progress import ProgressLine
from .request import SUZANNE, Request

DEMO_PROMPTS = ("red brick", "mossy stone")


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code. One sentence on stderr for everything that goes wrong."""
    try:
        words = parser("python3 -m csd_addon").parse_args(argv)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    screen = _Screen(as_json=words.json)
    try:
        return _COMMANDS[words.command](words, screen)
    except ValueError as error:
        return screen.fail("input", error, 2)
    except RuntimeMissing as error:
        return screen.fail("runtime", error, 3)
    except TeacherMissing as error:
        return screen.fail("teacher", error, 3)
    except DownloadFailed as error:
        return screen.fail("download", error, 4)
    except OSError as error:
        return screen.fail("disk", error, 4)
    except KeyboardInterrupt:
        return screen.fail("cancelled", RuntimeError("Cancelled."), 130)


class _Screen:
    """What the person (a progress line on stderr) or the farm (JSON lines on stdout) gets to see."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self.line = ProgressLine()

    def message(self, body: dict[str, Any]) -> None:
        if self._json:
            print(json.dumps(body), flush=True)
        elif body["type"] == "error":
            self.line.say(f"Error: {body['sentence']}")
        else:
            self.line.message(body)

    def setup(self, phase: str, detail: str, fraction: float | None) -> None:
        if self._json:
            self.message({"type": "phase", "name": f"runtime-{phase}", "detail": detail, "fraction": fraction})
        else:
            self.line.setup(phase, detail, fraction)

    def fail(self, kind: str, error: Exception, code: int) -> int:
        log = error.log if isinstance(error, RuntimeMissing) else None
        self.message({"type": "error", "kind": kind, "sentence": str(error), "detail": str(log or "")})
        return code

    def write(self, text: str) -> None:
        """A line of an answer that a person asked for, on stdout."""
        if not self._json:
            self.line.close()
            print(text, flush=True)

    def end(self, sentence: str) -> None:
        """The last line for a person; JSON readers have the ``done`` message."""
        if not self._json:
            self.line.say(sentence)


def _job(words: argparse.Namespace, screen: _Screen) -> int:
    return _run_and_tell(job_request(words), screen)


def _resume(words: argparse.Namespace, screen: _Screen) -> int:
    saved = words.output.expanduser().resolve() / "job" / "request.json"
    if not saved.is_file():
        raise ValueError(f"{words.output} holds no run to resume: it has no job/request.json.")
    request = replace(Request.from_json(read_json(saved)), output=str(saved.parent.parent))
    return _run_and_tell(request.resumed(), screen)


def _demo(words: argparse.Namespace, screen: _Screen) -> int:
    output = words.output.expanduser().resolve()
    for prompt in DEMO_PROMPTS:
        settings = JobSettings(prompt=prompt, preset="draft")
        request = Request(SUZANNE, str(output / prompt.replace(" ", "_")), settings)
        screen.line.phase(f"Suzanne in {prompt}")
        if code := _run(request, screen):
            return code
    screen.end(f"Done: open {output} for two textured .blend files, each with its preview.png and report.json.")
    return 0


def _run_and_tell(request: Request, screen: _Screen) -> int:
    code = _run(request, screen)
    if code == 0:
        done = "edited" if request.settings.kind == "edit" else "textured"
        screen.end(f"Done: {request.blend} is {done}; look at {request.preview}.")
    elif code == 130:
        screen.end(f"Cancelled. Continue with: python3 -m csd_addon resume {request.output}")
    return code


def _run(request: Request, screen: _Screen) -> int:
    """Set up what is missing, then carry out ``request``."""
    paths = Paths(default_base())
    if request.settings.teacher != AUTO_TEACHER:
        catalogue.find_teacher(request.settings.teacher, paths)
    created = _require_writable(Path(request.output))
    try:
        python = session.worker_python(paths, screen.setup)
        command = session.blender_command(paths, screen.setup)
        return session.run(request, command, python, screen.message)
    finally:
        screen.line.close()
        _remove_empty(created)


def _require_writable(output: Path) -> list[Path]:
    """Make the output folder; returns the folders that were made, deepest first. Raises ``ValueError``."""
    missing = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ValueError(f"The output folder {output} can't be written ({reason}); choose another.") from error
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _explain(words: argparse.Namespace, screen: _Screen) -> int:
    told = explain.run(words, Paths(default_base()), screen.write)
    if words.json:
        screen.message(told)
    return 0


def _doctor(words: argparse.Namespace, screen: _Screen) -> int:
    well = True
    for finding in setting_up.findings(Paths(default_base())):
        well = well and finding.ok
        print(setting_up.finding_lines(finding, as_json=words.json), flush=True)
    return 0 if well else 3


def _runtime(words: argparse.Namespace, screen: _Screen) -> int:
    try:
        done = setting_up.run_runtime(words, Paths(default_base()), screen.setup)
    finally:
        screen.line.close()
    screen.end(done)
    return 0


def _diagnose(words: argparse.Namespace, screen: _Screen) -> int:
    request = job_request(argparse.Namespace(**{**vars(words), "command": "texture"}))
    created = _require_writable(Path(request.output))
    export, paths = diagnose.export_request(request), Paths(default_base())
    code = 0
    try:
        code = _run(export, screen)
        if not code:
            python = session.worker_python(paths, screen.setup)
            code = diagnose.run(request, export, python, paths, screen.message, screen.write)
        return code
    finally:
        screen.line.close()
        if code != 4:  # only a failure has something to look at there, and nothing of it can be resumed
            shutil.rmtree(export.output, ignore_errors=True)
        _remove_empty(created)


def _teacher(words: argparse.Namespace, screen: _Screen) -> int:
    try:
        return teacher.run(words, Paths(default_base()), screen.message, screen.write)
    finally:
        screen.line.close()


_COMMANDS = {
    "demo": _demo, "texture": _job, "edit": _job, "resume": _resume, "explain": _explain, "doctor": _doctor,
    "runtime": _runtime,
    "teacher": _teacher, "diagnose": _diagnose,
}  # fmt: skip
