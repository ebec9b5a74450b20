"""The supervisor of a pool: one loop that waits for sources and does duties, and nothing else.

The loop shares only the spool with the workers. Every message to a worker is a suggestion, and all the loop's knowledge
may be out of date. The claim alone makes a run correct, so several pools, or a killed supervisor, do no harm. `parts`
creates the sources and the duties; a new one needs one line there.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Protocol

from queuectl.system.clock import Clock
from queuectl.system.selector import Selector


class Source(Protocol):
    """Something to wait for: a worker, an inbox process, file system events, a signal."""

    @property
    def conn(self) -> Connection | int | None:
        """The handle that becomes readable, or None while there is nothing to wait for."""

    def receive(self) -> None:
        """Receive what has arrived."""


class Duty(Protocol):
    """Something to do repeatedly."""

    def step(self, now_s: float) -> None:
        """Do briefly what is due now (monotonic). The loop calls this after each wait."""

    def due_s(self) -> float | None:
        """Return when work is due without an event (monotonic), or None."""


class Supervisor:
    """The loop of one pool.

    Args:
        clock: for the waits.
        sources: what to wait for, in the order in which they receive.
        duties: what to do after each wait, in order.
        flush: called before each wait, to pass on the events of the round.
    """

    def __init__(self, clock: Clock, sources: list[Source], duties: list[Duty], *, flush: Callable[[], None]) -> None:
        self._clock = clock
        self._sources = sources
        self._duties = duties
        self._flush = flush
        self._selector = Selector()

    def run(self, *, until: Callable[[], bool]) -> None:
        """Repeat rounds until `until` returns True."""
        while not until():
            self._flush()
            self._wait()
            now_s = self._clock.monotonic()
            for duty in self._duties:
                duty.step(now_s)

    def _wait(self) -> None:
        """Wait until a source is readable or a duty is due, then call `receive` of readable sources."""
        by_conn = {conn: source for source in self._sources if (conn := source.conn) is not None}
        for conn in self._selector.wait(list(by_conn), self._timeout_s()):
            by_conn[conn].receive()

    def _timeout_s(self) -> float:
        due = [due_s for duty in self._duties if (due_s := duty.due_s()) is not None]
        return max(0.0, min(due) - self._clock.monotonic())
