"""What the paper claims of its loss, as runs to compare and as figures to judge (Fig 2 and Fig 5).

Every run has the same mesh, prompt, seed, views and steps; only the weights of the rows differ, and kappa is 0, as in
the paper. ``gain`` is the teacher's own verdict on the finished views: how much better the prompt explains them than
no prompt does, the mean over noise levels of (|eps_0 - eps|^2 - |eps_y - eps|^2) per element; above 0 the views look
more like the prompt than like anything else.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# A claim of "several times" counts as shown from this ratio on; a run fails below this share of the best one's gain,
# and suffices above that one.
SEVERAL, FAILS, SUFFICES = 3.0, 0.25, 0.8
SWEEP = (0.0, 7.5, 40.0, 100.0)

Norms = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Variant:
    """One run. expert: expert values (``core.settings``) over the teacher's own. negative: whether there is one."""

    name: str
    title: str
    loss: str
    expert: Mapping[str, Any]
    negative: bool = False


VARIANTS = (
    *(Variant(f"sds_{weight:g}", f"SDS w={weight:g}", "sds", {"sds_weight": weight}) for weight in SWEEP),
    Variant("csd", "CSD", "csd", {"w2": 0}),
    Variant("csd_constant", "CSD, w2=1", "csd", {"w2": 1}, negative=True),
    Variant("csd_annealed", "CSD, w2 1 to 0", "csd", {"w2": [0, 1, 0, 1]}, negative=True),
)
FIGURE_2 = ("sds_0", "sds_7.5", "sds_40", "sds_100", "csd")
FIGURE_5 = ("csd", "csd_constant", "csd_annealed")


@dataclass(frozen=True)
class Outcome:
    """norms: of every step. gain: see the module. chroma, contrast: of the views, mean CIELAB chroma and the standard
    deviation of L*."""

    norms: Norms
    gain: float
    chroma: float
    contrast: float

    def mean(self, name: str) -> float | None:
        """Mean of a gradient norm over the run, None where its rows were not evaluated."""
        values = [step[name] for step in self.norms if name in step]
        return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class Claim:
    """One of the paper's claims: what it says, whether it shows here, and the numbers."""

    claim: str
    shows: bool
    figures: str


def claims(outcomes: Mapping[str, Outcome]) -> list[Claim]:
    """The paper's three claims about Fig 2, judged by ``outcomes`` (names as in ``VARIANTS``)."""
    guided = {name: outcomes[name].gain for name in FIGURE_2 if name not in ("sds_0", "csd")}
    best = max(guided, key=lambda name: guided[name])
    generative, classifier = (outcomes["sds_40"].mean(name) for name in ("generative", "classifier"))
    assert generative is not None and classifier is not None
    ratio = generative / classifier
    zero, csd = outcomes["sds_0"].gain, outcomes["csd"].gain
    return [
        Claim(
            "The norm of the generative prior is several times that of the classifier score", ratio >= SEVERAL,
            f"{generative:.3f} / {classifier:.3f} = {ratio:.1f} times over the run at w = 40",
        ),
        Claim(
            "The generative prior alone (w = 0) fails", zero < FAILS * guided[best],
            f"gain {zero:+.5f} at w = 0, {guided[best]:+.5f} with {best}",
        ),
        Claim(
            "The classifier score alone suffices", csd >= SUFFICES * guided[best],
            f"gain {csd:+.5f} with CSD, {guided[best]:+.5f} with {best}",
        ),
    ]  # fmt: skip


def norms_table(outcomes: Mapping[str, Outcome]) -> str:
    """CSV: run, iteration and the norms of every step; empty where a row was not evaluated."""
    names = sorted({name for outcome in outcomes.values() for step in outcome.norms for name in step})
    rows = [["run", "iteration", *names]]
    for run, outcome in outcomes.items():
        for index, step in enumerate(outcome.norms, 1):
            rows.append([run, str(index), *(f"{step[name]:.6g}" if name in step else "" for name in names)])
    return _csv(rows)


def results_table(outcomes: Mapping[str, Outcome]) -> str:
    """CSV: one line for each run with its mean norms, gain, chroma and contrast."""
    rows = [["run", "generative", "classifier", "total", "gain", "chroma", "contrast"]]
    for run, outcome in outcomes.items():
        means = [outcome.mean(name) for name in ("generative", "classifier", "total")]
        values = [*means, outcome.gain, outcome.chroma, outcome.contrast]
        rows.append([run, *("" if value is None else f"{value:.6g}" for value in values)])
    return _csv(rows)


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
