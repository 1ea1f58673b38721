"""The road that every hard asset takes: export, worker, result; and what of the asset is another afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from csd_addon.core.settings import JobSettings
from csd_addon.drive import apply_result, object_job
from csd_addon.scene.material import base_color_image
from tests.assets.cases import Case
from tests.scene.objects import fingerprint

NEW_LAYER = "CSD UV"


@dataclass
class Outcome:
    """How it ended: with a texture (``folder`` is the job's) or with the ``refusal``. different: parts of the file's
    mesh objects that are not as they were, beyond what was promised to be added."""

    obj: bpy.types.Object
    folder: Path | None = None
    refusal: str = ""
    notes: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    image: bpy.types.Image | None = None
    before: dict[str, Any] = field(default_factory=dict)


def walk(case: Case, scratch: Path, **settings: Any) -> Outcome:
    """Build ``case`` into an empty file and texture it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    obj = case.build(scratch)
    before = fingerprints()
    outcome = Outcome(obj, before=before)
    try:
        usual = {"prompt": "red brick", "size": 64, "iterations": 2, "images": case.images}
        task, job = object_job.start(obj, JobSettings(**{**usual, **settings}))
        outcome.folder = task.folder.path
        state = job.wait()
        if state.error:
            outcome.refusal = state.error.sentence
        else:
            result = Path(state.done.paths["basecolor"])
            outcome.notes = [*state.warnings, *apply_result.finish(task, result, place=None)]
            outcome.image = base_color_image(obj)
    except object_job.REFUSALS as error:
        outcome.refusal = str(error)
    outcome.different = differences(before, fingerprints(), added=not outcome.refusal)
    return outcome


def fingerprints() -> dict[str, dict[str, Any]]:
    """Of every mesh object in the file."""
    return {o.name: fingerprint(o) for o in bpy.data.objects if o.type == "MESH"}


def differences(before: dict[str, Any], after: dict[str, Any], *, added: bool) -> list[str]:
    """The parts that differ, as "object: part". added: whether a new UV layer and filled slots are no difference."""
    found = [f"{name} is there or gone" for name in before.keys() ^ after.keys()]
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        found += [f"{name}: {part}" for part in sorted(old.keys() | new.keys()) if old.get(part) != new.get(part)
                  and not (added and _promised(part, old.get(part), new.get(part)))]  # fmt: skip
    return found


def _promised(part: str, old: Any, new: Any) -> bool:
    """Whether the change of ``part`` is one that the artist has been told of."""
    if part == f"attribute {NEW_LAYER}":
        return old is None
    if part == "uv layers":
        return [layer[0] for layer in new] == [*(layer[0] for layer in old), NEW_LAYER]
    if part == "slots":
        # Filled where there was nothing; else another user's material was copied.
        return all(now == then or then[1] is None for then, now in zip(old, new, strict=False)) and len(new) >= len(old)
    return False
