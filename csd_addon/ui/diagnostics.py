"""The figures of the last run: how its gradient went, and what its report says."""

import bpy
from bpy.app.translations import pgettext_iface as translated
from bpy.app.translations import pgettext_n as marked

from ..jobs.history import Entry, number
from . import past_runs
from .subpanels import SubPanel

# What each curve of the plot is (``worker/run/plot.py`` draws them).
_CURVES = (
    ("|e_y - e|", marked("Generative part")),
    ("|e_y - e_0|", marked("Classifier score")),
    ("|e_n - e_0|", marked("Negative prompt")),
    ("|g|", marked("Whole gradient")),
)
_PHASES = (
    ("load", marked("Load")),
    ("views", marked("Views")),
    ("optimize", marked("Optimize")),
    ("bake", marked("Bake")),
    ("total", marked("Total")),
)


class CSD_PT_diagnostics(SubPanel, bpy.types.Panel):
    """The last run's plot of gradient norms and its figures."""

    bl_idname = "CSD_PT_diagnostics"
    bl_label = "Diagnostics"

    def draw(self, context: bpy.types.Context) -> None:
        past_runs.wake()
        entry = past_runs.last()
        if entry is None:
            self.layout.label(text="No finished run yet", icon="INFO")
            return
        self.layout.label(text=entry.words, translate=False)
        _draw_plot(self.layout, entry)
        _draw_figures(self.layout, figures(entry.report))


def _draw_plot(layout: bpy.types.UILayout, entry: Entry) -> None:
    icon = past_runs.icon(entry, "plot")
    if not icon:
        return
    layout.template_icon(icon, scale=11)
    layout.label(text="Gradient norms over the iterations")
    column = layout.column(align=True)
    column.active = False
    column.scale_y = 0.8
    for formula, meaning in _CURVES:
        _draw_row(column, formula, translated(meaning))


def _draw_figures(layout: bpy.types.UILayout, rows: list[tuple[str, str]]) -> None:
    column = layout.column(align=True)
    column.scale_y = 0.8
    for name, value in rows:
        _draw_row(column, translated(name), value)


def _draw_row(column: bpy.types.UILayout, left: str, right: str) -> None:
    split = column.split(factor=0.5)
    split.label(text=left, translate=False)
    split.label(text=right, translate=False)


def figures(report: dict) -> list[tuple[str, str]]:
    """Name and value of what ``report.json`` says, in the order of the panel; what it does not say is left out."""
    seconds, seams = report.get("seconds"), report.get("seam_error")
    rows = [(name, number(seconds, key), "{:.1f} s") for key, name in _PHASES]
    rows += [
        (marked("Iterations"), number(report, "iterations"), "{:.0f}"),
        (marked("Coverage"), _percent(number(report, "coverage")), "{:.2f} %"),
        (marked("Seam error, mean"), number(seams, "mean"), "{:.2f} / 255"),
        (marked("Seam error, largest"), number(seams, "max"), "{:.1f} / 255"),
        (marked("Bake PSNR"), number(report, "bake_psnr"), "{:.1f} dB"),
        (marked("Peak memory"), number(report, "peak_memory_mb"), "{:.0f} MB"),
    ]
    method = report.get("method")
    first = [(marked("Method"), translated(method))] if isinstance(method, str) else []
    return [*first, *((name, form.format(value)) for name, value, form in rows if value is not None)]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
