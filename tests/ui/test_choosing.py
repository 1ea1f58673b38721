"""Which bundled teacher a run has when the artist leaves the choice to us."""

from __future__ import annotations

import bpy
import pytest

from csd_addon.core.settings import JobSettings
from csd_addon.ui.choosing import settled, teacher_of


@pytest.mark.parametrize(
    ("prompt", "name"),
    [("red brick", "mini"), ("leopard print", "broad"), ("red brick and lava", "broad"), ("zeppelin", "mini"),
     # Neither knows mahogany; one has other words for it.
     ("mahogany", "broad"), ("", "mini")],
)  # fmt: skip
def test_the_teacher_is_the_one_that_knows_most_words(prompt: str, name: str, addon: None) -> None:
    assert settled(JobSettings(prompt=prompt)).teacher == name
    # The other mode's words do not count.
    assert settled(JobSettings(kind="edit", target=prompt, prompt="lava")).teacher == name
    scene = bpy.context.scene.csd
    scene.mode, scene.prompt, scene.target = "TEXTURE", prompt, "lava"
    assert teacher_of(scene) == name


def test_a_teacher_that_was_named_stays() -> None:
    assert settled(JobSettings(prompt="lava", teacher="mini")).teacher == "mini"
    assert settled(JobSettings(prompt="lava", teacher="/x")).teacher == "/x"
