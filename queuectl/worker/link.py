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
from queuectl.worker.messages import Abandon, Cancel, Feed, Kill, Order, Report, SplitFile, Started, Stop

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
        self.is_stopping = False
        self.is_killing = False
        self.is_abandoning = False
        """True if the spool is not the one that this worker began with: nothing must be written there any more."""
        self.stop_asked_s = -math.inf
        """When somebody last asked to stop (monotonic)."""
        self._cancel: Cancel | None = None
        """The last request to end a run."""
        self._clock = clock
        self._low_water = 0
        """With no more names than this left, reports are sent, so that the supervisor can refill in time."""
        self._reports: list[Report] = []
        self._reported_s = clock.monotonic()

    # -------------------------------------------------------------------------------------------------- orders

    def receive(self, *, wait_s: float | None = 0) -> None:
        """Take in the orders that are there; wait for the first one for `wait_s` (None: without limit)."""
        channel = self.channel
        if not channel.is_connected:
            self.is_stopping = True
            return
        try:
            while channel.wait(wait_s):
                wait_s = 0
                self._take_in(channel.receive())
        except (EOFError, OSError):
            channel.disconnect()
            self.stop()

    def pause(self, timeout_s: float) -> None:
        """Wait, and take in the orders that come meanwhile, which end the wait. May end early."""
        if self.channel.wait(timeout_s):
            self.receive()

    def stop(self) -> None:
        """Claim nothing more; end after the job that runs."""
        self.is_stopping = True
        self.note_stop()

    def note_stop(self) -> None:
        """Remember that somebody has asked this pool, or everything that runs on this machine, to stop."""
        self.stop_asked_s = self._clock.monotonic()

    def cancels(self, claimed: Claimed) -> Cancel | None:
        """Return the request to end this run, if there is one."""
        cancel = self._cancel
        return cancel if cancel is not None and cancel[:2] == (claimed.job_id, claimed.attempt) else None

    def _take_in(self, order: Order) -> None:
        match order:
            case Feed(names):
                self.names.extend(names)
                self._low_water = len(self.names) // 2
            case SplitFile(name):
                self.to_split.add(name)
                self.names.append(name)
            case Cancel():
                self._cancel = order
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

    def take_started(self) -> str:
        """Take back the report that a command runs, if it is the last one and not sent; return the command, or ""."""
        if self._reports and isinstance(started := self._reports[-1], Started):
            self._reports.pop()
            return started.command
        return ""

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
        is_late = self._clock.monotonic() - self._reported_s > _REPORT_WITHIN_S
        if is_late or len(self.names) <= self._low_water:
            self.flush()
