"""Signed ids that were used: each is taken once, until it has expired (promise P10).

One small file an id, `.queuectl/signed/KEY--ID`, made whole and published without replacing: whoever makes it first has
the id. It holds the token of the hand-over that took the job, so that after a crash the same hand-over goes on, and a
second file with the same payload does not. Ids that differ only in case are one.

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

# How long an id is remembered past its expiry: clocks are set.
MARGIN_S = 86400.0
_MAX_BYTES = 4096


class Use(NamedTuple):
    """A signed id: of which key, and until when the payload counts."""

    key: str
    job_id: str
    expires_at: float


def remember(session: Session, use: Use, token: str) -> bool:
    """Take an id; return True if it is this token's (it is on disk then), False if another token has used it.

    Raises:
        OSError: as the system says; the id is not taken for sure, and the same token may ask again.
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
    """Forget the ids whose payloads have expired for a day; how many."""
    gone = 0
    for name in files.names(spool.signed_dir):
        path = os.path.join(spool.signed_dir, name)
        try:
            expires_at = float(str(_read(path)["expires_at"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # what cannot be read stays: a job too few rather than one twice
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
