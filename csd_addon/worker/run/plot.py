"""The gradient norms of a run as a picture, drawn with numpy alone: Blender brings no plotting library.

(H, W, 3) uint8, row 0 at the top, sRGB-encoded. Both axes start at the lower left corner of the plotting area; y is
logarithmic. There are no words in the picture, so that it needs no translation: the legend shows formulas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Iterations and values, in the order of the run.
Curve = Sequence[tuple[int, float]]

# Name of a norm: its formula, "_" lowers the next sign, and its colour (told apart by the colour-blind too).
NORMS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "generative": ("|ε_y-ε|", (230, 159, 0)),
    "classifier": ("|ε_y-ε_0|", (86, 180, 233)),
    "negative": ("|ε_n-ε_0|", (0, 190, 140)),
    "contrast": ("|ε_y-ε_n|", (204, 121, 167)),
    "total": ("|g|", (240, 228, 66)),
}
SIZE = (512, 512)
_BACKGROUND, _MINOR, _GRID, _TEXT = (29, 29, 29), (38, 38, 38), (58, 58, 58), (190, 190, 190)
# Edges of the plotting area in pixels: left, right (from the right), top, bottom (from the bottom).
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 20, 52, 44
# Each pixel of a sign is so many pixels wide.
_ZOOM = 2
_LINE, _BAND = 1.6, 0.22
_BINS = 50

# Signs of 5 x 7 pixels, a row for each number, the highest bit at the left.
_SIGNS = {
    "0": (14, 17, 19, 21, 25, 17, 14), "1": (4, 12, 4, 4, 4, 4, 14), "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14), "4": (2, 6, 10, 18, 31, 2, 2), "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14), "7": (31, 1, 2, 4, 8, 8, 8), "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12), ".": (0, 0, 0, 0, 0, 12, 12), "-": (0, 0, 0, 31, 0, 0, 0),
    "|": (4, 4, 4, 4, 4, 4, 4), "e": (0, 0, 14, 17, 31, 16, 14), "ε": (0, 0, 14, 16, 12, 16, 14),
    "y": (0, 0, 17, 17, 15, 1, 14), "n": (0, 0, 30, 17, 17, 17, 17), "g": (0, 0, 15, 17, 15, 1, 14),
}  # fmt: skip
_ADVANCE, _HEIGHT, _LOWERED = 6, 7, 3
_LEGEND_MARK, _LEGEND_ROW = 24, 24


@dataclass(frozen=True)
class _Axes:
    """last: the last iteration. low, high: whole powers of ten that bound the values."""

    last: int
    low: int
    high: int

    def x(self, iteration: np.ndarray | float) -> np.ndarray:
        """Columns, from the centre of the first plotted pixel to that of the last."""
        return _LEFT + np.asarray(iteration) / self.last * (SIZE[0] - _LEFT - _RIGHT - 1)

    def y(self, value: np.ndarray | float) -> np.ndarray:
        """Rows; a larger value is higher up."""
        share = (np.log10(value) - self.low) / (self.high - self.low)
        return SIZE[1] - _BOTTOM - 1 - share * (SIZE[1] - _TOP - _BOTTOM - 1)


def plot_norms(curves: Mapping[str, Curve]) -> np.ndarray | None:
    """The picture of ``curves``, keys as in ``NORMS``, others are left out; None where there is nothing to draw."""
    shown = {name: _binned(curves[name]) for name in NORMS if name in curves}
    shown = {name: bins for name, bins in shown.items() if len(bins)}
    if not shown:
        return None
    axes = _axes(list(shown.values()), max(iteration for name in shown for iteration, _ in curves[name]))
    image = np.empty((SIZE[1], SIZE[0], 3), np.float64)
    image[:] = _BACKGROUND
    _draw_grid(image, axes)
    for name, bins in shown.items():
        _draw_band(image, axes, bins, NORMS[name][1])
    for name, bins in shown.items():
        _draw_line(image, axes.x(bins[:, 0]), axes.y(bins[:, 1]), NORMS[name][1])
    _draw_legend(image, list(shown))
    return np.rint(image).astype(np.uint8)


def _binned(curve: Curve) -> np.ndarray:
    """(N, 4) float64, N <= _BINS: iteration, mean, and the bounds that hold most of the values, of each bin.

    A norm of 0 has no place on a logarithmic axis and is left out.
    """
    points = np.array([(i, value) for i, value in curve if value > 0 and i > 0], np.float64).reshape(-1, 2)
    parts = np.array_split(points, min(len(points), _BINS)) if len(points) else []
    rows = [(*part.mean(axis=0), *np.quantile(part[:, 1], (0.1, 0.9))) for part in parts]
    return np.array(rows, np.float64).reshape(-1, 4)


def _axes(bins: Sequence[np.ndarray], last: int) -> _Axes:
    every = np.concatenate(bins)
    low, high = int(np.floor(np.log10(every[:, 1:].min()))), int(np.ceil(np.log10(every[:, 1:].max())))
    return _Axes(max(1, last), low, max(high, low + 1))


def _draw_grid(image: np.ndarray, axes: _Axes) -> None:
    right, bottom = SIZE[0] - _RIGHT, SIZE[1] - _BOTTOM
    for power in range(axes.low, axes.high + 1):
        for factor in range(1, 10) if power < axes.high else (1,):
            row = round(float(axes.y(factor * 10.0**power)))
            image[row, _LEFT:right] = _GRID if factor == 1 else _MINOR
        label = _power(power)
        row = round(float(axes.y(10.0**power))) - _HEIGHT * _ZOOM // 2
        _draw_text(image, row, _LEFT - 10 - _width(label), label, _TEXT)
    for iteration in _ticks(axes.last):
        column = round(float(axes.x(iteration)))
        image[_TOP:bottom, column] = _GRID
        label = str(iteration)
        left = min(column - _width(label) // 2, SIZE[0] - _width(label))
        _draw_text(image, bottom + 12, left, label, _TEXT)


def _power(power: int) -> str:
    return f"{10.0**power:.{max(0, -power)}f}" if -3 <= power <= 3 else f"1e{power}"


def _ticks(last: int) -> range:
    """Round iterations from 0 to ``last``, six at most."""
    step = next(s * 10**k for k in range(10) for s in (1, 2, 5) if last / (s * 10**k) <= 5)
    return range(0, last + 1, step)


def _draw_band(image: np.ndarray, axes: _Axes, bins: np.ndarray, color: tuple[int, int, int]) -> None:
    """Tint the columns between the bounds of the bins."""
    x = axes.x(bins[:, 0])
    columns = np.arange(int(x[0]), int(x[-1]) + 1)
    top, bottom = (np.interp(columns, x, axes.y(bins[:, k])) for k in (3, 2))
    rows = np.arange(SIZE[1])[:, None]
    inside = (rows >= top) & (rows <= bottom)
    _blend(image[:, columns[0] : columns[-1] + 1], inside * _BAND, color)


def _draw_line(image: np.ndarray, x: np.ndarray, y: np.ndarray, color: tuple[int, int, int]) -> None:
    """A smooth line through the points; a single one is a dot."""
    cover = np.zeros(image.shape[:2])
    ends = list(zip(x, y, strict=True))
    for start, end in zip(ends, ends[1:] or ends, strict=False):
        _cover_segment(cover, np.array(start), np.array(end))
    _blend(image, cover, color)


def _blend(image: np.ndarray, cover: np.ndarray, color: tuple[int, int, int]) -> None:
    image += cover[..., None] * (np.array(color) - image)


def _cover_segment(cover: np.ndarray, start: np.ndarray, end: np.ndarray) -> None:
    """Raise ``cover`` to the share of each pixel that lies under the segment from ``start`` to ``end``, as (x, y)."""
    (left, top), (right, bottom) = (f(start, end) for f in (np.minimum, np.maximum))
    rows = slice(max(0, int(top) - 3), int(bottom) + 4)
    columns = slice(max(0, int(left) - 3), int(right) + 4)
    box = cover[rows, columns]
    pixel = np.stack(np.meshgrid(np.arange(box.shape[1]) + columns.start, np.arange(box.shape[0]) + rows.start), -1)
    along = end - start
    share = ((pixel - start) @ along / max(along @ along, 1e-9)).clip(0, 1)
    distance = np.linalg.norm(pixel - start - share[..., None] * along, axis=-1)
    np.maximum(box, (_LINE + 0.5 - distance).clip(0, 1), out=box)


def _draw_legend(image: np.ndarray, names: Sequence[str]) -> None:
    """The names in one row; those that find no room there in a second one below."""
    widths = [_LEGEND_MARK + _width(NORMS[name][0]) + 16 for name in names]
    room = SIZE[0] - _LEFT
    row, left = (15 if sum(widths) <= room else 5), _LEFT
    for name, width in zip(names, widths, strict=True):
        if left + width > SIZE[0]:
            row, left = row + _LEGEND_ROW, _LEFT
        formula, color = NORMS[name]
        image[row + 5 : row + 9, left : left + 18] = color
        _draw_text(image, row, left + _LEGEND_MARK, formula, _TEXT)
        left += width


def _width(text: str) -> int:
    return (len(text.replace("_", "")) * _ADVANCE - 1) * _ZOOM


def _draw_text(image: np.ndarray, row: int, column: int, text: str, color: tuple[int, int, int]) -> None:
    lowered = 0
    for sign in text:
        if sign == "_":
            lowered = _LOWERED * _ZOOM
            continue
        bits = np.array([[bits >> (4 - k) & 1 for k in range(5)] for bits in _SIGNS[sign]], bool)
        pixels = bits.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
        box = image[row + lowered :, column:][: pixels.shape[0], : pixels.shape[1]]
        box[pixels] = color
        column, lowered = column + _ADVANCE * _ZOOM, 0
