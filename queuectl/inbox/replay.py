"""Signed ids that were used: each is accepted once, until it has expired (promise P10).

One small file per id, `.queuectl/signed/KEY--ID`, is published complete and without replacing: the first to make it has
the id. It holds the token of the hand-over that took the job, so after a crash that hand-over goes on, while a second
file with the same payload is rejected. Ids that differ only in case are one.

The caller remembers an id after its hand-over is on disk under that token, and before the job is published: a crash in
between finds the token again.
"""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk, files

# An id is remembered so long after its expiry, because clocks can be set back.
MARGIN_S = 86400.0
_MAX_BYTES = 4096


class Use(NamedTuple):
    """The use of a signed id: its key, and when the payload expires."""

    key: str
    job_id: str
    expires_at: float


def remember(session: Session, use: Use, token: str) -> bool:
    """Take an id; return True if it is this token's (it is on disk then), False if another token has used it.

    Raises:
        OSError: as the system says; the id may or may not be taken, and the same token may ask again.
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
    """Forget the ids whose payloads expired more than a day ago; return how many."""
    gone = 0
    for name in files.names(spool.signed_dir):
        path = os.path.join(spool.signed_dir, name)
        try:
            expires_at = float(str(_read(path)["expires_at"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # keep what cannot be read: rather a job too few than one twice
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
