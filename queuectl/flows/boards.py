"""The board of a queue: which jobs run that passed its gate. Reads boards, and changes none.

A board is a file of lines of 256 bytes. The first line is the head, with the outcomes of the last runs if the queue has
a circuit breaker. Each other line is blank, or names the lease, the key (`-` for none) and the id of a running job. A
lease that nobody holds is not in (P12). A line that ends in `?` was found in running/ when the board was made again:
its job may have started without a gate, so nobody blanks the line when it ends. It counts for as long as the record of
the job says that it runs under that lease.
"""

from __future__ import annotations

import re

import msgspec

from queuectl.errors import DamagedRecordError
from queuectl.model import lifecycle, names, queues, record
from queuectl.model.lifecycle import RUNNING
from queuectl.model.queues import OUTCOMES_LIMIT, Place
from queuectl.model.record import Record
from queuectl.spool.folder import RECORD_MAX_BYTES, SpoolDir
from queuectl.spool.lease import is_alive
from queuectl.system import files

LINE_BYTES = 256
BLANK = b" " * (LINE_BYTES - 1) + b"\n"
_TITLE = b"queuectl gate 1: LEASE KEY ID of each job that runs "
HEAD = _TITLE.ljust(LINE_BYTES - 1) + b"\n"
_HEAD = re.compile(_TITLE + rb"([sf]*) *\n")
NO_KEY, _NO_KEY = "-", b"-"
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
    if len(data) % LINE_BYTES or not has_head(data):
        return None
    lines: list[Entry | None] = []
    for at in range(LINE_BYTES, len(data), LINE_BYTES):
        line = data[at : at + LINE_BYTES]
        entry = None if line == BLANK else entry_of(line)
        if entry is None and line != BLANK:
            return None
        lines.append(entry)
    return lines


def has_head(data: bytes) -> bool:
    """Return whether a text begins as a board does."""
    return data.startswith(HEAD) or outcomes_in(data) is not None


def outcomes_in(data: bytes) -> str | None:
    """Return how the last runs ended by the head of a board, `s` or `f` each; None if it is no head."""
    match = _HEAD.fullmatch(data[:LINE_BYTES])
    return None if match is None else match.group(1).decode()


def head_of(outcomes: str) -> bytes:
    """Return the head with the last of these outcomes."""
    return (_TITLE + outcomes[-OUTCOMES_LIMIT:].encode()).ljust(LINE_BYTES - 1) + b"\n"


def fields_of(line: bytes) -> tuple[bytes, ...] | None:
    """Return the lease, the key, the id and the mark of a line; None if it is not a line of a running job."""
    match = _LINE.fullmatch(line)
    return None if match is None else match.groups(b"")


def entry_of(line: bytes) -> Entry | None:
    """Return the entry of a line, or None if there is none."""
    fields = fields_of(line)
    if fields is None:
        return None
    lease, key, job_id, mark = fields
    return Entry(lease.decode(), "" if key == _NO_KEY else key.decode(), job_id.decode(), bool(mark))


def line_of(lease: str, key: str, job_id: str, *, is_found: bool = False) -> bytes:
    """Return the line of an entry."""
    mark = " ?" if is_found else ""
    text = f"{lease} {key or NO_KEY} {job_id}{mark}".encode("ascii", "replace")
    return text.ljust(LINE_BYTES - 1)[: LINE_BYTES - 1] + b"\n"


def text_of(entries: list[Entry], outcomes: str = "") -> bytes:
    """Return a new board."""
    lines = [line_of(each.lease, each.key, each.job_id, is_found=each.is_found) for each in entries]
    return head_of(outcomes) + b"".join(lines)


def read(spool: SpoolDir, queue: str) -> list[Entry]:
    """Return who is in, without the proof that each lives; nobody if there is no board that can be read."""
    try:
        content = files.read(spool.gate_path(queue), MAX_BYTES)
    except OSError:
        return []
    return [entry for entry in parse(content.data) or () if entry is not None]


def outcomes(spool: SpoolDir, queue: str) -> str:
    """Return how the last runs of a queue ended, by its board; "" if there is no board that can be read."""
    try:
        return outcomes_in(files.read_head(spool.gate_path(queue), LINE_BYTES)) or ""
    except OSError:
        return ""


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


def place_of(item: Record, limits: queues.Queues) -> Place | None:
    """Return what limits a job, or None if nothing does."""
    if not limits and not item.extras.key:
        return None
    return queues.place(item.extras.queue, names.key_flag(item.extras.key), item.owner, limits)


def _lease_of(path: str) -> str:
    item = record_at(path)
    return "" if item is None else lease_in(item)
