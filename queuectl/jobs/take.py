"""Move a file from pending/ to running/ and read it there; put it back if it is not a job (P3, P6).

The caller holds the stripe of the file's id, so no other process touches the file in running/. A crash after the move
leaves a file without `started` in running/, which `rescue` puts back.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from queuectl.jobs import reject
from queuectl.jobs.judge import Candidate, Drop, Judge, Whole, signature, too_large
from queuectl.jobs.verdict import Arriving, Busy, Foreign, Gone, Rejected, Unreadable
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import PENDING, RUNNING
from queuectl.spool.layout import Located, record_name
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing

CHANGED = "it changed while it was being read"


class Taken(msgspec.Struct, frozen=True):
    """A file in running/ that only this worker touches: its origin, its place, and its content."""

    candidate: Candidate
    here: Located
    data: bytes
    sig: files.FileSig | None
    has_one_name: bool
    """No other name (hard link) leads to the file."""
    fd: int = -1
    """The file, open; -1 if it is closed."""

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)


class Take:
    """Takes files of one spool out of pending/."""

    def __init__(self, session: Session, judge: Judge) -> None:
        self._session = session
        self._spool = session.spool
        self._judge = judge

    def move(self, candidate: Candidate) -> Located | Gone | Busy:
        """Move a file to running/, under the name of its id.

        Raises:
            PermissionError: a program has the file open (Windows), or the file may not be moved.
            OSError: a problem of the machine.
        """
        name = record_name(candidate.job_id)
        here = Located(RUNNING, name, self._spool.path(RUNNING, name))
        try:
            disk.move(self._spool.path(PENDING, candidate.name), here.path, patience_s=sharing.GLANCE_S)
        except FileNotFoundError:
            return Gone()  # another worker won
        except FileExistsError:
            return Busy()  # this id already runs
        return here

    def open(
        self, candidate: Candidate, here: Located, judged: Whole | Drop | None
    ) -> Taken | Arriving | Foreign | Gone | Rejected | Unreadable:
        """Read a file that was moved to running/; put it back, or reject it, if its content cannot be claimed.

        `judged` is the judgement on the file in pending/, if there is one. The caller closes the result.
        """
        try:
            fd, content = self._spool.open_document(here.path)
        except files.NotRegularError:
            sig = signature(here.path)
            put_back(self._session, here, candidate.name)
            return Foreign(sig, "it is not a regular file")
        except FileNotFoundError:
            return Gone()
        except OSError as error:
            unreadable = self._judge.unreadable(here.path, error)
            put_back(self._session, here, candidate.name)
            return unreadable
        try:
            owners = self._judge.owners
            is_foreign = owners is not None and content.owner not in owners
            if is_foreign or judged is not None or content.oversize:
                declined = self._decline(candidate, here, judged, content)
                if declined is not None:
                    return declined
            taken = Taken(candidate, here, content.data, content.sig, content.links == 1, fd)
            fd = -1
            return taken
        finally:
            if fd >= 0:
                os.close(fd)

    def _decline(
        self, candidate: Candidate, here: Located, judged: Whole | Drop | None, content: files.Content
    ) -> Arriving | Gone | Rejected | None:
        refused = self._judge.refuse_owner(content)
        if refused is not None:
            return reject.refuse(self._session, here, candidate.name, refused)
        if content.oversize:
            put_back(self._session, here, candidate.name)
            return too_large(content.sig, JOB_MAX_BYTES)
        if judged is not None and content.data != judged.data:
            put_back(self._session, here, candidate.name)
            return Arriving(content.sig, CHANGED)
        return None


def put_back(session: Session, here: Located, name: str) -> None:
    """Move a file from running/ to pending/`name`, or to a similar name if it is taken; do nothing if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        session.spool.move(here, PENDING, name)
