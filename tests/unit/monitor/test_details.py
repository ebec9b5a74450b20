"""details: what the rows of a snapshot say, from the records and the files beside them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from queuectl.jobs import error_text
from queuectl.jobs.verdict import Skipped
from queuectl.model.lifecycle import DLQ, DONE, PENDING, Outcome
from queuectl.model.settings import Settings
from queuectl.monitor import facts, live, metrics, page_facts
from queuectl.monitor.rows import EndedPool
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import Survey
from queuectl.spool import counts
from queuectl.spool.counts import DIED, DRAINED, Counts, Ended, Row
from queuectl.spool.folder import SpoolDir
from queuectl.spool.pools import Pool
from queuectl.spool.session import Session
from tests.helpers import NOON_AT, Desk, FakeClock

OK = Outcome("succeeded", 0, duration_s=0.5)
FAILED = Outcome("failed", 3, duration_s=1.5)
NOON = int(NOON_AT)


def take(spool: SpoolDir, *, is_full: bool = True, now_at: float = NOON_AT) -> Snapshot:
    """A snapshot as the dashboard takes it."""
    return drain(Survey(spool, is_full=is_full, next_rows=10).take(now_at))


def test_what_runs_next_has_its_owner_tags_and_age(desk: Desk, clock: FakeClock) -> None:
    """A row says whose job it is, how to find it, since when it waits, and where its file is."""
    name = desk.enqueue(id="job1", owner="anna", tags=["photo", "night"], command=["convert", "a b.jpg"])
    desk.drop("dropped.json", {"command": "true"})
    clock.advance(60)
    found = take(desk.spool, now_at=NOON_AT + 60)
    by_id = {row.id: row for row in found.nexts}
    row = by_id["job1"]
    assert (row.owner, row.tags, row.since, row.runs) == ("anna", ("photo", "night"), NOON_AT, 0)
    assert row.record == f"{PENDING}/{name}"
    assert by_id["dropped"].record == f"{PENDING}/dropped.json"
    since = by_id["dropped"].since
    assert since is not None and since <= NOON_AT + 60
    assert found.owners == (("anna", 1, 0, 0, 0),)
    assert set(found.tags) == {("photo", 1, 0, 0, 0), ("night", 1, 0, 0, 0)}


def test_files_of_a_job_are_named_where_they_exist(desk: Desk) -> None:
    """The page links the record, the log and the error text, relative to the spool, and no file that is not there."""
    name = desk.run(desk.enqueue(id="dead", max_retries=0), FAILED).name
    desk.run(desk.enqueue(id="good"), OK)
    Path(desk.spool.log_path("good", 1)).write_text("fine\n")
    made = Survey(desk.spool, is_full=True)
    (failure,) = drain(made.take(NOON_AT)).failures
    assert (failure.record, failure.log, failure.text) == ("dlq/dead.json", "", "")
    error_text.write(desk.session, name)
    found = drain(made.take(NOON_AT))  # the text comes after its job, whose file stays as it was
    assert found.failures[0].text == "dlq/dead.error.txt"
    good, dead = sorted(found.finishes, key=lambda each: not each.is_good)
    assert (good.id, good.record, good.log, good.text) == ("good", "done/good.json", "logs/good.1.log", "")
    assert (dead.id, dead.record, dead.text) == ("dead", "dlq/dead.json", "dlq/dead.error.txt")
    assert dead.error.startswith("exit 3")


def test_usual_duration_is_that_of_the_same_command(desk: Desk) -> None:
    """A run is compared with runs of the same program and shape that succeeded lately."""
    for number, took_s in enumerate((1.0, 3.0, 90.0)):
        job = desk.enqueue(id=f"done{number}", command=f"convert photo-{number}.jpg")
        desk.run(job, Outcome("succeeded", 0, duration_s=took_s))
    desk.run(desk.enqueue(id="bad", max_retries=0, command="convert photo-9.jpg"), FAILED)
    desk.start(desk.enqueue(id="now", command="convert photo-77.jpg"))
    assert [(row.usual_s, row.record) for row in take(desk.spool).runs] == [(3.0, "running/now.json")]


def test_causes_leave_cancelled_jobs_out(desk: Desk) -> None:
    """Dead jobs are grouped, and what is in no group is counted."""
    for number in range(3):
        desk.run(desk.enqueue(id=f"dead{number}", max_retries=0, command=f"false {number}"), FAILED)
        Path(desk.spool.log_path(f"dead{number}", 1)).write_text(f"no page {number}\n")
    desk.run(desk.enqueue(id="stop", tags=["t"], owner="anna"), Outcome("cancelled"))
    error_text.write(desk.session, "stop.json")
    found = take(desk.spool)
    (row,) = found.causes
    assert (row.cause, row.jobs, len(row.ids)) == ("exit 3: no page …", 3, 3)
    assert (found.causes_left, found.dead, found.tags_left, found.owners_left) == (0, 3, 0, 0)
    assert (found.tags, found.owners) == ((), ())
    assert take(desk.spool, is_full=False).causes == ()


def test_last_hour_is_what_pools_counted_or_at_least_what_is_seen(desk: Desk) -> None:
    """Counts tell it, also of jobs that were deleted since; without them the records that were read do."""
    desk.run(desk.enqueue(id="dead", max_retries=0), FAILED)
    desk.run(desk.enqueue(id="good"), OK)
    found = take(desk.spool)
    assert (found.done_last_hour, found.failed_last_hour, found.load.hour) == (1, 1, ())
    counts.write(desk.spool, Counts(minutes=(Row(NOON - 600, 40, 2), Row(NOON - 3600, 9, 9))))
    found = take(desk.spool)
    assert (found.done_last_hour, found.failed_last_hour) == (40, 2)
    assert (found.load.hour[-1].waiting, found.load.hour[-1].running) == (0, 0)
    later = take(desk.spool, now_at=NOON_AT + 7200)
    assert (later.done_last_hour, later.failed_last_hour) == (0, 0)


def test_a_skipped_job_is_told_for_an_hour(desk: Desk) -> None:
    """A duplicate leaves the queue without a run: status.json, the page and the metrics count it by itself."""
    claimed = desk.start(desk.drop("good.json", {"command": "true", "unique": "k"}))
    assert isinstance(desk.decline(desk.drop("again.json", {"command": "true", "unique": "k"})), Skipped)
    desk.settlements.settle(claimed, OK)
    found = take(desk.spool)
    assert (found.counts[DONE], found.done_last_hour, found.skipped_last_hour) == (2, 1, 1)
    assert facts.document(found, advice=("", ""))["last_hour"] == {"done": 1, "failed": 0, "skipped": 1}
    assert "queuectl_recently_skipped_jobs 1.0" in metrics.text(found)
    [done] = [each for each in page_facts.stats_of(found) if each.label == "Done"]
    assert ("1 skipped in the last hour", None) in done.parts
    assert take(desk.spool, now_at=NOON_AT + 7200).skipped_last_hour == 0


def test_counts_alone_hold_no_tag_owner_or_path(desk: Desk) -> None:
    """What is not to be shown is not even in the snapshot."""
    desk.run(desk.enqueue(id="xdead", max_retries=0, tags=["xtag"], owner="xowner", command="xcommand"), FAILED)
    desk.enqueue(id="xnext", tags=["xtag"], owner="xowner")
    desk.start(desk.enqueue(id="xnow", tags=["xtag"], owner="xowner"))
    assert "'x" not in repr(take(desk.spool, is_full=False)._replace(path="", counts={}))
    assert "xtag" in repr(take(desk.spool)) and "xowner" in repr(take(desk.spool))


def test_jobs_that_were_not_read_are_left_out_and_counted(desk: Desk) -> None:
    """A snapshot says of how many jobs it does not know the tags and owners."""
    for number in range(15):
        desk.enqueue(id=f"job{number}", tags=["t"], owner="anna")
    found = take(desk.spool)
    assert (found.tags, found.tags_left) == ((("t", 10, 0, 0, 0),), 5)
    assert (found.owners, found.owners_left) == ((("anna", 15, 0, 0, 0),), 0)


def test_how_the_last_pool_ended(spool: SpoolDir, settings: Settings, clock: FakeClock) -> None:
    """A pool that ended says how; one that was killed leaves its record; while one lives there is no last one."""
    assert take(spool).ended_pool is None
    counts.write(spool, Counts(ended=Ended("gone", DRAINED, NOON_AT)))
    assert take(spool).ended_pool == EndedPool(DRAINED, NOON_AT)
    pool = Pool(Session(spool, settings, clock, random.Random(1)), count=1, cwd="/")
    pool.enter()
    assert take(spool).ended_pool is None
    assert live.ended_pool(spool, (), None) is None  # it started a moment after the pools were listed
    pool.close_inherited()
    assert take(spool).ended_pool == EndedPool(DIED, None)
    counts.write(spool, Counts(ended=Ended(pool.name, DRAINED, NOON_AT)))  # its record is left for the next pool
    assert take(spool).ended_pool == EndedPool(DRAINED, NOON_AT)


@pytest.mark.parametrize("state", [DONE, DLQ])
def test_a_log_that_is_deleted_costs_no_row(desk: Desk, state: str) -> None:
    """Rows stay when retention or a person takes files away."""
    desk.run(desk.enqueue(id="job", max_retries=0), OK if state == DONE else FAILED)
    made = Survey(desk.spool, is_full=True)
    drain(made.take(NOON_AT))
    Path(desk.spool.path(state, "job.json")).unlink()
    assert drain(made.take(NOON_AT)).finishes == ()
