"""Processes that a storm stops for a while: slow is not dead."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time


class Stalls:
    """The processes that are stopped now, and when each goes on (monotonic seconds)."""

    def __init__(self, rng: random.Random, *, shortest_s: float, longest_s: float) -> None:
        self._rng = rng
        self._length_s = (shortest_s, longest_s)
        self._until_s: dict[int, float] = {}

    def stop(self, pid: int) -> bool:
        """SIGSTOP a process; return False if `pid` is 0."""
        if pid:
            os.kill(pid, signal.SIGSTOP)
            self._until_s[pid] = time.monotonic() + self._rng.uniform(*self._length_s)
        return bool(pid)

    def go_on(self, now_s: float) -> None:
        """SIGCONT the processes whose time is up."""
        for pid in [pid for pid, until_s in self._until_s.items() if until_s <= now_s]:
            del self._until_s[pid]
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
