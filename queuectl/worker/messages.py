"""The messages between a worker and its supervisor, and how they are packed for the pipe. Computes only.

Orders go to the worker, one per message; reports come back, many per message. `marshal` packs both as plain tuples with
the number of their kind, because some 20 reports go together, several hundred times a second, and pickle takes five
times as long for named tuples. Both ends are the same program, so the format needs no version.
"""

# Annotations are evaluated here: as texts, `typing` compiles each field of each named tuple, 0.1 ms a class.

import marshal
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec import structs

from queuectl.jobs.verdict import Declined, Settled
from queuectl.model.lifecycle import Outcome
from queuectl.system.files import FileSig


class Feed(NamedTuple):
    """Try to claim these names, in this order, after those that you have."""

    names: list[str]
    at_once: dict[str, int] | None = None
    """Run at most so many jobs of these queues at once. Return the names behind a job that lasts."""


class SplitFile(NamedTuple):
    """Start to split this file of many jobs, without waiting any longer for the rest of it."""

    name: str


class Cancel(NamedTuple):
    """End this run, if it is yours, because the job is cancelled."""

    job_id: str
    attempt: int
    reason: str


class Resize(NamedTuple):
    """Change the number of slots. A surplus slot ends after its run."""

    slots: int


class Reload(NamedTuple):
    """Use these values of settings for the next attempts."""

    values: dict[str, Any]


class SetQueues(NamedTuple):
    """Use these queues: the fields of `queues.Queue` by name."""

    values: dict[str, tuple[Any, ...]]


class Stop(NamedTuple):
    """Claim no more jobs; end after the running jobs."""


class Kill(NamedTuple):
    """End the running jobs, put them back, and end."""


class Leave(NamedTuple):
    """For the worker of a cluster: end, and leave the commands that nodes run to the next pool."""


class Abandon(NamedTuple):
    """The spool was moved or deleted: end the running jobs, write nothing more, and end."""


Order = Feed | SplitFile | Cancel | Resize | Reload | SetQueues | Stop | Kill | Leave | Abandon


class Started(NamedTuple):
    """A command runs."""

    name: str
    job_id: str
    attempt: int
    command: str


class Finished(msgspec.Struct, frozen=True):
    """A run has ended, and its job was moved (`settled`)."""

    name: str
    job_id: str
    attempt: int
    outcome: Outcome
    settled: Settled
    runs_left: int
    """How often the job may run again."""
    max_retries: int
    command: str
    """The same as in `Started`, if that was not sent before, because a short run is reported once."""


class Passed(NamedTuple):
    """A name that could not be claimed."""

    name: str
    declined: Declined


class Trouble(NamedTuple):
    """The machine has a problem; the worker returns its names."""

    text: str


class Defect(NamedTuple):
    """A defect of queuectl ended this run; the job will be rescued. The worker ends after its other runs."""

    name: str
    job_id: str
    text: str


class Vanished(NamedTuple):
    """A job's file disappeared while the job ran: somebody deleted or moved it. Only this report has the outcome.

    If the run lasted long enough to detect that, it was ended as `cancelled`. `name` is the name that was suggested.
    """

    name: str
    job_id: str
    outcome: Outcome


class Restored(NamedTuple):
    """A folder of the spool was missing; the worker has created it again."""

    folder: str


class Places(NamedTuple):
    """The worker now has this many slots, because nodes came or left."""

    slots: int


class Offers(NamedTuple):
    """A node can fill these needs now (as in names), which none could before."""

    needs: str


class Left(NamedTuple):
    """The worker ends, and the commands of these jobs go on on their nodes, for `within_s` unless a pool comes."""

    job_ids: list[str]
    within_s: float


class Halted(NamedTuple):
    """A run has halted its queue, by the circuit breaker."""

    queue: str


class Remark(NamedTuple):
    """Something that people may want to know about the nodes; no problem of this machine."""

    text: str
    is_warning: bool = False


Report = Started | Finished | Passed | Trouble | Vanished | Restored | Defect | Places | Offers | Left | Remark | Halted

_KINDS: tuple[type[Report], ...] = (
    Started,
    Finished,
    Passed,
    Trouble,
    Vanished,
    Restored,
    Defect,
    Places,
    Offers,
    Left,
    Remark,
    Halted,
)
_DECLINED: tuple[type[Declined], ...] = get_args(Declined)
_WITH_SIG = frozenset(each for each in _DECLINED if "sig" in each._fields)
"""Kinds whose first field is a file's signature."""
_ORDERS: tuple[type[Order], ...] = (Feed, SplitFile, Cancel, Resize, Reload, SetQueues, Stop, Kill, Leave, Abandon)


def pack_order(order: Order) -> bytes:
    """Return the message for a worker that holds this order."""
    return marshal.dumps((_ORDERS.index(type(order)), *order))


def unpack_order(message: bytes) -> Order:
    """Return the order in a message that `pack_order` made."""
    kind, *fields = marshal.loads(message)
    order: Order = _ORDERS[kind](*fields)
    return order


def pack(reports: list[Report]) -> bytes:
    """Return the message for the supervisor that holds these reports."""
    return marshal.dumps([_plain_finished(each) if isinstance(each, Finished) else _plain(each) for each in reports])


def unpack(message: bytes) -> list[Report]:
    """Return the reports in a message that `pack` made."""
    return [_report(_KINDS[kind], fields) for kind, *fields in marshal.loads(message)]


def _plain_finished(report: Finished) -> tuple[Any, ...]:
    name, job_id, attempt, outcome, settled, *rest = structs.astuple(report)
    return 1, name, job_id, attempt, structs.astuple(outcome), structs.astuple(settled), *rest


def _plain(report: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(report, Passed):
        name, declined = report
        return 2, name, _DECLINED.index(type(declined)), *map(_without_names, declined)
    return _KINDS.index(type(report)), *map(_without_names, report)


def _without_names(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        value = structs.astuple(value)
    return tuple(map(_without_names, value)) if isinstance(value, tuple) else value


def _report(kind: type[Report], fields: list[Any]) -> Report:
    if kind is Finished:
        name, job_id, attempt, outcome, settled, runs_left, max_retries, command = fields
        made = Outcome(*outcome), Settled(*settled)
        return Finished(name, job_id, attempt, *made, runs_left, max_retries, command)
    if kind is Passed:
        name, number, *facts = fields
        declined = _DECLINED[number]
        if declined in _WITH_SIG and facts[0] is not None:
            facts[0] = FileSig(*facts[0])
        return Passed(name, declined(*facts))
    if kind is Vanished:
        return Vanished(fields[0], fields[1], Outcome(*fields[2]))
    return kind(*fields)
