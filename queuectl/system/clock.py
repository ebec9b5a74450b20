"""The two clocks. Everything that depends on time is given a `Clock`, so that tests can give another."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks."""

    def now(self) -> float:
        """The wall clock, seconds since 1970 UTC. It may jump: only for instants that a person or the disk sees."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump; for measuring how long something took or has not changed."""
        return time.monotonic()
