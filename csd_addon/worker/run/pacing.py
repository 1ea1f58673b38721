"""When the next preview is due: by the clock, not by the number of steps. Times in seconds of one monotonic clock."""

from __future__ import annotations

# Previews take about this share of the time, but come neither sooner nor later than after so many seconds.
SHARE = 0.04
SHORTEST, LONGEST = 2.0, 5.0
# The next step and the next preview may take so much longer than the last ones.
_RESERVE = 1.5


class Pacing:
    """Asked after each step whether a preview is due, told when one has been shown."""

    def __init__(self, now: float) -> None:
        self._begun = self._stepped = now
        self._shown: float | None = None
        self._cost = 0.0

    def is_due(self, now: float) -> bool:
        """Whether a preview has to be shown ``now``, right after a step, so that it doesn't come too late."""
        step, self._stepped = now - self._stepped, now
        if self._shown is None:
            return True
        # The first one is grey all over, so the next follows soon.
        longest = min(LONGEST, SHORTEST + self._shown - self._begun)
        wait = min(max(self._cost / SHARE, SHORTEST), longest)
        return now - self._shown >= min(wait, LONGEST - _RESERVE * (step + self._cost))

    def shown(self, began: float, now: float) -> None:
        """A preview was made from ``began`` to ``now``."""
        self._shown = self._stepped = now
        self._cost = now - began
