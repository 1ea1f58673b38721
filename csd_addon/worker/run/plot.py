"""The gradient norms of a run as a picture.

(H, W, 3) uint8, row 0 at the top, sRGB-encoded. Both axes start at the lower left corner of the plotting area; y is
logarithmic. There are no words in the picture, so that it needs no translation: the legend shows formulas, with e for
the noise that the teacher predicts (Pillow's own font has no epsilon).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Iterations and values, in the order of the run.
Curve = Sequence[tuple[int, float]]

# Name of a norm: its formula, "_" lowers the next sign, and its colour (told apart by the colour-blind too).
NORMS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "generative": ("|e_y-e|", (230, 159, 0)),
    "classifier": ("|e_y-e_0|", (86, 180, 233)),
    "negative": ("|e_n-e_0|", (0, 190, 140)),
    "contrast": ("|e_y-e_n|", (204, 121, 167)),
    "total": ("|g|", (240, 228, 66)),
}
SIZE = (512, 512)
_BACKGROUND, _MINOR, _GRID, _TEXT = (29, 29, 29), (38, 38, 38), (58, 58, 58), (190, 190, 190)
# Edges of the plotting area in pixels: left, right (from the right), top, bottom (from the bottom).
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 20, 52, 44
# Lines are drawn so many times as large and averaged, which makes them smooth.
_FINE = 4
_LINE, _BAND = 3, 0.22
_BINS = 50
_FONT, _LOWERED_FONT, _LOWER = 15, 11, 6
# A legend's entry: the length of its mark with the gap behind it, and the gap to the next one.
_MARK, _GAP, _ROW = 24, 14, 24


def plot_norms(curves: Mapping[str, Curve]) -> np.ndarray | None:
    """The picture of ``curves``, keys as in ``NORMS``, others are left out; None where there is nothing to draw."""
    shown = {name: _binned(curves[name]) for name in NORMS if name in curves}
    shown = {name: bins for name, bins in shown.items() if len(bins)}
    if not shown:
        return None
    last = max(1, *(iteration for name in shown for iteration, _ in curves[name]))
    every = np.concatenate(list(shown.values()))[:, 1:]
    low, high = int(np.floor(np.log10(every.min()))), int(np.ceil(np.log10(every.max())))
    high = max(high, low + 1)

    def x(iteration: float) -> float:
        """The column of an iteration, from the centre of the first plotted pixel to that of the last."""
        return _LEFT + 0.5 + iteration / last * (SIZE[0] - _LEFT - _RIGHT - 1)

    def y(value: float) -> float:
        """The row of a value; a larger one is higher up."""
        share = (math.log10(value) - low) / (high - low)
        return SIZE[1] - _BOTTOM - 0.5 - share * (SIZE[1] - _TOP - _BOTTOM - 1)

    picture = Image.new("RGB", SIZE, _BACKGROUND)
    _draw_grid(ImageDraw.Draw(picture), last, range(low, high + 1), x, y)
    fine = picture.resize((SIZE[0] * _FINE, SIZE[1] * _FINE), Image.Resampling.NEAREST)
    for name, bins in shown.items():
        _draw_band(fine, bins, NORMS[name][1], x, y)
    lines = ImageDraw.Draw(fine)
    for name, bins in shown.items():
        points = [(x(row[0]) * _FINE, y(row[1]) * _FINE) for row in bins]
        lines.line([*points, *points] if len(points) == 1 else points, NORMS[name][1], _LINE * _FINE, "curve")
        for column, row in (points[0], points[-1]):
            radius = _LINE * _FINE / 2
            lines.ellipse((column - radius, row - radius, column + radius, row + radius), NORMS[name][1])
    picture = fine.reduce(_FINE)
    _draw_labels(ImageDraw.Draw(picture), last, range(low, high + 1), x, y)
    _draw_legend(ImageDraw.Draw(picture), list(shown))
    return np.asarray(picture)


def _binned(curve: Curve) -> np.ndarray:
    """(N, 4) float64, N <= _BINS: iteration, mean, and the bounds that hold most of the values, of each bin.

    A norm of 0 has no place on a logarithmic axis and is left out.
    """
    points = np.array([(i, value) for i, value in curve if value > 0 and i > 0], np.float64).reshape(-1, 2)
    parts = np.array_split(points, min(len(points), _BINS)) if len(points) else []
    rows = [(*part.mean(axis=0), *np.quantile(part[:, 1], (0.1, 0.9))) for part in parts]
    return np.array(rows, np.float64).reshape(-1, 4)


Axis = Callable[[float], float]


def _draw_grid(draw: ImageDraw.ImageDraw, last: int, powers: range, x: Axis, y: Axis) -> None:
    right, bottom = SIZE[0] - _RIGHT - 1, SIZE[1] - _BOTTOM - 1
    for power in powers:
        for factor in range(1, 10) if power < powers[-1] else (1,):
            row = int(y(factor * 10.0**power))
            draw.line((_LEFT, row, right, row), _GRID if factor == 1 else _MINOR)
    for iteration in _ticks(last):
        column = int(x(iteration))
        draw.line((column, _TOP, column, bottom), _GRID)


def _draw_band(fine: Image.Image, bins: np.ndarray, color: tuple[int, int, int], x: Axis, y: Axis) -> None:
    """Tint what lies between the bounds of the bins."""
    if len(bins) < 2:
        return
    upper = [(x(row[0]) * _FINE, y(row[3]) * _FINE) for row in bins]
    lower = [(x(row[0]) * _FINE, y(row[2]) * _FINE) for row in bins]
    mask = Image.new("L", fine.size)
    ImageDraw.Draw(mask).polygon([*upper, *reversed(lower)], fill=round(255 * _BAND))
    fine.paste(color, mask=mask)


def _draw_labels(draw: ImageDraw.ImageDraw, last: int, powers: range, x: Axis, y: Axis) -> None:
    font = ImageFont.load_default(_FONT)
    for power in powers:
        label = f"{10.0**power:.{max(0, -power)}f}" if -3 <= power <= 3 else f"1e{power}"
        draw.text((_LEFT - 10, y(10.0**power)), label, _TEXT, font, anchor="rm")
    for iteration in _ticks(last):
        label = str(iteration)
        middle = min(x(iteration), SIZE[0] - 5 - draw.textlength(label, font) / 2)
        draw.text((middle, SIZE[1] - _BOTTOM + 12), label, _TEXT, font, anchor="mt")


def _ticks(last: int) -> range:
    """Round iterations from 0 to ``last``, six at most."""
    step = next(s * 10**k for k in range(10) for s in (1, 2, 5) if last / (s * 10**k) <= 5)
    return range(0, last + 1, step)


def _draw_legend(draw: ImageDraw.ImageDraw, names: Sequence[str]) -> None:
    """The names in one row; those that find no room there in a second one below."""
    widths = [_MARK + _formula(draw, NORMS[name][0], None) + _GAP for name in names]
    row, left = (22 if sum(widths) <= SIZE[0] - _LEFT else 12), _LEFT
    for name, wide in zip(names, widths, strict=True):
        if left + wide > SIZE[0]:
            row, left = row + _ROW, _LEFT
        formula, color = NORMS[name]
        draw.rectangle((left, row - 2, left + 17, row + 1), color)
        _formula(draw, formula, (left + _MARK, row))
        left += math.ceil(wide)


def _formula(draw: ImageDraw.ImageDraw, text: str, place: tuple[int, int] | None) -> float:
    """Draw ``text`` from ``place`` (left, middle) to the right if there is one; returns its width in pixels."""
    large, small = ImageFont.load_default(_FONT), ImageFont.load_default(_LOWERED_FONT)
    width, lowered = 0.0, False
    for sign in text:
        if sign == "_":
            lowered = True
            continue
        font = small if lowered else large
        if place:
            draw.text((place[0] + width, place[1] + (_LOWER if lowered else 5)), sign, _TEXT, font, anchor="ls")
        width, lowered = width + draw.textlength(sign, font) + 1, False
    return width
