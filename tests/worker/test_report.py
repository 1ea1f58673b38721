"""The figures of a finished run."""

from __future__ import annotations

import numpy as np
import pytest

from csd_addon.worker.bake.measure import PSNR_CEILING, psnr
from csd_addon.worker.run.report import quarters


def test_report_figures() -> None:
    a = np.zeros((10, 3))
    assert psnr(a, a) == PSNR_CEILING and psnr(a, a + 0.1) == pytest.approx(20)
    history = [{"total": float(i), "classifier": 1.0} for i in range(8)]
    assert quarters(history) == {"total": [0.5, 2.5, 4.5, 6.5], "classifier": [1.0] * 4}
    assert quarters([]) == {} and quarters(history[:1]) == {"total": [0.0], "classifier": [1.0]}
