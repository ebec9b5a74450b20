"""The supervisor as its worker sees it: orders that are not carried out yet, reports that are not sent yet."""

from __future__ import annotations

import math
from collections import deque
from multiprocessing.connection import Connection
from typing import assert_never

from queuectl.jobs.verdict import Claimed
from queuectl.system.clock import Clock
from queuectl.worker.channel import Channel
from queuectl.worker.executors.base import Executor
from queuectl.worker.messages import Abandon, Cancel, Feed, Kill, Order, Report, Resize, SplitFile, Stop

# A report waits for others for this long at most.
_REPORT_WITHIN_S = 0.04


class Link:
    """The supervisor of one worker."""

    def __init__(self, conn: Connection, executor: Executor, clock: Clock) -> None:
        self.channel = Channel(conn, executor)
        self.names: deque[str] = deque()
        """Names to claim, in this order."""
        self.to_split: set[str] = set()
        """Those of them that are files of many jobs, to be split without waiting any longer."""
        self.slots = 0
        """How many slots the worker is to have; 0: as many as it began with."""
        self.is_stopping = False
        self.is_killing = False
        self.is_abandoning = False
        """True if the spool is not the one that this worker began with: nothing must be written there any more."""
        self.stop_asked_s = -math.inf
        """When somebody last asked to stop (monotonic)."""
        self.has_news = False
        """True if there is an order, or a request to stop, that a run has to know of."""
        self._cancels: dict[tuple[str, int], Cancel] = {}
        """Requests to end runs, by job and attempt."""
        self._clock = clock
        self._low_water = 0
        """With no more names than this left, reports are sent, so that the supervisor can refill in time."""
        self._reports: list[Report] = []
        self._reported_s = clock.monotonic()

    # -------------------------------------------------------------------------------------------------- orders

    def wait(self, timeout_s: float | None) -> None:
        """Wait until an order comes or a command may have ended (None: without limit), and take in the orders.

        May end early.

        Raises:
            OSError: the system cannot wait.
        """
        channel = self.channel
        has_message = channel.wait(timeout_s)
        while has_message:
            try:
                order = channel.receive()
            except (EOFError, OSError):
                channel.disconnect()
                self.stop()
                return
            self._take_in(order)
            has_message = channel.wait(0)

    def stop(self) -> None:
        """Claim nothing more; end after the job that runs."""
        self.is_stopping = True
        self.note_stop()

    def note_stop(self) -> None:
        """Remember that somebody has asked this pool, or everything that runs on this machine, to stop."""
        self.stop_asked_s = self._clock.monotonic()
        self.has_news = True

    def cancels(self, claimed: Claimed) -> Cancel | None:
        """Return the request to end this run, if there is one."""
        return self._cancels.get((claimed.job_id, claimed.attempt)) if self._cancels else None

    def forget_news(self) -> None:
        """Forget the requests that every run has seen."""
        self._cancels.clear()

    def _take_in(self, order: Order) -> None:
        match order:
            case Feed(names):
                self.names.extend(names)
                self._low_water = len(self.names) // 2
            case SplitFile(name):
                self.to_split.add(name)
                self.names.append(name)
            case Cancel():
                self._cancels[order.job_id, order.attempt] = order
                self.has_news = True
            case Resize(slots):
                self.slots = slots
            case Stop():
                self.stop()
            case Kill():
                self.is_killing = True
                self.stop()
            case Abandon():
                self.is_abandoning = self.is_killing = True
                self.stop()
            case _:
                assert_never(order)

    # ------------------------------------------------------------------------------------------------- reports

    def report(self, report: Report) -> None:
        """Add a report to those that `flush` sends."""
        self._reports.append(report)

    def flush(self) -> None:
        """Send the reports. An empty message says that this worker is ready."""
        if not self.channel.is_connected:
            return
        self._reported_s = self._clock.monotonic()
        self._low_water = len(self.names) // 2
        reports, self._reports = self._reports, []
        try:
            self.channel.send(reports)
        except OSError:
            self.is_stopping = True
            self.channel.disconnect()

    def flush_in_time(self) -> None:
        """Send the reports if few names are left or if the last report was a while ago."""
        if self._reports and (len(self.names) <= self._low_water or self.flush_due_s() < self._clock.monotonic()):
            self.flush()

    def flush_due_s(self) -> float:
        """Return when the reports have to be sent (monotonic); never, if there are none."""
        return self._reported_s + _REPORT_WITHIN_S if self._reports else math.inf
