"""Find and read jobs: by id, by the beginning of an id, by file or by state. Change nothing.

A search compares the names of files. It opens only the record that it returns. It opens drops that no worker has
examined only if no file is named after the wanted id.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from queuectl.errors import AmbiguousIdError, DamagedRecordError, InvalidJobError, QueuectlError, UnknownJobError
from queuectl.model import document, names, record, times
from queuectl.model.extras import DEFAULT_QUEUE
from queuectl.model.history import skipped_text
from queuectl.model.job import JOB_MAX_BYTES, is_deep
from queuectl.model.lifecycle import (
    DLQ,
    DONE,
    ENQUEUED,
    PENDING,
    REJECTED,
    RUNNING,
    STARTED,
    STATE_ALIASES,
    STATES,
    SUCCEEDED,
)
from queuectl.spool import groups
from queuectl.spool.access import not_regular
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.system import files

# With more ids than this, an unknown id is reported without similar ids, because the search takes a tenth of a second.
_NEAR_AT_MOST = 5000
# How many drops are opened to find an id that no file name has.
_DROPS_AT_MOST = 1000
# How often to search again for a job that moves between the search and the read.
_TRIES = 5


class Job(msgspec.Struct, frozen=True):
    """A job as it is in the spool.

    `attempts` counts the runs since it was last enqueued or requeued that count against `max_retries + 1`, including
    the run that succeeded or is in progress. `spec` holds every key of its file except `history`, also unknown keys;
    `history` has one dict per event. Instants are seconds since 1970 UTC.
    """

    id: str
    state: str
    path: str
    command: str | list[str]
    attempts: int
    max_retries: int
    priority: int
    tags: list[str]
    owner: str
    """The owner, or ""."""
    queue: str
    """The queue; `default` if the job names none."""
    key: str
    """The key of which only some run at once, or ""."""
    enqueued_at: float | None
    due_at: float | None
    worker: str
    """The worker that runs it; "" if it is not running."""
    error: str
    """The last failure, in words, or ""."""
    spec: dict[str, Any]
    history: list[dict[str, Any]]
    meta: dict[str, Any]
    """The producer's own data, unchanged; {} if there is none."""
    cancelled: bool = False
    """True for a job in dlq/ that somebody cancelled: it did not fail."""
    waits_for: str = ""
    """The id of the job that a waiting job waits for, by its name (key `after`); "" for none."""
    skipped: str = ""
    """Why a job in done/ was skipped, such as `skipped: same as job1`; "" if it was not."""


class Counts(msgspec.Struct, frozen=True):
    """Files in each folder. `waiting_for_time` counts the files of `pending` whose name says a later time."""

    pending: int
    running: int
    done: int
    dlq: int
    rejected: int
    waiting_for_time: int


def get(session: Session, job_id: str) -> Job:
    """Return the job with this id.

    Raises:
        UnknownJobError: there is no such job.
        DamagedRecordError: its file is not whole.
    """
    for _ in range(_TRIES):
        found = session.spool.find(job_id)
        if found is None:
            break
        try:
            return load(session, found.state, found.name)
        except FileNotFoundError:
            continue  # it moved between the search and the read
    if (dropped := find_drop(session, job_id)) is not None:
        return dropped
    raise UnknownJobError(job_id)


def pick(session: Session, typed: str) -> Job:
    """Return a job by its id, by the beginning of its id, or by its file (`done/job1`, `done/job1.json`).

    If two jobs have one id, name the file.

    Raises:
        AmbiguousIdError, UnknownJobError: the same as `resolve`.
        DamagedRecordError: its file is not whole.
    """
    located = session.spool.file(typed)
    if located is not None:
        with contextlib.suppress(FileNotFoundError):
            return load(session, located.state, located.name)
    return get(session, resolve(session, typed))


def find_in(session: Session, job_id: str, states: tuple[str, ...], verb: str) -> Located:
    """Find the file of a job that must be in one of `states`; `verb` is for the error: "purged", "run again".

    Raises:
        UnknownJobError: there is no such job.
        QueuectlError: the job is in another state.
    """
    found = session.spool.find(job_id)
    if found is None:
        raise UnknownJobError(job_id)
    if found.state not in states:
        folders = " and ".join(f"{state}/" for state in states)
        raise QueuectlError(
            f"job {job_id!r} is in {found.state}/: only jobs in {folders} can be {verb}", hint=f"queuectl show {job_id}"
        )
    return found


def resolve(session: Session, prefix: str) -> str:
    """Return the full id for an id or the beginning of one.

    A job with exactly this id comes first; otherwise exactly one id must begin with `prefix`, ignoring case.

    Raises:
        AmbiguousIdError: several ids begin with it.
        UnknownJobError: no id does; the hint names similar ids.
    """
    if prefix and session.spool.find(prefix) is not None:
        return prefix
    found = sorted(session.spool.ids(prefix)) if prefix else []
    if len(found) == 1:
        return found[0]
    if (dropped := find_drop(session, prefix)) is not None:
        return dropped.id
    if found:
        raise AmbiguousIdError(prefix, found)
    near = _similar(prefix, session.spool.ids())
    raise UnknownJobError(prefix, hint=f"similar ids: {', '.join(near)}" if near else "")


def _similar(prefix: str, known: set[str]) -> list[str]:
    if len(known) > _NEAR_AT_MOST:
        return []
    import difflib

    return difflib.get_close_matches(prefix, sorted(known), n=3, cutoff=0.7)


def find_drop(session: Session, job_id: str) -> Job | None:
    """Return the drop whose document has this id, or None. Until a worker adopts it, its file has another name."""
    waiting = session.spool.waiting_names()
    drops = [name for name in waiting if not names.is_generated(name.removesuffix(".json").partition(",")[0])]
    for name in drops[:_DROPS_AT_MOST]:
        try:
            job = load(session, PENDING, name)
        except (DamagedRecordError, OSError):
            continue
        if job.id.lower() == job_id.lower():
            return job
    return None


def load(session: Session, state: str, name: str) -> Job:
    """Return the job in the file `name` of a state's folder, even if no worker has examined the file yet.

    Raises:
        DamagedRecordError: the file is not a job.
        FileNotFoundError: the file is gone.
    """
    path = session.spool.path(state, name)
    try:
        stored = session.spool.read(state, name)
    except DamagedRecordError:
        return load_drop(session, state, name)
    except files.NotRegularError as error:
        raise not_regular(path) from error
    try:
        written = json.loads(stored.data)
    except (ValueError, RecursionError) as error:
        raise DamagedRecordError(f"{path} cannot be read", path=path, cause="it is not JSON") from error
    history = written.pop("history", [])
    if any(map(is_deep, (*written.values(), *history))):
        raise DamagedRecordError(f"{path} cannot be read", path=path, cause="it is nested too deep")
    return _job(stored.record, state, path, written, history)


def load_drop(session: Session, state: str, name: str) -> Job:
    """Return the job in a file that no worker has examined yet. Raises the same errors as `load`."""
    path = session.spool.path(state, name)
    content = session.spool.read_document(path)
    if content.oversize:
        raise DamagedRecordError(f"{path} is not a job: it is larger than {JOB_MAX_BYTES} bytes", path=path)
    parsed = document.parse(content.data, lines=False)
    parts = names.parse(name)
    if not isinstance(parsed, document.Single) or parts is None:
        why = parsed.why if isinstance(parsed, document.Incomplete | document.Refused) else "it holds many jobs"
        raise DamagedRecordError(f"{path} is not a job (yet): {why}", path=path)
    try:
        defaults, now_at = session.settings.retry_defaults, session.clock.now()
        taken = document.accept(parsed.document, defaults=defaults, now_at=now_at)
    except InvalidJobError as error:
        raise DamagedRecordError(f"{path} is not a job: {error}", path=path, hint=error.hint) from error
    spec = {"id": names.clean_id(parts.stem), **taken.spec}
    item = record.decode(record.frame(spec, taken.history))
    return _job(item, state, path, spec, taken.history)


def jobs(session: Session, state: str, *, group: str = "") -> Iterator[Job]:
    """Return the jobs in a state, in the order of their files' names (generated ids: oldest first); of one group only.

    Skip files that are not jobs (yet) and jobs that move meanwhile.

    Raises:
        ValueError: there is no such state. Raised at once, not at the first job.
    """
    folder_state = STATE_ALIASES.get(state, state)
    if folder_state not in STATES:
        raise ValueError(f"no state {state!r}; the states are {', '.join(STATES)}")
    return _jobs(session, folder_state, group)


def _jobs(session: Session, state: str, group: str) -> Iterator[Job]:
    listed = session.spool.job_names(state)
    for name in groups.of(listed, group) if group else listed:
        try:
            yield load(session, state, name)
        except (DamagedRecordError, OSError):
            continue


def counts(session: Session) -> Counts:
    """Count the files of each state: one listing per folder, no file is opened."""
    spool = session.spool
    waiting = spool.waiting_names()
    now_at = session.clock.now()
    later = sum(
        1
        for name in waiting
        if ",due=" in name and (parts := names.parse(name)) and parts.due_at and parts.due_at > now_at
    )
    running, done, dlq, rejected = (len(spool.job_names(state)) for state in (RUNNING, DONE, DLQ, REJECTED))
    return Counts(len(waiting), running, done, dlq, rejected, later)


def _job(item: record.Record, state: str, path: str, written: dict[str, Any], history: list[dict[str, Any]]) -> Job:
    standing = item.standing()
    last = standing.last
    enqueued = next((event for event in item.history if event.event == ENQUEUED), None)
    running = standing.last is not None and standing.last.event == STARTED
    succeeded = standing.last is not None and standing.last.event == SUCCEEDED
    spec = {key: value for key, value in written.items() if key not in ("format", "history")}
    return Job(
        id=item.id,
        state=state,
        path=path,
        command=item.command,
        attempts=standing.failures + (1 if running or succeeded else 0),
        max_retries=item.max_retries,
        priority=item.priority,
        tags=list(item.tags),
        owner=item.owner,
        queue=item.extras.queue or DEFAULT_QUEUE,
        key=item.extras.key,
        enqueued_at=None if enqueued is None else times.instant(enqueued.at),
        due_at=standing.due_at if state == PENDING else None,
        worker=standing.last.worker if running and standing.last is not None else "",
        error=standing.error,
        spec=spec,
        history=history,
        meta=dict(meta) if isinstance(meta := spec.get("meta"), dict) else {},
        cancelled=state == DLQ and standing.is_cancelled,
        waits_for=_parent(path) if state == PENDING else "",
        skipped=skipped_text(last) if state == DONE and last is not None else "",
    )


def _parent(path: str) -> str:
    """Return the parent in the name of a waiting file."""
    parts = names.parse(os.path.basename(path)) if names.AFTER in path else None
    return "" if parts is None else parts.after
