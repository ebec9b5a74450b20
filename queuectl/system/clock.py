"""The two clocks. Everything that depends on time takes a `Clock`, so that tests can pass their own."""

from __future__ import annotations

import time


class Clock:
    """The machine's clocks. A job reads them nine times, so these are the functions of Python themselves."""

    now = staticmethod(time.time)
    """Return the wall clock in seconds since 1970 UTC. It may jump: use it only for instants to show or store."""
    monotonic = staticmethod(time.monotonic)
    """Return a clock in seconds that never jumps, to measure durations."""
