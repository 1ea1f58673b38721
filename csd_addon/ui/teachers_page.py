"""The teachers' part of the preferences: what there is, and downloading, checking, removing, or naming a folder.

A download or a check runs in a process of its own (``teacher_task``). ``draw`` looks at files only.
"""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..runtime.errors import RuntimeMissing, TeacherMissing
from ..runtime.folders import format_size
from ..runtime.paths import Paths, default_base
from ..runtime.teachers import catalogue, downloaded
from ..runtime.teachers.remote import REMOTE_TEACHERS, RemoteTeacher, find_remote_teacher
from . import obstacles, teacher_task

_STATES = {
    "ready": (marked("On this disk"), "CHECKMARK"),
    "begun": (marked("Begun, not complete"), "INFO"),
    "absent": (marked("Not on this disk"), "IMPORT"),
}

class _TeacherOperator:
    """What the operators share: the teacher's name, and that only one of them works at a time."""

    bl_options = {"INTERNAL"}
    identifier: bpy.props.StringProperty(default="sd15", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if teacher_task.runner.current is not None:
            cls.poll_message_set("Another download or check is running")
            return False
        return True


class CSD_OT_download_teacher(_TeacherOperator, bpy.types.Operator):
    """Show what would be downloaded, from whom, how large and under which licence; nothing starts before you agree"""

    bl_idname = "csd.download_teacher"
    bl_label = "Download Teacher"

    agree: bpy.props.BoolProperty(
        name="I agree to these licences", description="Without your consent nothing is downloaded",
        options={"SKIP_SAVE"},
    )  # fmt: skip

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set("Allow online access in Preferences > System, or start without --offline-mode")
            return False
        return super().poll(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self, width=560, confirm_text="Download")

    def draw(self, context: bpy.types.Context) -> None:
        _draw_consent(self.layout, find_remote_teacher(self.identifier))
        self.layout.prop(self, "agree")

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.agree:
            self.report({"ERROR"}, translated("Nothing was downloaded: agree to the licences first."))
            return {"CANCELLED"}
        try:
            find_remote_teacher(self.identifier)
        except TeacherMissing as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return _reported(self, teacher_task.start("download", self.identifier))


class CSD_OT_cancel_download(bpy.types.Operator):
    """Stop the download or check; what has come is kept and the next download continues there"""

    bl_idname = "csd.cancel_download"
    bl_label = "Cancel Download"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return teacher_task.runner.current is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        teacher_task.runner.cancel()
        return {"FINISHED"}


class CSD_OT_verify_teacher(_TeacherOperator, bpy.types.Operator):
    """Read every file of this teacher and compare it with what was published"""

    bl_idname = "csd.verify_teacher"
    bl_label = "Verify"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return _reported(self, teacher_task.start("verify", self.identifier))


class CSD_OT_remove_teacher(_TeacherOperator, bpy.types.Operator):
    """Delete the downloaded files of this teacher from the disk"""

    bl_idname = "csd.remove_teacher"
    bl_label = "Remove Teacher"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            kept = downloaded.remove(find_remote_teacher(self.identifier), Paths(default_base()))
        except (RuntimeMissing, TeacherMissing, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        left = translated("Files that are not from the download were left: {}.")
        teacher_task.note_removal(left.format(", ".join(path.name for path in kept[:5])) if kept else "")
        return {"FINISHED"}


class CSD_OT_use_teacher_folder(bpy.types.Operator):
    """Use a model that is on this disk: a folder in diffusers layout, or a .safetensors file"""

    bl_idname = "csd.use_teacher_folder"
    bl_label = "Use My Folder"
    bl_options = {"INTERNAL"}

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    filter_glob: bpy.props.StringProperty(default="*.safetensors", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(bpy.path.abspath(self.filepath)).absolute()
        try:
            found = catalogue.find_teacher(str(path), Paths(default_base()))
        except TeacherMissing as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        context.scene.csd.teacher = str(found.root)
        self.report({"INFO"}, translated("The scene's teacher is now {}.").format(found.root))
        return {"FINISHED"}


def _reported(operator: bpy.types.Operator, result: set[str]) -> set[str]:
    if outcome := teacher_task.outcome():
        operator.report({"INFO"} if outcome[0] else {"ERROR"}, outcome[1])
    return result


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """All teachers with their states and buttons."""
    for name in catalogue.BUNDLED:
        row = layout.row()
        row.label(text=name, icon="CHECKMARK", translate=False)
        row.label(text="Comes with the program")
    for teacher in REMOTE_TEACHERS:
        _draw_remote_teacher(layout.box(), teacher)
    if outcome := teacher_task.outcome():
        layout.label(text=outcome[1], icon="CHECKMARK" if outcome[0] else "ERROR", translate=False)
    row = layout.row()
    layout.prop(context.scene.csd, "lora")
    row.operator("csd.use_teacher_folder", icon="FILE_FOLDER")
    row.label(text=translated("Teacher of this scene: {}").format(context.scene.csd.teacher), translate=False)


def _draw_remote_teacher(layout: bpy.types.UILayout, teacher: RemoteTeacher) -> None:
    found = downloaded.state(teacher, Paths(default_base()))
    # Not from us, but a job would use it: a copy in Hugging Face's cache.
    elsewhere = obstacles.teacher_folder(teacher.identifier) if found.status == "absent" else None
    words, icon = _STATES["ready" if elsewhere else found.status]
    split = layout.split(factor=0.7)
    split.label(text=teacher.title, icon=icon, translate=False)
    split.label(text=words)
    size = _size(teacher)
    layout.label(text=f"{size}   {', '.join(licence.name for licence in teacher.licences)}", translate=False)
    task = teacher_task.runner.current
    if task is not None and task.about == teacher.identifier:
        row = layout.row()
        checking = translated("Reading every file")
        text = checking if task.kind == "verify" else task.detail or translated("Connecting")
        row.progress(factor=task.fraction, text=text)
        row.operator("csd.cancel_download", text="", icon="X")
        return
    if elsewhere:
        layout.label(text=str(elsewhere), icon="FILE_FOLDER", translate=False)
        return
    row = layout.row()
    if found.status != "ready":
        button = row.operator(
            "csd.download_teacher", text="Continue Download" if found.status == "begun" else "Download", icon="IMPORT"
        )
        button.identifier = teacher.identifier
    if found.status != "absent":
        row.operator("csd.verify_teacher", icon="VIEWZOOM").identifier = teacher.identifier
        row.operator("csd.remove_teacher", text="Remove", icon="TRASH").identifier = teacher.identifier


def _draw_consent(layout: bpy.types.UILayout, teacher: RemoteTeacher) -> None:
    found = downloaded.state(teacher, Paths(default_base()))
    column = layout.column(align=True)
    column.label(text=teacher.title, icon="IMPORT", translate=False)
    rows = [(translated("From"), publisher) for publisher in teacher.publishers]
    rows.append((translated("Size"), _size(teacher)))
    if found.done:
        rows.append((translated("Already here"), format_size(found.done)))
    for name, value in (*rows, (translated("To the folder"), str(found.folder))):
        split = column.split(factor=0.2)
        split.label(text=name, translate=False)
        split.label(text=value, translate=False)
    for licence in teacher.licences:
        split = column.split(factor=0.2)
        split.label(text="Licence")
        split.operator("wm.url_open", text=licence.name, icon="URL", translate=False).url = licence.address
    column.label(text="Commercial use is allowed; some uses that the licence lists are not", icon="INFO")


def _size(teacher: RemoteTeacher) -> str:
    size = format_size(teacher.size)
    return size if teacher.exact else translated("about {}").format(size)


CLASSES = (
    CSD_OT_download_teacher,
    CSD_OT_cancel_download,
    CSD_OT_verify_teacher,
    CSD_OT_remove_teacher,
    CSD_OT_use_teacher_folder,
)
