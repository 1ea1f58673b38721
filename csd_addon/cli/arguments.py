"""The words of the command line. Flags are the names of ``core.settings.JobSettings``."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from ..core.recipe import PRESETS
from ..core.settings import (
    CHOICES_OF_METHOD,
    DEPTHS,
    DEVICES,
    FRONTS,
    IMAGES,
    KEEPS,
    LOSSES,
    OVERLAPS,
    UNWRAPS,
    JobSettings,
)
from . import setting_up, teacher
from .request import Request

_DEFAULT = {f.name: f.default for f in fields(JobSettings)}


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
    _add_file(texture)
    _add_prompt(texture)
    edit = commands.add_parser("edit", help="change the texture that the meshes of a file have")
    _add_file(edit)
    _add_target(edit)
    _add_settings(texture, size=JobSettings.size)
    texture.add_argument(
        "--unwrap", default=_DEFAULT["unwrap"], choices=UNWRAPS,
        help="what makes the UV map where a new one is needed: Blender's Smart UV Project, or the slower xatlas",
    )  # fmt: skip
    texture.add_argument(
        "--images", default=_DEFAULT["images"], choices=IMAGES,
        help="one image for all materials of an object, or an own one for each of them",
    )  # fmt: skip
    texture.add_argument("--unseen-map", action="store_true", help="also write an image of what no view saw, in white")
    _add_settings(edit, size=0)
    resume = commands.add_parser("resume", help="continue a cancelled or failed run from its checkpoint")
    resume.add_argument("output", type=Path, metavar="DIR", help="the --output folder of that run")
    doctor = commands.add_parser("doctor", help="say what is right and what is wrong on this machine")
    runtime = commands.add_parser("runtime", help="install, repair, bundle or remove the worker's environment")
    setting_up.add_runtime(runtime)
    diagnose = commands.add_parser("diagnose", help="show which of the paper's claims hold with a teacher, on one mesh")
    _add_file(diagnose)
    _add_prompt(diagnose)
    _add_settings(diagnose, size=JobSettings.size)
    diagnose.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    explain = commands.add_parser("explain", help="print every number of a run, and what decided it")
    _add_method(explain)
    explain.add_argument("--edit", action="store_true", help="of an edit; else of a new texture")
    _add_prompt(explain, required=False)
    _add_target(explain, required=False)
    teachers = commands.add_parser("teacher", help="list, download, verify or remove teachers")
    teacher.add_commands(teachers)
    teachers.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    for command in (demo, texture, edit, resume, doctor, runtime, explain):
        command.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    return top


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help=".blend .obj .glb .gltf .fbx .ply .stl .usd*")
    command.add_argument("--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--object", action="append", default=[], metavar="NAME", dest="objects")


def _add_prompt(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    command.add_argument(
        "--prompt", required=required, default=_DEFAULT["prompt"], metavar="P", help="what the texture should show"
    )
    command.add_argument("--negative", default=_DEFAULT["negative"], metavar="N", help="what it should not show")


def _add_target(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    command.add_argument(
        "--target", required=required, default=_DEFAULT["target"], metavar="P",
        help="what the texture should show, e.g. 'blue brick'",
    )  # fmt: skip
    command.add_argument("--remove", default=_DEFAULT["remove"], metavar="P", help="what it shows, e.g. 'red brick'")
    command.add_argument("--strength", type=float, default=_DEFAULT["strength"], metavar="F", help="0 nothing, 1 full")
    command.add_argument(
        "--mask", default=_DEFAULT["mask"], metavar="GROUP|IMAGE",
        help="where it may change: a vertex group, an image, a material, or 'faces' for the selected ones",
    )  # fmt: skip
    command.add_argument("--keep", default=_DEFAULT["keep"], choices=KEEPS, help="whether the pattern stays")


def _add_method(command: argparse.ArgumentParser) -> None:
    """What decides the numbers of a run."""
    command.add_argument(
        "--teacher", default=_DEFAULT["teacher"], metavar="auto|mini|broad|sd15|FOLDER|FILE",
        help="auto: the bundled one, mini or broad, that knows the words",
    )  # fmt: skip
    command.add_argument("--preset", default=_DEFAULT["preset"], choices=tuple(PRESETS))
    command.add_argument(
        "--method", default=_DEFAULT["method"], choices=CHOICES_OF_METHOD,
        help="distill: an optimiser follows a score, as in the paper; sample: steps of sampling over anchored noise; "
        "auto: as the teacher and the preset prefer",
    )  # fmt: skip
    command.add_argument(
        "--loss", default=_DEFAULT["loss"], choices=LOSSES, help="of distillation; sds is always distilled"
    )
    command.add_argument("--iterations", type=int, default=_DEFAULT["iterations"], metavar="N")
    command.add_argument(
        "--front", default=_DEFAULT["front"], choices=tuple(FRONTS),
        help="which of Blender's views shows the object's front, for teachers that know view words",
    )  # fmt: skip
    command.add_argument(
        "--set", action="append", default=[], type=_expert_value, dest="expert", metavar="NAME=VALUE",
        help="a number of the method by hand, e.g. guidance=4 or t_max=0,0.8,0.5,0.5 (from 0.8 to 0.5 by half-time); "
        "'explain' lists them",
    )  # fmt: skip


def _add_settings(command: argparse.ArgumentParser, *, size: int) -> None:
    _add_method(command)
    command.add_argument("--uv-map", default=_DEFAULT["uv_map"], metavar="NAME", help="UV layer to bake into")
    command.add_argument("--lora", default=_DEFAULT["lora"], metavar="FILE[:WEIGHT]", help="merged into the teacher")
    edge = "edge of the image" if size else "longer edge of the image; 0: as the source"
    command.add_argument("--size", type=int, default=size, metavar="PX", help=edge)
    command.add_argument(
        "--depth", default=_DEFAULT["depth"], choices=DEPTHS,
        help="bits of a channel of the image; auto: as the source for an edit, else 8",
    )  # fmt: skip
    command.add_argument(
        "--margin", type=int, default=_DEFAULT["margin"], metavar="TEXELS",
        help="width of the border around each UV island; 0: as the size of the image asks for",
    )  # fmt: skip
    command.add_argument(
        "--overlaps", default=_DEFAULT["overlaps"], choices=OVERLAPS,
        help="where faces share texels: the first one's colour, all their mean, or a new UV map",
    )  # fmt: skip
    command.add_argument("--seed", type=int, default=_DEFAULT["seed"], metavar="S")
    command.add_argument("--device", default=_DEFAULT["device"], choices=DEVICES)


def _expert_value(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``: JSON, numbers with commas between them, or else plain text."""
    name, equals, value = text.partition("=")
    if not (name.strip() and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE, for example kappa=0.1")
    for form in (value, f"[{value}]" if "," in value else value):
        try:
            return name.strip(), json.loads(form)
        except ValueError:
            continue
    return name.strip(), value


def _found_teacher(name: str) -> str:
    """``name``, absolute where it is a folder or a file. Raises ``ValueError`` where it can't be looked at."""
    try:
        path = Path(name).expanduser()
        return str(path.resolve()) if path.exists() else name
    except (OSError, RuntimeError) as error:
        raise ValueError(f"The teacher '{name}' can't be looked at ({error}).") from error


def job_settings(words: argparse.Namespace, kind: str) -> JobSettings:
    """The settings that ``words`` name, for a job of this kind; not validated yet."""
    names = {f.name for f in fields(JobSettings)}
    values = {name: value for name, value in vars(words).items() if name in names}
    values["teacher"] = _found_teacher(values["teacher"])
    if values.get("lora"):
        # The worker runs in another folder.
        values["lora"] = str(Path(values["lora"]).expanduser().absolute())
    return JobSettings(kind=kind, **{**values, "expert": dict(words.expert)})


def job_request(words: argparse.Namespace) -> Request:
    """The request behind a ``texture`` or ``edit`` command. Raises ``ValueError`` with a sentence on bad input."""
    settings = job_settings(words, words.command).validate()
    file = words.file.expanduser().resolve()
    if not file.is_file():
        raise ValueError(f"There is no file {words.file}.")
    request = Request(str(file), str(words.output.expanduser().resolve()), settings, tuple(words.objects))
    if request.blend == file:
        raise ValueError(f"The result would overwrite {words.file}; choose another --output folder.")
    return request
