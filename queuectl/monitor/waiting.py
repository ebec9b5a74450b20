"""Explain why a waiting job does not start: every reason that applies, the most pressing first. Only looks."""

from __future__ import annotations

from typing import NamedTuple

from queuectl.errors import DamagedRecordError, UntrustedSpoolError
from queuectl.model import document, expiry, history, names, times
from queuectl.model.lifecycle import DLQ, DONE, EXPIRED, PENDING, REJECTED, RUNNING, SNOOZED
from queuectl.model.text import command_text, safe
from queuectl.monitor import duplicates, family, gated, live, on_nodes, order
from queuectl.monitor.reason import Reason
from queuectl.spool import full_names, lookup, pause, trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.lookup import Job
from queuectl.spool.session import Session
from queuectl.system import files, processes

_NAMED = 3
_COMMAND_CHARS = 60


def reasons(session: Session, found: Located, now_at: float) -> list[Reason]:
    """Return why a waiting job does not start."""
    return _all_reasons(session, found, now_at, _of_parent)


def _of_parent(session: Session, found: Located, now_at: float) -> list[Reason]:
    """Return the same for a job that another one waits for; its own parents are not asked."""
    return _all_reasons(session, found, now_at, None)


def _all_reasons(session: Session, found: Located, now_at: float, explain: family.Explain | None) -> list[Reason]:
    if (skipped := duplicates.reason(session, found, now_at)) is not None:
        return [skipped]
    expires = _expires(session, found, now_at)
    if expires is not None and expires.kind == EXPIRED:
        return [expires]
    return [*_reasons(session, found, now_at, explain), *([expires] if expires is not None else [])]


def _reasons(session: Session, found: Located, now_at: float, explain: family.Explain | None) -> list[Reason]:
    pools = live.pools(session.spool)
    led = any(pool.cluster_slots for pool in pools)
    known = on_nodes.boards(session.spool, pools) if led else []
    workers = sum(pool.count for pool in pools) + sum(board.slots for board in known)
    made = [each for each in (_untrusted(session.spool), _paused(session.spool)) if each is not None]
    if not workers and led:
        made.append(on_nodes.no_places(known))
    elif not workers:
        made.append(Reason("no_workers", "no workers are running", "queuectl worker start"))
    if names.is_held(found.name):
        return [*made, Reason("held", "it is held", f"queuectl release {_stem(found.name)}")]
    if (own_parts := names.parse(found.name)) is not None and own_parts.after:
        return [*made, family.blocked(session, found, own_parts, now_at, explain)]
    own = _arriving(session, found) or _due(session, found, now_at)
    if own is not None:
        return [*made, own]
    if (outlived := _outlived(session.spool, found)) is not None:
        made.append(outlived)
    waiting = session.spool.waiting_names()
    full = full_names.read_all(session.spool, waiting, now_at)
    if (parts := names.parse(full.get(found.name, found.name))) is not None:
        if parts.after:
            return [*made, family.blocked(session, found, parts, now_at, explain)]
        made += gated.reasons(session, parts)
    if (lacking := on_nodes.lacking(session, found, pools, known)) is not None:
        made.append(lacking)
    before = order.in_run_order(waiting, now_at, full, order.turns_of(session.spool, session.settings.queues))
    before = before[: before.index(found.name)] if found.name in before else []
    runs = _runs(session.spool)
    if workers and len(runs) >= workers:
        made.append(_busy(workers, runs, now_at, "slot" if led else "worker"))
    elif (others := on_nodes.taken_by_others(known)) is not None and not any(pool.count for pool in pools):
        made.append(others)
    if before:
        made.append(_behind(found.name, before))
    return made or [Reason("next", "nothing holds it up: it runs next", "")]


def copied(spool: SpoolDir, found: Located) -> list[Reason]:
    """Return what happens to a waiting file if a job that has ended has the same id."""
    try:
        job_id = spool.read(PENDING, found.name).record.id
    except DamagedRecordError:
        return []
    state = spool.holds(job_id, (DONE, DLQ))
    if not state:
        return []
    text = f"{state}/ has another job with this id; this one gets a new id when a worker takes it"
    return [Reason("copy", text, f"queuectl show {state}/{job_id}   (shows the other job)")]


def _untrusted(spool: SpoolDir) -> Reason | None:
    try:
        trust.check(spool)
    except UntrustedSpoolError as error:
        return Reason("untrusted", f"workers refuse this spool: {error.path}: {error.cause}", error.hint)
    return None


def _paused(spool: SpoolDir) -> Reason | None:
    if not pause.is_paused(spool):
        return None
    why = pause.reason(spool)
    text = "the spool is paused" + (f": {why}" if why else "")
    if (until_at := pause.until(spool)) is not None:
        text += f" (until {times.to_text(until_at)})"
    return Reason("paused", text, f"queuectl resume, or delete {spool.paused_path}")


def _arriving(session: Session, found: Located) -> Reason | None:
    """Return why a file in pending/ is not a job (yet), or None if it is one."""
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
            return Reason("many", f"the file has {len(parsed.documents)} jobs; each gets its own id", "")
        if isinstance(parsed, document.Incomplete):
            settle = times.format_duration(session.settings.settle_s)
            return Reason(
                "arriving",
                f"its file is incomplete: {parsed.why}",
                f"finish writing {PENDING}/{found.name}; a worker rejects it {settle} after its last change",
            )
    return Reason("no_job", why, f"correct {PENDING}/{found.name}; otherwise a worker moves it to {REJECTED}/")


def _due(session: Session, found: Located, now_at: float) -> Reason | None:
    """Return until when a job waits, or None if it may run now."""
    try:
        item = session.spool.read(PENDING, found.name).record
    except DamagedRecordError:
        return _due_drop(lookup.load(session, PENDING, found.name), found.name, now_at)
    standing = item.standing()
    if standing.due_at is None or history.is_due(standing.due_at, standing.delay_s, now_at):
        return _named_later(found.name, now_at)
    if standing.failures:
        why = f"retry {standing.failures} of {item.max_retries}, after: {standing.error}"
    elif standing.last is not None and standing.last.event == SNOOZED:
        why = "a snooze: the command asked to run again later"
    else:
        why = f"run_at {item.run_at}" if item.run_at else "a delay"
    # A dead job that is put back runs at once: its wait ends with its old budget.
    change = f"queuectl cancel {item.id}, then: queuectl retry {item.id}"
    return _due_at(standing.due_at, why, change, now_at)


def _expires(session: Session, found: Located, now_at: float) -> Reason | None:
    """Return until when a job may start, or that it may not any more; None if it has no limit."""
    try:
        item = session.spool.read(PENDING, found.name).record
        limit_at = expiry.expires_at(item)
        text = "" if limit_at is None else expiry.limit_text(item, limit_at)
    except DamagedRecordError:
        try:
            limit = str(lookup.load(session, PENDING, found.name).spec.get("expires_at", ""))
        except DamagedRecordError:
            return None
        limit_at, text = times.instant(limit), f"{limit} (expires_at)"
    if limit_at is None:
        return None
    if limit_at < now_at:
        change = f"remove the key from the job: queuectl edit {_stem(found.name)}"
        gone = f"it has expired: no attempt may start after {text}; a worker moves it to {DLQ}/ when its turn comes"
        return Reason(EXPIRED, gone, change)
    left = times.format_duration(limit_at - now_at)
    return Reason("expires", f"it expires in {left}: no attempt may start after {text}", "")


def _named_later(name: str, now_at: float) -> Reason | None:
    """Explain a job that may run although its name says later: pools go by names until they read the record."""
    parts = names.parse(name)
    if parts is None or parts.due_at is None or parts.due_at <= now_at:
        return None
    text = (
        f"its record says that it is due, but its name says {times.to_text(parts.due_at)}: the clock was set back, or "
        "the name was changed"
    )
    return Reason("clock", text, "a pool reads the record when it starts, when its clock is set back, and every hour")


def _due_drop(job: Job, name: str, now_at: float) -> Reason | None:
    """Return the same as `_due` of a drop that no worker has judged. (A delay counts from the judgement.)"""
    run_at = str(job.spec.get("run_at", ""))
    due_at = times.instant(run_at)
    if due_at is None or due_at <= now_at:
        return None
    return _due_at(due_at, f"run_at {run_at}", f"change run_at in {PENDING}/{name}", now_at)


def _due_at(due_at: float, why: str, change: str, now_at: float) -> Reason:
    when = f"{times.to_text(due_at)}, in {times.format_duration(due_at - now_at)}"
    return Reason("due", f"it is due at {when} ({why})", change)


def _outlived(spool: SpoolDir, found: Located) -> Reason | None:
    """Return what still holds the lease of the job's last run, or None. Until it is free, the job does not start."""
    try:
        item = spool.read(PENDING, found.name).record
    except DamagedRecordError:
        return None  # a drop has not run yet
    start = item.standing().last_start
    if start is None:
        return None
    from queuectl.spool import lease  # brings portalocker

    if not lease.outlives(spool, item):
        return None
    holding, change = holders(spool, start.lease)
    return Reason("alive", f"{holding} of attempt {start.attempt} still holds the lease {start.lease}", change)


def holders(spool: SpoolDir, lease_name: str) -> tuple[str, str]:
    """Return the processes that hold a lease, in words, and how to end them. Other users' processes may be hidden."""
    pids = processes.holders(spool.lease_path(lease_name))
    if not pids:
        return "a process that only its owner or root can see", "as root, run queuectl why: it names the process"
    shown = [f"process {pid} ({_cut(safe(processes.command_line(pid)))})" for pid in pids[:_NAMED]]
    more = f" and {len(pids) - _NAMED} more" if len(pids) > _NAMED else ""
    return f"{', '.join(shown)}{more}", f"kill {' '.join(map(str, pids))}   (or wait until it ends)"


def _behind(name: str, before: list[str]) -> Reason:
    """Return how many jobs run first: those of higher priority, and those that arrived earlier."""
    mine = _priority(name)
    higher = sum(_priority(other) > mine for other in before)
    parts = [f"it waits behind {len(before)} job{'s' * (len(before) != 1)}"]
    if higher:
        parts.append(f"{higher} of higher priority")
    if any(",by=" in other for other in before) or ",by=" in name:
        parts.append("owners take turns")
    text = f"{', '.join(parts)}; the next is {_stem(before[0])}"
    change = f"queuectl edit {_stem(name)}   (raise its priority; or start more workers)"
    return Reason("behind", text, change)


def _priority(name: str) -> int:
    parts = names.parse(name) if "," in name else None
    return 0 if parts is None else parts.priority


def _stem(name: str) -> str:
    parts = names.parse(name)
    return name if parts is None else parts.stem


class _Busy(NamedTuple):
    id: str
    since_at: float | None
    command: str


def _runs(spool: SpoolDir) -> list[_Busy]:
    """Return the running jobs."""
    found = []
    for name in spool.job_names(RUNNING):
        try:
            item = spool.read(RUNNING, name).record
        except (OSError, DamagedRecordError):
            continue
        start = item.standing().last_start
        since_at = None if start is None else times.instant(start.at)
        found.append(_Busy(item.id, since_at, command_text(item.command)))
    return found


def _busy(workers: int, runs: list[_Busy], now_at: float, place: str) -> Reason:
    shown = [
        f"{run.id} (started {ago(run.since_at, now_at)}: {_cut(run.command)})" if run.since_at is not None else run.id
        for run in sorted(runs, key=lambda run: run.since_at or now_at)[:_NAMED]
    ]
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    who = f"the only {place} is" if workers == 1 else f"all {workers} {place}s are"
    text = f"{who} busy with {', '.join(shown)}{more}"
    return Reason("busy", text, "queuectl worker start --count 2   (adds workers to those that are running)")


def _cut(command: str) -> str:
    return command if len(command) <= _COMMAND_CHARS else command[: _COMMAND_CHARS - 3] + "..."


def ago(instant_at: float, now_at: float) -> str:
    """Return how long ago an instant was, in words."""
    return f"{times.format_duration(max(0.0, now_at - instant_at))} ago"
