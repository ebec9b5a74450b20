"""dashboard: one of all supervisors writes it, seldom enough and often enough, and its trouble is nobody's else."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.model.lifecycle import DONE, Outcome
from queuectl.model.settings import Settings
from queuectl.monitor.heartbeat import HEARTBEAT_S
from queuectl.pool import dashboard
from queuectl.pool.dashboard import EVERY_S, Dashboard
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FACTS, METRICS, PAGE
from queuectl.spool.pools import Pool
from queuectl.spool.session import Session
from queuectl.system import disk
from tests.helpers import Desk, FakeClock, full_disk, wait_until
from tests.unit.monitor.test_page import snapshot_of

Make = Callable[..., Dashboard]


@pytest.fixture
def make(spool: SpoolDir, settings: Settings, clock: FakeClock) -> Iterator[Make]:
    """Makes dashboards of supervisors on one spool."""
    made: list[Dashboard] = []

    def new(**changed: Any) -> Dashboard:
        made.append(Dashboard(Session(spool, settings._replace(**changed), clock, random.Random(len(made)))))
        clock.advance(1.0)  # it lets the first jobs start before it begins
        return made[-1]

    yield new
    for each in made:
        each.close_inherited()


def go_on(board: Dashboard) -> str:
    """The two steps in which a snapshot is taken, while the clock stands still, and written."""
    return board.step() or board.step()


def written(spool: SpoolDir) -> str:
    """Which writing this is, by the clock of the test; "" where there is none."""
    return facts(spool)["written_at"] if dashboard_files(spool) else ""


def facts(spool: SpoolDir) -> dict[str, Any]:
    """status.json."""
    found: dict[str, Any] = json.loads(Path(spool.root, FACTS).read_text())
    return found


def dashboard_files(spool: SpoolDir) -> list[str]:
    """The files of a dashboard that are there."""
    return [name for name in (PAGE, FACTS, METRICS) if os.path.exists(os.path.join(spool.root, name))]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [PAGE, FACTS]),
        ({"dashboard": "counts"}, [PAGE, FACTS]),
        ({"metrics": True}, [PAGE, FACTS, METRICS]),
        ({"dashboard": "off", "metrics": True}, [METRICS]),
        ({"dashboard": "off"}, []),
    ],
)
def test_settings_say_what_is_written(spool: SpoolDir, make: Make, changed: Any, expected: list[str]) -> None:
    """Nothing is written that was not asked for, and no lock is taken where nothing is."""
    board = make(**changed)
    assert go_on(board) == ""
    assert dashboard_files(spool) == expected
    board.close()
    assert dashboard_files(spool) == expected
    assert os.path.exists(spool.dashboard_lock_path) == bool(expected)
    assert os.listdir(spool.tmp_dir) == []


def test_counts_keep_names_out_of_every_file(desk: Desk, make: Make) -> None:
    """With `dashboard = "counts"` no file of the dashboard names a job or a command; with the default they do."""
    desk.run(desk.enqueue(id="secret-job", command="secret-command", max_retries=0), Outcome("failed", 1))
    for detail, is_there in (("counts", False), ("full", True)):
        board = make(dashboard=detail, metrics=True)
        go_on(board)
        board.close_inherited()
        for name in (PAGE, FACTS):
            assert ("secret" in Path(desk.spool.root, name).read_text()) is is_there
        assert "secret" not in Path(desk.spool.root, METRICS).read_text()


def test_one_supervisor_writes_and_another_takes_over(spool: SpoolDir, make: Make, clock: FakeClock) -> None:
    """While one has the lock the other does nothing; when it is gone the other writes in its next step (P5)."""
    first, second = make(), make()
    go_on(first)
    before = written(spool)
    for _ in range(20):
        clock.advance(HEARTBEAT_S)
        assert second.step() == ""
        assert written(spool) == before
    first.close_inherited()  # all that the system does when a process is killed
    go_on(second)
    assert written(spool) != before
    clock.advance(HEARTBEAT_S)
    after = written(spool)
    assert go_on(first) == ""
    assert written(spool) == after


def test_first_snapshot_waits_for_short_jobs_but_not_for_long(
    spool: SpoolDir, settings: Settings, clock: FakeClock, rng: random.Random
) -> None:
    busy = [True]
    board = Dashboard(Session(spool, settings, clock, rng), is_busy=lambda: busy[0])
    clock.advance(1.0)
    go_on(board)
    assert not dashboard_files(spool)  # the CPU is the jobs'
    clock.advance(2.0)
    go_on(board)
    assert dashboard_files(spool)  # however busy
    clock.advance(6.0)
    first = written(spool)
    Path(spool.folder(DONE), "x.json").write_text("{}")
    go_on(board)
    assert written(spool) != first  # only the first one is delayed
    board.close_inherited()


def test_first_snapshot_comes_at_once_when_nothing_waits(
    spool: SpoolDir, settings: Settings, clock: FakeClock, rng: random.Random
) -> None:
    board = Dashboard(Session(spool, settings, clock, rng), is_busy=lambda: False)
    clock.advance(1.0)
    go_on(board)
    assert dashboard_files(spool)
    board.close_inherited()


def test_quiet_spool_has_a_heartbeat(spool: SpoolDir, make: Make, clock: FakeClock) -> None:
    """Nothing new is written every 30 s and not more often."""
    board = make()
    versions, seconds = set(), 0.0
    while seconds < 10 * HEARTBEAT_S:
        board.step()
        versions.add(written(spool))
        clock.advance(0.5)
        seconds += 0.5
    assert 10 <= len(versions - {""}) <= 12


def test_what_changes_is_written_within_seconds_and_not_more_often(desk: Desk, make: Make, clock: FakeClock) -> None:
    """A spool in which something happens all the time is written each 5 s; a single change waits no longer."""
    board = make()
    go_on(board)
    seen = [written(desk.spool)]
    for number in range(50):
        desk.enqueue(id=f"job{number}")
        clock.advance(1.0)
        board.step()
        if written(desk.spool) != seen[-1]:
            seen.append(written(desk.spool))
    assert 50 / (EVERY_S + 2) <= len(seen) <= 50 / EVERY_S + 1
    for _ in range(20):
        clock.advance(0.5)
        board.step()
    assert facts(desk.spool)["counts"]["pending"] == 50


def test_nothing_is_listed_while_nothing_changes(
    desk: Desk, make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle spool costs a few stats, however many jobs lie in it."""
    board = make()
    for _ in range(40):
        board.step()
        clock.advance(0.5)
    listed: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    for _ in range(20):
        board.step()
        clock.advance(0.5)
    assert listed == []


def test_page_is_written_a_last_time_when_the_last_pool_ends(desk: Desk, make: Make, rng: random.Random) -> None:
    """Whoever opens the page afterwards sees how it ended; while other pools live, one of them goes on."""
    board = make()
    go_on(board)
    desk.run(desk.enqueue(id="job"), Outcome("succeeded", 0))
    other = Pool(desk.session, count=1, cwd="/")
    other.enter()
    board.close()
    assert facts(desk.spool)["counts"]["done"] == 0
    other.close_inherited()
    make().close()
    assert facts(desk.spool)["counts"]["done"] == 1
    assert "no workers" in Path(desk.spool.root, PAGE).read_text()


def test_trouble_is_told_once_and_stops_nothing(
    spool: SpoolDir, make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the dashboard and not the pool (P9); with room again it is written by itself."""
    board = make()
    with monkeypatch.context() as full:
        full.setattr(disk, "write_all", full_disk)
        told = []
        for _ in range(100):
            told.append(go_on(board))
            clock.advance(1.0)
        assert [text for text in told if text] == [
            "cannot write the dashboard: No space left on device; jobs continue without it"
        ]
        assert dashboard_files(spool) == os.listdir(spool.tmp_dir) == []
        board.close()
    again = make()
    clock.advance(HEARTBEAT_S)
    go_on(again)
    assert dashboard_files(spool) == [PAGE, FACTS]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a privilege for links; read-only files stay on Windows")
def test_a_defect_of_the_page_stops_nothing(make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that no disk raised is reported once, and neither a step nor the end of the pool raises it."""

    def defect(*_: object) -> str:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("queuectl.pool.dashboard._text", defect)
    board = make()
    told = []
    for _ in range(100):
        told.append(go_on(board))
        clock.advance(1.0)
    assert [text for text in told if text] == [
        "cannot write the dashboard: ZeroDivisionError: a defect; jobs continue without it"
    ]
    board.close()


def test_link_and_read_only_file_are_replaced(spool: SpoolDir, make: Make, tmp_path: Path) -> None:
    """What lies in the page's place is never written through: a link is replaced, not followed (P10, P11)."""
    target = tmp_path / "target"
    target.write_text("mine")
    os.symlink(target, os.path.join(spool.root, PAGE))
    readonly = Path(spool.root, FACTS)
    readonly.write_text("old")
    readonly.chmod(0o444)
    assert go_on(make()) == ""
    assert target.read_text() == "mine"
    assert not os.path.islink(os.path.join(spool.root, PAGE))
    assert facts(spool)["version"] == 1


@pytest.mark.skipif(os.name == "nt", reason="there it looks like a file that somebody has open: tried again")
def test_folder_in_the_place_of_one_file_costs_that_file_only(spool: SpoolDir, make: Make) -> None:
    """A folder is left alone and told of, and the other files are written."""
    os.mkdir(os.path.join(spool.root, FACTS))
    assert "cannot write the dashboard" in go_on(make())
    assert os.path.isdir(os.path.join(spool.root, FACTS))
    assert os.path.isfile(os.path.join(spool.root, PAGE))
    assert os.listdir(spool.tmp_dir) == []


def test_long_look_is_taken_in_short_steps(spool: SpoolDir, settings: Settings) -> None:
    """The loop goes on between the steps: none of them is longer than it may be, whatever there is to list."""

    class Ticking(FakeClock):
        def monotonic(self) -> float:
            self.monotonic_s += 0.004
            return self.monotonic_s

    clock = Ticking()
    board = Dashboard(Session(spool, settings, clock, random.Random(1)))
    clock.advance(1.0)
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        board.step()
        return dashboard_files(spool) == [PAGE, FACTS]

    wait_until(step)
    board.close_inherited()
    assert steps > 3


def test_name_that_is_no_text_does_not_stop_the_facts() -> None:
    """P6: half a surrogate pair, as a name that is not UTF-8 has, is in status.json as an escape."""
    found = snapshot_of("half \ud800 pair")
    made = dashboard._text(FACTS, found, ("", ""))
    assert json.loads(made)["spool"] == "/srv/half \ud800 pair"
    assert made.splitlines()[1] == dashboard._text(FACTS, snapshot_of(), ("", "")).splitlines()[1] == ' "version": 1,'
