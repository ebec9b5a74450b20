"""What becomes of the files of an inbox when their jobs end: they leave working/, crash-safe and never overwriting.

The receiver does this, as it writes the receipts of other inboxes. A job's note in owed/ (`owed`) stays until its file
is where it belongs, so a crash in between only repeats steps (FORMAT.md, "Inboxes of files", "The end").
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from queuectl.errors import DamagedRecordError
from queuectl.inbox.file_box import FileBox
from queuectl.inbox.file_handover import Note, note_of
from queuectl.inbox.kept import Kept
from queuectl.inbox.outside import OutsideError
from queuectl.inbox.owed import Owed
from queuectl.inbox.state import InboxEnd, Unmoved
from queuectl.jobs import error_text
from queuectl.model import record, times
from queuectl.model.file_command import DELETE, KEEP
from queuectl.model.inbox import Inbox
from queuectl.model.lifecycle import DLQ, DONE, ENQUEUED, SKIPPED
from queuectl.model.notice import INFO, WARNING, Notice, Notify
from queuectl.model.subfolders import is_inside
from queuectl.model.text import safe
from queuectl.spool.layout import record_name
from queuectl.spool.session import Session
from queuectl.system import files

# After so many seconds a folder outside the inbox is tried again; twice as many after each further failure.
_RETRY_S, _RETRY_MOST_S = 1.0, 60.0
_GONE = "is no longer in the spool, so how it ended is unknown"


class FileEnds:
    """The ends of the jobs of one inbox. `notify` gets messages for people; `beat` is called between two jobs."""

    def __init__(
        self, session: Session, inbox: Inbox, *, notify: Notify, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._notify = notify
        self._spool = session.spool
        self._clock = session.clock
        self._sync = session.syncs_accepted
        self._inbox = inbox
        self.owed = Owed(session, inbox.owner, beat=beat)
        self.kept = Kept(session, inbox.owner)
        self.returned: set[str] = set()
        """Names in the inbox that files got back at the end. Our own renames of them prove nothing."""
        self.unmoved: list[Unmoved] = []
        """Files that could not go to a folder outside the inbox."""
        self._names: dict[str, str] = {}
        """The names of those of the call before, by the ids of their jobs."""
        self._lost: set[str] = set()
        """Of those, the jobs that are no longer in the spool."""
        self._pauses: dict[str, tuple[float, float, str]] = {}
        """Folders outside the inbox that failed: until when not to try again, the length of that pause, why."""
        self._texts_seen: dict[str, files.FileSig | None] = {}
        """By subfolder, what `failed_mark` was when its texts were looked at last."""
        self._moved: list[str] = []
        """The jobs whose files this call has moved."""
        self.last: dict[str, InboxEnd] = {}
        """The last file that went to done/ and to failed/, by the state of its job; only to show it."""

    def settle(self, box: FileBox) -> None:
        """Move the files of jobs that have ended. A file that cannot be moved now keeps no other one back.

        `unmoved` has those that cannot go to a folder outside the inbox, until a later call moves them.

        Raises:
            OSError: a file cannot be moved now; the next call tries again.
        """
        self._moved.clear()
        if self.unmoved:
            self.owed.look_again()
        self._names = {each.job_id: each.name for each in self.unmoved}
        self.unmoved.clear()
        try:
            lost, self._lost = self._lost, set()
            for job_id in lost:
                self._gone(box, job_id)
            self.owed.settle(
                lambda job_id, state: self._try(box, job_id, lambda: self._ended(box, job_id, state)),
                lambda job_id: self._gone(box, job_id),
            )
        finally:
            self._forget_moved(box)

    def _forget_moved(self, box: FileBox) -> None:
        if self._moved and self._sync:
            box.sync_ends()  # once for all of them
        for job_id in self._moved:
            self.owed.forget(job_id)
        self._moved.clear()

    def tidy(self, box: FileBox, subs: Iterable[str] = ()) -> None:
        """Delete texts of failed files that are gone, whenever the folder of these files has changed.

        `subs` are the subfolders from which files were taken just now: a person may have put them back.
        """
        for sub in {"", *subs}:
            mark = box.failed_mark(sub)
            is_new = mark != self._texts_seen.get(sub)
            if is_new and (mark is None or box.forget_orphan_texts(self._clock.now(), sub)):
                self._texts_seen[sub] = mark

    def _gone(self, box: FileBox, job_id: str) -> None:
        """Move the file of a job that is no longer in the spool."""
        if not self._try(box, job_id, lambda: self._failed(box, job_id, None)):
            self._lost.add(job_id)

    def _try(self, box: FileBox, job_id: str, end: Callable[[], None]) -> bool:
        """Move a file; return False and note why if it cannot go to a folder outside the inbox now."""
        try:
            end()
        except OutsideError as error:
            name = self._names.get(job_id) or note_of(self.owed.note(job_id)).name or next(iter(box.holds(job_id)), "")
            self.unmoved.append(Unmoved(job_id, name, str(error)))
            return False
        return True

    def _finish(self, box: FileBox, job_id: str, target: str, name: str, text: str = "") -> None:
        """Move a file to its folder; do not try one outside the inbox that failed just now. Raises OutsideError."""
        self._check_pause(target)
        try:
            box.finish(job_id, target, name, text=text)
        except OutsideError as error:
            pause_s = min(_RETRY_MOST_S, max(_RETRY_S, 2 * self._pauses.get(target, (0.0, 0.0, ""))[1]))
            self._pauses[target] = self._clock.monotonic() + pause_s, pause_s, str(error)
            raise
        self._pauses.pop(target, None)

    def _check_pause(self, target: str) -> None:
        """Raise OutsideError if a folder outside the inbox failed just now."""
        until_s, _, why = self._pauses.get(target, (0.0, 0.0, ""))
        if why and self._clock.monotonic() < until_s:
            raise OutsideError(why)

    def _ended(self, box: FileBox, job_id: str, state: str) -> None:
        # Before anything is read: thousands of files may wait for one folder. With `unique` only the record says where
        # the file goes.
        if state == DLQ or not self._inbox.unique:
            self._check_pause(self._inbox.on_failure if state == DLQ else self._inbox.on_success)
        try:
            item = self._spool.read(state, record_name(job_id)).record
        except FileNotFoundError:
            return  # the job is moving
        except DamagedRecordError:
            self._failed(box, job_id, None)
            return
        if state == DLQ:
            self._failed(box, job_id, item)
            return
        if (last := item.standing().last) is not None and last.event == SKIPPED:
            self._duplicate(box, job_id, item, last.duplicate_of or last.replaced_by)
            return
        note = self._note(box, job_id, item)
        if self._inbox.on_success == DELETE:
            box.delete(job_id, note.name)
            box.finish(job_id, DONE, note.name)
        elif self._inbox.on_success == KEEP:
            self._keep(box, job_id, note.name)
        else:
            self._finish(box, job_id, self._inbox.on_success, note.name)
        self._has_moved(box, job_id, DONE, note.name, item)

    def _keep(self, box: FileBox, job_id: str, name: str) -> None:
        """Move a file back to its place in the inbox, and what is beside it to done/."""
        if back := box.keep(job_id, name, self.kept.keep):
            self.returned.add(back)
        box.finish(job_id, DONE, name)

    def _failed(self, box: FileBox, job_id: str, item: record.Record | None) -> None:
        note = self._note(box, job_id, item)
        text = self._text(job_id, note.name, item) if self._inbox.receipts else ""
        self._finish(box, job_id, self._inbox.on_failure, note.name, text)
        self._has_moved(box, job_id, DLQ, note.name, item)

    def _has_moved(self, box: FileBox, job_id: str, state: str, name: str, item: record.Record | None) -> None:
        self._moved.append(job_id)
        last = None if item is None else item.standing().last
        ended_at = times.to_text(self._clock.now()) if last is None else last.at
        if state not in self.last or ended_at >= self.last[state].ended_at:  # the notes are in no order of time
            self.last[state] = InboxEnd(name, job_id, ended_at)
        if box.has_many_open:
            self._forget_moved(box)
            box.close_ends()

    def _duplicate(self, box: FileBox, job_id: str, item: record.Record, other: str) -> None:
        """Move the file of a job that was skipped, because another job of the inbox has the same content.

        With `keep` it stays in its place, as it would after its run: the place is the person's, and touching a file
        there is no reason to take it away.
        """
        note = self._note(box, job_id, item)
        if self._inbox.on_success == KEEP:
            self._keep(box, job_id, note.name)
        else:
            text = self._text_of_duplicate(job_id, note.name, other) if self._inbox.receipts else ""
            self._finish(box, job_id, self._inbox.on_failure, note.name, text)
        self._notify(Notice(INFO, "inbox", f"{note.name} is not run: job {other} has the same content"))
        self._has_moved(box, job_id, DONE, note.name, item)

    def _note(self, box: FileBox, job_id: str, item: record.Record | None) -> Note:
        """Return the note of a job with the name of its file; report a file that another program may have changed."""
        note = note_of(self.owed.note(job_id))
        if not note.name and item is not None:
            file = next((event.file for event in item.history if event.event == ENQUEUED), "")
            note = note._replace(name=file if is_inside(file) else "")
        if not note.name and (there := box.holds(job_id)):
            note = note._replace(name=there[0])
        if note.name and not note.is_closed and note.size >= 0:
            sig = box.sig_in(job_id, note.name)
            if sig is not None and (sig.size, sig.mtime_ns) != (note.size, note.mtime_ns):
                text = f"{note.name} changed after it was taken: by its command, or by a program that had it open"
                self._notify(Notice(WARNING, "inbox", f"{text}; if its result is wrong, put the file here again"))
        return note

    def _text(self, job_id: str, name: str, item: record.Record | None) -> str:
        how = _GONE if item is None else error_text.how_it_ended(item)
        account = [] if item is None else error_text.account(self._spool, item)
        lines = [
            f"The job for {safe(name)} {how}.",
            "",
            f"Job id:       {safe(job_id)}",
            *account,
            *([] if account else ["", f"Moved here {times.to_text(self._clock.now())}."]),
            "",
            "The file is beside this text, as the command left it.",
            "To run it again: move the file back into the folder that it came from. queuectl then deletes this text.",
            "",
            "",
        ]
        return "\n".join(lines)

    def _text_of_duplicate(self, job_id: str, name: str, other: str) -> str:
        file = ""
        with contextlib.suppress(OSError, DamagedRecordError):
            if (found := self._spool.find(other)) is not None:
                file = self._spool.read(found.state, found.name).record.history[0].file
        lines = [
            f"{safe(name)} was not run: another job of this inbox has the same content.",
            "",
            f"Job id:        {safe(job_id)}",
            f"The other job: {safe(other)}",
            *([f"Its file:      {safe(file)}"] if file else []),
            "",
            f"Moved here {times.to_text(self._clock.now())}.",
            "",
            "The file is beside this text, unchanged. If nobody needs it, delete it.",
            f"To run it all the same: queuectl purge {safe(other)}",
            "Then move the file back into the folder that it came from. queuectl then deletes this text.",
            "",
            "",
        ]
        return "\n".join(lines)
