"""What became of an attempt to claim a job, or to settle its run: one small type for each answer, with its facts.

`Claims.claim` returns a `Claimed`, or one of the kinds of `Declined`. Whoever handles a `Declined` matches all kinds
(`match` with `assert_never`), so mypy names every place that a new kind has to be added to. They are plain named tuples
because they cross the pipe between a worker and its supervisor by the hundred (`worker.messages`); a kind without facts
is an empty tuple and so false in a condition: compare with None, or by type.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from queuectl.model.record import Record
from queuectl.spool.layout import record_name
from queuectl.system.files import FileSig
from queuectl.system.locks import FileLock


class Claimed(msgspec.Struct, eq=False):
    """A job that this worker runs: what to run, and what settling it needs."""

    record: Record
    data: bytes
    attempt: int
    failures: int
    lease: str
    name: str = ""
    """File name in running/: normally ID.json. It differs only if a claimer died before renaming the file."""
    copy: str = ""
    """Path of its record until that replaces the drop it was made from (`Settlements.secure`). Until then the stripe of
    its id is held."""
    size: int = 0
    """Length of the record on disk."""
    recorded: Settled | None = None
    """Where the outcome leads, once it is on record: settling again only makes the move."""
    moved: Settled | None = None
    """Where the job is after that move."""
    stripe: FileLock | None = None
    """The stripe of a `copy`, if it was parted from the worker's own."""

    def __post_init__(self) -> None:
        self.size = len(self.data)
        self.name = self.name or record_name(self.record.id)

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self.record.id


class Settled(NamedTuple):
    """Where an outcome led: the state, the file's name there, and the wait before the next run."""

    to: str
    name: str
    due_at: float | None
    delay_s: float | None
    reason: str
    cancelled: bool = False
    """It was cancelled, so it is no failure."""


# ------------------------------------------------------------------------------------- not now: suggest it again


class Busy(NamedTuple):
    """Its stripe is taken, or its id is running."""


class Open(NamedTuple):
    """It is whole, but a program still has it open for writing."""


class Alive(NamedTuple):
    """Something of its last run still runs: `why` says what."""

    why: str


class Paused(NamedTuple):
    """The worker gives the name back: the spool is paused."""


class Returned(NamedTuple):
    """The worker gives the name back: the machine is in trouble."""


# ---------------------------------------------------------------------------- not yet: wait until the file changes


class Arriving(NamedTuple):
    """It is not whole yet. If it stays like this, it is rejected for `why`, or split if `why` is empty."""

    sig: FileSig | None
    """Tells this version of the file from the next; None if it was not looked at."""
    why: str
    hint: str = ""


class Unreadable(NamedTuple):
    """It cannot be read. It is tried again later, and never rejected for this."""

    sig: FileSig | None
    why: str


class Stuck(NamedTuple):
    """This file, or its lock, is in trouble that other jobs do not have. It is tried again later."""

    sig: FileSig | None
    path: str
    """The path at fault."""
    why: str
    cure: str = ""


class Unrecorded(NamedTuple):
    """It has run, and its worker cannot record how the run ended. The worker tries again."""

    path: str
    """The path at fault."""
    why: str
    cure: str = ""


class Foreign(NamedTuple):
    """It is no job and is left alone."""

    sig: FileSig | None
    """Tells this version of the file from the next; None if its name alone says that it is no job."""
    why: str


class Held(NamedTuple):
    """A person holds it."""


# --------------------------------------------------------------------------------------- not under this name any more


class Gone(NamedTuple):
    """Somebody else has it, or it was deleted."""


class Later(NamedTuple):
    """It waits under its new `name`, until `due_at` if that is given."""

    name: str
    due_at: float | None = None


class Repaired(NamedTuple):
    """Its torn end was repaired in place: it is a job again, under the same name."""


class Rejected(NamedTuple):
    """It is in rejected/ as `name`, for `why`."""

    name: str
    why: str


class Dead(NamedTuple):
    """It is in dlq/ as `name`: its last run was its last try."""

    name: str


# ----------------------------------------------------------------------------------------------- files of many jobs


class Many(NamedTuple):
    """It holds many jobs. Only `judge` says so: a claim splits the file."""


class Splitting(NamedTuple):
    """It was split in part: `jobs` jobs so far, of which `names` are new in pending/; the rest follows under `key`."""

    key: str
    jobs: int = 0
    names: tuple[str, ...] = ()


class Split(NamedTuple):
    """All of `file` was split into `jobs` jobs, of which `names` are new in pending/; `refused` says what was not."""

    file: str
    jobs: int
    names: tuple[str, ...] = ()
    refused: str = ""


class SplitStuck(NamedTuple):
    """Its split cannot go on now, because the file cannot be read. It is tried again under `key`."""

    key: str
    why: str


Watched = Arriving | Unreadable | Stuck | Foreign
"""Files that are tried again if they change."""
Declined = (
    Busy
    | Open
    | Alive
    | Paused
    | Returned
    | Arriving
    | Unreadable
    | Stuck
    | Unrecorded
    | Foreign
    | Held
    | Gone
    | Later
    | Repaired
    | Rejected
    | Dead
    | Many
    | Splitting
    | Split
    | SplitStuck
)
"""Why a name could not be claimed, and what follows."""
