"""Why a job is not running: every reason that holds, the most pressing first, and what changes it. Only looks."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.errors import AmbiguousIdError, DamagedRecordError, UnknownJobError, UntrustedSpoolError
from queuectl.inbox import state as inboxstate
from queuectl.jobs import batch, foresight
from queuectl.model import document, names, record, times
from queuectl.model import text as printable
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import command_text
from queuectl.monitor import live, order, rejected
from queuectl.monitor.results import refused, why_dead
from queuectl.spool import lookup, trust
from queuectl.spool.folder import MACHINERY, Located, SpoolDir, may_be_job
from queuectl.spool.lookup import Job
from queuectl.spool.session import Session
from queuectl.system import files, processes

_NAMED = 3
_COMMAND_CHARS = 60


class Reason(NamedTuple):
    """One reason: its name for programs, a sentence, and the command or the drag that changes it ("": nothing does)."""

    kind: str
    text: str
    change: str


class Answer(NamedTuple):
    """The id (of a rejected file: its name), the state it is in, and the reasons; there is always one."""

    id: str
    state: str
    reasons: list[Reason]


def explain(session: Session, typed: str, *, now_at: float) -> Answer:
    """Why the job that is meant by an id, or by its beginning, is not running.

    Raises:
        UnknownJobError, AmbiguousIdError: as `Spool.resolve`.
        DamagedRecordError: it has ended, or runs, and its record is torn.
    """
    for _ in range(5):
        named = session.spool.file(typed)
        try:
            job_id = named.name.removesuffix(".json") if named is not None else lookup.resolve(session, typed)
        except (UnknownJobError, AmbiguousIdError) as error:
            if name := refused(session.spool, typed, whole=isinstance(error, AmbiguousIdError)):
                return Answer(name, REJECTED, [_rejected(session.spool, name)])
            if (answer := _split(session.spool, typed)) is not None:
                return answer
            if alone := _left_alone(session.spool, typed):
                return Answer(typed, PENDING, [alone])
            if (answer := _in_an_inbox(session.spool, typed)) is not None:
                return answer
            raise
        found = named or session.spool.find(job_id) or _drop(session, job_id)
        try:
            if found is not None:
                return Answer(job_id, found.state, _reasons(session, found, now_at))
        except FileNotFoundError:
            continue  # it moved between the look and the read
    raise UnknownJobError(typed)


def _split(spool: SpoolDir, typed: str) -> Answer | None:
    """What became of a file of many jobs, by the name that it was dropped under."""
    try:
        if files.sig_of(spool.path(PENDING, typed)) is not None:
            return None  # there is one of that name again
        found = batch.newest_of(spool, typed)
    except (OSError, ValueError):  # ValueError: a name that no system has
        return None
    if found is None:
        return None
    token, note = found
    if note.is_over:
        text = f"it was split into {batch.outcome_text(note)}"
    else:
        text = f"it is being split: {batch.outcome_text(note)} so far"
    change = spool.split_text_path(token) if note.is_over and note.refused else ""
    return Answer(note.file, f"{MACHINERY}/taken", [Reason("split", text, change)])


def _left_alone(spool: SpoolDir, name: str) -> Reason | None:
    """Why a file of pending/ is none of the queue's by its name, or None where there is no such file."""
    if may_be_job(name) or name not in spool.names(spool.folder(PENDING)):
        return None
    if names.is_copy(name):
        text = "it is left alone: its name is one of an unfinished or conflicting copy"
    else:
        text = "it is left alone: the name of a job ends in .json, that of a file of many in .jsonl"
    return Reason("left_alone", text, f"rename it to NAME.json in {PENDING}/ if it is a job; else delete it")


def _in_an_inbox(spool: SpoolDir, typed: str) -> Answer | None:
    """A file that is no job yet, by what the receivers said last; the inbox itself may hang and is not looked at."""
    for state in inboxstate.read_all(spool):
        where = f"inbox {state.owner}"
        for row in state.rows:
            if typed in (row.name, row.name.removesuffix(".json")):
                quiet = times.format_duration(round(row.quiet_s))
                text = f"its file is still arriving in {where}, unchanged for {quiet}: {row.why}"
                return Answer(row.name, state.path, [Reason("arriving", text, f"write the rest of {row.name}")])
        for refused_row in state.refused:
            name = refused_row.name
            if typed in (name, name.removesuffix(".rejected"), name.removesuffix(".json.rejected")):
                text = f"it was refused in {where}: {refused_row.why or 'the text beside it says why'}"
                change = f"correct {state.path}/{name}: a valid job is taken in automatically; its text says what to do"
                return Answer(name, state.path, [Reason(REJECTED, text, change)])
        for name in state.next:
            if typed in (name, name.removesuffix(".json")):
                if state.held_back:
                    text = f"its file waits in {where}, held back by {state.held_back}"
                    change = f"wait until some of {state.owner}'s jobs have run, or raise the limit in the settings"
                    return Answer(name, state.path, [Reason("held_back", text, change)])
                return Answer(name, state.path, [Reason("next", f"its file in {where} is taken in next", "")])
    return None


def _drop(session: Session, job_id: str) -> Located | None:
    """A drop that lies under another name than its id."""
    try:
        job = lookup.get(session, job_id)
    except (UnknownJobError, DamagedRecordError):
        return None
    name = next((name for name in session.spool.waiting_names() if session.spool.path(PENDING, name) == job.path), "")
    return Located(PENDING, name, job.path) if name else None


def _reasons(session: Session, found: Located, now_at: float) -> list[Reason]:
    if found.state == PENDING:
        return [*_waiting(session, found, now_at), *_copied(session.spool, found)]
    item = session.spool.read(found.state, found.name).record
    if found.state == RUNNING:
        return [_running(session.spool, item, now_at)]
    again = f"queuectl retry {item.id}"
    if found.state == DONE:
        ended_at = times.instant(last.at) if (last := record.standing(item).last) is not None else None
        ago = f", {_ago(ended_at, now_at)}" if ended_at is not None else ""
        return [Reason(DONE, f"it has run and succeeded{ago}", again)]
    if record.standing(item).is_cancelled:
        return [Reason(CANCELLED, f"it was {why_dead(item)}", again)]
    return [Reason("dead", f"it is dead: {why_dead(item)}", again)]


# ------------------------------------------------------------------------------------------------------------- waiting


def _waiting(session: Session, found: Located, now_at: float) -> list[Reason]:
    """What keeps a waiting job from being started."""
    pools = live.pools(session.spool)
    workers = sum(pool.count for pool in pools)
    reasons = [made for made in (_untrusted(session.spool), _paused(session.spool)) if made is not None]
    if not workers:
        reasons.append(Reason("no_workers", "no workers run", "queuectl worker start"))
    if names.is_held(found.name):
        return [*reasons, Reason("held", "somebody holds it", f"queuectl release {_stem(found.name)}")]
    own = _arriving(session, found) or _due(session, found, now_at)
    if own is not None:
        return [*reasons, own]
    if (outlived := _outlived(session.spool, found)) is not None:
        reasons.append(outlived)
    waiting = session.spool.waiting_names()
    before = order.in_run_order(waiting, now_at, foresight.foresee_all(session.spool, waiting, now_at))
    before = before[: before.index(found.name)] if found.name in before else []
    runs = _runs(session.spool)
    if workers and len(runs) >= workers:
        reasons.append(_busy(workers, runs, now_at))
    if before:
        reasons.append(_behind(found.name, before))
    return reasons or [Reason("next", "nothing keeps it: it is the next to run", "")]


def _copied(spool: SpoolDir, found: Located) -> list[Reason]:
    """What becomes of a waiting file whose id a job has that has ended."""
    try:
        job_id = spool.read(PENDING, found.name).record.id
    except DamagedRecordError:
        return []
    state = spool.holds(job_id, (DONE, DLQ))
    if not state:
        return []
    text = f"another job has its id, in {state}/: this one gets an id of its own when a worker takes it"
    return [Reason("copy", text, f"queuectl show {state}/{job_id}  shows the other")]


def _untrusted(spool: SpoolDir) -> Reason | None:
    try:
        trust.check(spool)
    except UntrustedSpoolError as error:
        return Reason("untrusted", f"workers refuse this spool: {error.path}: {error.cause}", error.hint)
    return None


def _paused(spool: SpoolDir) -> Reason | None:
    if not spool.is_paused():
        return None
    why = spool.pause_reason()
    text = "the spool is paused" + (f": {why}" if why else "")
    if (until_at := spool.paused_until()) is not None:
        text += f" (until {times.to_text(until_at)})"
    return Reason("paused", text, f"queuectl resume, or delete {spool.paused_path}")


def _arriving(session: Session, found: Located) -> Reason | None:
    """Why a file in pending/ is no job (yet), or None for one that is."""
    try:
        lookup.load(session, PENDING, found.name)
    except DamagedRecordError as error:
        why = str(error)
    else:
        return None
    try:
        content = session.spool.read_document(found.path)
    except files.NotRegularError:
        content = None
    if content is not None and not content.oversize:
        parsed = document.parse(content.data, lines=False)
        if isinstance(parsed, document.Many):
            return Reason("many", f"the file holds {len(parsed.documents)} jobs, which get ids of their own", "")
        if isinstance(parsed, document.Incomplete):
            settle = times.format_duration(session.settings.settle_s)
            return Reason(
                "arriving",
                f"its file is not whole yet: {parsed.why}",
                f"write the rest of {PENDING}/{found.name}; it is refused {settle} after the last change to it",
            )
    return Reason("no_job", why, f"mend {PENDING}/{found.name}; workers move it to {REJECTED}/")


def _due(session: Session, found: Located, now_at: float) -> Reason | None:
    """The time that a job waits for, or None where it may run now."""
    try:
        item = session.spool.read(PENDING, found.name).record
    except DamagedRecordError:
        return _due_drop(lookup.load(session, PENDING, found.name), found.name, now_at)
    standing = record.standing(item)
    if standing.due_at is None or record.is_due(standing.due_at, standing.delay_s, now_at):
        return _named_later(found.name, now_at)
    if standing.failures:
        why = f"retry {standing.failures} of {item.max_retries}, after: {standing.error}"
    else:
        why = f"run_at {item.run_at}" if item.run_at else "a delay"
    # A job that was dead and is put back runs at once: its wait is over with its old budget.
    change = f"queuectl cancel {item.id}, then: queuectl retry {item.id}"
    return _due_at(standing.due_at, why, change, now_at)


def _named_later(name: str, now_at: float) -> Reason | None:
    """Of a job that may run, and whose name says a later time: pools go by names until they look at the record."""
    parts = names.parse(name)
    if parts is None or parts.due_at is None or parts.due_at <= now_at:
        return None
    text = (
        f"it is due by its record, and its name says {times.to_text(parts.due_at)}: the clock was set back, or the "
        "name was changed"
    )
    return Reason("clock", text, "a pool looks at the record when it starts, when the clock is set, and each hour")


def _due_drop(job: Job, name: str, now_at: float) -> Reason | None:
    """Of a drop that no worker has looked at. (A delay counts from when one does.)"""
    run_at = str(job.spec.get("run_at", ""))
    due_at = times.instant(run_at)
    if due_at is None or due_at <= now_at:
        return None
    return _due_at(due_at, f"run_at {run_at}", f"change run_at in {PENDING}/{name}", now_at)


def _due_at(due_at: float, why: str, change: str, now_at: float) -> Reason:
    when = f"{times.to_text(due_at)}, in {times.format_duration(due_at - now_at)}"
    return Reason("due", f"it is to run at {when} ({why})", change)


def _outlived(spool: SpoolDir, found: Located) -> Reason | None:
    """What of the job's last run still holds its lease, or None where nothing does: until then it does not start."""
    try:
        item = spool.read(PENDING, found.name).record
    except DamagedRecordError:
        return None  # a drop has not run yet
    start = record.standing(item).last_start
    if start is None:
        return None
    from queuectl.spool import lease  # brings portalocker

    if not lease.outlives(spool, item):
        return None
    holding, change = _holders(spool, start.lease)
    return Reason("alive", f"{holding} of run {start.attempt} still holds the lease {start.lease}", change)


def _holders(spool: SpoolDir, lease_name: str) -> tuple[str, str]:
    """The processes that hold a lease, in words, and how to end them; others' processes may be hidden."""
    pids = processes.holders(spool.lease_path(lease_name))
    if not pids:
        return "a process that only its owner or root can see", "as root: queuectl why, which names it"
    shown = [f"process {pid} ({_cut(printable.safe(processes.command_line(pid)))})" for pid in pids[:_NAMED]]
    more = f" and {len(pids) - _NAMED} more" if len(pids) > _NAMED else ""
    return f"{', '.join(shown)}{more}", f"kill {' '.join(map(str, pids))}   (or wait until it ends)"


def _behind(name: str, before: list[str]) -> Reason:
    """The jobs that run first: those of higher priority, and those whose names come before."""
    mine = _priority(name)
    higher = sum(_priority(other) > mine for other in before)
    parts = [f"it waits behind {len(before)} job{'s' * (len(before) != 1)}"]
    if higher:
        parts.append(f"{higher} of higher priority")
    if any(",by=" in other for other in before) or ",by=" in name:
        parts.append("owners take turns")
    text = f"{', '.join(parts)}; the next is {_stem(before[0])}"
    change = f"queuectl edit {_stem(name)}   (a higher priority runs first; or start more workers)"
    return Reason("behind", text, change)


def _priority(name: str) -> int:
    parts = names.parse(name) if "," in name else None
    return 0 if parts is None else parts.priority


def _stem(name: str) -> str:
    parts = names.parse(name)
    return name if parts is None else parts.stem


# -------------------------------------------------------------------------------------------------- running, rejected


def _running(spool: SpoolDir, item: record.Record, now_at: float) -> Reason:
    start = record.standing(item).last_start
    if start is None:
        return Reason(RUNNING, "a worker is just taking it", "")
    from queuectl.spool import lease  # brings portalocker

    if not lease.is_alive(spool, start.lease):
        kept = "the next workers put it back" if not live.pools(spool) else "it is put back within a second"
        return Reason("left", f"its worker {start.worker} is gone; {kept}", "queuectl worker start")
    if (orphaned := _orphaned(spool, start)) is not None:
        return orphaned
    since = times.instant(start.at)
    ago = "" if since is None else f", started {_ago(since, now_at)}"
    return Reason(
        RUNNING, f"it runs already: run {start.attempt}{ago}, by {start.worker}", f"queuectl logs -f {item.id}"
    )


def _orphaned(spool: SpoolDir, start: record.Event) -> Reason | None:
    """Of a run that lives without its pool: the processes that it waits for, or None where its pool lives."""
    from queuectl.spool import pools

    pool = start.worker.rpartition("-")[0]
    if not pool or pools.is_live(spool, pool):
        return None
    holding, change = _holders(spool, start.lease)
    text = f"its pool {pool} is gone, and {holding} still holds the lease {start.lease} of run {start.attempt}"
    return Reason("alive", text, change)


def _rejected(spool: SpoolDir, name: str) -> Reason:
    why = rejected.refusal(spool, name).why
    change = f"mend {REJECTED}/{name}: a valid job goes back by itself. What to do stands in {name}.reason.txt"
    return Reason(REJECTED, f"it was refused: {why}", change)


class _Busy(NamedTuple):
    id: str
    since_at: float | None
    command: str


def _runs(spool: SpoolDir) -> list[_Busy]:
    """The jobs that run."""
    found = []
    for name in spool.job_names(RUNNING):
        try:
            item = spool.read(RUNNING, name).record
        except (OSError, DamagedRecordError):
            continue
        start = record.standing(item).last_start
        since_at = None if start is None else times.instant(start.at)
        found.append(_Busy(item.id, since_at, command_text(item.command)))
    return found


def _busy(workers: int, runs: list[_Busy], now_at: float) -> Reason:
    shown = [
        f"{run.id} (started {_ago(run.since_at, now_at)}: {_cut(run.command)})" if run.since_at is not None else run.id
        for run in sorted(runs, key=lambda run: run.since_at or now_at)[:_NAMED]
    ]
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    who = "the only worker is" if workers == 1 else f"all {workers} workers are"
    text = f"{who} busy with {', '.join(shown)}{more}"
    return Reason("busy", text, "queuectl worker start --count 2   (more workers beside those that run)")


def _cut(command: str) -> str:
    return command if len(command) <= _COMMAND_CHARS else command[: _COMMAND_CHARS - 3] + "..."


def _ago(instant_at: float, now_at: float) -> str:
    return f"{times.format_duration(max(0.0, now_at - instant_at))} ago"
