"""Split a file with many jobs in steps: between two steps other jobs run, and a pool can stop or pause.

A step publishes at most STEP_LINES jobs and then writes the note (`batch.Note`). A process that makes a step and is not
named in the note first writes its own name there. Then it looks for the jobs of one step: its predecessor may have made
them without getting to write the note (P1). `batch_documents` reads the documents, `batch_step` publishes the jobs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from queuectl.jobs import flow_split, reject
from queuectl.jobs.batch_documents import Documents, Item
from queuectl.jobs.batch_step import Publisher, Work
from queuectl.jobs.flow_split import FlowSplit
from queuectl.model import flow, names, times
from queuectl.model.document import Refused
from queuectl.model.lifecycle import PENDING
from queuectl.spool import batch, trust
from queuectl.spool.batch import Note
from queuectl.spool.layout import Located
from queuectl.spool.roster import Roster
from queuectl.spool.session import Session
from queuectl.system import disk, files, rights

# A step makes no more jobs than this (FORMAT.md, section 4), and reads no more bytes and for no longer than these.
STEP_LINES = 500
_STEP_BYTES = 4 * 1024 * 1024
_STEP_S = 0.1
_EVERYTHING = 1 << 53


class Step(msgspec.Struct, frozen=True):
    """The result of one step: how far the split has come, and the names of the new jobs' files.

    If the whole file was refused, `kept` is its name in rejected/ and `why` and `hint` say why.
    """

    note: Note
    names: tuple[str, ...] = ()
    kept: str = ""
    why: str = ""
    hint: str = ""


class Splitter:
    """Splits files with many jobs, a step at a time. The caller holds the stripe of the file's token."""

    def __init__(self, session: Session, roster: Roster) -> None:
        self._session = session
        self._spool, self._settings, self._clock, self._rng = session
        self._publisher = Publisher(session, roster)
        self._documents = Documents()
        self._flows = FlowSplit(session, roster, self._documents)
        # Not from `rng`: two processes with the same seed must not take each other's steps for their own.
        self._me = os.urandom(8).hex()
        self._failed: set[str] = set()
        """Files of which this object began a step that did not end."""

    def take(self, name: str, job_id: str) -> str:
        """Move pending/`name` to taken/ under a unique name; return that name.

        Raises:
            FileNotFoundError: another worker was first.
        """
        ending = ".jsonl" if names.is_batch(name) else ".json"
        stem = job_id.replace(".", "-")[: flow.TOKEN_STEM_CHARS].rstrip("-_") or "jobs"
        while True:
            stamp = times.to_name(int(self._clock.now())).rstrip("Z")
            taken = f"{stem}-{stamp}-{names.new_token(self._rng)}{ending}"
            # Before the move, because an older queuectl may have partly split a file that has no note.
            self._write(taken, Note(_as_text(name), self._me))
            try:
                disk.move(self._spool.path(PENDING, name), self._path(taken))
            except OSError as error:
                disk.unlink(self._spool.split_path(batch.token_of(taken)))
                if not isinstance(error, FileExistsError):
                    raise
                continue
            # This was the producer's file; from now on it is the spool's, until retention deletes it.
            rights.set_mode(self._path(taken), self._spool.file_mode)
            return taken

    def step(self, taken: str) -> Step:
        """Make the next jobs of a file, or refuse the whole file before the first.

        Raises:
            FileNotFoundError: the file is gone, or done.
            NotRegularError, PermissionError: the file cannot be read.
            OSError: a problem of the machine; make the step again.
        """
        path = batch.path_of(self._spool, taken)
        fd = files.open_to_read(path)
        try:
            note = self._resume(taken)
            if (refused := self._refused(taken, path, files.facts(fd, 0).owner, note)) is not None:
                return refused
            if not (note.line or note.place or note.phase) and self._documents.may_be_flow:
                note = replace(note, phase=flow_split.LOOKING)
            if taken in self._failed:
                self._flows.forget(taken)
            self._failed.add(taken)
            step = Step(note) if note.is_over else self._advance(taken, path, fd, note)
            self._failed.discard(taken)
        finally:
            os.close(fd)
        if step.note.is_over:
            self._finish(taken, step.note)
        return step

    def _path(self, taken: str) -> str:
        return os.path.join(self._spool.taken_dir, taken)

    def _write(self, taken: str, note: Note) -> None:
        # On disk before any job of the next step, because an older note would not cover that step.
        write_note(self._session, batch.token_of(taken), note)

    def _resume(self, taken: str) -> Note:
        """Read the note; take over the split if the last step was another process's, or failed."""
        note = batch.read_note(self._spool, batch.token_of(taken))
        if note is None:
            # An older queuectl took the file, or somebody deleted the note: any of its jobs may exist already.
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
        """Keep a file that must not be split in rejected/, unchanged; return None if it can be split."""
        owners = trust.owners(self._spool, self._settings)
        if owners is not None and owner not in owners:
            why, hint = trust.foreign_owner(owner)
        elif note.line or note.place or note.phase or (verdict := self._documents.refuse(path)) is None:
            return None
        else:
            # It was whole when it was judged and has changed since: keep it as it is, like any file that is not a job.
            why, hint = verdict.why, verdict.hint
        return self._refuse(taken, path, note, why, hint)

    def _refuse(self, taken: str, path: str, note: Note, why: str, hint: str) -> Step:
        """Keep the whole file in rejected/, unchanged, and forget the split."""
        source = Located(PENDING, taken, path)
        kept = reject.reject(self._session, source, taken, why, hint)
        self._flows.delete_plan(taken, note)
        disk.unlink(self._spool.split_path(batch.token_of(taken)))
        return Step(note, (), kept, why, hint)

    # ------------------------------------------------------------------------------------------------------- a step

    def _advance(self, taken: str, path: str, fd: int, note: Note) -> Step:
        """Go through the phases of a file (see `flow_split`) as far as a step goes."""
        until_s = self._clock.monotonic() + _STEP_S

        def is_late() -> bool:
            return self._clock.monotonic() >= until_s

        before = note
        if note.phase == flow_split.LOOKING:
            note = self._flows.look(path, fd, note, is_late)
        if note.phase in (flow_split.CHECKING, flow_split.FLOW):
            path = self._hide(taken, path)
        if note.phase == flow_split.CHECKING and (note == before or not is_late()):
            checked = self._flows.check(taken, path, fd, note, is_late)
            if isinstance(checked, Refused):
                return self._refuse(taken, path, note, checked.why, checked.hint)
            note = checked
        if note != before:
            self._write(taken, note)
        if note.phase in (flow_split.LOOKING, flow_split.CHECKING):
            return Step(note)
        return self._publish(taken, path, Work(taken, fd, note), is_late)

    def _hide(self, taken: str, path: str) -> str:
        """Give a flow its name that an older queuectl leaves alone, before a note says that it is one."""
        hidden = self._path(taken) + batch.FLOW_ENDING
        if path != hidden:
            disk.move(path, hidden)
        return hidden

    def _publish(self, taken: str, path: str, work: Work, is_late: Callable[[], bool]) -> Step:
        """Publish the jobs after the note, and write a new note."""
        before = note = work.note
        is_over = True
        for item, line, offset in self._items(taken, path, work):
            if item is not None:
                self._publisher.prepare(work, item)
            note = replace(
                note, line=line, offset=offset, place=note.place if item is None else item.turn or item.place
            )
            is_full = note.place - before.place >= STEP_LINES or offset - before.offset >= _STEP_BYTES
            if is_full or is_late():
                is_over = False
                break
        self._publisher.publish(work)
        note = replace(
            note,
            made=note.made + work.made,
            refused=note.refused + len(work.refused),
            named=(*note.named, *work.refused)[: batch.NAMED_AT_MOST],
            is_over=is_over,
        )
        self._write(taken, note)
        return Step(note, tuple(work.names))

    def _items(self, taken: str, path: str, work: Work) -> Iterator[tuple[Item | None, int, int]]:
        """Yield the documents after the note, as `Documents.after`."""
        if work.note.phase != flow_split.FLOW:
            yield from self._documents.after(path, work.fd, work.note)
            return
        for item in self._flows.items(taken, path, work.fd, work.note):
            yield item, 0, 0

    def _finish(self, taken: str, note: Note) -> None:
        """Write the report on the file, and rename the file as done."""
        if note.refused:
            token = batch.token_of(taken)
            text = batch.report_text(note, taken).encode("utf-8", "replace")
            path = self._spool.split_text_path(token)
            self._spool.replace_file(path, text, hint=token, sync=False)
        self._documents.forget()
        self._flows.delete_plan(taken, note)
        disk.replace(batch.path_of(self._spool, taken), self._path(taken) + batch.DONE_ENDING)


def write_note(session: Session, token: str, note: Note) -> None:
    """Replace the note of a split; unless `durability` is off, fsync it before returning. Raises OSError."""
    spool, sync = session.spool, session.syncs_accepted
    spool.replace_file(spool.split_path(token), msgspec.json.encode(note), hint=token, sync=sync)
    if sync:
        disk.sync_folder(spool.split_dir)


def _as_text(name: str) -> str:
    """Return a file's name as text for a note, because names may hold bytes that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
