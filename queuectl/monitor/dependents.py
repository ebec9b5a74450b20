"""Say which waiting jobs wait for others, and what those others wait for, by the names of files. Only looks."""

from __future__ import annotations

from collections.abc import Iterable

from queuectl.model import blocked_names, names
from queuectl.spool.folder import SpoolDir


def waiting_for(spool: SpoolDir, job_ids: Iterable[str]) -> list[str]:
    """Return the names of the blocked jobs that wait for one of these jobs now: one listing of pending/."""
    wanted = set(job_ids)
    return [name for name, parent in blocked(spool.waiting_names()).items() if parent in wanted] if wanted else []


def blocked(waiting: Iterable[str]) -> dict[str, str]:
    """Return the parent of each blocked job in a listing, by the name of its file. Held jobs are left out."""
    by_parent, others = blocked_names.split(waiting)
    found = {name: parent for parent, some in by_parent.items() for name in some}
    for name in others:
        if names.AFTER in name and not names.is_held(name) and (parts := names.parse(name)) is not None and parts.after:
            found[name] = parts.after
    return found
