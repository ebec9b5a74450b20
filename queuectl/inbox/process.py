"""The receiver of one inbox: a process of its own, so that a share that hangs stops nothing but itself.

It holds the inbox's lock for as long as it lives: of all pools one receives from an inbox, and where it dies another
goes on at once. An event is a hint to look (P8); on a file system that is not this machine's own there are none.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from queuectl.inbox.poller import Reception
from queuectl.model.inbox import Inbox
from queuectl.model.settings import Settings
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock
from queuectl.system.watch import Watch

# A listing may take up to this share of the time.
_LIST_SHARE = 0.05
# From one look to the next, at least, however many events come.
_PAUSE_S = 0.02
# The lock of another pool's receiver is tried this often.
_LOCK_S = 0.5
# The state is written at least this often, so that its instant is worth something.
_SHOW_EVERY_S = 10.0
# The supervisor gets a sign of life this often, also in the middle of a look (see `pool.inbox_processes`).
BEAT_S = 5.0
STOP, NO_MORE = "stop", "no more"


class Report(NamedTuple):
    """What a receiver tells its supervisor after a look."""

    published: list[str]
    """Names in pending/."""
    told: list[tuple[str, str]]
    is_drained: bool | None
    """True where nothing is left in the inbox that will be taken, or where it cannot be reached, or another pool's.
    None: nothing new, only that the receiver goes on."""


def main(conn: Connection, root: str, owner: str, settings: tuple[object, ...]) -> None:
    """The entry of a receiver's process (which may be spawned, so everything comes as plain values).

    It ends when it is told to, and when the other end of the pipe is gone, however its supervisor died. A kill at any
    point harms nothing (see `handover`), so no signal but that one is needed.
    """
    for name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    spool, made = SpoolDir(root), Settings(*settings)  # type: ignore[arg-type]
    spool.use(made)
    inbox = next(inbox for inbox in made.inboxes if inbox.owner == owner)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):  # the supervisor is gone
        _Loop(conn, spool, made, inbox).run()


class _Loop:
    def __init__(self, conn: Connection, spool: SpoolDir, settings: Settings, inbox: Inbox) -> None:
        self._conn = conn
        self._clock = Clock()
        path = trust.inbox_path(spool, inbox)
        self._next_beat_s = 0.0
        self._reception = Reception(
            spool, settings, inbox, path, clock=self._clock, rng=random.Random(), beat=self._beat
        )
        self._watch = None if self._reception.is_far() else Watch(path)
        disk.make_folder(spool.inbox_dir)
        self._lock = FileLock(spool.inbox_path(inbox.owner, "lock"))
        self._scan_s = settings.scan_s
        self._takes = True
        self._told_drained: bool | None = None

    def run(self) -> None:
        while not self._lock.try_acquire():
            self._report([], is_drained=True)  # another pool sees to it
            if self._hear(_LOCK_S) == STOP:
                return
        while True:
            wait_s = self._look() if self._takes else self._scan_s
            word = self._hear(wait_s)
            if word == STOP:
                self._reception.finish()
                self._reception.show(every_s=0.0)
                return
            if word == NO_MORE:
                self._takes = False

    def _look(self) -> float:
        """One look; for how long to wait before the next, where nothing happens."""
        if self._watch is not None and not self._watch.armed:
            self._watch.arm()  # before the look: what comes in between is told
        began_s = self._clock.monotonic()
        published = self._reception.step()
        state = self._reception.state
        took_s = self._clock.monotonic() - began_s
        self._reception.show(every_s=_SHOW_EVERY_S)
        self._report(published, is_drained=bool(state.trouble) or not (state.waiting or state.arriving))
        if state.waiting and published:
            return _PAUSE_S
        if state.waiting and self._reception.refused:
            return max(_PAUSE_S, took_s)  # good files may wait behind bad ones
        return max(self._scan_s, took_s / _LIST_SHARE)

    def _report(self, published: list[str], *, is_drained: bool) -> None:
        told = self._reception.told
        if published or told or is_drained != self._told_drained:
            self._conn.send(Report(published, list(told), is_drained))
            told.clear()
            self._told_drained = is_drained

    def _beat(self) -> None:
        if self._clock.monotonic() >= self._next_beat_s:
            self._next_beat_s = self._clock.monotonic() + BEAT_S
            self._conn.send(Report([], [], None))

    def _hear(self, wait_s: float) -> str:
        """Wait for the supervisor, an event or the time; what the supervisor says, or "".

        Raises:
            EOFError: it is gone.
        """
        until_s = self._clock.monotonic() + wait_s
        while True:
            self._beat()
            source = None if self._watch is None else self._watch.source
            ready = wait(
                [self._conn, *([] if source is None else [source])],
                min(BEAT_S, max(0.0, until_s - self._clock.monotonic())),
            )
            if self._conn in ready:
                return str(self._conn.recv())
            if not ready:
                if self._clock.monotonic() < until_s:
                    continue
                return ""
            assert self._watch is not None
            found = self._watch.names()
            if not self._watch.armed or any(not name.startswith(".") and not name.endswith(".txt") for name in found):
                # Events come in crowds; one look sees to all that have come until then.
                until_s = min(until_s, self._clock.monotonic() + _PAUSE_S)
                if self._conn.poll(_PAUSE_S):
                    continue
                return ""
