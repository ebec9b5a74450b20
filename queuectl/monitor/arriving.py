"""Dropped files that are not whole yet, for whoever looks at the queue: how large they are and since when quiet.

Only looks, and decides nothing: workers judge such a file anew (`claim`), and a pool watches it (`arrivals`). Bounded:
a generated id is published whole, so only other names are asked, a few hundred of them and some megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from queuectl.model import document, job, names
from queuectl.model.lifecycle import PENDING
from queuectl.monitor.rows import ArrivingRow
from queuectl.spool.folder import SpoolDir
from queuectl.system import files, sharing

# Files asked, and bytes read to find out, at most.
LOOK_AT_MOST = 200
_READ_AT_MOST = 16 * 1024 * 1024
# A file system that is asked through the network may be a moment ahead of our clock.
_AHEAD_S = 2.0


def look(spool: SpoolDir, waiting: Iterable[str], now_at: float) -> list[ArrivingRow]:
    """The files that are not whole yet among some names of pending/, by name."""
    found: list[ArrivingRow] = []
    asked = budget = 0
    for name in waiting:
        if not may_arrive(name):
            continue
        asked += 1
        sig = files.sig_of(spool.path(PENDING, name))
        if asked > LOOK_AT_MOST:
            break
        if sig is None or (budget := budget + min(sig.size, job.JOB_MAX_BYTES)) > _READ_AT_MOST:
            continue
        row = row_of(spool, name, why_not_whole(spool, name, sig), now_at)
        if row is not None:
            found.append(row)
    return sorted(found)


def may_arrive(name: str) -> bool:
    """True for a name in pending/ that somebody else gave: a file with a generated id appears whole."""
    return not names.is_held(name) and not names.is_generated(name.removesuffix(".json").partition(",")[0])


def why_not_whole(spool: SpoolDir, name: str, sig: files.FileSig) -> str:
    """Why a file of pending/ with the signature `sig` cannot run now, or "" for one that is whole, or gone."""
    if names.is_batch(name):
        return "a file of lines is split once it is quiet"
    if sig.size > job.JOB_MAX_BYTES:
        return f"it is larger than {job.JOB_MAX_BYTES} bytes"
    try:
        content = spool.read_document(spool.path(PENDING, name), patience_s=sharing.GLANCE_S)
    except FileNotFoundError:
        return ""
    except files.NotRegularError:
        return "it is no regular file"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    parsed = document.parse(content.data, lines=False)
    return parsed.why if isinstance(parsed, document.Incomplete) else ""


def row_of(spool: SpoolDir, name: str, why: str, now_at: float) -> ArrivingRow | None:
    """The row of a file, or None where nothing is missing of it."""
    if not why:
        return None
    try:
        size, changed_at = files.last_change(spool.path(PENDING, name))
    except OSError:
        return None
    # A time ahead of the clock tells nothing: a client may have set the year 2105, or somebody the clock.
    return ArrivingRow(name, size, min(changed_at, now_at) if changed_at < now_at + _AHEAD_S else None, why)
