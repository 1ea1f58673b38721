"""The fences of the house, read from the source: who may import whom, and what stands nowhere.

Every import statement is read, nested ones too. A layer is the first name below ``csd_addon``; a file named
in ``EXCEPTIONS`` has a row of its own.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ADDON = ROOT / "csd_addon"
MODULES = sorted(ADDON.rglob("*.py"))
MANIFEST = tomllib.loads((ROOT / "blender_manifest.toml").read_text("utf-8"))

BLENDER = {"bpy", "bpy_extras", "mathutils", "numpy"}
TORCH = {"torch", "diffusers", "transformers", "safetensors", "numpy", "PIL", "nvdiffrast", "psutil", "xatlas"}

# layer: (third-party roots, other layers or single modules of them) that it may import
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "__init__": (set(), {"ui"}),
    "__main__": (set(), {"cli"}),
    "protocol": (set(), set()),
    "core": ({"numpy"}, set()),
    "jobs": (set(), {"protocol"}),
    "runtime": (set(), set()),
    "cli": (set(), {"core", "jobs", "protocol", "runtime"}),
    "scene": (BLENDER, {"core"}),
    "drive": ({"bpy"}, {"core", "jobs", "protocol", "runtime", "scene"}),
    "ui": ({"bpy", "bl_operators", "bl_ui"}, {"core", "drive", "jobs", "protocol", "runtime", "scene"}),
    "worker": (TORCH, {"core", "jobs.folder", "jobs.history", "protocol"}),
}
EXCEPTIONS = {
    "cli/headless.py": ({"bpy", "numpy"}, {"core", "drive", "jobs", "protocol", "runtime", "scene"}),
    # The terminal's words inside of Blender.
    "ui/command.py": ({"bpy"}, {"cli"}),
    # They start where torch is not installed yet, so a module that needs it is imported inside a function.
    "worker/serve/fake.py": ({"numpy"}, {"core", "jobs.folder", "protocol"}),
    "worker/serve/process.py": (set(), {"core", "jobs.folder", "protocol"}),
    "worker/serve/control.py": (set(), set()),
    "worker/__main__.py": (set(), {"core", "jobs.folder", "protocol"}),
}
# The rooms of a layer, each of which may import those before it. What lies beside the rooms may import all of them,
# but for files that every room of the runtime may use.
ROOMS = {
    "worker": ("serve", "look", "field", "bake", "teacher", "shape", "method", "run"),
    "runtime": ("errors", "choices", "paths", "folders", "file_lock", "environment", "teachers", "machine"),
}


def name_of(path: Path) -> str:
    return path.relative_to(ADDON).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[bool, str]]:
    """Yield (is it inside csd_addon, name) for every import statement of ``path``.

    The name is the first one of an outside package, the first two below ``csd_addon``. A relative import that
    climbs out of ``csd_addon`` is given as an outside one named "..".
    """
    package = path.relative_to(ADDON).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((False, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield False, (node.module or "").partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            climbed = node.level - 1
            if climbed > len(package):
                yield False, ".."
                continue
            base = (*package[: len(package) - climbed], *filter(None, (node.module or "").split(".")))
            yield from ((True, ".".join((*base, alias.name)[:2])) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_inwards(path: Path) -> None:
    layer = path.relative_to(ADDON).parts[0].removesuffix(".py")
    third_party, layers = EXCEPTIONS.get(name_of(path), LAYERS[layer])
    for inside, name in imports(path):
        if inside:
            known = {layer, *layers}
            assert name.partition(".")[0] in known or name in known, f"{name_of(path)} must not import {name}"
        else:
            allowed = name in third_party or name in sys.stdlib_module_names
            assert allowed, f"{name_of(path)} must not import {name}"


def full_names(path: Path) -> Iterator[tuple[str, ...]]:
    """The parts of every name that ``path`` imports from inside csd_addon: ("worker", "look", "views", "View")."""
    package = path.relative_to(ADDON).parent.parts
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and 0 < node.level <= len(package) + 1:
            base = (*package[: len(package) + 1 - node.level], *filter(None, (node.module or "").split(".")))
            yield from ((*base, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_import_only_those_before_them(path: Path) -> None:
    layer, room, *_ = (*path.relative_to(ADDON).with_suffix("").parts, "")
    rooms = ROOMS.get(layer, ())
    before = rooms[: rooms.index(room) + 1] if room in rooms else rooms
    for name in full_names(path):
        if name[0] == layer and name[1] in rooms:
            assert name[1] in before, f"{name_of(path)} must not import {'.'.join(name)}"


def test_the_fence_sees_an_upward_import_in_every_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ADDON", tmp_path)
    for layer, rooms in ROOMS.items():
        for below, above in zip(rooms, rooms[1:], strict=False):
            planted = tmp_path / layer / below / "breach.py"
            planted.parent.mkdir(parents=True)
            planted.write_text(f"def f():\n    from ..{above} import anything", encoding="utf-8")
            with pytest.raises(AssertionError, match="must not import"):
                test_rooms_import_only_those_before_them(planted)
            planted.write_text(f"from . import anything\nfrom ..{rooms[0]} import other", encoding="utf-8")
            test_rooms_import_only_those_before_them(planted)


def test_every_room_is_in_the_table() -> None:
    for layer, rooms in ROOMS.items():
        found = {path.name for path in (ADDON / layer).iterdir() if (path / "__init__.py").is_file()}
        assert found <= set(rooms), f"{layer}: {found - set(rooms)}"


def test_modules_import_each_other_in_no_circle() -> None:
    names = {path.relative_to(ADDON).with_suffix("").parts: path for path in MODULES}
    arrows = {
        name: {part for full in full_names(path) for part in (full, full[:-1]) if part in names and part != name}
        for name, path in names.items()
    }
    while leaves := [name for name, targets in arrows.items() if not targets]:
        arrows = {name: targets - set(leaves) for name, targets in arrows.items() if name not in leaves}
    assert not arrows, f"a circle among {sorted('/'.join(name) for name in arrows)}"


def test_the_fence_sees_a_planted_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ADDON", tmp_path)
    (tmp_path / "core").mkdir()
    planted = tmp_path / "core" / "breach.py"
    for line in (
        "import bpy",
        "import csd_addon.scene",
        "from csd_addon import scene",
        "def f():\n    from ..scene import read_mesh",
        "def f():\n    from .. import scene",
        "from ... import anything",
        "import torch.nn as nn",
    ):
        planted.write_text(line, encoding="utf-8")
        with pytest.raises(AssertionError, match="must not import"):
            test_imports_point_inwards(planted)
    planted.write_text(
        "import json\nimport numpy as np\nfrom . import mesh\nfrom .mesh import load", encoding="utf-8"
    )
    test_imports_point_inwards(planted)


def test_the_process_is_left_as_it_was_found() -> None:
    """Blender reports a changed ``sys.path`` as a policy violation; a new folder breaks relative paths."""
    forbidden = {"sys.path", "sys.modules", "os.chdir"}
    found = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if f"{node.value.id}.{node.attr}" in forbidden:
                    found.append(f"{name_of(path)}:{node.lineno}")
    assert not found


def test_the_addons_own_name_is_handed_down_and_never_written_out() -> None:
    assert not [name_of(path) for path in MODULES if "bl_" + "ext" in path.read_text("utf-8")]


def test_no_file_can_run_code_when_it_is_read() -> None:
    pickles = {"pickle", "marshal", "shelve", "dill"}
    assert not [name_of(path) for path in MODULES if pickles & {name for _, name in imports(path)}]
    assert not [name_of(path) for path in MODULES if "allow_pickle=" + "True" in path.read_text("utf-8")]


def test_no_error_is_swallowed() -> None:
    found = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                broad = isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
                if node.type is None or (broad and all(isinstance(line, ast.Pass) for line in node.body)):
                    found.append(f"{name_of(path)}:{node.lineno}")
    assert not found


def test_every_layer_of_the_table_is_known() -> None:
    found = {path.relative_to(ADDON).parts[0].removesuffix(".py") for path in MODULES}
    assert found <= set(LAYERS), found - set(LAYERS)


# --- The whole repository -----------------------------------------------------------------------------------


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in (ROOT / name for name in listed.stdout.splitlines()) if path.is_file()]


TRACKED = tracked()
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".sh", ".yml", ".yaml", ".cfg", ""}

# Addresses of package registries and folders of one machine. Written so that this file does not match itself.
FOREIGN = re.compile(
    r"pypi\.or[g]|pythonhoste[d]|npmjs\.or[g]|deb\.debia[n]|--(extra-)?index-ur[l] http"
    r"|/work/[ms]|/roo[t]/|/home/[a-z]|/opt/[wpr]|/tmp/de[v]|C:\\Users\\[A-Za-z]"
)


def test_no_address_of_a_registry_and_no_path_of_a_machine() -> None:
    found = []
    for path in [path for path in TRACKED if path.suffix in TEXT]:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found


def test_every_file_is_named_for_its_subject_and_small_enough() -> None:
    vague = [path for path in TRACKED if path.stem in {"utils", "util", "helpers", "helper", "misc"}]
    assert not vague
    large = [path for path in TRACKED if path.stat().st_size > 16e6]
    assert not large


def test_the_version_stands_in_the_manifest_only() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", MANIFEST["version"])
    for path in [*MODULES, ROOT / "__init__.py", ROOT / "pyproject.toml"]:
        text = path.read_text("utf-8")
        assert not re.search(rf"__version__ *=|bl_info|[\"']{re.escape(MANIFEST['version'])}[\"']", text), (
            path
        )


def test_the_manifest_keeps_the_validators_limits() -> None:
    assert (MANIFEST["schema_version"], MANIFEST["type"]) == ("1.0.0", "add-on")
    assert (MANIFEST["id"], MANIFEST["name"]) == ("csd_texture", "CSD Texture")
    assert MANIFEST["blender_version_min"] == "4.5.0"
    assert MANIFEST["license"] == ["SPDX:GPL-3.0-or-later"]
    assert set(MANIFEST["permissions"]) == {"files", "network"}
    for sentence in (MANIFEST["tagline"], *MANIFEST["permissions"].values()):
        assert len(sentence) <= 64 and sentence[-1].isalnum(), sentence
    assert all(MANIFEST.values())


def test_the_package_leaves_out_what_is_not_needed_to_run() -> None:
    """Everything at the root is either needed by the product or excluded by name."""
    excluded = {pattern.strip("/") for pattern in MANIFEST["build"]["paths_exclude_pattern"]}
    shipped = {"__init__.py", "blender_manifest.toml", "csd_addon", "wheels", "README.md", "LICENSE"}
    roots = {path.relative_to(ROOT).parts[0] for path in TRACKED}
    assert not {name for name in roots if not name.startswith(".")} - excluded - shipped
    assert {"__pycache__", ".*", "*.zip", "*.blend[1-9]"} <= excluded  # Blender's own, replaced by ours
