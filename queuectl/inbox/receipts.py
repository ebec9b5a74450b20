"""The receipts of an inbox: texts that say how its jobs ended (`owed` has the jobs that have not ended).

A receipt is only information: the record in done/ or dlq/ is the truth, and a job that was moved or deleted by hand
gets no receipt.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from queuectl.errors import DamagedRecordError
from queuectl.inbox.folder import DONE_WELL, FAILED, Folder, receipt_name
from queuectl.inbox.handover import BY
from queuectl.inbox.owed import Owed
from queuectl.jobs import error_text
from queuectl.model import record
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DLQ, DONE, ENQUEUED
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.model.text import safe
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import files

# Errors for a name that this file system never accepts: too long, or with unsupported characters.
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class Receipts:
    """The receipts of one inbox. `notify` gets messages for people; `beat` is called between two jobs."""

    def __init__(
        self, session: Session, inbox: Inbox, *, notify: Notify, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._notify = notify
        self._spool = session.spool
        self._inbox = inbox
        self._owed = Owed(session, inbox.owner, beat=beat)
        self.waiting = self._owed.waiting

    def expect(self, item: record.Record) -> None:
        """Note a job that is about to be published. Raises OSError."""
        self._owed.expect(item.id)

    def settle(self, box: Folder) -> None:
        """Write the receipts of jobs that have ended. A receipt that cannot be written does not delay the others.

        Raises:
            OSError: a receipt cannot be written now; the next call tries again.
        """
        self._owed.settle(lambda job_id, state: self._settle(box, job_id, state), self._owed.forget)

    def _settle(self, box: Folder, job_id: str, state: str) -> None:
        try:
            item = self._spool.read(state, record_name(job_id)).record
        except FileNotFoundError:
            return  # the job is moving
        except DamagedRecordError:
            self._owed.forget(job_id)
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
        self._owed.forget(job_id)

    def _put(self, box: Folder, name: str, text: str) -> None:
        """Write a receipt; skip it if its name can never be used (a folder has it, or the file system refuses it)."""
        try:
            box.put_text(name, text)
        except OSError as error:
            if not isinstance(error, files.NotRegularError) and error.errno not in _NO_NAME:
                raise
            text = f"the receipt {name} cannot be written and is skipped: {error.strerror or error}"
            self._notify(Notice(WARNING, "inbox", text))


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
