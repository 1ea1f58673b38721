"""The paper's diagnostics from the panel: losses compared on the active object, their verdicts and pictures.

A diagnosis is a job like any other (``drive.object_job``, ``session``), but nothing is put on the object.
"""

from dataclasses import replace

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..core.settings import JobSettings
from ..drive import object_job
from ..jobs.comparison import Verdict
from ..scene.lookup import ObjectKey
from . import comparisons, obstacles
from .progress import draw_sentence
from .properties import SettingsMixin, read_settings
from .session import Item, session
from .subpanels import SubPanel

_TITLES = {
    "sweep": marked("SDS at Four Weights, and CSD"), "negatives": marked("Without and with a Negative Prompt"),
    "norms": marked("Gradient Norms of SDS at Weight 40"),
}  # fmt: skip


class CSD_OT_diagnose(SettingsMixin, bpy.types.Operator):
    """Grow seven textures of the active object, with other losses, and compare them. The object stays as it is"""

    bl_idname = "csd.diagnose"
    bl_label = "Compare Losses"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.is_running:
            cls.poll_message_set("A texture is already growing: stop or cancel it first")
            return False
        if context.object is None:
            cls.poll_message_set("Select the mesh on which losses are to be compared")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make all runs and return when the figures are there."""
        try:
            state = object_job.wait(object_job.start(context.object, settings_of(context.scene, self))[1]).state
        except object_job.REFUSALS as error:
            return obstacles.refuse(self, context, error)
        for sentence in state.warnings:
            self.report({"WARNING"}, sentence)
        if not state.done:
            self.report({"ERROR"}, state.error.sentence if state.error else translated("Cancelled."))
            return {"CANCELLED"}
        comparisons.refresh()
        for verdict in comparisons.newest().verdicts:
            self.report({"INFO"}, f"{verdict_text(verdict)}: {verdict.figures}")
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start the runs and let Blender go on; ``session`` notices their end."""
        try:
            session.start([Item(ObjectKey.of(context.object), settings_of(context.scene, self))])
        except object_job.REFUSALS as error:
            return obstacles.refuse(self, context, error)
        return {"INTERFACE"}


def settings_of(scene: bpy.types.Scene, operator: bpy.types.Operator) -> JobSettings:
    """The scene's settings for a diagnosis; what only says where a result goes does not matter."""
    settings = read_settings(scene, "diagnosis", operator)
    given = operator.properties.is_property_set("iterations")
    steps = settings.iterations if given else scene.csd.diagnosis_steps
    return replace(settings, iterations=steps, uv_map="", overlaps="first", images="one")


class CSD_PT_diagnosis(SubPanel, bpy.types.Panel):
    """Starts a comparison of losses, and shows the newest one."""

    bl_idname = "CSD_PT_diagnosis"
    bl_label = "Compare Losses"
    bl_parent_id = "CSD_PT_diagnostics"

    def draw(self, context: bpy.types.Context) -> None:
        comparisons.wake()
        _draw_start(self.layout.column(), context)
        if newest := comparisons.newest():
            self.layout.separator()
            self.layout.label(text=newest.words, translate=False)
            for verdict in newest.verdicts:
                draw_sentence(self.layout, context, verdict_text(verdict), "CHECKMARK" if verdict.shows else "X")
                _draw_figures(self.layout, context, verdict.figures)
            for name, path in newest.pictures.items():
                _draw_picture(self.layout, name, str(path))
            folder = self.layout.operator("wm.path_open", text="Open Folder", icon="FILE_FOLDER")
            folder.filepath = str(newest.folder.result)


def _draw_start(column: bpy.types.UILayout, context: bpy.types.Context) -> None:
    obstacle = None if session.is_running else obstacles.find_for_diagnosis(context)
    if obstacle:
        box = column.box().column()
        draw_sentence(box, context, obstacle.sentence, "INFO" if obstacle.final else "ERROR")
        if obstacle.remedy:
            obstacle.remedy(box)
    else:
        about = translated("Grows seven textures from the prompt, by SDS and by CSD, and leaves the object as it is.")
        draw_sentence(column, context, about, "INFO")
    row = column.row()
    row.use_property_split = True
    row.use_property_decorate = False
    row.prop(context.scene.csd, "diagnosis_steps")
    button = column.row()
    button.scale_y = 1.4
    button.enabled = obstacle is None or not obstacle.final
    button.operator("csd.diagnose", icon="GRAPH")


def verdict_text(verdict: Verdict) -> str:
    """The claim and whether it shows, in the language of the interface."""
    form = translated("Shows: {}") if verdict.shows else translated("Does not show: {}")
    return form.format(translated(verdict.claim))


def _draw_figures(layout: bpy.types.UILayout, context: bpy.types.Context, figures: str) -> None:
    column = layout.column()
    column.active = False
    draw_sentence(column, context, figures, "BLANK1")


def _draw_picture(layout: bpy.types.UILayout, name: str, path: str) -> None:
    column = layout.column(align=True)
    column.label(text=_TITLES[name])
    if icon := comparisons.icon(name):
        column.template_icon(icon, scale=11)
    column.operator("wm.path_open", text="Open Picture", icon="IMAGE_DATA").filepath = path
