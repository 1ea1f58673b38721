"""The history: every run is kept, can be seen again, recalled, put on the object again, and deleted."""

import time

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked
from bpy.props import StringProperty

from ..drive import object_job
from ..drive.apply_kept import apply_kept, entry_settings
from ..jobs.history import Entry, delete_run
from . import guidance, output, past_runs
from .properties import NAMES
from .session import session
from .subpanels import SubPanel
from .translations import translate_sentence

_STATES = {"cancelled": marked("Cancelled"), "unfinished": marked("No result"), "damaged": marked("Damaged")}
# Edge of a run's picture, in units of the interface: as high as the lines beside it.
_PICTURE = 3.4
_AGES = ((86400, marked("{} d ago")), (3600, marked("{} h ago")), (60, marked("{} min ago")))


class _RunOperator:
    """Something that is done with one run of the history."""

    run: StringProperty(name="Run", description="Name of the run's job folder", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            self.act(context, past_runs.find(self.run))
        except object_job.REFUSALS as error:
            self.report({"ERROR"}, translate_sentence(str(error)))
            return {"CANCELLED"}
        return {"FINISHED"}


class CSD_OT_recall_settings(_RunOperator, bpy.types.Operator):
    """Fill the settings in as they were for this run"""

    bl_idname = "csd.recall_settings"
    bl_label = "Recall Settings"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """With the seed, for which a run's line in the panel has no room."""
        tip = translated("Fill the settings in as they were for this run")
        entry = next((e for e in past_runs.shown() if e.folder.path.name == properties.run), None)
        seed = entry.settings.get("seed") if entry else None
        return tip if seed is None else translated("{}: seed {}").format(tip, seed)

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        settings = entry_settings(entry)
        # An edit takes size and UV map from its source, a new texture has no words of an edit.
        others = ("size", "uv_map") if entry.is_edit else ("target", "remove", "strength", "mask", "keep")
        scene = context.scene.csd
        scene.mode = settings.kind.upper()
        for name in set(NAMES) - set(others):
            setattr(scene, name, getattr(settings, name))
        if unseen := guidance.recall(scene.guidance, settings):
            names = ", ".join(sorted(unseen))
            told = translated("The panel has no place for these values of the run: {}.").format(names)
            self.report({"WARNING"}, told)


class CSD_OT_apply_again(_RunOperator, bpy.types.Operator):
    """Put the kept result of this run on the active object again"""

    bl_idname = "csd.apply_again"
    bl_label = "Apply Again"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.is_running:
            cls.poll_message_set("A texture is growing: stop or cancel it first")
            return False
        if context.object is None or context.object.type != "MESH":
            cls.poll_message_set("Select the mesh that should get the texture")
            return False
        return True

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        for note in apply_kept(context.object, entry, output.place(context.scene)):
            self.report({"INFO"}, note)


class CSD_OT_open_job_folder(_RunOperator, bpy.types.Operator):
    """Show the folder with everything that belongs to this run"""

    bl_idname = "csd.open_job_folder"
    bl_label = "Open Folder"
    bl_options = {"INTERNAL"}

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        bpy.ops.wm.path_open(filepath=str(entry.folder.path))


class CSD_OT_delete_run(_RunOperator, bpy.types.Operator):
    """Delete this run with everything that was kept of it. Textures on objects stay"""

    bl_idname = "csd.delete_run"
    bl_label = "Delete Run"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(
            self, event, title="Delete this run?", icon="WARNING", confirm_text="Delete",
            message="Its settings and its result are deleted from disk. Textures on objects stay.",
        )  # fmt: skip

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        if _is_running(entry):
            raise ValueError(translated("This run is still growing: stop or cancel it first."))
        try:
            delete_run(entry.folder, past_runs.folder())
        finally:
            past_runs.refresh()


class CSD_OT_refresh_history(bpy.types.Operator):
    """Read the history from disk again"""

    bl_idname = "csd.refresh_history"
    bl_label = "Refresh"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        past_runs.refresh()
        return {"FINISHED"}


class CSD_OT_more_history(bpy.types.Operator):
    """Show older runs too"""

    bl_idname = "csd.more_history"
    bl_label = "Show More"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        past_runs.show_more()
        return {"FINISHED"}


class CSD_PT_history(SubPanel, bpy.types.Panel):
    """Earlier runs with their pictures, newest first."""

    bl_idname = "CSD_PT_history"
    bl_label = "History"

    def draw(self, context: bpy.types.Context) -> None:
        past_runs.wake()
        layout, entries = self.layout, past_runs.entries()
        if entries is None:
            layout.label(text="Reading the history...")
            return
        if not entries:
            layout.label(text="No runs yet", icon="INFO")
        shown = past_runs.shown()
        for entry in shown:
            _draw_entry(layout.box(), entry)
        if len(shown) < len(entries):
            layout.operator("csd.more_history", icon="TRIA_DOWN")
        row = layout.row()
        used = size_text(sum(entry.size for entry in entries))
        row.label(text=translated("{} runs, {} on disk").format(len(entries), used), translate=False)
        row.operator("csd.refresh_history", text="", icon="FILE_REFRESH", emboss=False)


def _draw_entry(box: bpy.types.UILayout, entry: Entry) -> None:
    # A row would make the picture narrower than it is high.
    split = box.split(factor=0.31)
    split.template_icon(past_runs.icon(entry, "thumbnail") or _blank(entry), scale=_PICTURE)
    column = split.column(align=True)
    title = entry.words or entry.folder.path.name
    column.label(text=title, translate=False, icon="GREASEPENCIL" if entry.is_edit else "NONE")
    details = column.column(align=True)
    details.active = False
    details.label(text=" · ".join(_details(entry)), translate=False)
    buttons = column.row(align=True)
    _draw_buttons(buttons, entry)


def _draw_buttons(row: bpy.types.UILayout, entry: Entry) -> None:
    name = entry.folder.path.name
    recall = row.row(align=True)
    recall.enabled = bool(entry.settings)
    recall.operator("csd.recall_settings", text="Recall", icon="LOOP_BACK").run = name
    if entry.state in ("cancelled", "unfinished") and not _is_running(entry):
        row.operator("csd.resume", text="", icon="PLAY").folder = str(entry.folder.path)
    else:
        apply = row.row(align=True)
        apply.enabled = entry.state == "done"
        apply.operator("csd.apply_again", text="", icon="TEXTURE").run = name
    row.operator("csd.open_job_folder", text="", icon="FILE_FOLDER").run = name
    row.operator("csd.delete_run", text="", icon="TRASH").run = name


def _blank(entry: Entry) -> int:
    """The number of the icon of a run without a picture."""
    name = "ERROR" if entry.state == "damaged" else "TEXTURE"
    return bpy.types.UILayout.bl_rna.functions["prop"].parameters["icon"].enum_items[name].value


def _details(entry: Entry) -> list[str]:
    """What is said below the words: when, and how it ended."""
    return [age_text(time.time() - entry.date), _ending(entry)]


def _ending(entry: Entry) -> str:
    if entry.state == "done":
        return translated("{:.0f} s").format(entry.seconds)
    return translated("Growing") if _is_running(entry) else translated(_STATES[entry.state])


def _is_running(entry: Entry) -> bool:
    return session.task is not None and session.task.folder.path == entry.folder.path


def age_text(seconds: float) -> str:
    """How long ago that is, in the words of the interface."""
    for unit, text in _AGES:
        if seconds >= unit:
            return translated(text).format(int(seconds // unit))
    return translated("just now")


def size_text(size: float) -> str:
    """Bytes in the largest unit that leaves a number of at least one."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} kB"


CLASSES = (
    CSD_OT_recall_settings,
    CSD_OT_apply_again,
    CSD_OT_open_job_folder,
    CSD_OT_delete_run,
    CSD_OT_refresh_history,
    CSD_OT_more_history,
    CSD_PT_history,
)
