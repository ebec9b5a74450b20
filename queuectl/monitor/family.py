"""Explain what a job with parents waits for, or died of: the chain to the job that decides, and what changes that.

Only looks, by the names of files; it reads the record of the job that is asked about and of the one that decides.
"""

from __future__ import annotations

from collections.abc import Callable

from queuectl.errors import DamagedRecordError
from queuectl.model import names, parents, times
from queuectl.model.lifecycle import DLQ, DONE, RUNNING, UNMET
from queuectl.model.record import Record
from queuectl.model.text import safe
from queuectl.monitor import dependents, live
from queuectl.monitor.reason import Reason
from queuectl.spool import full_names
from queuectl.spool.layout import Located, record_name
from queuectl.spool.session import Session

# A longer chain is cut in the middle.
_NAMED = 4
# Reasons that hold up every job.
_OF_ALL = frozenset({"untrusted", "paused", "no_workers"})
# Dead parents that are followed, at most.
_DEEP = 100

Explain = Callable[[Session, Located, float], list[Reason]]


def blocked(session: Session, found: Located, parts: names.NameParts, now_at: float, explain: Explain | None) -> Reason:
    """Return why a blocked job waits, by the parts of its full name; `explain` returns the reasons of another job, and
    None asks for none.
    """
    spool = session.spool
    waiting = spool.waiting_names()
    full = full_names.read_all(spool, waiting, now_at)  # a drop that no pool has judged may wait for another one, too
    pointer = {
        each.stem: parent
        for name, parent in dependents.blocked([full.get(name, name) for name in waiting]).items()
        if (each := names.parse(name)) is not None
    }
    child, path = parts.stem, [parts.after]
    while path[-1] in pointer:
        following = pointer[path[-1]]
        if following in path or following == child:
            shown = _chain([child, *path, following], " → ")
            return Reason("cycle", f"jobs wait for each other: {shown}", f"queuectl release {safe(child)}")
        path.append(following)
    last = path[-1]
    text = f"it waits for {_chain(path, ', which waits for ')}"
    if len(path) == 1:
        text += _count(session, found)
    without = f"queuectl release {safe(child)}   (runs it without its parents)"
    where = spool.find(last)
    if where is None:
        until = _grace(session, found)
        return Reason(
            "parent_missing", f"{text}, which is not in the spool{until}", f"enqueue {safe(last)}, or {without}"
        )
    if where.state == RUNNING:
        return Reason("parent", f"{text}, which is running", f"queuectl logs -f {safe(last)}")
    if where.state in (DONE, DLQ):
        pools = live.pools(spool)
        change = "" if pools else "queuectl worker start"
        soon = (
            f"a pool sees that within {times.format_duration(session.settings.scan_s)}" if pools else "no workers run"
        )
        return Reason("parent", f"{text}, which has ended: {soon}", change)
    if explain is None:  # its name has changed meanwhile, or there are too many drops to read
        return Reason("parent", text, f"queuectl why {safe(last)}")
    # What holds up every job is a reason of its own, so the job that decides has a better one, if there is any.
    inner = next((each for each in explain(session, where, now_at) if each.kind not in _OF_ALL), None)
    if inner is None:
        return Reason("parent", text, "")
    return Reason("parent", f"{text}; {safe(last)}: {inner.text}", inner.change)


def _count(session: Session, found: Located) -> str:
    """Return how many of its parents are met, if there are several."""
    try:
        item = session.spool.read(found.state, found.name).record
    except (DamagedRecordError, OSError):
        return ""
    known, count = item.blocked, len(parents.of(item.extras.after))
    if known is None or count < 2:
        return ""
    left = len(parents.still_asked(item.extras.after, known))
    return f" ({count - left} of {count} parents are met)"


def _grace(session: Session, found: Located) -> str:
    try:
        item = session.spool.read(found.state, found.name).record
    except (DamagedRecordError, OSError):
        return ""
    known = item.blocked
    if known is not None and parents.of(item.extras.after).is_member(known.pointer):
        return "; it counts as done then"
    since_at = None if known is None else times.instant(known.missing_since)
    if since_at is None:
        return ""
    return f"; this job is dead at {times.to_text(since_at + session.settings.after_grace)}"


def unmet(session: Session, item: Record) -> Reason | None:
    """Return why an unmet job is dead, down to the job that decides; None for any other job."""
    last = item.standing().last
    if last is None or last.event != UNMET:
        return None
    path: list[str] = []
    root = item
    while last is not None and last.event == UNMET and last.after not in path and len(path) < _DEEP:
        path.append(last.after)
        try:
            root = session.spool.read(DLQ, record_name(last.after)).record
        except (DamagedRecordError, OSError):
            break
        last = root.standing().last
    if root is item or root.id != path[-1] or item.id in path:
        text = f"it is dead: {item.standing().error}"
        return Reason("dead", text, f"queuectl release {safe(item.id)}   (runs it without its parents)")
    why = f": {root.standing().error}" if last is not None and last.event != UNMET else ""
    text = f"it is dead, because it waits for {_chain(path, ', which waits for ')}, which is dead{why}"
    return Reason("dead", text, f"queuectl retry {safe(path[-1])}   (brings this job back, too)")


def _chain(ids: list[str], joint: str) -> str:
    shown = [safe(each) for each in ids]
    if len(shown) > 2 * _NAMED:
        shown = [*shown[:_NAMED], f"... ({len(shown) - 2 * _NAMED} more)", *shown[-_NAMED:]]
    return joint.join(shown)
