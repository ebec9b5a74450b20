"""Files that could not become jobs: kept unchanged in rejected/, each beside a text that says why (promise P6).

`maintenance.rejected_files` is the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from queuectl.jobs.verdict import Arriving, Gone, Rejected
from queuectl.model import document, names
from queuectl.model.lifecycle import REJECTED
from queuectl.spool.layout import REASON_ENDING, Located
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing


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


def refuse(session: Session, source: Located, name: str, refused: document.Refused) -> Gone | Arriving | Rejected:
    """Reject a file that is no job; return `Arriving` if a program has it open just now.

    Raises:
        OSError: trouble of the machine, or of this file.
    """
    try:
        return Rejected(reject(session, source, name, refused.why, refused.hint), refused.why)
    except FileNotFoundError:
        return Gone()
    except PermissionError as error:
        if not sharing.is_held(error):
            raise
        return Arriving(files.sig_of(source.path), refused.why, refused.hint)


def keep_copy(session: Session, name: str, data: bytes, why: str, hint: str) -> str:
    """Keep `data` in rejected/ beside a text that says why; return the name it has there."""

    def place(target: str) -> None:
        # A crash in the middle of a write must not leave half of a file there.
        session.spool.publish_file(target, data, hint="kept", sync=False)

    return _keep(session, name, _Reason(why, hint, None), place)


def _keep(session: Session, name: str, reason: _Reason, place: Callable[[str], None]) -> str:
    spool, _, clock, rng = session
    version = version_of(reason.sig)
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


def version_of(sig: files.FileSig | None) -> str:
    """A signature as a text: the move to rejected/ changes neither inode nor size nor time."""
    return "new" if sig is None else f"{sig.inode}-{sig.size}-{sig.mtime_ns}"
