"""The receivers of a pool: one process for each inbox of the settings, started, listened to, started again.

Loaded only where the settings name an inbox, or where one that they do not name any more has left something.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from queuectl.inbox import process
from queuectl.inbox import state as inboxstate
from queuectl.inbox.handover import Handover
from queuectl.inbox.process import NO_MORE, STOP, Report
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.pool import worker_process
from queuectl.spool.session import Session
from queuectl.system import files

# One that ends is followed by another this much later.
_AGAIN_S = 1.0
# One that gives no sign of life (`receiver.BEAT_S`) for so long hangs, and is killed. The next one gets twice the time,
# and starts after twice the pause: a folder that takes minutes to list is listed in the end, and one that never answers
# costs little. A time in which we did not look counts for little: a machine that slept, a pool that was stopped.
_SILENT_S = 60.0
_SILENT_MOST_S = 3600.0
_PAUSE_MOST_S = 300.0
_LOOKED_S = 2.0
# What does not tell within this time whether its inbox is empty holds up no pool that ends when nothing is left.
_HANGS_S = 10.0
# How long the last receipts may take when a pool ends.
_FINISH_S = 3.0


class _Child:
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.process: Any = None
        self.conn: Connection | None = None
        self.started_s = 0.0
        self.next_s = 0.0
        self.is_drained: bool | None = None
        self.silent_s = 0.0
        self.hung = 0
        """How many of them in a row have hung."""

    @property
    def patience_s(self) -> float:
        """For how long it may give no sign of life."""
        return float(min(_SILENT_MOST_S, _SILENT_S * 2**self.hung))


class InboxProcesses:
    """The receiver processes of one pool. `notify` is called for what people should know."""

    def __init__(self, session: Session, *, notify: Notify) -> None:
        self._session = session
        self._spool = session.spool
        self._settings = session.settings
        self._clock = session.clock
        self._notify = notify
        self._children = [_Child(inbox.owner) for inbox in session.settings.inboxes]
        self._takes = True
        self._looked_s = self._clock.monotonic()

    def clean_up(self) -> list[str]:
        """See to what inboxes have left that the settings do not name any more; names published in pending/."""
        mine = {child.owner for child in self._children}
        for state in inboxstate.read_all(self._spool):
            if state.owner not in mine:
                inboxstate.remove(self._spool, state.owner)
        published = []
        with contextlib.suppress(FileNotFoundError):
            for owner in files.names(self._spool.handover_dir):
                hands = Handover(self._session, owner)
                hands.sweep()
                if owner not in mine:
                    published += hands.publish_all()
        return published

    def step(self, *, fork: bool, close_inherited: Callable[[], None]) -> None:
        """Start those that do not run, and kill those that hang. To be called again and again."""
        now_s = self._clock.monotonic()
        passed_s, self._looked_s = min(_LOOKED_S, now_s - self._looked_s), now_s
        for child in self._children:
            child.silent_s += passed_s
            if child.conn is not None and child.silent_s >= child.patience_s and not self._has_word(child):
                self._end_hanging(child)
            if child.conn is not None and child.process.exitcode is not None and not child.conn.poll(0):
                self._lost(child)  # its pipe does not tell: on Windows it never fetched its end
            if child.conn is None and self._takes and now_s >= child.next_s:
                try:
                    facts = (self._spool.root, child.owner, tuple(self._settings))
                    child.process, child.conn = worker_process.start_child(
                        process.main, facts, name=f"inbox-{child.owner}", fork=fork, close_inherited=close_inherited
                    )
                    child.started_s, child.silent_s = now_s, 0.0
                except OSError as error:
                    child.next_s = now_s + _AGAIN_S
                    self._warn(f"{child.owner}: cannot start its receiver: {error.strerror or error}")

    def sources(self, add: Callable[[list[str]], None]) -> list[InboxSource]:
        """Return a source for each inbox; `add` gets the names in pending/ that its process publishes."""
        return [InboxSource(child, self, add) for child in self._children]

    def receive(self, child: _Child) -> list[str]:
        """Take in a report of an inbox process; return the names in pending/ that it published."""
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
        """True where each inbox that can be reached was listed, and all that was there is taken in."""
        now_s = self._clock.monotonic()
        return all(
            child.is_drained or (child.is_drained is None and child.conn and now_s - child.started_s >= _HANGS_S)
            for child in self._children
        )

    def pause(self) -> None:
        """Take nothing more in: the pool ends."""
        if self._takes:
            self._takes = False
            self._say(NO_MORE)

    def close(self) -> None:
        """Have the last receipts written, and end the processes; one that hangs is killed."""
        self.pause()
        self._say(STOP)
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
        """Close our ends of the pipes, also in a process that was forked and has no part in them."""
        for child in self._children:
            if child.conn is not None:
                child.conn.close()
                child.conn = None

    def _say(self, word: str) -> None:
        for child in self._children:
            if child.conn is not None:
                with contextlib.suppress(OSError):
                    child.conn.send(word)

    @staticmethod
    def _has_word(child: _Child) -> bool:
        """True if something of it waits to be heard, its end as well."""
        try:
            return child.conn is not None and child.conn.poll(0)
        except OSError:
            return True

    def _end_hanging(self, child: _Child) -> None:
        assert child.conn is not None
        silent = f"its receiver has not answered for {child.patience_s:.0f} s"
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
        self._warn(f"{child.owner}: {silent} and is killed; another one starts in {pause_s:.0f} s")

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
        if self._takes:
            code = child.process.exitcode
            self._warn(f"{child.owner}: its receiver ended with {code}; starting another")


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
        """Take in the next report."""
        self._add(self._inboxes.receive(self._child))
