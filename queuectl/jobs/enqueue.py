"""Put new jobs into the spool: check, write, fsync, publish without replacing (P1, P7).

For one job: create tmp/X, fsync it, link it to pending/NAME, unlink tmp/X, fsync pending/. A crash before the link
leaves a file in tmp/ that was never acknowledged; a crash after it leaves the job, at worst with a second name in tmp/.
Many jobs take the same steps in chunks, with one sync for the files of a chunk and one for the folder.

The file name of a job with a given id holds the arrival (see `order`), so two such names never collide. Therefore the
job is first published as pending/ID.json, which only one process can do, and is renamed once no other job has that id:
of two processes that enqueue one id at the same time, at most one succeeds. A worker may claim the file before the
rename.

This module takes no lock and imports none, because starting `queuectl enqueue` must stay cheap.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from queuectl.errors import DuplicateJobError, InvalidJobError
from queuectl.model import extras, names, record
from queuectl.model.document import accept, first_events
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import PENDING
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import disk, files

# Files in flight between two syncs: enough to share the cost, few enough to bound what a crash leaves in tmp/.
CHUNK = 1000


Published = list[tuple[str, files.FileSig | None]]
"""The path and the signature of each file that was published."""


class Draft(NamedTuple):
    """What a unique job is made of: whether it may be published, and when it is due, is known only then."""

    spec: dict[str, Any]
    events: list[dict[str, Any]]
    due_at: float | None
    delay_s: float | None
    instant_at: float
    has_own_id: bool


class Prepared(NamedTuple):
    """A job ready to be published: its record's bytes and the name for pending/."""

    job_id: str
    data: bytes
    name: str
    draft: Draft | None = None
    """Only of a job with a unique key."""


class Producer:
    """Makes records and publishes them for one spool."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._spool, self._settings, self._clock, self._rng = session
        self._last_us = 0
        self._asked: dict[str, None] = {}
        """The parents of the jobs that were prepared."""
        self._states: dict[str, str] = {}
        """What was seen of parents for the jobs that `prepare_all` prepares together."""
        self.has_unique = False
        """A job with a unique key was prepared: `unique_enqueue.publish` publishes such jobs."""

    def prepare(self, document: Mapping[str, Any], *, by: str, **facts: Any) -> Prepared:
        """Check a document and build its record in memory. Generate an id if the document has none.

        Raises:
            InvalidJobError: the document is not a valid job; the message names the key and what is wrong with it.
        """
        now_at = self._clock.now()
        taken = accept(document, defaults=self._settings.retry_defaults, now_at=now_at)
        instant_at = self._next_instant(now_at)
        job_id = taken.spec.get("id") or names.generate_id(instant_at, self._rng)
        events = first_events(taken, by=by, now_at=now_at, **facts)
        spec = {"id": job_id, **taken.spec}
        if by == "enqueue" and "after" in spec:
            from queuectl.jobs import asked_parents

            self._asked.update(dict.fromkeys(asked_parents.ids_in(spec["after"])))
        if "unique" in spec:
            self.has_unique = True
            draft = Draft(spec, events, taken.due_at, taken.delay_s, instant_at, "id" in taken.spec)
            return self.frame(spec, list(events), taken.due_at, instant_at)._replace(draft=draft)
        return self.frame(spec, events, taken.due_at, instant_at, self._states if by == "enqueue" else None)

    def frame(
        self,
        spec: dict[str, Any],
        events: list[dict[str, Any]],
        due_at: float | None,
        instant_at: float,
        known: dict[str, str] | None = None,
    ) -> Prepared:
        """Build the record of a job that was checked. Raises InvalidJobError if it is too large.

        `known` has states of parents that were looked at for the jobs of the same call.
        """
        job_id = spec["id"]
        parent = ""
        if "after" in spec:
            from queuectl.jobs import asked_parents

            parent = asked_parents.place(self.session, spec, events, self._clock.now(), {} if known is None else known)
        data = record.frame(spec, events)
        if len(data) > JOB_MAX_BYTES:
            raise InvalidJobError(
                f"the job is larger than {JOB_MAX_BYTES} bytes", hint="put the data in a file and pass its path"
            )
        if parent:
            return Prepared(job_id, data, names.blocked_name(job_id, parent))
        priority, owner = int(spec.get("priority", 0)), spec.get("owner", "")
        place = extras.place_of(spec.get("queue", ""), spec.get("key", ""), spec.get("resources", {}))
        arrived = names.stamp(instant_at)
        return Prepared(job_id, data, names.waiting_name(job_id, due_at, priority, owner, arrived, place))

    def prepare_all(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        made: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        on_progress: Callable[[int], None],
    ) -> tuple[list[Prepared], list[str]]:
        """Prepare many jobs; return them and the ids that the documents name (generated ids are not among them).

        `made` converts each given value into the document of a job. `on_progress` is called now and then with the
        number of prepared jobs.

        Raises:
            InvalidJobError: the same as `prepare`; names the document if there are several.
        """
        prepared: list[Prepared] = []
        wanted = []
        self._asked.clear()
        self._states.clear()
        for number, given in enumerate(documents, 1):
            if number % CHUNK == 0:
                on_progress(number)
            try:
                document = made(given)
                if "history" in document:
                    document = {key: value for key, value in document.items() if key != "history"}
                prepared.append(self.prepare(document, by="enqueue"))
            except InvalidJobError as error:
                if len(documents) == 1 if isinstance(documents, list) else number == 1:
                    raise
                raise InvalidJobError(
                    f"job {number}: {error}",
                    key=error.key,
                    cause=error.cause,
                    hint=error.hint,
                    mistakes=error.mistakes,
                ) from error
            if document.get("id") is not None and prepared[-1].draft is None:
                wanted.append(prepared[-1].job_id)
        return prepared, wanted

    def refuse_missing(self, prepared: list[Prepared]) -> None:
        """Raise UnknownParentError for the first parent that is neither in the spool nor among these jobs."""
        if self._asked:
            from queuectl.jobs import asked_parents

            asked_parents.refuse_missing(self.session, self._asked, {item.job_id for item in prepared})

    def _next_instant(self, now_at: float) -> float:
        # Jobs must sort in the order they were made, even within one tick of the clock. Counted in whole microseconds,
        # because adding 1e-6 to a float of this size adds a little less.
        self._last_us = max(int(now_at * 1e6), self._last_us + 1)
        return self._last_us / 1e6

    def refuse_duplicates(self, wanted: Iterable[str]) -> None:
        """Raise DuplicateJobError for the first id that the spool holds, InvalidJobError for an id given twice."""
        ids = list(wanted)
        if len(ids) == 1:
            if found := self._spool.find(ids[0]):
                raise DuplicateJobError(ids[0], found.state)
            return
        waiting = {
            parts.stem.lower() for name in self._spool.waiting_names() if (parts := names.parse(name)) is not None
        }
        for job_id in ids:
            if job_id.lower() in waiting:
                raise DuplicateJobError(job_id, PENDING)
            if state := self._spool.holds(job_id):
                raise DuplicateJobError(job_id, state)
        seen: set[str] = set()
        for job_id in ids:
            if job_id.lower() in seen:
                raise InvalidJobError(f"the id {job_id!r} is given twice", key="id")
            seen.add(job_id.lower())

    def publish(
        self,
        prepared: list[Prepared],
        *,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """Put jobs into pending/ and return their ids once they are on disk. On an error, withdraw as many as possible.

        `on_progress` is called with the number of jobs on disk, as long as some are missing.

        Raises:
            DuplicateJobError: the file's name is taken.
            OSError: the system call failed. Only those jobs remain that a worker had already claimed, or that the
                disk refused to delete.
        """
        sync = self.session.syncs_accepted
        published: Published = []
        try:
            for start in range(0, len(prepared), CHUNK):
                if start:
                    on_progress(start)
                self.publish_chunk(prepared[start : start + CHUNK], published, sync=sync)
        except BaseException:
            self.withdraw(published)
            raise
        return [item.job_id for item in prepared]

    @staticmethod
    def withdraw(published: Published) -> None:
        """Delete jobs that were just published, but for those that a worker has claimed.

        A caller that gets an error enqueues the jobs again, so any that remained would run twice.
        """
        for path, sig in published:
            with contextlib.suppress(OSError):
                if files.sig_of(path) == sig:
                    disk.unlink(path)

    def publish_chunk(self, chunk: list[Prepared], published: Published, *, sync: bool) -> None:
        """Put some jobs into pending/, and note each in `published`. Raises as `publish`."""
        alone = len(chunk) == 1
        written: list[str] = []
        try:
            for item in chunk:
                path = self._spool.write_temporary(item.job_id, item.data, sync=sync and alone)
                written.append(path)
            if sync and not alone:
                disk.sync_files(self._spool.tmp_dir, written)
            for item, temporary in zip(chunk, written, strict=True):
                sig, name = files.sig_of(temporary), self._first_name(item)
                target = self._spool.path(PENDING, name)
                try:
                    disk.publish(temporary, target)
                except FileExistsError as error:
                    raise DuplicateJobError(item.job_id, PENDING) from error
                published.append((target, sig))
                if name != item.name:
                    if alone and (state := self._state_of_another(item.job_id, target, sig)):
                        raise DuplicateJobError(item.job_id, state)
                    published[-1] = (self._give_name(target, item.name), sig)
            if sync:
                disk.sync_folder(self._spool.folder(PENDING))
        except BaseException:
            for temporary in written:
                with contextlib.suppress(OSError):
                    disk.unlink(temporary)
            raise

    @staticmethod
    def _first_name(item: Prepared) -> str:
        """Return the name that a job is published under, which is the same for every job with its id."""
        is_own = f"{item.job_id},in=" in item.name or (names.AFTER in item.name and not names.is_generated(item.job_id))
        return record_name(item.job_id) if is_own else item.name

    def _state_of_another(self, job_id: str, path: str, sig: files.FileSig | None) -> str:
        """Return the state of a job with this id other than the one at `path`, "" if there is none.

        Also return "" if a worker has claimed the job at `path`, because then nothing can withdraw it.
        """
        found = self._spool.find_named(job_id)
        state = found.state if found is not None else self._spool.holds(job_id)
        return state if state and files.sig_of(path) == sig else ""

    def _give_name(self, path: str, name: str) -> str:
        """Rename a published job to its final name; return its path. If that fails, the job keeps its first name."""
        wanted = self._spool.path(PENDING, name)
        try:
            disk.move(path, wanted)
        except OSError:
            return path
        return wanted
