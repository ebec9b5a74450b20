"""Circuit breaker for errors of the machine (disk full, no memory): start no job for a while, then try (promise P9).

The first error and the first success after it are reported. Errors in between only make the waits longer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from queuectl.model.notice import INFO, WARNING, Notice, Notify
from queuectl.system.clock import Clock

# How long no job is started after the first error in a row, the second ...
_WAIT_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class Breaker:
    """The circuit breaker of one pool.

    Args:
        where: the path to report for an error that names no file.
        clock: for the waits.
        notify: called with messages for people.
    """

    def __init__(self, where: str, *, clock: Clock, notify: Notify) -> None:
        self._where = where
        self._clock = clock
        self._notify = notify
        self.errors = 0
        """The errors in a row: not 0 from the first one until something succeeds."""
        self._until_s = 0.0

    @property
    def is_open(self) -> bool:
        """True while no job may be started."""
        return self._clock.monotonic() < self._until_s

    def hold(self, wait_s: float, text: str) -> None:
        """Start no job for this long, which is no error."""
        self._until_s = self._clock.monotonic() + wait_s
        self._notify(Notice(INFO, "waiting", text))

    def trip(self, text: str) -> None:
        """Stop new starts for a while. Another error during the wait (of a worker, of a scan) counts as the same."""
        if self.errors and self.is_open:
            return
        wait_s = _WAIT_S[min(self.errors, len(_WAIT_S) - 1)]
        if self.errors == 0:
            self._notify(Notice(WARNING, "trouble", f"paused: {text}; queuectl tries again automatically"))
        self.errors += 1
        self._until_s = self._clock.monotonic() + wait_s

    def reset(self) -> None:
        """Close the circuit: something succeeded."""
        if self.errors:
            self.errors = 0
            self._notify(Notice(INFO, "resumed", "working again"))

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Trip on an OSError in the block, and skip the rest of the block."""
        try:
            yield
        except OSError as error:
            self.trip(f"{error.strerror or error}: {error.filename or self._where}")
