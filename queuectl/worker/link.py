"""The worker's view of its supervisor: orders that are not carried out yet, and reports that are not sent yet."""

from __future__ import annotations

import math
from collections import deque
from multiprocessing.connection import Connection
from typing import Any, assert_never

from queuectl.jobs.verdict import Claimed, Returned
from queuectl.system.clock import Clock
from queuectl.worker.channel import Channel
from queuectl.worker.executors.base import Executor
from queuectl.worker.lanes import Lanes
from queuectl.worker.messages import (
    Abandon,
    Cancel,
    Feed,
    Kill,
    Leave,
    Order,
    Passed,
    Reload,
    Report,
    Resize,
    SetQueues,
    SplitFile,
    Stop,
)

# A report waits at most this long for others.
_REPORT_WITHIN_S = 0.04
# A signal that ends a command within this time of a request to stop has the same cause, and a supervisor that gets it
# as well has ordered the stop by then.
STOP_WITHIN_S = 1.0


class Link:
    """The supervisor of one worker."""

    def __init__(self, conn: Connection, executor: Executor, clock: Clock) -> None:
        self.channel = Channel(conn, executor)
        self.names: deque[str] = deque()
        """Names to claim, in this order."""
        self.lanes = Lanes()
        """The names that wait behind others of their queue."""
        self.to_split: set[str] = set()
        """The names of files of many jobs that must be split without waiting any longer."""
        self.slots = 0
        """How many slots the worker should have; 0: as many as at its start."""
        self.new_settings: dict[str, Any] = {}
        self.new_queues: dict[str, tuple[Any, ...]] | None = None
        """Values of settings to use for the next attempts, by field."""
        self.is_stopping = False
        self.is_killing = False
        self.is_leaving = False
        """True if the commands of this worker, which run on nodes, go on without it."""
        self.is_abandoning = False
        """True if the spool is not the one that this worker started with, so nothing more may be written there."""
        self.stop_asked_s = -math.inf
        """When somebody last asked to stop (monotonic)."""
        self.held_until_s = -math.inf
        """Until when no name may be claimed (monotonic): a system that stops may have signalled this process first."""
        self.has_news = False
        """True if an order, or a request to stop, concerns a run."""
        self._cancels: dict[tuple[str, int], Cancel] = {}
        """Requests to end runs, by job and attempt."""
        self._clock = clock
        self._low_water = 0
        """If no more names than this are left, reports are sent, so that the supervisor can send names in time."""
        self._reports: list[Report] = []
        self.flush_by_s = math.inf
        """When the reports have to be sent (monotonic); infinite without any."""
        self._reported_s = clock.monotonic()

    # -------------------------------------------------------------------------------------------------- orders

    def wait(self, timeout_s: float | None) -> None:
        """Wait until an order comes or a command may have ended (None: without limit), and receive one order.

        May end early. The next order comes with the next call, because a drop may wait for this one.

        Raises:
            OSError: the system cannot wait.
        """
        channel = self.channel
        if not channel.wait(timeout_s):
            return
        try:
            order = channel.receive()
        except (EOFError, OSError):
            channel.disconnect()
            self.stop()
            return
        self._take_in(order)

    def stop(self) -> None:
        """Claim no more jobs; end after the running job."""
        self.is_stopping = True
        self.note_stop()

    def retire(self) -> None:
        """Claim no more jobs, not those either whose names wait here; the supervisor gives these to others."""
        self.is_stopping = True
        self.lanes.give_all_back(self.names)
        self.names.clear()

    def note_stop(self) -> None:
        """Remember a request to stop, for this pool or for every process on this machine."""
        self.stop_asked_s = self._clock.monotonic()
        self.held_until_s = self.stop_asked_s + STOP_WITHIN_S
        self.has_news = True

    def is_held(self) -> bool:
        """Return whether no name may be claimed now, because a request to stop has just been noted."""
        if self.held_until_s > -math.inf and self._clock.monotonic() >= self.held_until_s:
            self.held_until_s = -math.inf
        return self.held_until_s > -math.inf

    def cancels(self, claimed: Claimed) -> Cancel | None:
        """Return the request to end this run, if there is one."""
        return self._cancels.get((claimed.job_id, claimed.attempt)) if self._cancels else None

    def forget_news(self) -> None:
        """Forget the requests that every run has seen."""
        self._cancels.clear()

    def _take_in(self, order: Order) -> None:
        match order:
            case Feed(names, at_once):
                if at_once:
                    self.names.extendleft(reversed(self.lanes.take_in(names, at_once)))
                self.names.extend(names)
                self._low_water = (len(self.names) + self.lanes.waiting) // 2
            case SplitFile(name):
                self.to_split.add(name)
                self.names.append(name)
            case Cancel():
                self._cancels[order.job_id, order.attempt] = order
                self.has_news = True
            case Resize(slots):
                self.slots = slots
            case Reload(values):
                self.new_settings = values
            case SetQueues(values):
                self.new_queues = values
            case Stop():
                self.stop()
            case Kill():
                self.is_killing = True
                self.stop()
            case Leave():
                self.is_leaving = True
                self.stop()
            case Abandon():
                self.is_abandoning = self.is_killing = True
                self.stop()
            case _:
                assert_never(order)

    # ------------------------------------------------------------------------------------------------- reports

    def report(self, report: Report) -> None:
        """Add a report to those that `flush` sends."""
        if not self._reports:
            self.flush_by_s = self._reported_s + _REPORT_WITHIN_S
        self._reports.append(report)

    def return_behind(self, name: str) -> None:
        """Return the names that wait for the end of a run, because it lasts, or its queue lets no more in."""
        if self.lanes.waiting:
            for each in reversed(self.lanes.give_back(name)):
                self.report(Passed(each, Returned()))

    def flush(self) -> None:
        """Send the reports, or drop them if the supervisor is gone. An empty message says that this worker is ready."""
        self._reported_s = self._clock.monotonic()
        self._low_water = (len(self.names) + self.lanes.waiting) // 2
        reports, self._reports = self._reports, []
        self.flush_by_s = math.inf
        if not self.channel.is_connected:
            return
        try:
            self.channel.send(reports)
        except OSError:
            self.is_stopping = True
            self.channel.disconnect()

    def flush_in_time(self) -> None:
        """Send the reports if few names are left or if the last report was a while ago."""
        if len(self.names) + self.lanes.waiting <= self._low_water or self.flush_by_s < self._clock.monotonic():
            self.flush()
