"""top without a terminal: its lines, its keys, and what it is in a pipe."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from queuectl.cli.commands import top_screen
from queuectl.cli.terminal import keys
from queuectl.monitor.rows import DueRow, FailureRow, NextRow, RunRow
from queuectl.spool.folder import SpoolDir
from tests.cli.commands import Commands
from tests.helpers import NOON_AT, Desk
from tests.unit.monitor.test_page import snapshot_of


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("q", ["q"]),
        ("jk?", ["j", "k", "?"]),
        ("\r\n", ["enter", "enter"]),
        ("\x1b", ["escape"]),
        ("\x1b[A\x1bOB\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        ("\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["page up", "page down", "home", "end"]),
        ("\x1b[1;5A", ["up"]),
        ("\x1b[200~x\x1b[999Z\x1b[", ["x"]),
        ("\x00\x07", []),
        ("é", ["é"]),
    ],
)
def test_keys_have_names(sent: str, named: list[str]) -> None:
    """What a terminal sends for a key comes out as its name; what is no key is left out."""
    assert keys.names_of(sent) == named


def lines_of(width: int, height: int, **facts: object) -> list[str]:
    """The lines of the screen for a queue with something in every list."""
    text = str(facts.pop("text", "plain"))
    view = top_screen.View(selected=text, clock="12:00:00")
    found = snapshot_of(text, **{"nexts": (NextRow(text, 1, 5, text),), **facts})
    made = top_screen.queue_lines(found, NOON_AT, view, width=width, height=height)
    return [line.plain for line in made]


@pytest.mark.parametrize(
    "text", ["plain", "\x1b[2J\x07\n\r\tx", "漢字" * 200, "a\u202eb\u200b" * 50, "[red]:smile:[/red]"]
)
@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (20, 5), (200, 60), (3, 1)])
def test_screen_is_as_large_as_the_terminal(text: str, width: int, height: int) -> None:
    """Whatever jobs are called and say, the screen has its size, and nothing that could act gets on it."""
    logged = top_screen.log_lines(top_screen.Log(text, text, [text] * 100), width=width, height=height)
    for made in (
        lines_of(width, height, text=text),
        [line.plain for line in logged],
        [line.plain for line in top_screen.help_lines(width=width, height=height)],
    ):
        assert len(made) == height
        assert max(map(cell_len, made)) <= width
        assert all(line.isprintable() for line in made)


def test_screen_tells_what_is_asked_for() -> None:
    """Counts with ages, a run with its limit, what waits, what died and why, the pause."""
    text = "\n".join(lines_of(100, 24, paused="disk full"))
    for told in (
        "PAUSED    disk full",
        "pending 2 (oldest 1m)",
        "running 1 (oldest 30s)",
        "30s of 5m",
        "its worker is gone",
        "NEXT 2, of them 1 later",
        "now      priority 5  after 1 failed run  plain",
        "in 8s    retry 1 of 3: plain",
        "5s ago   plain",
    ):
        assert told in text


def test_selected_job_is_always_on_the_screen() -> None:
    """A list that is longer than its room shows the part with the selected job; short lists stay whole."""
    runs = tuple(RunRow(f"run{number:03d}", 1, "w", NOON_AT - number, None, "true", True) for number in range(200))
    for chosen in ("run000", "run100", "run199"):
        found = snapshot_of(runs=runs)
        made = top_screen.queue_lines(found, NOON_AT, top_screen.View(chosen), width=80, height=24)
        shown = [line.plain for line in made]
        assert next(line for line in shown if line.startswith("> ")).startswith(f"> {chosen}")
        assert sum(line[2:].startswith("run") for line in shown) == 14
        assert sum(line.startswith("  plain") for line in shown) == 2  # what waits and what died


def test_rows_come_from_top_to_bottom() -> None:
    """What can be selected is what is shown, in that order: the longest run first."""
    run = RunRow("b", 1, "w", NOON_AT - 1, None, "true", True)
    found = snapshot_of(
        runs=(run, run._replace(id="a", started_at=NOON_AT - 9)),
        nexts=(NextRow("c", 0, 0, ""),),
        dues=(DueRow("d", NOON_AT + 1, 0, 3, ""),),
        failures=(FailureRow("e", None, 1, "", "", ()),),
    )
    assert [row.id for row in top_screen.rows_of(found)] == ["a", "b", "c", "d", "e"]


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
