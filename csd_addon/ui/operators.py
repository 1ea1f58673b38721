"""The operators that run jobs. ``execute`` alone does the job (scripts, ``--background``).

``invoke``, which is what a click calls, hands all selected meshes to the window's session and returns at once.
"""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..drive import apply_result, object_job
from ..drive.prepare_job import Task
from ..drive.resume_job import reopen
from ..jobs.folder import JobFolder
from ..jobs.state import JobState
from ..scene.lookup import ObjectKey
from . import obstacles, output
from .properties import SettingsMixin, read_settings
from .session import Item, session


class _JobOperator(SettingsMixin):
    """A job on the active object, in this call (``execute``), or on all selected ones beside the window."""

    kind: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.is_running:
            cls.poll_message_set("A texture is already growing: stop or cancel it first")
            return False
        if context.object is None:
            cls.poll_message_set("Select the mesh that should get a texture")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do the job on the active object and return when the texture is on it."""
        try:
            place = output.place(context.scene)
            task, job = object_job.start(context.object, read_settings(context.scene, self.kind, self))
            return self._conclude(task, object_job.wait(job).state, place)
        except object_job.REFUSALS as error:
            return obstacles.refuse(self, context, error)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start the jobs and let Blender go on; ``session`` finishes them."""
        try:
            settings, place = read_settings(context.scene, self.kind, self), output.place(context.scene)
            session.start([Item(ObjectKey.of(obj), settings, place) for obj in selected_meshes(context)])
        except object_job.REFUSALS as error:
            return obstacles.refuse(self, context, error)
        # Started, not done: no undo step yet, and nothing to adjust.
        return {"INTERFACE"}

    def _conclude(self, task: Task, state: JobState, place: output.Place | None) -> set[str]:
        """Put the result on the object, or say why there is none."""
        for sentence in state.warnings:
            self.report({"WARNING"}, sentence)
        if state.done:
            for note in apply_result.finish(task, Path(state.done.paths["basecolor"]), place=place):
                self.report({"INFO"}, note)
            return {"FINISHED"}
        if state.error:
            self.report({"ERROR"}, state.error.sentence)
        else:
            kept = translated("Cancelled. What was reached is kept in {}.").format(task.folder.path)
            self.report({"WARNING"}, kept)
        return {"CANCELLED"}


def selected_meshes(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The active object, then the other selected meshes; an active object that is not selected stands alone."""
    active = context.object
    others = [obj for obj in context.selected_objects if obj.type == "MESH" and obj is not active]
    return [active, *(others if active.select_get() else [])]


class CSD_OT_texture(_JobOperator, bpy.types.Operator):
    """Grow a texture on the selected meshes from the prompt"""

    bl_idname = "csd.texture"
    bl_label = "Texture"
    bl_options = {"REGISTER", "UNDO"}
    kind = "texture"


class CSD_OT_edit(_JobOperator, bpy.types.Operator):
    """Change the texture of the selected meshes from what Remove says to what Target says"""

    bl_idname = "csd.edit"
    bl_label = "Edit"
    bl_options = {"REGISTER", "UNDO"}
    kind = "edit"


class _WhileRunning:
    """For operators that act on the running job."""

    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.is_running


class CSD_OT_stop_and_keep(_WhileRunning, bpy.types.Operator):
    """Stop now and keep the texture as far as it has grown"""

    bl_idname = "csd.stop_and_keep"
    bl_label = "Stop and Keep"

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.job.stop_and_keep()
        return {"FINISHED"}


class CSD_OT_cancel(_WhileRunning, bpy.types.Operator):
    """Stop now and leave the object as it was; waiting objects are dropped"""

    bl_idname = "csd.cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.cancel()
        return {"FINISHED"}


class CSD_OT_drop(_WhileRunning, bpy.types.Operator):
    """Take this object out of the queue"""

    bl_idname = "csd.drop"
    bl_label = "Take Out of the Queue"

    index: bpy.props.IntProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.drop(self.index)
        return {"FINISHED"}


class CSD_OT_resume(bpy.types.Operator):
    """Go on where the last texture stopped growing"""

    bl_idname = "csd.resume"
    bl_label = "Resume"
    bl_options = {"INTERNAL"}

    folder: bpy.props.StringProperty(
        name="Job Folder", subtype="DIR_PATH", options={"SKIP_SAVE"},
        description="The job to go on with; empty for the last one",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.is_running:
            cls.poll_message_set("A texture is already growing: stop or cancel it first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start it; in a window ``session`` finishes it, without one this call waits."""
        try:
            task = self._task()
            session.begin(task, object_job.launch(task, resume=True), output.place(context.scene))
        except object_job.REFUSALS as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        if bpy.app.background:
            session.wait()
        return {"FINISHED"}

    def _task(self) -> Task:
        last = session.last_task
        if self.folder:
            return reopen(JobFolder(Path(bpy.path.abspath(self.folder))))
        if last is None:
            raise ValueError(translated("There is no texture to go on with; choose one in the history."))
        return reopen(last.folder, last.key)


class CSD_OT_dismiss(bpy.types.Operator):
    """Clear this message"""

    bl_idname = "csd.dismiss"
    bl_label = "Dismiss"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.forget()
        return {"FINISHED"}
