"""The gradient norms of a run as a picture.

(H, W, 3) uint8, row 0 at the top, sRGB-encoded. Both axes start at the lower left corner of the plotting area. y is
logarithmic. There are no words in the picture, so that it needs no translation: the legend shows formulas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Iterations and values, in the order of the run.
Curve = Sequence[tuple[int, float]]

# Name of a norm: its formula, "_" lowers the next sign, and its colour (told apart by the colour-blind too).
# "e" stands for epsilon: Pillow's font has no Greek letters.
NORMS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "generative": ("|e_y - e|", (230, 159, 0)),
    "classifier": ("|e_y - e_0|", (86, 180, 233)),
    "negative": ("|e_n - e_0|", (0, 190, 140)),
    "contrast": ("|e_y - e_n|", (204, 121, 167)),
    "total": ("|g|", (240, 228, 66)),
}
# Width and height in pixels.
SIZE = (512, 512)
# The picture is drawn so many times as large and then averaged, which makes slanted lines smooth.
_FINE = 4
_BACKGROUND, _MINOR, _GRID, _TEXT = (29, 29, 29), (38, 38, 38), (58, 58, 58), (190, 190, 190)
# The plotting area in pixels: first column, first row, and the column and row behind the last ones.
_LEFT, _TOP, _RIGHT, _BOTTOM = 84, 52, SIZE[0] - 20, SIZE[1] - 44
_FONT, _SUBSCRIPT = (ImageFont.load_default(size * _FINE) for size in (20, 15))
# How far the subscript's baseline lies below the formula's, in pixels.
_LOWERED = 4
# Width of a curve in pixels, and opacity of its band in 0..255.
_LINE, _BAND = 3.25, 56
_BINS = 50


@dataclass(frozen=True)
class _Axes:
    """last: the last iteration. low, high: whole powers of ten that bound the values."""

    last: int
    low: int
    high: int

    def x(self, iteration: np.ndarray | float) -> np.ndarray:
        """Columns, from the centre of the first plotted pixel to that of the last."""
        return _LEFT + 0.5 + np.asarray(iteration) / self.last * (_RIGHT - _LEFT - 1)

    def y(self, value: np.ndarray | float) -> np.ndarray:
        """Rows; a larger value is higher up."""
        share = (np.log10(value) - self.low) / (self.high - self.low)
        return _BOTTOM - 0.5 - share * (_BOTTOM - _TOP - 1)


def plot_norms(curves: Mapping[str, Curve]) -> np.ndarray | None:
    """The picture of ``curves``, keys as in ``NORMS``, others are left out; None where there is nothing to draw.

    A curve is drawn as means of up to ``_BINS`` parts, in a band that holds most of their values.
    """
    shown = {name: _binned(curves[name]) for name in NORMS if name in curves}
    shown = {name: bins for name, bins in shown.items() if len(bins)}
    if not shown:
        return None
    values = np.concatenate([bins[:, 1:].ravel() for bins in shown.values()])
    low, high = int(np.floor(np.log10(values.min()))), int(np.ceil(np.log10(values.max())))
    last = max(iteration for name in shown for iteration, _ in curves[name])
    axes = _Axes(max(1, last), low, max(high, low + 1))

    image = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), _BACKGROUND)
    # "RGBA": colours with an opacity are blended with what is there.
    draw = ImageDraw.Draw(image, "RGBA")
    _draw_grid(draw, axes)
    for name, bins in shown.items():
        x, below, above = axes.x(bins[:, 0]), axes.y(bins[:, 2]), axes.y(bins[:, 3])
        outline = np.stack([np.concatenate([x, x[::-1]]), np.concatenate([above, below[::-1]])], axis=1)
        draw.polygon((outline * _FINE).ravel().tolist(), fill=(*NORMS[name][1], _BAND))
    for name, bins in shown.items():
        points = np.stack([axes.x(bins[:, 0]), axes.y(bins[:, 1])], axis=1) * _FINE
        draw.line(points.ravel().tolist(), fill=NORMS[name][1], width=round(_LINE * _FINE), joint="curve")
        # Round ends, so that a single point is a dot.
        for end in (points[0], points[-1]):
            draw.circle(end.tolist(), _LINE * _FINE / 2, fill=NORMS[name][1])
    _draw_legend(draw, list(shown))
    return np.array(image.reduce(_FINE))


def _binned(curve: Curve) -> np.ndarray:
    """(N, 4) float64, N <= _BINS: iteration, mean, and the bounds that hold most of the values, of each bin.

    A norm of 0 has no place on a logarithmic axis and is left out.
    """
    points = np.array([(i, value) for i, value in curve if value > 0 and i > 0], np.float64).reshape(-1, 2)
    parts = np.array_split(points, min(len(points), _BINS)) if len(points) else []
    rows = [(*part.mean(axis=0), *np.quantile(part[:, 1], (0.1, 0.9))) for part in parts]
    return np.array(rows, np.float64).reshape(-1, 4)


def _draw_grid(draw: ImageDraw.ImageDraw, axes: _Axes) -> None:
    """Lines at the digits of each power of ten and at round iterations, and their labels."""
    for power in range(axes.low, axes.high + 1):
        for factor in range(1, 10) if power < axes.high else (1,):
            row = int(axes.y(factor * 10.0**power))
            _fill(draw, _LEFT, row, _RIGHT, row + 1, _GRID if factor == 1 else _MINOR)
        label = f"{10.0**power:.{max(0, -power)}f}" if -3 <= power <= 3 else f"1e{power}"
        row = int(axes.y(10.0**power))
        draw.text(((_LEFT - 10) * _FINE, (row + 0.5) * _FINE), label, _TEXT, _FONT, anchor="rm")
    # The smallest round step that gives six labels at most.
    step = next(s * 10**k for k in range(10) for s in (1, 2, 5) if axes.last / (s * 10**k) <= 5)
    for iteration in range(0, axes.last + 1, step):
        column, label = int(axes.x(iteration)), str(iteration)
        _fill(draw, column, _TOP, column + 1, _BOTTOM, _GRID)
        # The last label must not leave the picture.
        middle = min(column + 0.5, SIZE[0] - 6 - _FONT.getlength(label) / _FINE / 2)
        draw.text((middle * _FINE, (_BOTTOM + 8) * _FINE), label, _TEXT, _FONT, anchor="ma")


def _draw_legend(draw: ImageDraw.ImageDraw, names: Sequence[str]) -> None:
    """The formulas in one row, each behind a mark; those that find no room there in a second row below."""
    mark, gap, edge = 24, 18, SIZE[0] - 6
    # A formula in pieces, each with its font. A subscript still begins with "_".
    pieces = {
        name: [(piece, _SUBSCRIPT if piece[0] == "_" else _FONT) for piece in re.findall("_.|[^_]+", NORMS[name][0])]
        for name in names
    }
    widths = {
        name: mark + math.ceil(sum(font.getlength(piece.lstrip("_")) for piece, font in pieces[name]) / _FINE)
        for name in names
    }
    left, middle = _LEFT, 22 if _LEFT + sum(widths.values()) + gap * (len(names) - 1) <= edge else 12
    for name in names:
        if left + widths[name] > edge:
            left, middle = _LEFT, middle + 24
        _fill(draw, left, middle - 2, left + 18, middle + 2, NORMS[name][1])
        x, baseline = float(left + mark) * _FINE, (middle + 6) * _FINE
        for piece, font in pieces[name]:
            y = baseline + (_LOWERED * _FINE if font is _SUBSCRIPT else 0)
            draw.text((x, y), piece.lstrip("_"), _TEXT, font, anchor="ls")
            x += font.getlength(piece.lstrip("_"))
        left += widths[name] + gap


def _fill(draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int, color: tuple[int, ...]) -> None:
    """Fill whole pixels: columns [left, right), rows [top, bottom)."""
    draw.rectangle((left * _FINE, top * _FINE, right * _FINE - 1, bottom * _FINE - 1), fill=color)
