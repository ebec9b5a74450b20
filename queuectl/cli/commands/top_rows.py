"""The rows of `queuectl top`: in which groups, in which order, with which cells. Computes only, draws nothing.

Every text of a job passes `safe`, and every line is cut to the width, so nothing of a job can move the cursor or push
other lines away. `Text` is never parsed: brackets in a text of a job are no markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from queuectl.cli.commands import top_facts
from queuectl.cli.commands.top_facts import Item
from queuectl.cli.terminal.printing import safe
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.monitor.rows import PoolRow
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
        name, since = top_facts.name_and_time(item)
        key = name
        while key in seen:  # a stranger's files may claim one id
            key += "\0"
        seen.add(key)
        yield Row(key, state, item, name, since)


def _has(row: Row, wanted: str) -> bool:
    return not wanted or wanted in f"{safe(row.name)} {top_facts.facts(row.item, 0.0).plain}".casefold()


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    if sort == "name":
        return sorted(rows, key=lambda row: row.name.casefold())
    if sort == "time":
        return sorted(rows, key=lambda row: (row.since is None, row.since or 0.0))
    if sort == "reason":
        return sorted(rows, key=lambda row: top_facts.facts(row.item, 0.0).plain)
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
    when = top_facts.time_text(row.item, now_at, is_paused=is_paused)
    made = (Text(safe(row.name)), when, top_facts.facts(row.item, now_at))
    for cell, width in zip(made, room, strict=True):
        cell.no_wrap = True
        cell.truncate(width, overflow="ellipsis")
    return made


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
