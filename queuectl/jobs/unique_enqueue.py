"""Enqueue jobs that have a unique key: judge, note and publish each one under the lock of its key (promise P15).

`submission` imports this only for such jobs. The order is: the key note, then the job, then unlock, then the end of the
job that it replaces. A crash in between leaves a note about nobody, or two waiting jobs of which the note names the
newer, which is the one that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from queuectl.errors import SpoolUnavailableError
from queuectl.jobs import arguments, uniques
from queuectl.jobs.enqueue import CHUNK, Draft, Prepared, Producer, Published
from queuectl.model import record, times, uniqueness
from queuectl.model.lifecycle import DONE
from queuectl.model.uniqueness import Accepted, Duplicate, Terms
from queuectl.spool import key_notes
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import disk


class Made(NamedTuple):
    """The result for a job: its id, or that of the job that has its key (`arguments.JobId`); its name in pending/."""

    job_id: str
    name: str
    """"": it was skipped."""


def publish(
    producer: Producer,
    prepared: list[Prepared],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
    keeps_skipped: bool = False,
) -> list[Made]:
    """Publish jobs of which some are unique, in their order, as `Producer.publish`.

    With `keeps_skipped` the record of a job that is skipped is put into done/.

    Raises:
        DuplicateJobError, OSError: as `Producer.publish`.
        SpoolUnavailableError: another process holds the lock of a key for too long.
    """
    session = producer.session
    published: Published = []
    replaced: list[tuple[str, str]] = []
    made: list[Made] = []
    plain: list[Prepared] = []

    def flush() -> None:
        if plain:
            producer.publish_chunk(plain, published, sync=session.syncs_accepted)
            plain.clear()

    try:
        for number, item in enumerate(prepared):
            if number and number % CHUNK == 0:
                on_progress(number)
            if item.draft is None:
                plain.append(item)
                made.append(Made(item.job_id, item.name))
                if len(plain) == CHUNK:
                    flush()
                continue
            flush()
            made.append(_publish_one(producer, item, item.draft, published, replaced, keeps_skipped=keeps_skipped))
        flush()
    except BaseException:
        producer.withdraw(published)
        raise
    for old, by in replaced:
        uniques.replace(session, old, by=by, patience_s=uniques.REPLACE_PATIENCE_S)
    return made


def _publish_one(
    producer: Producer,
    item: Prepared,
    draft: Draft,
    published: Published,
    replaced: list[tuple[str, str]],
    *,
    keeps_skipped: bool,
) -> Made:
    session, terms = producer.session, uniqueness.terms_in(draft.spec)
    spool = session.spool
    spool.complete()
    with key_notes.locked(spool, terms.key, patience_s=key_notes.PATIENCE_S) as is_locked:
        if not is_locked:
            what = f"another process holds the unique key {terms.key!r}"
            raise SpoolUnavailableError(what, path=spool.root, hint="try again")
        verdict = _judge(session, terms, item.job_id, has_own_id=draft.has_own_id)
        if isinstance(verdict, Duplicate):
            if not keeps_skipped:
                return Made(arguments.present(verdict.of, verdict.reason), "")
            _keep(session, item, verdict)
            return Made(item.job_id, "")
        placed = _placed(producer, item, draft, verdict)
        if draft.has_own_id:
            producer.refuse_duplicates([item.job_id])
        note = uniqueness.note_of(item.job_id, placed.name, terms, verdict, session.clock.now())
        key_notes.write(spool, terms.key, note, sync=session.syncs_accepted)
        producer.publish_chunk([placed], published, sync=session.syncs_accepted)
    replaced += [(old, item.job_id) for old in verdict.replaces]
    return Made(item.job_id, placed.name)


def _judge(session: Session, terms: Terms, own: str, *, has_own_id: bool) -> Accepted | Duplicate:
    note = key_notes.read(session.spool, terms.key) if has_own_id else None
    if note is not None and note.id == own:
        # The same id again: the job that is there is meant, in whatever state, or it is gone.
        place = key_notes.place_of(session.spool, note)
        if place.waits or place.runs:
            return Duplicate(own, f"{own} has the same unique key and {'waits' if place.waits else 'runs'}")
    return uniques.judge(session, terms, own)


def _keep(session: Session, item: Prepared, verdict: Duplicate) -> None:
    """Put the record of a job that is skipped into done/. Raises OSError."""
    event = uniques.skipped(session.clock.now(), verdict.reason, duplicate_of=verdict.of)
    data = record.append(len(item.data), [event]).on(item.data)
    path = session.spool.path(DONE, record_name(item.job_id))
    session.spool.publish_file(path, data, hint=item.job_id, sync=session.syncs_accepted)
    if session.syncs_accepted:
        disk.sync_folder(session.spool.folder(DONE))


def _placed(producer: Producer, item: Prepared, draft: Draft, verdict: Accepted) -> Prepared:
    """Return the job as it is published: after the one that runs, and not put off for ever."""
    spec = uniqueness.behind(draft.spec, verdict.behind)
    now_at = producer.session.clock.now()
    due_at, events = hasten(draft.events, draft.due_at, draft.delay_s, verdict, now_at)
    if spec is draft.spec and due_at == draft.due_at:
        return item
    return producer.frame(spec, [dict(event) for event in events], due_at, draft.instant_at)


def hasten(
    events: list[dict[str, Any]], due_at: float | None, delay_s: float | None, verdict: Accepted, now_at: float
) -> tuple[float | None, list[dict[str, Any]]]:
    """Return when a newcomer is due, and its history: the first event says so (see `uniqueness.latest_due_at`)."""
    if due_at is None or delay_s is None:
        return due_at, events
    latest_at = uniqueness.latest_due_at(due_at, delay_s, verdict)
    if latest_at >= due_at:
        return due_at, events
    first = {key: value for key, value in events[0].items() if key not in ("due_at", "delay_s")}
    if latest_at <= now_at:
        return None, [first, *events[1:]]
    first["due_at"] = times.to_text(times.round_up(latest_at))
    first["delay_s"] = round(latest_at - now_at, 3) + 0.001
    return latest_at, [first, *events[1:]]
