"""The operators on the worker's environment: install, repair, remove, another Python, and the log."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..runtime.environment import lockfile, planning, sizes
from ..runtime.environment.interpreter import has_nvidia
from ..runtime.errors import RuntimeMissing
from ..runtime.paths import Paths, default_base
from . import runtime_page, setting_up
from .progress import draw_sentence
from .session import session

ACCELERATORS = (
    (lockfile.AUTO, "Automatic", "NVIDIA's CUDA where its driver is found, else what this computer offers"),
    ("cpu", "Processor", "Smallest; on Linux only from a bundle or a folder of wheels"),
    ("cuda", "NVIDIA CUDA", "For NVIDIA graphics cards; several GB"),
    ("mps", "Apple GPU", "For Apple silicon"),
)
_NO_CARD = marked(
    "No NVIDIA card was found. The registry has no smaller build for Linux; this one computes on the processor."
)


class _Setup:
    """What the operators share: only one works at a time, in a window without waiting."""

    bl_options = {"INTERNAL"}
    _in_window = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if setting_up.runner.current:
            cls.poll_message_set("Another installation or check is under way")
            return False
        if session.is_running:
            cls.poll_message_set("A texture is growing in the runtime; wait for it or cancel it")
            return False
        return True

    def _start(self, context: bpy.types.Context, kind: str, *words: str) -> set[str]:
        task = setting_up.start(kind, *words)
        if self._in_window:
            bpy.ops.csd.watch_setup("INVOKE_DEFAULT")
            return {"FINISHED"}
        setting_up.runner.wait()
        if problem := setting_up.problem(task):
            self.report({"ERROR"}, problem)
            return {"CANCELLED"}
        return {"FINISHED"}


class CSD_OT_install_runtime(_Setup, bpy.types.Operator):
    """Install PyTorch, diffusers and transformers for the worker, outside of Blender's own Python"""

    bl_idname = "csd.install_runtime"
    bl_label = "Install Runtime"

    accelerator: bpy.props.EnumProperty(
        name="Device", description="What PyTorch is built for", items=ACCELERATORS, options={"SKIP_SAVE"},
    )  # fmt: skip
    repair: bpy.props.BoolProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not bpy.app.online_access:
            cls.poll_message_set("Allow online access in Preferences > System, or start without --offline-mode")
            return False
        return super().poll(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._in_window = True
        found = runtime_page.find() if self.repair else None
        self.accelerator = found.accelerator if found else lockfile.AUTO
        self._look()
        if self._plan is None and found:
            # Its list can't be installed from here any more, as when it came from a bundle.
            self.accelerator = lockfile.AUTO
            self._look()
        return context.window_manager.invoke_props_dialog(
            self, width=600, title="Repair Runtime" if self.repair else "Install Runtime",
            confirm_text="Repair" if self.repair else "Install",
        )  # fmt: skip

    def check(self, context: bpy.types.Context) -> bool:
        self._look()
        return True

    def _look(self) -> None:
        """Find out what would be installed; asks the Pythons of this machine, which takes a second or two."""
        try:
            self._plan = planning.plan_worker(Paths(default_base()), accelerator=self.accelerator)
            self._refusal = ""
        except RuntimeMissing as error:
            self._plan, self._refusal = None, str(error)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        if self._plan is None:
            draw_sentence(layout, context, self._refusal, "ERROR")
        else:
            _draw_consent(layout.column(align=True), self._plan)
            if self._plan.accelerator == "cuda" and not has_nvidia():
                draw_sentence(layout, context, translated(_NO_CARD), "INFO")
        layout.prop(self, "accelerator")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Install; without a window, return when it is done."""
        action = "repair" if self.repair else "install"
        return self._start(context, action, "runtime", action, "--accelerator", self.accelerator)


def _draw_consent(layout: bpy.types.UILayout, plan: planning.Plan) -> None:
    where = plan.installer.settings.index_url or translated("the Python Package Index")
    licences = [(translated("Licence"), translated("BSD-3-Clause, Apache-2.0 and other free ones"))]
    if plan.accelerator == "cuda":
        licences.append(("", translated("NVIDIA's own for the CUDA libraries")))
    size = translated("about {} GB to fetch, {} GB on the disk").format(
        sizes.DOWNLOAD_GB[plan.accelerator], sizes.INSTALLED_GB[plan.accelerator]
    )
    built_for = next(name for identifier, name, _ in ACCELERATORS if identifier == plan.accelerator)
    rows = (
        (translated("What"), translated("PyTorch, diffusers, transformers and what they need")),
        (translated("From"), where),
        (translated("Size"), size),
        (translated("For"), translated(built_for)),
        *licences,
        (translated("Into"), str(plan.directory)),
        (translated("Python"), str(plan.interpreter.executable)),
    )
    for name, value in rows:
        split = layout.split(factor=0.16)
        split.label(text=name, translate=False)
        split.label(text=value, translate=False)


class CSD_OT_watch_setup(bpy.types.Operator):
    """Cancel the installation with Esc while the pointer is over the preferences or the panel"""

    bl_idname = "csd.watch_setup"
    bl_label = "Watch the Installation"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if setting_up.runner.current is None:
            return {"FINISHED", "PASS_THROUGH"}
        if event.type == "ESC" and event.value == "PRESS" and _is_over_ours(context, event):
            setting_up.runner.cancel()
            return {"FINISHED"}
        return {"PASS_THROUGH"}


def _is_over_ours(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Elsewhere Esc means something else: it ends playback, for one."""
    for area in context.window.screen.areas:
        for region in area.regions if area.type in ("PREFERENCES", "VIEW_3D") else ():
            inside = 0 <= event.mouse_x - region.x < region.width and 0 <= event.mouse_y - region.y < region.height
            if inside and (area.type == "PREFERENCES" or region.type == "UI"):
                return True
    return False


class CSD_OT_cancel_setup(bpy.types.Operator):
    """Stop the installation or check; what was fetched is kept for the next try"""

    bl_idname = "csd.cancel_setup"
    bl_label = "Cancel Installation"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return setting_up.runner.current is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        setting_up.runner.cancel()
        return {"FINISHED"}


class CSD_OT_install_bundle(_Setup, bpy.types.Operator):
    """Install the runtime from a folder that 'runtime bundle' has made on another machine; needs no network"""

    bl_idname = "csd.install_bundle"
    bl_label = "Install from Bundle"

    directory: bpy.props.StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    filter_folder: bpy.props.BoolProperty(default=True, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._in_window = True
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._start(context, "install", "runtime", "install", "--bundle", bpy.path.abspath(self.directory))


class CSD_OT_remove_runtime(_Setup, bpy.types.Operator):
    """Delete the runtime with everything that was fetched for it; textures, jobs and teachers stay"""

    bl_idname = "csd.remove_runtime"
    bl_label = "Remove Runtime"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._in_window = True
        return context.window_manager.invoke_confirm(
            self, event, title="Remove Runtime", message="It can be installed again at any time.",
            confirm_text="Remove",
        )  # fmt: skip

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._start(context, "remove", "runtime", "remove")


class CSD_OT_use_python(_Setup, bpy.types.Operator):
    """Let the worker run in a Python of your own that has torch, diffusers, transformers and safetensors"""

    bl_idname = "csd.use_python"
    bl_label = "Use This Python"

    filepath: bpy.props.StringProperty(subtype="FILE_PATH", options={"HIDDEN", "SKIP_SAVE"})
    own: bpy.props.BoolProperty(options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._in_window = True
        if self.own:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        python = [] if self.own else [bpy.path.abspath(self.filepath)]
        return self._start(context, "use", "runtime", "use", *python)


class CSD_OT_doctor(_Setup, bpy.types.Operator):
    """Look at everything that a texture needs on this computer, and say what to do where something is wrong"""

    bl_idname = "csd.doctor"
    bl_label = "Look for Problems"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._in_window = True
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._start(context, "doctor", "doctor")


class CSD_OT_copy_log(bpy.types.Operator):
    """Copy the newest job's log to the clipboard; after a failed installation, its log"""

    bl_idname = "csd.copy_log"
    bl_label = "Copy Log"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(session.last_log or setting_up.install_log())

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = setting_up.install_log() or Path(session.last_log)
        if not path.is_file():
            self.report({"ERROR"}, translated("The log {} is gone.").format(path))
            return {"CANCELLED"}
        context.window_manager.clipboard = path.read_text(encoding="utf-8", errors="replace")
        return {"FINISHED"}


CLASSES = (
    CSD_OT_install_runtime,
    CSD_OT_watch_setup,
    CSD_OT_cancel_setup,
    CSD_OT_install_bundle,
    CSD_OT_remove_runtime,
    CSD_OT_use_python,
    CSD_OT_doctor,
    CSD_OT_copy_log,
)
