"""How many files of an inbox may be accepted or rejected now: `max_waiting`, `max_per_minute`, and a limit per poll."""

from __future__ import annotations

from collections import deque

from queuectl.model.inbox import Inbox
from queuectl.system.clock import Clock

# One poll accepts or rejects at most this many files.
AT_ONCE = 100
_MINUTE_S = 60.0


class Limits:
    """Counts the accepted and rejected files of one inbox, and says which limit is reached."""

    def __init__(self, inbox: Inbox, *, clock: Clock) -> None:
        self._inbox = inbox
        self._clock = clock
        self._room = 0
        """How many jobs may still be accepted before `max_waiting` is reached."""
        self._acted = 0
        """How many files this poll has accepted or rejected."""
        self._acted_s: deque[float] = deque()
        """When files were accepted or rejected, within the last minute."""

    def begin(self, waiting: int) -> None:
        """Start a poll, while `waiting` jobs of the inbox wait to run."""
        self._room = self._inbox.max_waiting - waiting
        self._acted = 0
        if not self._inbox.max_per_minute:
            self._acted_s.clear()
            return
        now_s = self._clock.monotonic()
        while self._acted_s and now_s - self._acted_s[0] >= _MINUTE_S:
            self._acted_s.popleft()

    def count(self, *, taken: bool) -> None:
        """Count a file that was accepted (`taken`) or rejected."""
        self._acted += 1
        self._acted_s.append(self._clock.monotonic())
        self._room -= taken

    @property
    def is_poll_full(self) -> bool:
        """Whether this poll has done its share; the next poll handles the rest."""
        return self._acted >= AT_ONCE

    @property
    def may_reject(self) -> bool:
        """Whether one more file may be rejected now."""
        return not self.is_poll_full and not self._is_rate_reached()

    def reached(self) -> str:
        """Return the setting that keeps the next file in the inbox, with its value; "" if none does."""
        if self._is_rate_reached():
            return f"max_per_minute = {self._inbox.max_per_minute}"
        return f"max_waiting = {self._inbox.max_waiting}" if self._room <= 0 else ""

    def _is_rate_reached(self) -> bool:
        return bool(self._inbox.max_per_minute) and len(self._acted_s) >= self._inbox.max_per_minute
