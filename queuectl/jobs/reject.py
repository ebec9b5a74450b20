"""Files that could not become jobs: kept unchanged in rejected/, each beside a text that says why (promise P6).

Also the way back: a rejected file whose writer goes on writing (its handle followed the file), or that a person
corrects in place, returns to pending/ by itself once it is a valid job.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from queuectl.errors import InvalidJobError
from queuectl.jobs import lines
from queuectl.model import document, job, names
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.spool import trust
from queuectl.spool.layout import REASON_ENDING, Located
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing

# Looking at more files than this in one pass would cost more than the way back is worth; the newest names win.
_LOOK_AT_MOST = 500


class _Reason(NamedTuple):
    """Why a file is kept in rejected/, what to do about it, and which version of a file it was."""

    why: str
    hint: str
    sig: files.FileSig | None


def reject(session: Session, source: Located, name: str, why: str, hint: str) -> str:
    """Move a file to rejected/ beside a text that says why; return the name it has there.

    The text is written first: a crash between leaves a text without its file, never a file without a reason. The
    caller holds the stripe of the file's id.

    Raises:
        FileNotFoundError: the file is gone.
        PermissionError: a program has it open (Windows), or it may not be moved.
    """
    sig = files.sig_of(source.path)
    if sig is None:
        raise FileNotFoundError(source.path)
    sharing.check_free(source.path)  # no text for a file that its writer holds: this is tried again and again

    def place(target: str) -> None:
        disk.move(source.path, target, patience_s=sharing.GLANCE_S)

    return _keep(session, name, _Reason(why, hint, sig), place)


def keep_copy(session: Session, name: str, data: bytes, why: str, hint: str) -> str:
    """Keep `data` in rejected/ beside a text that says why; return the name it has there."""

    def place(target: str) -> None:
        # A crash in the middle of a write must not leave half of a file there.
        session.spool.publish_file(target, data, hint="kept", sync=False)

    return _keep(session, name, _Reason(why, hint, None), place)


def _keep(session: Session, name: str, reason: _Reason, place: Callable[[str], None]) -> str:
    spool, _, clock, rng = session
    version = _version(reason.sig)
    wanted = names.beside(name, room=len(REASON_ENDING))
    while True:
        text = document.reason_text(wanted, reason.why, reason.hint, now_at=clock.now(), version=version)
        try:
            data = text.encode("utf-8", "replace")
            disk.create(spool.reason_path(wanted), data, sync=False, mode=spool.file_mode)
        except FileExistsError:
            wanted = names.beside(name, f"-{names.new_token(rng)}", room=len(REASON_ENDING))
            continue
        try:
            place(spool.path(REJECTED, wanted))
        except OSError as error:
            disk.unlink(spool.reason_path(wanted))
            if not isinstance(error, FileExistsError):
                raise
            wanted = names.beside(name, f"-{names.new_token(rng)}", room=len(REASON_ENDING))
            continue
        return wanted


class RejectedFiles:
    """Notices rejected files that have become valid jobs, and moves them back."""

    def __init__(self, session: Session) -> None:
        self._spool = session.spool
        self._settings = session.settings
        self._clock = session.clock
        self._seen: dict[str, files.FileSig] = {}

    def look(self) -> list[str]:
        """One pass over rejected/; returns the names that went back to pending/.

        A file is read when its signature is another than at the pass before, and only then.
        """
        listed = [
            name
            for name in files.names(self._spool.folder(REJECTED))
            if names.ends_as_job(name) and not name.endswith(REASON_ENDING) and not names.is_temporary(name)
        ]
        healed: list[str] = []
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
                    healed.append(name)
                elif name in self._seen:
                    current[name] = self._seen[name]  # its name is taken in pending/: tried again at the next pass
        self._seen = current
        return healed

    def _changed_since_rejected(self, name: str, sig: files.FileSig) -> bool:
        """At first sight: is it another version than the one that the text beside it was written for?"""
        try:
            text = files.read_tail(self._spool.reason_path(name), 200).decode("utf-8", "replace")
        except OSError:
            return False
        _, found, version = text.strip().rpartition(", version ")
        return bool(found) and version not in ("new", _version(sig))

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
            return False  # this one cannot be moved: no trouble of the others, nor of the pool
        with contextlib.suppress(PermissionError):
            disk.unlink(self._spool.reason_path(name))
        return True


def _holds_jobs(path: str, owners: frozenset[int] | None) -> bool:
    """True for a file of lines that is whole; each line of a small one is looked at. Raises OSError."""
    looked = lines.look(path, document.BATCH_MAX_BYTES)
    content = looked.content
    if content.oversize or looked.verdict is not None or (owners is not None and content.owner not in owners):
        return False
    if content.sig.size > job.JOB_MAX_BYTES:
        return True  # its bad lines are refused one by one
    parsed = document.parse(files.read(path, job.JOB_MAX_BYTES).data, lines=True)
    return isinstance(parsed, document.Many) and not any(
        isinstance(item, document.Refused) for item in parsed.documents
    )


def _version(sig: files.FileSig | None) -> str:
    """A signature as a text: the move to rejected/ changes neither inode nor size nor time."""
    return "new" if sig is None else f"{sig.inode}-{sig.size}-{sig.mtime_ns}"
