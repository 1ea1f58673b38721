"""A real Blender with the built extension installed in a clean profile, once for all tests here."""

from __future__ import annotations

import os
import signal
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 110

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Installed:
    """run: starts that Blender with the given words. archive: the built zip. folder: scratch. output: of installing."""

    run: Run
    archive: Path
    folder: Path
    output: str


@pytest.fixture(scope="session")
def blender() -> str:
    program = os.environ.get("CSD_BLENDER")
    if not program:
        pytest.skip("CSD_BLENDER names no real Blender")
    return program


@pytest.fixture(scope="session")
def archive(blender: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip that users get."""
    folder = tmp_path_factory.mktemp("dist")
    words = ["--command", "extension", "build", "--source-dir", str(ROOT), "--output-dir", str(folder)]
    done = subprocess.run([blender, *words], capture_output=True, text=True, timeout=SECONDS, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.zip")
    return made


@pytest.fixture(scope="session")
def installed(blender: str, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("profile")
    variables = {
        **os.environ, "BLENDER_USER_RESOURCES": str(folder / "resources"), "CSD_TEXTURE_WORKER": "fake",
        "CSD_TEXTURE_HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    (folder / "resources").mkdir()

    def run(*words: object, timeout: float = SECONDS) -> subprocess.CompletedProcess[str]:
        command = [blender, *map(str, words)]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=variables, cwd=folder, start_new_session=True,
        ) as child:  # fmt: skip
            try:
                out, err = child.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                # The virtual screen is a child of its own and would stay.
                os.killpg(child.pid, signal.SIGKILL)
                out, err = child.communicate()
                raise AssertionError(f"not done after {timeout} s: {command}\n{out}{err}") from None
        return subprocess.CompletedProcess(command, child.returncode, out, err)

    done = run("--command", "extension", "install-file", "--repo", "user_default", "--enable", archive)
    assert done.returncode == 0, done.stdout + done.stderr
    return Installed(run, archive, folder, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def names(archive: Path) -> list[str]:
    """The files in the zip."""
    with zipfile.ZipFile(archive) as package:
        return package.namelist()
