"""Find the files in rejected/ and why each is there. Only looks."""

from __future__ import annotations

from collections.abc import Sequence

from queuectl.model.lifecycle import REJECTED
from queuectl.monitor.order import newest_first
from queuectl.monitor.rows import RefusalRow
from queuectl.spool import rejected
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import REASON_ENDING
from queuectl.spool.listing import may_be_job


def rejected_names(spool: SpoolDir) -> list[str]:
    """Return the names of the rejected files, without those of their reasons."""
    return [name for name in spool.names(spool.folder(REJECTED)) if may_be_job(name)]


def newest_refused(spool: SpoolDir, listed: Sequence[str], limit: int) -> list[str]:
    """Return the files that were rejected last, by the time of their reasons."""
    reasons = newest_first(spool, REJECTED, [name + REASON_ENDING for name in listed], limit)
    return [name.removesuffix(REASON_ENDING) for name in reasons]


def refusal(spool: SpoolDir, name: str) -> RefusalRow:
    """Return a rejected file with its reason."""
    try:
        return RefusalRow(name, *rejected.read(spool, name))
    except OSError:
        return RefusalRow(name, "there is no reason file", None)
