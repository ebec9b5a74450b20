"""Each tick of a schedule is one job: files in schedules/ and their notes, by a clock that is set by hand (P14)."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.schedule_upkeep import ScheduleUpkeep
from queuectl.jobs.ticker import Ticker
from queuectl.model import tick_name, times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.model.notice import Notice
from queuectl.model.settings import defaults
from queuectl.spool import lookup, schedule_files
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk, sharing
from queuectl.system.locks import NamedLock
from tests.helpers import FakeClock

# 2027-01-15T08:00:00Z, a Friday.
START_AT = 1_800_000_000.0
HOURLY = {"command": "true", "cron": "0 * * * *", "zone": "UTC", "overlap": "allow"}


class Pool:
    """What one pool does about schedules, a look at a time."""

    def __init__(self, spool: SpoolDir, clock: FakeClock) -> None:
        self.notices: list[Notice] = []
        self.clock = clock
        self.session = Session(spool, defaults(), clock, random.Random(1))
        self.ticker = Ticker(self.session, notify=self.notices.append)
        self.spool = spool

    def look(self, seconds: float = 0.0) -> list[str]:
        """Let time pass and look."""
        self.clock.advance(seconds)
        return self.ticker.look(schedule_files.names(self.spool), list_again=lambda: schedule_files.names(self.spool))

    def texts(self, kind: str) -> list[str]:
        """The notices of a kind."""
        return [notice.text for notice in self.notices if notice.kind == kind]


@pytest.fixture
def pool(spool: SpoolDir, clock: FakeClock) -> Iterator[Pool]:
    """One pool; schedules/ is there and empty."""
    os.makedirs(spool.schedules_dir, exist_ok=True)
    clock.now_at = START_AT
    made = Pool(spool, clock)
    yield made
    made.ticker.close()


def put(spool: SpoolDir, name: str, content: object) -> Path:
    """Write a file to schedules/ as a user does."""
    path = Path(spool.schedule_path(name))
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def files(spool: SpoolDir) -> list[str]:
    """The names in schedules/, without the README."""
    return sorted(name for name in os.listdir(spool.schedules_dir) if name != "README.txt")


def ids(spool: SpoolDir, *states: str) -> list[str]:
    """The ids of the jobs in some states, all by default."""
    return sorted(
        name.partition(",")[0].removesuffix(".json")
        for state in states or (PENDING, RUNNING, DONE, DLQ)
        for name in spool.job_names(state)
    )


def end(spool: SpoolDir, state: str = DONE) -> None:
    """Let all jobs end, as somebody does who moves files."""
    for name in spool.job_names(PENDING):
        os.rename(spool.path(PENDING, name), spool.path(state, name.partition(",")[0].removesuffix(".json") + ".json"))


def test_a_tick_makes_one_job_and_the_note_says_so(pool: Pool, spool: SpoolDir) -> None:
    """The first look notes the next tick; when it has come there is a job, and the tick after it is next (P14)."""
    put(spool, "hourly.json", {**HOURLY, "queue": "disk"})
    assert pool.look() == []
    assert files(spool) == ["hourly,next=20270115T090000Z.tick", "hourly.json"]
    assert Path(spool.schedule_path("hourly,next=20270115T090000Z.tick")).read_text() == "cron 0 * * * * in UTC\n"
    assert pool.ticker.next_at == START_AT + 3600
    assert pool.look(3599) == []
    (name,) = pool.look(1)
    assert files(spool) == ["hourly,last=20270115T090000Z,next=20270115T100000Z.tick", "hourly.json"]
    assert spool.job_names(PENDING) == [name]
    job = lookup.get(pool.session, "hourly-20270115T090000Z")
    assert job.queue == "disk"
    assert job.spec["env"] == {"QUEUECTL_TICK": "2027-01-15T09:00:00Z"}
    assert job.history[0]["by"] == "schedule"
    assert job.history[0]["schedule"] == "hourly"
    assert job.history[0]["tick"] == "2027-01-15T09:00:00Z"
    assert pool.look() == []


def test_nothing_is_read_or_locked_while_nothing_is_due(
    pool: Pool, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look before the next tick opens no file and takes no lock."""
    put(spool, "hourly.json", HOURLY)
    pool.look()
    pool.look(1)
    monkeypatch.setattr(NamedLock, "try_acquire", lambda _: pytest.fail("locked"))
    monkeypatch.setattr(schedule_files, "content_of", lambda *_: pytest.fail("read"))
    pool.look(1)


def test_the_user_s_file_is_never_touched(pool: Pool, spool: SpoolDir) -> None:
    """A schedule's file has its bytes, inode and times after ticks, holds and mistakes."""
    path = put(spool, "hourly.json", HOURLY)
    before = path.stat()
    for _ in range(5):
        pool.look(3600)
    assert path.stat() == before or path.stat()[:7] == before[:7]
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(("catch_up", "made"), [("one", [10]), ("none", []), ("all", [*list(range(9, 11)), 8])])
def test_catch_up_after_a_pool_was_away(pool: Pool, spool: SpoolDir, catch_up: str, made: list[int]) -> None:
    """Ticks that passed without a pool follow the catch-up rule, and the pool says how many made no job."""
    pool.clock.now_at = START_AT - 1800
    put(spool, "hourly.json", {**HOURLY, "catch_up": catch_up})
    pool.look()
    other = Pool(spool, pool.clock)
    other.look(2.6 * 3600)
    assert ids(spool) == sorted(f"hourly-20270115T{hour:02}0000Z" for hour in made)
    assert "next=20270115T110000Z" in files(spool)[0]
    assert bool(other.texts("missed")) == (catch_up != "all")
    other.ticker.close()


def test_a_year_of_minutes_without_a_pool_is_one_job(pool: Pool, spool: SpoolDir) -> None:
    """A long time away floods nothing."""
    put(spool, "m.json", {**HOURLY, "cron": "* * * * *"})
    pool.look()
    pool.look(365 * 86400)
    assert ids(spool) == ["m-20280115T080000Z"]


def test_all_makes_a_hundred_at_most(pool: Pool, spool: SpoolDir) -> None:
    """`all` makes the newest hundred, oldest first, over several looks if need be."""
    put(spool, "m.json", {**HOURLY, "cron": "* * * * *", "catch_up": "all"})
    pool.look()
    names = pool.look(86400)
    assert names == sorted(names)
    assert len(ids(spool)) == 100
    assert ids(spool)[-1] == "m-20270116T080000Z"


# ------------------------------------------------------------------------------------------------------------- crashes


def test_a_tick_that_was_begun_is_gone_on_with(pool: Pool, spool: SpoolDir) -> None:
    """Whoever finds `making` makes the job if it is nowhere, and makes no other if it is anywhere (P14)."""
    put(spool, "hourly.json", HOURLY)
    pool.look()
    os.rename(
        spool.schedule_path("hourly,next=20270115T090000Z.tick"),
        spool.schedule_path("hourly,making=20270115T090000Z.tick"),
    )
    pool.look(3601)
    assert ids(spool) == ["hourly-20270115T090000Z"]
    assert files(spool)[0] == "hourly,last=20270115T090000Z,next=20270115T100000Z.tick"


@pytest.mark.parametrize("state", [PENDING, RUNNING, DONE, DLQ])
@pytest.mark.parametrize("flags", ["", ",due=20270116T000000Z,prio=5", ",hold"])
def test_a_job_that_was_made_before_a_crash_is_not_made_again(
    pool: Pool, spool: SpoolDir, state: str, flags: str
) -> None:
    """After a crash between the job and the note the job is found in each state and under each name (P14)."""
    if flags and state != PENDING:
        return
    put(spool, "hourly.json", HOURLY)
    pool.look()
    pool.look(3600)
    (name,) = spool.job_names(PENDING)
    os.rename(spool.path(PENDING, name), spool.path(state, f"hourly-20270115T090000Z{flags}.json"))
    os.rename(
        spool.schedule_path("hourly,last=20270115T090000Z,next=20270115T100000Z.tick"),
        spool.schedule_path("hourly,making=20270115T090000Z.tick"),
    )
    pool.look()
    assert len(ids(spool)) == 1
    assert files(spool)[0] == "hourly,last=20270115T090000Z,next=20270115T100000Z.tick"


def test_a_job_that_somebody_made_under_the_id_of_a_tick_is_its_job(pool: Pool, spool: SpoolDir) -> None:
    """Of two schedules of one time, whose jobs share their steps, one finds its job waiting under flags (P14)."""
    put(spool, "a.json", HOURLY)
    put(spool, "b.json", HOURLY)
    pool.look()
    Path(spool.path(PENDING, "a-20270115T090000Z,prio=3.json")).write_text('{"command": "true"}')
    pool.look(3600)
    assert ids(spool) == ["a-20270115T090000Z", "b-20270115T090000Z"]


def test_a_note_that_is_open_delays_the_pool_for_an_instant_only(
    pool: Pool, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's loop makes the ticks: no rename of a note waits as long as for a file of ours (P9, Windows)."""
    put(spool, "a.json", HOURLY)
    pool.look()
    waits: list[float] = []

    def replace(source: str, target: str, *, patience_s: float = sharing.SHARING_DEADLINE_S, **rest: Any) -> None:
        waits.append(patience_s)
        os.replace(source, target, **rest)

    monkeypatch.setattr(disk, "replace", replace)
    pool.look(3600)
    assert ids(spool) == ["a-20270115T090000Z"]
    assert waits and max(waits) <= sharing.GLANCE_S


def test_the_trouble_of_one_schedule_is_its_own(pool: Pool, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that another program holds keeps one schedule back; the others make their jobs, and it follows (P9)."""
    for name in "abc":
        put(spool, f"{name}.json", HOURLY)
    pool.look()
    rename = ScheduleUpkeep.rename

    def refusing(self: ScheduleUpkeep, note: tick_name.Note, new: tick_name.Note) -> tick_name.Note:
        if note.schedule == "a":
            raise PermissionError(13, "held", note.name)
        return rename(self, note, new)

    monkeypatch.setattr(ScheduleUpkeep, "rename", refusing)
    pool.look(3600)
    assert ids(spool) == ["b-20270115T090000Z", "c-20270115T090000Z"]
    assert pool.ticker.trouble == "held: a,next=20270115T090000Z.tick"
    assert not pool.ticker.is_behind
    monkeypatch.undo()
    pool.look(2)
    assert ids(spool)[0] == "a-20270115T090000Z"
    assert pool.ticker.trouble == ""


def test_while_another_has_the_lock_nothing_is_done(pool: Pool, spool: SpoolDir) -> None:
    """Of several pools the one with the lock makes the tick; the others look again soon."""
    put(spool, "hourly.json", HOURLY)
    pool.look()
    lock = NamedLock(spool.schedules_lock_path)
    assert lock.try_acquire()
    assert pool.look(3600) == []
    assert pool.ticker.is_behind
    assert ids(spool) == []
    lock.release()
    assert len(pool.look()) == 1
    assert not pool.ticker.is_behind
    lock.close()


def test_two_pools_make_a_tick_once(pool: Pool, spool: SpoolDir) -> None:
    """A pool whose listing is old does no tick twice (P14)."""
    put(spool, "hourly.json", HOURLY)
    other = Pool(spool, pool.clock)
    pool.look()
    other.look()
    old = schedule_files.names(spool)
    assert len(pool.look(3600)) == 1
    end(spool)
    made = other.ticker.look(old, list_again=lambda: schedule_files.names(spool))
    assert made == []
    assert ids(spool) == ["hourly-20270115T090000Z"]
    other.ticker.close()


# --------------------------------------------------------------------------------------------------------------- clocks


def test_a_clock_that_is_a_year_ahead_for_a_while_makes_one_job(pool: Pool, spool: SpoolDir) -> None:
    """A clock that is wrong by a year and comes back stops no schedule for a year and repeats no tick (P14)."""
    put(spool, "hourly.json", HOURLY)
    pool.look()
    pool.look(3600)
    pool.clock.now_at += 365 * 86400
    pool.look()
    assert ids(spool) == ["hourly-20270115T090000Z", "hourly-20280115T090000Z"]
    pool.clock.now_at -= 365 * 86400
    pool.look(1)
    assert files(spool)[0] == "hourly,last=20280115T090000Z,next=20270115T100000Z.tick"
    pool.look(3600)
    assert "hourly-20270115T100000Z" in ids(spool)
    assert len(ids(spool)) == 3


def test_a_clock_that_was_a_year_ahead_before_the_pool_started(pool: Pool, spool: SpoolDir) -> None:
    """A pool that starts with the right clock replaces a `next` that a wrong one made."""
    pool.clock.now_at += 365 * 86400
    put(spool, "hourly.json", HOURLY)
    pool.look()
    pool.clock.now_at -= 365 * 86400
    other = Pool(spool, pool.clock)
    other.look()
    assert files(spool)[0] == "hourly,next=20270115T090000Z.tick"
    other.ticker.close()


@pytest.mark.parametrize("back_s", [1, 5, 1800, 7200])
def test_a_clock_that_is_set_back_repeats_no_tick(pool: Pool, spool: SpoolDir, back_s: int) -> None:
    """After a tick the clock goes back over it: the tick comes again, and its job is there, whatever it is named."""
    put(spool, "hourly.json", HOURLY)
    pool.look()
    pool.look(3600)
    pool.look(3600)
    (first, second) = spool.job_names(PENDING)
    os.rename(spool.path(PENDING, first), spool.path(DONE, "hourly-20270115T090000Z.json"))
    os.rename(spool.path(PENDING, second), spool.path(PENDING, "hourly-20270115T100000Z,prio=3.json"))
    pool.clock.now_at -= back_s
    pool.look()
    for _ in range(3):
        pool.look(3600)
    made = ids(spool)
    assert len(made) == len(set(made))
    assert made[:2] == ["hourly-20270115T090000Z", "hourly-20270115T100000Z"]
    assert made[-1] == f"hourly-{times.to_name(pool.clock.now_at // 3600 * 3600)}"


# -------------------------------------------------------------------------------------------------- hold, edit, delete


def test_a_held_schedule_makes_no_job_and_catches_nothing_up(pool: Pool, spool: SpoolDir) -> None:
    """While it is held `next` is out of the note; after the release it is computed from then."""
    path = put(spool, "hourly.json", HOURLY)
    pool.look()
    pool.look(3600)
    path.rename(spool.schedule_path("hourly,hold.json"))
    pool.look(10)
    assert files(spool) == ["hourly,hold.json", "hourly,last=20270115T090000Z.tick"]
    pool.look(5 * 3600)
    os.rename(spool.schedule_path("hourly,hold.json"), path)
    pool.look()
    assert files(spool)[0] == "hourly,last=20270115T090000Z,next=20270115T150000Z.tick"
    assert len(ids(spool)) == 1


def test_another_expression_catches_nothing_up(pool: Pool, spool: SpoolDir) -> None:
    """A changed expression is computed from now; a changed command is not."""
    put(spool, "a.json", HOURLY)
    pool.look()
    put(spool, "a.json", {**HOURLY, "cron": "30 * * * *"})
    pool.look(3 * 3600)
    assert ids(spool) == []
    assert files(spool)[0] == "a,next=20270115T113000Z.tick"
    assert Path(spool.schedule_path(files(spool)[0])).read_text() == "cron 30 * * * * in UTC\n"
    put(spool, "a.json", {**HOURLY, "cron": "30 * * * *", "command": "exit 0"})
    pool.look(1800)
    assert lookup.get(pool.session, "a-20270115T113000Z").command == "exit 0"


def test_a_change_of_the_expression_is_seen_at_the_next_look(pool: Pool, spool: SpoolDir) -> None:
    """An edit while nothing is due gives the note another `next`, and the new tick is made in time."""
    put(spool, "a.json", {**HOURLY, "cron": "0 12 * * *"})
    pool.look()
    put(spool, "a.json", {**HOURLY, "cron": "30 * * * *"})
    pool.look(2)
    assert files(spool)[0] == "a,next=20270115T083000Z.tick"
    pool.look(1798)
    assert ids(spool) == ["a-20270115T083000Z"]
    put(spool, "a.json", {**HOURLY, "cron": "0 12 * * *"})
    pool.look(2)
    assert files(spool)[0] == "a,last=20270115T083000Z,next=20270115T120000Z.tick"


def test_an_edit_just_before_the_tick_counts(pool: Pool, spool: SpoolDir) -> None:
    """The file is looked at again before its job is made, so an edit in place cannot come too late."""
    for number in range(150):
        put(spool, f"s{number:03}.json", HOURLY)
    pool.look()
    pool.look()
    pool.clock.advance(3600)
    put(spool, "s149.json", {**HOURLY, "command": "exit 0"})
    while pool.look():
        pass
    assert lookup.get(pool.session, "s149-20270115T090000Z").command == "exit 0"
    assert len(ids(spool)) == 150


def test_a_deleted_schedule_makes_no_job_and_its_note_goes(pool: Pool, spool: SpoolDir) -> None:
    """Without its file a schedule makes nothing; a minute later the note is deleted, so an editor may take its time."""
    path = put(spool, "a.json", HOURLY)
    pool.look()
    path.unlink()
    pool.look(3590)
    pool.look(30)
    assert ids(spool) == []
    assert files(spool) == ["a,next=20270115T090000Z.tick"]
    pool.look(31)
    assert files(spool) == []


def test_a_file_that_is_away_for_a_moment_loses_no_tick(pool: Pool, spool: SpoolDir) -> None:
    """An editor that moves the old file away before it writes the new one changes nothing."""
    path = put(spool, "a.json", HOURLY)
    pool.look()
    data = path.read_bytes()
    path.unlink()
    pool.look(3600)
    path.write_bytes(data)
    pool.look(1)
    assert ids(spool) == ["a-20270115T090000Z"]


def test_a_note_that_somebody_copied_does_no_harm(pool: Pool, spool: SpoolDir) -> None:
    """Of several notes the one that is furthest counts, and the others go."""
    put(spool, "a.json", HOURLY)
    pool.look()
    old = Path(spool.schedule_path(files(spool)[0]))
    data = old.read_bytes()
    pool.look(3600)
    old.write_bytes(data)
    assert len(files(spool)) == 3
    pool.look()
    assert files(spool) == ["a,last=20270115T090000Z,next=20270115T100000Z.tick", "a.json"]
    assert len(ids(spool)) == 1


def test_a_note_that_is_deleted_is_made_again(pool: Pool, spool: SpoolDir) -> None:
    """Losing the note repeats no tick."""
    put(spool, "a.json", HOURLY)
    pool.look()
    pool.look(3600)
    os.unlink(spool.schedule_path("a,last=20270115T090000Z,next=20270115T100000Z.tick"))
    pool.look()
    assert files(spool)[0] == "a,next=20270115T100000Z.tick"
    assert len(ids(spool)) == 1


def test_the_zone_of_the_first_look_stays(pool: Pool, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools with different TZ agree on a schedule without a zone: the note keeps the first one's (P14)."""
    monkeypatch.setattr("queuectl.system.zone.local_name", lambda: "Asia/Tokyo")
    put(spool, "a.json", {"command": "true", "cron": "0 2 * * *"})
    pool.look()
    monkeypatch.setattr("queuectl.system.zone.local_name", lambda: "Europe/Berlin")
    other = Pool(spool, pool.clock)
    other.look()
    assert files(spool)[0] == "a,next=20270115T170000Z.tick"
    other.ticker.close()


# -------------------------------------------------------------------------------------------------------------- overlap


def test_skip_makes_no_job_until_the_last_one_has_ended(pool: Pool, spool: SpoolDir) -> None:
    """The default: while the last job waits or runs, ticks make none, are counted, and are reported once."""
    put(spool, "a.json", {**HOURLY, "overlap": "skip"})
    pool.look()
    for _ in range(4):
        pool.look(3600)
    assert ids(spool) == ["a-20270115T090000Z"]
    assert files(spool)[0] == "a,last=20270115T090000Z,next=20270115T130000Z,skipped=3.tick"
    assert len(pool.texts("overlap")) == 1
    end(spool, DLQ)
    pool.look(3600)
    assert ids(spool, PENDING) == ["a-20270115T130000Z"]
    assert files(spool)[0] == "a,last=20270115T130000Z,next=20270115T140000Z,skipped=3.tick"


def test_a_job_that_was_deleted_holds_nothing_up(pool: Pool, spool: SpoolDir) -> None:
    """A last job that is nowhere has ended."""
    put(spool, "a.json", {**HOURLY, "overlap": "skip"})
    pool.look()
    pool.look(3600)
    os.unlink(spool.path(PENDING, spool.job_names(PENDING)[0]))
    pool.look(3600)
    assert ids(spool) == ["a-20270115T100000Z"]


def test_wait_makes_one_job_that_waits_for_the_running_one(pool: Pool, spool: SpoolDir) -> None:
    """With `wait` at most one job of the schedule runs and one waits."""
    put(spool, "a.json", {**HOURLY, "overlap": "wait"})
    pool.look()
    pool.look(3600)
    pool.look(3600)
    assert ids(spool) == ["a-20270115T090000Z"]  # it has not started, so it is enough
    (name,) = spool.job_names(PENDING)
    os.rename(spool.path(PENDING, name), spool.path(RUNNING, "a-20270115T090000Z.json"))
    pool.look(3600)
    assert spool.job_names(PENDING) == ["a-20270115T110000Z,after=a-20270115T090000Z.json"]
    [parent] = lookup.get(pool.session, "a-20270115T110000Z").spec["after"]
    assert parent["id"] == "a-20270115T090000Z"
    pool.look(3600)
    assert len(ids(spool)) == 2


# ------------------------------------------------------------------------------------------------------------- mistakes


def test_a_mistake_is_beside_the_file_until_it_is_mended(pool: Pool, spool: SpoolDir) -> None:
    """A file that is no schedule makes no jobs, and a text says why; mended, the catch-up rule applies."""
    put(spool, "a.json", HOURLY)
    pool.look()
    put(spool, "a.json", {**HOURLY, "catch_up": "some"})
    pool.look(2 * 3600)
    reason = Path(spool.schedule_path("a.reason.txt"))
    assert "catch_up: takes one, none or all" in reason.read_text()
    assert ids(spool) == []
    assert pool.texts("schedule") == [
        f'schedules/a.json makes no jobs: {"catch_up: takes one, none or all"}, not the text "some"'
    ]
    pool.look(10)
    assert len(pool.texts("schedule")) == 1
    put(spool, "a.json", HOURLY)
    pool.look(10)
    assert not reason.exists()
    assert ids(spool) == ["a-20270115T100000Z"]


def test_half_a_file_has_time_to_arrive(pool: Pool, spool: SpoolDir) -> None:
    """A file that is not whole is refused only after it has been quiet (P6)."""
    data = json.dumps(HOURLY).encode()
    put(spool, "a.json", data[:20])
    pool.look()
    pool.look(0.1)
    assert files(spool) == ["a.json"]
    pool.look(pool.session.settings.settle_s)
    assert files(spool) == ["a.json", "a.reason.txt"]
    put(spool, "a.json", data)
    pool.look(1)
    assert files(spool) == ["a,next=20270115T090000Z.tick", "a.json"]


def test_a_reason_that_is_not_ours_stays(pool: Pool, spool: SpoolDir) -> None:
    """A user's own file with the name of a reason is neither replaced nor deleted (P11)."""
    Path(spool.schedule_path("a.reason.txt")).write_text("mine")
    Path(spool.schedule_path("b.reason.txt")).write_text("mine")
    put(spool, "a.json", HOURLY)
    put(spool, "b.json", {})
    pool.look()
    assert {Path(spool.schedule_path(f"{name}.reason.txt")).read_text() for name in "ab"} == {"mine"}


@pytest.mark.skipif(os.name == "nt", reason="links, FIFOs and owners")
def test_what_is_no_regular_file_makes_no_jobs(pool: Pool, spool: SpoolDir, tmp_path: Path) -> None:
    """Links, folders, FIFOs and devices in schedules/ are never followed or opened for long (P10)."""
    real = tmp_path / "real.json"
    real.write_text(json.dumps(HOURLY))
    os.symlink(real, spool.schedule_path("link.json"))
    os.symlink("/nowhere", spool.schedule_path("dangling.json"))
    os.mkfifo(spool.schedule_path("fifo.json"))  # type: ignore[attr-defined,unused-ignore]
    os.mkdir(spool.schedule_path("folder.json"))
    for _ in range(3):
        pool.look(3600)
    assert ids(spool) == []
    assert {name for name in files(spool) if name.endswith(".reason.txt")} == {
        f"{name}.reason.txt" for name in ("link", "dangling", "fifo", "folder")
    }


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone can give a file away")
def test_a_stranger_s_file_makes_no_jobs(pool: Pool, spool: SpoolDir) -> None:
    """A schedule that belongs to another user than root and the workers makes no job (P10)."""
    path = put(spool, "a.json", HOURLY)
    if sys.platform != "win32":
        os.chown(path, 12345, -1)
    pool.look()
    pool.look(3600)
    assert ids(spool) == []
    assert "belongs to user 12345" in Path(spool.schedule_path("a.reason.txt")).read_text()


@pytest.mark.parametrize(
    "name", ["my job.json", "a,b.json", "ü.json", "x" * 70 + ".json", "a;rm -rf.json", "con.json", ",hold,hold.json"]
)
def test_an_odd_name_has_a_reason(pool: Pool, spool: SpoolDir, name: str) -> None:
    """A name that no id may hold makes no jobs, and the text says so (P6)."""
    if os.name == "nt" and name == "con.json":
        pytest.skip("Windows opens the device")
    put(spool, name, HOURLY)
    for _ in range(2):
        pool.look(3600)
    assert ids(spool) == []
    assert len([each for each in files(spool) if each.endswith(".reason.txt")]) == 1


def test_a_name_that_leaves_no_room_for_a_reason_does_no_harm(pool: Pool, spool: SpoolDir) -> None:
    """The longest name that a file may have is only reported."""
    put(spool, "x" * 250 + ".json", HOURLY)
    put(spool, "a.json", HOURLY)
    pool.look()
    pool.look(3600)
    assert ids(spool) == ["a-20270115T090000Z"]


def test_names_that_differ_in_case_are_one_schedule(pool: Pool, spool: SpoolDir) -> None:
    """The ids of their jobs would be the same, so only the first makes jobs."""
    put(spool, "Nightly.json", HOURLY)
    put(spool, "nightly.json", HOURLY)
    if len(files(spool)) == 1:
        return  # a file system that ignores case
    pool.look()
    pool.look(3600)
    assert ids(spool) == ["Nightly-20270115T090000Z"]
    assert "Nightly.json" in Path(spool.schedule_path("nightly.reason.txt")).read_text()


def test_unfinished_copies_are_left_alone(pool: Pool, spool: SpoolDir) -> None:
    """Names that clients give to unfinished files are no schedules (P11)."""
    for name in (".a.json", "a.json.tmp", "a.sync-conflict-20261124-031500.json", "~a.json", "README.txt"):
        put(spool, name, HOURLY)
    before = files(spool)
    pool.look(3600)
    pool.look(3600)
    assert files(spool) == before


def test_many_schedules_of_one_time_share_their_steps(pool: Pool, spool: SpoolDir) -> None:
    """Two hundred and fifty schedules of one time make their jobs within a few looks, each once (P14)."""
    for number in range(250):
        put(spool, f"s{number}.json", HOURLY)
    looks = 0
    while pool.look() or pool.ticker.is_behind:
        looks += 1
    pool.clock.advance(3600)
    while pool.look() or pool.ticker.is_behind:
        looks += 1
    assert len(ids(spool)) == 250
    assert looks < 10
    assert sum(name.endswith(",last=20270115T090000Z,next=20270115T100000Z.tick") for name in files(spool)) == 250


def test_the_job_of_a_tick_is_put_off_by_its_spread(pool: Pool, spool: SpoolDir) -> None:
    """With spread the job is there at the tick and due within the spread."""
    put(spool, "a.json", {**HOURLY, "spread": "10m"})
    pool.look()
    pool.look(3600)
    (name,) = spool.job_names(PENDING)
    due_at = lookup.get(pool.session, "a-20270115T090000Z").due_at
    assert due_at is not None
    assert START_AT + 3600 < due_at < START_AT + 4200
    assert f",due={times.to_name(due_at)}" in name


def test_a_fixed_time_runs_once_in_each_night_of_a_change(pool: Pool, spool: SpoolDir) -> None:
    """A pool that looks every ten minutes runs 02:30 once in both nights in which Berlin changes its clocks (P14)."""
    put(spool, "a.json", {**HOURLY, "cron": "30 2 * * *", "zone": "Europe/Berlin"})
    for day in (datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2027, 10, 30, 12, tzinfo=UTC)):
        pool.clock.now_at = day.timestamp()
        pool.look()
        before = set(ids(spool))
        for _ in range(24 * 6):
            pool.look(600)
        assert len(set(ids(spool)) - before) == 1
