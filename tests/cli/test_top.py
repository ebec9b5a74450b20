"""top without a terminal: what it shows, how it shares out the screen, and what it is in a pipe."""

from __future__ import annotations

import re
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from rich.cells import cell_len

import queuectl
from queuectl.cli.commands import top_actions, top_facts, top_head, top_rows
from queuectl.cli.commands.top_look import Looker
from queuectl.cli.commands.top_rows import View
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.monitor.rows import (
    ArrivingRow,
    CauseRow,
    DueRow,
    FailureRow,
    Finish,
    GroupProgress,
    HeldRow,
    NextRow,
    PoolRow,
    RunRow,
    WorkerRow,
)
from queuectl.monitor.snapshot import Snapshot
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.helpers import NOON_AT, Desk
from tests.unit.monitor.test_page import snapshot_of

HOSTILE = ["plain", "\x1b[2J\x07\n\r\tx", "漢字" * 200, "a\u202eb\u200b" * 50, "[red]:smile:[/red] [@click=quit]"]
SIZES = [(80, 24), (50, 15), (200, 60), (20, 5), (3, 1)]


def full(text: str = "plain", **facts: object) -> Snapshot:
    """A snapshot with a row in each group, whose every text is `text`."""
    finishes = (Finish(NOON_AT - 20, 0.5, True, text, text), Finish(NOON_AT - 5, 2.0, False, text, text, text))
    return snapshot_of(text, **{"nexts": (NextRow(text, 1, 5, text),), "finishes": finishes, **facts})


def lines_of(found: Snapshot, width: int, view: View = View()) -> list[str]:  # noqa: B008
    """What is above the groups, then each group, as lines."""
    shown = top_rows.groups(found, view)
    room = top_rows.widths(shown.values(), width)
    made = [line.plain for line in top_head.head(found, columns=width, clock="12:00:00")]
    for group in shown.values():
        made.append(group.title)
        made += [" ".join(cell.plain for cell in top_rows.cells(row, NOON_AT, room)) for row in group.rows]
    return made


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("width", [200, 80, 50, 20, 3])
def test_a_line_is_no_wider_than_the_screen(text: str, width: int) -> None:
    """Whatever jobs are called and say, no line is too wide, and nothing that could act is in one."""
    found = full(text)
    made = top_head.head(found, columns=width, clock="12:00:00")
    shown = top_rows.groups(found, View())
    room = top_rows.widths(shown.values(), width)
    cells = [cell for group in shown.values() for row in group.rows for cell in top_rows.cells(row, NOON_AT, room)]
    assert max(cell_len(line.plain) for line in made) <= max(width, len("12:00:00") + 1)
    assert all(cell_len(cell.plain) <= max(room) for cell in cells)
    assert all(line.plain.isprintable() for line in (*made, *cells))
    assert all(group.title.isprintable() for group in shown.values())


def test_what_is_asked_for_is_shown() -> None:
    """Runs with their limit, what waits in the order of runs, what died and why, what finished, workers, the pause."""
    run = RunRow("long", 2, "w", NOON_AT - 90, 300.0, "make", False, usual_s=40.0)
    text = "\n".join(lines_of(full(paused="disk full", runs=(run,), settings_changed=True), 100))
    for told in (
        "Paused (disk full), ",
        "p resumes the spool",
        "Settings changed; to apply: queuectl worker reload",
        "Running 1",
        "long 1m of 5m its worker died  attempt 2  usually 40s  make",
        "Waiting 2 (1 later)",
        "plain now priority 5  attempt 2  plain",
        "plain in 8s retry 1 of 3: plain",
        "Dead 1",
        "plain 5s ago plain: plain  plain",
        "Finished 7",
        "plain 20s ago took 500ms  plain",
        "Workers 2",
        "plain since 1h 2 workers on plain, process 17",
        "Rejected 1",
        "plain 9s ago plain",
    ):
        assert told in text, told


def test_what_waits_for_a_person_or_a_writer_says_so() -> None:
    """A held job and an incomplete file are among what waits; no key acts on a file that is not a job yet."""
    found = full(
        nexts=(),
        dues=(),
        held_jobs=(HeldRow("kept", "make", since=NOON_AT - 9),),
        arriving=(ArrivingRow("half.json", 9, NOON_AT - 4, "not complete JSON"),),
    )
    text = "\n".join(lines_of(found, 100))
    assert re.search(r"^kept +held make$", text, re.MULTILINE)
    assert re.search(r"^half.json +4s ago incomplete: not complete JSON$", text, re.MULTILINE)
    held, half = top_rows.groups(found, View())[PENDING].rows
    assert "queuectl release kept" in top_actions.hold(held).words
    assert top_actions.cancel(held).act is not None
    for offer in (top_actions.hold(half), top_actions.cancel(half)):
        assert offer.act is None
        assert offer.words.startswith("this file is incomplete")


def test_a_long_headline_is_broken_after_a_comma() -> None:
    """At 80 columns it may need two lines; no phrase of it is torn apart."""
    found = full(paused=None, failed_last_hour=3, ready=33, oldest_since=NOON_AT - 200)
    made = [line.plain for line in top_head.head(found, columns=80, clock="")]
    assert made[1:3] == [
        "1 of 2 workers busy, 33 waiting, the oldest for 3 min, 1 due in 8 s,",
        "3 failed in the last hour",
    ]


def test_the_picture_loads_nothing() -> None:
    """docs/images/top.svg is small, and holds no address to fetch from and no path of the machine that made it."""
    svg = (Path(queuectl.__file__).parents[1] / "docs" / "images" / "top.svg").read_bytes()
    assert len(svg) < 100_000
    assert set(re.findall(rb"https?://[^\s\"']+", svg)) == {b"http://www.w3.org/2000/svg"}
    assert b"url(" not in svg.replace(b"url(#", b"")
    assert b"/srv/photos" in svg
    assert not re.search(rb"/(?:tmp|home|root|work)/", svg)


def test_the_most_frequent_cause_of_death_is_named() -> None:
    """Above the dead jobs, if several have it; nothing in it acts on the screen."""
    cause = CauseRow("exit 3: \x1b[2Jdisk [b]full", 9, None, None, (), "", ())
    counts = {**full().counts, "dlq": 12}
    title = top_rows.groups(full(counts=counts, causes=(cause,), cancelled=2), View())[DLQ].title
    assert title == r"Dead 10, cancelled 2, most often (9): exit 3: \x1b[2Jdisk [b]full"
    assert (
        top_rows.groups(full(counts=counts, causes=(cause._replace(jobs=1),), cancelled=0), View())[DLQ].title
        == "Dead 12"
    )


def test_a_queue_without_workers_says_so() -> None:
    """Jobs that wait while no workers run are pointed out, with the command."""
    assert "queuectl worker start" in "\n".join(lines_of(full(pools=(), paused=None), 80))
    assert "queuectl worker start" not in "\n".join(lines_of(full(paused=None), 80))


def test_groups_come_in_the_order_of_the_page() -> None:
    """Running (longest run first), waiting in order of runs, dead, finished, then the rest."""
    run = RunRow("b", 1, "w", NOON_AT - 1, None, "true", True)
    found = full(
        runs=(run, run._replace(id="a", started_at=NOON_AT - 9)),
        nexts=(NextRow("c", 0, 0, ""),),
        dues=(DueRow("d", NOON_AT + 1, 0, 3, ""),),
        held_jobs=(HeldRow("e", ""),),
        arriving=(ArrivingRow("f", 1, None, ""),),
        failures=(FailureRow("g", None, 1, "", "", ()),),
    )
    shown = top_rows.groups(found, View())
    assert list(shown) == [
        RUNNING,
        PENDING,
        DLQ,
        DONE,
        top_rows.QUEUE,
        top_rows.SCHEDULE,
        top_rows.GROUP,
        top_rows.POOL,
        top_rows.INBOX,
        REJECTED,
    ]
    assert [row.name for group in shown.values() for row in group.rows][:7] == [*"abcdefg"]


def test_a_group_shows_how_far_it_is() -> None:
    """A row per group: a share, and in words; no key of a job does anything to it, and each says what does."""
    found = full(groups=(GroupProgress("g-20261124T031500-x2k9", 5000, 2310, 3, 0, 8, 2679),), groups_left=4)
    group = top_rows.groups(found, View())[top_rows.GROUP]
    assert group.title == "Groups 1 (4 more)"
    (row,) = group.rows
    cells = [cell.plain for cell in top_rows.cells(row, NOON_AT, top_rows.widths([group], 120))]
    assert cells == ["g-20261124T031500-x2k9", "46%", "2,310 of 5,000 done, 3 dead, 8 run, 2,679 wait"]
    for offer in (top_actions.cancel, top_actions.retry, top_actions.hold):
        assert offer(row).act is None and f"queuectl cancel --group {row.name}" in offer(row).words


def test_rows_are_filtered_and_sorted() -> None:
    """A filter looks at names, commands and reasons in upper or lower case; rows are sorted by name or by time."""
    names = [("b", 3.0), ("c", 1.0), ("a", 2.0)]
    runs = tuple(RunRow(name, 1, "w", since, None, f"Make {name}", True) for name, since in names)
    found = full(runs=runs)

    def names_shown(view: View) -> list[str]:
        return [row.name for row in top_rows.groups(found, view)[RUNNING].rows]

    assert names_shown(View()) == ["c", "a", "b"]
    assert names_shown(View(sort="name")) == ["a", "b", "c"]
    assert names_shown(View(sort="time")) == ["c", "a", "b"]
    assert names_shown(View(wanted="mAKE B")) == ["b"]
    assert top_rows.groups(found, View(wanted="make b"))[RUNNING].title == "Running 1: 1 of 3 match"
    assert top_rows.groups(found, View(wanted="nothing"))[DLQ].rows == []


def test_two_rows_of_one_name_have_keys_of_their_own() -> None:
    """Files of strangers may claim one id."""
    failure = FailureRow("same", None, 1, "", "", ())
    rows = top_rows.groups(full(failures=(failure, failure)), View())[DLQ].rows
    assert len({row.key for row in rows}) == 2


@pytest.mark.parametrize("room", range(40))
def test_groups_share_the_lines(room: int) -> None:
    """Never more lines than there are; short groups whole; a group without a line for a row is left out."""
    counts = {RUNNING: 2, PENDING: 200, DLQ: 30, DONE: 50, top_rows.POOL: 1, REJECTED: 0}
    made = top_rows.heights(counts, room)
    assert sum(made.values()) <= max(room, 1)
    assert made[REJECTED] == 0
    if room >= 10:
        assert all(made[state] >= 2 for state in counts if counts[state])
    if room >= 20:
        assert (made[RUNNING], made[top_rows.POOL]) == (3, 2)
        assert sum(made.values()) == room
    if 2 <= room < 10:
        assert made[RUNNING] >= 2


class Endless:
    """A survey whose look has no end."""

    def __init__(self) -> None:
        self.taken = threading.Event()
        self.is_closed = threading.Event()

    def marks(self) -> object:
        """Return what never changes."""
        return None

    def take(self, now_at: float) -> Generator[None, None, Snapshot]:
        """Take steps until nobody asks for more."""
        try:
            while True:
                self.taken.set()
                yield
        finally:
            self.is_closed.set()


def test_a_look_ends_between_two_steps() -> None:
    """Whoever quits does not wait for a look to end."""
    survey = Endless()
    looker = Looker(survey, 1.0, lambda _found: None)  # type: ignore[arg-type]
    looker.start()
    assert survey.taken.wait(60)
    looker.stop()
    assert survey.is_closed.wait(60)


def test_top_in_a_pipe_is_status(queuectl: Commands, desk: Desk) -> None:
    """Without a terminal it prints what `status` prints, once."""
    desk.enqueue(id="job", delay=500)
    assert queuectl("top").out == queuectl("status").out


@pytest.mark.parametrize(("every", "code"), [("0.05", 2), ("often", 2), ("2s", 0)])
def test_top_takes_how_often(queuectl: Commands, spool: SpoolDir, every: str, code: int) -> None:
    """--every is a duration, and no shorter than a look takes."""
    queuectl("top", "--every", every, code=code)


def test_top_of_no_spool_fails_as_others_do(queuectl: Commands) -> None:
    """The exit codes are those of every command."""
    assert "error:" in queuectl("--spool", "nowhere", "top", code=75).err


def test_processes_are_shown_where_slots_share_them() -> None:
    """A process of one slot adds nothing to the row of its pool."""
    shared = WorkerRow("p-1", 4711, 4, 2, False), WorkerRow("p-2", 4712, 4, 1, True)
    pool = PoolRow("p", "h", 1, 8, NOON_AT - 3600, processes=shared)
    text = "\n".join(lines_of(full(paused=None, pools=(pool,)), 100))
    for told in (
        "1 of 8 slots busy",
        "Slots 8",
        "8 slots on h, process 1",
        "2 of 4 slots used, process 4711",
        "1 of 4 slots used, process 4712, ends after its jobs",
    ):
        assert told in text, told
    pool = pool._replace(processes=tuple(row._replace(slots=1) for row in shared))
    text = "\n".join(lines_of(full(paused=None, pools=(pool,)), 100))
    assert "8 workers on h" in text and "4711" not in text


def test_queues_are_shown() -> None:
    """What waits and runs in each, and what holds it up."""
    group = top_rows.groups(full("why"), View())[top_rows.QUEUE]
    room = top_rows.Widths(8, 14, 80)
    rows = [" | ".join(cell.plain for cell in top_rows.cells(row, NOON_AT, room)) for row in group.rows]
    assert group.title == "Queues 2"
    assert rows == [
        "mail | paused 1m | 12 waiting, 3 of 4 running  why  key why: 5 wait",
        "why | no workers | 1 waiting, 0 running",
    ]
    for offer in (top_actions.cancel, top_actions.retry, top_actions.hold):
        assert offer(group.rows[0]) == top_actions.Offer("this is a queue; to pause it: queuectl pause mail")


def test_a_run_says_how_far_it_is() -> None:
    """The last line that a command wrote about itself comes before its command."""
    row = RunRow("a", 1, "w", NOON_AT, None, "true", True, percent=42.0, progress="page 3")
    (shown,) = top_rows.groups(full(runs=(row,)), View())[RUNNING].rows
    assert top_facts.facts(shown.item, NOON_AT).plain == "42 %  page 3  true"
