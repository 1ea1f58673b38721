"""The runtime's and the doctor's parts of the preferences. ``draw`` looks at small files only."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..drive.child_task import ChildTask
from ..protocol import PROTOCOL_VERSION
from ..runtime.environment import installed
from ..runtime.environment.installed import Installed
from ..runtime.environment.user_python import find_user_python
from ..runtime.machine.doctor import anonymize
from ..runtime.paths import Paths, default_base
from . import setting_up
from .progress import draw_sentence
from .translations import translate_sentence

_STATES = {
    "ready": (marked("The runtime is installed."), "CHECKMARK"),
    "busy": (marked("The runtime is being installed by another process."), "TIME"),
    "stale": (marked("The runtime belongs to another version of CSD Texture: repair it."), "ERROR"),
    "broken": (marked("The runtime is not complete: its installation was interrupted. Repair it."), "ERROR"),
}
_KINDS = {
    "install": marked("Installing"), "repair": marked("Repairing"), "remove": marked("Removing"),
    "use": marked("Trying that Python"), "doctor": marked("Looking"),
}  # fmt: skip


def find() -> Installed | None:
    """The runtime on this disk, in whatever state."""
    return installed.find(Paths(default_base()), str(PROTOCOL_VERSION))


def draw_runtime(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """State, device, size, and the buttons that change them."""
    found, named = find(), find_user_python()
    task = setting_up.runner.current
    if task and task.kind != "doctor":
        draw_progress(layout, task)
        return
    sentence, icon = describe(found, named)
    draw_sentence(layout, context, sentence, icon)
    if found and not named:
        _draw_facts(layout, context, found)
    _draw_network(layout, context)
    _draw_outcome(layout, context)
    _draw_buttons(layout, found, named)


def describe(found: Installed | None, named: Path | None) -> tuple[str, str]:
    """The runtime's state in one sentence, and its icon."""
    if named:
        return translated("The worker runs in {}.").format(named), "CHECKMARK"
    if found is None:
        return translated("The texture runtime is not installed yet (PyTorch, diffusers, transformers)."), "INFO"
    sentence, icon = _STATES[found.state]
    return translated(sentence), icon


def _draw_facts(layout: bpy.types.UILayout, context: bpy.types.Context, found: Installed) -> None:
    rows = [(translated("Folder"), str(found.directory))]
    if found.size:
        rows.append((translated("Size"), f"{found.size / 1e9:.2f} GB"))
    if found.device:
        rows.append((translated("Device"), found.device.sentence))
    column = layout.column(align=True)
    for name, value in rows:
        split = column.split(factor=0.12)
        split.label(text=name, icon="BLANK1", translate=False)
        split.label(text=value, translate=False)
    if found.device and found.device.problem:
        draw_sentence(layout, context, f"{found.device.problem}.", "ERROR")
    elif found.lacks_card:
        draw_sentence(layout, context, translated("No NVIDIA card was found, so the processor computes."), "INFO")


def _draw_network(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    if bpy.app.online_access:
        return
    text = translated("Online access is off: nothing is downloaded. All that is on this disk works.")
    draw_sentence(layout, context, text, "INTERNET_OFFLINE")
    if not bpy.app.online_access_override:
        row = layout.row()
        row.alignment = "LEFT"
        row.operator("screen.userpref_show", text="Network Settings").section = "SYSTEM"


def draw_progress(layout: bpy.types.UILayout, task: ChildTask) -> None:
    """The bar and the button that cancels."""
    row = layout.row(align=True)
    row.progress(factor=task.fraction, text=_progress_text(task), type="BAR")
    row.operator("csd.cancel_setup", text="", icon="X")


def _progress_text(task: ChildTask) -> str:
    kind = translated(_KINDS[task.kind])
    return f"{kind}: {translate_sentence(task.detail)}" if task.detail else kind


def _draw_outcome(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    task = setting_up.runner.last
    if task is None or task.kind == "doctor" or not setting_up.problem(task):
        return
    _draw_problem(layout, context, task)
    if setting_up.install_log():
        layout.operator("csd.copy_log", icon="COPYDOWN")


def _draw_problem(layout: bpy.types.UILayout, context: bpy.types.Context, task: ChildTask) -> None:
    draw_sentence(layout, context, setting_up.problem(task), "INFO" if task.cancelled else "ERROR")


def _draw_buttons(layout: bpy.types.UILayout, found: Installed | None, named: Path | None) -> None:
    row = layout.row()
    if found:
        row.operator("csd.install_runtime", text="Repair", icon="TOOL_SETTINGS").repair = True
        row.operator("csd.remove_runtime", text="Remove", icon="TRASH")
    else:
        row.operator("csd.install_runtime", icon="IMPORT")
    row.operator("csd.install_bundle", icon="PACKAGE")
    if named:
        row.operator("csd.use_python", text="Use Our Own Runtime", icon="LOOP_BACK").own = True
    else:
        row.operator("csd.use_python", icon="FILE_SCRIPT")


def draw_doctor(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The findings, the wrong ones first, each with its remedy."""
    task, last = setting_up.runner.current, setting_up.runner.last
    if task and task.kind == "doctor":
        draw_progress(layout, task)
    else:
        row = layout.row()
        row.operator("csd.doctor", icon="VIEWZOOM")
        row.operator("csd.copy_findings", icon="COPYDOWN")
        if last and last.kind == "doctor" and setting_up.problem(last):
            _draw_problem(layout, context, last)
    for finding in sorted(findings(task or last), key=lambda found: found["ok"]):
        draw_sentence(layout, context, finding["sentence"], "CHECKMARK" if finding["ok"] else "ERROR")
        if finding["remedy"]:
            draw_sentence(layout, context, finding["remedy"], "BLANK1")


def findings(task: ChildTask | None) -> list[dict]:
    """What the doctor has found so far, with Blender itself first."""
    if task is None or task.kind != "doctor" or not task.messages:
        return []
    # The child speaks of the Blender that a terminal would use.
    said = [message for message in task.messages if "ok" in message and message["name"] != "blender"]
    version = bpy.app.version_string
    on, off = f"This is Blender {version}; online access is on.", f"This is Blender {version}; online access is off."
    own = on if bpy.app.online_access else off
    return [{"name": "blender", "ok": True, "sentence": own, "remedy": ""}, *said]


def findings_text(task: ChildTask | None) -> str:
    """What the doctor has found as lines for a forum: in English, without the user's name or home folder."""
    lines = [
        f"{'ok     ' if found['ok'] else 'PROBLEM'} {found['name']}: {found['sentence']} {found['remedy']}".rstrip()
        for found in findings(task)
    ]
    return anonymize("\n".join(lines))


class CSD_OT_copy_findings(bpy.types.Operator):
    """Copy what was found to the clipboard, without your name or home folder"""

    bl_idname = "csd.copy_findings"
    bl_label = "Copy Findings"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(findings(setting_up.runner.last))

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = findings_text(setting_up.runner.last)
        return {"FINISHED"}
