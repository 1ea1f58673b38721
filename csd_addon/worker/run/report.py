"""The figures of a finished run: what goes into ``report.json``.

Colour differences are on the 0..255 scale, PSNR in dB against a peak of 1, times in seconds, memory in MiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Report:
    """See design, section 3. seconds: by phase, with "total". gradient_norms: name -> quartile means of the run.

    method: which one ran, in words ("Sampling", "Distillation (CSD)").

    images: where materials have images of their own, for each its material, files, coverage, overlap and unseen share.
    unseen_map: the files beside the result that show in white what no view saw, where they were asked for.
    memory: in what pieces the steps were made, what that was estimated to take and what was free, MiB.
    edit: for an edit its way ("keep" or "replace"), the shares of texels that are free and that changed, and the mean
    CIELAB difference over the surface.
    """

    seconds: dict[str, float]
    iterations: int
    stopped_early: bool
    coverage: float
    seam_error: dict[str, float]
    bake_psnr: float
    overlap: float
    unseen: float
    peak_memory_mb: float
    gradient_norms: dict[str, list[float]]
    method: str
    teacher: str
    conditions: list[str]
    device: str
    seed: int
    settings: dict[str, Any]
    recipe: dict[str, Any]
    normalization: dict[str, Any]
    warnings: list[str]
    versions: dict[str, str]
    images: list[dict[str, Any]] | None = None
    unseen_map: list[str] | None = None
    memory: dict[str, Any] | None = None
    edit: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dict for ``report.json``; what a run does not have is left out: a new texture has no ``edit``."""
        optional = ("images", "unseen_map", "memory", "edit")
        return {name: value for name, value in asdict(self).items() if name not in optional or value}


def quarters(history: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Mean of each gradient norm over the four quarters of the run: enough to see its course."""
    if not history:
        return {}
    parts = [part for part in np.array_split(np.arange(len(history)), 4) if len(part)]
    names = sorted({name for norms in history for name in norms})
    result = {}
    for name in names:
        means = [[history[i][name] for i in part if name in history[i]] for part in parts]
        result[name] = [float(np.mean(values)) for values in means if values]
    return result
