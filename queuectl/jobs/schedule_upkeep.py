"""Keep the files beside a schedule: its one note, the tick that the note names, and the text about a mistake.

Only whoever has `schedules.lock` changes them, and renames a note only from a name that it listed under the lock
(FORMAT.md, section 4, "A tick").
"""

from __future__ import annotations

import contextlib
import math

from queuectl.jobs.schedules import Reading
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.model.tick_name import Note
from queuectl.spool import schedule_files
from queuectl.spool.session import Session
from queuectl.system import disk, sharing


class ScheduleUpkeep:
    """The files beside the schedules of one spool. `notify` is called with messages for people."""

    def __init__(self, session: Session, *, notify: Notify) -> None:
        self._session = session
        self._spool = session.spool
        self._clock = session.clock
        self._notify = notify

    def only_note(self, notes: tuple[Note, ...]) -> Note | None:
        """Return the note that counts, and delete all others of this schedule."""
        kept = schedule_files.best(notes)
        for note in notes:
            if note != kept:
                disk.unlink(self._spool.schedule_path(note.name))
        return kept

    def up_to_date(self, known: Reading, note: Note | None) -> Note:
        """Return the note with a `next` by the expression; make or change it if necessary."""
        assert known.schedule is not None
        spool, table = self._spool, known.schedule.timetable
        next_at = table.after(self._clock.now())
        content = f"{table.text}\n".encode()
        sync = self._session.syncs_accepted
        known.is_compared = True
        if note is None:
            made = Note(known.entry.schedule, next_at=next_at)
            with contextlib.suppress(FileExistsError):
                spool.publish_file(spool.schedule_path(made.name), content, hint="tick", sync=sync, mode=disk.FILE_MODE)
            if sync:
                disk.sync_folder(spool.schedules_dir)
            return made
        if schedule_files.content_of(spool, note) != table.text:
            note = self.rename(note, note._replace(next_at=None))
            spool.replace_file(spool.schedule_path(note.name), content, hint="tick", sync=sync, mode=disk.FILE_MODE)
        elif note.next_at is not None and note.next_at <= (next_at or math.inf):
            return note
        return self.rename(note, note._replace(next_at=next_at))

    def rename(self, note: Note, new: Note) -> Note:
        """Rename a note; a program that has it open must not delay the pool. Raises FileNotFoundError, OSError."""
        if new.name != note.name:
            old_path, path = self._spool.schedule_path(note.name), self._spool.schedule_path(new.name)
            disk.replace(old_path, path, patience_s=sharing.GLANCE_S)
        return new

    def agrees(self, known: Reading, note: Note) -> bool:
        """Return whether `next` was made from the expression, and not by a clock that was ahead."""
        assert known.schedule is not None
        table = known.schedule.timetable
        if schedule_files.content_of(self._spool, note) != table.text:
            return False
        if note.next_at is None or note.next_at <= (now_at := self._clock.now()):
            return True
        return note.next_at <= (table.after(now_at) or math.inf)

    def remove(self, entry: schedule_files.Entry) -> None:
        """Delete what is left of a schedule whose file is gone. Raises OSError."""
        note = self.only_note(entry.notes)
        if note is not None:
            disk.unlink(self._spool.schedule_path(note.name))
        schedule_files.delete_reason(self._spool, entry.schedule)

    def tell(self, known: Reading) -> None:
        """Bring `NAME.reason.txt` up to date."""
        if known.is_told or known.arrives:
            return
        if not known.why:
            schedule_files.delete_reason(self._spool, known.entry.schedule)
        else:
            with contextlib.suppress(IsADirectoryError):
                schedule_files.write_reason(self._spool, known.entry, known.why, known.hint)
            text = f"schedules/{known.entry.file} makes no jobs: {known.why}"
            self._notify(Notice(WARNING, "schedule", text))
        known.is_told = True
