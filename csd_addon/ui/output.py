"""Where the finished image lies: inside the .blend, or as a file beside it."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..drive.apply_result import Place
from ..drive.file_names import safe_name


def place(scene: bpy.types.Scene) -> Place | None:
    """How images get their place, as the scene's settings want it; None packs them into the .blend.

    Raises ``ValueError`` with a sentence if they are to lie beside a .blend that is not saved yet.
    """
    if scene.csd.output == "PACK":
        return None
    if not bpy.data.filepath:
        raise ValueError(
            translated("The file is not saved yet, so nothing can lie beside it: save it, or pack the image.")
        )
    return _free_path_beside_file


def _free_path_beside_file(name: str, kind: str) -> Path:
    """A name in the folder ``textures`` beside the .blend that no file there has."""
    folder = Path(bpy.path.abspath("//textures"))
    stem = f"{safe_name(name)}_{'edited' if kind == 'edit' else 'basecolor'}"
    taken = {path.stem.lower() for path in folder.glob("*")}
    names = [stem, *(f"{stem}_{number:02d}" for number in range(2, len(taken) + 3))]
    return folder / next(name for name in names if name.lower() not in taken)
