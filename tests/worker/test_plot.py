"""The plot of the gradient norms: where a value lies in the picture, and what must not break it."""

from __future__ import annotations

import numpy as np
import pytest

from csd_addon.worker.run.plot import NORMS, SIZE, plot_norms

# The most that one step logs: the contrast stands in for the classifier and the negative.
TOGETHER = [name for name in NORMS if name != "contrast"]


def rows_of(image: np.ndarray, name: str, column: int) -> np.ndarray:
    """The rows below the legend where ``column`` has the full colour of the curve ``name``."""
    found = np.flatnonzero((image[:, column] == NORMS[name][1]).all(axis=1))
    return found[found > 40]


def test_nothing_to_draw_is_none() -> None:
    assert plot_norms({}) is None
    assert plot_norms({"total": []}) is None and plot_norms({"total": [(1, 0.0)]}) is None
    assert plot_norms({"unheard of": [(1, 1.0)]}) is None


def test_equal_factors_are_equal_distances() -> None:
    values = {"generative": 1.0, "classifier": 0.1, "negative": 0.01, "total": 0.001}
    image = plot_norms({name: [(i, value) for i in range(1, 201)] for name, value in values.items()})
    assert image.shape == (SIZE[1], SIZE[0], 3) and image.dtype == np.uint8
    for column in (150, 300, 450):
        rows = [rows_of(image, name, column).mean() for name in values]
        steps = np.diff(rows)
        print(rows)
        assert (steps > 50).all() and np.ptp(steps) < 2, "three decades of one height, the larger value higher up"


def test_an_exponential_is_a_straight_line_over_the_iterations() -> None:
    image = plot_norms({"total": [(i, 10 ** (-2 * i / 1000)) for i in range(1, 1001)]})
    columns = np.arange(120, 460, 20)
    rows = np.array([rows_of(image, "total", column).mean() for column in columns])
    straight = np.polyval(np.polyfit(columns, rows, 1), columns)
    print(f"off a straight line by {np.abs(rows - straight).max():.2f} pixels, limit 1")
    assert np.abs(rows - straight).max() < 1 and rows[0] < rows[-1]
    assert rows[-1] - rows[0] > 250, "it uses the height"


def test_a_noisy_curve_is_shown_as_its_mean_in_a_band() -> None:
    noise = np.random.default_rng(0).uniform(0.2, 0.4, 2000)
    image = plot_norms({"classifier": [(i + 1, value) for i, value in enumerate(noise)]})
    calm = plot_norms({"classifier": [(i + 1, 0.3) for i in range(2000)]})
    line = [rows_of(image, "classifier", column).mean() for column in range(100, 480, 10)]
    assert np.ptp(line) < 40, "the mean of forty values is nearly calm; the values span 125 rows"
    assert abs(np.mean(line) - rows_of(calm, "classifier", 300).mean()) < 5, "the curve lies at the mean"
    bluish = (image[60:460, 100:480, 2].astype(int) - image[60:460, 100:480, 0] > 10).sum()
    thin = (calm[60:460, 100:480, 2].astype(int) - calm[60:460, 100:480, 0] > 10).sum()
    assert bluish > 4 * thin


@pytest.mark.parametrize("left_out", [None, *NORMS])
def test_a_run_whose_weights_change_may_log_every_curve(left_out: str | None) -> None:
    """While the negative's weight equals the prompt's the contrast is logged, before and after it the two scores."""
    names = [name for name in NORMS if name != left_out]
    image = plot_norms({name: [(i, 1.0) for i in range(1, 21)] for name in names})
    for name in names:
        rows, columns = np.nonzero((image[:50] == NORMS[name][1]).all(axis=2))
        print(name, rows.min(), rows.max(), columns.min(), columns.max())
        assert np.ptp(rows) == 3 and np.ptp(columns) == 17, "its mark is whole"


def test_only_the_curves_that_are_there_are_in_the_legend() -> None:
    for shown in (["total"], ["classifier", "negative"], ["generative", "contrast", "total"], TOGETHER):
        image = plot_norms({name: [(1, 1.0), (9, 2.0)] for name in shown})
        legend = image[10:40].reshape(-1, 3)
        assert [name for name in NORMS if (legend == NORMS[name][1]).all(axis=1).any()] == shown


@pytest.mark.parametrize("last", [1, 2, 7, 300, 1500, 10_000, 100_000])
@pytest.mark.parametrize("scale", [1e-12, 3e-5, 1e-2, 1.0, 77.0, 1e9])
def test_every_length_and_scale_can_be_drawn(last: int, scale: float) -> None:
    curve = [(i, scale * (1 + i / last)) for i in sorted({1, max(1, last // 2), last})]
    image = plot_norms({name: curve for name in TOGETHER})
    assert image.shape == (SIZE[1], SIZE[0], 3)
    # The labels of both axes are written, whole: the outermost columns and the last row stay empty.
    background = image[0, 0]
    assert (image[:, :4] == background).all() and (image[-4:] == background).all()
    assert (image[40:480, 4:74] != background).any() and (image[478:508] != background).any()


@pytest.mark.parametrize("points", [[(5, 1.0)], [(5, 1.0), (5, 1.0)]])
def test_a_single_value_is_a_dot_at_its_place(points: list[tuple[int, float]]) -> None:
    """Of a run of ten steps only the fifth has a norm: half way along both axes."""
    image = plot_norms({"total": points, "generative": [(1, 10.0), (10, 0.1)]})
    rows, columns = np.nonzero((image[50:] == NORMS["total"][1]).all(axis=2))
    print(f"rows {rows.min()}..{rows.max()}, columns {columns.min()}..{columns.max()}")
    assert 1 <= np.ptp(rows) <= 4 and 1 <= np.ptp(columns) <= 4
    assert abs(rows.mean() + 50 - 259.5) < 1.5, "the middle between 10, row 52, and 0.1, row 467"
    assert abs(columns.mean() - 287.5) < 1.5, "the middle between 0, column 84, and 10, column 491"


def test_lines_are_smooth_and_bands_are_see_through() -> None:
    steep = plot_norms({"total": [(1, 1.0), (10, 0.1)]})
    mixed = {tuple(color) for color in steep[60:460, 90:480].reshape(-1, 3).tolist()}
    print(f"{len(mixed)} colours along one slanted line")
    assert len(mixed) > 10
    noise = np.random.default_rng(0).uniform(0.2, 0.8, 4000)
    image = plot_norms({"classifier": [(i + 1, value) for i, value in enumerate(noise)]}).astype(int)
    column = image[:, 400]
    tinted = (column[:, 2] - column[:, 0] > 10) & (np.abs(column - NORMS["classifier"][1]).max(axis=1) > 60)
    print(f"{tinted.sum()} rows of the band, {len(np.unique(column[tinted], axis=0))} colours")
    assert tinted.sum() > 30 and len(np.unique(column[tinted], axis=0)) >= 2, "the grid is seen through it"


def test_the_legend_is_told_apart_by_more_than_colour() -> None:
    """Each formula looks different, and no sign of one is missing in the font: such signs are all the same box."""
    found = {}
    for name in NORMS:
        legend = plot_norms({name: [(1, 1.0), (9, 2.0)]})[:45, 84 + 20 :]
        found[name] = legend.tobytes()
        assert (legend.max(axis=2) > 150).any(), f"{name} has a formula"
    assert len(set(found.values())) == len(NORMS)
    for formula, _ in NORMS.values():
        for sign in formula.replace("_", "").replace(" ", ""):
            assert sign.isascii(), f"Pillow's font has no {sign}"
