"""Splitting a file of many jobs, in steps: between two of them other jobs run, and a pool stops or pauses as ever.

A step publishes at most STEP_LINES jobs and writes the note after them (`batch.Note`). Whoever makes a step and is not
named in the note writes itself into it first, and looks for the jobs of one step's length: they may be there, made by
whoever did not get to write the note. Each job has an id made from TOKEN and its place, or says TOKEN#PLACE in its
`enqueued` event, so nothing is made twice, whatever is killed (P1).

Memory does not grow with the file: lines are read one at a time, and an array is small (`job.JOB_MAX_BYTES`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from queuectl.errors import DamagedRecordError, DuplicateJobError, InvalidJobError
from queuectl.jobs import batch, lines, reject
from queuectl.jobs.batch import Named, Note
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.model import document as intake
from queuectl.model import names, times
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import ENQUEUED, PENDING, REJECTED
from queuectl.spool import trust
from queuectl.spool.layout import Located
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.system import disk, files, rights

# A step makes no more jobs than this (FORMAT.md, section 4), and reads no more bytes and for no longer than these.
STEP_LINES = 500
_STEP_BYTES = 4 * 1024 * 1024
_STEP_S = 0.1
_WHY_CHARS = 200
_EVERYTHING = 1 << 53
# Tries to publish the jobs of a step at once, while others take their ids.
_PUBLISH_TRIES = 3
_LARGE_HINT = "put the data into a file and name it"
_NOBODY, _OURS, _ANOTHER = "", "ours", "another's"


class Step(NamedTuple):
    """What came of one step: how far the split is now, and the names of the new jobs' files.

    Where the whole file was refused, `kept` is its name in rejected/ and `why` and `hint` say why.
    """

    note: Note
    names: tuple[str, ...] = ()
    kept: str = ""
    why: str = ""
    hint: str = ""


class _Item(NamedTuple):
    """One document: the line it is in (0 in an array), its place, and the bytes of a line that is no text."""

    document: dict[str, Any] | intake.Refused
    line: int
    place: int
    part: tuple[int, int] | None = None


class _Ready(NamedTuple):
    """A job that is ready to be published, and what it was made of."""

    made: Prepared
    item: _Item


class _Work:
    """One step on its way."""

    def __init__(self, taken: str, fd: int, note: Note) -> None:
        self.token = batch.token_of(taken)
        self.fd = fd
        self.note = note
        self.ready: list[_Ready] = []
        self.seen: set[str] = set()
        self.made = 0
        self.refused: list[Named] = []
        self.names: list[str] = []

    def source(self, item: _Item) -> str:
        """What the `enqueued` event says of where a job came from."""
        return f"{self.token}#{item.place}"

    def own_id(self, item: _Item) -> str:
        """The id of a job that names none, and of a refused document."""
        return f"{self.token}-{item.place:04d}"

    def may_be_there(self, item: _Item) -> bool:
        """True where the job may have been made by a step whose end nobody wrote down."""
        return item.place <= self.note.check_to


class Splitter:
    """Splits files of many jobs, a step at a time. The caller holds the stripe of the file's token."""

    def __init__(self, session: Session, roster: Roster) -> None:
        self._session = session
        self._spool, self._settings, self._clock, self._rng = session
        self._roster = roster
        self._producer = Producer(session)
        # Not by `rng`: two processes that are alike to the last bit must not take each other's steps for their own.
        self._me = os.urandom(8).hex()
        self._failed: set[str] = set()
        """Files at which a step of ours began and did not end."""
        self._array: tuple[str, list[dict[str, Any] | intake.Refused]] = "", []

    def take(self, name: str, job_id: str) -> str:
        """Move pending/`name` to taken/ under a name of its own; return that name.

        Raises:
            FileNotFoundError: somebody else was first.
        """
        ending = ".jsonl" if names.is_batch(name) else ".json"
        stem = job_id.replace(".", "-")[:60]
        while True:
            stamp = times.to_name(int(self._clock.now())).rstrip("Z")
            taken = f"{stem}-{stamp}-{names.new_token(self._rng)}{ending}"
            # Before the move: a file without a note may have been split in part by an older queuectl.
            self._write(taken, Note(_as_text(name), self._me))
            try:
                disk.move(self._spool.path(PENDING, name), self._path(taken))
            except OSError as error:
                disk.unlink(self._spool.split_path(batch.token_of(taken)))
                if not isinstance(error, FileExistsError):
                    raise
                continue
            # The producer's file, and from now on a file of jobs of ours, which stays until retention deletes it.
            rights.set_mode(self._path(taken), self._spool.file_mode)
            return taken

    def step(self, taken: str) -> Step:
        """Make the next jobs of a file, or refuse it as a whole before the first.

        Raises:
            FileNotFoundError: it is gone, or done.
            NotRegularError, PermissionError: it cannot be read.
            OSError: the machine's trouble; the step is to be made again.
        """
        path = self._path(taken)
        fd = files.open_to_read(path)
        try:
            note = self._resume(taken)
            if (refused := self._refused(taken, path, files.facts(fd, 0).owner, note)) is not None:
                return refused
            self._failed.add(taken)
            step = Step(note) if note.is_over else self._advance(taken, _Work(taken, fd, note))
            self._failed.discard(taken)
        finally:
            os.close(fd)
        if step.note.is_over:
            self._finish(taken, step.note)
        return step

    def _path(self, taken: str) -> str:
        return os.path.join(self._spool.taken_dir, taken)

    def _write(self, taken: str, note: Note) -> None:
        # On disk before any job of the next step is: an older note would not know of that step.
        batch.write_note(self._session, batch.token_of(taken), note)

    def _resume(self, taken: str) -> Note:
        """Read the note; take the split over where somebody else, or a step that failed, was at it last."""
        note = batch.read_note(self._spool, batch.token_of(taken))
        if note is None:
            # An older queuectl took the file, or somebody deleted the note: any job of it may be there.
            note = Note(_as_text(taken), self._me, check_to=_EVERYTHING)
        elif note.by == self._me and taken not in self._failed:
            return note
        else:
            check_to = max(note.check_to, note.place + STEP_LINES)
            note = replace(note, by=self._me, check_to=check_to)
        self._write(taken, note)
        return note

    # ------------------------------------------------------------------------------------------------ the documents

    def _refused(self, taken: str, path: str, owner: int, note: Note) -> Step | None:
        """Keep a file that is not to be split in rejected/, unchanged; None where it is to be."""
        owners = trust.owners(self._spool, self._settings)
        if owners is not None and owner not in owners:
            why, hint = trust.foreign_owner(owner)
        elif note.line or note.place or (verdict := self._verdict(taken, path)) is None:
            return None
        else:
            # It was whole when it was judged and was written to since: kept as it is, like any file that is no job.
            why, hint = verdict.why, verdict.hint
        source = Located(PENDING, taken, path)
        kept = reject.reject(self._session, source, taken, why, hint)
        disk.unlink(self._spool.split_path(batch.token_of(taken)))
        return Step(note, (), kept, why, hint)

    def _verdict(self, taken: str, path: str) -> intake.Incomplete | intake.Refused | None:
        """Why a file holds no jobs, before the first of them is made."""
        if taken.endswith(".jsonl"):
            looked = lines.look(path, intake.BATCH_MAX_BYTES)
            return _too_large(intake.BATCH_MAX_BYTES) if looked.content.oversize else looked.verdict
        content = files.read(path, JOB_MAX_BYTES)
        if content.oversize:
            return _too_large(JOB_MAX_BYTES)
        parsed = intake.parse(content.data, lines=False)
        if isinstance(parsed, intake.Incomplete | intake.Refused):
            return parsed
        self._array = taken, parsed.documents if isinstance(parsed, intake.Many) else [parsed.document]
        return None

    def _items(self, taken: str, fd: int, note: Note) -> Iterator[tuple[_Item | None, int, int]]:
        """What follows in a file, None for a blank line, each with the lines and the bytes read by then."""
        if taken.endswith(".jsonl"):
            yield from _in_lines(fd, note)
            return
        if self._array[0] != taken and self._verdict(taken, self._path(taken)) is not None:
            return  # changed since its first step, so that it is an array no more: what was made is all
        for place, document in enumerate(self._array[1][note.place :], note.place + 1):
            yield _Item(document, 0, place), 0, 0

    # ------------------------------------------------------------------------------------------------------- a step

    def _advance(self, taken: str, work: _Work) -> Step:
        """Publish what follows the note, and write a new one."""
        until_s = self._clock.monotonic() + _STEP_S
        before = note = work.note
        is_over = True
        for item, line, offset in self._items(taken, work.fd, note):
            if item is not None:
                self._prepare(work, item)
            note = replace(note, line=line, offset=offset, place=note.place if item is None else item.place)
            is_full = note.place - before.place >= STEP_LINES or offset - before.offset >= _STEP_BYTES
            if is_full or self._clock.monotonic() >= until_s:
                is_over = False
                break
        self._publish(work)
        note = replace(
            note,
            made=note.made + work.made,
            refused=note.refused + len(work.refused),
            named=(*note.named, *work.refused)[: batch.NAMED_AT_MOST],
            is_over=is_over,
        )
        self._write(taken, note)
        return Step(note, tuple(work.names))

    def _prepare(self, work: _Work, item: _Item) -> None:
        """Make a document ready to be published, or refuse it."""
        document = item.document
        if isinstance(document, intake.Refused):
            self._reject(work, item, document.why, document.hint)
            return
        spec = {key: value for key, value in document.items() if key != "history"}
        if spec.get("id") is None:
            spec["id"] = work.own_id(item)
        try:
            made = self._producer.prepare(spec, by="batch", batch=work.source(item))
        except InvalidJobError as error:
            self._reject(work, item, str(error), error.hint)
            return
        if made.job_id.lower() in work.seen:
            self._reject(work, item, f"the id {made.job_id!r} is in the batch twice", "")
            return
        work.seen.add(made.job_id.lower())
        work.ready.append(_Ready(made, item))

    def _publish(self, work: _Work) -> None:
        """Publish what is ready and not there yet; refuse what has the id of another job."""
        unsure = [each for each in work.ready if work.may_be_there(each.item)]
        # Two listings: a job that fails and runs again is in pending/ and running/ in turn.
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
                self._producer.publish([each.made for each in some])
            except DuplicateJobError:
                # Somebody took one of the ids just now, so that all were taken back, but for those that run already.
                tries += 1
                self._roster.refresh(each.made.job_id for each in some)
                there = self._settle_found(work, some, as_listed=True)
                if not there and len(some) == 1:
                    self._reject_duplicate(work, some[0])  # what has its file's name is no job of this id
                    there = {some[0].item.place}
                ready = [each for each in ready if each.item.place not in there]
                continue
            work.made += len(some)
            for each in some:
                work.names.append(each.made.name)
                if each.made.job_id != work.own_id(each.item):
                    self._roster.add(each.made.name)
            ready = ready[len(some) :]

    def _settle_found(self, work: _Work, some: list[_Ready], *, as_listed: bool = False) -> set[int]:
        """Count those that are there as made, refuse those whose id is another job's; return the places of both."""
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

    def _reject_duplicate(self, work: _Work, ready: _Ready) -> None:
        why = f"a job with the id {ready.made.job_id!r} exists already"
        self._reject(work, ready.item, why, "give it another id, or none")

    def _whose(self, job_id: str, source: str, *, as_listed: bool) -> str:
        """Whose the job with this id is: nobody's, of this place of this file, or another's. Raises OSError."""
        while (found := self._roster.find(job_id, as_listed=as_listed)) is not None:
            try:
                stored = self._spool.read(found.state, found.name)
            except FileNotFoundError:
                continue  # it moved between the look and the read
            except (DamagedRecordError, files.NotRegularError, PermissionError):
                return _ANOTHER
            ours = any(event.event == ENQUEUED and event.batch == source for event in stored.record.history)
            return _OURS if ours else _ANOTHER
        return _NOBODY

    def _reject(self, work: _Work, item: _Item, why: str, hint: str) -> None:
        """Keep one document in rejected/ beside its reason.

        Each is published whole: a step that is made again passes over what is there, so half a file would stay half.
        """
        work.refused.append(Named(item.place, item.line, why[:_WHY_CHARS]))
        name = f"{work.own_id(item)}.json"
        text = intake.reason_text(name, why, hint, now_at=self._clock.now(), version="new")
        self._keep(work, self._spool.reason_path(name), [text.encode("utf-8", "replace")])
        if item.part is not None:
            pieces: Iterator[bytes] | list[bytes] = files.read_part(work.fd, *item.part)
        else:
            document = item.document
            if isinstance(document, intake.Refused):
                raw = document.raw
            else:
                raw = json.dumps(document, ensure_ascii=True, indent=1)
            pieces = [raw.encode("utf-8", "surrogatepass") + b"\n"]
        self._keep(work, self._spool.path(REJECTED, name), pieces)

    def _keep(self, work: _Work, path: str, pieces: Iterator[bytes] | list[bytes]) -> None:
        if files.sig_of(path) is not None:
            return  # by the step that was cut short
        rest = iter(pieces)
        first = next(rest, b"")
        with (
            contextlib.suppress(FileExistsError),
            self._spool.temporary(work.token, first, sync=False) as temporary,
        ):
            for piece in rest:
                disk.extend(temporary, piece)
            disk.publish(temporary, path)

    def _finish(self, taken: str, note: Note) -> None:
        """Say what became of the file, and give it the name of one that is done."""
        if note.refused:
            token = batch.token_of(taken)
            text = batch.report_text(note, taken).encode("utf-8", "replace")
            path = self._spool.split_text_path(token)
            self._spool.replace_file(path, text, hint=token, sync=False)
        self._array = "", []
        disk.replace(self._path(taken), self._path(taken) + batch.DONE_ENDING)


def _in_lines(fd: int, note: Note) -> Iterator[tuple[_Item | None, int, int]]:
    form = lines.form_of(fd)
    place = note.place
    for line in lines.read(fd, form, note.offset or form.mark, note.line):
        item = _item(line, form, place + 1)
        place += item is not None
        yield item, line.number, line.end


def _item(line: lines.Line, form: lines.Form, place: int) -> _Item | None:
    """The document in a line, None where that is blank."""
    document: dict[str, Any] | intake.Refused | None
    part = None
    if line.is_long:
        part = line.start, line.end
        document = intake.Refused(f"line {line.number} is longer than {JOB_MAX_BYTES} bytes", _LARGE_HINT)
    else:
        try:
            document = intake.line(line.data.decode(form.encoding), line.number)
        except UnicodeDecodeError:
            part = line.start, line.end
            document = intake.Refused(f"line {line.number} is not {form.encoding} text", "save it as UTF-8")
    return None if document is None else _Item(document, line.number, place, part)


def _too_large(limit: int) -> intake.Refused:
    return intake.Refused(f"it is larger than {limit} bytes", _LARGE_HINT)


def _as_text(name: str) -> str:
    """A file's name as it can stand in a note: names may hold bytes that are no UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
