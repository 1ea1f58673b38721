"""Which teacher a name means, and where its parts lie on this disk. Nothing is fetched.

A teacher is a folder in diffusers layout (`diffusers_folder`) or a single file of Stable Diffusion 1.5 (`single_file`).
A ControlNet may be a file beside it, under the name that its publisher gave it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import TeacherMissing
from ..paths import Paths, bundled_teachers
from .diffusers_folder import NETWORKS, TOKENIZER, check_layout, missing_files, missing_network
from .remote import SD15, SD15_CANNY, SD15_DEPTH
from .single_file import controlnet_problem, refuse_pickles, require_checkpoint

# mini: few words, their patterns best. broad: many words, mostly their colours.
BUNDLED = ("mini", "broad")


@dataclass(frozen=True)
class TeacherFolders:
    """Where a teacher's parts lie. A part that the teacher does not have is None."""

    # The teacher's folder or its single file.
    root: Path
    # None: the teacher works on pixels, or the autoencoder is in the single file.
    vae: Path | None
    # A folder or a file each.
    controlnet_depth: Path | None
    controlnet_canny: Path | None
    # Only for a single file, which holds none.
    tokenizer: Path | None = None


def find_teacher(name: str, paths: Paths) -> TeacherFolders:
    """Return the folders of one of ``BUNDLED``, of ``sd15`` or of a folder in diffusers layout.

    Raises TeacherMissing when there is none, or when parts of it are missing, and names them.
    """
    try:
        return _find(name, paths)
    except (OSError, RuntimeError) as error:  # a name too long, a folder of nobody's, a file that is kept from us
        raise TeacherMissing(f'The teacher "{name}" can\'t be looked at ({error}).') from error


def _find(name: str, paths: Paths) -> TeacherFolders:
    if name in BUNDLED:
        root = bundled_teachers() / name
    elif name == "sd15":
        root = _find_sd15(paths)
    else:
        root = Path(name).expanduser().absolute()
        if root.is_file():
            require_checkpoint(root)
            return _around(root, paths)
        if not root.is_dir():
            raise TeacherMissing(
                f'No teacher "{name}": give auto, mini, broad, sd15, a folder in diffusers layout, or a .safetensors '
                "file."
            )
    if missing := check_layout(root):
        refuse_pickles(root, missing)
        raise TeacherMissing(f"The teacher in {root} is not complete, it lacks: {', '.join(missing)}.")
    return _folders(root)


def _folders(root: Path) -> TeacherFolders:
    depth, canny = _controlnet_in(root, "depth"), _controlnet_in(root, "canny")
    if root.parent.parent.name == _hub_folder(SD15):  # the hub keeps each ControlNet in its own repository
        depth = depth or _controlnet_snapshot(SD15_DEPTH)
        canny = canny or _controlnet_snapshot(SD15_CANNY)
    return TeacherFolders(root, _optional(root, "vae"), depth, canny)


def _around(file: Path, paths: Paths) -> TeacherFolders:
    """A single file with the tokenizer and the ControlNets beside it, else with those of sd15."""
    places: dict[str, Path | None] = {"tokenizer": _tokenizer_for(file, paths)}
    for kind, repository in (("depth", SD15_DEPTH), ("canny", SD15_CANNY)):
        found = (_controlnet_in(folder, kind) for folder in (file.parent, paths.teachers / "sd15"))
        whole = (place for place in found if place and _is_whole(place))
        places[f"controlnet_{kind}"] = next(whole, None) or _controlnet_snapshot(repository)
    return TeacherFolders(file, None, **places)


def _tokenizer_for(file: Path, paths: Paths) -> Path:
    """The words of Stable Diffusion 1.5, which a single file does not hold."""
    for root in (file.parent, paths.teachers / "sd15", *_snapshots(SD15)):
        if not missing_files(root, "tokenizer", TOKENIZER):
            return root / "tokenizer"
    raise TeacherMissing(
        f"{file} needs the tokenizer of Stable Diffusion 1.5, which no single file holds: put its folder tokenizer "
        "(vocab.json and merges.txt) beside the file."
    )


def _controlnet_in(folder: Path, kind: str) -> Path | None:
    """The folder ``controlnet_KIND``, else a file such as control_v11p_sd15_canny.safetensors, else None.

    Raises TeacherMissing when there are such files and none of them fits.
    """
    if own := _optional(folder, f"controlnet_{kind}"):
        return own
    problems = {file: controlnet_problem(file) for file in sorted(folder.glob(f"control*{kind}*.safetensors"))}
    if problems and all(problems.values()):
        raise TeacherMissing(next(iter(problems.values())))
    return next((file for file, problem in problems.items() if not problem), None)


def _is_whole(controlnet: Path) -> bool:
    return controlnet.is_file() or not missing_network(controlnet, NETWORKS["unet"])


def _optional(root: Path, part: str) -> Path | None:
    return root / part if (root / part).is_dir() else None


def _find_sd15(paths: Paths) -> Path:
    own = paths.teachers / "sd15"
    for folder in (own, *_snapshots(SD15)):
        if folder.is_dir() and not check_layout(folder):
            return folder
    if (own / "unet").is_dir():
        return own  # begun: the caller says what it lacks
    raise TeacherMissing(
        "Stable Diffusion 1.5 is not on this disk: download it (the add-on's preferences, or 'python3 -m csd_addon "
        f"teacher download sd15'), or put it in diffusers layout into {own}, or give such a folder as the teacher. A "
        f"copy of {SD15} in the Hugging Face cache is found as well."
    )


def _controlnet_snapshot(repository: str) -> Path | None:
    complete = (folder for folder in _snapshots(repository) if not missing_network(folder, NETWORKS["unet"]))
    return next(complete, None)


def _snapshots(repository: str) -> Iterator[Path]:
    """Yield the revisions of a repository in the hub's caches on this disk, newest first."""
    for cache in hub_caches():
        folder = cache / _hub_folder(repository) / "snapshots"
        found = [snapshot for snapshot in folder.glob("*") if snapshot.is_dir()]
        yield from sorted(found, key=lambda snapshot: snapshot.stat().st_mtime, reverse=True)


def _hub_folder(repository: str) -> str:
    return f"models--{repository.replace('/', '--')}"


def hub_caches() -> list[Path]:
    """Return the folders where Hugging Face's client keeps its downloads, by its own rules."""
    named = os.environ.get("HF_HUB_CACHE")
    home = os.environ.get("HF_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folders = [named, f"{home}/hub" if home else None, f"{cache}/huggingface/hub"]
    return [Path(folder).expanduser() for folder in folders if folder]
