"""Fetching, verifying and removing a whole teacher, from a small hub on a real socket."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from csd_addon.runtime.errors import DownloadFailed, RuntimeMissing, TeacherMissing
from csd_addon.runtime.file_lock import locked
from csd_addon.runtime.paths import Paths
from csd_addon.runtime.teachers import downloaded, remote
from csd_addon.runtime.teachers.remote import (
    REMOTE_TEACHERS,
    REVISIONS,
    SD15,
    SD15_DEPTH,
    Licence,
    RemoteFile,
    RemoteTeacher,
    find_remote_teacher,
)
from tests.runtime import test_file_download
from tests.runtime.test_file_download import Hostile, weights
from tests.runtime.test_file_lock import waiter

ROOT = Path(__file__).parents[2]
server = test_file_download.server
CONTENT = {"unet/config.json": b"{}", "unet/w.safetensors": weights(20_000)}


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def small_teacher() -> RemoteTeacher:
    """Two files with known sums, and one of a guessed size without."""
    known = [RemoteFile(SD15, path, path, len(body), sha256=sha(body)) for path, body in CONTENT.items()]
    guessed = RemoteFile(SD15_DEPTH, "w.safetensors", "controlnet_depth/w.safetensors", 7000, exact=False)
    return RemoteTeacher("small", "A small one", ("nobody",), (Licence("none", "-", "all"),), (*known, guessed))


@pytest.fixture
def hub(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(remote, "HUBS", (server,))
    for path, body in CONTENT.items():
        Hostile.tricks[f"{SD15}/resolve/{REVISIONS[SD15]}/{path}"] = lambda h, body=body: h.honest(body)
    Hostile.tricks[f"{SD15_DEPTH}/resolve/{REVISIONS[SD15_DEPTH]}/w.safetensors"] = lambda h: h.honest(weights(9000))
    yield server


def get(paths: Paths, mirror: str | None = None) -> list[downloaded.Progress]:
    news: list[downloaded.Progress] = []
    downloaded.fetch(small_teacher(), paths, mirror=mirror, report=news.append)
    return news


def test_a_whole_teacher_comes_and_is_verified(tmp_path: Path, hub: str) -> None:
    teacher, paths = small_teacher(), Paths(tmp_path)
    assert downloaded.state(teacher, paths).status == "absent"
    news = get(paths)
    assert downloaded.state(teacher, paths).status == "ready" and news[0].total >= news[0].done > 0
    verdicts = list(downloaded.verify(teacher, paths))
    print(*verdicts, sep="\n")
    assert all(v.ok for v in verdicts)
    assert [v.sentence for v in verdicts] == ["is what was published"] * 2 + ["is what was downloaded"]
    asked = len(Hostile.asked)
    get(paths)
    assert len(Hostile.asked) == asked, "what is there is not fetched again"


def test_a_broken_download_goes_on_where_it_ended(tmp_path: Path, hub: str) -> None:
    teacher, paths = small_teacher(), Paths(tmp_path)
    part = paths.teachers / "small" / "unet" / "w.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT["unet/w.safetensors"][:5000])
    assert (downloaded.state(teacher, paths).status, downloaded.state(teacher, paths).done) == ("begun", 5000)
    get(paths)
    assert any(start == "bytes=5000-" for _, start in Hostile.asked)


def test_every_kind_of_damage_is_found(tmp_path: Path, hub: str) -> None:
    teacher, paths = small_teacher(), Paths(tmp_path)
    get(paths)
    folder = paths.teachers / "small"
    for target, spoil, words in (
        ("unet/config.json", lambda f: f.unlink(), "is missing"),
        ("unet/w.safetensors", lambda f: f.write_bytes(f.read_bytes()[:-1] + b"x"), "does not have the sum"),
        ("unet/w.safetensors", lambda f: f.write_bytes(f.read_bytes() + b"x"), "bytes in place of"),
        ("controlnet_depth/w.safetensors", lambda f: f.write_bytes(f.read_bytes()[:-1] + b"x"), "does not have the"),
        ("controlnet_depth/w.safetensors", lambda f: f.write_bytes(b"<html>"), "is damaged"),
    ):
        file = folder / target
        whole = file.read_bytes()
        spoil(file)
        wrong = [v for v in downloaded.verify(teacher, paths) if not v.ok]
        assert [v.file for v in wrong] == [target] and words in wrong[0].sentence
        file.write_bytes(whole)
    (folder / downloaded.RECORD).write_text("[", encoding="utf-8")
    assert "no sum is known" in list(downloaded.verify(teacher, paths))[-1].sentence


def test_removing_leaves_foreign_files_alone(tmp_path: Path, hub: str) -> None:
    teacher, paths = small_teacher(), Paths(tmp_path)
    get(paths)
    folder = paths.teachers / "small"
    (folder / "csd.json").write_text("{}", encoding="utf-8")
    assert downloaded.remove(teacher, paths) == [folder / "csd.json"]
    assert [path.name for path in folder.rglob("*")] == ["csd.json"]
    (folder / "csd.json").unlink()
    get(paths)
    assert downloaded.remove(teacher, paths) == [] and not folder.exists()
    assert downloaded.remove(teacher, paths) == []


def test_two_who_download_are_never_alone_both(tmp_path: Path, hub: str) -> None:
    """One waits while the other fetches; when that has ended, the first alone holds the lock."""
    lock = Paths(tmp_path).teachers / "small" / "download.lock"
    with ExitStack() as stack:
        waiting: list[threading.Event] = []

        def report(news: downloaded.Progress) -> None:
            if not waiting:
                waiting.append(stack.enter_context(waiter(lock)))

        downloaded.fetch(small_teacher(), Paths(tmp_path), mirror=None, report=report)
        assert waiting and waiting[0].wait(30)
        with pytest.raises(RuntimeMissing), locked(lock, timeout=0):
            pass


def test_what_is_being_downloaded_is_not_removed(tmp_path: Path, hub: str) -> None:
    teacher, paths = small_teacher(), Paths(tmp_path)
    get(paths)
    with locked(paths.teachers / "small" / "download.lock", timeout=0):
        with pytest.raises(RuntimeMissing, match="Another process is working on"):
            downloaded.remove(teacher, paths)
    assert downloaded.state(teacher, paths).status == "ready"


def test_offline_nothing_is_asked_for(tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadFailed, match="Online access is off"):
        get(Paths(tmp_path))
    assert not Hostile.asked


def test_a_mirror_goes_first_and_the_hub_helps_out(tmp_path: Path, hub: str) -> None:
    get(Paths(tmp_path), mirror="http://127.0.0.1:9/")
    assert downloaded.state(small_teacher(), Paths(tmp_path)).status == "ready"


def test_the_catalogue_is_consistent() -> None:
    for teacher in REMOTE_TEACHERS:
        targets = [file.target for file in teacher.files]
        assert len(set(targets)) == len(targets) and teacher.licences and teacher.publishers
        for file in teacher.files:
            assert not Path(file.target).is_absolute() and ".." not in Path(file.target).parts
            assert len(REVISIONS[file.repository]) == 40
            assert file.exact == (file.sha256 is not None)
            assert all(address.startswith("https://") for address in file.addresses())
            assert len(file.addresses()) >= 2, "at least one mirror"
        with pytest.raises(TeacherMissing, match=teacher.identifier):
            find_remote_teacher("dog")


def command(home: Path, *words: str) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "csd_addon", "teacher", *words, "--json"], cwd=ROOT, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, env={**os.environ, "CSD_TEXTURE_HOME": str(home), "HF_HOME": str(home / "hf"),
                                       "XDG_CACHE_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_command_asks_before_it_downloads(tmp_path: Path) -> None:
    code, said = command(tmp_path, "download", "sd15")
    lines = " ".join(said[0]["lines"])
    assert code == 2 and "consent" in said[-1]["sentence"]
    for words in ("Stable Diffusion 1.5", "lllyasviel", "3.58 GB", "CreativeML Open RAIL-M", str(tmp_path)):
        assert words in lines
    code, said = command(tmp_path, "download", "sd15", "--accept-licence")
    assert code == 4 and "Online access is off" in said[-1]["sentence"]
    assert not (tmp_path / "teachers").exists()


def test_the_command_lists_verifies_and_removes(tmp_path: Path) -> None:
    code, said = command(tmp_path, "list")
    assert code == 0 and {(m["id"], m["status"]) for m in said} == {
        ("mini", "bundled"), ("broad", "bundled"), ("sd15", "absent"),
    }  # fmt: skip
    code, said = command(tmp_path, "verify", "sd15")
    assert code == 3 and "is not whole" in said[-1]["sentence"]
    assert command(tmp_path, "remove", "sd15")[0] == 0
    for words in (["remove"], ["remove", "mini"], ["download", "sd15", "--mirror", "file:///x"]):
        assert command(tmp_path, *words)[0] == 2
