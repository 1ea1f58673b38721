"""A click evaluates the mesh once, and a second time only where the object gets a new UV layer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.drive import object_job
from csd_addon.jobs.folder import new_folder
from tests.scene.objects import cube, principled, quarters_shown, rigged_cube

pytestmark = pytest.mark.usefixtures("addon")


class _Counting:
    """Stands for ``bpy`` or ``bpy.context``, and counts who asks for evaluated objects."""

    def __init__(self, real: Any, asked: list[str], where: str) -> None:
        self._real, self._asked, self._where = real, asked, where

    def __getattr__(self, name: str) -> Any:
        if name == "evaluated_depsgraph_get":
            self._asked.append(self._where)
        found = getattr(self._real, name)
        return _Counting(found, self._asked, self._where) if name == "context" else found


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The module of ours behind each evaluation since the test began."""
    asked: list[str] = []
    for name, module in list(sys.modules.items()):
        if name.startswith(("csd_addon.scene.", "csd_addon.drive.")) and getattr(module, "bpy", None) is bpy:
            monkeypatch.setattr(module, "bpy", _Counting(bpy, asked, name))
    return asked


def two_materials() -> bpy.types.Object:
    obj = cube()
    for name in ("Red", "Green"):
        obj.data.materials.append(principled(name))
    for polygon in obj.data.polygons:
        polygon.material_index = polygon.index % 2
    return obj


def drawn() -> bpy.types.Object:
    """A cube that shows an image, with a vertex group and a material."""
    obj = cube()
    material = principled("Drawn")
    quarters_shown(material)
    obj.data.materials.append(material)
    obj.vertex_groups.new(name="Soft").add([0, 1, 2], 0.5, "REPLACE")
    return obj


EDIT = {"kind": "edit", "target": "blue brick", "remove": "red brick"}
CASES: dict[str, tuple[Callable[[], bpy.types.Object], dict[str, str], int]] = {
    "plain": (rigged_cube, {"prompt": "x"}, 1),
    "image per material": (two_materials, {"prompt": "x", "images": "material"}, 1),
    "edit, mask of a group": (drawn, {**EDIT, "mask": "group:Soft"}, 1),
    "edit, mask of faces": (drawn, {**EDIT, "mask": "faces"}, 1),
    "edit, mask of a material": (drawn, {**EDIT, "mask": "material:Drawn"}, 1),
    "no UVs": (lambda: cube(uvs=False), {"prompt": "x"}, 2),
}


@pytest.mark.parametrize("case", CASES)
def test_a_click_evaluates_the_mesh_once(case: str, home: Path, evaluations: list[str]) -> None:
    make, settings, count = CASES[case]
    obj = make()
    task = object_job.prepare(obj, JobSettings(**{"size": 64, **settings}), new_folder(home / "jobs"))
    assert len(evaluations) == count, evaluations
    assert task.folder.mesh.is_file() and task.folder.source.is_file() == (settings.get("kind") == "edit")
