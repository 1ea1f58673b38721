from __future__ import annotations

import json
from pathlib import Path

import pytest

from csd_addon.runtime.errors import TeacherMissing
from csd_addon.runtime.paths import Paths, bundled_teachers
from csd_addon.runtime.teachers.catalogue import BUNDLED, SD15, SD15_CANNY, SD15_DEPTH, find_teacher
from csd_addon.runtime.teachers.diffusers_folder import check_layout
from csd_addon.runtime.teachers.single_file import read_shapes

NETWORK = ("config.json", "diffusion_pytorch_model.safetensors")
REQUIRED = {
    "unet": NETWORK,
    "text_encoder": ("config.json", "model.safetensors"),
    "tokenizer": ("vocab.json", "merges.txt"),
    "scheduler": ("scheduler_config.json",),
}


def lay(root: Path, parts: dict[str, tuple[str, ...]]) -> Path:
    for part, names in parts.items():
        (root / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / part / name).write_text("{}", encoding="utf-8")
    return root


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Paths(tmp_path / "home")


def snapshot(cache: Path, repository: str, revision: str = "abc") -> Path:
    return cache / f"models--{repository.replace('/', '--')}" / "snapshots" / revision


def test_a_folder_with_only_the_required_parts_is_a_teacher(tmp_path: Path, paths: Paths) -> None:
    root = lay(tmp_path / "my teacher", REQUIRED)
    found = find_teacher(str(root), paths)
    assert found.root == root
    assert (found.vae, found.controlnet_depth, found.controlnet_canny) == (None, None, None)


def test_optional_parts_are_found(tmp_path: Path, paths: Paths) -> None:
    root = lay(tmp_path, {**REQUIRED, "vae": NETWORK, "controlnet_canny": NETWORK})
    found = find_teacher(str(root), paths)
    assert found.vae == root / "vae"
    assert found.controlnet_canny == root / "controlnet_canny"
    assert found.controlnet_depth is None


@pytest.mark.parametrize("part", sorted(REQUIRED))
def test_each_missing_part_is_named(tmp_path: Path, part: str) -> None:
    root = lay(tmp_path, {name: files for name, files in REQUIRED.items() if name != part})
    missing = check_layout(root)
    assert missing and all(name.startswith(f"{part}/") for name in missing)


def test_an_optional_part_that_is_begun_must_be_whole(tmp_path: Path, paths: Paths) -> None:
    root = lay(tmp_path, {**REQUIRED, "vae": ("config.json",)})
    with pytest.raises(TeacherMissing, match="lacks: vae/diffusion_pytorch_model.safetensors"):
        find_teacher(str(root), paths)


def test_shards_are_checked_against_their_index(tmp_path: Path) -> None:
    root = lay(tmp_path, {**REQUIRED, "unet": ("config.json",)})
    shards = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}
    index_file = root / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index_file.write_text(json.dumps(index), encoding="utf-8")
    (root / "unet" / shards[0]).touch()
    assert check_layout(root) == [f"unet/{shards[1]}"]
    (root / "unet" / shards[1]).touch()
    assert check_layout(root) == []
    index_file.write_text("[]", encoding="utf-8")
    with pytest.raises(TeacherMissing, match="lists no weight shards"):
        check_layout(root)
    for outside in ("..", "../shard.safetensors", "/etc/passwd", ""):
        index_file.write_text(json.dumps({"weight_map": {"a": outside}}), encoding="utf-8")
        with pytest.raises(TeacherMissing, match="which is no file beside it"):
            check_layout(root)


@pytest.mark.parametrize("name", ["dog", "/nowhere/teacher", ""])
def test_an_unknown_name_says_what_may_be_given(name: str, paths: Paths, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TeacherMissing, match="mini|lacks"):
        find_teacher(name, paths)


def test_without_sd15_the_sentence_says_where_to_put_it(paths: Paths) -> None:
    with pytest.raises(TeacherMissing) as caught:
        find_teacher("sd15", paths)
    assert str(paths.teachers / "sd15") in str(caught.value)


def test_sd15_in_the_programs_own_folder_goes_first(paths: Paths, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "huggingface" / "hub"
    lay(snapshot(cache, SD15), REQUIRED)
    own = lay(paths.teachers / "sd15", {**REQUIRED, "controlnet_depth": NETWORK})
    found = find_teacher("sd15", paths)
    assert found.root == own
    assert found.controlnet_depth == own / "controlnet_depth"


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME", None])
def test_sd15_is_found_in_the_hubs_caches_with_its_controlnets(
    paths: Paths, tmp_path: Path, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache" / "huggingface" / "hub"
    if variable:
        cache = tmp_path / "named" / ("hub" if variable == "HF_HOME" else "")
        monkeypatch.setenv(variable, str(tmp_path / "named"))
    root = lay(snapshot(cache, SD15), {**REQUIRED, "vae": NETWORK})
    depth = lay(snapshot(cache, SD15_DEPTH), {"": NETWORK})
    lay(snapshot(cache, SD15_CANNY), {"": ("config.json",)})  # begun, not whole
    found = find_teacher("sd15", paths)
    assert (found.root, found.controlnet_depth, found.controlnet_canny) == (root, depth, None)


def test_an_incomplete_revision_is_passed_over(paths: Paths, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "huggingface" / "hub"
    whole = lay(snapshot(cache, SD15, "old"), REQUIRED)
    lay(snapshot(cache, SD15, "new"), {"unet": NETWORK})
    assert find_teacher("sd15", paths).root == whole


def test_a_link_to_a_blob_that_is_gone_counts_as_missing(paths: Paths, tmp_path: Path) -> None:
    root = lay(tmp_path / "teacher", REQUIRED)
    weights = root / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.symlink_to(tmp_path / "blobs" / "gone")
    assert check_layout(root) == ["unet/diffusion_pytorch_model.safetensors"]


def test_every_bundled_teacher_is_found_by_its_name(paths: Paths) -> None:
    assert {find_teacher(name, paths).root for name in BUNDLED} == {
        path.parent for path in bundled_teachers().glob("*/vocabulary.json")
    }


@pytest.mark.parametrize("name", ["~nosuchuser/x", "x" * 300, "a\0b"])
def test_a_name_that_the_disk_refuses_is_told(name: str, paths: Paths) -> None:
    with pytest.raises(TeacherMissing, match=r'"|No teacher'):
        find_teacher(name, paths)


@pytest.mark.parametrize("shape", [7, None, "x", [[1]], [True], {"0": 1}])
def test_odd_shapes_in_a_single_file_are_damage(shape: object, tmp_path: Path) -> None:
    header = json.dumps({"model.diffusion_model.input_blocks.0.0.weight": {"shape": shape}}).encode()
    file = tmp_path / "odd.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(TeacherMissing, match="damaged"):
        read_shapes(file)


def test_a_single_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(TeacherMissing, match="Is a directory|ermission"):
        read_shapes(tmp_path)
