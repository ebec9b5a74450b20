"""The board of a queue: which jobs run that passed its gate. Reads boards, and changes none.

A board is a file of lines of 256 bytes. The first line is the head. Each other line is blank, or names the lease, the
key (`-` for none) and the id of a running job. A lease that nobody holds is not in (P12). A line that ends in `?` was
found in running/ when the board was made again: its job may have started without a gate, so nobody blanks the line when
it ends. It counts for as long as the record of the job says that it runs under that lease.
"""

from __future__ import annotations

import re

import msgspec

from queuectl.errors import DamagedRecordError
from queuectl.model import lifecycle, record
from queuectl.model.lifecycle import RUNNING
from queuectl.model.record import Record
from queuectl.spool.folder import RECORD_MAX_BYTES, SpoolDir
from queuectl.spool.lease import is_alive
from queuectl.system import files

LINE_BYTES = 256
BLANK = b" " * (LINE_BYTES - 1) + b"\n"
HEAD = b"queuectl gate 1: LEASE KEY ID of each job that runs".ljust(LINE_BYTES - 1) + b"\n"
NO_KEY = "-"
# Far more than there are jobs that run at once; a larger file is not a board.
MAX_BYTES = 16 * 1024 * 1024
_LINE = re.compile(rb"([!-~]+) ([!-~]+) ([!-~]+)( \?)? *\n")


class Entry(msgspec.Struct, frozen=True):
    """A job that is in: its lease, its key ("": none), its id."""

    lease: str
    key: str
    job_id: str
    is_found: bool = False
    """It was found in running/, when the board was made again."""


def parse(data: bytes) -> list[Entry | None] | None:
    """Return the lines of a board after its head, None for each blank line; None if `data` is not a board."""
    if len(data) % LINE_BYTES or not data.startswith(HEAD):
        return None
    lines: list[Entry | None] = []
    for at in range(LINE_BYTES, len(data), LINE_BYTES):
        line = data[at : at + LINE_BYTES]
        if line == BLANK:
            lines.append(None)
        elif (match := _LINE.fullmatch(line)) is not None:
            lease, key, job_id, found = match.groups()
            lines.append(Entry(lease.decode(), "" if key == b"-" else key.decode(), job_id.decode(), bool(found)))
        else:
            return None
    return lines


def line_of(entry: Entry) -> bytes:
    """Return the line of an entry."""
    mark = " ?" if entry.is_found else ""
    text = f"{entry.lease} {entry.key or NO_KEY} {entry.job_id}{mark}".encode("ascii", "replace")
    return text.ljust(LINE_BYTES - 1)[: LINE_BYTES - 1] + b"\n"


def text_of(entries: list[Entry]) -> bytes:
    """Return a new board."""
    return HEAD + b"".join(map(line_of, entries))


def offset_of(index: int) -> int:
    """Return where the line `index` begins."""
    return LINE_BYTES * (index + 1)


def read(spool: SpoolDir, queue: str) -> list[Entry]:
    """Return who is in, without the proof that each lives; nobody if there is no board that can be read."""
    try:
        content = files.read(spool.gate_path(queue), MAX_BYTES)
    except OSError:
        return []
    return [entry for entry in parse(content.data) or () if entry is not None]


def alive(spool: SpoolDir, entries: list[Entry]) -> list[Entry]:
    """Return the entries that count."""
    return [entry for entry in entries if counts(spool, entry)]


def counts(spool: SpoolDir, entry: Entry) -> bool:
    """Return whether an entry is in: its lease is held, and a job that was found in running/ still runs."""
    if not is_alive(spool, entry.lease):
        return False
    if not entry.is_found:
        return True
    started = {_lease_of(spool.path(RUNNING, f"{entry.job_id}.json"))}
    started |= {_lease_of(spool.tmp_path(name)) for name in spool.starts(entry.job_id)}
    return entry.lease in started


def word_of(lease: str) -> str:
    """Return a lease as a line has it: somebody may have edited the record."""
    return re.sub("[^!-~]", "-", lease)


def record_at(path: str) -> Record | None:
    """Return the record at `path`, whole or torn (it may be read in the middle of a write); None if it is none."""
    try:
        data = files.read(path, RECORD_MAX_BYTES).data
    except (FileNotFoundError, files.NotRegularError):
        return None
    try:
        return record.decode(data if record.is_framed(data) else record.repair(data) or b"")
    except DamagedRecordError:
        return None


def lease_in(item: Record) -> str:
    """Return the lease under which a job runs, by its record; "" if it does not run."""
    last = item.standing().last
    return word_of(last.lease) if last is not None and last.event == lifecycle.STARTED else ""


def _lease_of(path: str) -> str:
    item = record_at(path)
    return "" if item is None else lease_in(item)
