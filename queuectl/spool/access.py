"""The errors shown if the spool cannot be read or written: what an OSError means, and what to do."""

from __future__ import annotations

import errno
import os

from queuectl.errors import DamagedRecordError, QueuectlError, SpoolUnavailableError
from queuectl.spool.layout import Layout
from queuectl.system import files


def not_regular(path: str) -> DamagedRecordError:
    """Return the error for a link, a folder, a FIFO, a socket or a device in the place of a job."""
    return DamagedRecordError(f"{path} is not a job: it is not a regular file", path=path, hint="queuectl ignores it")


def paused_by_folder(path: str, what: str) -> SpoolUnavailableError:
    """Return the error for a folder in the place of the file PAUSED, or PAUSED-QUEUE, at `path`.

    `what` says what that means, with `{name}` for the file and `{what}` for what is paused.
    """
    name = os.path.basename(path)
    _, _, queue = name.partition("-")
    what = what.format(name=name, what=f"queue {queue}" if queue else "the spool")
    cause = f"{path} is a folder: queuectl cannot write a reason into it, and never deletes a folder of yours"
    return SpoolUnavailableError(what, path=path, cause=cause, hint=f"move that folder away: {path}")


def unavailable(spool: Layout, error: OSError) -> QueuectlError:
    """Return the error to show for an OSError of the spool."""
    if isinstance(error, files.NotRegularError):
        return not_regular(str(error.filename))
    hints = {
        "ENOSPC": "free some space on the disk, then try again",
        "EDQUOT": "your quota on this disk is used up",
        "EROFS": "the disk is mounted read-only",
        "EACCES": f"you may not write there: check the permissions of {spool.root}",
        "EPERM": f"you may not write there: check the permissions of {spool.root}",
    }
    return SpoolUnavailableError(
        f"the spool {spool.root} cannot be used now: {error.strerror or error}",
        path=spool.root,
        cause=f"{error.filename or spool.root}: {error.strerror or error}",
        # Windows has some of the names with a prefix: WSAEDQUOT.
        hint=hints.get(errno.errorcode.get(error.errno or 0, "").removeprefix("WSA"), ""),
    )
