"""What `queuectl top` shows of a snapshot: groups of rows, and the lines above them. Computes only, draws nothing.

Every text of a job passes `safe`, and every line is cut to the width, so nothing of a job can move the cursor or push
other lines away. `Text` is never parsed: brackets in a text of a job are no markup.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from queuectl.cli.terminal.printing import age, count_of, safe, worker_text
from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.progress import Progress
from queuectl.monitor import nodes
from queuectl.monitor.headline import headline
from queuectl.monitor.inboxes import EndedFile, InboxRow
from queuectl.monitor.queues import QueueRow
from queuectl.monitor.rows import (
    ArrivingRow,
    ClusterRow,
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
from queuectl.monitor.snapshot import Snapshot

POOL, QUEUE, SCHEDULE, GROUP, INBOX = "pool", "queue", "schedule", "group", "inbox"
# In the order of the page.
STATES = (RUNNING, PENDING, DLQ, DONE, QUEUE, SCHEDULE, GROUP, POOL, INBOX, REJECTED)
# A terminal that is too low shows these last.
_LEAST_IMPORTANT = (POOL, QUEUE, SCHEDULE, GROUP, INBOX, DONE, REJECTED, DLQ, PENDING, RUNNING)
SORTS = ("", "name", "time", "reason")
# Of a table: the columns, and the blanks beside each.
_COLUMNS, _BLANKS = 3, 2
_ID_SHARE, _TIME_SHARE = 0.4, 0.26
# A generated id and `59s of 1h30m` fit.
_ID_CHARS, _TIME_CHARS = 27, 12
_HEADLINE_LINES = 3

_ZEROS = re.compile(r"(?<=[a-z])00[a-z]$")

_JobItem = RunRow | NextRow | DueRow | HeldRow | ArrivingRow | FailureRow | Finish
Item = _JobItem | QueueRow | ScheduleRow | GroupProgress | PoolRow | WorkerRow | InboxRow | RefusalRow


class Row(NamedTuple):
    """A line of a group."""

    key: str
    """Unique in its group."""
    state: str
    item: Item
    name: str
    """The job's id; a pool's or a file's name. Not safe."""
    since: float | None
    """What it is sorted by, if by time."""


class Group(NamedTuple):
    """The rows of one state, from top to bottom, and the line above them."""

    state: str
    title: str
    rows: Sequence[Row]


class View(NamedTuple):
    """What a person has chosen."""

    wanted: str = ""
    """Show only rows with this text in them, in upper or lower case."""
    sort: str = ""
    """One of SORTS."""


def groups(found: Snapshot, view: View) -> dict[str, Group]:
    """Return the groups by state, in the order in which they are shown; a group may be empty."""
    runs = sorted(found.runs, key=lambda run: run.started_at or 0.0)
    items: Mapping[str, Iterable[Item]] = {
        RUNNING: runs,
        PENDING: [*found.nexts, *found.dues, *found.held_jobs, *found.arriving],
        DLQ: found.failures,
        DONE: [each for each in reversed(found.finishes) if each.is_good and each.id],
        QUEUE: found.queues,
        SCHEDULE: found.schedules,
        GROUP: found.groups,
        POOL: _pools(found.pools),
        INBOX: found.inboxes,
        REJECTED: found.refusals,
    }
    made = {}
    for state in STATES:
        rows = list(_rows(state, items[state]))
        chosen = _sorted([row for row in rows if _has(row, view.wanted.casefold())], view.sort)
        title = _title(state, found)
        if view.wanted and rows:
            title = f"{title}: {len(chosen)} of {len(rows)} match"
        made[state] = Group(state, title, chosen)
    return made


def _pools(found: Iterable[PoolRow]) -> Iterator[Item]:
    """Yield the pools, and after each its worker processes, if slots share them."""
    for pool in found:
        yield pool
        if pool.is_shared:
            yield from pool.processes


def _rows(state: str, items: Iterable[Item]) -> Iterator[Row]:
    seen: set[str] = set()
    for item in items:
        name, since = _name_and_time(item)
        key = name
        while key in seen:  # a stranger's files may claim one id
            key += "\0"
        seen.add(key)
        yield Row(key, state, item, name, since)


def _name_and_time(item: Item) -> tuple[str, float | None]:
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


def _has(row: Row, wanted: str) -> bool:
    return not wanted or wanted in f"{safe(row.name)} {facts(row, 0.0).plain}".casefold()


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    if sort == "name":
        return sorted(rows, key=lambda row: row.name.casefold())
    if sort == "time":
        return sorted(rows, key=lambda row: (row.since is None, row.since or 0.0))
    if sort == "reason":
        return sorted(rows, key=lambda row: facts(row, 0.0).plain)
    return rows


def _title(state: str, found: Snapshot) -> str:
    """Return the line above a group; above the dead jobs it names the most frequent cause."""
    if state == DLQ:
        kinds = (("dead", found.dead), ("cancelled", found.cancelled))
        counts = ", ".join(f"{kind} {count}" for kind, count in kinds if count).capitalize()
        most = found.causes[0] if found.causes and found.dead > 1 and found.causes[0].jobs > 1 else None
        return counts + (f", most often ({most.jobs}): {safe(most.cause)}" if most is not None else "")
    if state == PENDING:
        apart = ", ".join(
            f"{count} {kind}"
            for kind, count in (
                ("later", found.later),
                ("held", found.held),
                ("blocked", found.blocked),
                ("incomplete", found.incomplete),
            )
            if count
        )
        return f"Waiting {found.counts[PENDING]}" + (f" ({apart})" if apart else "")
    if state == QUEUE:
        return f"Queues {len(found.queues)}"
    if state == SCHEDULE:
        return f"Schedules {len(found.schedules) + found.schedules_left}"
    if state == GROUP:
        left = f" ({found.groups_left} more)" if found.groups_left else ""
        return f"Groups {len(found.groups)}{left}"
    if state == INBOX:
        return f"Inboxes {len(found.inboxes)}"
    if state == POOL:
        return f"{found.place.capitalize()}s {found.workers}" + (
            f" in {len(found.pools)} pools" if len(found.pools) > 1 else ""
        )
    return f"{ {RUNNING: 'Running', DONE: 'Finished', REJECTED: 'Rejected'}[state] } {found.counts[state]}"


# ----------------------------------------------------------------------------------------------------------- the cells


class Widths(NamedTuple):
    """Columns of the terminal for the name, the time and the facts."""

    name: int
    time: int
    facts: int


def widths(shown: Iterable[Group], columns: int) -> Widths:
    """Share out the width of the terminal among the columns of the tables; one is left for the scroll bar."""
    room = max(_COLUMNS, columns - 1 - _COLUMNS * _BLANKS)
    longest = max((cell_len(safe(row.name)) for group in shown for row in group.rows), default=0)
    name = max(min(8, room // _COLUMNS), min(longest, _ID_CHARS, int(room * _ID_SHARE)))
    time = max(1, min(_TIME_CHARS, int(room * _TIME_SHARE)))
    return Widths(name, time, max(1, room - name - time))


def cells(row: Row, now_at: float, room: Widths, *, is_paused: bool = False) -> tuple[Text, Text, Text]:
    """Return the cells of a row, none wider than its column."""
    made = (Text(safe(row.name)), _time(row.item, now_at, is_paused=is_paused), facts(row, now_at))
    for cell, width in zip(made, room, strict=True):
        cell.no_wrap = True
        cell.truncate(width, overflow="ellipsis")
    return made


def _time(item: Item, now_at: float, *, is_paused: bool) -> Text:
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
    _, since = _name_and_time(item)
    if isinstance(item, PoolRow):
        return Text(f"since {age(now_at - item.started_at)}")
    return Text(f"{age(now_at - since)} ago" if since is not None else "")


def facts(row: Row, now_at: float) -> Text:
    """Return what is to be said of a row beside its name and time."""
    item = row.item
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


# ------------------------------------------------------------------------------------------------------------ the head


def head(found: Snapshot, *, columns: int, clock: str) -> list[Text]:
    """Return the lines above the groups: the spool, how the queue is doing, and what to do about it."""
    path = Text.assemble(("queuectl top", "bold"), "  ", safe(found.path))
    room = max(0, columns - len(clock) - 1)
    path.truncate(room, overflow="ellipsis", pad=True)
    lines = [Text.assemble(path, " ", clock)]
    is_stuck = found.paused is not None or (not found.pools and found.counts[PENDING] + found.counts[RUNNING] > 0)
    style = "bold yellow" if is_stuck else "bold"
    lines += [Text(line, style) for line in _folded(safe(headline(found)), max(1, columns))[:_HEADLINE_LINES]]
    if found.paused is not None:
        lines.append(Text("p resumes the spool", "yellow"))
    elif is_stuck:
        lines.append(Text("To start workers: queuectl worker start", "yellow"))
    lines += [Text(f"Cluster {nodes.sentence(row, found.taken_at)}", _color(row)) for row in found.clusters]
    if found.settings_changed:
        lines.append(Text("Settings changed; to apply: queuectl worker reload", "yellow"))
    for line in lines:
        line.truncate(columns, overflow="ellipsis")
    return lines


def _color(row: ClusterRow) -> str:
    return "yellow" if row.lost or row.is_silent or not row.there else ""


def _folded(sentence: str, columns: int) -> list[str]:
    """Return a sentence as lines that end after a comma; only a part that is too long is broken between words."""
    lines = [""]
    for part in re.findall(r".+?(?:, |$)", sentence):
        if lines[-1] and len((lines[-1] + part).rstrip()) > columns:
            lines.append("")
        lines[-1] += part
    return [short for line in lines for short in textwrap.wrap(line, columns) or [""]]


# ------------------------------------------------------------------------------------------------------------ the room


def heights(counts: Mapping[str, int], room: int) -> dict[str, int]:
    """Return how many lines each group gets, its title included; 0 if it is not shown.

    Short groups are shown whole, the longer ones share what is left. On a low terminal a group without a line for a
    row is left out, the least important first.
    """
    shown = {state: count for state, count in counts.items() if count}
    for state in _LEAST_IMPORTANT:
        if 2 * len(shown) <= room or len(shown) <= 1:
            break
        shown.pop(state, None)
    made = dict.fromkeys(counts, 0)
    left = max(0, room - len(shown))
    for number, (state, count) in enumerate(sorted(shown.items(), key=lambda each: each[1])):
        share = min(count, left // (len(shown) - number))
        made[state] = share + 1
        left -= share
    return made
