"""What `queuectl top` shows, as lines of a terminal's size. Computes only: the terminal itself is `top`'s.

Every text of a job passes `safe`, and every line is cut to the width, so that nothing of a job can move the cursor or
push other lines away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from queuectl.cli.terminal.printing import age, count_of, pause_text, safe
from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.monitor.rows import DueRow, FailureRow, NextRow, RunRow
from queuectl.monitor.snapshot import Snapshot

KEYS = (
    ("q", "quit"),
    ("?", "help"),
    ("arrows", "select"),
    ("Enter", "log"),
    ("c", "cancel"),
    ("r", "retry"),
    ("p", "pause"),
)
HELP = """\
What queuectl top shows: how many jobs are in each state and how long ago the
oldest of them came there; who works; what runs, and for how long of its
timeout; what waits, in the order it will run; the newest dead and cancelled
jobs.

  arrows, j, k   select a job; Page Up, Page Down, Home, End jump
  Enter, l       what the selected job prints, as it comes
  c              cancel the selected job: asks y or n
  r              run the selected dead or cancelled job again
  p              pause the spool, or resume it
  q, Ctrl-C      leave; nothing else stops

Any key goes back."""
_TITLES = {RUNNING: "RUNNING", PENDING: "NEXT", DLQ: "DEAD"}
_GAP = 3
# An id that was generated fits.
_ID_CHARS = 27
_ID_SHARE = 0.4
# On a narrower terminal lines are made for this width and cut off.
_LEAST_COLUMNS = 20

Item = RunRow | NextRow | DueRow | FailureRow


class Row(NamedTuple):
    """A job on the screen: in which list it stands, and what is known of it."""

    state: str
    item: Item

    @property
    def id(self) -> str:
        """The job's id."""
        return self.item.id


class Log(NamedTuple):
    """What the newest run of a job printed last."""

    job_id: str
    title: str
    lines: Sequence[str]


def rows_of(found: Snapshot) -> list[Row]:
    """Return the jobs that can be selected, from top to bottom."""
    waiting: list[Item] = [*found.nexts, *found.dues]
    return [
        *(Row(RUNNING, run) for run in sorted(found.runs, key=lambda run: run.started_at or 0.0)),
        *(Row(PENDING, item) for item in waiting),
        *(Row(DLQ, failure) for failure in found.failures),
    ]


class View(NamedTuple):
    """What of the screen is not the queue's."""

    selected: str = ""
    """The id of the job that is selected, or ""."""
    message: str = ""
    """What is at the bottom; "" shows the keys."""
    clock: str = ""
    """The time of day, for the corner."""


def queue_lines(found: Snapshot, now_at: float, view: View, *, width: int, height: int) -> list[Text]:
    """Return the whole screen: exactly `height` lines, none wider than `width`.

    Args:
        found: the queue.
        now_at: ages are as of then.
        view: what a person sees beside it.
        width: columns.
        height: lines.
    """
    columns, width = width, max(width, _LEAST_COLUMNS)
    head = list(_head(found, now_at, width, view.clock))
    foot = Text(safe(view.message), "bold") if view.message else _keys(width, is_paused=found.paused is not None)
    listed = {state: [row for row in rows_of(found) if row.state == state] for state in _TITLES}
    left = height - len(head) - 1 - len(listed)
    shares = _shares({state: len(rows) for state, rows in listed.items()}, left)
    shown = {state: _window(rows, view.selected, shares[state]) for state, rows in listed.items()}
    longest = max((cell_len(safe(row.id)) for rows in shown.values() for row in rows), default=0)
    room = _Room(max(8, min(longest, _ID_CHARS, int(width * _ID_SHARE))), width)
    body: list[Text] = []
    for state, rows in shown.items():
        body.append(_title(state, found))
        body += [_line(row, now_at, room, is_selected=row.id == view.selected) for row in rows]
    return _page(head, body, foot, _Size(columns, height))


def log_lines(log: Log, *, width: int, height: int) -> list[Text]:
    """Return the screen with the end of a log: its last lines, as many as there is room for."""
    room = max(0, height - 2)
    body = [Text(safe(line)) for line in log.lines[-room:]] if room else []
    head = [Text.assemble((safe(log.job_id), "bold"), "  ", safe(log.title))]
    return _page(head, body, Text("q or Esc goes back", "dim"), _Size(width, height))


def help_lines(*, width: int, height: int) -> list[Text]:
    """Return the screen with the help."""
    return _page([], [Text(line) for line in HELP.split("\n")], Text("any key goes back", "dim"), _Size(width, height))


class _Size(NamedTuple):
    columns: int
    lines: int


def _page(head: Iterable[Text], body: Iterable[Text], foot: Text, size: _Size) -> list[Text]:
    """Return lines of exactly this many, the foot at the bottom whatever there is above it."""
    lines = [*head, *body][: max(0, size.lines - 1)]
    lines += [Text() for _ in range(size.lines - 1 - len(lines))]
    lines.append(foot)
    for line in lines:
        line.truncate(size.columns, overflow="ellipsis")
    return lines[-size.lines :]


# ------------------------------------------------------------------------------------------------------------ the head


def _head(found: Snapshot, now_at: float, width: int, clock: str) -> Iterator[Text]:
    path = Text.assemble(("queuectl top", "bold"), "  ", safe(found.path))
    path.truncate(width - len(clock) - 1, overflow="ellipsis")
    path.pad_right(width - len(clock) - cell_len(path.plain))
    yield path.append(clock)
    if found.paused is not None:
        yield Text(f"PAUSED    {pause_text(found.paused, found.paused_until)}", "yellow")
    if found.pools:
        pools = (f"{pool.workers} on {safe(pool.host)} since {age(now_at - pool.started_at)}" for pool in found.pools)
        yield Text(f"workers   {found.workers}: {', '.join(pools)}")
    else:
        yield Text("workers   none: queuectl worker start", "yellow" if found.counts[PENDING] else "")
    since = {PENDING: found.oldest_since, RUNNING: found.longest_since, **found.ended_since}
    parts = []
    for state, count in found.counts.items():
        if state == REJECTED and not count:
            continue
        is_plain = not count or (state == DLQ and not found.dead)
        text = Text(f"{state} {count}", "" if is_plain else _STYLES.get(state, ""))
        if count and (oldest_at := since.get(state)) is not None:
            text.append(f" (oldest {age(now_at - oldest_at)})", "dim")
        parts.append(text)
    yield from _flow(parts, width)


_STYLES = {RUNNING: "yellow", DONE: "green", DLQ: "red", REJECTED: "red"}


def _flow(parts: Iterable[Text], width: int) -> Iterator[Text]:
    """Parts side by side, on as many lines as they need."""
    line = Text()
    for part in parts:
        if line and cell_len(line.plain) + _GAP + cell_len(part.plain) > width:
            yield line
            line = Text()
        line = Text.assemble(line, " " * _GAP if line else "", part)
    yield line


def _keys(width: int, *, is_paused: bool) -> Text:
    """Return the keys, as many as there is room for."""
    line = Text()
    for key, does in KEYS:
        word = "resume" if is_paused and key == "p" else does
        if cell_len(line.plain) + len(key) + len(word) + _GAP > width:
            break
        line = Text.assemble(line, "  " if line else "", (key, "bold"), f" {word}")
    return line


# ----------------------------------------------------------------------------------------------------------- the lists


def _shares(counts: dict[str, int], room: int) -> dict[str, int]:
    """Return how many rows of each list are shown so that all get a fair part of `room`."""
    shares: dict[str, int] = {}
    left = max(0, room)
    for number, (state, count) in enumerate(sorted(counts.items(), key=lambda item: item[1])):
        shares[state] = min(count, left // (len(counts) - number))
        left -= shares[state]
    return shares


def _window(rows: Sequence[Row], selected: str, size: int) -> Sequence[Row]:
    """As many rows as there is room for, the selected one among them."""
    at = next((number for number, row in enumerate(rows) if row.id == selected), 0)
    first = max(0, min(at - size // 2, len(rows) - size))
    return rows[first : first + size]


def _title(state: str, found: Snapshot) -> Text:
    count = found.dead if state == DLQ else found.counts[state]
    title = Text.assemble((_TITLES[state], "bold"), f" {count}")
    if state == DLQ and found.cancelled:
        title.append(f", and {found.cancelled} cancelled", "dim")
    if state == PENDING and count:
        kinds = ((found.later, "later"), (found.held, "held"), (found.blocked, "not whole"))
        more = [f"{number} {kind}" for number, kind in kinds if number]
        title.append(f", of them {' and '.join(more)}" if more else "", "dim")
    return title


class _Room(NamedTuple):
    """Columns for the id of a job, and for the whole line."""

    id: int
    line: int


def _line(row: Row, now_at: float, room: _Room, *, is_selected: bool) -> Text:
    name = Text(safe(row.id))
    name.truncate(room.id, overflow="ellipsis", pad=True)
    line = Text.assemble("> " if is_selected else "  ", name, "  ", _facts(row.item, now_at))
    line.truncate(room.line, overflow="ellipsis", pad=is_selected)
    if is_selected:
        line.stylize("reverse")
    return line


def _facts(item: Item, now_at: float) -> Text:
    if isinstance(item, RunRow):
        return _run_facts(item, now_at)
    if isinstance(item, NextRow):
        retry = f"after {count_of(item.runs, 'failed run')}  " if item.runs else ""
        priority = f"priority {item.priority}  " if item.priority else ""
        return Text(f"{'now':<9}{priority}{retry}{safe(item.command) or 'not looked at yet'}")
    if isinstance(item, DueRow):
        why = f"retry {item.runs} of {item.max_retries}: {safe(item.error)}" if item.runs else "delayed"
        return Text(f"in {age(item.due_at - now_at + 0.999):<6}{why}")
    when = f"{age(now_at - item.ended_at)} ago" if item.ended_at is not None else ""
    return Text.assemble(f"{when:<9}", (safe(item.error), "" if item.cancelled else "red"), f"  {safe(item.command)}")


def _run_facts(item: RunRow, now_at: float) -> Text:
    took_s = now_at - item.started_at if item.started_at is not None else 0.0
    limit = f" of {times.format_duration(item.timeout_s)}" if item.timeout_s else ""
    is_late = item.timeout_s is not None and took_s > item.timeout_s
    text = Text.assemble((f"{age(took_s) + limit:<9}", "red" if is_late else ""))
    if item.attempt > 1:
        text.append(f"  run {item.attempt}")
    if not item.is_alive:
        text.append("  its worker is gone", "yellow")
    return text.append(f"  {safe(item.command)}")
