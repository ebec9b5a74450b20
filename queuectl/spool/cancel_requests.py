"""Requests to cancel a running job: a small file each in .queuectl/cancels/, named after the run that is meant.

Whoever has the run sees to it: the supervisor of its worker, which has the worker end the command, or, where the worker
is gone, rescue. The number of the attempt is in the name, so that what is left of a request can never end a later run.
"""

from __future__ import annotations

import contextlib
import json
from typing import NamedTuple

from queuectl.model.lifecycle import cancel_note
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files

_MAX_BYTES = 4096
_REASON_CHARS = 500


class Request(NamedTuple):
    """A run that is to end, who asked, and why ("" where nobody said)."""

    job_id: str
    attempt: int
    by: str
    reason: str

    @property
    def text(self) -> str:
        """The reason as it stands in the record."""
        return cancel_note(self.by, self.reason)


def put(spool: SpoolDir, request: Request) -> None:
    """Ask; asking again changes nothing. Raises OSError."""
    body = {"by": request.by, "reason": request.reason[:_REASON_CHARS]}
    with contextlib.suppress(FileExistsError):
        path = spool.cancel_path(request.job_id, request.attempt)
        disk.create(path, json.dumps(body).encode(), sync=False, mode=disk.FILE_MODE)


def find(spool: SpoolDir, job_id: str, attempt: int) -> Request | None:
    """The request for this run, or None.

    Raises:
        OSError: the machine's trouble: whether there is one cannot be known now.
    """
    try:
        body = json.loads(files.read(spool.cancel_path(job_id, attempt), _MAX_BYTES).data)
        return Request(job_id, attempt, str(body["by"]), str(body["reason"]))
    except (FileNotFoundError, files.NotRegularError, ValueError, KeyError, TypeError, RecursionError):
        return None


def waiting(spool: SpoolDir) -> list[tuple[str, int]]:
    """The runs that are to end: id and attempt. One listing."""
    found = []
    for name in files.names(spool.cancel_dir):
        job_id, _, attempt = name.rpartition(".")
        if job_id and attempt.isdecimal():
            found.append((job_id, int(attempt)))
    return found


def remove(spool: SpoolDir, job_id: str, attempt: int) -> None:
    """Take a request away; nothing where there is none."""
    with contextlib.suppress(OSError):
        disk.unlink(spool.cancel_path(job_id, attempt))
