"""Find dropped files that are incomplete: how large they are, and for how long they have not changed.

Only looks, and decides nothing: workers judge such a file again (`claim`), and a pool watches it (`arrivals`). A file
with a generated id is published whole, so only other names are read (`may_arrive`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from queuectl.model import document, job, names
from queuectl.model.lifecycle import PENDING
from queuectl.monitor.rows import ArrivingRow
from queuectl.monitor.steps import Steps
from queuectl.spool.folder import SpoolDir
from queuectl.system import files, sharing

# The clock of a network file system may be a moment ahead of ours.
_AHEAD_S = 2.0

Ask = Callable[[str, files.FileSig], str]


def collect(
    spool: SpoolDir, waiting: Iterable[str], now_at: float, *, at_most_bytes: float, ask: Ask | None = None
) -> Steps[tuple[ArrivingRow, ...]]:
    """Return the incomplete files among some names of pending/, by name; each step reads one file.

    `ask` is `why_not_whole`, or remembers its answer for as long as the file does not change.
    """
    ask = ask or partial(why_not_whole, spool)
    found: list[ArrivingRow] = []
    budget = 0
    for name in waiting:
        sig = files.sig_of(spool.path(PENDING, name))
        if sig is not None and (budget := budget + min(sig.size, job.JOB_MAX_BYTES)) <= at_most_bytes:
            row = row_of(spool, name, ask(name, sig), now_at)
            if row is not None:
                found.append(row)
        yield
    return tuple(sorted(found))


def may_arrive(name: str) -> bool:
    """Return whether a file in pending/ may be incomplete: a file with a generated id appears whole."""
    return not names.is_held(name) and not names.is_generated(name.removesuffix(".json").partition(",")[0])


def why_not_whole(spool: SpoolDir, name: str, sig: files.FileSig) -> str:
    """Return why a file in pending/ with the signature `sig` cannot run now, or "" if it is whole or gone."""
    if names.is_batch(name):
        return "a file of lines is split when it has stopped changing"
    if sig.size > job.JOB_MAX_BYTES:
        return f"it is larger than {job.JOB_MAX_BYTES} bytes"
    try:
        content = spool.read_document(spool.path(PENDING, name), patience_s=sharing.GLANCE_S)
    except FileNotFoundError:
        return ""
    except files.NotRegularError:
        return "it is not a regular file"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    parsed = document.parse(content.data, lines=False)
    return parsed.why if isinstance(parsed, document.Incomplete) else ""


def row_of(spool: SpoolDir, name: str, why: str, now_at: float) -> ArrivingRow | None:
    """Return the row of a file, or None if the file is whole."""
    if not why:
        return None
    try:
        size, changed_at = files.last_change(spool.path(PENDING, name))
    except OSError:
        return None
    # A time ahead of the clock means nothing: a client may have set the year 2105, or somebody set the clock back.
    return ArrivingRow(name, size, min(changed_at, now_at) if changed_at < now_at + _AHEAD_S else None, why)
