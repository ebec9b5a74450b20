"""Explain why a job is not running: every reason, the most pressing first, and what changes it. Only looks."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from queuectl.errors import AmbiguousIdError, DamagedRecordError, UnknownJobError
from queuectl.inbox import kept
from queuectl.inbox.state import InboxState, read_all
from queuectl.model import history, names, record, taken_file, times
from queuectl.model.inbox import FILES
from queuectl.model.lifecycle import CANCELLED, DONE, PENDING, REJECTED, RUNNING, SKIPPED
from queuectl.monitor import family, files_taken, live, rejected, waiting
from queuectl.monitor.reason import Reason
from queuectl.monitor.results import refused, why_dead
from queuectl.spool import batch, lookup, schedule_files
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import MACHINERY, REASON_ENDING, SCHEDULES, Located
from queuectl.spool.listing import may_be_job
from queuectl.spool.session import Session
from queuectl.system import files


class Answer(NamedTuple):
    """The id (of a rejected file: its name), the state, and the reasons, of which there is at least one."""

    id: str
    state: str
    reasons: list[Reason]


def explain(session: Session, typed: str, *, now_at: float) -> Answer:
    """Return why a job is not running. `typed` is its id, or the beginning of its id.

    Raises:
        UnknownJobError, AmbiguousIdError: as `Spool.resolve`.
        DamagedRecordError: the job runs or has ended, and its record is torn.
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
            if (answer := _schedule(session, typed)) is not None:
                return answer
            if not (typed := files_taken.job_of(session, typed)):
                raise
            continue
        found = named or session.spool.find(job_id) or _drop(session, job_id)
        try:
            if found is not None:
                return Answer(job_id, found.state, _reasons(session, found, now_at))
        except FileNotFoundError:
            continue  # it moved between the look and the read
    raise UnknownJobError(typed)


def _schedule(session: Session, name: str) -> Answer | None:
    """Return why a schedule makes no job now: it has a mistake, is held, or waits for its next tick."""
    try:
        entry = schedule_files.entry_of(session.spool, name)
    except (UnknownJobError, OSError):
        return None
    from queuectl.monitor import schedules  # few spools have any

    found = schedules.one(session, entry.schedule)
    if found.why:
        reason = Reason("schedule", f"the schedule makes no jobs: {found.why}", found.hint)
    elif found.is_paused:
        reason = Reason("schedule_held", "the schedule is held", f"queuectl schedule resume {name}")
    else:
        next_ = "never" if found.next_at is None else f"at {times.to_text(found.next_at)}"
        reason = Reason("schedule", f"the schedule makes its next job {next_}", f"queuectl schedule run {name}")
    reasons = [reason]
    if not live.pools(session.spool):
        reasons.append(Reason("no_workers", "no workers are running, so no jobs are made", "queuectl worker start"))
    return Answer(name, SCHEDULES, reasons)


def _split(spool: SpoolDir, typed: str) -> Answer | None:
    """Return the result of a file of many jobs, by the name under which it was dropped."""
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
    """Return why a file in pending/ is foreign by its name, or None if there is no such file."""
    if may_be_job(name) or name not in spool.names(spool.folder(PENDING)):
        return None
    if names.is_copy(name):
        text = "it is left alone: its name is that of an unfinished or conflicting copy"
    else:
        text = "it is left alone: the name of a job ends in .json, the name of a file of many jobs in .jsonl"
    return Reason("left_alone", text, f"if it is a job, rename it to NAME.json in {PENDING}/; otherwise delete it")


def _in_an_inbox(spool: SpoolDir, typed: str) -> Answer | None:
    """Return what the inbox processes last published about a file. The inbox itself may hang, so it is not read."""
    for state in read_all(spool):
        where = f"inbox {state.owner}"
        for unmoved in state.unmoved_rows:
            if typed == unmoved.name:
                text = f"its job {unmoved.job_id} has ended, and it cannot leave working/ in {where}: {unmoved.why}"
                change = "the receiver tries again automatically"
                return Answer(unmoved.name, state.path, [Reason("unmoved", text, change)])
        for row in state.rows:
            if typed in (row.name, row.name.removesuffix(".json"), row.name.rpartition("/")[2]):
                quiet = times.format_duration(max(1, round(row.quiet_s)))
                text = f"its file is still arriving in {where}, unchanged for {quiet}: {row.why}"
                return Answer(row.name, state.path, [Reason("arriving", text, f"finish writing {row.name}")])
        for refused_row in state.refused:
            name = refused_row.name
            if state.mode == FILES and typed in (name, name.rstrip("/"), name.rpartition("/")[2]):
                is_folder = name.endswith("/")
                what = "no file is taken from it" if is_folder else "no command may get it"
                text = f"it is left in {where}, because {what}: {refused_row.why}"
                return Answer(name, state.path, [Reason("left_alone", text, "")])
            if typed in (name, name.removesuffix(".rejected"), name.removesuffix(".json.rejected")):
                text = f"it was rejected in {where}: {refused_row.why or 'its text file explains why'}"
                change = f"correct {state.path}/{name}: a valid job is taken in automatically; see its text file"
                return Answer(name, state.path, [Reason(REJECTED, text, change)])
        for name in state.next:
            if typed in (name, name.removesuffix(".json"), name.rpartition("/")[2]):
                if state.held_back:
                    text = f"its file waits in {where}, held back by {state.held_back}"
                    change = f"wait until some of {state.owner}'s jobs have run, or raise the limit in the settings"
                    return Answer(name, state.path, [Reason("held_back", text, change)])
                return Answer(name, state.path, [Reason("next", f"its file in {where} is the next to be taken in", "")])
        if state.mode == FILES and (reason := _kept(spool, state, typed)):
            return Answer(typed, state.path, [reason])
        for name in state.foreign if state.mode == FILES else ():
            if typed in (name, name.rpartition("/")[2]):
                text = f"it is left alone in {where}"
                return Answer(
                    name, state.path, [Reason("left_alone", text, f"queuectl inbox test {state.path}/{name}")]
                )
    return None


def _kept(spool: SpoolDir, state: InboxState, name: str) -> Reason | None:
    """Return why a file stays in an inbox although its job has succeeded; None if it was not kept."""
    try:
        if name not in kept.versions(spool, state.owner)[1]:
            return None
    except OSError:
        return None
    text = f"its job has succeeded, and it stays in inbox {state.owner} until it changes (on_success)"
    return Reason("kept", text, f"to run it again: touch {os.path.join(state.path, name)}")


def _way_back(session: Session, found: Located, item: record.Record) -> str:
    """Return what runs an ended job again: a command, or for a file that has left working/ a move by hand."""
    taken = taken_file.of(item.history)
    moved = taken is not None and files.sig_of(taken.path) is None
    if taken is None or not moved:
        return f"queuectl retry {item.id}"
    return taken.way_back(_end_of(session, found, item, taken), holder=taken_file.holder_of(item, found.state))


def _end_of(session: Session, found: Located, item: record.Record, taken: taken_file.TakenFile) -> str:
    """Return where a file went at the end of its job; "" if that is unknown.

    Only its note proves that it was kept: the settings may have changed since, and somebody may have taken it away.
    """
    end = taken_file.end_of(session.settings.inboxes, item, found.state)
    if found.state != DONE:
        return end
    with contextlib.suppress(OSError):
        if taken.file in kept.versions(session.spool, item.owner)[1]:
            return taken_file.KEPT
    return "" if end == taken_file.KEPT else end


def _drop(session: Session, job_id: str) -> Located | None:
    """Return a drop whose name differs from its id."""
    try:
        job = lookup.get(session, job_id)
    except (UnknownJobError, DamagedRecordError):
        return None
    name = next((name for name in session.spool.waiting_names() if session.spool.path(PENDING, name) == job.path), "")
    return Located(PENDING, name, job.path) if name else None


def _reasons(session: Session, found: Located, now_at: float) -> list[Reason]:
    if found.state == PENDING:
        return [*waiting.reasons(session, found, now_at), *waiting.copied(session.spool, found)]
    item = session.spool.read(found.state, found.name).record
    if found.state == RUNNING:
        return [_running(session.spool, item, now_at)]
    if unmoved := _unmoved(session.spool, item):
        return [*_ended(session, found, item, now_at), unmoved]
    return _ended(session, found, item, now_at)


def _unmoved(spool: SpoolDir, item: record.Record) -> Reason | None:
    """Return why the file of a job that has ended is still in working/; None if it is not."""
    if not item.history or not item.history[0].claimed:
        return None
    for state in read_all(spool):
        for row in state.unmoved_rows:
            if row.job_id == item.id:
                text = f"its file cannot leave working/ in inbox {state.owner}: {row.why}"
                return Reason("unmoved", text, "the receiver tries again automatically")
    return None


def _ended(session: Session, found: Located, item: record.Record, now_at: float) -> list[Reason]:
    again = _way_back(session, found, item)
    if found.state == DONE:
        ended_at = times.instant(last.at) if (last := item.standing().last) is not None else None
        ago = f" {waiting.ago(ended_at, now_at)}" if ended_at is not None else ""
        if last is not None and (skipped := history.skipped_text(last)):
            other = last.duplicate_of or last.replaced_by
            return [Reason(SKIPPED, f"it was {skipped}{ago}", f"queuectl show {other}" if other else again)]
        return [Reason(DONE, f"it succeeded{ago}", again)]
    if item.standing().is_cancelled:
        return [Reason(CANCELLED, f"it was {why_dead(item)}", again)]
    return [family.unmet(session, item) or Reason("dead", f"it is dead: {why_dead(item)}", again)]


# -------------------------------------------------------------------------------------------------- running, rejected


def _running(spool: SpoolDir, item: record.Record, now_at: float) -> Reason:
    start = item.standing().last_start
    if start is None:
        return Reason(RUNNING, "a worker is claiming it now", "")
    from queuectl.spool import lease  # brings portalocker

    if not lease.is_alive(spool, start.lease):
        kept = "the next workers put the job back" if not live.pools(spool) else "a pool puts the job back within 1 s"
        return Reason("left", f"its worker {start.worker} died; {kept}", "queuectl worker start")
    since = times.instant(start.at)
    ago = "" if since is None else f", started {waiting.ago(since, now_at)}"
    if start.node:
        from queuectl.monitor import on_nodes

        if (reason := on_nodes.running(spool, live.pools(spool), item.id, start, ago)) is not None:
            return reason
    if (orphaned := _orphaned(spool, start)) is not None:
        return orphaned
    return Reason(
        RUNNING, f"it is running: attempt {start.attempt}{ago}, by {start.worker}", f"queuectl logs -f {item.id}"
    )


def _orphaned(spool: SpoolDir, start: history.Event) -> Reason | None:
    """Explain a run that outlived its pool by the processes that hold its lease; None if the pool is alive."""
    from queuectl.spool import pools

    pool = start.worker.rpartition("-")[0]
    if not pool or pools.is_live(spool, pool):
        return None
    holding, change = waiting.holders(spool, start.lease)
    text = f"its pool {pool} is gone, and {holding} still holds the lease {start.lease} of attempt {start.attempt}"
    return Reason("alive", text, change)


def _rejected(spool: SpoolDir, name: str) -> Reason:
    why = rejected.refusal(spool, name).why
    what = f"{name}{REASON_ENDING} explains what to do"
    change = f"correct {REJECTED}/{name}: a valid job goes back to {PENDING}/ automatically; {what}"
    return Reason(REJECTED, f"it was rejected: {why}", change)
