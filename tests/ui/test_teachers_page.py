"""The teachers' page: consent first, the promise about the network, the child process and its end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from csd_addon.drive import child_task
from csd_addon.drive.child_task import ChildTask
from csd_addon.runtime.teachers import catalogue
from csd_addon.runtime.teachers.remote import SD15, find_remote_teacher
from csd_addon.ui import obstacles, teacher_task, teachers_page
from csd_addon.ui.teachers_page import CSD_OT_download_teacher

pytestmark = pytest.mark.usefixtures("addon")
SD15_DOWNLOAD = find_remote_teacher("sd15")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Online access is on, but every address leads to a closed door."""
    monkeypatch.setattr(teacher_task, "environment", lambda: {**os.environ, "HF_HUB_OFFLINE": "0"})
    monkeypatch.setattr(CSD_OT_download_teacher, "poll", classmethod(lambda cls, context: True))
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model of this machine's user is in sight."""
    for name in ("HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(obstacles, "_answers", {})


def lay_half(home: Path) -> Path:
    """A few files of the download; returns their folder."""
    folder = home / "teachers" / "sd15"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{}", encoding="utf-8")
    return folder


def lay_whole(root: Path) -> None:
    """A teacher's folder with all that must be there, empty."""
    network = ("config.json", "diffusion_pytorch_model.safetensors")
    parts = {"unet": network, "text_encoder": ("config.json", "model.safetensors"), "tokenizer": ("tokenizer.json",),
             "scheduler": ("scheduler_config.json",)}  # fmt: skip
    for part, names in parts.items():
        (root / part).mkdir(parents=True)
        for name in names:
            (root / part / name).write_text(json.dumps({}), encoding="utf-8")


class Layout:
    """Notes what a page shows: labels, and buttons by their operator."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.operators: list[str] = []

    def label(self, text: str = "", **_: object) -> None:
        self.texts.append(text)

    def operator(self, name: str, **_: object) -> Layout:
        self.operators.append(name)
        return self

    def progress(self, factor: float, text: str) -> None:
        self.texts.append(f"{factor:.0%} {text}")

    def prop(self, *_: object, **__: object) -> None:
        pass

    def row(self, **_: object) -> Layout:
        return self

    box = column = split = row


def page() -> Layout:
    layout = Layout()
    teachers_page.draw(layout, bpy.context)  # type: ignore[arg-type]
    return layout


def test_the_page_follows_what_is_on_the_disk(home: Path, bare: None) -> None:
    assert "Not on this disk" in page().texts and "csd.verify_teacher" not in page().operators
    lay_half(home)
    shown = page()
    print(shown.texts, shown.operators)
    assert "Begun, not complete" in shown.texts
    assert {"csd.download_teacher", "csd.verify_teacher", "csd.remove_teacher"} <= set(shown.operators)
    bpy.ops.csd.remove_teacher(identifier="sd15")
    assert "Not on this disk" in page().texts and not (home / "teachers" / "sd15").exists()


def test_a_copy_in_hugging_faces_cache_is_on_this_disk(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / f"models--{SD15.replace('/', '--')}" / "snapshots" / "abc"
    assert "Not on this disk" in page().texts
    lay_whole(root)
    monkeypatch.setattr(obstacles, "_answers", {})
    shown = page()
    print(shown.texts, shown.operators)
    assert "On this disk" in shown.texts and str(root) in shown.texts
    assert "Not on this disk" not in shown.texts and "csd.download_teacher" not in shown.operators
    asked: list[str] = []
    monkeypatch.setattr(catalogue, "find_teacher", lambda name, paths: asked.append(name))
    page()
    assert not asked, "drawing again does not look at the disk again"


def test_the_consent_names_everything() -> None:
    layout = Layout()
    teachers_page._draw_consent(layout, SD15_DOWNLOAD)  # type: ignore[arg-type]
    shown = " ".join(layout.texts)
    for words in (SD15_DOWNLOAD.title, *SD15_DOWNLOAD.publishers, "3.58 GB", str(Path("teachers") / "sd15")):
        assert words in shown, words
    assert layout.operators.count("wm.url_open") == len(SD15_DOWNLOAD.licences)


def test_offline_the_button_is_grey_and_the_child_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not bpy.app.online_access, "the wheel starts offline"
    with pytest.raises(RuntimeError, match="online access"):
        bpy.ops.csd.download_teacher(identifier="sd15", agree=True)
    assert teacher_task.environment()["HF_HUB_OFFLINE"] == "1"
    monkeypatch.setattr(CSD_OT_download_teacher, "poll", classmethod(lambda cls, context: True))
    with pytest.raises(RuntimeError, match="Online access is off"):
        bpy.ops.csd.download_teacher(identifier="sd15", agree=True)


def test_without_consent_nothing_starts(online: None, home: Path) -> None:
    with pytest.raises(RuntimeError, match="agree to the licences"):
        bpy.ops.csd.download_teacher(identifier="sd15")
    with pytest.raises(RuntimeError, match="no teacher 'dog'"):
        bpy.ops.csd.download_teacher(identifier="dog", agree=True)
    assert not (home / "teachers").exists()


def test_a_failed_download_is_told_in_one_sentence(online: None) -> None:
    with pytest.raises(RuntimeError, match="huggingface.co did not answer"):
        bpy.ops.csd.download_teacher(identifier="sd15", agree=True)
    assert any("did not answer" in text for text in page().texts)


def test_verify_says_what_is_wrong(home: Path) -> None:
    lay_half(home)
    with pytest.raises(RuntimeError, match="is not whole"):
        bpy.ops.csd.verify_teacher(identifier="sd15")


def test_cancel_ends_the_child(online: None) -> None:
    task = teacher_task.runner.start(ChildTask("download", ["teacher", "verify", "sd15"], about="sd15"))
    task.messages = [{"type": "download", "done": 1, "total": 4, "detail": "half way"}]
    assert "25% half way" in page().texts
    with pytest.raises(RuntimeError):
        bpy.ops.csd.verify_teacher(identifier="sd15")
    bpy.ops.csd.cancel_download()
    assert task.exit_code is not None and teacher_task.runner.current is None and teacher_task.outcome() is None


def test_another_file_does_not_stall_a_download(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blender drops every timer that is not persistent when it opens a file."""
    how: dict[str, object] = {}
    timers = SimpleNamespace(register=lambda _, **given: how.update(given), is_registered=lambda _: False)
    with monkeypatch.context() as there:
        for module in (teacher_task, child_task):
            there.setattr(module, "bpy", SimpleNamespace(app=SimpleNamespace(background=False, timers=timers)))
        teacher_task.start("download", "sd15")
    task = teacher_task.runner.current
    teacher_task.end()
    assert task and "-B" in task.child.args and how["persistent"]


def test_a_users_own_offline_switch_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setattr(teacher_task, "bpy", SimpleNamespace(app=SimpleNamespace(online_access=True)))
        there.setenv("HF_HUB_OFFLINE", "1")
        assert teacher_task.environment()["HF_HUB_OFFLINE"] == "1"


def test_my_folder_becomes_the_scenes_teacher(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lacks"):
        bpy.ops.csd.use_teacher_folder(filepath=str(tmp_path))
    lay_whole(tmp_path)
    bpy.ops.csd.use_teacher_folder(filepath=str(tmp_path))
    assert bpy.context.scene.csd.teacher == str(tmp_path)
