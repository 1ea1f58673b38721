"""Words in, a request out; every wrong word is one sentence. No Blender is needed here."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from csd_addon.cli.arguments import UsageError, job_request, parser
from csd_addon.cli.request import SUZANNE, Request
from csd_addon.core.settings import JobSettings
from csd_addon.drive.file_names import safe_name


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    path = tmp_path / "chair.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", encoding="utf-8")
    return path


def request_of(*words: object) -> Request:
    return job_request(parser("csd").parse_args(["texture", *map(str, words)]))


def test_defaults_are_the_settings_own(mesh: Path, tmp_path: Path) -> None:
    made = request_of(mesh, "--prompt", "red brick", "--output", tmp_path / "out")
    assert made.settings == JobSettings(prompt="red brick") and made.objects == () and not made.resume
    assert (made.file, made.output) == (str(mesh), str(tmp_path / "out"))


def test_every_flag_reaches_its_setting(mesh: Path, tmp_path: Path) -> None:
    wanted = JobSettings(
        prompt="red brick", negative="blue", preset="paper", teacher="sd15", device="cuda", iterations=7, size=256,
        seed=9, uv_map="Second", loss="sds", depth="16", margin=5, front="left",
        overlaps="average", images="material", unwrap="xatlas", unseen_map=True,
    )  # fmt: skip
    names = ("prompt", "negative", "preset", "teacher", "device", "iterations", "size", "seed", "uv_map", "loss",
             "depth", "margin", "front", "overlaps", "images", "unwrap")  # fmt: skip
    words = [w for n in names for w in (f"--{n.replace('_', '-')}", str(getattr(wanted, n)))]
    words.append("--unseen-map")
    made = request_of(mesh, "--output", tmp_path / "out", "--object", "Seat", "--object", "Leg 1", *words)
    assert made.settings == wanted and made.objects == ("Seat", "Leg 1")
    changed = {f.name for f in fields(JobSettings) if getattr(wanted, f.name) != getattr(JobSettings(), f.name)}
    assert changed == {*names, "unseen_map"}, "each flag was given another value than its default"


@pytest.mark.parametrize(
    ("words", "value"),
    [("kappa=0.1", 0.1), ("kappa=0,1,0.5,1", [0, 1, 0.5, 1]), ("kappa=[0, 1, 0.5, 1]", [0, 1, 0.5, 1]),
     ("views_per_step=2", 2), ("view_words=false", False), ("weighting=uniform", "uniform"),
     ("negative=ugly, a=b", "ugly, a=b"), ("negative=", ""), ('negative="3"', "3")],
)  # fmt: skip
def test_expert_values_are_json_or_plain_text(mesh: Path, tmp_path: Path, words: str, value: object) -> None:
    made = request_of(mesh, "--prompt", "p", "--output", tmp_path / "out", "--set", "levels=4", "--set", words)
    assert made.settings.expert == {"levels": 4, words.partition("=")[0]: value}
    assert Request.from_json(json.loads(json.dumps(made.to_json()))) == made, "what is resumed has them too"


def test_wrong_expert_values(mesh: Path, tmp_path: Path) -> None:
    for words in ("kappa", "=1"):
        with pytest.raises(UsageError, match=f"'{words}' is not NAME=VALUE"):
            request_of(mesh, "--prompt", "p", "--output", tmp_path / "out", "--set", words)
    with pytest.raises(ValueError, match="no expert value 'kapa'; there are: "):
        request_of(mesh, "--prompt", "p", "--output", tmp_path / "out", "--set", "kapa=1")


def test_a_request_survives_json(mesh: Path, tmp_path: Path) -> None:
    made = request_of(mesh, "--prompt", "Ziegel 砖", "--output", tmp_path / "out", "--object", "Stuhl")
    again = Request.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made and again.resumed() == replace(made, resume=True)
    with pytest.raises(ValueError, match="The request is damaged"):
        Request.from_json({"file": "x"})
    with pytest.raises(ValueError, match="Unknown setting in job.json: colour"):
        Request.from_json({**made.to_json(), "settings": {"colour": "red"}})


def test_the_files_of_a_request(tmp_path: Path) -> None:
    made = Request("/art/old chair.blend", str(tmp_path), JobSettings(prompt="x"))
    found = [made.blend, made.preview, made.report, made.textures, made.saved]
    assert [p.relative_to(tmp_path).as_posix() for p in found] == [
        "old chair.blend", "preview.png", "report.json", "textures", "job/request.json",
    ]  # fmt: skip
    assert Request(SUZANNE, str(tmp_path), made.settings).blend.name == "suzanne.blend"


@pytest.mark.parametrize(
    ("name", "safe"),
    [("Chair", "Chair"), ("a/b\\c:d*e?f", "a_b_c_d_e_f"), ("Стул ñ", "Стул ñ"), (" . ", "object"), ("", "object"),
     ("..", "object"), ("x" * 500, "x" * 120), ("tab\there", "tab_here"), ("trailing. ", "trailing")],
)  # fmt: skip
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("words", "sentence"),
    [((), "arguments are required: COMMAND"),
     (("paint",), "invalid choice: 'paint'"),
     (("texture",), "arguments are required: FILE, --output, --prompt"),
     (("texture", "x.obj", "--prompt", "p", "--output", "o", "--size", "big"), "--size: invalid int value: 'big'"),
     (("texture", "x.obj", "--prompt", "p", "--output", "o", "--loss", "vsd"), "--loss: invalid choice: 'vsd'"),
     (("texture", "x.obj", "--prompt", "p", "--output", "o", "--colour", "r"), "nrecognized arguments: --colour"),
     (("runtime", "mend"), "invalid choice: 'mend'")],
)  # fmt: skip
def test_wrong_words(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        parser("csd").parse_args(list(words))
    assert sentence in str(caught.value) and "--help" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(("--size", "0"), "'size' is 0; it must lie between 64 and 8192"),
     (("--iterations", "-1"), "'iterations' is -1"), (("--seed", "-5"), "'seed' is -5"),
     (("--prompt", "  "), "The prompt is empty")],
)  # fmt: skip
def test_values_out_of_range(mesh: Path, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        request_of(mesh, "--prompt", "red brick", "--output", tmp_path / "out", *words)


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "scene.blend"
    source.write_bytes(b"BLENDER")
    with pytest.raises(ValueError, match="would overwrite .*scene.blend; choose another --output"):
        request_of(source, "--prompt", "red brick", "--output", tmp_path)
    # The same folder by another name.
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(ValueError, match="would overwrite"):
        request_of(source, "--prompt", "red brick", "--output", tmp_path / "link")


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/teacher"])
def test_a_teacher_that_cant_be_looked_at_is_a_sentence(mesh: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="The teacher '.*' can't be looked at"):
        request_of(mesh, "--prompt", "red brick", "--output", tmp_path / "out", "--teacher", name)


def test_a_teachers_folder_becomes_absolute(mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    made = request_of("chair.obj", "--prompt", "red brick", "--output", "out", "--teacher", "mine")
    assert made.settings.teacher == str(tmp_path / "mine") and made.file == str(mesh)
    assert made.output == str(tmp_path / "out")
