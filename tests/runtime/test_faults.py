"""What goes wrong on real machines, done to real installers: each time one sentence with a remedy, and Repair works.

The index is a small HTTP server on loopback that misbehaves on command. uv does the work, as in a release; the tests
of ``test_environment.py`` use pip.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from csd_addon.runtime.environment import installer_errors, venv
from csd_addon.runtime.environment.installer import Installer, Settings
from csd_addon.runtime.errors import RuntimeMissing

from .conftest import Toy, build_wheel, pin, toy_in, uv_program

ROOT = Path(__file__).resolve().parents[2]
BALLAST = 600_000


class Index(ThreadingHTTPServer):
    """A package index with one wheel. fault: "", "stall" (half of the wheel, then silence) or "cut" (half of it)."""

    daemon_threads = True

    def __init__(self, wheel: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheel, self.fault = wheel, ""
        # Set when half a wheel is asked for, and by the test when that is over.
        self.asked, self.over = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        content, kind = self._content()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        whole = not self.server.fault or kind != "application/zip"
        if not whole:
            self.server.asked.set()
        self.wfile.write(content if whole else content[: len(content) // 2])
        self.wfile.flush()
        if self.server.fault == "stall" and not whole:
            self.server.over.wait(60)

    def _content(self) -> tuple[bytes, str]:
        """The wheel, its metadata (as true registries give it), or the list of what there is; and the type."""
        wheel = self.server.wheel
        if self.path.endswith(".whl"):
            return wheel.read_bytes(), "application/zip"
        with zipfile.ZipFile(wheel) as archive:
            metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA")))
        if self.path.endswith(".metadata"):
            return metadata, "text/plain"
        sums = [hashlib.sha256(content).hexdigest() for content in (wheel.read_bytes(), metadata)]
        link = f'<a href="/{wheel.name}#sha256={sums[0]}" data-core-metadata="sha256={sums[1]}">{wheel.name}</a>'
        return link.encode(), "text/html"

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    served = tmp_path / "served"
    served.mkdir()
    with Index(build_wheel(served, ballast=BALLAST)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def toy(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, uv: Path) -> Toy:
    """The toy environment, installed by uv from the index."""
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    made = toy_in(tmp_path)
    made.lock.write_text(pin(index.wheel), encoding="utf-8")
    return replace(made, plan=replace(made.plan, installer=with_index(uv, index.url, made)))


def with_index(uv: Path, url: str, toy: Toy) -> Installer:
    return Installer(Settings(index_url=url), toy.paths.cache, uv=uv)


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uv_program(tmp_path_factory.mktemp("uv"))


def refused(toy: Toy, sentence: str) -> None:
    with pytest.raises(RuntimeMissing, match=sentence) as caught:
        venv.create(toy.plan, "1")
    said = str(caught.value)
    print(said)
    assert caught.value.log and str(caught.value.log) in said and "\n" not in said
    assert venv.state(toy.plan, "1") == "broken"


def repaired(toy: Toy) -> None:
    python = venv.create(toy.plan, "1", again=True)
    code = "import csd_toy; print(csd_toy.ANSWER)"
    assert subprocess.run([python, "-I", "-c", code], capture_output=True, text=True).stdout == "42\n"
    assert venv.state(toy.plan, "1") == "ready"


def test_nothing_listens_at_the_registrys_address(toy: Toy, uv: Path) -> None:
    plan = replace(toy.plan, installer=with_index(uv, "http://127.0.0.1:1/simple", toy))
    refused(replace(toy, plan=plan), "The package registry cannot be reached: check the connection .* offline bundle")
    repaired(toy)


def test_the_download_stalls_half_way(toy: Toy, index: Index) -> None:
    index.fault = "stall"
    refused(toy, "The package registry stopped answering: check the connection, then repair")
    index.fault = ""
    index.over.set()
    repaired(toy)


def test_the_connection_is_cut_half_way(toy: Toy, index: Index) -> None:
    index.fault = "cut"
    refused(toy, "The package registry cannot be reached")
    index.fault = ""
    repaired(toy)


def test_another_wheel_under_the_pinned_name(toy: Toy, index: Index) -> None:
    right = index.wheel.read_bytes()
    build_wheel(index.wheel.parent, code="ANSWER = 'tampered'\n")
    refused(toy, "not the one that was pinned: its checksum is another, so it was refused")
    index.wheel.write_bytes(right)
    repaired(toy)


def test_the_disk_is_full(toy: Toy, uv: Path, index: Index, tmp_path: Path) -> None:
    """No file of the installer may grow beyond half of the wheel: to it, that is a write that fails."""
    limited = tmp_path / "limited-uv"
    blocks = BALLAST // 2 // 512
    limited.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f {blocks}\nexec '{uv}' \"$@\"\n", encoding="utf-8")
    limited.chmod(0o755)
    plan = replace(toy.plan, installer=with_index(limited, index.url, toy))
    refused(replace(toy, plan=plan), "The disk is full: make room, or choose another folder")
    repaired(toy)


def test_a_folder_that_cannot_be_made(toy: Toy) -> None:
    """A file stands where the folder should be; the rights of a folder mean nothing to root, who may run the tests."""
    toy.paths.base.write_text("in the way", encoding="utf-8")
    with pytest.raises(RuntimeMissing, match="cannot be written .*choose another folder for the runtime"):
        venv.create(toy.plan, "1")
    toy.paths.base.unlink()
    repaired(toy)


def test_a_package_was_deleted_afterwards(toy: Toy) -> None:
    venv.create(toy.plan, "1")
    (module,) = toy.plan.directory.rglob("csd_toy.py")
    module.unlink()
    assert venv.state(toy.plan, "1") == "broken"
    repaired(toy)


def test_a_file_of_a_package_was_damaged_afterwards(toy: Toy) -> None:
    """Files are not read at every start, so this state is only found by the check; Repair does not need it."""
    venv.create(toy.plan, "1")
    (module,) = toy.plan.directory.rglob("csd_toy.py")
    module.unlink()  # the installer's cache may hold the same file under a second name
    module.write_text("half a fi(", encoding="utf-8")
    with pytest.raises(RuntimeMissing, match="csd_toy .SyntaxError"):
        venv.check(toy.plan)
    repaired(toy)


def test_a_home_with_spaces_and_chinese_characters(tmp_path: Path, index: Index, uv: Path) -> None:
    toy = toy_in(tmp_path / "用户 Änne's files")
    toy.lock.write_text(pin(index.wheel), encoding="utf-8")
    plan = replace(toy.plan, installer=with_index(uv, index.url, toy))
    repaired(replace(toy, plan=plan))


CHILD = """
import os, sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {root!r})
from csd_addon.runtime.environment import venv
from csd_addon.runtime.environment.installer import Installer, Settings
from tests.runtime.conftest import toy_in

toy = toy_in(Path({base!r}))
toy.lock.write_text(Path({lock!r}).read_text())
installer = Installer(Settings(index_url={url!r}), toy.paths.cache, uv=Path({uv!r}))
venv.create(replace(toy.plan, installer=installer), "1", report=lambda phase, *_: print(phase, flush=True))
"""


def start_child(toy: Toy, index: Index, uv: Path, tmp_path: Path) -> subprocess.Popen[str]:
    lock = tmp_path / "wanted.txt"
    shutil.copy(toy.lock, lock)
    names = {"root": str(ROOT), "base": str(tmp_path), "lock": str(lock), "url": index.url, "uv": str(uv)}
    code = textwrap.dedent(CHILD).format(**names)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip


def test_killed_while_it_downloads(toy: Toy, index: Index, uv: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "60")
    index.fault = "stall"
    with start_child(toy, index, uv, tmp_path) as killed:
        assert index.asked.wait(60)
        os.killpg(killed.pid, signal.SIGKILL)
    index.fault = ""
    index.over.set()
    assert venv.state(toy.plan, "1") == "broken"
    repaired(toy)


def test_two_at_once_install_once_and_the_second_says_that_it_waits(
    toy: Toy, index: Index, uv: Path, tmp_path: Path
) -> None:
    with start_child(toy, index, uv, tmp_path) as first, start_child(toy, index, uv, tmp_path) as second:
        said = [process.communicate(timeout=120) for process in (first, second)]
    phases = [list(dict.fromkeys(out.split())) for out, _ in said]
    assert [first.returncode, second.returncode] == [0, 0], said
    assert sorted("make" in each for each in phases) == [False, True], phases
    assert venv.state(toy.plan, "1") == "ready"


# What uv and pip said in other troubles; the first words of the sentence that each becomes.
SAID = {
    "error: Failed to write\n  Caused by: No space left on device (os error 28)\n": "The disk is full",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n": "The disk is full",
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: 'x'\n": "A folder of the",
    "  × No solution found when resolving dependencies:\n  ╰─▶ Because torch==9 was not found in the package registry":
        "The package registry lacks",
    "ERROR: Could not find a version that satisfies the requirement x\nERROR: No matching distribution found for x":
        "The package registry lacks",
    "WARNING: Retrying after connection broken by 'NewConnectionError: Connection refused'\n"
    "ERROR: No matching distribution found for x\n": "The package registry cannot be reached",
    "pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.\n": "The package registry stopped",
    "  ├─▶ client error (Connect)\n  ╰─▶ invalid peer certificate: UnknownIssuer\n":
        "The package registry's certificate",
    "error: something new\n": "The environment could not be made: error: something new (exit status 2)",
}  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=range(len(SAID)))
def test_what_the_installers_say_becomes_one_sentence(said: str) -> None:
    sentence = installer_errors.explain(said.splitlines(keepends=True), 2)
    assert sentence.startswith(SAID[said]) and re.fullmatch(r"[^\n]*\.", sentence)
