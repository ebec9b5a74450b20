"""Let no more jobs of a queue, or of a key, run than their limit (promise P12).

Each queue with limits has a board (see `boards`) and a permanent lock file. A job passes the gate of its queue while it
is claimed: its file is in running/, and its claimer holds the stripe of its id. Then

    1. lock the gate                            busy: the job goes back
    2. read the board; full: try the leases     full: the job goes back
    3. write the line: lease, key, id
    4. append `started` to the record (the caller)
    5. unlock the gate

So while the gate is locked, each job that has passed is on record, and a lost board can be made again from running/. A
crash after 3 leaves a line whose lease is free, which counts for nothing. `settle` blanks the line after the run,
without the lock, because only the holder of a lease writes in its line. Nothing here goes by age: a stopped worker
keeps its place, and a dead one's place is free as soon as its lease is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import OrderedDict

import msgspec

from queuectl.flows import boards
from queuectl.flows.boards import Entry
from queuectl.model import names, queues
from queuectl.model.lifecycle import RUNNING
from queuectl.model.queues import Place
from queuectl.model.record import Record
from queuectl.spool.lease import is_alive
from queuectl.spool.session import Session
from queuectl.system import disk, files
from queuectl.system.locks import NamedLock

FULL, KEY_FULL, BUSY = "full", "key", "busy"
# How long a claim waits for a gate that another process has locked.
_PATIENCE_S = 0.02
# How long the end of a run waits, if the board was replaced while it ran.
_LEAVE_PATIENCE_S = 2.0
_POLL_S = 0.0005
# So many gates keep their lock file open.
_OPEN_AT_MOST = 32
# A board with more lines than this is cleared of dead lines before it grows.
_GROWS_FREELY = 64
# A line may be read while its owner blanks it; this many readings tell a torn line from a broken board.
_READINGS = 3


class Shut(msgspec.Struct, frozen=True):
    """The gate lets no more in: `why` is FULL, KEY_FULL or BUSY."""

    why: str


class Passage:
    """The place of one job behind a gate, which is locked until `open` or `undo`."""

    __slots__ = ("_entry", "_gates", "_index", "_lock", "_queue")

    def __init__(self, gates: Gates, queue: str, lock: NamedLock, index: int, entry: Entry) -> None:
        self._gates = gates
        self._queue = queue
        self._lock = lock
        self._index = index
        self._entry = entry

    def open(self) -> None:
        """Unlock the gate, once `started` is on record."""
        self._lock.release()

    def undo(self) -> None:
        """Give the place up, because the job does not start; unlock the gate."""
        try:
            self._gates.blank(self._queue, self._index, self._entry)
        finally:
            self._lock.release()

    def leave(self) -> None:
        """Give the place up after the run. The lease must still be held. Doing it again is harmless.

        Raises:
            OSError: the line is still there. Try again, or give up the lease.
        """
        self._gates.leave(self._queue, self._index, self._entry)


class Gates:
    """The gates of one spool, for one process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool = session.spool
        self._locks: OrderedDict[str, NamedLock] = OrderedDict()

    def use(self, session: Session) -> None:
        """Use the queues of new settings."""
        self._session = session

    def close(self) -> None:
        """Close all lock files."""
        for lock in self._locks.values():
            lock.close()
        self._locks.clear()

    def enter(self, place: Place, lease: str, job_id: str) -> Passage | Shut:
        """Take a place for the run of a job under a lease, and keep the gate locked; or return why there is none.

        Raises:
            OSError: a problem of the machine, or of the files of this gate.
        """
        lock = self._lock(place.queue)
        if not self._acquire(lock, _PATIENCE_S):
            return Shut(BUSY)
        passage = None
        try:
            index = self._take_line(place, entry := Entry(lease, place.key, job_id))
            if isinstance(index, Shut):
                return index
            passage = Passage(self, place.queue, lock, index, entry)
            return passage
        finally:
            if passage is None:
                lock.release()

    def leave(self, queue: str, index: int, entry: Entry) -> None:
        """Blank the line of a run that has ended. Raises OSError."""
        if self.blank(queue, index, entry):
            return
        # The board was lost and made again while the job ran, so its line is at another place, if there is one.
        lock = self._lock(queue)
        if not self._acquire(lock, _LEAVE_PATIENCE_S):
            raise BlockingIOError(errno.EAGAIN, "another process has locked the gate of a queue", lock.path)
        try:
            self._blank_lease(queue, entry.lease)
        finally:
            lock.release()

    def forget(self, queue: str, lease: str) -> None:
        """Blank the line of a dead run, if the gate can be locked now. Otherwise the next full look does it."""
        try:
            if not any(entry.lease == lease for entry in boards.read(self._spool, queue)):
                return
            lock = NamedLock(self._spool.gate_lock_path(queue))
            try:
                if lock.try_acquire() and not is_alive(self._spool, lease):
                    self._blank_lease(queue, lease)
            finally:
                lock.close()
        except OSError:
            return  # the lease is the proof, the line only a hint

    def discard(self, queue: str) -> None:
        """Delete the board of a queue whose limits have changed: the next claim makes it again from running/."""
        with contextlib.suppress(OSError):
            disk.unlink(self._spool.gate_path(queue))

    # -------------------------------------------------------------------------------------------------- the board

    def _take_line(self, place: Place, entry: Entry) -> int | Shut:
        """Write the line of a job that may start, and return its index. The caller holds the lock."""
        fd, lines = self._open(place.queue)
        try:
            others = [None if line is not None and line.lease == entry.lease else line for line in lines]
            shut = _judge(place, others)
            index = next((at for at, line in enumerate(others) if line is None), len(others))
            if shut is not None or (index == len(others) and index >= _GROWS_FREELY):
                others = self._prove(fd, others)
                shut = _judge(place, others)
            if shut is not None:
                return shut
            disk.write_at(fd, boards.offset_of(index), boards.line_of(entry))
            return index
        finally:
            os.close(fd)

    def _prove(self, fd: int, lines: list[Entry | None]) -> list[Entry | None]:
        """Blank the lines of dead leases; return the others.

        A line that was blanked here is not used before the next look: its owner's own write may still be on its way.
        """
        proven = list(lines)
        for index, line in enumerate(lines):
            if line is not None and not boards.counts(self._spool, line):
                disk.write_at(fd, boards.offset_of(index), boards.BLANK)
                proven[index] = None
        return proven

    def blank(self, queue: str, index: int, entry: Entry) -> bool:
        """Blank a line if it is still this entry's; return False if it is not. Raises OSError."""
        try:
            fd = disk.open_lock_file(self._spool.gate_path(queue))
        except FileNotFoundError:
            return False
        try:
            os.lseek(fd, boards.offset_of(index), os.SEEK_SET)
            if os.read(fd, boards.LINE_BYTES) != boards.line_of(entry):
                return False
            disk.write_at(fd, boards.offset_of(index), boards.BLANK)
            return True
        finally:
            os.close(fd)

    def _blank_lease(self, queue: str, lease: str) -> None:
        """Blank the lines of a lease. The caller holds the lock."""
        try:
            fd = disk.open_lock_file(self._spool.gate_path(queue))
        except FileNotFoundError:
            return
        try:
            for index, line in enumerate(_read(fd) or ()):
                if line is not None and line.lease == lease:
                    disk.write_at(fd, boards.offset_of(index), boards.BLANK)
        finally:
            os.close(fd)

    def _open(self, queue: str) -> tuple[int, list[Entry | None]]:
        """Open the board and read it; make it again if it is lost or broken. The caller holds the lock."""
        path = self._spool.gate_path(queue)
        for _ in range(2):
            fd = disk.open_lock_file(path)  # one that was missing is empty now, which is no board
            try:
                lines = _read(fd)
            except BaseException:
                os.close(fd)
                raise
            if lines is not None:
                return fd, lines
            os.close(fd)
            self._rebuild(queue)
        raise OSError(errno.EIO, "the board of a queue is lost as soon as it is made", path)

    # ------------------------------------------------------------------------------------------------- lost boards

    def _rebuild(self, queue: str) -> None:
        """Make the board of a queue from running/. The caller holds the lock.

        A job that has not passed the gate has no start on record. One that ends meanwhile may not find its line, so
        its file is looked for once more when the board is in place: its worker looks for the line after the move.
        """
        found = [entry for name in self._spool.job_names(RUNNING) if (entry := self._running(queue, name)) is not None]
        path = self._spool.gate_path(queue)
        self._spool.replace_file(path, boards.text_of(found), hint="gate", sync=False, mode=disk.FILE_MODE)
        fd = disk.open_lock_file(path)
        try:
            for index, entry in enumerate(found):
                if files.sig_of(self._spool.path(RUNNING, f"{entry.job_id}.json")) is None:
                    disk.write_at(fd, boards.offset_of(index), boards.BLANK)
        finally:
            os.close(fd)

    def _running(self, queue: str, name: str) -> Entry | None:
        """Return the entry of a file in running/ if its job has started and counts in this queue."""
        job_id = name.removesuffix(".json")
        items = [self._spool.path(RUNNING, name)]
        items += [self._spool.tmp_path(start) for start in self._spool.starts(job_id)]
        for path in items:
            item = boards.record_at(path)
            if item is None or (item.extras.queue or queues.DEFAULT) != queue:
                continue
            place, lease = place_of(item, self._session.settings.queues), boards.lease_in(item)
            if place is not None and lease:
                return Entry(lease, place.key, job_id, is_found=True)
        return None

    def _lock(self, queue: str) -> NamedLock:
        lock = self._locks.get(queue)
        if lock is None:
            if len(self._locks) >= _OPEN_AT_MOST:
                self._locks.popitem(last=False)[1].close()
            lock = self._locks[queue] = NamedLock(self._spool.gate_lock_path(queue))
        return lock

    def _acquire(self, lock: NamedLock, patience_s: float) -> bool:
        """Take a lock; wait for up to `patience_s`. The folder of the boards is made when it is first needed."""
        until_s = self._session.clock.monotonic() + patience_s
        while True:
            try:
                if lock.try_acquire():
                    return True
            except FileNotFoundError:
                disk.make_folder(self._spool.gate_dir)
                continue
            if self._session.clock.monotonic() >= until_s:
                return False
            time.sleep(_POLL_S)


def place_of(item: Record, limits: queues.Queues) -> Place | None:
    """Return what limits a job, or None if nothing does."""
    if not limits and not item.extras.key:
        return None
    return queues.place(item.extras.queue, names.key_flag(item.extras.key), item.owner, limits)


def _judge(place: Place, others: list[Entry | None]) -> Shut | None:
    """Return why a job may not start beside the others that are in, or None."""
    inside = [entry.key for entry in others if entry is not None]
    if place.slots and len(inside) >= place.slots:
        return Shut(FULL)
    if place.key and inside.count(place.key) >= place.per_key:
        return Shut(KEY_FULL)
    return None


def _read(fd: int) -> list[Entry | None] | None:
    """Return the lines of an open board, or None if it is broken."""
    for _ in range(_READINGS):
        os.lseek(fd, 0, os.SEEK_SET)
        data = files.read_open(fd, os.fstat(fd), boards.MAX_BYTES).data
        if (lines := boards.parse(data)) is not None:
            return lines
    return None
