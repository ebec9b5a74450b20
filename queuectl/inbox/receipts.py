"""Receipts still to be written: one empty file for each inbox job that has not ended.

The file is .queuectl/owed/OWNER/ID. It is made before the job is published, and stays until the inbox has the receipt,
so a crash or a share that is away only delays a receipt. A receipt is a courtesy: the record in done/ or dlq/ is the
truth, and a job that was moved or deleted by hand gets no receipt.
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

# A name that this file system never takes: too long, or with characters that it does not know.
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
# How often to look for jobs that are nowhere in the spool any more.
_SWEEP_S = 60.0


class Receipts:
    """The receipts of one inbox. `notify` is called for what people should know, `beat` between two jobs."""

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
        """Return how many of the jobs are in pending/. A copy of a job's file is no second job."""
        mine = {job_id.lower() for job_id in self._ids()}
        if not mine:
            return 0
        parsed = (names.parse(name) for name in self._spool.waiting_names())
        return len(mine.intersection(parts.stem.lower() for parts in parsed if parts is not None))

    def settle(self, box: Folder) -> None:
        """Write the receipts of jobs that have ended; one that cannot be written keeps no other one back.

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
            return  # it moves on
        except DamagedRecordError:
            self._forget(job_id)
            return
        # Two jobs had one id, and one of them got another id since: this may be the wrong one.
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
        """Write a receipt; leave it out if its name can never be used (a folder has it, or the file system refuses)."""
        try:
            box.put_text(name, text)
        except OSError as error:
            if not isinstance(error, files.NotRegularError) and error.errno not in _NO_NAME:
                raise
            text = f"{name} cannot be written: {error.strerror or error}; it is left out"
            self._notify(Notice(WARNING, "inbox", text))

    def _ids(self) -> list[str]:
        try:
            return files.names(self._folder)
        except FileNotFoundError:
            return []

    def _forget(self, job_id: str) -> None:
        disk.unlink(os.path.join(self._folder, job_id))


def dropped_as(item: record.Record) -> str:
    """Return the name of the file that a job was in its inbox, "" if it came in another way."""
    return next((event.file for event in item.history if event.event == ENQUEUED and event.by == BY), "")


def _failed_text(spool: SpoolDir, item: record.Record, name: str) -> str:
    end = "was cancelled" if item.standing().is_cancelled else "has failed for good"
    lines = [
        f"The job of {safe(name)} {end}: it is not tried again by itself.",
        "",
        *error_text.account(spool, item),
        "",
        f"Its id is {safe(item.id)}. To try again, put {safe(name)} here once more, corrected where that is needed,",
        f"or ask whoever looks after the queue for: queuectl dlq retry {safe(item.id)}",
        "",
        "",
    ]
    return "\n".join(lines)


def _done_text(item: record.Record, name: str) -> str:
    last = item.standing().last
    when = f"When:  {safe(last.at[:40])}" if last is not None else ""
    took = "" if last is None or last.duration_s is None else f", after {last.duration_s:g} s"
    return "\n".join([f"The job of {safe(name)} is done{took}.", "", when, f"Its id was {safe(item.id)}.", "", ""])
