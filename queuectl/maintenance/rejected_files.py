"""Move a file in rejected/ that has become a valid job back to pending/ (promise P6).

Its writer may have continued writing (the handle follows the file), or a person corrected it in place.
"""

from __future__ import annotations

import contextlib

from queuectl.errors import InvalidJobError
from queuectl.jobs import lines
from queuectl.model import document, job, names
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.spool import rejected, trust
from queuectl.spool.layout import REASON_ENDING
from queuectl.spool.session import Session
from queuectl.system import disk, files

# Checking more files than this in one pass would cost too much; the newest names come first.
_LOOK_AT_MOST = 500


class RejectedFiles:
    """Moves rejected files that have become valid jobs back to pending/."""

    def __init__(self, session: Session) -> None:
        self._spool = session.spool
        self._settings = session.settings
        self._clock = session.clock
        self._seen: dict[str, files.FileSig] = {}

    def readmit(self) -> list[str]:
        """Go through rejected/ once and return the names of the files that moved back to pending/.

        A file is read only if its signature has changed since the last pass.
        """
        listed = [
            name
            for name in files.names(self._spool.folder(REJECTED))
            if names.ends_as_job(name) and not name.endswith(REASON_ENDING) and not names.is_temporary(name)
        ]
        readmitted: list[str] = []
        current: dict[str, files.FileSig] = {}
        for name in sorted(listed, reverse=True)[:_LOOK_AT_MOST]:
            sig = files.sig_of(self._spool.path(REJECTED, name))
            if sig is None:
                continue
            current[name] = sig
            changed = self._seen[name] != sig if name in self._seen else self._changed_since_rejected(name, sig)
            if changed and self._is_job(name):
                del current[name]
                if self._return(name):
                    readmitted.append(name)
                elif name in self._seen:
                    current[name] = self._seen[name]  # its name is taken in pending/: try again at the next pass
        self._seen = current
        return readmitted

    def _changed_since_rejected(self, name: str, sig: files.FileSig) -> bool:
        """Whether a file that is new to this object has changed since its reason was written."""
        try:
            version = rejected.read_version(self._spool, name)
        except OSError:
            return False
        return version not in ("", rejected.NEW, rejected.version_of(sig))

    def _is_job(self, name: str) -> bool:
        path = self._spool.path(REJECTED, name)
        owners = trust.owners(self._spool, self._settings)
        try:
            if names.is_batch(name):
                return _holds_jobs(path, owners)
            content = files.read(path, job.JOB_MAX_BYTES)
        except OSError:
            return False
        if content.oversize or (owners is not None and content.owner not in owners):
            return False
        parsed = document.parse(content.data, lines=False)
        if isinstance(parsed, document.Many):
            return not any(isinstance(item, document.Refused) for item in parsed.documents)
        if not isinstance(parsed, document.Single):
            return False
        try:
            taken = document.accept(parsed.document, defaults=self._settings.retry_defaults, now_at=self._clock.now())
        except InvalidJobError:
            return False
        wanted = taken.spec.get("id")
        return wanted is None or self._spool.find(wanted) is None

    def _return(self, name: str) -> bool:
        try:
            disk.move(self._spool.path(REJECTED, name), self._spool.path(PENDING, name))
        except (FileExistsError, FileNotFoundError):
            return False
        except PermissionError:
            return False  # a problem of this file only, not of the others or the pool
        with contextlib.suppress(PermissionError):
            disk.unlink(self._spool.reason_path(name))
        return True


def _holds_jobs(path: str, owners: frozenset[int] | None) -> bool:
    """Whether a file of lines is whole; each line of a small file is judged. Raises OSError."""
    looked = lines.examine(path, document.BATCH_MAX_BYTES)
    content = looked.content
    if content.oversize or looked.incomplete is not None or (owners is not None and content.owner not in owners):
        return False
    if content.sig.size > job.JOB_MAX_BYTES:
        return True  # the split refuses its bad lines one by one
    parsed = document.parse(files.read(path, job.JOB_MAX_BYTES).data, lines=True)
    return isinstance(parsed, document.Many) and not any(
        isinstance(item, document.Refused) for item in parsed.documents
    )
