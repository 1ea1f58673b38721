"""The operators on the worker's environment: its installation, and the log of its last job."""

import json
import subprocess
import sys
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated

from ..jobs.process import make_non_blocking, own_group, program_folder, read_available
from . import session, window


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
        self._timer = context.window_manager.event_timer_add(session.TICK, window=context.window)
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
        window.redraw()
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
            self.report({"INFO"}, translated("The texture runtime is installed."))
            return {"FINISHED"}
        ended = translated("The installer ended with exit code {}.").format(self._child.returncode)
        self.report({"ERROR"}, problem or ended)
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
            self.report({"ERROR"}, translated("The log {} is gone.").format(path))
            return {"CANCELLED"}
        context.window_manager.clipboard = path.read_text(encoding="utf-8", errors="replace")
        return {"FINISHED"}


def _start_installer() -> subprocess.Popen:
    """The command line's own installer, in a process of its own, with JSON lines on its stdout."""
    child = subprocess.Popen(
        [sys.executable, "-s", "-m", "csd_addon", "runtime", "install", "--json"], cwd=program_folder(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **own_group(),
    )  # fmt: skip
    make_non_blocking(child.stdout.fileno())
    return child
