"""claim: taking a waiting file, and starting it. The heart."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import subprocess
import sys
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.verdict import (
    Alive,
    Arriving,
    Busy,
    Claimed,
    Dead,
    Declined,
    Gone,
    Later,
    Returned,
    Split,
)
from queuectl.model import folding, history, names, record, settings
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.system import disk, files
from tests.helpers import NOON_AT, Desk, FakeClock, full_disk, listing, only, unreadable, write_drop

JOB: dict[str, Any] = {"command": "echo hello"}
OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)
WINDOWS = sys.platform == "win32"
posix_only = pytest.mark.skipif(WINDOWS, reason="POSIX: links, FIFOs, modes, limits, moves while open")


# ------------------------------------------------------------------------------------------------------------- claim


def test_enqueued_job_is_started(desk: Desk) -> None:
    """A claimed job lies in running/ with its start, worker and lease on record (P2, P4)."""
    claimed = desk.start(desk.enqueue(id="job1"))
    assert (claimed.job_id, claimed.attempt, claimed.failures, claimed.lease) == ("job1", 1, 0, "w1.0")
    assert listing(desk.spool) == {"running": ["job1.json"]}
    started = desk.record(RUNNING, "job1.json").history[-1]
    assert (started.event, started.attempt, started.worker, started.lease) == ("started", 1, "w1", "w1.0")
    assert claimed.data == Path(desk.spool.path(RUNNING, "job1.json")).read_bytes()


def _leftover(desk: Desk) -> subprocess.Popen[bytes]:
    """A process that has inherited the desk's lease, as what a command started has."""
    return subprocess.Popen(["sleep", "60"], pass_fds=[desk.lease.fd])


@posix_only
@pytest.mark.parametrize("kind", ["released", "timed_out", "failed", "cancelled", "vanished"])
def test_no_run_begins_while_something_of_the_last_one_lives(desk: Desk, other_desk: Desk, kind: str) -> None:
    """P3: whatever the history says of the last run, its lease decides; the job waits where it was, unchanged."""
    claimed = desk.start(desk.enqueue(id="a", max_retries=9, backoff_base=0))
    with _leftover(desk) as left:
        if kind == "vanished":
            os.rename(desk.spool.path(RUNNING, "a.json"), desk.spool.path(PENDING, "a.json"))
        else:
            settled = desk.settlements.settle(claimed, Outcome(kind, 143, "", 0.1))
            if settled.to == DLQ:
                os.rename(desk.spool.path(DLQ, "a.json"), desk.spool.path(PENDING, "a.json"))
        assert not desk.lease.change()
        before = Path(desk.spool.path(PENDING, "a.json")).read_bytes()
        for tried in (other_desk, desk):
            declined = tried.decline("a.json")
            assert isinstance(declined, Alive) and "lease w1.0" in declined.why
        assert listing(desk.spool) == {"pending": ["a.json"]}
        assert Path(desk.spool.path(PENDING, "a.json")).read_bytes() == before
        left.kill()
        left.wait()
    assert type(other_desk.begin("a.json")) is (Later if kind == "vanished" else Claimed)


@posix_only
def test_a_job_that_is_run_again_by_hand_waits_for_what_its_success_left(desk: Desk, other_desk: Desk) -> None:
    """P3: a daemon of a run that succeeded keeps the next run from starting, until it ends."""
    desk.run(desk.enqueue(id="a"), OK)
    with _leftover(desk) as left:
        assert not desk.lease.renew()
        os.rename(desk.spool.path(DONE, "a.json"), desk.spool.path(PENDING, "a.json"))
        assert isinstance(other_desk.decline("a.json"), Alive)
        left.kill()
        left.wait()
    other_desk.start("a.json")


def test_a_lease_that_its_worker_uses_again_holds_back_no_job(desk: Desk, other_desk: Desk) -> None:
    """P5: after a plain success a worker goes on under its lease, for hours maybe; the first job may run meanwhile."""
    desk.run(desk.enqueue(id="a"), OK)
    assert desk.lease.renew()
    desk.start(desk.enqueue(id="b"))
    os.rename(desk.spool.path(DONE, "a.json"), desk.spool.path(PENDING, "a.json"))
    assert other_desk.start("a.json").attempt == 2


@posix_only
def test_a_record_that_was_edited_waits_for_its_last_run_as_well(desk: Desk, other_desk: Desk) -> None:
    """P3: a job saved by an editor in another form is taken in like a drop, but not started beside its last run."""
    claimed = desk.start(desk.enqueue(id="a"))
    desk.settlements.settle(claimed, Outcome("released"))
    with _leftover(desk) as left:
        assert not desk.lease.change()
        write_drop(desk.spool, "a.json", json.dumps(desk.document(PENDING, "a.json"), indent=7))
        assert isinstance(other_desk.decline("a.json"), Later)
        assert isinstance(other_desk.decline("a.json"), Alive)
        left.kill()
        left.wait()
    assert other_desk.start("a.json").attempt == 2


def test_claim_keeps_the_inode_of_an_enqueued_job(desk: Desk) -> None:
    """One inode serves a job for life: no file is made and deleted for it."""
    name = desk.enqueue()
    inode = os.stat(desk.spool.path(PENDING, name)).st_ino
    desk.run(name, OK)
    assert os.stat(desk.spool.path(DONE, name)).st_ino == inode


def test_name_that_is_gone_is_declined(desk: Desk) -> None:
    """A suggestion that is out of date costs nothing (P8)."""
    assert isinstance(desk.decline("job1.json"), Gone)
    assert isinstance(desk.decline(names.generate_id(NOON_AT, desk.rng) + ".json"), Gone)
    assert isinstance(desk.decline("job1.jsonl"), Gone)


def test_claim_is_exclusive(desk: Desk, other_desk: Desk) -> None:
    """Of two workers that want a job, one gets it (P3)."""
    name = desk.enqueue(id="job1")
    desk.start(name)
    assert isinstance(other_desk.decline(name), Gone)


def test_busy_stripe_declines(desk: Desk, other_desk: Desk) -> None:
    """A process that is stopped in mid-claim blocks its stripe and nothing else (P3)."""
    name = desk.enqueue(id="job1")
    other = desk.enqueue(id="job2")
    assert names.stripe_of("job1") != names.stripe_of("job2")
    assert other_desk.stripes.of("job1").try_acquire()
    assert isinstance(desk.decline(name), Busy)
    assert isinstance(desk.triage.reject_quiet(name, Arriving(files.FileSig(0, 0, 0), "")), Busy)
    assert isinstance(desk.claim(other), Claimed)
    other_desk.stripes.of("job1").release()
    assert isinstance(desk.claim(name), Claimed)


def test_id_that_runs_is_busy(desk: Desk) -> None:
    """A second file with the id of a running job waits for it and stays as it is (P3, P7)."""
    desk.start(desk.enqueue(id="job1"))
    desk.drop("job1.json", JOB)
    assert isinstance(desk.decline("job1.json"), Busy)
    assert json.loads(Path(desk.spool.path(PENDING, "job1.json")).read_text()) == JOB


def test_stripe_is_free_after_every_kind_of_claim(desk: Desk, other_desk: Desk) -> None:
    """No way through a claim keeps a stripe (P3)."""
    desk.start(desk.enqueue(id="a"))
    for name, content in (("b.json", "{"), ("c.json", "5"), ("d.json", "[5]"), ("e.json", {**JOB, "id": "zz"})):
        desk.claim(desk.drop(name, content))
    desk.claim("gone.json")
    for number in range(names.STRIPE_COUNT):
        lock = other_desk.stripes.at(number)
        assert lock.try_acquire(), number
        lock.release()


def _claim_all(root: str, worker: str, seed: int, barrier: Barrier, out: str) -> None:
    """A process that claims whatever it can get, in an order of its own, until nothing is left."""
    spool = SpoolDir(root)
    desk = Desk(spool, worker=worker, seed=seed, settings=settings_file.load(spool))
    won: list[str] = []
    barrier.wait(60)
    while left := spool.waiting_names():
        random.Random(seed).shuffle(left)
        for name in left:
            claimed = desk.claim(name)
            if isinstance(claimed, Claimed):
                won.append(claimed.job_id)
    Path(out).write_text(json.dumps(won))
    os._exit(0)  # as a worker that was killed: its lease file stays


def test_claims_of_many_processes_are_exclusive(spool: SpoolDir, tmp_path: Path) -> None:
    """Four processes on 200 files: each job is claimed once, by one of them (P2, P3)."""
    Path(spool.settings_path).write_text('durability = "off"\n')
    desk = Desk(spool, worker="producer", settings=settings_file.load(spool))
    desk.producer.publish([desk.producer.prepare(JOB, by="enqueue") for _ in range(120)])
    for number in range(80):
        write_drop(spool, f"drop{number}.json", {**JOB, "id": f"id{number}"} if number % 2 else JOB)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    outs = [tmp_path / f"won{number}" for number in range(4)]
    workers = [
        context.Process(target=_claim_all, args=(spool.root, f"w{number}", number, barrier, str(out)))
        for number, out in enumerate(outs)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join(60)
        assert process.exitcode == 0
    won = Counter(job_id for out in outs for job_id in json.loads(out.read_text()))
    assert len(won) == 200
    assert set(won.values()) == {1}
    assert len(listing(spool)["running"]) == 200
    assert set(listing(spool)) == {"running"}
    for name in spool.job_names(RUNNING):
        assert desk.events(RUNNING, name).count("started") == 1
    desk.close()


def test_exactly_what_was_read_is_run(desk: Desk) -> None:
    """The command that runs is the one on record when it was claimed."""
    claimed = desk.start(desk.drop("job1.json", JOB))
    Path(desk.spool.path(RUNNING, "job1.json")).write_text('{"command": "evil"}')
    assert claimed.record.command == "echo hello"


# ---------------------------------------------------------------------------------------------------- taking in drops


def test_array_becomes_many_jobs(desk: Desk) -> None:
    """A file with an array is split into jobs of their own."""
    declined = desk.decline(desk.drop("jobs.json", [JOB, {**JOB, "id": "mine"}]))
    assert isinstance(declined, Split) and declined.jobs == 2
    assert set(listing(desk.spool)) == {"pending"}
    assert "mine.json" in listing(desk.spool)["pending"]
    for name in desk.spool.job_names(PENDING):
        desk.run(name, OK)


@pytest.mark.parametrize("code", ["EMFILE", "ENFILE", "ENOMEM", "EIO"])
@pytest.mark.parametrize("generated", [False, True])
def test_trouble_of_the_machine_is_raised_and_the_file_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, code: str, generated: bool
) -> None:
    """Too many open files are the worker's trouble: it is told, and the job waits uncounted (P9)."""
    name = f"{names.generate_id(NOON_AT, desk.rng) if generated else 'x'}.json"
    desk.drop(name, JOB)

    with unreadable(monkeypatch, code), pytest.raises(OSError):
        desk.claim(name)
    assert listing(desk.spool) == {"pending": [name]}
    assert desk.start(name).attempt == 1


def test_drop_that_is_overwritten_while_it_is_read_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file can be half old and half new and still parse: its bytes count when they are read twice the same."""
    name = desk.drop("x.json", {"command": "old"})
    real = disk.move

    def overwritten(source: str, target: str, **options: Any) -> None:
        real(source, target, **options)
        if target.endswith(os.path.join("running", "x.json")):
            Path(target).write_text('{"command": "new"}')

    with monkeypatch.context() as patch:
        patch.setattr(disk, "move", overwritten)
        assert isinstance(desk.decline(name), Arriving)
    assert listing(desk.spool) == {"pending": [name]}
    assert desk.start(name).record.command == "new"


# ------------------------------------------------------------------------------------------------------------ waiting


def test_job_that_is_not_due_goes_back_under_its_name(desk: Desk) -> None:
    """A name is a hint: a job whose record says "later" gets the name that says so."""
    name = desk.enqueue(id="job1", delay=60)
    os.rename(desk.spool.path(PENDING, name), desk.spool.path(PENDING, "job1.json"))
    declined = desk.decline("job1.json")
    assert declined == Later(name, NOON_AT + 60)
    assert listing(desk.spool) == {"pending": ["job1,due=20270115T080100Z.json"]}
    desk.clock.advance(60)
    assert desk.start(name).attempt == 1
    assert listing(desk.spool) == {"running": ["job1.json"]}


def test_name_that_claims_a_higher_priority_is_put_right(desk: Desk) -> None:
    """The record is the truth: a name alone moves nobody to the front."""
    desk.enqueue(id="job1", priority=2)
    os.rename(desk.spool.path(PENDING, "job1,prio=2.json"), desk.spool.path(PENDING, "job1,prio=9.json"))
    assert desk.decline("job1,prio=9.json").name == "job1,prio=2.json"
    assert desk.decline(desk.drop("x,prio=9.json", JOB)).name == "x.json"
    assert isinstance(desk.claim("job1,prio=2.json"), Claimed)


def test_clock_that_was_set_back_strands_no_retry(desk: Desk) -> None:
    """A job waits for no longer than its own delay, whatever the clock does (P5)."""
    name = desk.run(desk.enqueue(id="job1"), FAILED).name
    desk.clock.now_at -= 31_536_000
    assert isinstance(desk.claim(name), Claimed)


# --------------------------------------------------------------------------------------------------- trouble, undoing


@pytest.mark.parametrize("drop", [False, True])
def test_full_disk_at_the_start_puts_the_job_back_uncounted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, drop: bool
) -> None:
    """A start that cannot be recorded is no start: the job is in pending/ as it was (P4, P9)."""
    name = desk.drop("x.json", JOB) if drop else desk.enqueue()
    before = Path(desk.spool.path(PENDING, name)).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "create" if drop else "append", full_disk)
        with pytest.raises(OSError):
            desk.claim(name)
    assert listing(desk.spool) == {"pending": [name]}
    assert Path(desk.spool.path(PENDING, name)).read_bytes() == before
    assert os.listdir(desk.spool.tmp_dir) == []
    assert desk.start(name).attempt == 1


def test_start_that_may_be_on_disk_is_released_uncounted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start whose sync failed is on record, so its release is too (P4, P9)."""
    name = desk.enqueue(id="a", max_retries=0)
    real = disk.append
    calls = []

    def failing_once(*args: Any, **options: Any) -> int:
        size = real(*args, **options)
        calls.append(size)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return size

    with monkeypatch.context() as patch:
        patch.setattr(disk, "append", failing_once)
        with pytest.raises(OSError):
            desk.claim(name)
    assert listing(desk.spool) == {"pending": ["a.json"]}
    assert desk.events(PENDING, "a.json") == ["enqueued", "started", "released"]
    assert desk.start("a.json").failures == 0


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("call", ["move", "replace", "create", "append"])
@pytest.mark.parametrize(
    "content", ["enqueued", {"command": "a"}, {"command": "a", "id": "other"}, {"command": "a", "delay": 5}, "not due"]
)
def test_trouble_at_any_step_of_a_claim_loses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, content: object, call: str, step: int
) -> None:
    """Whichever file operation of a claim fails, the job is in the spool once and can be run (P1, P2, P9)."""
    if content == "enqueued":
        name = desk.enqueue(id="a")
    elif content == "not due":
        desk.enqueue(id="a", delay=5)
        os.rename(desk.spool.path(PENDING, "a,due=20270115T080005Z.json"), desk.spool.path(PENDING, "a.json"))
        name = "a.json"
    else:
        name = desk.drop("a.json", content)
    real, calls = getattr(disk, call), []

    def failing(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == step + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(disk, call, failing)
        try:
            claimed = desk.claim(name)
        except OSError:
            claimed = Returned()
            desk.lease.abandon()
    if isinstance(claimed, Claimed):
        desk.settlements.settle(claimed, OK)
    else:
        for running in desk.spool.job_names(RUNNING):
            assert desk.orphans.rescue(running) is not None
        assert set(listing(desk.spool)) == {"pending"}
        desk.clock.advance(5)
        waiting = only(desk.spool, PENDING)
        again = desk.claim(waiting)
        if isinstance(again, Declined):
            assert isinstance(again, Later)
            desk.clock.advance(5)
            again = desk.claim(again.name)
        assert isinstance(again, Claimed)
        assert again.failures <= 1
        desk.settlements.settle(again, OK)
    assert set(listing(desk.spool)) == {"done"}
    assert len(listing(desk.spool)["done"]) == 1
    assert os.listdir(desk.spool.tmp_dir) == []


# ---------------------------------------------------------------------------------------------------- moves by hand


@pytest.mark.parametrize(("state", "outcome"), [(DONE, OK), (DLQ, Outcome("failed", 1))])
def test_record_that_is_dragged_to_pending_runs_again_afresh(desk: Desk, state: str, outcome: Outcome) -> None:
    """Dragging a file from done/ or dlq/ is a requeue: fresh budget, history kept (P7)."""
    desk.run(desk.enqueue(id="a", max_retries=0), outcome)
    os.rename(desk.spool.path(state, "a.json"), desk.spool.path(PENDING, "a.json"))
    claimed = desk.start("a.json")
    assert (claimed.attempt, claimed.failures) == (2, 0)
    assert desk.events(RUNNING, "a.json") == ["enqueued", "started", outcome.kind, "requeued", "started"]
    assert claimed.record.history[0].event == "enqueued"


@pytest.mark.parametrize("edited", [False, True])
def test_running_record_that_is_dragged_to_pending_waits_for_its_run(
    desk: Desk, other_desk: Desk, edited: bool
) -> None:
    """A file dragged out of running/ makes no second run beside the first (P3); when that one is over, it counts."""
    desk.start(desk.enqueue(id="a"))
    os.rename(desk.spool.path(RUNNING, "a.json"), desk.spool.path(PENDING, "a.json"))
    if edited:
        path = Path(desk.spool.path(PENDING, "a.json"))
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
        assert isinstance(other_desk.decline("a.json"), Later)
    assert isinstance(other_desk.decline("a.json"), Alive)
    assert listing(desk.spool) == {"pending": ["a.json"]}
    desk.die()
    declined = other_desk.decline("a.json")
    assert isinstance(declined, Later) and declined.name == "a.json"
    claimed = other_desk.start("a.json")
    assert (claimed.attempt, claimed.failures) == (2, 1)
    assert other_desk.events(RUNNING, "a.json") == ["enqueued", "started", "abandoned", "started"]


def test_dead_run_that_is_dragged_to_pending_may_be_the_last(desk: Desk, other_desk: Desk) -> None:
    """Dragging a dead run around gives it no more runs than it has."""
    desk.start(desk.enqueue(id="a", max_retries=0))
    os.rename(desk.spool.path(RUNNING, "a.json"), desk.spool.path(PENDING, "a.json"))
    desk.die()
    assert isinstance(other_desk.decline("a.json"), Dead)
    assert listing(desk.spool) == {"dlq": ["a.json"]}


# --------------------------------------------------------------------------------------------------------- durability


@pytest.mark.parametrize(("durability", "synced"), [("queue", False), ("full", True), ("off", False)])
def test_starts_and_outcomes_are_synced_where_asked(
    spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, durability: str, synced: bool
) -> None:
    """`full` forces every start and outcome to disk before going on; the others do not wait for it (P4)."""
    desk = Desk(spool, settings=settings.defaults()._replace(durability=durability))
    name = desk.enqueue(id="a")
    real, seen = disk.append, []

    def watched(*args: Any, sync: bool, **options: Any) -> int:
        seen.append(sync)
        return real(*args, sync=sync, **options)

    monkeypatch.setattr(disk, "append", watched)
    desk.run(name, OK)
    assert seen == [synced, synced]
    desk.close()


def test_located_paths_are_what_the_spool_says(desk: Desk) -> None:
    """A claim names files only through the spool."""
    name = desk.enqueue(id="a")
    assert desk.spool.find("a") == Located(PENDING, name, desk.spool.path(PENDING, name))


def test_clock_of_a_claim_is_the_one_given(desk: Desk) -> None:
    """Time enters through the clock only."""
    assert isinstance(desk.clock, FakeClock)
    desk.clock.now_at = 1_000_000_000.0
    desk.start(desk.enqueue(id="a"))
    assert desk.record(RUNNING, "a.json").history[-1].at == "2001-09-09T01:46:40.000Z"


# ----------------------------------------------------------------------------------------- copies of what has ended


def test_claim_folds_a_long_history_and_counts_on(desk: Desk) -> None:
    """P4: a record of 300 KiB is rewritten when it is claimed; its run has the next number and ends as any other."""
    spec = {"id": "a", "command": "true", "max_retries": 5000, "backoff_base": 0, "backoff_max": 0}
    events = [history.event("enqueued", NOON_AT, by="enqueue")]
    for attempt in range(1, 2001):
        events.append(history.event("started", NOON_AT, attempt=attempt, worker="w9", lease="w9.0"))
        events.append(history.event("failed", NOON_AT, attempt=attempt, exit_code=1, to=PENDING))
    desk.drop("a.json", record.frame(spec, events))
    claimed = desk.start("a.json")
    assert (claimed.attempt, claimed.failures) == (2001, 2000)
    path = Path(desk.spool.path(RUNNING, "a.json"))
    assert path.read_bytes() == claimed.data
    assert len(claimed.data) < 40_000
    assert os.listdir(desk.spool.tmp_dir) == []
    settled = desk.settlements.settle(claimed, Outcome("failed", 1, "", 0.01))
    item = desk.record(PENDING, settled.name)
    assert (item.standing().starts, item.standing().failures) == (2001, 2001)
    inode = os.stat(desk.spool.path(PENDING, settled.name)).st_ino
    assert desk.start(settled.name).attempt == 2002
    assert os.stat(path).st_ino == inode


def test_fold_gives_way_to_an_editor(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P7: a record that somebody saves between the read and the rewrite is not replaced by what was read before."""
    spec = {"id": "a", "command": "true", "max_retries": 5000, "backoff_base": 0, "backoff_max": 0}
    runs = [history.event("started", NOON_AT, attempt=1), history.event("failed", NOON_AT, attempt=1, to=PENDING)]
    desk.drop("a.json", record.frame(spec, [history.event("enqueued", NOON_AT, by="enqueue"), *(runs * 3000)]))
    edited = record.frame({**spec, "command": "edited"}, [history.event("enqueued", NOON_AT, by="enqueue")])
    real = folding.fold

    def fold(data: bytes, item: record.Record) -> bytes | None:
        Path(desk.spool.path(RUNNING, "a.json")).write_bytes(edited)
        return real(data, item)

    monkeypatch.setattr(folding, "fold", fold)
    assert isinstance(desk.decline("a.json"), Arriving)
    assert Path(desk.spool.path(PENDING, "a.json")).read_bytes() == edited
