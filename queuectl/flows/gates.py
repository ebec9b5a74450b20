"""Let no more jobs of a queue, or of a key, run than their limit (promise P12).

Each queue with limits has a board (see `boards`) and a permanent lock file. A job passes the gate of its queue while it
is claimed: its file is in running/, and its claimer holds the stripe of its id. Then

    1. lock the gate                            busy: the job goes back
    2. read the board; full: try the leases     full: the job goes back
    2a. ask the circuit breaker and the rates   shut: the job goes back (see `halts` and `rates`)
    3. write the line: lease, key, id
    3a. add the start to the logs of the rates
    4. append `started` to the record (the caller)
    5. unlock the gate

So while the gate is locked, each job that has passed is on record, and a lost board can be made again from running/. A
crash after 3 leaves a line whose lease is free, which counts for nothing. `settle` blanks the line after the run,
without the lock, because only the holder of a lease writes in its line. If the queue has a circuit breaker, that is
done under the lock, after the outcome was added to the head. Nothing here goes by age: a stopped worker keeps its
place, and a dead one's place is free as soon as its lease is.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

import msgspec

from queuectl.flows import boards
from queuectl.flows.open_board import OpenBoard
from queuectl.flows.open_gates import Gate, OpenGates
from queuectl.model.lifecycle import Outcome
from queuectl.model.queues import Place, Queue
from queuectl.spool import pause
from queuectl.spool.lease import is_alive
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.locks import KeptLock

if TYPE_CHECKING:  # imported only by a process that meets a queue with a rate or a circuit breaker
    from queuectl.flows.halts import Tally
    from queuectl.flows.rates import Start, Starts

FULL, KEY_FULL, BUSY = "full", "key", "busy"
RATE, KEY_RATE = "rate", "key rate"
"""The queue, or the key, has had all the starts that its rate allows."""
HALF_OPEN, HALTED = "half-open", "halted"
"""The circuit breaker lets one job run at a time, or none."""
# How long a claim waits for a gate that another process has locked.
_PATIENCE_S = 0.02
# How long the end of a run waits, if the board was replaced while it ran.
_LEAVE_PATIENCE_S = 2.0
# A board with more lines than this is cleared of dead lines before it grows.
_GROWS_FREELY = 64


class Shut(msgspec.Struct, frozen=True):
    """The gate lets no more in: `why` is one of the words above."""

    why: str
    wait_s: float = 0.0
    """In how many seconds a rate lets the next job in."""


class Passage:
    """The place of one job behind a gate, which is locked until `open` or `undo`."""

    __slots__ = ("_gates", "_index", "_lease", "_line", "_lock", "_queue", "_tally", "is_trial", "start")

    def __init__(self, gates: Gates, queue: str, lock: KeptLock, lease: str, index: int, line: bytes) -> None:
        self.start: Start | None = None
        """Its start in the logs of the rates."""
        self.is_trial = False
        """Whether it was let in alone, because the circuit breaker is half-open."""
        self._tally: Tally | None = None
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
            if self.start is not None:
                self._gates.starts.take_out(self.start)
            self._gates.blank(self._queue, self._index, self._line)
        finally:
            self._lock.release()

    def leave(self, outcome: Outcome | None = None) -> None:
        """Give the place up after the run. The lease must still be held. Doing it again is harmless.

        `outcome` says how it ended, None if it did not begin.

        Raises:
            OSError: the line is still there. Try again, or give up the lease.
        """
        if self._tally is None and outcome is not None and self._gates.has_breaker(self._queue):
            from queuectl.flows import halts

            self._tally = halts.tally(self._line, outcome, is_trial=self.is_trial)
        if self._tally is not None:
            self._gates.leave(self._queue, self._lease, self._tally)
        elif not self._gates.blank(self._queue, self._index, self._line):
            self._gates.leave(self._queue, self._lease)

    @property
    def halted(self) -> str:
        """The queue, if this run has halted it; else ""."""
        return self._queue if self._tally is not None and self._tally.has_halted else ""


class Gates:
    """The gates of one spool, for one process."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool = session.spool
        self._open = OpenGates(session)
        self._starts: Starts | None = None

    def use(self, session: Session) -> None:
        """Use the queues of new settings."""
        self._session = session

    def close(self) -> None:
        """Close all files."""
        self._open.close()
        if self._starts is not None:
            self._starts.close()

    def enter(self, place: Place, lease: str, job_id: str) -> Passage | Shut:
        """Take a place for the run of a job under a lease, and keep the gate locked; or return why there is none.

        Raises:
            OSError: a problem of the machine, or of the files of this gate.
        """
        gate = self._open.of(place.queue)
        if not self._open.acquire(gate.lock, _PATIENCE_S):
            return Shut(BUSY)
        passage: Passage | None = None
        try:
            line = boards.line_of(lease, place.key, job_id)
            taken = self._take_line(gate, place, lease, line)
            passage = taken if isinstance(taken, Passage) else None
            return taken
        finally:
            if passage is None:
                gate.lock.release()

    def blank(self, queue: str, index: int, line: bytes) -> bool:
        """Blank a line if it is still what it was; return False if it is not. Raises OSError."""
        board = self._open.of(queue).board
        try:
            return board.blank(index, line)
        finally:
            board.rest()

    @property
    def starts(self) -> Starts:
        """The logs of starts."""
        if self._starts is None:
            from queuectl.flows.rates import Starts

            self._starts = Starts(self._spool)
        return self._starts

    def has_breaker(self, queue: str) -> bool:
        """Return whether the settings give a queue a circuit breaker now."""
        rules = self._session.settings.queues.get(queue)
        return rules is not None and rules.has_breaker

    def leave(self, queue: str, lease: str, tally: Tally | None = None) -> None:
        """Blank the line of a run that has ended, wherever it is: the board may have been made again while it ran.

        With `tally`, first add how it ended to the head of the board, and halt the queue if need be.

        Raises:
            OSError: another process has locked the gate, or the board cannot be changed. Try again, with this `tally`.
        """
        gate = self._open.of(queue)
        if not self._open.acquire(gate.lock, _LEAVE_PATIENCE_S):
            raise BlockingIOError(errno.EAGAIN, "another process has locked the gate of a queue", gate.lock.path)
        try:
            if tally is not None:
                self._count(gate.board, queue, tally)
            _blank_lease(gate.board, lease)
        finally:
            gate.lock.release()

    def forget(self, queue: str, lease: str, outcome: Outcome | None = None) -> bool:
        """Blank the line of a dead run, if the gate can be locked now. Otherwise the next full look does it.

        Return whether its outcome, if that is given, has halted the queue.
        """
        try:
            entry = next((entry for entry in boards.read(self._spool, queue) if entry.lease == lease), None)
            if entry is None:
                return False
            tally = None
            if outcome is not None and self.has_breaker(queue):
                from queuectl.flows import halts

                tally = halts.tally(boards.line_of(lease, entry.key, entry.job_id), outcome)
            gate, patience_s = self._open.apart(queue), 0.0 if tally is None else _PATIENCE_S
            try:
                if self._open.acquire(gate.lock, patience_s) and not is_alive(self._spool, lease):
                    if tally is not None:
                        self._count(gate.board, queue, tally)
                    _blank_lease(gate.board, lease)
            finally:
                gate.close()
            return tally is not None and tally.has_halted
        except OSError:
            return False  # the lease is the proof, the line only a hint

    def _count(self, board: OpenBoard, queue: str, tally: Tally) -> None:
        """Add an outcome to the head of a board, and halt the queue if need be. The caller holds the lock."""
        from queuectl.flows import halts

        if tally.outcomes is None:
            try:
                if not board.look():
                    self._make_again(board, queue)
                outcomes = halts.added(board.outcomes, tally.run.mark, is_trial=tally.is_trial)
                board.write_outcomes(outcomes)
            finally:
                board.rest()
            tally.outcomes = outcomes
        if not tally.has_halted:
            rules, now_at = self._session.settings.queues.get(queue, Queue()), self._session.clock.now()
            tally.has_halted = halts.halt(self._spool, queue, tally.outcomes, rules, tally.run, now_at)

    def discard(self, queue: str) -> None:
        """Delete the board of a queue whose limits have changed: the next claim makes it again from running/."""
        with contextlib.suppress(OSError):
            disk.unlink(self._spool.gate_path(queue))

    # -------------------------------------------------------------------------------------------------- the board

    def _take_line(self, gate: Gate, place: Place, lease: str, line: bytes) -> Passage | Shut:
        """Write the line of a job that may start, and return its place. The caller holds the lock."""
        board = gate.board
        try:
            if not board.look():
                self._make_again(board, place.queue)
            leases, keys = board.leases, board.keys
            own = lease.encode()
            if own in leases:  # left from a run whose end could not be written
                keys = [b"" if each == own else key for each, key in zip(leases, keys, strict=True)]
            shut = _judge(place, keys)
            index = keys.index(b"") if b"" in keys else len(keys)
            if shut is not None or (index == len(keys) and index >= _GROWS_FREELY):
                shut = _judge(place, self._prove(board, keys))
            if shut is not None:
                return shut
            passage = Passage(self, place.queue, gate.lock, lease, index, line)
            if place.rules is not None and (shut := self._ask(board, place, place.rules, keys, passage)) is not None:
                return shut
            board.write(index, line)
            if passage.start is not None:
                self._add_start(board, index, passage.start)
            return passage
        finally:
            board.rest()

    def _make_again(self, board: OpenBoard, queue: str) -> None:
        from queuectl.flows import lost_boards

        lost_boards.make_again(self._session, board, queue)

    def _ask(self, board: OpenBoard, place: Place, rules: Queue, keys: list[bytes], passage: Passage) -> Shut | None:
        """Return why the circuit breaker or a rate lets no job start; None if it may, with the facts in `passage`."""
        from queuectl.flows import halts, rates

        if rules.has_breaker and halts.limit_reached(board.outcomes, rules):
            if pause.is_paused(self._spool, place.queue):
                return Shut(HALTED)  # just now: this worker has not noticed it
            if any(self._prove(board, keys)):
                return Shut(HALF_OPEN)
            passage.is_trial = True
        if rules.rate or rules.rate_per_key:
            asked = self.starts.ask(place, self._session.clock.now())
            if isinstance(asked, rates.Wait):
                return Shut(KEY_RATE if asked.key else RATE, asked.wait_s)
            passage.start = asked
        return None

    def _add_start(self, board: OpenBoard, index: int, start: Start) -> None:
        """Add a start to its logs, or blank the line again. Raises OSError."""
        try:
            self.starts.add(start)
        except BaseException:
            board.write(index, boards.BLANK)
            raise

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


def _judge(place: Place, keys: list[bytes]) -> Shut | None:
    """Return why a job may not start beside the others that are in, or None; `keys` has b"" for each blank line."""
    if place.slots and len(keys) - keys.count(b"") >= place.slots:
        return Shut(FULL)
    if place.key and keys.count(place.key.encode()) >= place.per_key:
        return Shut(KEY_FULL)
    return None


def has_room(limits: Queue, inside: int, outcomes: str) -> bool:
    """Return whether a job of a queue may start beside so many others, as far as slots and circuit breaker go."""
    if limits.slots and inside >= limits.slots:
        return False
    if not inside or not limits.has_breaker:
        return True
    from queuectl.flows import halts

    return not halts.limit_reached(outcomes, limits)


def _blank_lease(board: OpenBoard, lease: str) -> None:
    """Blank the lines of a lease. The caller holds the lock."""
    try:
        if board.look():
            for index in [at for at, each in enumerate(board.leases) if each == lease.encode()]:
                board.write(index, boards.BLANK)
    finally:
        board.rest()
