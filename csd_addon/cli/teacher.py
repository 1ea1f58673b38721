"""``python3 -m csd_addon teacher list|download|verify|remove``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from ..runtime.errors import TeacherMissing
from ..runtime.folders import format_size
from ..runtime.paths import Paths, bundled_teachers
from ..runtime.teachers import catalogue, downloaded
from ..runtime.teachers.remote import REMOTE_TEACHERS, RemoteTeacher, find_remote_teacher, require_mirror

Message = Callable[[dict[str, Any]], None]
Say = Callable[[str], None]


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``teacher`` to ``parser``."""
    parser.add_argument("action", choices=("list", "download", "verify", "remove"))
    parser.add_argument("identifier", nargs="?", default="", metavar="ID", help="which one, e.g. sd15")
    parser.add_argument("--accept-licence", action="store_true", help="you agree to the licences that are printed")
    parser.add_argument("--mirror", metavar="URL", help="a hub of your own with the same paths, tried first")


def run(words: argparse.Namespace, paths: Paths, message: Message, say: Say) -> int:
    """Carry out one action and return the exit code.

    ``message`` gets what a program reads, ``say`` the lines for a person.
    Raises ValueError on wrong arguments; TeacherMissing, DownloadFailed or RuntimeMissing with a sentence.
    """
    if words.action == "list":
        return _list(paths, message, say)
    if not words.identifier:
        names = ", ".join(teacher.identifier for teacher in REMOTE_TEACHERS)
        raise ValueError(f"Say which teacher to {words.action}, for example: teacher {words.action} {names}.")
    if words.identifier in catalogue.BUNDLED:
        raise ValueError(f"'{words.identifier}' comes with the program: there is nothing to {words.action}.")
    teacher = find_remote_teacher(words.identifier)
    if words.action == "download":
        return _download(teacher, words, paths, message, say)
    return (_verify if words.action == "verify" else _remove)(teacher, paths, message, say)


def _list(paths: Paths, message: Message, say: Say) -> int:
    for name in catalogue.BUNDLED:
        folder = bundled_teachers() / name
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        _tell_teacher(message, say, name, "bundled", size, "comes with the program", str(folder))
    for teacher in REMOTE_TEACHERS:
        try:
            status, folder = "ready", catalogue.find_teacher(teacher.identifier, paths).root
        except TeacherMissing:
            found = downloaded.state(teacher, paths)
            status, folder = ("absent" if found.status == "absent" else "begun"), found.folder
        names = ", ".join(licence.name for licence in teacher.licences)
        _tell_teacher(message, say, teacher.identifier, status, teacher.size, names, str(folder))
    return 0


def _tell_teacher(message: Message, say: Say, name: str, status: str, size: int, licence: str, folder: str) -> None:
    message({"type": "teacher", "id": name, "status": status, "bytes": size, "licence": licence, "folder": folder})
    say(f"{name:8} {status:8} {format_size(size):>9}  {licence}; {folder}")


def consent(teacher: RemoteTeacher, paths: Paths) -> list[str]:
    """Return the lines that the user agrees to: what, from whom, how large, under which licence, to which folder."""
    found = downloaded.state(teacher, paths)
    rest = max(teacher.size - found.done, 0)
    lines = [f"{teacher.title}", f"From: {'; '.join(teacher.publishers)}"]
    about = "" if teacher.exact else "about "
    parts = f"{format_size(found.done)} are here, {format_size(rest)} to come"
    lines.append(f"Size: {about}{format_size(teacher.size)} ({parts})")
    lines += [f"Licence: {licence.name} ({licence.covers}): {licence.address}" for licence in teacher.licences]
    return [*lines, f"To: {found.folder}"]


def _download(teacher: RemoteTeacher, words: argparse.Namespace, paths: Paths, message: Message, say: Say) -> int:
    mirror = require_mirror(words.mirror) if words.mirror else None
    lines = consent(teacher, paths)
    message({"type": "consent", "lines": lines})
    for line in lines:
        say(line)
    if not words.accept_licence and not _agreed():
        raise ValueError("Nothing was downloaded: it takes your consent (y), or the flag --accept-licence.")
    folder = downloaded.fetch(teacher, paths, mirror=mirror, report=lambda news: message(_as_message(news)))
    message({"type": "done", "paths": {"teacher": str(folder)}})
    say(f"{teacher.title} is in {folder}.")
    return 0


def _agreed() -> bool:
    """Ask on the terminal. Without one, the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print("Download this and agree to the licences? [y/n] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _as_message(news: downloaded.Progress) -> dict[str, Any]:
    return {
        "type": "download", "file": news.file, "done": news.done, "total": news.total,
        "bytes_per_second": round(news.speed), "detail": format_progress(news),
    }  # fmt: skip


def format_progress(news: downloaded.Progress) -> str:
    """Return the progress of a download in one line."""
    return f"{format_size(news.done)} of {format_size(news.total)}, {format_size(round(news.speed))}/s, {news.file}"


def _verify(teacher: RemoteTeacher, paths: Paths, message: Message, say: Say) -> int:
    whole = True
    for verdict in downloaded.verify(teacher, paths):
        whole = whole and verdict.ok
        message({"type": "verified", "file": verdict.file, "ok": verdict.ok, "sentence": verdict.sentence})
        say(f"{'ok     ' if verdict.ok else 'PROBLEM'} {verdict.file} {verdict.sentence}")
    if not whole:
        raise TeacherMissing(
            f"'{teacher.identifier}' is not whole: remove it and download it again (teacher remove "
            f"{teacher.identifier}; teacher download {teacher.identifier})."
        )
    return 0


def _remove(teacher: RemoteTeacher, paths: Paths, message: Message, say: Say) -> int:
    found = downloaded.state(teacher, paths)
    kept = downloaded.remove(teacher, paths)
    message({"type": "done", "paths": {"kept": [str(path) for path in kept]}})
    say(f"Removed {format_size(found.done)} from {found.folder}." if found.done else "There was nothing to remove.")
    if kept:
        say(f"Left alone, because they are not from our download: {', '.join(map(str, kept[:5]))}.")
    return 0
