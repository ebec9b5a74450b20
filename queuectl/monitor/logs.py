"""Follow what a job prints, from one run to the next. Only looks.

A running command writes to the file of its worker's lease, which becomes a log when it has ended, and whose name the
same worker's next job may use again (see `output`). So what was read there counts only if the run is still under way
by its record afterwards: its worker starts nothing else before the record says how the run ended. The rest of a run is
read from its log, from the byte where the reader was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from queuectl.errors import DamagedRecordError, QueuectlError
from queuectl.model.lifecycle import RUNNING, STARTED
from queuectl.monitor.results import ending_of
from queuectl.spool import lookup
from queuectl.spool.layout import record_name
from queuectl.spool.lookup import Job
from queuectl.spool.session import Session
from queuectl.system import files

_CHUNK = 64 * 1024


class Piece(NamedTuple):
    """Some bytes that run number `attempt` printed."""

    attempt: int
    data: bytes


class Run(NamedTuple):
    """A run that is under way."""

    attempt: int
    lease: str


class Tail:
    """The output of one job, from its newest run on (only the last `lines` lines of that run, if `lines` is given)."""

    def __init__(self, session: Session, job: Job, *, lines: int | None = None) -> None:
        self._session = session
        self._spool = session.spool
        self._id = job.id
        starts = [event.get("attempt") for event in job.history if event.get("event") == STARTED]
        self._attempt = max((number for number in starts if isinstance(number, int)), default=1)
        self._newest = self._attempt
        self._at = 0
        self._lines = lines

    def take(self) -> Iterator[Piece]:
        """Yield what was printed since the last call. After the job has ended, yield all of the rest.

        Raises:
            QueuectlError: the path of the output is not a regular file.
        """
        run = self._run()
        if run is None:
            ending = ending_of(self._session, self._id)
            self._newest = max(self._newest, 0 if ending is None else ending.runs)
            yield from self._take_logs(self._newest)
        else:
            self._newest = max(self._newest, run.attempt)
            if run.attempt > self._attempt:
                yield from self._take_logs(run.attempt - 1)
                self._go_to(run.attempt)
            yield from self._take_live(run)
        self._lines = None

    def _run(self) -> Run | None:
        try:
            item = self._spool.read(RUNNING, record_name(self._id)).record
        except (OSError, DamagedRecordError):
            return None  # not there, or read in the middle of a write: the next call sees it
        last = item.standing().last
        return Run(last.attempt, last.lease) if last is not None and last.event == STARTED else None

    def _go_to(self, attempt: int) -> None:
        self._attempt, self._at, self._lines = attempt, 0, None

    def _take_logs(self, end: int) -> Iterator[Piece]:
        """Yield the rest of this run and all later runs, to run number `end`, and stay there."""
        while True:
            for data in self._read(self._spool.log_path(self._id, self._attempt)):
                self._at += len(data)
                yield Piece(self._attempt, data)
            if self._attempt >= end:
                return
            self._go_to(self._attempt + 1)

    def _take_live(self, run: Run) -> Iterator[Piece]:
        for data in self._read(self._spool.output_path(run.lease)):
            if self._run() != run:
                return  # the file may belong to another job by now; this job's output is in the log
            self._at += len(data)
            yield Piece(run.attempt, data)

    def _read(self, path: str) -> Iterator[bytes]:
        """Yield the file from the present position, as far as it is written; nothing if there is none."""
        try:
            with open(files.open_to_read(path), "rb") as file:
                if self._lines is not None and self._at == 0:
                    self._at = start_of_last(file, self._lines)
                file.seek(self._at)
                while data := file.read(_CHUNK):
                    yield data
        except FileNotFoundError:
            return
        except files.NotRegularError as error:
            raise QueuectlError(f"{path} is not a log: it is not a regular file") from error


class Glimpse(NamedTuple):
    """The end of what a job's newest run printed; `attempt` is 0 if the job has not run yet."""

    state: str
    attempt: int
    data: bytes


def glimpse(session: Session, job_id: str, max_bytes: int) -> Glimpse:
    """Return the last bytes of a job's output, however much it printed.

    Raises:
        QueuectlError: there is no such job (any longer), or its record is damaged.
        OSError: the output cannot be read.
    """
    job = lookup.get(session, job_id)
    start = _last_start(job)
    if start is None:
        return Glimpse(job.state, 0, b"")
    if job.state == RUNNING:
        data = _end_of(session.spool.output_path(start.lease), max_bytes)
        job = lookup.get(session, job_id)
        if job.state == RUNNING and _last_start(job) == start:
            return Glimpse(job.state, start.attempt, data)
    return Glimpse(job.state, start.attempt, _end_of(session.spool.log_path(job.id, start.attempt), max_bytes))


def _last_start(job: Job) -> Run | None:
    for event in reversed(job.history):
        if event.get("event") == STARTED and isinstance(event.get("attempt"), int):
            return Run(event["attempt"], str(event.get("lease", "")))
    return None


def _end_of(path: str, max_bytes: int) -> bytes:
    try:
        return files.read_tail(path, max_bytes)
    except FileNotFoundError:
        return b""  # it printed nothing


def start_of_last(file: BinaryIO, lines: int) -> int:
    """Return where the last `lines` lines begin. Reads the file from its end, only as far as needed."""
    end = file.seek(0, os.SEEK_END)
    position, needed = end, lines
    if end:
        file.seek(end - 1)
        needed += file.read(1) == b"\n"  # the break at the very end ends the last line, it begins none
    while position > 0 and needed > 0:
        step = min(_CHUNK, position)
        position -= step
        file.seek(position)
        chunk = file.read(step)
        at = len(chunk)
        while needed > 0:
            at = chunk.rfind(b"\n", 0, at)
            if at < 0:
                break
            needed -= 1
            if needed == 0:
                return position + at + 1
    return 0 if lines else end
