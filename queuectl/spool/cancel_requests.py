"""Requests to cancel a running job: one small file per request in .queuectl/cancels/, named after the run.

The supervisor asks the job's worker to end the command; if the worker is dead, rescue ends the job. The
number of the attempt is in the name, so a forgotten request can never end a later run.
"""

from __future__ import annotations

import contextlib
import json

import msgspec

from queuectl.model.lifecycle import cancel_note
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk, files

_MAX_BYTES = 4096
_REASON_CHARS = 500


class Request(msgspec.Struct, frozen=True):
    """The run to end, who asked for it, and why ("" if unknown)."""

    job_id: str
    attempt: int
    by: str
    reason: str

    @property
    def text(self) -> str:
        """The reason as written in the record."""
        return cancel_note(self.by, self.reason)


def put(spool: SpoolDir, request: Request) -> None:
    """Write a request. A second request for the same run changes nothing. Raises OSError."""
    body = {"by": request.by, "reason": request.reason[:_REASON_CHARS]}
    with contextlib.suppress(FileExistsError):
        path = spool.cancel_path(request.job_id, request.attempt)
        disk.create(path, json.dumps(body).encode(), sync=False, mode=disk.FILE_MODE)


def find(spool: SpoolDir, job_id: str, attempt: int) -> Request | None:
    """Return the request for this run, or None.

    Raises:
        OSError: the disk failed, so it is unknown whether there is a request.
    """
    try:
        body = json.loads(files.read(spool.cancel_path(job_id, attempt), _MAX_BYTES).data)
        return Request(job_id, attempt, str(body["by"]), str(body["reason"]))
    except (FileNotFoundError, files.NotRegularError, ValueError, KeyError, TypeError, RecursionError):
        return None


def waiting(spool: SpoolDir) -> list[tuple[str, int]]:
    """Return the runs to end, as id and attempt: one listing."""
    found = []
    for name in files.names(spool.cancel_dir):
        job_id, _, attempt = name.rpartition(".")
        if job_id and attempt.isdecimal():
            found.append((job_id, int(attempt)))
    return found


def remove(spool: SpoolDir, job_id: str, attempt: int) -> None:
    """Delete a request, if there is one."""
    with contextlib.suppress(OSError):
        disk.unlink(spool.cancel_path(job_id, attempt))
