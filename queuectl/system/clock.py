"""The two clocks. Everything that depends on time takes a `Clock`, so that tests can pass their own."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks."""

    def now(self) -> float:
        """Return the wall clock, seconds since 1970 UTC. It may jump: only for instants that are shown or stored."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never jump, to measure how long something took or has not changed."""
        return time.monotonic()
