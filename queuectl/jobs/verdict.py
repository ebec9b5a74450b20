"""The results of claiming a job or settling its run: one small type for each, with its facts.

`Claims.claim` returns a `Claimed`, or one of the kinds of `Declined`. Code that handles a `Declined` matches all kinds
(`match` with `assert_never`), so mypy names every place that a new kind must be added to. The kinds are plain named
tuples because hundreds of them cross the pipe between a worker and its supervisor (`worker.messages`). A kind without
facts is an empty tuple and so false in a condition: compare it with None, or by type.
"""

# Annotations are evaluated here: as texts, `typing` compiles each field of each named tuple, 0.1 ms a class.

from typing import NamedTuple

import msgspec

from queuectl.flows.gates import Passage
from queuectl.model.history import Standing
from queuectl.model.record import Record
from queuectl.spool.desk import NOTHING, Given
from queuectl.spool.folder import Stored
from queuectl.spool.layout import record_name
from queuectl.system.files import FileSig
from queuectl.system.locks import FileLock


class Claimed(msgspec.Struct, eq=False):
    """A job that this worker runs: its record, and the facts needed to settle it."""

    record: Record
    data: bytes
    attempt: int
    failures: int
    lease: str
    name: str = ""
    """File name in running/: normally ID.json. It differs only if a claimer died before renaming the file."""
    copy: str = ""
    """Path of its record until the record replaces the drop it was made from (`Settlements.secure`). Until then the
    worker holds the stripe of its id."""
    size: int = 0
    """Length of the record on disk."""
    recorded: "Settled | None" = None
    """The next state, once the outcome is on record: settling again only makes the move."""
    moved: "Settled | None" = None
    """The place of the job after that move."""
    given: Given = NOTHING
    """What the run left on its desk, once that was taken."""
    stripe: FileLock | None = None
    """The stripe of a `copy`, if it was separated from the worker's stripes."""

    @classmethod
    def on_record(cls, stored: Stored, standing: Standing, *, lease: str, name: str) -> "Claimed":
        """Return the claim of a job whose last start is on record, to settle it: `name` is its file in running/."""
        return cls(
            stored.record, stored.data, attempt=standing.starts, failures=standing.failures, lease=lease, name=name
        )

    gate: Passage | None = None
    """The place behind the gate of its queue; None for a job without limits."""

    def __post_init__(self) -> None:
        self.size = len(self.data)
        self.name = self.name or record_name(self.record.id)

    @property
    def job_id(self) -> str:
        """The id of the job."""
        return self.record.id


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The state that an outcome led to, the file's name there, and the wait before the next run."""

    to: str
    name: str
    due_at: float | None
    delay_s: float | None
    reason: str
    cancelled: bool = False
    """The job was cancelled, which is not a failure."""
    skipped: bool = False
    """The job is not tried again, because another one with its unique key took its place."""


# ------------------------------------------------------------------------------------- not now: suggest it again


class Busy(NamedTuple):
    """The stripe is taken, or the id is running."""


class Open(NamedTuple):
    """The file is whole, but a program still has it open for writing."""


class Alive(NamedTuple):
    """A process of the last run still runs: `why` names it."""

    why: str


class Paused(NamedTuple):
    """The worker returns the name: the spool is paused."""


class Returned(NamedTuple):
    """The worker returns the name: the machine has a problem."""


# ---------------------------------------------------------------------------- not yet: wait until the file changes


class Arriving(NamedTuple):
    """The file is not whole yet. If it stays so, it is rejected for `why`, or split if `why` is empty."""

    sig: FileSig | None
    """Identifies this version of the file; None if the file was not examined."""
    why: str
    hint: str = ""


class Unreadable(NamedTuple):
    """The file cannot be read. It is tried again later, and never rejected for this."""

    sig: FileSig | None
    why: str


class Stuck(NamedTuple):
    """This file, or its lock, has a problem that other jobs do not have. It is tried again later."""

    sig: FileSig | None
    path: str
    """The path at fault."""
    why: str
    cure: str = ""


class Unrecorded(NamedTuple):
    """The job has run, and its worker cannot record how the run ended. The worker tries again."""

    path: str
    """The path at fault."""
    why: str
    cure: str = ""


class Foreign(NamedTuple):
    """The file is not a job and is left alone."""

    sig: FileSig | None
    """Identifies this version of the file; None if the name alone shows that it is not a job."""
    why: str


class Held(NamedTuple):
    """A person holds the job."""


# --------------------------------------------------------------------------------------- not under this name any more


class Gone(NamedTuple):
    """Another worker has the job, or it was deleted."""


class Later(NamedTuple):
    """The job waits under its new `name`, until `due_at` if that is given."""

    name: str
    due_at: float | None = None


class Gated(NamedTuple):
    """The job waits under its `name`, because the gate of its queue is shut, or its queue is paused (`why`)."""

    name: str
    queue: str
    key: str
    """Its key as in its name; "" if the whole queue waits."""
    why: str
    """As in `flows.admission`."""
    wait_s: float = 0.0
    """In how many seconds a rate lets the next job start."""


class Repaired(NamedTuple):
    """Its torn end was repaired in place: the file is a job again, under the same name."""


class Rejected(NamedTuple):
    """The file is in rejected/ as `name`, for `why`."""

    name: str
    why: str


class Dead(NamedTuple):
    """The job is in dlq/ as `name`: its retries are used up, or it must not start any more (`why`)."""

    name: str
    why: str = ""


class Skipped(NamedTuple):
    """The job is in done/ as `name` without a run: there is nothing to do.

    It was to run if a parent is dead, and the parent succeeded; or another job has its unique key (`why`).
    """

    name: str
    why: str = ""


# ----------------------------------------------------------------------------------------------- files of many jobs


class Many(NamedTuple):
    """The file holds many jobs. Only `judge` returns this: a claim splits the file."""


class Splitting(NamedTuple):
    """The file was partly split: `jobs` jobs so far, of which `names` are new in pending/; `key` names the rest."""

    key: str
    jobs: int = 0
    names: tuple[str, ...] = ()
    is_step: bool = False
    """A step was made; False while another worker makes one."""


class Split(NamedTuple):
    """All of `file` was split into `jobs` jobs, of which `names` are new in pending/; `refused` names the others."""

    file: str
    jobs: int
    names: tuple[str, ...] = ()
    refused: str = ""


class SplitStuck(NamedTuple):
    """The split cannot continue now, because the file cannot be read. It is tried again as `key`."""

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
    | Gated
    | Repaired
    | Rejected
    | Dead
    | Skipped
    | Many
    | Splitting
    | Split
    | SplitStuck
)
"""The reasons why a name could not be claimed."""
