"""The machine's trouble: nothing is started for a while, it is told once, and is tried again by itself (promise P9)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from queuectl.model.notice import INFO, WARNING, Notice, Notify
from queuectl.system.clock import Clock

# How long nothing is started, after the first of it, the second ...
_WAIT_S = (0.5, 1.0, 2.0, 5.0, 10.0)


class Troubles:
    """What the machine cannot do now, for one pool.

    Args:
        where: what to name where an error names no file.
        clock: for the waits.
        notify: called for what people should know.
    """

    def __init__(self, where: str, *, clock: Clock, notify: Notify) -> None:
        self._where = where
        self._clock = clock
        self._notify = notify
        self._count = 0
        self._until_s = 0.0

    @property
    def lasting(self) -> bool:
        """True from the first trouble until something has worked again."""
        return self._count > 0

    @property
    def waiting(self) -> bool:
        """True while nothing is to be started."""
        return self._clock.monotonic() < self._until_s

    def take(self, text: str) -> None:
        """There is trouble. What comes while its wait lasts (of other workers, of a look) is the same trouble."""
        if self._count and self.waiting:
            return
        wait_s = _WAIT_S[min(self._count, len(_WAIT_S) - 1)]
        if self._count == 0:
            self._notify(Notice(WARNING, "trouble", f"paused: {text}; trying again by itself"))
        self._count += 1
        self._until_s = self._clock.monotonic() + wait_s

    def over(self) -> None:
        """Something has worked."""
        if self._count:
            self._count = 0
            self._notify(Notice(INFO, "resumed", "working again"))

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """What the system refuses within is taken as trouble; what comes after the refusal is left out."""
        try:
            yield
        except OSError as error:
            self.take(f"{error.strerror or error}: {error.filename or self._where}")
