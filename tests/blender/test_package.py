"""The release: one zip for each platform, the same bytes each time, and a repository that Blender reads."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tomllib
import zipfile
from pathlib import Path

import pytest

from csd_addon.runtime.environment.installer import UV_WHEELS
from tests.blender.conftest import ROOT

spec = importlib.util.spec_from_file_location("package", ROOT / "tools" / "package.py")
assert spec and spec.loader
package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)

MANIFEST = """schema_version = "1.0.0"
id = "csd_toy"
version = "1.0.0"
name = "Toy"
tagline = "A toy"
maintainer = "Nobody"
type = "add-on"
blender_version_min = "4.5.0"
license = ["SPDX:GPL-3.0-or-later"]

[permissions]
files = "None"
"""


def stage(folder: Path, *, time: int) -> Path:
    """A source with one wheel for each platform, its files as old as ``time`` says."""
    (folder / "wheels").mkdir(parents=True)
    wheels = [folder / "wheels" / f"uv-1-py3-none-{tag}.whl" for tag in package.WHEEL_TAGS.values()]
    for wheel in wheels:
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(zipfile.ZipInfo(f"{wheel.stem}.py"), "")
    (folder / "__init__.py").write_text("def register():\n    pass\n\n\ndef unregister():\n    pass\n")
    (folder / "blender_manifest.toml").write_text(package.complete_manifest(MANIFEST, wheels))
    for path in folder.rglob("*"):
        os.utime(path, (time, time))
    return folder


def test_two_builds_give_the_same_bytes(blender: str, tmp_path: Path) -> None:
    """Their sources differ in nothing but the times of the files."""
    made = []
    for name, time in (("one", 1_500_000_000), ("two", 1_600_000_000)):
        (tmp_path / name).mkdir()
        source = stage(tmp_path / f"source-{name}", time=time)
        made.append(package.build(blender, source, tmp_path / name))
    assert [path.name for path in made[0]] == [path.name for path in made[1]] and len(made[0]) == 3
    for one, two in zip(*made, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
    assert not list((tmp_path / "one").glob(".build-*"))


def test_each_platform_gets_its_own_uv_and_nothing_else(published: Path) -> None:
    archives = sorted(published.glob("*.zip"))
    assert [path.name.split("-")[2] for path in archives] == ["linux_x64.zip", "macos_arm64.zip", "windows_x64.zip"]
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
            (wheel,) = [name for name in names if name.endswith(".whl")]
            digest = hashlib.sha256(archive.read(wheel)).hexdigest()
            licences = archive.read("LICENSES.md").decode()
        platform = path.stem.split("-")[2].replace("_", "-")
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(names)} files")
        assert digest == UV_WHEELS[platform]
        generated = manifest["build"]["generated"]
        assert generated == {"platforms": [platform], "wheels": [f"./{wheel}"]}
        assert {name.split("/")[0] for name in names} == {
            "__init__.py", "blender_manifest.toml", "csd_addon", "LICENSE", "LICENSES.md", "README.md", "wheels",
        }  # fmt: skip
        assert all(word in licences for word in ("GPL-3.0-or-later", "CC0", "MIT OR Apache-2.0"))
        assert path.stat().st_size < 100e6


def test_the_repository_lists_what_is_there(published: Path) -> None:
    listed = json.loads((published / "index.json").read_text("utf-8"))["data"]
    assert {tuple(entry["platforms"]) for entry in listed} == {(platform,) for platform in UV_WHEELS}
    for entry in listed:
        archive = published / entry["archive_url"]
        assert entry["archive_size"] == archive.stat().st_size
        assert entry["archive_hash"] == f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    page = (published / "index.html").read_text("utf-8")
    assert all(f"{path.name}?repository=.%2Findex.json" in page for path in published.glob("*.zip"))
    assert "Built" not in page, "a date would make two builds differ"


def test_a_wheel_that_was_changed_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched again, and pip refuses what has another sum: here, no index at all answers."""
    (tmp_path / "uv-0-py3-none-manylinux_2_17_x86_64.whl").write_bytes(b"changed")
    monkeypatch.setattr(package, "WHEELS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SystemExit, match="pip could not fetch uv"):
        package.fetch_uv("linux-x64")
