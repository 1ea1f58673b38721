"""The newest finished diagnosis is found; what is damaged or not finished is passed over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from csd_addon.jobs.comparison import Verdict, newest_comparison
from csd_addon.jobs.folder import JobFolder, new_folder

CLAIM = {"claim": "One", "shows": True, "figures": "2 / 1"}


def finished(parent: Path, when: float, body: object) -> JobFolder:
    folder = new_folder(parent)
    marker = folder.result / "diagnosis.json"
    marker.write_text(json.dumps(body), encoding="utf-8")
    os.utime(marker, (when, when))
    return folder


def test_the_newest_finished_one_is_found(tmp_path: Path) -> None:
    assert newest_comparison(tmp_path / "nowhere") is None and newest_comparison(tmp_path) is None
    finished(tmp_path, 100, {"settings": {"prompt": "old"}, "claims": [CLAIM]})
    new = finished(tmp_path, 200, {"settings": {"prompt": "new"}, "claims": [CLAIM, {"shows": "yes"}]})
    (new.result / "sweep.png").touch()
    new_folder(tmp_path)  # under way
    found = newest_comparison(tmp_path)
    assert found.folder == new and found.words == "new"
    assert found.verdicts == (Verdict("One", True, "2 / 1"), Verdict("", False, ""))
    assert found.pictures == {"sweep": new.result / "sweep.png"}


@pytest.mark.parametrize("body", [[], {"settings": 3, "claims": []}, {"settings": {}}, {"settings": {}, "claims": [3]}])
def test_a_damaged_one_is_passed_over(tmp_path: Path, body: object) -> None:
    old = finished(tmp_path, 100, {"settings": {"prompt": "old"}, "claims": []})
    finished(tmp_path, 200, body)
    assert newest_comparison(tmp_path).folder == old
