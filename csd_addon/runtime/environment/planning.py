"""Which environment this machine gets: a Python that is here, a list that fits it, an installer, and a folder.

Planning writes nothing; `venv` makes what was planned.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RuntimeMissing
from ..paths import Paths, bundled_wheels
from . import lockfile, sizes
from .bundle import Bundle
from .installer import Installer, choose_installer
from .interpreter import SUPPORTED, Interpreter, find_interpreters, has_nvidia
from .user_python import WORKER_MODULES

BLENDER_MODULES = ("bpy",)
# Blender as a module takes 1.0 GB. The rest is room for what pip keeps aside meanwhile.
BLENDER_REQUIRED_GB = 3.0


@dataclass(frozen=True)
class Plan:
    """One environment that can be made."""

    # For sentences, and for the names of the folder and the log: "worker-cpu-py311".
    name: str
    # The Python that it is made from.
    interpreter: Interpreter
    # Hash-pinned requirement lists, which are installed together.
    locks: tuple[Path, ...]
    # Where it goes.
    directory: Path
    # Where all that the installer says is kept.
    log: Path
    installer: Installer
    # They are imported once at the end to see that the result works.
    modules: tuple[str, ...]
    # What must be free on the disk, in GB (10^9 bytes).
    disk_gb: float
    # "cpu", "cuda", "mps", or "" where the environment has no torch.
    accelerator: str = ""


def plan_worker(
    paths: Paths,
    *,
    interpreter: Path | None = None,
    accelerator: str = lockfile.AUTO,
    bundle: Bundle | None = None,
) -> Plan:
    """Plan the worker's environment.

    ``interpreter``: the Python to try first (default: this process's). ``accelerator``: "auto", or that of a list in
    ``locks/``. ``bundle``: install from this folder alone.
    Raises RuntimeMissing when no Python on this machine fits a list.
    """
    return _plan("worker", paths, interpreter, WORKER_MODULES, accelerator=accelerator, bundle=bundle)


def plan_blender(paths: Paths, *, interpreter: Path | None = None) -> Plan:
    """Plan an environment with Blender as a Python module, for work without a Blender program.

    Raises RuntimeMissing when no Python on this machine fits a list.
    """
    return _plan("blender", paths, interpreter, BLENDER_MODULES)


def _plan(
    kind: str,
    paths: Paths,
    interpreter: Path | None,
    modules: tuple[str, ...],
    *,
    accelerator: str = lockfile.AUTO,
    bundle: Bundle | None = None,
) -> Plan:
    answered, refused = find_interpreters(interpreter or Path(sys.executable))
    installers = {
        found: choose_installer(found, wheels=bundled_wheels(), cache=paths.cache, bundle=bundle)
        for found in answered
    }
    wheel_folders = [folder for one in installers.values() for folder in one.settings.folders]
    choice = lockfile.choose(
        kind,
        answered,
        wheel_folders=wheel_folders,
        accelerator=accelerator,
        nvidia=has_nvidia(),
        only=bundle.list_name if bundle else None,
    )
    if choice is None:
        others = lockfile.usable_lists(kind, answered, wheel_folders=wheel_folders)
        if others and bundle is None:
            raise RuntimeMissing(
                f"The registry has no torch for '{accelerator}' on {others[0].interpreter.platform}: choose Automatic, "
                "install from a bundle, or name a Python of your own."
            )
        raise RuntimeMissing(_nothing_fits(kind, answered, refused, accelerator, bundle))
    name = "-".join(filter(None, (kind, choice.accelerator, choice.interpreter.tag)))
    return Plan(
        name=name,
        interpreter=choice.interpreter,
        locks=(choice.lock,),
        directory=paths.environments / name,
        log=paths.logs / f"install-{name}.log",
        installer=installers[choice.interpreter],
        modules=modules,
        disk_gb=sizes.REQUIRED_GB.get(choice.accelerator, BLENDER_REQUIRED_GB),
        accelerator=choice.accelerator,
    )


def _nothing_fits(
    kind: str, answered: Sequence[Interpreter], refused: Sequence[str], accelerator: str, bundle: Bundle | None
) -> str:
    what = "Blender as a Python module" if kind == "blender" else "the texture worker"
    what += f" from the bundle for {bundle.list_name.removeprefix('worker-')}" if bundle else ""
    what += "" if accelerator == lockfile.AUTO else f' with the accelerator "{accelerator}"'
    found = [f"{one.executable} ({one.version[0]}.{one.version[1]}, {one.platform})" for one in answered]
    other = "" if kind == "blender" else ", or name one that has torch and diffusers in CSD_WORKER_PYTHON"
    return (
        f"No Python here fits {what}: install Python {' or '.join(SUPPORTED)} on 64-bit Linux, Windows or "
        f"an Apple-silicon Mac{other}. Found: {'; '.join([*found, *refused]) or 'none'}."
    )
