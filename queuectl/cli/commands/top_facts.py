"""What `queuectl top` says of one job, queue, schedule, group, pool or file: its name, its time, the facts.

Every text of a job passes `safe`. `Text` is never parsed: brackets in a text of a job are no markup.
"""

from __future__ import annotations

import re

from rich.text import Text

from queuectl.cli.terminal.printing import age, count_of, safe, worker_text
from queuectl.model import times
from queuectl.model.progress import Progress
from queuectl.monitor.inboxes import EndedFile, InboxRow
from queuectl.monitor.queues import QueueRow
from queuectl.monitor.rows import (
    ArrivingRow,
    DueRow,
    FailureRow,
    Finish,
    GroupProgress,
    HeldRow,
    NextRow,
    PoolRow,
    RefusalRow,
    RunRow,
    WorkerRow,
)
from queuectl.monitor.schedule_rows import ScheduleRow

_ZEROS = re.compile(r"(?<=[a-z])00[a-z]$")

_JobItem = RunRow | NextRow | DueRow | HeldRow | ArrivingRow | FailureRow | Finish
Item = _JobItem | QueueRow | ScheduleRow | GroupProgress | PoolRow | WorkerRow | InboxRow | RefusalRow


def name_and_time(item: Item) -> tuple[str, float | None]:
    """Return the name of an item, which is not safe, and what it is sorted by, if by time."""
    if isinstance(item, RunRow):
        return item.id, item.started_at
    if isinstance(item, (NextRow, HeldRow)):
        return item.id, item.since
    if isinstance(item, ArrivingRow):
        return item.name, item.changed_at
    if isinstance(item, DueRow):
        return item.id, item.due_at
    if isinstance(item, QueueRow):
        return item.queue, None
    if isinstance(item, ScheduleRow):
        return item.schedule, item.next_at
    if isinstance(item, GroupProgress):
        return item.group, None
    if isinstance(item, PoolRow):
        return item.pool, item.started_at
    if isinstance(item, WorkerRow):
        return item.name, None
    if isinstance(item, InboxRow):
        return item.owner, times.instant(item.listed_at)
    if isinstance(item, RefusalRow):
        return item.name, item.rejected_at
    return item.id, item.ended_at


def time_text(item: Item, now_at: float, *, is_paused: bool) -> Text:
    """Return since when, until when or for how long, in few characters."""
    if isinstance(item, RunRow):
        took_s = now_at - item.started_at if item.started_at is not None else 0.0
        limit = f" of {_limit(item.timeout_s)}" if item.timeout_s else ""
        is_late = item.timeout_s is not None and took_s > item.timeout_s
        return Text(age(took_s) + limit, "red" if is_late else "")
    if isinstance(item, NextRow):
        return Text("paused", "yellow") if is_paused else Text("now")
    if isinstance(item, HeldRow):
        return Text("held", "yellow")
    if isinstance(item, DueRow):
        return Text(f"in {age(item.due_at - now_at + 0.999)}")
    if isinstance(item, QueueRow):
        return _queue_time(item, now_at)
    if isinstance(item, ScheduleRow):
        return _schedule_time(item, now_at)
    if isinstance(item, GroupProgress):
        return Text(f"{item.done / item.total:.0%}")
    _, since = name_and_time(item)
    if isinstance(item, PoolRow):
        return Text(f"since {age(now_at - item.started_at)}")
    return Text(f"{age(now_at - since)} ago" if since is not None else "")


def facts(item: Item, now_at: float) -> Text:
    """Return what is to be said of an item beside its name and time."""
    if isinstance(item, RunRow):
        return _run_facts(item, now_at)
    if isinstance(item, NextRow):
        retry = f"attempt {item.runs + 1}  " if item.runs else ""
        priority = f"priority {item.priority}  " if item.priority else ""
        return Text(f"{priority}{retry}{safe(item.command) or 'not read yet'}")
    if isinstance(item, HeldRow):
        return Text(safe(item.command) or "not read yet")
    if isinstance(item, ArrivingRow):
        return Text(f"incomplete: {safe(item.why)}", "yellow")
    if isinstance(item, DueRow):
        return Text(f"retry {item.runs} of {item.max_retries}: {safe(item.error)}" if item.runs else "first attempt")
    if isinstance(item, Finish):
        took = f"took {_span(item.duration_s)}  " if item.duration_s is not None else ""
        return Text.assemble((took, "green"), safe(item.command))
    if isinstance(item, QueueRow):
        return _queue_facts(item)
    if isinstance(item, ScheduleRow):
        return Text(safe(item.state or item.when), "red" if item.why else "")
    if isinstance(item, GroupProgress):
        return Text(item.text, "red" if item.dead else "")
    if isinstance(item, PoolRow):
        place = "slot" if item.is_shared else "worker"
        return Text(f"{count_of(item.workers, place)} on {safe(item.host)}, process {item.pid}")
    if isinstance(item, WorkerRow):
        return Text(worker_text(item))
    if isinstance(item, InboxRow):
        return _inbox_facts(item)
    if isinstance(item, RefusalRow):
        return Text(safe(item.why), "red")
    last = f": {safe(item.output[-1].strip())}" if item.output and not item.cancelled else ""
    return Text.assemble((safe(item.error) + last, "" if item.cancelled else "red"), f"  {safe(item.command)}")


def _schedule_time(item: ScheduleRow, now_at: float) -> Text:
    """Return when the next job is made, or in a word why none is."""
    if item.why or item.is_held:
        return Text("mistake", "red") if item.why else Text("paused", "yellow")
    return Text("" if item.next_at is None else f"in {age(max(0.0, item.next_at - now_at) + 0.999)}")


def _queue_time(item: QueueRow, now_at: float) -> Text:
    """Return in a word what holds a queue up, and for how much longer."""
    left = "" if item.state_until is None else f" {age(max(0.0, item.state_until - now_at))}"
    if item.paused is not None:
        return Text(f"{'halted' if item.is_halted else 'paused'}{left}", "yellow")
    if not item.is_taken:
        return Text("no workers", "yellow")
    if item.is_half_open:
        return Text("one at a time", "yellow")
    return Text(f"rate{left}" if left else item.state)


def _queue_facts(item: QueueRow) -> Text:
    of = f" of {item.slots}" if item.slots else ""
    text = Text(f"{item.waiting} waiting, {item.running}{of} running")
    if item.paused:
        text.append(f"  {safe(item.paused)}", "yellow")
    if item.keys:
        most = item.keys[0]
        text.append(f"  key {safe(most.key)}: {most.waiting} wait", "dim")
    return text


def _inbox_facts(item: InboxRow) -> Text:
    """Return the counts of an inbox, then a file that needs a person: one that is refused, or that failed last."""
    text = Text(safe(item.text), "yellow" if item.trouble else "")
    if item.refused:
        text.append(f"  {safe(item.refused[0].name)}: {safe(item.refused[0].why)}", "yellow")
    elif item.last_failed is not None and (item.last_done is None or _is_newer(item.last_failed, item.last_done)):
        text.append(f"  last failed: {safe(item.last_failed.name)}", "red")
    elif item.last_done is not None:
        text.append(f"  last done: {safe(item.last_done.name)}", "dim")
    return text


def _is_newer(one: EndedFile, other: EndedFile) -> bool:
    return (one.ended_at or 0.0) > (other.ended_at or 0.0)


def _run_facts(item: RunRow, now_at: float) -> Text:
    text = Text()
    if not item.is_alive:
        text.append("its worker died  ", "yellow")
    if item.node:
        text.append(f"on {safe(item.node)}  ", "cyan")
    if item.attempt > 1:
        text.append(f"attempt {item.attempt}  ")
    if said := str(Progress(item.percent, item.progress)):
        text.append(f"{safe(said)}  ", "bold")
    if item.usual_s is not None:
        is_long = item.started_at is not None and now_at - item.started_at > 2 * item.usual_s + 1
        text.append(f"usually {_span(item.usual_s)}  ", "yellow" if is_long else "dim")
    return text.append(safe(item.command))


def _limit(seconds: float) -> str:
    """Return a timeout without zeros: `5m` rather than `5m00s`."""
    return _ZEROS.sub("", times.format_duration(seconds))


def _span(seconds: float) -> str:
    """Return a duration for a glance: `40ms`, `1.4s`, `12s`, `3m`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 10 else age(seconds)
