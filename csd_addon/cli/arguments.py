"""The words of the command line. Flags are the names of ``core.settings.JobSettings``."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from ..core.settings import DEVICES, LOSSES, PRESETS, JobSettings
from .request import Request


class UsageError(ValueError):
    """The words on the command line are wrong."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. See '{self.prog} --help'.")


def parser(program: str) -> argparse.ArgumentParser:
    """The parser of all commands. Raises ``UsageError`` instead of ending the process."""
    top = _Parser(prog=program, description="Texture a mesh from words, by Classifier Score Distillation.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    demo = commands.add_parser("demo", help="texture Suzanne from two prompts with the bundled teacher")
    demo.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR")
    texture = commands.add_parser("texture", help="texture the meshes of a file")
    texture.add_argument("file", type=Path, metavar="FILE", help=".blend .obj .glb .gltf .fbx .ply .stl .usd*")
    texture.add_argument("--output", type=Path, required=True, metavar="DIR")
    texture.add_argument("--object", action="append", default=[], metavar="NAME", dest="objects")
    _add_settings(texture)
    resume = commands.add_parser("resume", help="continue a cancelled or failed run from its checkpoint")
    resume.add_argument("output", type=Path, metavar="DIR", help="the --output folder of that run")
    doctor = commands.add_parser("doctor", help="say what is right and what is wrong on this machine")
    runtime = commands.add_parser("runtime", help="install or remove the worker's environment")
    runtime.add_argument("action", choices=("install", "remove"))
    for command in (demo, texture, resume, doctor, runtime):
        command.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    return top


def _add_settings(command: argparse.ArgumentParser) -> None:
    default = {f.name: f.default for f in fields(JobSettings)}
    command.add_argument("--prompt", required=True, metavar="P", help="what the texture should show")
    command.add_argument("--negative", default=default["negative"], metavar="N", help="what it should not show")
    command.add_argument("--uv-map", default=default["uv_map"], metavar="NAME", help="UV layer to bake into")
    command.add_argument("--teacher", default=default["teacher"], metavar="mini|sd15|FOLDER")
    command.add_argument("--preset", default=default["preset"], choices=tuple(PRESETS))
    command.add_argument("--loss", default=default["loss"], choices=LOSSES)
    command.add_argument("--iterations", type=int, default=default["iterations"], metavar="N")
    command.add_argument("--size", type=int, default=default["size"], metavar="PX", help="edge of the image")
    command.add_argument("--seed", type=int, default=default["seed"], metavar="S")
    command.add_argument("--device", default=default["device"], choices=DEVICES)


def texture_request(words: argparse.Namespace) -> Request:
    """The request behind a ``texture`` command. Raises ``ValueError`` with a sentence on bad input."""
    names = {f.name for f in fields(JobSettings)}
    values = {name: value for name, value in vars(words).items() if name in names}
    teacher = Path(values["teacher"]).expanduser()
    if teacher.is_dir():
        values["teacher"] = str(teacher.resolve())
    settings = JobSettings(**values).validate()
    file = words.file.expanduser().resolve()
    if not file.is_file():
        raise ValueError(f"There is no file {words.file}.")
    request = Request(str(file), str(words.output.expanduser().resolve()), settings, tuple(words.objects))
    if request.blend == file:
        raise ValueError(f"The result would overwrite {words.file}; choose another --output folder.")
    return request
