"""The process of one inbox: each inbox has its own process, so that a hanging share stops nothing else.

The process holds the inbox's lock for as long as it lives, so only one of all pools polls an inbox; if the process
dies, another pool takes over at once. An event is a hint to poll (P8); a file system on another machine sends none.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from queuectl.inbox import opening
from queuectl.inbox.polling import Polling
from queuectl.model.inbox import FILES, Inbox
from queuectl.model.notice import Notice
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock
from queuectl.system.watch import Watch

# A listing may take up to this share of the time.
_LIST_SHARE = 0.05
# The shortest pause between two polls, however many events come.
_PAUSE_S = 0.02
# How often to try the lock that another pool's inbox process holds.
_LOCK_S = 0.5
# The state is written at least this often, so that its time shows that the process is alive.
_SHOW_EVERY_S = 10.0
# The process sends a sign of life this often, also in the middle of a poll (`pool.inbox_processes` waits for it).
BEAT_S = 5.0
STOP, NO_MORE = "stop", "no more"


class Report(NamedTuple):
    """What an inbox process reports to its supervisor after a poll."""

    published: list[str]
    """Names in pending/."""
    notices: list[Notice]
    is_drained: bool | None
    """True if the inbox holds nothing to accept, is unreachable, or is polled by another pool. None: only a sign of
    life."""


def main(conn: Connection, root: str, owner: str, settings: tuple[object, ...]) -> None:
    """Run an inbox process. It may be spawned, so all arguments are plain values.

    The process ends on STOP, and when the other end of the pipe is gone, however its supervisor died. A kill at any
    point harms nothing (see `handover`), so no other signal is needed.
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
        _Loop(conn, Session(spool, made, Clock(), random.Random()), inbox).run()


def _poller_of(session: Session, inbox: Inbox, path: str, beat: Callable[[], None]) -> Polling[Any]:
    """Return the poller for the mode of an inbox; each loads only its own modules."""
    if inbox.mode == FILES:
        from queuectl.inbox.file_poller import FilePoller

        return FilePoller(session, inbox, path, beat=beat)
    from queuectl.inbox.poller import Poller

    return Poller(session, inbox, path, beat=beat)


class _Loop:
    def __init__(self, conn: Connection, session: Session, inbox: Inbox) -> None:
        self._conn = conn
        self._clock = session.clock
        path = opening.inbox_path(session.spool, inbox)
        self._next_beat_s = 0.0
        self._poller = _poller_of(session, inbox, path, self._beat)
        is_files, is_deep = inbox.mode == FILES, bool(inbox.recursive)
        self._watch = None if self._poller.is_far() else Watch(path, tells_renames=is_files, is_deep=is_deep)
        if self._watch is not None and self._watch.renamed is not None:
            self._poller.renamed = self._watch.renamed
            self._poller.catch_up = self._catch_up
        self._has_news = False
        """Whether an event came during a poll."""
        disk.make_folder(session.spool.inbox_dir)
        self._lock = FileLock(session.spool.inbox_path(inbox.owner, "lock"))
        self._scan_s = session.settings.scan_s
        self._takes = True
        self._reported_drained: bool | None = None
        self._polled_s = 0.0

    def run(self) -> None:
        while not self._lock.try_acquire():
            self._report([], is_drained=True)  # another pool polls it
            if self._receive(_LOCK_S) == STOP:
                return
        while True:
            wait_s = self._poll() if self._takes else self._scan_s
            word = self._receive(wait_s)
            if word == STOP:
                self._poller.finish()
                self._poller.show(every_s=0.0)
                return
            if word == NO_MORE:
                self._takes = False

    def _poll(self) -> float:
        """Poll once; return how long to wait for the next poll if nothing happens."""
        if self._watch is not None and not self._watch.armed:
            self._watch.arm()  # before the poll, so that no file in between is missed
        began_s = self._clock.monotonic()
        published = self._poller.step()
        state = self._poller.state
        self._polled_s = self._clock.monotonic()
        took_s = self._polled_s - began_s
        # Before the state shows them: whoever sees a subfolder there may rely on its watch.
        has_new = self._watch is not None and self._watch.follow(self._poller.folders)
        self._poller.show(every_s=_SHOW_EVERY_S)
        self._report(published, is_drained=bool(state.trouble) or self._poller.is_drained)
        if has_new or self._has_news:
            self._has_news = False
            return _PAUSE_S  # a file may have come between the listing of a new subfolder and its watch
        if state.waiting and published:
            return _PAUSE_S
        if state.waiting and self._poller.rejected:
            return max(_PAUSE_S, took_s)  # good files may wait behind bad ones
        return max(min(self._scan_s, max(_PAUSE_S, self._poller.due_s)), took_s / _LIST_SHARE)

    def _catch_up(self) -> None:
        if self._watch is not None and any(map(self._poller.is_news, self._watch.names())):
            self._has_news = True

    def _report(self, published: list[str], *, is_drained: bool) -> None:
        notices = self._poller.notices
        if published or notices or is_drained != self._reported_drained:
            self._conn.send(Report(published, list(notices), is_drained))
            notices.clear()
            self._reported_drained = is_drained

    def _beat(self) -> None:
        if self._clock.monotonic() >= self._next_beat_s:
            self._next_beat_s = self._clock.monotonic() + BEAT_S
            self._conn.send(Report([], [], None))

    def _receive(self, wait_s: float) -> str:
        """Wait for the supervisor, an event or the time; return the supervisor's word, or "".

        Raises:
            EOFError: the supervisor is gone.
        """
        until_s = self._clock.monotonic() + wait_s
        while True:
            self._beat()
            is_at_work = self._poller.has_work
            if is_at_work and self._poller.work():
                return ""
            source = None if self._watch is None else self._watch.source
            ready = wait(
                [self._conn, *([] if source is None else [source])],
                0.0 if is_at_work else min(BEAT_S, max(0.0, until_s - self._clock.monotonic())),
            )
            if self._conn in ready:
                return str(self._conn.recv())
            if not ready:
                if self._clock.monotonic() < until_s:
                    continue
                return ""
            assert self._watch is not None
            found = self._watch.names()
            if not self._watch.armed or any(map(self._poller.is_news, found)):
                # Events come in crowds; one poll is enough for all of them. But a rename is complete, so the first
                # one after a quiet time is not kept waiting.
                now_s = self._clock.monotonic()
                is_first = bool(self._poller.renamed) and now_s - self._polled_s >= _PAUSE_S
                pause_s = 0.0 if is_first else _PAUSE_S
                until_s = min(until_s, now_s + pause_s)
                if self._conn.poll(pause_s):
                    continue
                return ""
