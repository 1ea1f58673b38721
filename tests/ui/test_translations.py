"""Every English text of ours that Blender shows has its Chinese one: those of registered classes and properties, and
those that stand in the source of ``ui/`` as text of a label, a button, a question or a message.
"""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest

from csd_addon.runtime.environment.installer_errors import KNOWN_ERRORS
from csd_addon.runtime.errors import RuntimeMissing
from csd_addon.runtime.machine import resources
from csd_addon.runtime.machine.doctor import examine
from csd_addon.runtime.paths import Paths
from csd_addon.ui import translations
from csd_addon.ui.preferences import preferences_class
from csd_addon.ui.properties import NAMES

pytestmark = pytest.mark.usefixtures("addon")

UI = Path(translations.__file__).parent
ADDON = UI.parent
CHINESE = translations.texts("zh_HANS")
# What other parts of the program say.
GROUPS = json.loads((UI / "languages" / "zh_HANS.json").read_text("utf-8"))
SENTENCES = {text for group in ("sentences", "steps", "setup") for text in GROUPS[group]}
# As Blender names them, also where it was built without its languages.
LOCALES = {"zh_HANS", *bpy.app.translations.locales}
# Arguments of Blender's functions that are shown and translated by Blender itself.
SHOWN = {"text", "title", "message", "confirm_text", "heading"}
# Functions whose first argument is shown: Blender's that translate it now, mark it for later, or say it.
SPEAKING = {"translated", "marked", "poll_message_set"}


def registered() -> Iterator[tuple[str, str]]:
    """(where, text) of all classes of ours: labels, tooltips, properties, choices."""
    for name in (name for name in dir(bpy.types) if name.startswith("CSD_PT_")):
        yield name, getattr(bpy.types, name).bl_label
    for name in dir(bpy.ops.csd):
        rna = getattr(bpy.ops.csd, name).get_rna_type()
        yield from ((name, rna.name), (name, rna.description), *properties(name, rna))
    settings = bpy.context.scene.csd
    for name, group in (("csd", settings), ("guidance", settings.guidance), ("preferences", preferences_class)):
        yield from properties(name, group.bl_rna)


def properties(owner: str, rna: bpy.types.Struct) -> Iterator[tuple[str, str]]:
    inherited = {"rna_type", *rna.base.properties.keys()} if rna.base else {"rna_type"}
    for prop in (prop for prop in rna.properties if prop.identifier not in inherited and not prop.is_hidden):
        choices = prop.enum_items_static if prop.type == "ENUM" else ()
        for shown in (prop, *choices) if prop.type != "POINTER" else ():
            yield from ((f"{owner}.{prop.identifier}", text) for text in (shown.name, shown.description))


def written() -> Iterator[tuple[str, str]]:
    """(where, text) of what stands in the source as a plain string that Blender shows."""
    for path in sorted(UI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                for text in texts_of(node):
                    yield f"{path.name}:{node.lineno}", text


def texts_of(call: ast.Call) -> Iterator[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    shown = [keyword.value for keyword in call.keywords if keyword.arg in SHOWN]
    if name in SPEAKING:
        shown += call.args[:1]
    if any(k.arg == "translate" and getattr(k.value, "value", True) is False for k in call.keywords):
        # What is translated by hand inside is a call of its own.
        shown = []
    for value in shown:
        yield from (n.value for n in constants(value))


def constants(value: ast.expr) -> Iterator[ast.Constant]:
    """The strings that ``value`` may be; not those inside of a call or an f-string."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value
    elif isinstance(value, ast.IfExp):
        yield from (*constants(value.body), *constants(value.orelse))


def needs_words(text: str) -> bool:
    """Whether there is something to translate: a bare gap is none, nor is an abbreviation."""
    return bool(re.search("[A-Za-z]{2}", text)) and not re.fullmatch("[A-Z]{2,4}", text)


def elsewhere() -> set[str]:
    """The strings in the other parts of the program, with gaps where an f-string has values."""
    found = set()
    folders = (ADDON / name for name in ("core", "scene", "drive", "jobs", "worker", "ui", "runtime", "cli"))
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_text_has_its_chinese_one() -> None:
    found = [*registered(), *written()]
    missing = sorted({(text, where) for where, text in found if needs_words(text) and text not in CHINESE})
    print(f"{len({text for _, text in found})} texts")
    assert not missing, "\n".join(f"{where}: {text!r}" for text, where in missing)


def test_no_text_is_translated_twice() -> None:
    for path in (UI / "languages").glob("*.json"):
        groups = json.loads(path.read_text("utf-8"))
        every = [english for group in groups.values() for english in group]
        assert len(every) == len(set(every)) == len(translations.texts(path.stem)) and path.stem in LOCALES


def test_nothing_is_translated_that_is_not_said() -> None:
    said = {text for _, text in (*registered(), *written())}
    assert not sorted(set(CHINESE) - said - SENTENCES)


def test_the_sentences_of_other_parts_are_said_there() -> None:
    print(f"{len(SENTENCES)} sentences")
    assert len(SENTENCES) >= 15 and not sorted(SENTENCES - elsewhere())


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender's look-up as it is in Chinese; the wheels come without languages, ``tests/blender`` has the real one."""
    monkeypatch.setattr(translations, "translated", lambda text: CHINESE.get(text, text))


@pytest.mark.parametrize(
    ("sentence", "there"),
    [("'Crate' has 3 triangles without area; they get no texture.", "“Crate”有 3 个没有面积的三角形；它们不会获得纹理"),
     ("12 faces of 'A' have no area in the UV map; each shows a single texel.",
      "“A”有 12 个面在 UV 贴图中没有面积；每个只显示一个像素"),
     ("'A.' has no UV map. It was unwrapped into the new UV map 'CSD UV'.",
      "“A.”没有 UV 贴图。已展开到新的 UV 贴图“CSD UV”"),
     ("The worker ended unexpectedly with exit code 11. The log is /a b/worker.log.",
      "后台进程意外结束，退出代码 11。日志在 /a b/worker.log"),
     ("The device ran out of memory: choose a smaller texture size or preset.",
      "设备内存不足：请选择较小的纹理尺寸或预设"),
     ("'{}' has no UV map.", "“{}”没有 UV 贴图"),
     ("A sentence that nobody has translated.", "A sentence that nobody has translated.")],
)  # fmt: skip
def test_a_sentence_from_elsewhere_is_told_in_the_language_of_the_interface(
    chinese: None, sentence: str, there: str
) -> None:
    assert translations.translate_sentence(sentence) == there


def test_the_doctor_and_the_installer_speak_chinese(
    chinese: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CSD_WORKER_PYTHON", raising=False)
    well = [*examine(Paths(tmp_path / "home"), "1")]
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("CSD_WORKER_PYTHON", str(file))
    for name in ("JOB_GB", "WORKER_GB", "LONGEST_PACKAGE_PATH"):
        monkeypatch.setattr(resources, name, 10**9 if name.endswith("GB") else 10_000)
    said = {text for one in (*well, *examine(Paths(file / "home"), "1")) for text in (one.sentence, one.remedy) if text}
    log = Path("/a/install.log")
    said |= {str(RuntimeMissing(sentence, log)) for _, sentence in KNOWN_ERRORS}
    said |= {"compiling 68 packages, which takes some minutes", "fetching about 0.66 / 2.79 GB, 33 MB/s: torch ..."}
    print(f"{len(said)} sentences")
    assert len(said) > 30
    for sentence in said:
        # Commands, and reasons that the system gives, stay in their own words.
        told = re.sub("（.*?）|“.*?”", "", translations.translate_sentence(sentence))
        assert re.search("[\u4e00-\u9fff]", told) and not re.search("[a-z]{3,} [a-z]{3,} [a-z]{3,}", told), told


def test_in_english_it_stays_as_it_is() -> None:
    sentence = "'Crate' has 3 triangles without area; they get no texture."
    assert translations.translate_sentence(sentence) == sentence


def test_translations_keep_the_gaps_and_are_chinese() -> None:
    for english, chinese in CHINESE.items():
        gaps = [[f for _, f, _, _ in string.Formatter().parse(text) if f is not None] for text in (english, chinese)]
        assert len(gaps[0]) == len(gaps[1]), english
        assert re.search("[\u4e00-\u9fff]", chinese), english
        assert not re.search(r"[,;:!?]\s|\.$", chinese), f"western punctuation: {chinese}"
        assert english == english.strip() and chinese == chinese.strip()


def test_the_search_sees_a_planted_text() -> None:
    call = ast.parse("layout.label(text='one' if x else 'two', icon='X')").body[0].value
    assert list(texts_of(call)) == ["one", "two"]
    assert list(texts_of(ast.parse("cls.poll_message_set('three')").body[0].value)) == ["three"]
    assert list(texts_of(ast.parse("row.label(text='four', translate=False)").body[0].value)) == []
    assert NAMES and any(where.endswith(".prompt") for where, _ in registered())
