"""Which bundled teacher a run has when the artist leaves the choice to us."""

from __future__ import annotations

import shutil
from pathlib import Path

import bpy
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.drive.choose_teacher import checked_settings, teacher_of, with_chosen_teacher
from csd_addon.runtime.paths import bundled_teachers


@pytest.mark.parametrize(
    ("words", "name"),
    [("red brick", "mini"), ("leopard print", "broad"), ("red brick and lava", "broad"), ("zeppelin", "mini"),
     # Neither knows mahogany; one has other words for it.
     ("mahogany", "broad"), ("", "mini")],
)  # fmt: skip
def test_an_edit_that_keeps_the_pattern_has_the_teacher_that_knows_most_words(
    words: str, name: str, addon: None
) -> None:
    # The other mode's words do not count.
    assert with_chosen_teacher(JobSettings(kind="edit", target=words, prompt="lava", keep="pattern")).teacher == name
    scene = bpy.context.scene.csd
    scene.mode, scene.prompt, scene.target, scene.keep = "EDIT", "lava", words, "pattern"
    assert teacher_of(scene) == name


def test_an_edit_that_replaces_the_pattern_has_the_teacher_of_new_textures(addon: None) -> None:
    # A word of both prompts that is no colour keeps the pattern.
    for remove, name in (("red brick", "mini"), ("brown wood", "broad")):
        assert with_chosen_teacher(JobSettings(kind="edit", target="blue brick", remove=remove)).teacher == name
        scene = bpy.context.scene.csd
        scene.mode, scene.target, scene.remove = "EDIT", "blue brick", remove
        assert teacher_of(scene) == name


@pytest.mark.parametrize("words", ["red brick", "leopard print", "zeppelin", "mahogany", ""])
def test_a_new_texture_has_broad_which_knows_all_of_minis_words(words: str, addon: None) -> None:
    assert with_chosen_teacher(JobSettings(prompt=words, target="red brick")).teacher == "broad"
    scene = bpy.context.scene.csd
    scene.mode, scene.prompt, scene.target = "TEXTURE", words, "red brick"
    assert teacher_of(scene) == "broad"


def test_a_teacher_that_was_named_stays() -> None:
    assert with_chosen_teacher(JobSettings(prompt="lava", teacher="mini")).teacher == "mini"
    assert with_chosen_teacher(JobSettings(prompt="lava", teacher="/x")).teacher == "/x"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"expert": {"kappa": 0.1}}, "'kappa' belongs to Distillation, and this run is by Sampling"),
     ({"method": "sample", "loss": "sds"}, "SDS is a loss of distillation"),
     ({"kind": "edit", "target": "blue brick", "remove": "red brick", "size": 0, "method": "sample"}, "keeps it")],
)  # fmt: skip
def test_numbers_that_exclude_each_other_are_refused_before_a_worker_starts(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked_settings(JobSettings(**{"prompt": "red brick", "preset": "draft", **changes}))
    assert checked_settings(JobSettings(prompt="red brick", preset="draft")).teacher == "broad"


def test_a_damaged_csd_json_is_named_before_a_worker_starts(tmp_path: Path) -> None:
    shutil.copytree(bundled_teachers() / "mini", tmp_path / "mine")
    (tmp_path / "mine" / "csd.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="csd.json is damaged"):
        checked_settings(JobSettings(prompt="red brick", teacher=str(tmp_path / "mine"), expert={"guidance": 3.0}))
