"""Estimate how long the next job takes, and how many names a worker gets in advance."""

from __future__ import annotations

# A worker gets this much work in advance: enough to hide the round trip of the pipe behind short jobs, but too little
# to delay a job of high priority behind long ones. The number of jobs follows from their estimated duration.
AHEAD_S = 0.08
AHEAD_AT_MOST = 31
# One run changes the estimate by this share.
_SHARE = 0.2


class Pace:
    """An estimate of how long the next job takes."""

    def __init__(self) -> None:
        self.job_s = AHEAD_S
        """The estimate, in seconds."""

    def record(self, took_s: float) -> None:
        """Take a run into account."""
        self.job_s += (min(took_s, 1.0) - self.job_s) * _SHARE

    def names_at_once(self) -> int:
        """Return how many names a worker may have, including the one that it runs.

        If jobs take more than half of `AHEAD_S`, the number is one, because a worker would soon return the names behind
        such a job (see `dispatcher.LONG_S`).
        """
        ahead = int(AHEAD_S / max(self.job_s, 1e-3))
        return 1 + min(AHEAD_AT_MOST, ahead) if ahead > 1 else 1
