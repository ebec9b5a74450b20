"""The inbox processes of a pool, one per inbox in the settings: start them, receive their reports, restart them.

Loaded only if the settings name an inbox, or if an inbox that they no longer name has left files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from queuectl.inbox import process
from queuectl.inbox.handover import Handover
from queuectl.inbox.process import NO_MORE, STOP, Report
from queuectl.inbox.state import read_all, remove
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.pool import worker_process
from queuectl.spool.session import Session
from queuectl.system import files

# After a process has ended, a new one starts this much later.
_AGAIN_S = 1.0
# A process that gives no sign of life (`inbox.process.BEAT_S`) for this long hangs, and is killed. The next one gets
# twice the time, and starts after twice the pause. So a folder that takes minutes to list is listed in the end, and a
# folder that never answers costs little. Between two steps at most _STEP_S counts, because the machine may have slept,
# or the pool may have been suspended.
_SILENT_S = 60.0
_SILENT_MOST_S = 3600.0
_PAUSE_MOST_S = 300.0
_STEP_S = 2.0
# A pool that drains does not wait for a process that has not reported on its inbox within this time.
_HANGS_S = 10.0
# How long the last receipts may take when a pool ends.
_FINISH_S = 3.0


class _Child:
    """The process of one inbox."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.process: Any = None
        self.conn: Connection | None = None
        self.started_s = 0.0
        self.next_s = 0.0
        self.is_drained: bool | None = None
        self.silent_s = 0.0
        self.hung = 0
        """How many processes in a row have hung."""

    @property
    def patience_s(self) -> float:
        """How long the process may give no sign of life."""
        return float(min(_SILENT_MOST_S, _SILENT_S * 2**self.hung))


class InboxProcesses:
    """The inbox processes of one pool. `notify` is called with messages for people."""

    def __init__(self, session: Session, *, notify: Notify) -> None:
        self._session = session
        self._spool = session.spool
        self._settings = session.settings
        self._clock = session.clock
        self._notify = notify
        self._children = [_Child(inbox.owner) for inbox in session.settings.inboxes]
        self._takes_files = True
        self._stepped_s = self._clock.monotonic()

    def clean_up(self) -> list[str]:
        """Publish or remove the files of inboxes that the settings no longer name; return the names in pending/."""
        mine = {child.owner for child in self._children}
        for state in read_all(self._spool):
            if state.owner not in mine:
                remove(self._spool, state.owner)
        published = []
        with contextlib.suppress(FileNotFoundError):
            for owner in files.names(self._spool.handover_dir):
                hands = Handover(self._session, owner)
                hands.sweep()
                if owner not in mine:
                    published += hands.publish_all()
        return published

    def step(self, *, fork: bool, close_inherited: Callable[[], None]) -> None:
        """Start the processes that do not run, and kill those that hang. Call this repeatedly."""
        now_s = self._clock.monotonic()
        passed_s, self._stepped_s = min(_STEP_S, now_s - self._stepped_s), now_s
        for child in self._children:
            child.silent_s += passed_s
            if child.conn is not None and child.silent_s >= child.patience_s and not self._has_report(child):
                self._end_hanging(child)
            if child.conn is not None and child.process.exitcode is not None and not child.conn.poll(0):
                self._lost(child)  # the pipe does not show it: on Windows the process never fetched its end
            if child.conn is None and self._takes_files and now_s >= child.next_s:
                try:
                    facts = (self._spool.root, child.owner, tuple(self._settings))
                    child.process, child.conn = worker_process.start_child(
                        process.main, facts, name=f"inbox-{child.owner}", fork=fork, close_inherited=close_inherited
                    )
                    child.started_s, child.silent_s = now_s, 0.0
                except OSError as error:
                    child.next_s = now_s + _AGAIN_S
                    self._warn(f"{child.owner}: the receiver cannot start: {error.strerror or error}")

    def sources(self, add: Callable[[list[str]], None]) -> list[InboxSource]:
        """Return a source for each inbox; `add` gets the names in pending/ that its process publishes."""
        return [InboxSource(child, self, add) for child in self._children]

    def receive(self, child: _Child) -> list[str]:
        """Receive a report of an inbox process; return the names in pending/ that it published."""
        assert child.conn is not None
        try:
            report: Report = child.conn.recv()
        except (EOFError, OSError):
            self._lost(child)
            return []
        child.silent_s = 0.0
        if report.is_drained is None:
            return []
        child.is_drained, child.hung = report.is_drained, 0
        for notice in report.notices:
            self._notify(notice._replace(text=f"{child.owner}: {notice.text}"))
        return report.published

    @property
    def is_drained(self) -> bool:
        """True if every reachable inbox was listed, and all its files are accepted."""
        now_s = self._clock.monotonic()
        return all(
            child.is_drained or (child.is_drained is None and child.conn and now_s - child.started_s >= _HANGS_S)
            for child in self._children
        )

    def pause(self) -> None:
        """Tell the processes to accept no more files, because the pool ends."""
        if self._takes_files:
            self._takes_files = False
            self._send(NO_MORE)

    def close(self) -> None:
        """Tell the processes to write the last receipts and end. Kill any that hang."""
        self.pause()
        self._send(STOP)
        until_s = self._clock.monotonic() + _FINISH_S
        for child in self._children:
            if child.process is None:
                continue
            child.process.join(max(0.01, until_s - self._clock.monotonic()))
            if child.process.exitcode is None:
                with contextlib.suppress(OSError, AttributeError):
                    child.process.kill()
                child.process.join(0.5)
        self.close_inherited()

    def close_inherited(self) -> None:
        """Close our ends of the pipes, also in a forked process, which does not use them."""
        for child in self._children:
            if child.conn is not None:
                child.conn.close()
                child.conn = None

    def _send(self, word: str) -> None:
        for child in self._children:
            if child.conn is not None:
                with contextlib.suppress(OSError):
                    child.conn.send(word)

    @staticmethod
    def _has_report(child: _Child) -> bool:
        """True if the pipe holds a report, or has ended."""
        try:
            return child.conn is not None and child.conn.poll(0)
        except OSError:
            return True

    def _end_hanging(self, child: _Child) -> None:
        assert child.conn is not None
        silent = f"the receiver has not answered for {child.patience_s:.0f} s"
        child.hung += 1
        pause_s = min(_PAUSE_MOST_S, _AGAIN_S * 2**child.hung)
        with contextlib.suppress(OSError, AttributeError):
            child.process.kill()
        child.conn.close()
        child.conn = None
        child.process.join(0.5)
        child.is_drained = None
        child.started_s = self._clock.monotonic()
        child.next_s = child.started_s + pause_s
        self._warn(f"{child.owner}: {silent} and was killed; a new one starts in {pause_s:.0f} s")

    def _warn(self, text: str) -> None:
        self._notify(Notice(WARNING, "inbox", text))

    def _lost(self, child: _Child) -> None:
        if child.conn is not None:
            child.conn.close()
            child.conn = None
        child.process.join(0.5)
        child.next_s = self._clock.monotonic() + _AGAIN_S
        child.is_drained = None
        child.started_s = self._clock.monotonic()
        if self._takes_files:
            code = child.process.exitcode
            self._warn(f"{child.owner}: the receiver ended with {code}; starting a new one")


class InboxSource:
    """An inbox process as a source of the loop."""

    def __init__(self, child: _Child, inboxes: InboxProcesses, add: Callable[[list[str]], None]) -> None:
        self._child = child
        self._inboxes = inboxes
        self._add = add

    @property
    def conn(self) -> Connection | None:
        """The pipe of the process, or None while there is no process."""
        return self._child.conn

    def receive(self) -> None:
        """Receive the next report."""
        self._add(self._inboxes.receive(self._child))
