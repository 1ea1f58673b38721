"""What a teacher's folder says of itself: missing, damaged, and built on another one's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from csd_addon.core.resolving import resolve
from csd_addon.core.settings import JobSettings
from csd_addon.core.teacher_folder import TeacherDamaged, read_preferences, read_related, read_vocabulary

TEACHERS = Path(__file__).parents[2] / "csd_addon" / "teachers"


def say(root: Path, **values: object) -> Path:
    root.mkdir(exist_ok=True)
    (root / "csd.json").write_text(json.dumps(values), encoding="utf-8")
    return root


def test_a_folder_that_says_nothing(tmp_path: Path) -> None:
    assert read_preferences(tmp_path) == {} == read_related(tmp_path) and read_vocabulary(tmp_path) == []


def test_the_preferences_of_a_single_file_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "model.csd.json").write_text('{"recipe": {}}', encoding="utf-8")
    assert read_preferences(tmp_path / "model.safetensors") == {"recipe": {}}


def test_what_extends_another_decides_where_both_say_something(tmp_path: Path) -> None:
    run = {"iterations": 5, "compile": True}
    say(tmp_path / "base", recipe={"method": "sample", "run": run}, presets={"draft": {}})
    say(tmp_path / "middle", extends="../base/csd.json", recipe={"run": {"iterations": 6}})
    top = say(tmp_path / "top", extends="../middle/csd.json", presets={"draft": {"run": {"iterations": 7}}})
    assert read_preferences(top) == {
        "recipe": {"method": "sample", "run": {"iterations": 6, "compile": True}},
        "presets": {"draft": {"run": {"iterations": 7}}},
    }


def test_what_can_not_be_extended_is_named(tmp_path: Path) -> None:
    lost = say(tmp_path / "lost", extends="../gone/csd.json")
    with pytest.raises(TeacherDamaged, match="gone.csd.json, which is not there"):
        read_preferences(lost)
    say(tmp_path / "one", extends="../two/csd.json")
    say(tmp_path / "two", extends="../one/csd.json")
    with pytest.raises(TeacherDamaged, match="extends .*, which extends it in turn"):
        read_preferences(tmp_path / "one")


@pytest.mark.parametrize("text", ["{", "[1, 2]", "5", '"words"'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    for name, read in (("csd.json", read_preferences), ("vocabulary.json", read_vocabulary)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(TeacherDamaged, match=f"{name} is damaged: ") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)


def test_mini_says_only_where_it_differs_from_broad() -> None:
    broad, mini = (read_preferences(TEACHERS / name) for name in ("broad", "mini"))
    settings = JobSettings(prompt="red brick", preset="draft")
    one, two = resolve(settings, broad), resolve(settings, mini)
    assert (one.run.iterations, two.run.iterations) == (120, 160)
    assert (one.views, one.field, one.guide, one.mover) == (two.views, two.field, two.guide, two.mover)
