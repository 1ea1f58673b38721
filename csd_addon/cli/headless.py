"""Runs inside Blender without a window: open, texture, save, render the contact sheet.

``main`` is started by ``cli/session.py`` with the request's path as last argument. It talks to its parent in
lines on stdout that begin with ``PREFIX`` (everything else there is Blender's own chatter) and listens on stdin for
"keep" and "cancel"; when stdin closes, the parent is gone and the job is cancelled.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from ..drive import apply_result, object_job
from ..drive.file_names import safe_name
from ..drive.warm_worker import shared_worker
from ..jobs.folder import JobFolder, read_json, write_json
from ..jobs.job import Job, exit_code
from ..jobs.process import make_non_blocking, read_available
from ..jobs.state import JobState
from ..protocol import Done, Error, Phase, Preview, Progress, Warning, encode
from ..runtime.errors import RuntimeMissing, TeacherMissing
from ..scene.contact_sheet import render_contact_sheet
from ..scene.files import find_objects, open_file, open_suzanne, save_copy
from .request import PREFIX, SUZANNE, Request

Say = Callable[[bytes], None]


def main() -> None:
    """Entry point inside Blender: run the request and end the process with the design's exit code."""
    descriptor = sys.stdin.fileno()
    make_non_blocking(descriptor)

    def say(line: bytes) -> None:
        sys.stdout.write(PREFIX + line.decode())
        sys.stdout.flush()

    code = run_request(Request.from_json(read_json(Path(sys.argv[-1]))), say, lambda: read_available(descriptor))
    sys.stdout.flush()
    shared_worker.stop()
    # Not sys.exit: Blender turns that into its own exit code, and its shutdown prints leak reports.
    os._exit(code)


def run_request(request: Request, say: Say, asked: Callable[[], bytes | None]) -> int:
    """Carry out ``request``; returns the exit code. ``asked``: see ``jobs.process.read_available``."""
    try:
        return _HeadlessRun(request, say, asked).run()
    except ValueError as error:
        return _fail(say, "input", error, 2)
    except (RuntimeMissing, TeacherMissing) as error:
        return _fail(say, "teacher", error, 3)
    except OSError as error:
        return _fail(say, "disk", error, 4)


def _fail(say: Say, kind: str, error: Exception, code: int) -> int:
    say(encode(Error(kind, str(error))))
    return code


class _HeadlessRun:
    """One request: its objects are textured one after another in one warm worker."""

    def __init__(self, request: Request, say: Say, asked: Callable[[], bytes | None]) -> None:
        self.request, self._say, self._asked = request, say, asked
        self._told = JobState()

    def run(self) -> int:
        self._say(encode(Phase("open", "Opening the file in Blender")))
        if self.request.file == SUZANNE:
            open_suzanne()
        else:
            open_file(Path(self.request.file))
        objects = find_objects(list(self.request.objects))
        folders = [self._folder(obj.name, alone=len(objects) == 1) for obj in objects]
        if not self.request.resume:
            # All of them before the first begins: a resumed run takes what has a report for finished.
            for folder in folders:
                _clear(folder)
        reports = {}
        for obj, folder in zip(objects, folders, strict=True):
            code, report = self._texture(obj, folder)
            if code:
                return code
            reports[obj.name] = report
        self._write(objects, reports)
        return 0

    def _folder(self, name: str, *, alone: bool) -> JobFolder:
        return JobFolder(self.request.jobs if alone else self.request.jobs / safe_name(name))

    def _texture(self, obj: bpy.types.Object, folder: JobFolder) -> tuple[int, dict[str, Any]]:
        """Texture one object; returns an exit code and the report."""
        self._say(encode(Phase("read", f"Reading {obj.name}")))
        task = object_job.prepare(obj, self.request.settings, folder)
        write_json(self.request.saved, self.request.to_json())
        # One of several objects may have been finished before the run was interrupted.
        if not (self.request.resume and folder.report.is_file()):
            job = object_job.run_blocking(task, on_change=self._relay, resume=self.request.resume)
            if job.state.status != "done":
                if job.state.error:
                    self._say(encode(job.state.error))
                return exit_code(job.state), {}
        result = folder.edited if task.settings.kind == "edit" else folder.basecolor
        notes = apply_result.finish(task, result, place=self._place)
        for note in notes:
            self._say(encode(Warning(note)))
        report = read_json(folder.report)
        return 0, {"object": obj.name, **report, "warnings": [*report.get("warnings", []), *notes]}

    def _place(self, name: str, _kind: str) -> Path:
        return self.request.textures / f"{safe_name(name)}_basecolor"

    def _relay(self, state: JobState, job: Job) -> None:
        """Pass the worker's news on, and the parent's wishes back."""
        self._say_news(state)
        word = self._asked()
        if word is None or b"cancel" in word:
            job.cancel()
        elif b"keep" in word:
            job.stop_and_keep()

    def _say_news(self, state: JobState) -> None:
        told, self._told = self._told, state
        if (state.phase, state.detail) != (told.phase, told.detail):
            self._say(encode(Phase(state.phase, state.detail)))
        if state.iteration != told.iteration:
            self._say(encode(Progress(
                state.iteration, state.of, state.seconds_left, dict(state.norms), state.memory_mb,
            )))  # fmt: skip
        if state.preview and state.preview != told.preview:
            self._say(encode(Preview(state.preview)))
        for sentence in state.warnings[len(told.warnings) :]:
            self._say(encode(Warning(sentence)))

    def _write(self, objects: list[bpy.types.Object], reports: dict[str, Any]) -> None:
        request = self.request
        self._say(encode(Phase("save", "Saving the .blend and rendering the preview")))
        save_copy(request.blend)
        aside = request.preview.with_name("preview.part.png")
        render_contact_sheet(objects, aside)
        os.replace(aside, request.preview)
        report = next(iter(reports.values())) if len(reports) == 1 else {"objects": reports}
        write_json(request.report, report)
        paths = {
            "blend": request.blend, "preview": request.preview, "textures": request.textures, "report": request.report,
        }  # fmt: skip
        self._say(encode(Done({role: str(path) for role, path in paths.items()}, report)))


def _clear(folder: JobFolder) -> None:
    """Forget an earlier run in the same output folder: its checkpoint and result belong to other settings."""
    for path in (folder.checkpoint, folder.preview, folder.result):
        shutil.rmtree(path, ignore_errors=True)
    for path in (folder.events, folder.log, folder.source, folder.layer):
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
