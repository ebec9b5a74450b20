"""Compute the full name of a drop, which has its priority, owner and due time. Only reads files.

The name that a producer gives has none of these. A pool judges drops before their turn and renames each to its full
name (`jobs.triage`). A command that shows the order before that reads a bounded number of drops and sorts them by the
same names.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable

import msgspec

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.model import document, extras, history, job, names, order, parents, record, settings, spec
from queuectl.model.lifecycle import DLQ, DONE, PENDING
from queuectl.spool.folder import SpoolDir
from queuectl.system import files, sharing

# How many drops are read to show an order: those whose names come first.
LOOK_AT_MOST = 1000


def full_name(
    parts: names.NameParts, taken: document.Accepted | None, data: bytes, *, changed_at: float, now_at: float
) -> str:
    """Return the full name of a job in pending/; "" if no name can hold all: it would be too long, or ambiguous.

    `parts` are the parts of its name. `taken` is the judged document, or None for a record, which is in `data`.
    `changed_at` is when the file last changed.
    """
    arrived_at, due_at = changed_at, None
    blocked = None
    if taken is not None and not taken.history:
        if after := taken.spec.get("after"):
            blocked = parents.progress(msgspec.convert(after, spec.Recorded), [])
        due_at = taken.due_at
        priority, owner = int(taken.spec.get("priority", 0)), str(taken.spec.get("owner", ""))
        place = extras.place_of(
            str(taken.spec.get("queue", "")), str(taken.spec.get("key", "")), taken.spec.get("resources", {})
        )
    else:
        item = record.decode(data if taken is None else record.frame({"id": "x", **taken.spec}, taken.history))
        standing = item.standing()
        priority, owner, place = item.priority, item.owner, item.place
        blocked = item.blocked
        arrived_at = history.arrived_at(item.history, changed_at)
        if standing.due_at is not None and standing.ended_to not in (DONE, DLQ):
            arrived_at = standing.due_at
            if not history.is_due(standing.due_at, standing.delay_s, now_at):
                due_at = standing.due_at
    wanted = names.waiting_name(parts.stem, due_at, priority, owner, names.stamp(min(arrived_at, now_at)), place)
    if blocked is not None:
        wanted = names.blocked_name(parts.stem, blocked.pointer)
    found = names.parse(wanted)
    is_read = found is not None and found.stem == parts.stem and not names.is_temporary(wanted)
    return wanted if is_read and len(os.fsencode(wanted)) <= names.NAME_MAX_BYTES else ""


def is_unjudged(name: str) -> bool:
    """Whether a name in pending/ does not say when its job runs, because no pool has judged the drop."""
    if names.is_generated(name.removesuffix(".json")) or names.is_held(name):
        return False
    parts = names.parse(name)
    return parts is not None and not parts.after and not order.key_of(name, parts)


def read(spool: SpoolDir, name: str, now_at: float) -> str:
    """Return the full name of a waiting drop; the name itself if the file is gone, or is not a job (yet)."""
    parts = names.parse(name)
    path = spool.path(PENDING, name)
    if parts is None:
        return name
    try:
        content = spool.read_document(path, patience_s=sharing.GLANCE_S)
        changed_at = files.last_change(path)[1]
    except OSError:
        return name
    if content.oversize:
        return name
    try:
        if record.exact(content.data) is not None:
            return full_name(parts, None, content.data, changed_at=changed_at, now_at=now_at) or name
        parsed = document.parse(content.data, lines=False)
        if len(content.data) > job.JOB_MAX_BYTES or not isinstance(parsed, document.Single):
            return name
        # The defaults of the settings do not affect when it runs.
        taken = document.accept(parsed.document, defaults=settings.defaults().retry_defaults, now_at=now_at)
        return full_name(parts, taken, content.data, changed_at=changed_at, now_at=now_at) or name
    except (InvalidJobError, DamagedRecordError, ValueError, RecursionError):
        return name


def read_all(spool: SpoolDir, waiting: Iterable[str], now_at: float) -> dict[str, str]:
    """Return the full names of at most LOOK_AT_MOST drops among names in pending/, by their names."""
    _, others = names.split_generated(list(waiting))
    found = heapq.nsmallest(LOOK_AT_MOST, filter(is_unjudged, others))
    return {name: read(spool, name, now_at) for name in found}
