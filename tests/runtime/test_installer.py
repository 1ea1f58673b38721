from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from csd_addon.runtime.environment import installer
from csd_addon.runtime.environment.installer import Installer, Settings, choose_installer, settings
from csd_addon.runtime.environment.interpreter import probe
from csd_addon.runtime.errors import RuntimeMissing

PROGRAM = b"#!/bin/sh\necho uv 0.0.0\n"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel laid out as uv's is, known to the code by its sum."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel = folder / "uv-0.0.0-py3-none-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("uv/__init__.py", "")
        archive.writestr("uv-0.0.0.data/scripts/uvx", b"not this one")
        archive.writestr("uv-0.0.0.data/scripts/uv", PROGRAM)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setitem(installer.UV_WHEELS, "linux-x64", sha256)
    return folder


def linux_uv(wheels: Path, tmp_path: Path, platform: str = "linux-x64") -> Installer:
    interpreter = replace(probe(Path(sys.executable)), platform=platform)
    return choose_installer(interpreter, wheels=wheels, cache=tmp_path / "cache")


def test_uv_is_unpacked_once_and_runs(wheels: Path, tmp_path: Path) -> None:
    made = linux_uv(wheels, tmp_path)
    assert made.uv is not None and not (tmp_path / "cache").exists()  # choosing writes nothing
    made.prepare()
    assert made.uv.read_bytes() == PROGRAM
    assert subprocess.run([made.uv], capture_output=True, text=True).stdout == "uv 0.0.0\n"
    before = made.uv.stat().st_mtime_ns
    made.prepare()
    assert made.uv.stat().st_mtime_ns == before
    assert not list(made.uv.parent.glob("*.part"))


def test_a_half_unpacked_uv_is_unpacked_again(wheels: Path, tmp_path: Path) -> None:
    made = linux_uv(wheels, tmp_path)
    made.prepare()
    assert made.uv is not None
    made.uv.write_bytes(PROGRAM[:5])
    made.prepare()
    assert made.uv.read_bytes() == PROGRAM
    assert os.access(made.uv, os.X_OK)


def test_many_at_once_unpack_one_whole_program(wheels: Path, tmp_path: Path) -> None:
    made = linux_uv(wheels, tmp_path)
    assert made.uv is not None
    with ThreadPoolExecutor(8) as pool:
        for _ in range(25):
            made.uv.unlink(missing_ok=True)
            list(pool.map(lambda _: made.prepare(), range(8)))
            assert made.uv.read_bytes() == PROGRAM


def test_a_changed_wheel_is_refused(wheels: Path, tmp_path: Path) -> None:
    wheel = next(wheels.iterdir())
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(RuntimeMissing, match="damaged or was changed"):
        linux_uv(wheels, tmp_path).prepare()
    assert not (tmp_path / "cache").exists()


def test_another_platforms_wheel_is_not_taken(wheels: Path, tmp_path: Path) -> None:
    for platform in ("windows-x64", "macos-arm64", "linux-aarch64"):
        assert linux_uv(wheels, tmp_path, platform).uv is None


def test_pips_settings_are_read_from_pip_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "räder"
    folder.mkdir()
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\nfind-links = {folder} https://example.invalid/wheels\n"
        "index-url = https://example.invalid/simple\n",
        encoding="utf-8",
    )
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    found = settings(probe(Path(sys.executable)))
    assert found.find_links == (str(folder), "https://example.invalid/wheels")
    assert found.folders == (folder,)
    assert found.index_url == "https://example.invalid/simple"


def test_the_variable_goes_before_pips_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", tmp_path.as_uri())
    assert settings(probe(Path(sys.executable))).folders == (tmp_path,)


def test_a_wheel_folder_that_is_not_there_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip does; uv would end with an error."""
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", f"{gone} {there} {gone.as_uri()} https://example.invalid/wheels")
    found = settings(probe(Path(sys.executable)))
    assert found.find_links == (str(there), "https://example.invalid/wheels") and found.folders == (there,)


def test_uv_gets_what_only_pip_reads(tmp_path: Path) -> None:
    told = Settings(("/wheels", "/more"), "https://example.invalid/simple")
    made = Installer(told, tmp_path / "cache", uv=tmp_path / "uv")
    command = made.fill(tmp_path / "python", [tmp_path / "a.txt"])
    assert command[:5] == [str(tmp_path / "uv"), "pip", "install", "--python", str(tmp_path / "python")]
    assert [command[i + 1] for i, word in enumerate(command) if word == "--find-links"] == [
        "/wheels",
        "/more",
    ]
    assert made.environment()["UV_DEFAULT_INDEX"] == "https://example.invalid/simple"


@pytest.mark.parametrize("uv", [None, Path("/uv")])
def test_both_installers_insist_on_sums_and_wheels(uv: Path | None, tmp_path: Path) -> None:
    command = Installer(Settings(), tmp_path, uv=uv).fill(Path("python"), [Path("a.txt"), Path("b.txt")])
    assert "--require-hashes" in command
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert [command[i + 1] for i, word in enumerate(command) if word == "--requirement"] == ["a.txt", "b.txt"]
