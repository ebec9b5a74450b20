"""One step of a split: make jobs from some documents, publish them once, and refuse the rest (P1, P6, P7).

Each job has an id made from TOKEN and its place, or TOKEN#PLACE in its `enqueued` event. So a step that is repeated
after a crash finds the jobs that the interrupted step made, and no job is made twice.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import msgspec

from queuectl.errors import DamagedRecordError, DuplicateJobError, InvalidJobError
from queuectl.jobs.batch_documents import Item
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.model import document
from queuectl.model.lifecycle import ENQUEUED, REJECTED
from queuectl.spool import batch, rejected
from queuectl.spool.batch import Named, Note
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.system import disk, files

_WHY_CHARS = 200
# How often a step is published as a whole while other processes take some of its ids.
_PUBLISH_TRIES = 3
_NOBODY, _OURS, _ANOTHER = "", "ours", "another's"


class _Ready(msgspec.Struct, frozen=True):
    """A job that is ready to be published, and the document it was made from."""

    made: Prepared
    item: Item


class Work:
    """The state of one step."""

    def __init__(self, taken: str, fd: int, note: Note) -> None:
        self.token = batch.token_of(taken)
        self.fd = fd
        self.note = note
        self.ready: list[_Ready] = []
        self.seen: set[str] = set()
        self.made = 0
        self.refused: list[Named] = []
        self.names: list[str] = []

    def source(self, item: Item) -> str:
        """Return the origin of a job as its `enqueued` event records it."""
        return f"{self.token}#{item.place}"

    def own_id(self, item: Item) -> str:
        """Return the id for a job without one, and for a refused document."""
        return item.own_id or f"{self.token}-{item.place:04d}"

    def may_be_there(self, item: Item) -> bool:
        """Whether an earlier step, whose end was never recorded, may have made this job."""
        return (item.turn or item.place) <= self.note.check_to


class Publisher:
    """Publishes the jobs of a step. The caller holds the stripe of the file's token."""

    def __init__(self, session: Session, roster: Roster) -> None:
        self._spool, self._clock = session.spool, session.clock
        self._roster = roster
        self._producer = Producer(session)

    def prepare(self, work: Work, item: Item) -> None:
        """Prepare a document for publishing, or refuse it."""
        found = item.content
        if isinstance(found, document.Refused):
            self._reject(work, item, found.why, found.hint)
            return
        spec = {key: value for key, value in found.items() if key != "history"}
        if spec.get("id") is None:
            spec["id"] = work.own_id(item)
        try:
            made = self._producer.prepare(spec, by="batch", batch=work.source(item))
        except InvalidJobError as error:
            self._reject(work, item, str(error), error.hint)
            return
        if made.job_id.lower() in work.seen:
            self._reject(work, item, f"the id {made.job_id!r} occurs twice in this file", "")
            return
        work.seen.add(made.job_id.lower())
        work.ready.append(_Ready(made, item))

    def publish(self, work: Work) -> None:
        """Publish each job that is ready and not there yet; refuse a job whose id another job has."""
        unsure = [each for each in work.ready if work.may_be_there(each.item)]
        # Two listings, because a job that fails and runs again moves between pending/ and running/.
        for _ in range(2 if unsure else 0):
            self._roster.refresh(each.made.job_id for each in unsure)
            there = self._settle_found(work, unsure, as_listed=True)
            work.ready = [each for each in work.ready if each.item.place not in there]
            unsure = [each for each in unsure if each.item.place not in there]
        named = [each for each in work.ready if each.made.job_id != work.own_id(each.item)]
        there = self._settle_found(work, named)
        ready = [each for each in work.ready if each.item.place not in there]
        tries = 0
        while ready:
            some = ready if tries < _PUBLISH_TRIES else ready[:1]
            try:
                published = self._publish([each.made for each in some])
            except DuplicateJobError:
                # Another process just took one of the ids, so all were withdrawn, except those that already run.
                tries += 1
                self._roster.refresh(each.made.job_id for each in some)
                there = self._settle_found(work, some, as_listed=True)
                if not there and len(some) == 1:
                    self._reject_duplicate(work, some[0])  # the file with this name is not a job with this id
                    there = {some[0].item.place}
                ready = [each for each in ready if each.item.place not in there]
                continue
            work.made += len(some)
            for each, name in zip(some, published, strict=True):
                if not name:
                    continue
                work.names.append(name)
                if each.made.job_id != work.own_id(each.item):
                    self._roster.add(name)
            ready = ready[len(some) :]

    def _publish(self, some: list[Prepared]) -> list[str]:
        """Publish some jobs; return their names in pending/, "" for one that is skipped, whose record is in done/."""
        if self._producer.has_unique:
            from queuectl.jobs import unique_enqueue  # few files have any

            return [made.name for made in unique_enqueue.publish(self._producer, some, keeps_skipped=True)]
        self._producer.publish(some)
        return [each.name for each in some]

    def _settle_found(self, work: Work, some: list[_Ready], *, as_listed: bool = False) -> set[int]:
        """Count jobs that are there as made, refuse those whose id another job has; return the places of both."""
        there: set[int] = set()
        for each in some:
            whose = self._whose(each.made.job_id, work.source(each.item), as_listed=as_listed)
            if whose == _NOBODY:
                continue
            there.add(each.item.place)
            if whose == _OURS:
                work.made += 1
            else:
                self._reject_duplicate(work, each)
        return there

    def _reject_duplicate(self, work: Work, ready: _Ready) -> None:
        why = f"a job with the id {ready.made.job_id!r} already exists"
        self._reject(work, ready.item, why, "use another id, or omit it")

    def _whose(self, job_id: str, source: str, *, as_listed: bool) -> str:
        """Return if the job with this id is missing, was made from this document, or is another. Raises OSError."""
        while (found := self._roster.find(job_id, as_listed=as_listed)) is not None:
            try:
                stored = self._spool.read(found.state, found.name)
            except FileNotFoundError:
                continue  # the job moved between the lookup and the read
            except (DamagedRecordError, files.NotRegularError, PermissionError):
                return _ANOTHER
            ours = any(event.event == ENQUEUED and event.batch == source for event in stored.record.history)
            return _OURS if ours else _ANOTHER
        return _NOBODY

    def _reject(self, work: Work, item: Item, why: str, hint: str) -> None:
        """Keep one document in rejected/ beside its reason.

        Each file is published whole, because a repeated step skips files that are there and would leave half a file.
        """
        work.refused.append(Named(item.place, item.line, why[:_WHY_CHARS]))
        name = f"{work.own_id(item)}.json"
        text = rejected.text_of(name, rejected.Reason(why, hint), now_at=self._clock.now())
        self._keep(work, self._spool.reason_path(name), [text.encode("utf-8", "replace")])
        if item.part is not None:
            pieces: Iterator[bytes] | list[bytes] = files.read_part(work.fd, *item.part)
        else:
            found = item.content
            raw = found.raw if isinstance(found, document.Refused) else json.dumps(found, ensure_ascii=True, indent=1)
            pieces = [raw.encode("utf-8", "surrogatepass") + b"\n"]
        self._keep(work, self._spool.path(REJECTED, name), pieces)

    def _keep(self, work: Work, path: str, pieces: Iterator[bytes] | list[bytes]) -> None:
        if files.sig_of(path) is not None:
            return  # the interrupted step wrote it
        rest = iter(pieces)
        first = next(rest, b"")
        with (
            contextlib.suppress(FileExistsError),
            self._spool.temporary(work.token, first, sync=False) as temporary,
        ):
            for piece in rest:
                disk.extend(temporary, piece)
            disk.publish(temporary, path)
