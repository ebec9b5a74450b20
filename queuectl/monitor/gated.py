"""Explain why a waiting job does not start because of its queue or its key, and what changes that. Only looks."""

from __future__ import annotations

from queuectl.flows import boards
from queuectl.flows.boards import Entry
from queuectl.model import names, queues, times
from queuectl.monitor import brakes, live
from queuectl.monitor.reason import Reason
from queuectl.spool import pause
from queuectl.spool.session import Session

_NAMED = 3


def reasons(session: Session, parts: names.NameParts) -> list[Reason]:
    """Return why the queue or the key of a waiting job holds it up, by the parts of its full name."""
    queue = parts.queue or queues.DEFAULT
    made = [each for each in (_paused(session, queue), _not_taken(session, queue)) if each is not None]
    place = queues.place(parts.queue, parts.key, parts.owner, session.settings.queues)
    if place is None:
        return made
    inside = boards.alive(session.spool, boards.read(session.spool, queue))
    if place.slots and len(inside) >= place.slots:
        text = f"queue {queue} is full: {len(inside)} of {place.slots} run ({_who(inside)})"
        made.append(Reason("queue_full", text, f"queuectl config set queues.{queue}.slots {place.slots + 1}"))
    same = [entry for entry in inside if place.key and entry.key == place.key]
    if same and len(same) >= place.per_key:
        jobs = "a job" if len(same) == 1 else f"{len(same)} jobs"
        text = f"{jobs} with its key {place.key} already run{'s' * (len(same) == 1)} in queue {queue}: {_who(same)}"
        made.append(Reason("key_full", text, f"queuectl config set queues.{queue}.per_key {place.per_key + 1}"))
    if not pause.is_paused(session.spool, queue):
        made += brakes.reasons(session.spool, place, inside, session.clock.now())
    return made


def _paused(session: Session, queue: str) -> Reason | None:
    spool = session.spool
    if not pause.is_paused(spool, queue):
        return None
    if (halted := brakes.halted(spool, queue)) is not None:
        return halted
    why = pause.reason(spool, queue)
    text = f"queue {queue} is paused" + (f": {why}" if why else "")
    if (until_at := pause.until(spool, queue)) is not None:
        text += f" (until {times.to_text(until_at)})"
    return Reason("queue_paused", text, f"queuectl resume {queue}, or delete {spool.queue_paused_path(queue)}")


def _not_taken(session: Session, queue: str) -> Reason | None:
    """Return that all pools take other queues only."""
    pools = live.pools(session.spool)
    if not pools or any(not pool.queues or queue in pool.queues for pool in pools):
        return None
    others = ", ".join(sorted({each for pool in pools for each in pool.queues}))
    text = f"no workers take queue {queue}: those that run take only {others}"
    return Reason("not_taken", text, f"queuectl worker start --queue {queue}")


def _who(inside: list[Entry]) -> str:
    more = f" and {len(inside) - _NAMED} more" if len(inside) > _NAMED else ""
    return ", ".join(entry.job_id for entry in inside[:_NAMED]) + more
