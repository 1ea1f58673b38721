"""What strikes between Blender and the worker: the file is as it was, the artist gets one sentence, and goes on."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import bpy
import pytest

from csd_addon.drive import warm_worker
from csd_addon.jobs.folder import JobFolder
from csd_addon.jobs.job import Job
from csd_addon.scene.material import base_color_image
from tests.faults.saboteur import command
from tests.scene.objects import datablocks, fingerprint, rigged_cube

pytestmark = [
    pytest.mark.usefixtures("addon"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits"),
]


def texture() -> set[str]:
    return bpy.ops.csd.texture(prompt="red brick", size=64, iterations=4, seed=3)


class Asset:
    """A saved file with a rigged cube in it, and what it looked like."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "asset.blend"
        rigged_cube()
        bpy.ops.wm.save_as_mainfile(filepath=str(self.path))
        self.hash, self.counts = self._hash(), datablocks()
        self.before = fingerprint(bpy.data.objects["Rigged"])

    def _hash(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def require_untouched(self, sentence: str) -> None:
        print(sentence)
        assert "Traceback" not in sentence and sentence.strip().count("\n") == 0
        assert self._hash() == self.hash and datablocks() == self.counts
        assert fingerprint(bpy.data.objects["Rigged"]) == self.before

    def require_texture(self) -> None:
        assert texture() == {"FINISHED"} and base_color_image(bpy.data.objects["Rigged"]).packed_file
        assert fingerprint(bpy.data.objects["Rigged"]) == self.before


@pytest.mark.parametrize(
    ("fault", "phase", "words"),
    [("sigkill", "load", "SIGKILL"), ("segfault", "optimize", "SIGSEGV"), ("garbage", "step", "no message"),
     ("half_line", "bake", "exit code 3"), ("out_of_memory", "bake", "ran out of memory"),
     ("disk_full", "optimize", "File too large"), ("path_outside", "step", "outside the job folder"),
     ("folder_deleted", "bake", "No such file")],
)  # fmt: skip
def test_a_broken_worker_leaves_the_file_alone(
    fault: str, phase: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = Asset(tmp_path)
    with monkeypatch.context() as patch:
        broken = lambda python, cache: command(fault, phase, python=python, fake=False)  # noqa: E731
        patch.setattr(warm_worker, "worker_command", broken)
        with pytest.raises(RuntimeError, match=words) as caught:
            texture()
    asset.require_untouched(str(caught.value))
    warm_worker.shared_worker.stop()
    asset.require_texture()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


RESULTS: dict[str, tuple[Callable[[JobFolder], object], str]] = {
    "image gone": (lambda f: f.basecolor.unlink(), "can't be loaded"),
    "image half": (lambda f: damaged(f.basecolor), "can't be loaded"),
    "image no image": (lambda f: f.basecolor.write_bytes(b"nothing"), "can't be loaded"),
    "image a folder": (lambda f: (f.basecolor.unlink(), f.basecolor.mkdir()), "can't be loaded"),
    "folder deleted": (lambda f: shutil.rmtree(f.path), "can't be loaded"),
}


@pytest.mark.parametrize("fault", RESULTS)
def test_a_result_that_is_lost_before_blender_reads_it(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset, (strike, words) = Asset(tmp_path), RESULTS[fault]
    wait = Job.wait

    def wait_and_strike(job: Job, *arguments: object, **more: object) -> object:
        state = wait(job, *arguments, **more)
        strike(job.folder)
        return state

    with monkeypatch.context() as patch:
        patch.setattr(Job, "wait", wait_and_strike)
        with pytest.raises(RuntimeError, match=words) as caught:
            texture()
    asset.require_untouched(str(caught.value))
    asset.require_texture()


def no_place(home: Path) -> None:
    home.write_bytes(b"")


def no_room(home: Path) -> None:
    home.mkdir()
    (home / "jobs").symlink_to("/dev/full")


@pytest.mark.parametrize("strike", [no_place, no_room])
def test_an_export_that_can_not_be_written(strike: Callable[[Path], None], tmp_path: Path) -> None:
    asset = Asset(tmp_path)
    strike(tmp_path / "home")
    with pytest.raises(RuntimeError) as caught:
        texture()
    asset.require_untouched(str(caught.value))
    home = tmp_path / "home"
    home.unlink() if home.is_file() else shutil.rmtree(home)
    asset.require_texture()


def test_an_export_on_a_full_disk(tmp_path: Path) -> None:
    import resource
    import signal

    asset = Asset(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
        with pytest.raises(RuntimeError, match="File too large") as caught:
            texture()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)
    asset.require_untouched(str(caught.value))
    assert not list((tmp_path / "home" / "jobs").glob("*")), os.listdir(tmp_path / "home" / "jobs")
    asset.require_texture()
