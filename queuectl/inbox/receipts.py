"""Jobs that came from an inbox and have not ended yet: how many wait, and whom to tell how each ended.

One empty file a job in .queuectl/owed/OWNER/, named after its id, from before it is published until the inbox has its
receipt. So a crash, or a share that is away, only delays a receipt. Receipts are a comfort and no fact: the record in
done/ or dlq/ is the truth, and a job that was moved or deleted by hand leaves none.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from queuectl.errors import DamagedRecordError
from queuectl.inbox.folder import DONE_WELL, FAILED, InboxDir, receipt_name
from queuectl.inbox.handover import BY
from queuectl.jobs import error_text
from queuectl.model import names, record
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DLQ, DONE
from queuectl.model.text import safe
from queuectl.spool.folder import SpoolDir, record_name
from queuectl.system import disk, files, sharing
from queuectl.system.clock import Clock

# A name that this file system does not take, today or ever: too long, or with characters that it has not.
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
# How often it is asked which of these jobs the spool has nowhere any more.
_SWEEP_S = 60.0


class Owed:
    """The jobs of one inbox that it is to hear of."""

    def __init__(self, spool: SpoolDir, inbox: Inbox, *, clock: Clock, beat: Callable[[], None] = lambda: None) -> None:
        self._beat = beat
        self._spool = spool
        self._inbox = inbox
        self._clock = clock
        self._folder = os.path.join(spool.owed_dir, inbox.owner)
        self._seen: object = None
        self.told: list[tuple[str, str]] = []
        """What people should hear: level and text."""
        self._next_sweep_s = clock.monotonic() + _SWEEP_S

    def promise(self, item: record.Record) -> None:
        """Note a job that is about to be published. Raises OSError."""
        disk.make_folder(self._folder)
        with contextlib.suppress(FileExistsError):
            disk.create(os.path.join(self._folder, item.id), b"", sync=False)

    def waiting(self) -> int:
        """How many of them wait in pending/: jobs, and not files (a copy that somebody made has the same id)."""
        mine = {job_id.lower() for job_id in self._ids()}
        if not mine:
            return 0
        parsed = (names.parse(name) for name in self._spool.waiting_names())
        return len(mine.intersection(parts.stem.lower() for parts in parsed if parts is not None))

    def settle(self, box: InboxDir) -> None:
        """Write the receipts of those that have ended since; one that cannot be written keeps no other one back.

        Raises:
            OSError: one cannot be written now; it is owed still.
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

    def _settle(self, box: InboxDir, job_id: str, state: str) -> None:
        try:
            item = self._spool.read(state, record_name(job_id)).record
        except FileNotFoundError:
            return  # it moves on
        except DamagedRecordError:
            self._forget(job_id)
            return
        # Two jobs of one id were told apart by now: this may be the other one.
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

    def _put(self, box: InboxDir, name: str, text: str) -> None:
        """Write a receipt, but for one whose name can never be had: a folder has it, or the file system takes none."""
        try:
            box.put_text(name, text)
        except OSError as error:
            if not isinstance(error, files.NotRegularError) and error.errno not in _NO_NAME:
                raise
            self.told.append(("warning", f"{name} cannot be written: {error.strerror or error}; it is left out"))

    def _ids(self) -> list[str]:
        try:
            return files.names(self._folder)
        except FileNotFoundError:
            return []

    def _forget(self, job_id: str) -> None:
        disk.unlink(os.path.join(self._folder, job_id))


def dropped_as(item: record.Record) -> str:
    """The name of the file that a job was in its inbox, "" for one that came in another way."""
    return next((event.file for event in item.history if event.event == "enqueued" and event.by == BY), "")


def _failed_text(spool: SpoolDir, item: record.Record, name: str) -> str:
    end = "was cancelled" if record.standing(item).is_cancelled else "has failed for good"
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
    last = record.standing(item).last
    when = f"When:  {safe(last.at[:40])}" if last is not None else ""
    took = "" if last is None or last.duration_s is None else f", after {last.duration_s:g} s"
    return "\n".join([f"The job of {safe(name)} is done{took}.", "", when, f"Its id was {safe(item.id)}.", "", ""])
