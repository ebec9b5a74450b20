"""Receipts still to be written: one empty file per inbox job that has not ended.

The file is .queuectl/owed/OWNER/ID. It is created before the job is published, and stays until the receipt is in the
inbox, so a crash or an offline share only delays a receipt. A receipt is only information: the record in done/ or dlq/
is the truth, and a job that was moved or deleted by hand gets no receipt.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from queuectl.errors import DamagedRecordError
from queuectl.inbox.folder import DONE_WELL, FAILED, Folder, receipt_name
from queuectl.inbox.handover import BY
from queuectl.jobs import error_text
from queuectl.model import names, record
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DLQ, DONE, ENQUEUED
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.model.text import safe
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing

# Errors for a name that this file system never accepts: too long, or with unsupported characters.
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
# How often to look for jobs that are no longer in the spool.
_SWEEP_S = 60.0


class Receipts:
    """The receipts of one inbox. `notify` gets messages for people; `beat` is called between two jobs."""

    def __init__(
        self, session: Session, inbox: Inbox, *, notify: Notify, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._notify = notify
        self._beat = beat
        self._spool = session.spool
        self._inbox = inbox
        self._clock = session.clock
        self._folder = os.path.join(session.spool.owed_dir, inbox.owner)
        self._seen: object = None
        self._next_sweep_s = self._clock.monotonic() + _SWEEP_S

    def expect(self, item: record.Record) -> None:
        """Note a job that is about to be published. Raises OSError."""
        disk.make_folder(self._folder)
        with contextlib.suppress(FileExistsError):
            disk.create(os.path.join(self._folder, item.id), b"", sync=False)

    def waiting(self) -> int:
        """Return how many of the jobs are in pending/. A copy of a job's file does not count twice."""
        mine = {job_id.lower() for job_id in self._ids()}
        if not mine:
            return 0
        parsed = (names.parse(name) for name in self._spool.waiting_names())
        return len(mine.intersection(parts.stem.lower() for parts in parsed if parts is not None))

    def settle(self, box: Folder) -> None:
        """Write the receipts of jobs that have ended. A receipt that cannot be written does not delay the others.

        Raises:
            OSError: a receipt cannot be written now; the next call tries again.
        """
        marks = tuple(files.sig_of(self._spool.folder(state)) for state in (DLQ, DONE))
        ids = self._ids()
        is_time = self._clock.monotonic() >= self._next_sweep_s
        if not ids or (not is_time and (marks, len(ids)) == self._seen):
            return
        failed: OSError | None = None
        for job_id in ids:
            self._beat()
            try:
                if state := self._spool.holds(job_id, (DLQ, DONE)):
                    self._settle(box, job_id, state)
            except OSError as error:
                if sharing.is_trouble(error):
                    raise
                failed = failed or error
        if failed is not None:
            raise failed
        if is_time:
            self._next_sweep_s = self._clock.monotonic() + _SWEEP_S
            there = {job_id.lower() for job_id in self._spool.ids()}
            for job_id in ids:
                if job_id.lower() not in there:
                    self._forget(job_id)  # deleted by hand
        self._seen = (marks, len(self._ids()))

    def _settle(self, box: Folder, job_id: str, state: str) -> None:
        try:
            item = self._spool.read(state, record_name(job_id)).record
        except FileNotFoundError:
            return  # the job is moving
        except DamagedRecordError:
            self._forget(job_id)
            return
        # Two jobs had one id, and one of them got another id since: this may be the wrong job.
        if name := dropped_as(item):
            failed, done = receipt_name(name, FAILED), receipt_name(name, DONE_WELL)
            if state == DLQ and self._inbox.receipts:
                self._put(box, failed, _failed_text(self._spool, item, name))
                box.forget(done)
            elif state == DONE:
                box.forget(failed)
                if self._inbox.done_receipts:
                    self._put(box, done, _done_text(item, name))
        self._forget(job_id)

    def _put(self, box: Folder, name: str, text: str) -> None:
        """Write a receipt; skip it if its name can never be used (a folder has it, or the file system refuses it)."""
        try:
            box.put_text(name, text)
        except OSError as error:
            if not isinstance(error, files.NotRegularError) and error.errno not in _NO_NAME:
                raise
            text = f"the receipt {name} cannot be written and is skipped: {error.strerror or error}"
            self._notify(Notice(WARNING, "inbox", text))

    def _ids(self) -> list[str]:
        try:
            return files.names(self._folder)
        except FileNotFoundError:
            return []

    def _forget(self, job_id: str) -> None:
        disk.unlink(os.path.join(self._folder, job_id))


def dropped_as(item: record.Record) -> str:
    """Return the name of the job's file in its inbox, "" if the job did not come from an inbox."""
    return next((event.file for event in item.history if event.event == ENQUEUED and event.by == BY), "")


def _failed_text(spool: SpoolDir, item: record.Record, name: str) -> str:
    lines = [
        f"The job from {safe(name)} {error_text.how_it_ended(item)}.",
        "",
        f"Job id:       {safe(item.id)}",
        *error_text.account(spool, item),
        "",
        f"To run it again: put {safe(name)} in this folder again, corrected if necessary,",
        f"or ask the person who runs the queue for: queuectl retry {safe(item.id)}",
        "",
        "",
    ]
    return "\n".join(lines)


def _done_text(item: record.Record, name: str) -> str:
    last = item.standing().last
    when = [f"When:   {safe(last.at[:40])}"] if last is not None else []
    took = "" if last is None or last.duration_s is None else f" after {last.duration_s:g} s"
    return "\n".join([f"The job from {safe(name)} succeeded{took}.", "", f"Job id: {safe(item.id)}", *when, "", ""])
