"""A disk that is really full: the job ends in one sentence, and with room again in the result of an undisturbed run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from csd_addon.jobs.process import program_folder
from tests.faults.test_worker_faults import healthy, make_folder, require_one_sentence


def why_not(tmp_path: Path) -> str:
    """Why this system lets nobody mount a file system of his own; empty if it does."""
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no 'unshare' here"
    return "" if done.returncode == 0 else f"no file system of one's own can be mounted here: {done.stderr.strip()}"


@pytest.mark.parametrize("free", [0, 8, 20])
def test_a_full_disk_costs_nothing(free: int, tmp_path: Path) -> None:
    if reason := why_not(tmp_path):
        pytest.skip(reason)
    whole = make_folder(tmp_path, size=256)
    assert healthy(whole, resume=False).status == "done"
    (tmp_path / "disk").mkdir()
    words = ["unshare", "-rm", sys.executable, "-m", "tests.faults.small_disk", str(tmp_path / "disk"), str(free)]
    done = subprocess.run(words, cwd=program_folder(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    print(said)
    assert said["first"] == "failed" and "No space left" in said["sentence"]
    require_one_sentence(said["sentence"])
    assert said["second"] == "done" and said["parts"] == []
    assert said["result"] == hashlib.sha256(whole.basecolor.read_bytes()).hexdigest()
