"""Keep files that could not become jobs in rejected/, unchanged, each beside a text that gives the reason (promise P6).

`maintenance.rejected_files` moves them back.
"""

from __future__ import annotations

from queuectl.jobs.verdict import Arriving, Gone, Rejected
from queuectl.model import document
from queuectl.spool import rejected
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.system import disk, files, sharing


def reject(session: Session, source: Located, name: str, why: str, hint: str) -> str:
    """Move a file to rejected/ beside a text that gives the reason; return its name there.

    The text is written first, so that a crash in between leaves a text without its file, never a file without a
    reason. The caller holds the stripe of the file's id.

    Raises:
        FileNotFoundError: the file is gone.
        PermissionError: a program has the file open (Windows), or the file may not be moved.
    """
    sig = files.sig_of(source.path)
    if sig is None:
        raise FileNotFoundError(source.path)
    sharing.check_free(source.path)  # write no text for a file that its writer holds: this is retried many times

    def place(target: str) -> None:
        disk.move(source.path, target, patience_s=sharing.GLANCE_S)

    return rejected.keep(session, name, rejected.Reason(why, hint, rejected.version_of(sig)), place)


def refuse(session: Session, source: Located, name: str, refused: document.Refused) -> Gone | Arriving | Rejected:
    """Reject a file that is not a job; return `Arriving` if a program has it open at the moment.

    Raises:
        OSError: a problem of the machine, or of this file.
    """
    try:
        return Rejected(reject(session, source, name, refused.why, refused.hint), refused.why)
    except FileNotFoundError:
        return Gone()
    except PermissionError as error:
        if not sharing.is_held(error):
            raise
        return Arriving(files.sig_of(source.path), refused.why, refused.hint)
