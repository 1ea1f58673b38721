"""The verdicts on the paper's claims, from outcomes that are made up to show them or not."""

from __future__ import annotations

import csv
import io

import pytest

from csd_addon.core.diagnosis import FIGURE_2, FIGURE_5, VARIANTS, Outcome, claims, norms_table, results_table

STEPS = [{"generative": 0.9, "classifier": 0.1, "total": 4.0}] * 3


def outcomes(**gains: float) -> dict[str, Outcome]:
    """Outcomes as the paper has them, but for the ``gains`` that are named."""
    paper = {"sds_0": 0.0, "sds_7.5": 0.01, "sds_40": 0.02, "sds_100": 0.02, "csd": 0.02, "csd_constant": 0.02,
             "csd_annealed": 0.02}  # fmt: skip
    made = {name: Outcome(STEPS, gain, 20.0, 10.0) for name, gain in (paper | gains).items()}
    made["sds_0"] = Outcome([{"generative": 0.9, "total": 0.9}] * 3, made["sds_0"].gain, 5.0, 1.0)
    return made


def shown(made: dict[str, Outcome]) -> list[bool]:
    return [claim.shows for claim in claims(made)]


def test_the_papers_own_picture_shows_all_three_claims() -> None:
    made = outcomes()
    for claim in claims(made):
        print(claim)
    assert shown(made) == [True, True, True]
    assert "0.900 / 0.100 = 9.0 times" in claims(made)[0].figures


@pytest.mark.parametrize(
    ("gains", "expected"),
    [({"sds_0": 0.015}, [True, False, True]), ({"csd": 0.015}, [True, True, False]),
     ({"sds_100": 0.1}, [True, True, False]), ({"csd": 0.0161}, [True, True, True])],
)  # fmt: skip
def test_a_claim_that_does_not_show_is_said_so(gains: dict[str, float], expected: list[bool]) -> None:
    assert shown(outcomes(**gains)) == expected


def test_a_small_ratio_is_no_several_times() -> None:
    made = outcomes()
    made["sds_40"] = Outcome([{"generative": 0.2, "classifier": 0.1, "total": 1.0}], 0.02, 1, 1)
    assert shown(made) == [False, True, True]


def test_every_figure_names_runs_that_are_made() -> None:
    assert {*FIGURE_2, *FIGURE_5} == {variant.name for variant in VARIANTS}
    assert [variant.negative for variant in VARIANTS].count(True) == 2


def test_the_tables_hold_every_step_and_every_run() -> None:
    made = outcomes()
    rows = list(csv.DictReader(io.StringIO(norms_table(made))))
    assert len(rows) == 7 * 3 and rows[0] == {
        "run": "sds_0", "iteration": "1", "classifier": "", "generative": "0.9", "total": "0.9",
    }  # fmt: skip
    results = {row["run"]: row for row in csv.DictReader(io.StringIO(results_table(made)))}
    assert results["sds_0"]["classifier"] == "" and results["csd"]["gain"] == "0.02" and len(results) == 7
