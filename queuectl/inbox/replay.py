"""Signed ids that were used: each is accepted only once, until it has expired (promise P10).

One small file per id, `.queuectl/signed/KEY--ID`, is published complete and without replacing: the first hand-over to
create it has the id. The file holds that hand-over's token, so after a crash the same hand-over continues, while a
second file with the same payload is rejected. Ids that differ only in case are the same id.

The caller remembers an id after its hand-over is on disk under that token, and before the job is published, so that
after a crash in between the recovery finds the token again.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk, files

# An id is remembered this long after its expiry, because clocks can be set back.
MARGIN_S = 86400.0
_MAX_BYTES = 4096


class Use(NamedTuple):
    """The use of a signed id: its key, and when the payload expires."""

    key: str
    job_id: str
    expires_at: float


def remember(session: Session, use: Use, token: str) -> bool:
    """Take an id; return True if it belongs to this token (and is on disk), False if another token has used it.

    Raises:
        OSError: the system call failed; the id may or may not be taken, and the same token may try again.
    """
    path = session.spool.signed_path(use.key, use.job_id)
    data = json.dumps({"token": token, "expires_at": use.expires_at}).encode()
    try:
        session.spool.publish_file(path, data, hint="signed", sync=session.syncs_accepted)
    except FileExistsError:
        return _token(path) == token
    if session.syncs_accepted:
        disk.sync_folder(os.path.dirname(path))
    return True


def sweep(spool: SpoolDir, now_at: float) -> int:
    """Delete the ids whose payloads expired more than a day ago; return how many."""
    gone = 0
    for name in files.names(spool.signed_dir):
        path = os.path.join(spool.signed_dir, name)
        try:
            expires_at = float(str(_read(path)["expires_at"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # keep a file that cannot be read: better to refuse a job than to run it twice
        if expires_at + MARGIN_S < now_at and disk.unlink(path):
            gone += 1
    return gone


def _token(path: str) -> str:
    try:
        return str(_read(path)["token"])
    except (ValueError, KeyError, TypeError):
        return ""


def _read(path: str) -> dict[str, object]:
    made: dict[str, object] = json.loads(files.read(path, _MAX_BYTES).data)
    return made
