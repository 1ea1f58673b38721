"""The operators. ``execute`` alone does the job (scripts, ``--background``); ``invoke`` and ``modal`` only wait."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import bpy

from ..jobs.folder import new_folder
from ..jobs.job import Job
from ..jobs.process import make_non_blocking, own_group, program_folder, read_available
from ..jobs.state import JobState
from ..runtime.errors import RuntimeMissing, TeacherMissing
from ..runtime.paths import Paths, default_base
from ..scene.material import base_color_image, revert, undo_edit
from . import driver, session
from .properties import SettingsMixin, read_settings

_TICK = 0.1
# What can go wrong before a job runs; each carries one sentence for the artist.
_REFUSALS = (ValueError, RuntimeMissing, TeacherMissing, OSError)


class _JobOperator(SettingsMixin):
    """A job on the active object, in this call (``execute``) or beside the window (``invoke``)."""

    kind: str

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.running():
            cls.poll_message_set("A texture is already growing: stop or cancel it first")
            return False
        if context.object is None:
            cls.poll_message_set("Select the mesh that should get a texture")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do the job and return when the texture is on the object."""
        try:
            task, job = self._start(context)
            return self._conclude(task, driver.wait(job).state)
        except _REFUSALS as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start the job and let Blender go on; ``modal`` finishes it."""
        try:
            session.begin(*self._start(context))
        except _REFUSALS as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(_TICK, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type != "TIMER" or not (running := session.running()):
            return {"PASS_THROUGH"} if session.running() else self._leave(context, {"CANCELLED"})
        task, job = running
        before = job.state
        state = job.poll()
        if state is not before:
            _redraw(context)
        if not state.ended:
            return {"PASS_THROUGH"}
        session.end()
        try:
            return self._leave(context, self._conclude(task, state))
        except _REFUSALS as error:
            self.report({"ERROR"}, str(error))
            return self._leave(context, {"CANCELLED"})

    def _start(self, context: bpy.types.Context) -> tuple[driver.Task, Job]:
        """Check everything, write the job folder and start; a refusal leaves nothing behind."""
        folder = new_folder(Paths(default_base()).jobs)
        try:
            task = driver.prepare(context.object, read_settings(context.scene, self.kind, self), folder)
            return task, driver.launch(task)
        except _REFUSALS:
            shutil.rmtree(folder.path)
            raise

    def _conclude(self, task: driver.Task, state: JobState) -> set[str]:
        """Put the result on the object, or say why there is none."""
        for sentence in state.warnings:
            self.report({"WARNING"}, sentence)
        if state.done:
            for note in driver.finish(task, Path(state.done.paths["basecolor"]), file=None):
                self.report({"INFO"}, note)
            return {"FINISHED"}
        driver.discard(task)
        if state.error:
            self.report({"ERROR"}, state.error.sentence)
        else:
            self.report({"WARNING"}, f"Cancelled; what was reached is kept in {task.folder.path}.")
        return {"CANCELLED"}

    def _leave(self, context: bpy.types.Context, result: set[str]) -> set[str]:
        context.window_manager.event_timer_remove(self._timer)
        _redraw(context)
        return result


class CSD_OT_texture(_JobOperator, bpy.types.Operator):
    """Grow a texture on the active mesh from the prompt"""

    bl_idname = "csd.texture"
    bl_label = "Texture"
    bl_options = {"REGISTER", "UNDO"}
    kind = "texture"


class CSD_OT_edit(_JobOperator, bpy.types.Operator):
    """Change the texture of the active mesh from what Remove says to what Target says"""

    bl_idname = "csd.edit"
    bl_label = "Edit"
    bl_options = {"REGISTER", "UNDO"}
    kind = "edit"


class CSD_OT_stop_and_keep(bpy.types.Operator):
    """Stop now and keep the texture as far as it has grown"""

    bl_idname = "csd.stop_and_keep"
    bl_label = "Stop and Keep"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.running() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.running()[1].stop_and_keep()
        return {"FINISHED"}


class CSD_OT_cancel(bpy.types.Operator):
    """Stop now and leave the object as it was"""

    bl_idname = "csd.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.running() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.running()[1].cancel()
        return {"FINISHED"}


class CSD_OT_undo_edit(bpy.types.Operator):
    """Show the texture again that was there before the last edit"""

    bl_idname = "csd.undo_edit"
    bl_label = "Back to Source"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll_ours(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        name = undo_edit(context.object)
        self.report({"INFO"}, f"'{context.object.name}' shows {repr(name) if name else 'no image'} again.")
        return {"FINISHED"}


class CSD_OT_revert(bpy.types.Operator):
    """Remove the texture and put the material back as it was"""

    bl_idname = "csd.revert"
    bl_label = "Revert"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll_ours(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        count = revert(context.object)
        self.report({"INFO"}, f"Put back {count} material{'' if count == 1 else 's'} of '{context.object.name}'.")
        return {"FINISHED"}


class CSD_OT_install_runtime(bpy.types.Operator):
    """Install PyTorch, diffusers and transformers for the worker, outside of Blender's own Python"""

    bl_idname = "csd.install_runtime"
    bl_label = "Install Runtime"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set("Allow online access in Preferences > System, or start without --offline-mode")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Install and return when it is done."""
        self._child = _start_installer()
        while self._child.poll() is None:
            self._read()
        return self._conclude()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._child = _start_installer()
        self._timer = context.window_manager.event_timer_add(_TICK, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        ended = self._child.poll() is not None
        context.workspace.status_text_set(f"CSD Texture: {self._read()}")
        if not ended:
            return {"PASS_THROUGH"}
        context.workspace.status_text_set(None)
        context.window_manager.event_timer_remove(self._timer)
        _redraw(context)
        return self._conclude()

    _said = b""

    def _read(self) -> str:
        """The newest sentence of the installer."""
        self._said += read_available(self._child.stdout.fileno()) or b""
        lines = self._said.split(b"\n")[:-1]
        return json.loads(lines[-1]).get("detail", "") if lines else "starting"

    def _conclude(self) -> set[str]:
        self._read()
        lines = [json.loads(line) for line in self._said.split(b"\n") if line.strip()]
        problem = next((line["sentence"] for line in lines if line["type"] == "error"), None)
        if self._child.returncode == 0:
            self.report({"INFO"}, "The texture runtime is installed.")
            return {"FINISHED"}
        self.report({"ERROR"}, problem or f"The installer ended with exit code {self._child.returncode}.")
        return {"CANCELLED"}


class CSD_OT_copy_log(bpy.types.Operator):
    """Copy the newest job's log to the clipboard"""

    bl_idname = "csd.copy_log"
    bl_label = "Copy Log"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(session.last_log())

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(session.last_log())
        if not path.is_file():
            self.report({"ERROR"}, f"The log {path} is gone.")
            return {"CANCELLED"}
        context.window_manager.clipboard = path.read_text(encoding="utf-8", errors="replace")
        return {"FINISHED"}


def _poll_ours(cls: type, context: bpy.types.Context) -> bool:
    if context.object is None or base_color_image(context.object) is None:
        cls.poll_message_set("The active object carries no texture of CSD Texture")
        return False
    return True


def _start_installer() -> subprocess.Popen:
    """The command line's own installer, in a process of its own, with JSON lines on its stdout."""
    child = subprocess.Popen(
        [sys.executable, "-s", "-m", "csd_addon", "runtime", "install", "--json"], cwd=program_folder(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **own_group(),
    )  # fmt: skip
    make_non_blocking(child.stdout.fileno())
    return child


def _redraw(context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
