"""Hand files over from an inbox to jobs: a kill at any point leaves each file in one place, with one job or none.

FORMAT.md, "Inboxes of files", has the steps and what a crash after each of them leaves. In short: the file moves into
the folder of its job, the record goes to handover/OWNER/ID.json, the end is noted as owed, the record moves into
pending/. Only the process that holds the inbox's lock does this, and each step may be repeated.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import NamedTuple

from queuectl.errors import DamagedRecordError
from queuectl.inbox.file_box import ClaimedError, FileBox, Seen
from queuectl.inbox.handover import RECORD, publish
from queuectl.inbox.owed import Owed
from queuectl.inbox.place import UnsafeFolderError
from queuectl.jobs.enqueue import Prepared
from queuectl.model import record
from queuectl.model.lifecycle import ENQUEUED
from queuectl.model.subfolders import is_inside
from queuectl.spool.folder import RECORD_MAX_BYTES
from queuectl.spool.session import Session
from queuectl.system import disk, files

_OF_ONE_FILE = frozenset(
    (errno.EACCES, errno.EPERM, errno.EXDEV, errno.ETXTBSY, errno.EBUSY, errno.ENAMETOOLONG, errno.EINVAL)
)


class Note(NamedTuple):
    """What is noted of a file while its job exists: its path, its version, whether nobody could write to it then."""

    name: str
    size: int = -1
    mtime_ns: int = -1
    is_closed: bool = True


def note_of(data: bytes) -> Note:
    """Return a note as it was written; a note with the name "" if it is damaged."""
    try:
        name, size, mtime_ns, is_closed = json.loads(data)
        return Note(str(name) if is_inside(str(name)) else "", int(size), int(mtime_ns), bool(is_closed))
    except (ValueError, TypeError):
        return Note("")


class FileHandover:
    """Hands files over from one inbox."""

    def __init__(self, session: Session, owner: str, owed: Owed) -> None:
        self._session = session
        self._spool = session.spool
        self._folder = os.path.join(session.spool.handover_dir, owner)
        self._sync = session.syncs_accepted
        self._owed = owed
        self.given_back: set[str] = set()
        """Names in the inbox that a claimed file got back. Our own rename of it proves nothing."""
        self.under_way: set[str] = set()
        """The jobs whose claimed files this process is reading."""

    def hand_over(self, box: FileBox, name: str, seen: Seen, prepared: Prepared, marker: str) -> str:
        """Take the file `name` (a path in the inbox), which was `seen`, for a job; return the job's name in pending/.

        Return "" if the file, its marker or its subfolder is gone.

        Raises:
            ClaimedError: the file has changed; it is back in the inbox.
            OSError: a problem of the machine, or of this file; `recover` continues after step 4.
        """
        found = self.claim(box, name, prepared.job_id, seen, marker)
        return "" if found is None else self.place(box, name, found, prepared)

    def claim(self, box: FileBox, name: str, job_id: str, seen: Seen, marker: str) -> Seen | None:
        """Do steps 2 to 4; return the version of the file in working/, None if the file, or its marker, is gone.

        Raises:
            ClaimedError, OSError: as `hand_over`.
        """
        try:
            return box.claim(name, job_id, seen, marker)
        except FileExistsError:  # the folder of another job: the next look takes another id
            return None
        except (FileNotFoundError, UnsafeFolderError):
            self.give_back(box, job_id)
            return None
        except (ClaimedError, OSError):
            with contextlib.suppress(FileNotFoundError):
                self.give_back(box, job_id)
            raise

    def place(self, box: FileBox, name: str, found: Seen, prepared: Prepared) -> str:
        """Do steps 5 to 7 for a claimed file; return the job's name in pending/, or in done/ if it is skipped.

        Raises:
            OSError: a problem of the machine; `recover` continues.
        """
        job_id = prepared.job_id
        self.under_way.discard(job_id)
        if self._sync:
            box.sync_claim(job_id, name)
        disk.make_folder(self._folder)
        with self._spool.temporary("handover", prepared.data, sync=self._sync) as temporary:
            disk.move(temporary, self._path(job_id))
        if self._sync:
            disk.sync_folder(self._folder)
        note = Note(name, found.sig.size, found.sig.mtime_ns, found.has_writer is False)
        return self._finish(job_id, record.decode(prepared.data), note)

    def recover(self, box: FileBox) -> tuple[list[str], list[str]]:
        """Complete interrupted hand-overs; return the names of the published jobs, and the files that were given back.

        Call this only after a listing of working/ that succeeded: while it is unreachable, everything waits.
        """
        claimed = set(box.claimed_ids())
        try:
            listed = {name.removesuffix(RECORD) for name in files.names(self._folder) if name.endswith(RECORD)}
        except FileNotFoundError:
            listed = set()
        if listed and self._sync:
            disk.sync_folder(self._folder)  # the interrupted hand-over may not have done this
        published = [name for job_id in sorted(listed) if (name := self._complete(box, job_id))]
        back: list[str] = []
        for job_id in sorted(claimed - set(self._owed.ids()) - self.under_way):
            if self._spool.find(job_id) is None:
                back += self.give_back(box, job_id)
            else:  # a power cut took the note
                self._owed.expect(job_id, _written(Note("")))
        return published, back

    def give_back(self, box: FileBox, job_id: str) -> list[str]:
        """Move a claimed file and its marker back to the inbox; return the names. Raises OSError."""
        self.under_way.discard(job_id)
        names = box.give_back(job_id)
        self.given_back.update(names)
        return names

    def _complete(self, box: FileBox, job_id: str) -> str:
        """Complete the hand-over of a record; return the job's name in pending/, "" if its file is not in working/."""
        path = self._path(job_id)
        try:
            item = record.decode(files.read(path, RECORD_MAX_BYTES).data, path=path)
        except DamagedRecordError:  # a power cut destroyed it (`durability = "off"`): the file goes back
            disk.unlink(path)
            return ""
        name = next((event.file for event in item.history if event.event == ENQUEUED), "")
        sig = box.sig_in(job_id, name) if is_inside(name) else None
        if sig is None:  # a power cut took its move back, or its owner took it away: it is in the inbox, or gone
            disk.unlink(path)
            return ""
        if self._sync:
            box.sync_claim(job_id, name)
        return self._finish(job_id, item, Note(name, sig.size, sig.mtime_ns, False))

    def _finish(self, job_id: str, item: record.Record, note: Note) -> str:
        """Do steps 6 and 7."""
        self._owed.expect(job_id, _written(note))
        path = self._path(job_id)
        if not item.extras.unique:
            return publish(self._session, path, item)
        from queuectl.jobs import unique_drops  # few inboxes of files are unique

        data = files.read(path, RECORD_MAX_BYTES).data
        return unique_drops.publish(self._session, path, data, lambda judged: publish(self._session, path, judged))

    def _path(self, job_id: str) -> str:
        return os.path.join(self._folder, job_id + RECORD)


def _written(note: Note) -> bytes:
    return json.dumps(note).encode()


def is_of_one_file(error: OSError) -> bool:
    """Return whether an error is this file's: it may not be moved or read, or no file here may have such a name."""
    return error.errno in _OF_ONE_FILE
