"""Whole jobs with the bundled teacher, from the folder to the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from csd_addon.core.settings import JobSettings
from csd_addon.core.source import EditSource, Tile, load_edited
from csd_addon.core.udim import tile_file
from csd_addon.jobs.folder import JobFolder, new_folder, read_json, write_json
from csd_addon.protocol import Cancelled, Done, Phase, Preview, Progress, Warning
from csd_addon.worker.run import session, texture
from csd_addon.worker.run.entry import run_job
from csd_addon.worker.serve.control import Control, JobFailure
from csd_addon.worker.teacher.memory import OVERHEAD
from tests import shapes

MINI = Path(__file__).parents[2] / "csd_addon" / "teachers" / "mini"


def make_folder(tmp_path: Path, **settings) -> JobFolder:
    folder = new_folder(tmp_path)
    shapes.cube().save(folder.mesh)
    values = JobSettings(**{"prompt": "red brick", "size": 64, "iterations": 3, "preset": "draft", **settings})
    teacher = {"root": str(MINI)}
    write_json(folder.job, {"settings": values.to_json(), "teacher": teacher})
    return folder


def run(folder: JobFolder, *, resume: bool = False, cancel_at: int = 0, stop_at: int = 0) -> list:
    control, said = Control(), []

    def emit(message) -> None:
        said.append(message)
        # Progress is thinned out by time, so requests come with the first phase that can honour them.
        if isinstance(message, Phase) and message.name == "optimize":
            if cancel_at:
                control.request_cancel()
            if stop_at:
                control.request_stop()

    run_job(folder, control, emit, resume)
    return said


def test_job_ends_with_a_full_report(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    said = run(folder)
    assert [m.name for m in said if isinstance(m, Phase)] == ["load", "views", "optimize", "bake"]
    assert isinstance(said[-1], Done) and json.loads(json.dumps(said[-1].report)) == read_json(folder.report)
    assert any(isinstance(m, Progress) for m in said) and any(isinstance(m, Preview) for m in said)
    report = said[-1].report
    for name in ("seconds", "iterations", "coverage", "seam_error", "bake_psnr", "peak_memory_mb", "gradient_norms",
                 "teacher", "seed", "versions"):  # fmt: skip
        assert name in report
    assert report["coverage"] == 1.0 and report["iterations"] == 3 and report["peak_memory_mb"] > 100
    assert set(report["gradient_norms"]) == {"generative", "classifier", "total"}
    assert report["conditions"] == ["depth", "canny"] and report["warnings"] == []
    assert not list(folder.path.rglob("*.part"))


def test_expert_values_reach_the_run_and_its_report(tmp_path: Path) -> None:
    expert = {"kappa": 0.3, "levels": 3, "view_pool": 5}
    report = run(make_folder(tmp_path, expert=expert, method="distill"))[-1].report
    assert report["settings"]["expert"] == expert and report["method"] == "Distillation (CSD)"
    assert report["recipe"]["distill"]["kappa"] == [0, 0.3, 0.3, 0]
    assert (report["recipe"]["field"]["levels"], report["recipe"]["views"]["view_pool"]) == (3, 5)
    for wrong, words in (({"speed": 1}, "no expert value 'speed'"), ({"t_max": 0.001}, "noise levels run from t_min")):
        with pytest.raises(JobFailure, match=words):
            run(make_folder(tmp_path, expert=wrong, method="distill"))


def test_a_number_of_the_other_method_is_refused_and_one_of_its_own_reaches_the_run(tmp_path: Path) -> None:
    report = run(make_folder(tmp_path, expert={"guidance": 3.0}))[-1].report
    assert report["method"] == "Sampling" and report["recipe"]["sample"]["guidance"] == 3.0
    with pytest.raises(JobFailure, match="'kappa' belongs to Distillation, and this run is by Sampling") as caught:
        run(make_folder(tmp_path, expert={"kappa": 0.3}))
    assert caught.value.kind == "input"


def test_a_uv_map_on_udim_tiles_gives_an_image_for_each(tmp_path: Path) -> None:
    # The same cube with all its charts on one square, and with its last four faces on the next tile, which takes no bit
    # from multiples of 1 / 4096.
    one, many = (make_folder(tmp_path, iterations=0, expert={"iterations": 2}) for _ in range(2))
    cube = replace(shapes.cube(), corner_uvs=(shapes.cube().corner_uvs * 4096).round() / 4096)
    cube.save(one.mesh)
    uvs = cube.corner_uvs.copy()
    uvs[8:] += np.float32([1, 0])
    replace(cube, corner_uvs=uvs).save(many.mesh)
    reports = [run(folder)[-1].report for folder in (one, many)]
    assert sorted(path.name for path in many.result.glob("*.png")) == ["basecolor.1001.png", "basecolor.1002.png"]
    assert sorted(path.name for path in many.preview.iterdir()) == ["basecolor.1001.png", "basecolor.1002.png"]
    whole = np.asarray(Image.open(one.basecolor))
    parts = [np.asarray(Image.open(tile_file(many.basecolor, number))) for number in (1001, 1002)]
    # Faces 8 to 11 lie in the upper half of the image, from a third of its width to its end.
    low, high = cube.corner_uvs[8:].min(axis=(0, 1)), cube.corner_uvs[8:].max(axis=(0, 1))
    rows = slice(int((1 - high[1]) * 64) + 1, int((1 - low[1]) * 64))
    columns = slice(int(low[0] * 64) + 1, int(high[0] * 64))
    assert np.array_equal(parts[1][rows, columns], whole[rows, columns]), "the same field on another tile"
    assert np.array_equal(parts[0][40:], whole[40:])
    assert reports[1]["coverage"] == 1 and reports[1]["overlap"] < 0.05
    assert [m for m in reports[1]["warnings"] if "lies on 2 UDIM tiles" in m] and reports[0]["warnings"] == []
    assert reports[1]["seam_error"]["mean"] == pytest.approx(reports[0]["seam_error"]["mean"], rel=0.3)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    images = []
    for seed in (5, 5, 6):
        folder = make_folder(tmp_path, seed=seed)
        run(folder)
        images.append(folder.basecolor.read_bytes())
    assert images[0] == images[1] != images[2]


def test_a_word_of_the_list_is_as_good_as_the_words_for_it(tmp_path: Path) -> None:
    images, warnings = {}, {}
    for prompt in ("mahogany", "dark brown wood", "zeppelin"):
        folder = make_folder(tmp_path, prompt=prompt)
        values = read_json(folder.job)
        write_json(folder.job, {**values, "teacher": {"root": str(MINI.with_name("broad"))}})
        warnings[prompt] = run(folder)[-1].report["warnings"]
        images[prompt] = folder.basecolor.read_bytes()
    assert images["mahogany"] == images["dark brown wood"] != images["zeppelin"]
    assert "mahogany (taken as: dark brown wood)" in warnings["mahogany"][0] and warnings["dark brown wood"] == []


def test_cancel_then_resume_gives_the_undisturbed_result(tmp_path: Path) -> None:
    whole = make_folder(tmp_path)
    run(whole)
    folder = make_folder(tmp_path)
    assert run(folder, cancel_at=1)[-1] == Cancelled(0) and not folder.report.exists()
    assert isinstance(run(folder, resume=True)[-1], Done)
    assert folder.basecolor.read_bytes() == whole.basecolor.read_bytes()


def test_stop_and_keep_bakes_and_says_so(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    report = run(folder, stop_at=1)[-1].report
    assert report["stopped_early"] and report["iterations"] == 0 and folder.basecolor.exists()


def test_words_outside_the_vocabulary_get_a_warning_with_the_words(tmp_path: Path) -> None:
    said = run(make_folder(tmp_path, prompt="a red flibbertigibbet brick", iterations=1))
    (warning,) = [m.sentence for m in said if isinstance(m, Warning)]
    assert "flibbertigibbet" in warning and "brick" not in warning.replace("README", "")


def test_sds_runs_too(tmp_path: Path) -> None:
    report = run(make_folder(tmp_path, loss="sds", iterations=1))[-1].report
    assert report["gradient_norms"]["total"][0] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [({"prompt": ""}, "prompt is empty"), ({"size": 0}, "size"), ({"device": "cuda"}, "cuda")],
)  # fmt: skip
def test_bad_settings_are_refused_by_the_worker_too(tmp_path: Path, change: dict, words: str) -> None:
    import torch

    if "device" in change and torch.cuda.is_available():
        pytest.skip("this machine has the device that should be missing")
    with pytest.raises(JobFailure, match=words):
        run(make_folder(tmp_path, **change))


def test_missing_parts_of_the_teacher_are_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    job = read_json(folder.job)
    write_json(folder.job, {**job, "teacher": {"root": str(tmp_path / "nothing")}})
    with pytest.raises(JobFailure, match="nothing") as caught:
        run(folder)
    assert caught.value.kind == "teacher"


def test_a_damaged_list_of_what_the_teacher_likes_is_a_sentence(tmp_path: Path) -> None:
    root = tmp_path / "teacher"
    root.mkdir()
    for part in MINI.iterdir():
        if part.is_dir():
            (root / part.name).symlink_to(part)
    folder = make_folder(tmp_path)
    write_json(folder.job, {**read_json(folder.job), "teacher": {"root": str(root)}})
    missing = r"none\.json, which is not there"
    for text, words in (("{", r"csd\.json is damaged"), ('{"extends": "none.json"}', missing)):
        (root / "csd.json").write_text(text, encoding="utf-8")
        with pytest.raises(JobFailure, match=words) as caught:
            run(folder)
        assert caught.value.kind == "teacher"


def brick_source(
    *, shown: np.ndarray | None = None, corner_mask: np.ndarray | None = None, **changes
) -> EditSource:
    """Reddish bricks on the cube with some alpha, in 8-bit numbers, the whole of it free.

    shown: (T,) bool, the faces that show them. changes: of the tile.
    """
    generator = np.random.default_rng(0)
    pixels = generator.uniform(0.2, 0.8, (8, 12, 4)).repeat(8, axis=0).repeat(8, axis=1) * [1, 0.5, 0.4, 1]
    tile = Tile((np.round(pixels * 255) / 255).astype(np.float32), False, np.ones((1, 1), np.float32))
    number = np.where(np.ones(12, bool) if shown is None else shown, 0, -1).astype(np.int32)
    mask = np.ones((12, 3), np.float32) if corner_mask is None else corner_mask
    return EditSource({0: replace(tile, **changes)}, number, shapes.cube().corner_uvs[: len(number)], mask)


def bricks(**changes) -> np.ndarray:
    return brick_source(**changes).tiles[0].pixels


def edit_folder(tmp_path: Path, source: EditSource | None = None, **settings) -> JobFolder:
    words = {"kind": "edit", "prompt": "", "target": "blue brick", "remove": "red brick", "size": 0}
    folder = make_folder(tmp_path, **{**words, **settings})
    (source or brick_source()).save(folder.source)
    return folder


def edited(folder: JobFolder) -> np.ndarray:
    return load_edited(folder.edited)[0]


def test_an_edit_ends_with_its_pixels_and_its_figures(tmp_path: Path) -> None:
    source = brick_source()
    folder = edit_folder(tmp_path, source)
    said = run(folder)
    assert [m.name for m in said if isinstance(m, Phase)] == ["load", "views", "optimize", "bake"]
    assert isinstance(said[-1], Done) and said[-1].paths["basecolor"] == str(folder.edited)
    assert any(isinstance(m, Progress) for m in said) and any(isinstance(m, Preview) for m in said)
    pixels, report = edited(folder), read_json(folder.report)
    assert pixels.dtype == np.float32 and pixels.shape == source.tiles[0].pixels.shape
    assert pixels[..., 3].tobytes() == source.tiles[0].pixels[..., 3].tobytes()
    share = float((pixels != source.tiles[0].pixels).any(axis=2).mean())
    print(f"{report['edit']}; {share:.3f} of the texels differ")
    assert report["edit"]["way"] == "keep" and report["edit"]["changed"] == pytest.approx(share, abs=0.01)
    assert 0.5 < report["edit"]["free"] <= 1 and report["edit"]["mean_delta_e"] > 0
    assert report["coverage"] == 1 and report["iterations"] == 3 and report["warnings"] == []
    assert not list(folder.path.rglob("*.part*")) and not folder.basecolor.exists()


def test_no_strength_returns_the_very_numbers_of_the_source(tmp_path: Path) -> None:
    light = np.random.default_rng(1).uniform(-1, 50, (64, 96, 4)).astype(np.float32)
    for source in (brick_source(), brick_source(pixels=light, linear=True)):
        folder = edit_folder(tmp_path, source, strength=0.0, iterations=50)
        report = run(folder)[-1].report
        assert edited(folder).tobytes() == source.tiles[0].pixels.tobytes()
        assert report["iterations"] == 0 and not report["stopped_early"] and report["warnings"] == []
        assert report["edit"]["changed"] == 0 and report["edit"]["mean_delta_e"] < 1e-6


def test_an_edit_of_two_faces_leaves_the_others_byte_for_byte(tmp_path: Path) -> None:
    mask, mesh = np.zeros((12, 3), np.float32), shapes.cube()
    mask[4:6] = 1
    source = brick_source(corner_mask=mask)
    folder = edit_folder(tmp_path, source, target="moss", remove="")
    report = run(folder)[-1].report
    differs = (edited(folder) != source.tiles[0].pixels).any(axis=2)
    low, high = mesh.corner_uvs[4:6].reshape(-1, 2).min(axis=0), mesh.corner_uvs[4:6].reshape(-1, 2).max(axis=0)
    u, v = (np.arange(96) + 0.5) / 96, 1 - (np.arange(64) + 0.5) / 64
    # Half of the way to the next chart belongs to this one's margin.
    near = np.outer((v > low[1] - 0.012) & (v < high[1] + 0.012), (u > low[0] - 0.012) & (u < high[0] + 0.012))
    print(f"{differs.sum()} texels differ, {differs[~near].sum()} of them elsewhere; report {report['edit']}")
    assert differs[near].mean() > 0.8 and not differs[~near].any()
    assert report["edit"]["way"] == "replace" and report["edit"]["free"] < 0.25


def test_faces_with_another_image_are_left_out(tmp_path: Path) -> None:
    shown = np.ones(12, bool)
    shown[[0, 1]] = False
    source = brick_source(shown=shown)
    folder = edit_folder(tmp_path, source)
    run(folder)
    differs = (edited(folder) != source.tiles[0].pixels).any(axis=2)
    # The first face's chart is the lower left of the image; nobody shows it here, so its neighbours' margins may
    # reach into it, but not further.
    assert not differs[42:54, 8:22].any() and differs[8:22].mean() > 0.8


def test_every_tile_that_the_mask_reaches_is_edited_and_no_other(tmp_path: Path) -> None:
    # Faces of the cube on three tiles of different sizes; those of the last one are kept.
    generator = np.random.default_rng(0)
    tiles = {
        number: Tile(generator.uniform(0.2, 0.8, (*shape, 4)).astype(np.float32), False, np.ones((1, 1), np.float32))
        for number, shape in ((1001, (48, 48)), (1002, (64, 96)), (1011, (32, 32)))
    }
    mask = np.ones((12, 3), np.float32)
    mask[8:] = 0
    number = np.repeat([1001, 1002, 1011], 4).astype(np.int32)
    folder = edit_folder(tmp_path, EditSource(tiles, number, shapes.cube().corner_uvs, mask))
    said = run(folder)
    report, got = said[-1].report, load_edited(folder.edited)
    shares = {n: float((pixels != tiles[n].pixels).any(axis=2).mean()) for n, pixels in got.items()}
    print(f"share of texels that differ in each tile: {shares}; report {report['edit']}")
    assert list(got) == [1001, 1002, 1011] and shares[1011] == 0 and min(shares[1001], shares[1002]) > 0.2
    assert all(pixels[..., 3].tobytes() == tiles[n].pixels[..., 3].tobytes() for n, pixels in got.items())
    assert report["coverage"] == 1 and report["seam_error"]["max"] > 0 and report["bake_psnr"] > 20
    assert any(isinstance(message, Preview) for message in said)


def test_a_cancelled_edit_gives_the_undisturbed_result_when_resumed(tmp_path: Path) -> None:
    whole, folder = (edit_folder(tmp_path, iterations=2) for _ in range(2))
    run(whole)
    assert run(folder, cancel_at=1)[-1] == Cancelled(0)
    assert not folder.report.exists() and not folder.edited.exists()
    assert isinstance(run(folder, resume=True)[-1], Done)
    assert folder.edited.read_bytes() == whole.edited.read_bytes()


def test_an_edit_stopped_at_once_keeps_the_source_and_says_so(tmp_path: Path) -> None:
    folder = edit_folder(tmp_path)
    report = run(folder, stop_at=1)[-1].report
    assert report["stopped_early"] and report["iterations"] == 0 and report["warnings"] == []
    assert edited(folder).tobytes() == bricks().tobytes()


def test_unknown_words_of_both_prompts_of_an_edit_are_named(tmp_path: Path) -> None:
    said = run(edit_folder(tmp_path, target="blue flibbertigibbet", remove="red gobbledygook", strength=0.0))
    (warning,) = [m.sentence for m in said if isinstance(m, Warning)]
    assert "flibbertigibbet" in warning and "gobbledygook" in warning


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_a_damaged_source_is_a_sentence(tmp_path: Path, damage: str) -> None:
    folder = edit_folder(tmp_path)
    whole = folder.source.read_bytes()
    middle = len(whole) // 2
    folder.source.write_bytes(whole[:middle] + (b"\0" * 16 + whole[middle + 16 :] if damage == "flipped" else b""))
    if damage == "missing":
        folder.source.unlink()
    with pytest.raises(JobFailure, match="The source texture .* is damaged or missing") as caught:
        run(folder)
    assert caught.value.kind == "input"


@pytest.mark.parametrize(
    "changes",
    [{"corner_mask": np.zeros((12, 3), np.float32)}, {"painted": np.zeros((4, 4), np.float32)},
     {"shown": np.zeros(12, bool)}],
    ids=["no face", "black paint", "no face shows it"],
)  # fmt: skip
def test_an_empty_mask_is_a_sentence(tmp_path: Path, changes: dict) -> None:
    with pytest.raises(JobFailure, match="The mask leaves no texel of the texture free") as caught:
        run(edit_folder(tmp_path, brick_source(**changes)))
    assert caught.value.kind == "input"


def test_a_source_of_another_mesh_is_a_sentence(tmp_path: Path) -> None:
    other = brick_source(shown=np.ones(7, bool), corner_mask=np.ones((7, 3), np.float32))
    with pytest.raises(JobFailure, match="7 faces, but the mesh has 12") as caught:
        run(edit_folder(tmp_path, other))
    assert caught.value.kind == "input"


@pytest.mark.parametrize(
    ("change", "words"), [({"target": " "}, "target is empty"), ({"remove": "BLUE brick"}, "say the same")]
)
def test_bad_words_of_an_edit_are_refused_by_the_worker_too(tmp_path: Path, change: dict, words: str) -> None:
    with pytest.raises(JobFailure, match=words):
        run(edit_folder(tmp_path, **change))


def test_sampling_that_can_not_keep_its_views_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the teacher holds is no room for views."""
    own = session.Session(make_folder(tmp_path, method="sample"), Control(), lambda message: None)
    loop = texture.TextureProduct(own).prepare()
    assert loop is not None
    just_enough = loop.need.field + OVERHEAD + loop.need.weights - own.teacher.held()
    monkeypatch.setattr(session, "free_bytes", lambda device: just_enough)
    own.fit_memory(loop)
    monkeypatch.setattr(session, "free_bytes", lambda device: just_enough - 1)
    with pytest.raises(JobFailure, match="Sampling keeps what 48 views of 64 pixels show, about .* set the method to"):
        own.fit_memory(loop)
    # Distillation keeps no views.
    assert isinstance(run(make_folder(tmp_path, method="distill"))[-1], Done)
