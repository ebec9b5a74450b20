"""survey: a snapshot of a spool, taken in small steps with a bounded number of reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.model import names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.model.text import command_text
from queuectl.monitor import listing
from queuectl.monitor.rows import ROWS
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.status import collect
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import PAGE, Survey
from queuectl.spool.desk import Given
from queuectl.spool.folder import SpoolDir
from queuectl.system import files
from tests.helpers import NOON_AT, Desk, write_drop

OK = Outcome("succeeded", 0, duration_s=0.5)
FAILED = Outcome("failed", 3, duration_s=1.5)


def take(made: Survey, now_at: float = NOON_AT) -> Snapshot:
    """A whole snapshot."""
    return drain(made.take(now_at))


def a_bit_of_everything(desk: Desk) -> None:
    """A spool with a job in each state, a retry, a rejected file and a foreign one."""
    desk.run(desk.enqueue(id="good"), OK)
    desk.run(desk.enqueue(id="dead", command=["false", "a b"], max_retries=0, env={"TOKEN": "s3cr3t"}), FAILED)
    desk.run(desk.enqueue(id="again"), FAILED)
    desk.start(desk.enqueue(id="now", timeout=60))
    desk.enqueue(id="next")
    write_drop(desk.spool, "bad.json", "{", REJECTED)
    write_drop(desk.spool, "bad.json.reason.txt", "Rejected 2027-01-15T08:00:00Z\nWhy: no JSON\n", REJECTED)
    write_drop(desk.spool, "photo.jpg", b"\xff", PENDING)
    write_drop(desk.spool, "next (conflicted copy 2027-01-15).json", b"{}", PENDING)
    write_drop(desk.spool, "half.json", '{"command": "tr', PENDING)
    Path(desk.spool.log_path("dead", 1)).write_text("first\n10%\r50%\rbroken\n\nlast\n")


def test_snapshot_agrees_with_status(desk: Desk) -> None:
    """The dashboard and `queuectl status` count the same."""
    a_bit_of_everything(desk)
    found, status = take(Survey(desk.spool, is_full=True)), collect(desk.spool, now_at=NOON_AT)
    for name in (
        "path",
        "paused",
        "counts",
        "ready",
        "later",
        "next_due_at",
        "last_due_at",
        "oldest_id",
        "oldest_since",
        "foreign",
        "copies",
        "arriving",
        "refusals",
    ):
        assert getattr(found, name) == getattr(status, name), name
    assert (found.foreign, found.copies) == ({PENDING: 2}, {PENDING: 1})
    assert {state: len(listed) for state, listed in status.foreign_names.items()} == found.foreign
    assert found.arriving != ()


def test_rows_tell_what_is_in_the_records(desk: Desk) -> None:
    """What runs and until when, what died of what and what it said last, what is tried again, what is no job."""
    a_bit_of_everything(desk)
    found = take(Survey(desk.spool, is_full=True))
    (run,), (failure,), (due,), (refusal,) = found.runs, found.failures, found.dues, found.refusals
    assert run[:2] == ("now", 1) and (run.timeout_s, run.command, run.started_at) == (60, "true", NOON_AT)
    assert (failure.id, failure.command, failure.attempt) == ("dead", command_text(["false", "a b"]), 1)
    assert failure.output == ("first", "broken", "last")
    assert (due.id, due.runs, due.max_retries, due.error) == ("again", 1, 3, "exit 3")
    assert refusal == ("bad.json", "no JSON", NOON_AT)
    assert [(each.duration_s, each.is_good) for each in found.finishes] == [(0.5, True), (1.5, False)]
    assert "s3cr3t" not in repr(found)


def test_a_job_whose_worker_is_gone_is_told_apart(desk: Desk) -> None:
    """A run is alive while its lease is held, where no pool lives that could have it."""
    desk.start(desk.enqueue(id="now"))
    assert take(Survey(desk.spool, is_full=True)).runs[0].is_alive
    desk.die()
    assert not take(Survey(desk.spool, is_full=True)).runs[0].is_alive


def test_counts_alone_hold_no_text_of_a_job(desk: Desk) -> None:
    """What is not to be shown is not even in the snapshot."""
    a_bit_of_everything(desk)
    Path(desk.spool.paused_path).write_text("because of job dead")
    full, counts = (take(Survey(desk.spool, is_full=is_full)) for is_full in (True, False))
    assert (counts.runs, counts.failures, counts.dues, counts.refusals, counts.paused) == ((), (), (), (), "")
    assert (counts.counts, counts.longest_since) == (full.counts, NOON_AT)
    assert [each[:3] for each in counts.finishes] == [each[:3] for each in full.finishes]
    assert not [word for word in ("dead", "now", "next", "bad.json", "false") if repr(word) in repr(counts)]


def test_many_jobs_are_named_and_not_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs are done, a bounded number of files is opened, and a second look opens none."""
    scope = PAGE._replace(kept=250)
    monkeypatch.setattr(listing, "NAMES_A_STEP", 100)
    data = files.read(desk.spool.path(DONE, desk.run(desk.enqueue(id="job"), OK).name), 1 << 20).data
    for number in range(700):
        path = Path(desk.spool.path(DONE, f"job{number:04d}.json"))
        path.write_bytes(data.replace(b'"job"', b'"job%04d"' % number))
    reads, stats = [], []
    read, sig_of = files.read, files.sig_of
    monkeypatch.setattr(files, "read", lambda *facts, **options: reads.append(facts) or read(*facts, **options))
    monkeypatch.setattr(files, "sig_of", lambda path: stats.append(path) or sig_of(path))
    made = Survey(desk.spool, is_full=True, scope=scope)
    found = take(made)
    assert found.counts[DONE] == 701
    assert len(found.finishes) == len(reads) - 2 == ROWS  # and the clock's note, and the counts
    assert len([path for path in stats if path.startswith(desk.spool.folder(DONE))]) == 250 + 1
    assert desk.spool.path(DONE, "job.json") in stats  # the first by name may be the oldest
    assert desk.spool.path(DONE, "job0699.json") in stats and desk.spool.path(DONE, "job0450.json") in stats
    reads.clear()
    assert take(made) == found
    assert [facts[0] for facts in reads] == [desk.spool.counts_path, desk.spool.clock_path]


def test_what_runs_next_is_told_where_it_is_asked_for(desk: Desk) -> None:
    """The jobs that run next come in the order of `list`, drops and batches by their names; others are not opened."""
    for number, priority in enumerate((0, 0, 5)):
        desk.enqueue(id=f"job{number}", priority=priority)
    desk.drop("dropped.json", {"command": "true"})
    desk.drop("many.jsonl", "")
    assert take(Survey(desk.spool, is_full=True)).nexts == ()
    found = take(Survey(desk.spool, is_full=True, next_rows=4))
    assert [row[:1] + row[2:4] for row in found.nexts] == [
        ("job2", 5, "true"),
        ("dropped", 0, ""),
        ("job0", 0, "true"),
        ("job1", 0, "true"),
    ]
    assert take(Survey(desk.spool, is_full=False, next_rows=4)).nexts == ()


def test_an_incomplete_file_is_not_among_what_runs_next(desk: Desk) -> None:
    """It is shown as arriving only, and what could run is at least what is listed."""
    desk.drop("half.json", '{"command": "date",}')
    desk.drop("whole.json", {"command": "true"})
    for is_full, listed in ((True, ["whole"]), (False, [])):
        found = take(Survey(desk.spool, is_full=is_full, next_rows=9))
        assert [row.id for row in found.nexts] == listed
        assert (found.ready, found.incomplete, found.counts[PENDING]) == (1, 1, 2)
    assert [row.name for row in take(Survey(desk.spool, is_full=True, next_rows=9)).arriving] == ["half.json"]


def test_held_jobs_have_rows(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number of held jobs is read, in the order of their names; a snapshot of counts has none."""
    monkeypatch.setattr(listing, "HELD_ROWS", 2)
    monkeypatch.setattr(listing, "NAMES_A_STEP", 2)
    for job_id in ("cc", "aa", "bb"):
        name = desk.enqueue(id=job_id, command="make", owner="anna", tags=["t"])
        os.rename(desk.spool.path(PENDING, name), desk.spool.path(PENDING, names.held_name(name)))
    desk.enqueue(id="a-free")
    found = take(Survey(desk.spool, is_full=True, next_rows=9))
    path = f"{PENDING}/aa,by=anna,hold.json"
    assert found.held_jobs[0] == ("aa", "make", "anna", ("t",), NOON_AT, path)
    assert ([row.id for row in found.held_jobs], found.held, found.ready) == (["aa", "bb"], 3, 1)
    assert take(Survey(desk.spool, is_full=True)).held_jobs == ()
    assert take(Survey(desk.spool, is_full=False, next_rows=9)).held_jobs == ()


def test_age_of_what_ended_first(desk: Desk) -> None:
    """The oldest file of done/ and of dlq/ is known by its time, whatever its name."""
    for state, job_id in ((DONE, "b"), (DONE, "a"), (DLQ, "c")):
        outcome = OK if state == DONE else FAILED
        desk.run(desk.enqueue(id=job_id, max_retries=0), outcome)
    for state, name, age_s in ((DONE, "a.json", 10), (DONE, "b.json", 500), (DLQ, "c.json", 50)):
        os.utime(desk.spool.path(state, name), (NOON_AT - age_s, NOON_AT - age_s))
    assert take(Survey(desk.spool, is_full=True)).ended_since == {DONE: NOON_AT - 500, DLQ: NOON_AT - 50}


def test_file_that_changed_is_read_again(desk: Desk) -> None:
    """What is remembered of a file counts only as long as the file stays as it is."""
    name = desk.enqueue(id="job", max_retries=0)
    made = Survey(desk.spool, is_full=True)
    desk.run(name, FAILED)
    assert take(made).failures[0].attempt == 1
    os.replace(desk.spool.path(DLQ, "job.json"), desk.spool.path(PENDING, "job.json"))
    desk.run("job.json", FAILED)
    assert take(made).failures[0].attempt == 2


@pytest.mark.parametrize("state", [RUNNING, DONE, DLQ])
def test_what_is_no_record_is_counted_and_not_shown(spool: SpoolDir, state: str) -> None:
    """A damaged file, a link, a folder and a record of many megabytes hold up nothing."""
    write_drop(spool, "torn.json", record.OPENINGS[0], state)
    os.mkdir(spool.path(state, "folder.json"))
    write_drop(spool, "huge.json", b" " * (PAGE.record_bytes + 1), state)
    found = take(Survey(spool, is_full=True))
    assert found.counts[state] == 2
    assert found.foreign == {state: 1}  # the folder
    assert (found.runs, found.failures, found.finishes) == ((), (), ())


def test_marks_change_with_every_move(desk: Desk) -> None:
    """A job that came or went shows without a listing."""
    made = Survey(desk.spool, is_full=True)

    def old_marks() -> tuple[object, ...]:
        for state in (PENDING, RUNNING, DONE):
            os.utime(desk.spool.folder(state), (1, 1))  # a folder's time may be as coarse as the next moves are apart
        return made.marks()

    for act in (
        lambda: desk.enqueue(id="job"),
        lambda: desk.run("job.json", OK),
        lambda: Path(desk.spool.paused_path).touch(),
    ):
        before = old_marks()
        assert made.marks() == before
        act()
        assert made.marks() != before


def test_rows_have_what_runs_gave_back(desk: Desk) -> None:
    """The beginning of JSON or text, also of a run that failed, with how far it was; read once."""
    results = {"json": b'{"rows": [1, 2], "name": "\xc3\xa4"}', "text": b"one\ntwo\n", "odd": b"\xff", "none": b""}
    results["long"] = b"".join(b"line %d\n" % number for number in range(30))
    results["huge"] = b"x" * (64 * 1024 + 1)
    for job_id, data in results.items():
        name = desk.enqueue(id=job_id, max_retries=0)
        if data:
            Path(desk.spool.result_path(job_id, 1)).write_bytes(data)
        claimed = desk.start(name)
        claimed.given = Given(len(data) or None, progress="42 %  page 3" if job_id == "text" else "")
        desk.settlements.settle(claimed, FAILED if job_id == "text" else OK)
    survey = Survey(desk.spool, is_full=True)
    found = {each.id: each.result for each in take(survey).finishes}
    long = (*(f"line {number}" for number in range(12)), "...")
    assert found == {
        "json": ("{", ' "rows": [', "  1,", "  2", " ],", ' "name": "ä"', "}"),
        "text": ("one", "two"),
        "odd": (),
        "none": (),
        "long": long,
        "huge": (),
    }
    (row,) = take(survey).failures
    assert (row.progress, row.result) == ("42 %  page 3", ("one", "two"))
    Path(desk.spool.result_path("json", 1)).unlink()
    assert {each.id: each.result for each in take(survey).finishes} == found
    assert all(each.result == () for each in take(Survey(desk.spool, is_full=False)).finishes)
