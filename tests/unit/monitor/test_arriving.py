"""incoming: files that are not whole yet, as they are shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.model.lifecycle import PENDING
from queuectl.monitor import arriving
from queuectl.monitor.listing import scan_waiting
from queuectl.monitor.rows import ArrivingRow
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import PAGE, STATUS
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, write_drop

HALF = '{"command": "tr'
YEAR_2105_AT = 4_260_000_000


def look(spool: SpoolDir, waiting: list[str], now_at: float, *, at_most_bytes: float = 1e9) -> tuple[ArrivingRow, ...]:
    """The rows of some names of pending/."""
    some = filter(arriving.may_arrive, waiting)
    return drain(arriving.collect(spool, some, now_at, at_most_bytes=at_most_bytes))


def test_what_is_not_whole_is_found_among_what_is(spool: SpoolDir) -> None:
    """Half files and files of lines are told with their size; jobs, gone names and folders are not."""
    write_drop(spool, "half.json", HALF)
    write_drop(spool, "whole.json", {"command": "true"})
    write_drop(spool, "lines.jsonl", b'{"command": "true"}\n')
    write_drop(spool, "large.json", b" " * (1 << 20) + b"{}")
    write_drop(spool, "20270115-080000-000000-aaaa.json", HALF)
    Path(spool.path(PENDING, "folder.json")).mkdir()
    found = look(spool, [*spool.waiting_names(), "gone.json"], NOON_AT)
    assert [(row.name, row.size) for row in found] == [
        ("half.json", 15),
        ("large.json", (1 << 20) + 2),
        ("lines.jsonl", 20),
    ]
    assert "not complete JSON" in found[0].why


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells the time of the last change only by one that is set")
def test_quiet_time_is_by_the_time_that_nobody_can_set(spool: SpoolDir) -> None:
    """A file's time of 2105 or of 1970 does not show; nor does a clock that was set back make a time negative."""
    path = write_drop(spool, "half.json", HALF)
    for set_at in (YEAR_2105_AT, 0):
        os.utime(path, (set_at, set_at))
        changed_at = path.stat().st_ctime
        (row,) = look(spool, ["half.json"], changed_at + 7)
        assert row.changed_at == changed_at
    for ahead_s, told_at in ((1.0, changed_at - 1), (60.0, None)):
        (row,) = look(spool, ["half.json"], changed_at - ahead_s)
        assert row.changed_at == told_at


def test_a_bounded_number_is_asked(spool: SpoolDir) -> None:
    """However many drops wait, some hundreds are looked at, and some megabytes read."""
    for number in range(5):
        write_drop(spool, f"half-{number}.json", HALF)
    waiting = sorted(name for name in os.listdir(spool.folder(PENDING)) if name.startswith("half"))
    assert len(look(spool, waiting, NOON_AT)) == 5
    assert len(look(spool, waiting, NOON_AT, at_most_bytes=2 * len(HALF))) == 2
    for scope in (STATUS._replace(opened=3), PAGE._replace(opened=3)):
        steps = scan_waiting(spool, scope, NOON_AT, next_rows=0)
        assert len(drain(steps).drops) == 3
