from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from csd_addon.runtime.environment.interpreter import candidate_pythons, clean_environment, find_interpreters, probe
from csd_addon.runtime.errors import RuntimeMissing


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_probe_describes_the_python_that_runs_this() -> None:
    found = probe(Path(sys.executable))
    assert found.version == sys.version_info[:2]
    assert found.tag == f"py3{sys.version_info[1]}"
    assert found.has_venv


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo hello", "does not run as Python"),
        ("echo 'command not found' >&2; exit 127", "command not found"),
        ("""echo '{"version": [3, 11], "build": "pypy", "platform": "x", "machine": "x"}'""", "pypy"),
        ("""echo '{"version": [3, 13], "build": "cpythont", "platform": "x", "machine": "x"}'""", "cpythont"),
    ],
)
def test_what_is_no_standard_python_is_refused(tmp_path: Path, body: str, said: str) -> None:
    program = script(tmp_path / "python3.11", body)
    with pytest.raises(RuntimeMissing, match=said) as caught:
        probe(program)
    assert str(program) in str(caught.value)


def test_a_missing_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match="nowhere"):
        probe(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("platform", "machine", "expected"),
    [
        ("linux-x86_64", "x86_64", "linux-x64"),
        ("linux-aarch64", "aarch64", "linux-aarch64"),
        ("win-amd64", "AMD64", "windows-x64"),
        ("win32", "AMD64", "win32"),
        ("macosx-11.0-universal2", "arm64", "macos-arm64"),
        ("macosx-11.0-universal2", "x86_64", "macosx-11.0-universal2"),
    ],
)
def test_platforms_get_the_manifests_names(
    tmp_path: Path, platform: str, machine: str, expected: str
) -> None:
    answer = {"version": [3, 11], "build": "cpython", "has_venv": True, "platform": platform}
    program = script(tmp_path / "python", f"echo '{json.dumps({**answer, 'machine': machine})}'")
    assert probe(program).platform == expected


def test_children_do_not_inherit_another_pythons_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    environment = clean_environment()
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & set(environment)
    assert environment["PIP_FIND_LINKS"] == "/wheels"
    assert environment["PYTHONNOUSERSITE"] == "1"
    assert os.environ["PYTHONPATH"] == "/elsewhere"


def test_pyenvs_versions_are_found_though_its_shims_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims = tmp_path / "shims"
    script(shims / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    script(shims / "pyenv", f"[ \"$1\" = root ] && echo '{tmp_path}'")
    real = tmp_path / "versions" / "3.13.5" / "bin" / "python3.13"
    script(real, f'exec "{sys.executable}" "$@"')
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert [path for path in candidate_pythons() if path.parent.parent == real.parent.parent] == [real]
    answered, refused = find_interpreters(real)
    assert answered[0].executable == real
    assert any("command not found" in sentence for sentence in refused)
