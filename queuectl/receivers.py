"""The receivers of a pool: one process for each inbox of the settings, started, listened to, started again.

Loaded only where the settings name an inbox, or where one that they do not name any more has left something.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from queuectl import fsops, inboxstate, receiver, slots
from queuectl.clock import Clock
from queuectl.config import Settings
from queuectl.handover import Handover
from queuectl.receiver import NO_MORE, STOP, Report
from queuectl.spool import SpoolDir

# One that ends is followed by another this much later; one that has told nothing for so long hangs.
_AGAIN_S = 1.0
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


class Receivers:
    """The receiver processes of one pool. `tell(level, text)` is called for what people should hear."""

    def __init__(self, spool: SpoolDir, settings: Settings, *, clock: Clock, tell: Callable[[str, str], None]) -> None:
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._children = [_Child(inbox.owner) for inbox in settings.inboxes]
        self._takes = True

    def clean_up(self) -> list[str]:
        """See to what inboxes have left that the settings do not name any more; names published in pending/."""
        mine = {child.owner for child in self._children}
        for state in inboxstate.read_all(self._spool):
            if state.owner not in mine:
                inboxstate.remove(self._spool, state.owner)
        published = []
        with contextlib.suppress(FileNotFoundError):
            for owner in fsops.names(self._spool.handover_dir):
                hands = Handover(self._spool, self._settings, owner, clock=self._clock, rng=random.Random())
                hands.sweep()
                if owner not in mine:
                    published += hands.publish_all()
        return published

    def step(self, *, fork: bool, let_go: Callable[[], None]) -> None:
        """Start those that do not run. To be called again and again."""
        now_s = self._clock.monotonic()
        for child in self._children:
            if child.conn is not None and child.process.exitcode is not None and not child.conn.poll(0):
                self._lost(child)  # its pipe does not tell: on Windows it never fetched its end
            if child.conn is None and self._takes and now_s >= child.next_s:
                try:
                    facts = (self._spool.root, child.owner, tuple(self._settings))
                    child.process, child.conn = slots.start_child(
                        receiver.main, facts, name=f"inbox-{child.owner}", fork=fork, let_go=let_go
                    )
                    child.started_s = now_s
                except OSError as error:
                    child.next_s = now_s + _AGAIN_S
                    self._tell("warning", f"{child.owner}: cannot start its receiver: {error.strerror or error}")

    @property
    def conns(self) -> list[Connection]:
        """What to wait for, to call `hear` then."""
        return [child.conn for child in self._children if child.conn is not None]

    def hear(self, conn: object) -> list[str]:
        """Take in what a receiver reports; the names in pending/ that it published."""
        child = next(child for child in self._children if child.conn is conn)
        assert child.conn is not None
        try:
            report: Report = child.conn.recv()
        except (EOFError, OSError):
            self._lost(child)
            return []
        child.is_drained = report.is_drained
        for level, text in report.told:
            self._tell(level, f"{child.owner}: {text}")
        return report.published

    @property
    def drained(self) -> bool:
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
        self.let_go()

    def let_go(self) -> None:
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
            self._tell("warning", f"{child.owner}: its receiver ended with {code}; starting another")
