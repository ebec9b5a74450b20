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
import time
from collections import OrderedDict

import msgspec

from queuectl.flows import boards
from queuectl.flows.boards import Entry
from queuectl.flows.open_board import OpenBoard
from queuectl.model import names, queues
from queuectl.model.lifecycle import RUNNING
from queuectl.model.queues import Place
from queuectl.model.record import Record
from queuectl.spool.lease import is_alive
from queuectl.spool.session import Session
from queuectl.system import disk, files
from queuectl.system.locks import KeptLock

FULL, KEY_FULL, BUSY = "full", "key", "busy"
# How long a claim waits for a gate that another process has locked.
_PATIENCE_S = 0.02
# How long the end of a run waits, if the board was replaced while it ran.
_LEAVE_PATIENCE_S = 2.0
_POLL_S = 0.0005
# So many gates stay open.
_OPEN_AT_MOST = 32
# A board with more lines than this is cleared of dead lines before it grows.
_GROWS_FREELY = 64


class Shut(msgspec.Struct, frozen=True):
    """The gate lets no more in: `why` is FULL, KEY_FULL or BUSY."""

    why: str


class Passage:
    """The place of one job behind a gate, which is locked until `open` or `undo`."""

    __slots__ = ("_gates", "_index", "_lease", "_line", "_lock", "_queue")

    def __init__(self, gates: Gates, queue: str, lock: KeptLock, lease: str, index: int, line: bytes) -> None:
        self._gates = gates
        self._queue = queue
        self._lock = lock
        self._lease = lease
        self._index = index
        self._line = line

    def open(self) -> None:
        """Unlock the gate, once `started` is on record."""
        self._lock.release()

    def undo(self) -> None:
        """Give the place up, because the job does not start; unlock the gate."""
        try:
            self._gates.blank(self._queue, self._index, self._line)
        finally:
            self._lock.release()

    def leave(self) -> None:
        """Give the place up after the run. The lease must still be held. Doing it again is harmless.

        Raises:
            OSError: the line is still there. Try again, or give up the lease.
        """
        if not self._gates.blank(self._queue, self._index, self._line):
            self._gates.leave(self._queue, self._lease)


class Gate(msgspec.Struct, frozen=True, eq=False):
    """The files of the gate of a queue, kept open."""

    lock: KeptLock
    board: OpenBoard

    def close(self) -> None:
        """Close both."""
        self.board.close()
        self.lock.close()


class Gates:
    """The gates of one spool, for one process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool = session.spool
        self._open: OrderedDict[str, Gate] = OrderedDict()

    def use(self, session: Session) -> None:
        """Use the queues of new settings."""
        self._session = session

    def close(self) -> None:
        """Close all files."""
        for gate in self._open.values():
            gate.close()
        self._open.clear()

    def enter(self, place: Place, lease: str, job_id: str) -> Passage | Shut:
        """Take a place for the run of a job under a lease, and keep the gate locked; or return why there is none.

        Raises:
            OSError: a problem of the machine, or of the files of this gate.
        """
        gate = self._open.get(place.queue) or self._gate(place.queue)
        if not self._acquire(gate.lock, _PATIENCE_S):
            return Shut(BUSY)
        passage = None
        try:
            line = boards.line_of(lease, place.key, job_id)
            index = self._take_line(gate.board, place, lease.encode(), line)
            if isinstance(index, Shut):
                return index
            passage = Passage(self, place.queue, gate.lock, lease, index, line)
            return passage
        finally:
            if passage is None:
                gate.lock.release()

    def blank(self, queue: str, index: int, line: bytes) -> bool:
        """Blank a line if it is still what it was; return False if it is not. Raises OSError."""
        board = (self._open.get(queue) or self._gate(queue)).board
        try:
            return board.blank(index, line)
        finally:
            board.rest()

    def leave(self, queue: str, lease: str) -> None:
        """Blank the line of a run that has ended, wherever it is: the board was made again while the job ran.

        Raises:
            OSError: another process has locked the gate, or the board cannot be changed.
        """
        gate = self._gate(queue)
        if not self._acquire(gate.lock, _LEAVE_PATIENCE_S):
            raise BlockingIOError(errno.EAGAIN, "another process has locked the gate of a queue", gate.lock.path)
        try:
            _blank_lease(gate.board, lease)
        finally:
            gate.lock.release()

    def forget(self, queue: str, lease: str) -> None:
        """Blank the line of a dead run, if the gate can be locked now. Otherwise the next full look does it."""
        try:
            if not any(entry.lease == lease for entry in boards.read(self._spool, queue)):
                return
            gate = Gate(KeptLock(self._spool.gate_lock_path(queue)), OpenBoard(self._spool.gate_path(queue)))
            try:
                if gate.lock.try_acquire() and not is_alive(self._spool, lease):
                    _blank_lease(gate.board, lease)
            finally:
                gate.close()
        except OSError:
            return  # the lease is the proof, the line only a hint

    def discard(self, queue: str) -> None:
        """Delete the board of a queue whose limits have changed: the next claim makes it again from running/."""
        with contextlib.suppress(OSError):
            disk.unlink(self._spool.gate_path(queue))

    # -------------------------------------------------------------------------------------------------- the board

    def _take_line(self, board: OpenBoard, place: Place, lease: bytes, line: bytes) -> int | Shut:
        """Write the line of a job that may start, and return its index. The caller holds the lock."""
        try:
            if not board.look():
                self._make_again(board, place.queue)
            leases, keys = board.leases, board.keys
            if lease in leases:  # left from a run whose end could not be written
                keys = [b"" if each == lease else key for each, key in zip(leases, keys, strict=True)]
            shut = _judge(place, keys)
            index = keys.index(b"") if b"" in keys else len(keys)
            if shut is not None or (index == len(keys) and index >= _GROWS_FREELY):
                shut = _judge(place, self._prove(board, keys))
            if shut is not None:
                return shut
            board.write(index, line)
            return index
        finally:
            board.rest()

    def _prove(self, board: OpenBoard, keys: list[bytes]) -> list[bytes]:
        """Blank the lines of dead leases; return the keys of the others.

        A line that was blanked here is not used before the next look: its owner's own write may still be on its way.
        """
        proven = keys.copy()
        for index, key in enumerate(keys):
            entry = boards.entry_of(board.line(index)) if key else None
            if entry is not None and not boards.counts(self._spool, entry):
                board.write(index, boards.BLANK)
                proven[index] = b""
        return proven

    # ------------------------------------------------------------------------------------------------- lost boards

    def _make_again(self, board: OpenBoard, queue: str) -> None:
        """Make a board that is lost or broken from running/. The caller holds the lock.

        A job that has not passed the gate has no start on record. One that ends meanwhile may not find its line, so
        its file is looked for once more when the board is in place: its worker looks for the line after the move.
        """
        found = [entry for name in self._spool.job_names(RUNNING) if (entry := self._running(queue, name)) is not None]
        self._spool.replace_file(board.path, boards.text_of(found), hint="gate", sync=False, mode=disk.FILE_MODE)
        if not board.look():
            raise OSError(errno.EIO, "the board of a queue is lost as soon as it is made", board.path)
        ended = [
            index
            for index, entry in enumerate(found)
            if files.sig_of(self._spool.path(RUNNING, f"{entry.job_id}.json")) is None
        ]
        for index in ended:
            board.write(index, boards.BLANK)
        if ended and not board.look():
            raise OSError(errno.EIO, "the board of a queue is lost as soon as it is made", board.path)

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

    def _gate(self, queue: str) -> Gate:
        gate = self._open.get(queue)
        if gate is None:
            if len(self._open) >= _OPEN_AT_MOST:
                self._open.popitem(last=False)[1].close()
            gate = Gate(KeptLock(self._spool.gate_lock_path(queue)), OpenBoard(self._spool.gate_path(queue)))
            self._open[queue] = gate
        return gate

    def _acquire(self, lock: KeptLock, patience_s: float) -> bool:
        """Take a lock; wait for up to `patience_s`. The folder of the boards is made when it is first needed."""
        until_s = 0.0
        while True:
            try:
                if lock.try_acquire():
                    return True
            except FileNotFoundError:
                disk.make_folder(self._spool.gate_dir)
                continue
            now_s = self._session.clock.monotonic()
            until_s = until_s or now_s + patience_s
            if now_s >= until_s:
                lock.close()  # perhaps a process holds a file that was deleted
                return False
            time.sleep(_POLL_S)


def place_of(item: Record, limits: queues.Queues) -> Place | None:
    """Return what limits a job, or None if nothing does."""
    if not limits and not item.extras.key:
        return None
    return queues.place(item.extras.queue, names.key_flag(item.extras.key), item.owner, limits)


def _judge(place: Place, keys: list[bytes]) -> Shut | None:
    """Return why a job may not start beside the others that are in, or None; `keys` has b"" for each blank line."""
    if place.slots and len(keys) - keys.count(b"") >= place.slots:
        return Shut(FULL)
    if place.key and keys.count(place.key.encode()) >= place.per_key:
        return Shut(KEY_FULL)
    return None


def _blank_lease(board: OpenBoard, lease: str) -> None:
    """Blank the lines of a lease. The caller holds the lock."""
    try:
        if board.look():
            for index in [at for at, each in enumerate(board.leases) if each == lease.encode()]:
                board.write(index, boards.BLANK)
    finally:
        board.rest()
