"""An offline bundle: what is in it, and an installation that sees nothing else."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from csd_addon.runtime.environment import bundle, lockfile, sizes, venv, write_bundle
from csd_addon.runtime.environment.installer import UV_WHEELS, choose_installer
from csd_addon.runtime.errors import RuntimeMissing

from .conftest import Toy, uv_program


@pytest.fixture
def listed(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The toy's list stands among the program's own."""
    monkeypatch.setattr(lockfile, "LOCKS", toy.lock.parent)
    return toy


def test_a_bundle_installs_where_there_is_no_index(listed: Toy, tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "Träger 离线"
    made = write_bundle.write(listed.plan, folder)
    assert made == bundle.read(folder)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["bundle.json", "toy.txt", f"wheels/{listed.wheel.name}"]
    # The other machine: no wheel folder, no index that answers.
    listed.wheel.unlink()
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    offline = choose_installer(listed.plan.interpreter, wheels=tmp_path / "none", cache=listed.paths.cache, bundle=made)
    with_uv = replace(offline, uv=uv_program(tmp_path / "uv"))
    python = venv.create(replace(listed.plan, installer=with_uv), "1")
    code = "import csd_toy; print(csd_toy.ANSWER)"
    assert subprocess.run([python, "-I", "-c", code], capture_output=True, text=True).stdout == "42\n"


@pytest.mark.parametrize("uv", [None, Path("/uv")])
def test_an_offline_installer_looks_nowhere_else(toy: Toy, tmp_path: Path, uv: Path | None) -> None:
    made = bundle.Bundle(tmp_path, "toy")
    offline = choose_installer(toy.plan.interpreter, wheels=tmp_path, cache=tmp_path, bundle=made)
    command = replace(offline, uv=uv).fill(Path("python"), [toy.lock])
    assert "--no-index" in command
    assert [command[i + 1] for i, word in enumerate(command) if word == "--find-links"] == [str(made.wheels)]
    assert offline.environment()["UV_OFFLINE"] == "1" and "UV_DEFAULT_INDEX" not in offline.environment()


def test_the_bundles_uv_is_taken_where_the_program_has_none(toy: Toy, tmp_path: Path) -> None:
    platform = toy.plan.interpreter.platform
    if platform not in UV_WHEELS:
        pytest.fail(f"no uv is pinned for {platform}")
    word = {"linux-x64": "manylinux_2_17_x86_64", "windows-x64": "win_amd64", "macos-arm64": "macosx_11_0_arm64"}
    wheel = tmp_path / f"uv-0-py3-none-{word[platform]}.whl"
    wheel.touch()
    made = bundle.Bundle(tmp_path, "toy")
    assert choose_installer(toy.plan.interpreter, wheels=tmp_path / "x", cache=tmp_path, bundle=made).wheel == wheel


def test_what_is_no_bundle_or_another_releases_is_said(listed: Toy, tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match="is no complete offline bundle, .* make one with 'runtime bundle"):
        bundle.read(tmp_path)
    for text in ("", "[]", "{}"):
        (tmp_path / bundle.FILE).write_text(text)
        with pytest.raises(RuntimeMissing, match="is no complete offline bundle"):
            bundle.read(tmp_path)
    (tmp_path / bundle.FILE).write_text(json.dumps({"list": "toy", "sha256": "0"}))
    with pytest.raises(RuntimeMissing, match="made by another version of CSD Texture"):
        bundle.read(tmp_path)
    (tmp_path / bundle.FILE).write_text(json.dumps({"list": "gone", "sha256": "0"}))
    with pytest.raises(RuntimeMissing, match="made by another version"):
        bundle.read(tmp_path)


def test_a_bundle_that_was_cut_short_is_not_taken(listed: Toy, tmp_path: Path, monkeypatch) -> None:
    listed.wheel.write_bytes(listed.wheel.read_bytes() + b"\0")
    folder = tmp_path / "out"
    with pytest.raises(RuntimeMissing, match="checksum is another"):
        write_bundle.write(listed.plan, folder)
    assert not (folder / bundle.FILE).exists()
    with pytest.raises(RuntimeMissing, match="no complete offline bundle"):
        bundle.read(folder)


def test_too_little_room_for_a_bundle(listed: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sizes.BUNDLE_REQUIRED_GB, "cuda", 1e9)
    with pytest.raises(RuntimeMissing, match="the bundle needs 1e.09 GB: make room"):
        write_bundle.write(replace(listed.plan, accelerator="cuda"), tmp_path / "out")
