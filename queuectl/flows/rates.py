"""Let no more jobs of a queue, or with a key, start in any window of time than their rate allows (promise P12).

The rule is exact: the n-th last start must be at least as old as the window. Each queue with a rate has a log of its
last starts, and so has each key: 25 bytes a start, its instant, rounded up to a millisecond. Whoever holds the lock of
the gate asks the logs (`Starts.ask`) and, when the line of the job is on the board, adds the start (`Starts.add`).

Instants are by the wall clock. A line that is ahead of it was written before the clock was set back; at the latest it
happened now. So the log is replaced by one that says so: the rate holds, and the wait is one window at most.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections import OrderedDict
from typing import NamedTuple

from queuectl.model import queues, times
from queuectl.model.queues import Place
from queuectl.model.rate import Rate
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files

LINE_BYTES = 25
# The n last lines are read at once if there are no more than this; of more, the first and the last one.
_READ_AT_ONCE = 40
# The log of a queue has up to so many lines in any case: to replace it costs as much as some fifty starts.
_LINES = 1000
# So many logs stay open. Windows replaces no file that is open.
_OPEN_AT_MOST = 0 if sys.platform == "win32" else 32
_LINE = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\n")


Where = tuple[str, str]
"""A queue and a key, "" for the log of the whole queue."""


class Wait(NamedTuple):
    """A rate lets no job start for `wait_s` seconds: that of a key, or of the queue (`key` "")."""

    key: str
    wait_s: float


class Room(NamedTuple):
    """How many jobs a rate lets start now, and in how many seconds it lets the next one start after those."""

    free: int
    wait_s: float


class _Log(NamedTuple):
    """An open log: whose it is, a handle, where the next line begins, and the rate that it is for."""

    where: Where
    fd: int
    size: int
    rate: Rate


class Start(NamedTuple):
    """A start that the rates allow: its instant, its line, and the logs that get the line."""

    at: float
    line: bytes
    logs: list[_Log]


class Starts:
    """The logs of starts of one spool, for one process. Whoever calls a method holds the lock of the queue's gate."""

    def __init__(self, spool: SpoolDir) -> None:
        self._spool = spool
        self._open: OrderedDict[Where, int] = OrderedDict()

    def ask(self, place: Place, now_at: float) -> Start | Wait:
        """Return the start of a job now, or how long the job must wait. Call `add` or `done` then.

        Raises:
            OSError: a log cannot be read.
        """
        at = times.round_up(now_at)
        start = Start(at, f"{times.to_text(at)}\n".encode(), [])
        try:
            for key, rate in queues.rates_of(place):
                log = self._log((place.queue, key), rate)
                start.logs.append(log)
                wait_s = _wait_s(log, start.line, now_at)
                if wait_s is None:
                    start.logs[-1] = log = self._set_back(log, start.line)
                    wait_s = _wait_s(log, start.line, now_at) or 0.0
                if wait_s:
                    self.done(start)
                    return Wait(key, wait_s)
        except BaseException:
            self.done(start)
            raise
        return start

    def add(self, start: Start) -> None:
        """Add a start to its logs. Raises OSError: it is in none of them."""
        for place, log in enumerate(start.logs):
            try:
                disk.write_at(log.fd, start.line, log.size)
            except BaseException:
                self.take_out(start._replace(logs=start.logs[:place]))
                self.done(start)
                raise
            if log.size >= LINE_BYTES * (2 * log.rate.starts if log.where[1] else max(2 * log.rate.starts, _LINES)):
                with contextlib.suppress(OSError):  # then the next start does it
                    self._trim(log)
        self.done(start)

    def take_out(self, start: Start) -> None:
        """Take the start that was added last out of its logs again, as far as possible: the job did not start."""
        for log in start.logs:
            with contextlib.suppress(OSError):  # then one start counts that was none
                again = self._log(log.where, log.rate)
                disk.cut(again.fd, max(0, again.size - LINE_BYTES))
        self.done(start)

    def done(self, start: Start) -> None:
        """Close the handles that do not stay open."""
        if not _OPEN_AT_MOST:
            for log in start.logs:
                self._forget(log.where)

    def close(self) -> None:
        """Close all logs."""
        for where in list(self._open):
            self._forget(where)

    def _log(self, where: Where, rate: Rate) -> _Log:
        """Open a log; create it if it is missing. A torn end counts for nothing, and is overwritten."""
        fd = self._open.get(where)
        info = None if fd is None else os.fstat(fd)
        if fd is None or info is None or not info.st_nlink:  # without a name it was deleted or replaced
            fd = self._open_anew(where)
            info = os.fstat(fd)
        self._open.move_to_end(where)
        return _Log(where, fd, info.st_size - info.st_size % LINE_BYTES, rate)

    def _open_anew(self, where: Where) -> int:
        self._forget(where)
        path = self._spool.starts_path(*where)
        while True:
            try:
                fd = disk.open_lock_file(path)
                break
            except FileNotFoundError:
                disk.make_folder(os.path.dirname(path))
        if len(self._open) >= max(_OPEN_AT_MOST, 2):
            self._forget(next(iter(self._open)))
        self._open[where] = fd
        return fd

    def _forget(self, where: Where) -> None:
        if (fd := self._open.pop(where, None)) is not None:
            os.close(fd)

    def _trim(self, log: _Log) -> None:
        """Replace a log by its last n lines."""
        kept = log.rate.starts * LINE_BYTES
        self._replace(log.where, files.read_at(log.fd, log.size + LINE_BYTES - kept, kept))

    def _set_back(self, log: _Log, own: bytes) -> _Log:
        """Replace a log by one in which no start is ahead of the clock: `own` is the line of a start now."""
        data = files.read_at(log.fd, 0, log.size)
        lines = [data[at : at + LINE_BYTES] for at in range(0, len(data), LINE_BYTES)]
        self._replace(log.where, b"".join(line if _LINE.fullmatch(line) and line <= own else own for line in lines))
        return self._log(log.where, log.rate)

    def _replace(self, where: Where, data: bytes) -> None:
        self._forget(where)
        path = self._spool.starts_path(*where)
        self._spool.replace_file(path, data, hint="starts", sync=False, mode=disk.PRIVATE_MODE)


def room(spool: SpoolDir, queue: str, key: str, rate: Rate, now_at: float) -> Room:
    """Return how many jobs a rate lets start now. Reads the log without the lock, so a gate may answer otherwise."""
    try:
        data = files.read_tail(spool.starts_path(queue, key), rate.starts * LINE_BYTES + LINE_BYTES - 1)
    except OSError:
        data = b""
    # A torn end: the lines of a log end at multiples of their length, and a tail may begin within a line.
    data = data[: data.rfind(b"\n") + 1][-rate.starts * LINE_BYTES :]
    data = data[len(data) % LINE_BYTES :]
    old = _old(now_at, rate.window_s)
    lines = [data[at : at + LINE_BYTES] for at in range(0, len(data), LINE_BYTES)]
    place = next((place for place, line in enumerate(lines) if line > old), None)
    if place is None:
        return Room(rate.starts, rate.window_s)
    free = rate.starts - len(lines) + place
    if lines[-1] > _old(times.round_up(now_at), 0.0):
        free = max(free, 1)  # ahead of the clock: whoever tries puts the log right (`Starts.ask`)
    return Room(free, _until(lines[place], now_at, rate))


def is_old(path: str, window_s: float, now_at: float) -> bool:
    """Return whether the last start in a log is older than a window."""
    try:
        last = files.read_tail(path, LINE_BYTES)
    except OSError:
        return False
    return last <= _old(now_at, window_s)


def delete_if_old(path: str, window_s: float, now_at: float) -> bool:
    """Delete a log whose last start is older than a window. The caller holds the lock of its gate. Raises OSError."""
    return is_old(path, window_s, now_at) and disk.unlink(path)


def _wait_s(log: _Log, own: bytes, now_at: float) -> float | None:
    """Return how long a job must wait, 0 if it may start now; None if a line is ahead of the clock, or is none.

    `own` is the line of a start now.
    """
    count = log.rate.starts
    if not log.size:
        return 0.0
    at = log.size - count * LINE_BYTES
    if count <= _READ_AT_ONCE:
        block = files.read_at(log.fd, max(0, at), min(log.size, count * LINE_BYTES))
        first, last = block[:LINE_BYTES], block[-LINE_BYTES:]
    else:
        last = files.read_at(log.fd, log.size - LINE_BYTES, LINE_BYTES)
        first = last if at < 0 else files.read_at(log.fd, at, LINE_BYTES)
    if last > own:
        return None
    if at < 0 or first <= _old(now_at, log.rate.window_s):
        return 0.0
    if first > own or not _LINE.fullmatch(first):
        return None
    return _until(first, now_at, log.rate)


def _old(now_at: float, window_s: float) -> bytes:
    """Return the last line that is as old as a window."""
    return f"{times.to_text(now_at - window_s)}\n".encode()


def _until(line: bytes, now_at: float, rate: Rate) -> float:
    """Return in how many seconds a line is as old as the window: 1 ms at least, the window at most."""
    at = times.instant(line.decode("ascii", "replace").strip())
    wait_s = rate.window_s if at is None else at + rate.window_s - now_at
    return min(max(wait_s, 0.001), rate.window_s + 0.001)
