"""What is built is what is installed: valid, small, without violations, and working where it lies."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.blender.conftest import ROOT, SECONDS, Installed

# Runs in the installed Blender: one job through the operator, then a look at the result.
TEXTURE = """
import json, os, sys
import bpy
bpy.ops.mesh.primitive_monkey_add()
obj = bpy.context.object
assert bpy.ops.csd.texture(prompt="red brick", size=64, iterations=5) == {"FINISHED"}
nodes = obj.active_material.node_tree.nodes
(node,) = [n for n in nodes if n.get("csd_role") == "image"]
assert node.image.packed_file and tuple(node.image.size) == (64, 64)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
module = sys.modules[next(n for n in sys.modules if n.endswith(".csd_texture"))]
print("FOUND " + json.dumps({"file": module.__file__, "python": sys.version.split()[0], "name": module.__name__}))
assert bpy.ops.csd.revert() == {"FINISHED"} and not obj.material_slots
import addon_utils
addon_utils.disable(module.__name__)
assert not hasattr(bpy.types.Scene, "csd") and not [n for n in dir(bpy.types) if n.startswith("CSD_")]
"""


def test_the_source_is_valid(blender: str) -> None:
    words = [blender, "--command", "extension", "validate", "."]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "Success parsing TOML" in said and "rror" not in said, said


def test_the_zip_holds_the_product_and_nothing_else(names: list[str], archive: Path) -> None:
    roots = {name.split("/")[0] for name in names}
    print(f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB, {len(names)} files, roots {sorted(roots)}")
    assert {"__init__.py", "blender_manifest.toml", "csd_addon"} <= roots
    assert not roots & {"tests", "training", "tools", "docs", "benchmarks", "pyproject.toml"}
    assert "csd_addon/teachers/mini/unet/config.json" in names and "csd_addon/worker/run/entry.py" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".part", ".blend1"))]


def test_installed_enabled_and_without_a_policy_violation(installed: Installed) -> None:
    listed = installed.run("--command", "extension", "list")
    said = installed.output + listed.stdout + listed.stderr
    assert "csd_texture" in listed.stdout and "[installed]" in listed.stdout, said
    assert "olicy violation" not in said and "Traceback" not in said, said


def test_texture_through_the_installed_copy(installed: Installed, tmp_path: Path) -> None:
    script = tmp_path / "texture.py"
    script.write_text(TEXTURE, encoding="utf-8")
    before = files(installed)
    done = installed.run("--background", "--python-exit-code", 1, "--python", script, "--", tmp_path / "monkey.blend")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    found = json.loads(next(line for line in said.splitlines() if line.startswith("FOUND ")).removeprefix("FOUND "))
    print(found)
    assert found["file"].startswith(str(installed.folder)) and found["name"].endswith("user_default.csd_texture")
    assert (tmp_path / "monkey.blend").is_file() and "olicy violation" not in said
    assert files(installed) == before, "nothing is written beside the code"


def files(installed: Installed) -> set[Path]:
    (folder,) = (installed.folder / "resources").rglob("user_default/csd_texture")
    return set(folder.rglob("*"))


def test_the_terminal_command_of_the_installed_copy(installed: Installed, tmp_path: Path) -> None:
    source = tmp_path / "box.obj"
    source.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n", encoding="utf-8")
    words = ["--command", "csd", "texture", source, "--prompt", "red brick", "--size", 64, "--iterations", 5]
    done = installed.run(*words, "--output", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"type"')]
    assert messages[-1]["type"] == "done" and (tmp_path / "out" / "box.blend").is_file()
    wrong = installed.run("--command", "csd", "texture", source, "--prompt", " ", "--output", tmp_path / "out")
    assert wrong.returncode == 2 and "The prompt is empty" in wrong.stderr
