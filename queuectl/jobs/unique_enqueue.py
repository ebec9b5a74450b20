"""Enqueue jobs that have a unique key: judge, note and publish each one under the lock of its key (promise P15).

`submission` imports this only for such jobs. Up to `_KEYS_AT_ONCE` of them take each step together. The order is: the
key notes, then the jobs, then unlock, then the ends of the jobs that they replace. A crash in between leaves a note
about nobody, or two waiting jobs of which the note names the newer, which is the one that runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from queuectl.errors import SpoolUnavailableError
from queuectl.jobs import arguments, uniques
from queuectl.jobs.enqueue import CHUNK, Draft, Prepared, Producer, Published
from queuectl.model import record, times, uniqueness
from queuectl.model.lifecycle import DONE
from queuectl.model.uniqueness import Accepted, Duplicate, Note, Terms
from queuectl.spool import key_notes
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import disk

# So many keys are locked together. Meanwhile a claim of a job with one of them, or of a key with the same lock file, is
# put back, so this bounds how long.
_KEYS_AT_ONCE = 50


class Made(NamedTuple):
    """The result for a job: its id, or that of the job that has its key (`arguments.JobId`); its name in pending/."""

    job_id: str
    name: str
    """"": it was skipped."""


class _Batch:
    """Jobs that take each step together. Of the unique ones no two have one key, because each is judged by the last."""

    def __init__(self) -> None:
        self.items: list[Prepared] = []
        self.keys: dict[str, str] = {}
        """The keys of the unique jobs, by the names of their notes."""
        self._is_closed = False

    def add(self, item: Prepared) -> bool:
        """Add a job; return False if it belongs into the next batch."""
        if item.draft is None:
            if self._is_closed or len(self.items) == CHUNK:
                return False
        else:
            key = uniqueness.terms_in(item.draft.spec).key
            name = uniqueness.note_name(key)
            # Of two processes that enqueue a job with one id, at most one succeeds: that needs more than the lock.
            is_alone = item.draft.has_own_id
            is_full = name in self.keys or len(self.keys) == _KEYS_AT_ONCE or len(self.items) == CHUNK
            if self._is_closed or is_full or (is_alone and self.items):
                return False
            self.keys[name] = key
            self._is_closed = is_alone
        self.items.append(item)
        return True


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
    publication, batch = _Publication(producer, keeps_skipped=keeps_skipped), _Batch()
    try:
        for number, item in enumerate(prepared):
            if number and number % CHUNK == 0:
                on_progress(number)
            if not batch.add(item):
                publication.publish(batch)
                batch = _Batch()
                batch.add(item)
        publication.publish(batch)
    except BaseException:
        producer.withdraw(publication.published)
        raise
    for old, by in publication.replaced:
        uniques.replace(producer.session, old, by=by, patience_s=uniques.REPLACE_PATIENCE_S)
    return publication.made


class _Publication:
    """What one call has published so far."""

    def __init__(self, producer: Producer, *, keeps_skipped: bool) -> None:
        self._producer = producer
        self._session = producer.session
        self._keeps_skipped = keeps_skipped
        self.published: Published = []
        self.replaced: list[tuple[str, str]] = []
        """Each job whose place another one takes, and that one."""
        self.made: list[Made] = []

    def publish(self, batch: _Batch) -> None:
        """Publish the jobs of a batch; the notes of the unique ones come first. Raises as `publish`."""
        if not batch.items:
            return
        spool, sync = self._session.spool, self._session.syncs_accepted
        if batch.keys:
            spool.complete()
        with key_notes.locked_together(spool, batch.keys.values(), patience_s=key_notes.PATIENCE_S) as busy:
            if busy:
                what = f"another process holds the unique key {busy!r}"
                raise SpoolUnavailableError(what, path=spool.root, hint="try again")
            notes: list[tuple[str, Note]] = []
            chunk: list[Prepared] = []
            replaced: list[tuple[str, str]] = []
            for item in batch.items:
                placed = item if item.draft is None else self._take_in(item, item.draft, notes, replaced)
                if isinstance(placed, Made):
                    self.made.append(placed)
                    continue
                chunk.append(placed)
                self.made.append(Made(placed.job_id, placed.name))
            key_notes.write_all(spool, notes, sync=sync)
            if chunk:
                self._producer.publish_chunk(chunk, self.published, sync=sync)
        self.replaced += replaced

    def _take_in(
        self, item: Prepared, draft: Draft, notes: list[tuple[str, Note]], replaced: list[tuple[str, str]]
    ) -> Prepared | Made:
        """Judge a unique job; return it as it is published, with its note in `notes`, or its result if skipped."""
        session, terms = self._session, uniqueness.terms_in(draft.spec)
        verdict = _judge(session, terms, item.job_id, has_own_id=draft.has_own_id)
        if isinstance(verdict, Duplicate):
            if not self._keeps_skipped:
                return Made(arguments.present(verdict.of, verdict.reason), "")
            _keep(session, item, verdict)
            return Made(item.job_id, "")
        placed = _placed(self._producer, item, draft, verdict)
        if draft.has_own_id:
            self._producer.refuse_duplicates([item.job_id])
        note = uniqueness.note_of(item.job_id, placed.name, terms, verdict, session.clock.now())
        notes.append((terms.key, note))
        replaced += [(old, item.job_id) for old in verdict.replaces]
        return placed


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
