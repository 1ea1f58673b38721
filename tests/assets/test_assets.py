"""Every hard asset ends in a texture or in one sentence, and is afterwards what it was before."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

import csd_addon
from csd_addon.drive.warm_worker import FAKE_VARIABLE
from tests.assets.cases import CASES
from tests.assets.road import differences, fingerprints, walk


@pytest.fixture(scope="module", autouse=True)
def addon():
    """One warm worker for all cases."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    csd_addon.register("csd_addon")
    yield
    csd_addon.unregister()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSD_TEXTURE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(FAKE_VARIABLE, "fake")
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.heavy])
def test_a_hard_asset(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    outcome = walk(case, tmp_path)
    print(outcome.refusal or outcome.notes)
    assert outcome.different == []
    if case.refused:
        assert case.refused in outcome.refusal and "\n" not in outcome.refusal and outcome.refusal.endswith(".")
        assert not any((tmp_path / "home" / "jobs").glob("*")), "a refusal leaves no job folder"
    else:
        assert outcome.refusal == "" and outcome.image and tuple(outcome.image.size) == (64, 64)
        said = " ".join(outcome.notes)
        assert case.note in said and ("It was unwrapped" in said) == case.unwrapped


@pytest.mark.parametrize("name", ["several materials", "an armature with a pose", "a mesh of several users", "a curve"])
def test_revert_gives_the_asset_back(name: str, tmp_path: Path) -> None:
    outcome = walk(CASES[name], tmp_path)
    assert bool(outcome.refusal) or bpy.ops.csd.revert() == {"FINISHED"}
    assert differences(outcome.before, fingerprints(), added=False) == []


@pytest.mark.parametrize("name", ["mirrored UVs", "overlapping UVs", "UDIM tiles 1001-1004", "several materials"])
def test_a_new_uv_map_where_faces_share_texels(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    outcome = walk(case, tmp_path, overlaps="new")
    said = " ".join(outcome.notes)
    print(said)
    layers = [layer.name for layer in outcome.obj.data.uv_layers]
    assert outcome.different == [] and ("CSD UV" in layers) == case.shared
    assert ("of the texels in the UV map of" in said and "It was unwrapped" in said) == case.shared
