"""claim: taking a waiting file, and starting it. The heart."""

from __future__ import annotations

import codecs
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

from queuectl.jobs.judge import WRITER_S
from queuectl.jobs.verdict import (
    Alive,
    Arriving,
    Busy,
    Claimed,
    Dead,
    Declined,
    Foreign,
    Gone,
    Later,
    Open,
    Rejected,
    Repaired,
    Returned,
    Split,
    Unreadable,
)
from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.model import history, job, names, record, settings
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.system import disk, files
from tests.helpers import NOON_AT, Desk, FakeClock, full_disk, listing, only, rejected_name, write_drop

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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")
@pytest.mark.parametrize("document", [JOB, [JOB, JOB]], ids=["one", "many"])
def test_whole_drop_is_left_to_its_writer_for_a_moment(desk: Desk, document: object) -> None:
    """The last step of a copy finds its file: a drop is not taken from a writer that was at it within the second."""
    desk.drop("job1.json", document)
    path = Path(desk.spool.path(PENDING, "job1.json"))
    with path.open("r+b"):
        desk.clock.now_at = path.stat().st_ctime + WRITER_S - 0.01
        assert isinstance(desk.decline("job1.json"), Open)
        assert listing(desk.spool) == {"pending": ["job1.json"]}
    assert isinstance(desk.claim("job1.json"), Claimed) == isinstance(document, dict)
    assert listing(desk.spool) != {"pending": ["job1.json"]}


@posix_only
@pytest.mark.parametrize("since_s", [WRITER_S, -5])
def test_drop_that_is_held_open_runs_all_the_same(desk: Desk, since_s: float) -> None:
    """JSON proves itself: a handle that nobody closes, and a clock that was set back, hold up nothing (P1)."""
    desk.drop("job1.json", JOB)
    path = Path(desk.spool.path(PENDING, "job1.json"))
    desk.clock.now_at = path.stat().st_ctime + since_s
    with path.open("r+b"):
        desk.start("job1.json")


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
        lock = other_desk.stripes._locks[number]
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


def test_drop_without_an_id_takes_its_stem(desk: Desk) -> None:
    """The file's name is the job's id, and it gets our framing and the spool's retry settings."""
    claimed = desk.start(desk.drop("report.json", JOB))
    assert claimed.job_id == "report"
    assert listing(desk.spool) == {"running": ["report.json"]}
    assert desk.events(RUNNING, "report.json") == ["enqueued", "started"]
    assert claimed.record.max_retries == 3
    assert os.listdir(desk.spool.tmp_dir) == []


def test_drop_whose_stem_is_no_id_gets_a_clean_one(desk: Desk) -> None:
    """The name that the producer gave is kept in the history."""
    claimed = desk.start(desk.drop("my report (2).json", JOB))
    assert claimed.job_id == "my-report-2"
    assert claimed.record.history[0].file == "my report (2).json"
    assert listing(desk.spool) == {"running": ["my-report-2.json"]}


def test_drop_with_another_id_than_its_stem_gets_its_id(desk: Desk) -> None:
    """The id in the file counts, not the file's name."""
    claimed = desk.start(desk.drop("x.json", {**JOB, "id": "job1"}))
    assert claimed.job_id == "job1"
    assert listing(desk.spool) == {"running": ["job1.json"]}
    assert claimed.record.history[0].file == "x.json"


@pytest.mark.parametrize(
    ("state", "file_name"),
    # Under the same name in pending/ it is the same file, and beside a running job it waits.
    [
        (PENDING, "x.json"),
        (RUNNING, "x.json"),
        *((state, name) for state in (DONE, DLQ) for name in ("x.json", "job1.json")),
    ],
)
def test_drop_with_an_id_that_is_taken_is_rejected(desk: Desk, state: str, file_name: str) -> None:
    """An explicit id that exists is a duplicate: kept with the reason, and the other job is not touched (P6, P7)."""
    if state in (DONE, DLQ):
        desk.run(desk.enqueue(id="job1"), OK if state == DONE else Outcome("cancelled"))
    elif state == RUNNING:
        desk.start(desk.enqueue(id="job1"))
    else:
        desk.enqueue(id="job1")
    before = Path(desk.spool.path(state, "job1.json")).read_bytes()
    declined = desk.decline(desk.drop(file_name, {**JOB, "id": "job1"}))
    assert isinstance(declined, Rejected)
    assert "job1" in declined.why and f"{state}/" in declined.why
    assert listing(desk.spool) == {state: ["job1.json"], "rejected": [file_name, f"{file_name}.reason.txt"]}
    assert Path(desk.spool.path(state, "job1.json")).read_bytes() == before


def test_same_name_every_night_is_a_new_job(desk: Desk) -> None:
    """Dropping report.json again is normal: a suffix makes its id new (P7)."""
    desk.run(desk.drop("report.json", JOB), OK)
    claimed = desk.start(desk.drop("report.json", JOB))
    assert claimed.job_id.startswith("report-20270115T080000-")
    assert listing(desk.spool) == {"done": ["report.json"], "running": [f"{claimed.job_id}.json"]}
    desk.settlements.settle(claimed, OK)
    assert desk.start(desk.drop("report.json", JOB)).job_id not in ("report", claimed.job_id)


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
)
def test_drop_of_any_editor_is_a_job(desk: Desk, encode: Any) -> None:
    """Byte order marks, UTF-16 and CRLF become plain UTF-8 when the job is taken in."""
    claimed = desk.start(desk.drop("x.json", encode('{\n"command": "echo grüße 日本"\n}\n')))
    assert claimed.record.command == "echo grüße 日本"
    assert record.is_framed(Path(desk.spool.path(RUNNING, "x.json")).read_bytes())


def test_unknown_keys_of_a_drop_are_kept(desk: Desk) -> None:
    """What the producer wrote beside the known keys stays in the file."""
    extra = {"customer": {"no": [1, 2.5, None]}, "$schema": "x", "state": "done", "attempts": 99, "created_at": "never"}
    claimed = desk.start(desk.drop("x.json", {**JOB, **extra}))
    assert (claimed.attempt, claimed.failures) == (1, 0)
    document = desk.document(RUNNING, "x.json")
    assert {key: document[key] for key in extra} == extra


def test_near_miss_of_a_key_is_a_warning_in_the_history(desk: Desk) -> None:
    """A typing error is named where a person looks at the job."""
    claimed = desk.start(desk.drop("x.json", {**JOB, "retries": 9, "foo": 1, "x-foo": 1}))
    assert desk.events(RUNNING, "x.json") == ["enqueued", "warning", "warning", "started"]
    assert "max_retries" in claimed.record.history[1].text
    assert "'foo' is unknown" in claimed.record.history[2].text
    assert claimed.record.max_retries == 3


def test_array_becomes_many_jobs(desk: Desk) -> None:
    """A file with an array is split into jobs of their own."""
    declined = desk.decline(desk.drop("jobs.json", [JOB, {**JOB, "id": "mine"}]))
    assert isinstance(declined, Split) and declined.jobs == 2
    assert set(listing(desk.spool)) == {"pending"}
    assert "mine.json" in listing(desk.spool)["pending"]
    for name in desk.spool.job_names(PENDING):
        desk.run(name, OK)


def test_lines_wait_until_they_are_quiet(desk: Desk) -> None:
    """A file of lines is whole at every line end, so only quiet proves that it is (P6)."""
    name = desk.drop("jobs.jsonl", '{"command": "a"}\n{"command": "b"}\n')
    declined = desk.decline(name)
    assert isinstance(declined, Arriving) and declined.why == ""
    assert declined.sig == files.sig_of(desk.spool.path(PENDING, name))
    assert listing(desk.spool) == {"pending": [name]}
    split = desk.claims.splits.split(name)
    assert isinstance(split, Split) and split.jobs == 2
    assert len(listing(desk.spool)["pending"]) == 2
    assert isinstance(desk.claims.splits.split(name), Gone)


def test_file_of_lines_with_a_name_like_ours_is_no_single_job(desk: Desk) -> None:
    """The ending says what is in a file, whatever its stem looks like."""
    name = desk.drop(names.generate_id(NOON_AT, desk.rng) + ".jsonl", '{"command": "a"}\n')
    assert isinstance(desk.decline(name), Arriving)
    assert listing(desk.spool) == {"pending": [name]}


def test_unfinished_file_is_waited_for_and_then_rejected_unchanged(desk: Desk) -> None:
    """What does not parse stays in pending/ until it was quiet; then it is kept with its reason (P6)."""
    content = b'{"command": "echo hel'
    name = desk.drop("x.json", content)
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert declined.sig is not None
    assert listing(desk.spool) == {"pending": [name]}
    rejected = desk.triage.reject_quiet(name, declined)
    assert isinstance(rejected, Rejected)
    assert listing(desk.spool) == {"rejected": ["x.json", "x.json.reason.txt"]}
    assert Path(desk.spool.path(REJECTED, "x.json")).read_bytes() == content
    assert declined.why in Path(desk.spool.reason_path("x.json")).read_text()


def test_unfinished_file_that_changed_is_not_rejected(desk: Desk) -> None:
    """A version that nobody has judged is never refused (P6)."""
    name = desk.drop("x.json", '{"command": ')
    declined = desk.decline(name)
    assert declined.sig is not None
    desk.drop("x.json", '{"command": "true')
    assert isinstance(desk.triage.reject_quiet(name, declined), Arriving)
    desk.drop("x.json", JOB)
    assert isinstance(desk.claim(name), Claimed)


def test_rejected_file_that_becomes_whole_runs(desk: Desk) -> None:
    """A writer that was slower than our patience loses nothing (P6)."""
    watch = RejectedFiles(desk.session)
    with open(desk.spool.path(PENDING, "x.json"), "w") as slow:
        slow.write('{"command": ')
        slow.flush()
        declined = desk.decline("x.json")
        assert declined.sig is not None
        verdict = desk.triage.reject_quiet("x.json", Arriving(declined.sig, ""))
        # Windows moves no file that its writer has open: there it is left where it is, to be judged when it changes.
        assert isinstance(verdict, Arriving if WINDOWS else Rejected)
        watch.readmit()
        slow.write('"true"}')
    assert watch.readmit() == ([] if WINDOWS else ["x.json"])
    assert desk.start("x.json").record.command == "true"
    assert "rejected" not in listing(desk.spool)


@pytest.mark.parametrize(
    "content",
    [
        "5",
        "[]",
        '{"comand": "x"}',
        '{"command": "x", "command": "y"}',
        '{"command": "x", "a": NaN}',
        {**JOB, "id": "../../x"},
        {**JOB, "id": "NUL"},
        {**JOB, "id": "a.tmp"},
        {**JOB, "timeout": -1},
        {**JOB, "max_retries": 10**400},
        {**JOB, "history": [5]},
        {**JOB, "format": 2},
        {**JOB, "customer": "\ud800"},
        "[" * 100_000 + "]" * 100_000,
        '{"command": "x", "a": ' + "9" * 5000 + "}",
        '{"command": "x", "a": 1e999}',
        {"command": []},
        {"command": "a\0b"},
    ],
)
@pytest.mark.parametrize("generated", [False, True])
def test_what_can_never_be_a_job_is_rejected_at_once(desk: Desk, content: object, generated: bool) -> None:
    """Whole JSON that is no job goes to rejected/, or is refused when quiet: no crash, nothing else touched (P6)."""
    name = f"{names.generate_id(NOON_AT, desk.rng)}.json" if generated else "x.json"
    before = Path(write_drop(desk.spool, name, content)).read_bytes()
    good = desk.enqueue()
    declined = desk.decline(name)
    if generated and isinstance(declined, Arriving):
        assert declined.sig is not None
        declined = desk.triage.reject_quiet(name, declined)
    assert isinstance(declined, Rejected)
    assert declined.why
    assert Path(desk.spool.path(REJECTED, rejected_name(desk.spool))).read_bytes() == before
    assert os.listdir(desk.spool.tmp_dir) == []
    desk.run(good, OK)


def test_job_larger_than_the_limit_is_refused_once_it_is_quiet(desk: Desk) -> None:
    """A file over the limit is not read as a job, however well it parses (P6)."""
    name = desk.drop("x.json", {**JOB, "customer": "x" * job.JOB_MAX_BYTES})
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert str(job.JOB_MAX_BYTES) in declined.why


def test_sparse_giant_costs_nothing(desk: Desk) -> None:
    """Eight gigabytes of nothing are neither read nor a job (P6)."""
    for name in ("x.json", f"{names.generate_id(NOON_AT, desk.rng)}.json"):
        with open(desk.spool.path(PENDING, name), "wb") as file:
            file.truncate(8 << 30)
        declined = desk.decline(name)
        assert isinstance(declined, Arriving)
        assert declined.sig is not None
        assert "larger" in declined.why
        assert isinstance(desk.triage.reject_quiet(name, declined), Rejected)


@posix_only
@pytest.mark.parametrize("generated", [False, True])
@pytest.mark.parametrize("kind", ["folder", "link", "fifo", "dangling"])
def test_strange_files_are_left_alone(desk: Desk, tmp_path: Path, kind: str, generated: bool) -> None:
    """Links, folders and FIFOs are somebody else's: declined without trouble, where they are (P6, P11)."""
    stem = names.generate_id(NOON_AT, desk.rng) if generated else "x"
    path = Path(desk.spool.path(PENDING, f"{stem}.json"))
    target = tmp_path / "target.json"
    target.write_text(json.dumps(JOB))
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    assert isinstance(desk.decline(path.name), Foreign)
    assert listing(desk.spool) == {"pending": [path.name]}
    assert target.read_text() == json.dumps(JOB)


def test_name_that_is_no_jobs_is_foreign(desk: Desk) -> None:
    """Only NAME.json and NAME.jsonl are looked at (P11)."""
    for name in ("notes.txt", ".x.json", "x.json.part", "~x.json"):
        assert isinstance(desk.decline(desk.drop(name, JOB)), Foreign)
    assert len(listing(desk.spool)["pending"]) == 4


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs mode bits, and a user whom they bind")
@pytest.mark.parametrize("generated", [False, True])
def test_file_that_may_not_be_read_is_looked_at_later(desk: Desk, generated: bool) -> None:
    """A mode that forbids reading means "later", never "bad", and no trouble for the pool (P6)."""
    name = f"{names.generate_id(NOON_AT, desk.rng) if generated else 'x'}.json"
    os.chmod(write_drop(desk.spool, name, JOB), 0)
    assert isinstance(desk.decline(name), Unreadable)
    assert listing(desk.spool) == {"pending": [name]}


@pytest.mark.parametrize("code", ["EACCES", "EIO", "EPERM"])
@pytest.mark.parametrize("generated", [False, True])
def test_file_that_cannot_be_read_now_is_looked_at_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, code: str, generated: bool
) -> None:
    """A share that hiccups makes no job bad, and one file that cannot be read stops no pool (P6)."""
    name = f"{names.generate_id(NOON_AT, desk.rng) if generated else 'x'}.json"
    desk.drop(name, JOB)
    read = files.read

    def refuse(path: str, max_bytes: int, **options: Any) -> files.Content:
        if name not in path:
            return read(path, max_bytes, **options)
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read", refuse)
        patch.setattr(files, "open_and_read", refuse)
        assert isinstance(desk.decline(name), Unreadable)
    assert listing(desk.spool) == {"pending": [name]}
    assert isinstance(desk.claim(name), Claimed)


@pytest.mark.parametrize("code", ["EMFILE", "ENFILE", "ENOMEM", "EIO"])
@pytest.mark.parametrize("generated", [False, True])
def test_trouble_of_the_machine_is_raised_and_the_file_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, code: str, generated: bool
) -> None:
    """Too many open files are the worker's trouble: it is told, and the job waits uncounted (P9)."""
    name = f"{names.generate_id(NOON_AT, desk.rng) if generated else 'x'}.json"
    desk.drop(name, JOB)

    def refuse(path: str, _max_bytes: int, **_options: Any) -> files.Content:
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read", refuse)
        patch.setattr(files, "open_and_read", refuse)
        with pytest.raises(OSError):
            desk.claim(name)
    assert listing(desk.spool) == {"pending": [name]}
    assert desk.start(name).attempt == 1


@posix_only
@pytest.mark.parametrize("content", [JOB, "framed"])
def test_hard_link_cannot_change_a_job_that_was_taken_in(desk: Desk, tmp_path: Path, content: object) -> None:
    """A second name for the file, or a handle kept open, reaches only what the producer wrote (P11)."""
    data = content if content != "framed" else desk.producer.prepare({**JOB, "id": "x"}, by="x").data
    path = write_drop(desk.spool, "x.json", data)
    os.link(path, tmp_path / "mine.json")
    with open(tmp_path / "mine.json", "r+") as handle:
        claimed = desk.start("x.json")
        assert os.stat(desk.spool.path(RUNNING, "x.json")).st_nlink == 1
        handle.write('{"command": "evil"}')
        handle.truncate()
    assert claimed.record.command == "echo hello"
    settled = desk.settlements.settle(claimed, FAILED)
    assert desk.record(PENDING, settled.name).command == "echo hello"
    assert (tmp_path / "mine.json").read_text() == '{"command": "evil"}'
    assert "rejected" not in listing(desk.spool)


def test_open_handle_cannot_change_a_drop_that_was_taken_in(desk: Desk) -> None:
    """The copy cuts off the producer's handle."""
    with open(desk.spool.path(PENDING, "x.json"), "w") as handle:
        handle.write(json.dumps(JOB))
        handle.flush()
        if WINDOWS:  # it waits for the writer: a file that is open cannot be moved
            assert isinstance(desk.decline("x.json"), Unreadable)
            handle.close()
        claimed = desk.start("x.json")
        if not WINDOWS:
            handle.write("garbage" * 100)
    assert desk.settlements.settle(claimed, OK).to == DONE
    assert desk.record(DONE, "x.json").command == "echo hello"


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


def test_framed_file_under_another_name_gets_its_own_name(desk: Desk) -> None:
    """A record that a person copied under another name is taken in by the id in it."""
    data = desk.producer.prepare({**JOB, "id": "job1"}, by="x").data
    claimed = desk.start(desk.drop("copy of job1.json", data))
    assert claimed.job_id == "job1"
    assert listing(desk.spool) == {"running": ["job1.json"]}
    assert desk.events(RUNNING, "job1.json") == ["enqueued", "started"]


def test_record_with_a_value_that_no_drop_may_have_is_rejected(desk: Desk) -> None:
    """Our framing around nonsense (an empty command, say) does not kill a worker (P6)."""
    spec = {"id": "x", "command": [], "max_retries": 3, "backoff_base": 2, "backoff_max": 9}
    declined = desk.decline(desk.drop("x.json", record.frame(spec, [history.event("enqueued", NOON_AT)])))
    assert isinstance(declined, Rejected)
    assert "command" in declined.why


def test_edited_record_goes_on_where_it_stood(desk: Desk) -> None:
    """A record saved by an editor in another layout keeps its history, failures included (P7)."""
    name = desk.run(desk.enqueue(id="job1"), FAILED).name
    desk.clock.advance(10)
    path = Path(desk.spool.path(PENDING, name))
    document = json.loads(path.read_text())
    path.write_bytes(
        codecs.BOM_UTF8 + json.dumps({**document, "max_retries": 1}, indent=4).replace("\n", "\r\n").encode()
    )
    claimed = desk.start(name)
    assert (claimed.job_id, claimed.attempt, claimed.failures) == ("job1", 2, 1)
    assert desk.events(RUNNING, "job1.json") == ["enqueued", "started", "failed", "started"]
    assert desk.settlements.settle(claimed, FAILED).to == DLQ


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


@pytest.mark.parametrize("keys", [{"delay": 60}, {"run_at": "2027-01-15T08:01:00Z"}])
def test_drop_with_a_delay_is_taken_in_and_waits(desk: Desk, keys: dict[str, Any]) -> None:
    """A plain drop gets its due time in its name when it is first looked at, and its delay counts from then."""
    declined = desk.decline(desk.drop("x.json", {**JOB, **keys}))
    assert isinstance(declined, Later) and declined.due_at == NOON_AT + 60
    assert listing(desk.spool) == {"pending": ["x,due=20270115T080100Z.json"]}
    desk.clock.advance(59)
    assert isinstance(desk.decline(declined.name), Later)
    desk.clock.advance(1)
    assert desk.start(declined.name).job_id == "x"


def test_name_that_claims_a_higher_priority_is_put_right(desk: Desk) -> None:
    """The record is the truth: a name alone moves nobody to the front."""
    desk.enqueue(id="job1", priority=2)
    os.rename(desk.spool.path(PENDING, "job1,prio=2.json"), desk.spool.path(PENDING, "job1,prio=9.json"))
    assert desk.decline("job1,prio=9.json").name == "job1,prio=2.json"
    assert desk.decline(desk.drop("x,prio=9.json", JOB)).name == "x.json"
    assert isinstance(desk.claim("job1,prio=2.json"), Claimed)


def test_owner_comes_into_the_name_of_a_file_that_must_wait(desk: Desk) -> None:
    """A drop that says whose it is waits under that name; nothing is renamed for an owner alone."""
    assert desk.decline(desk.drop("x.json", {**JOB, "owner": "anna", "delay": 60})).name == (
        "x,due=20270115T080100Z,by=anna.json"
    )
    assert desk.start(desk.drop("y.json", {**JOB, "owner": "anna"})).job_id == "y"
    os.rename(desk.spool.path(PENDING, desk.enqueue(id="z", owner="anna")), desk.spool.path(PENDING, "z.json"))
    assert desk.start("z.json").job_id == "z"


@pytest.mark.parametrize("owner", ["a,hold", "../x", "o" * 33, "con", "a.tmp", 7])
def test_owner_that_can_stand_in_no_name_is_refused(desk: Desk, owner: object) -> None:
    """Neither a drop nor a record that was changed by hand brings an owner into a name that could do harm (P6)."""
    declined = desk.decline(desk.drop("x.json", {**JOB, "owner": owner}))
    assert isinstance(declined, Rejected) and "owner" in declined.why
    path = Path(desk.spool.path(PENDING, desk.enqueue(id="y", owner="anna")))
    path.write_bytes(path.read_bytes().replace(b'"anna"', json.dumps(owner).encode()))
    assert isinstance(desk.decline(path.name), Rejected)


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


def test_edited_record_that_is_dragged_to_pending_runs_again_afresh(desk: Desk) -> None:
    """Correcting a dead job in an editor and dragging it back is a requeue too."""
    desk.run(desk.enqueue(id="a", max_retries=0), FAILED)
    document = desk.document(DLQ, "a.json")
    os.unlink(desk.spool.path(DLQ, "a.json"))
    claimed = desk.start(desk.drop("a.json", json.dumps({**document, "command": "mended"}, indent=2)))
    assert (claimed.record.command, claimed.attempt, claimed.failures) == ("mended", 2, 0)
    assert desk.events(RUNNING, "a.json") == ["enqueued", "started", "failed", "requeued", "started"]


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


# ------------------------------------------------------------------------------------------------------------ mending


def test_torn_record_in_pending_is_mended_and_runs(desk: Desk) -> None:
    """A record of ours that lost its end is not refused but repaired, once it is quiet (P1, P6)."""
    name = desk.enqueue(id="a")
    path = Path(desk.spool.path(PENDING, name))
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\0")
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert declined.sig is not None
    assert isinstance(desk.triage.reject_quiet(name, declined), Repaired)
    assert path.read_bytes() == whole
    assert isinstance(desk.claim(name), Claimed)


def test_torn_record_with_a_name_of_ours_is_mended_too(desk: Desk) -> None:
    """The same for ids that queuectl made."""
    name = desk.enqueue()
    path = Path(desk.spool.path(PENDING, name))
    path.write_bytes(path.read_bytes()[:-4])
    declined = desk.decline(name)
    assert isinstance(declined, Arriving)
    assert declined.sig is not None
    assert isinstance(desk.triage.reject_quiet(name, declined), Repaired)
    assert isinstance(desk.claim(name), Claimed)


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


@pytest.mark.parametrize("durability", ["queue", "full", "off"])
def test_a_drop_is_replaced_only_by_what_is_on_disk(
    spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    """A power cut never leaves an empty file where a whole drop was (P1), whether its command starts first or not."""
    desk = Desk(spool, settings=settings.defaults()._replace(durability=durability))
    path = Path(spool.path(RUNNING, "a.json"))
    synced: list[bytes] = []
    create, sync_file, replace = disk.create, disk.sync_file, disk.replace

    def creating(name: str, data: bytes, *, sync: bool, **options: Any) -> None:
        create(name, data, sync=sync, **options)
        synced.extend([data] if sync else [])

    def syncing(name: str) -> None:
        sync_file(name)
        synced.append(Path(name).read_bytes())

    def replacing(source: str, target: str, **options: Any) -> None:
        assert durability == "off" or Path(source).read_bytes() in synced
        assert json.loads(path.read_bytes()) == JOB
        replace(source, target, **options)

    monkeypatch.setattr(disk, "create", creating)
    monkeypatch.setattr(disk, "sync_file", syncing)
    monkeypatch.setattr(disk, "replace", replacing)
    claimed = desk.claim(desk.drop("a.json", JOB))
    assert isinstance(claimed, Claimed)
    assert bool(claimed.copy) == (durability == "queue" and sys.platform != "win32")
    desk.settlements.secure(claimed)
    assert record.is_record(path.read_bytes())
    assert os.listdir(spool.tmp_dir) == []
    desk.close()


def test_rejecting_by_another_worker_meanwhile_is_gone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that disappears between the look and the rejection is nobody's trouble."""
    name = desk.drop("x.json", "5")
    real = files.sig_of

    def vanished(path: str) -> files.FileSig | None:
        if path.endswith("x.json"):
            os.unlink(path)
        return real(path)

    monkeypatch.setattr(files, "sig_of", vanished)
    assert isinstance(desk.decline(name), Gone)
    assert listing(desk.spool) == {}


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


def test_a_job_put_back_beside_a_drop_of_its_name_goes_on_under_another_id(desk: Desk) -> None:
    """P1, P7: a released job whose name was taken in pending/ meanwhile is not mistaken for a duplicate."""
    first = desk.start(desk.drop("report.json", {"command": "true"}))
    desk.drop("report.json", {"command": "true"})
    back = desk.settlements.settle(first, Outcome("released"))
    assert back.name != "report.json"
    again = desk.start(back.name)
    assert again.job_id == back.name.removesuffix(".json")
    assert desk.events("running", f"{again.job_id}.json")[-2:] == ["warning", "started"]
    assert listing(desk.spool)["pending"] == ["report.json"]
    assert "rejected" not in listing(desk.spool)


# ----------------------------------------------------------------------------------------- copies of what has ended


@pytest.mark.parametrize("outcome", [Outcome("succeeded", 0), Outcome("failed", 3), Outcome("cancelled")])
def test_a_copy_of_an_ended_job_runs_under_its_own_id(desk: Desk, outcome: Outcome) -> None:
    """P7: the first file stays as it is, and the copy runs under another id, with all its history and a warning."""
    state = desk.run(desk.enqueue(id="job1", max_retries=0), outcome).to
    first = Path(desk.spool.path(state, "job1.json")).read_bytes()
    claimed = desk.start(desk.drop("job1.json", first))
    assert claimed.job_id.startswith("job1-")
    assert Path(desk.spool.path(state, "job1.json")).read_bytes() == first
    item = desk.record(RUNNING, f"{claimed.job_id}.json")
    assert item.id == claimed.job_id
    assert [event.event for event in item.history] == [
        "enqueued", "started", outcome.kind, "warning", "requeued", "started",
    ]  # fmt: skip
    assert item.history[3].text == f"the id 'job1' is in use, so this job goes on as {claimed.job_id!r}"
    assert (claimed.attempt, claimed.failures) == (2, 0)
    settled = desk.settlements.settle(claimed, Outcome("succeeded", 0))
    assert (settled.to, settled.name) == (DONE, f"{claimed.job_id}.json")


def test_a_job_that_is_moved_back_keeps_its_id(desk: Desk) -> None:
    """Dragged from dlq/ or done/ to pending/ it is the same job, whatever other jobs there are."""
    desk.run(desk.enqueue(id="job1", max_retries=0), Outcome("failed", 3))
    os.rename(desk.spool.path(DLQ, "job1.json"), desk.spool.path(PENDING, "job1.json"))
    assert desk.start("job1.json").job_id == "job1"


def test_a_copy_whose_worker_dies_is_found_under_its_own_id(desk: Desk, other_desk: Desk) -> None:
    """P5, P7: rescue moves the copy on, and the first file is not touched."""
    desk.run(desk.enqueue(id="job1"), Outcome("succeeded", 0))
    data = Path(desk.spool.path(DONE, "job1.json")).read_bytes()
    claimed = desk.start(desk.drop("job1.json", data))
    desk.die()
    settled = other_desk.orphans.rescue(f"{claimed.job_id}.json")
    assert settled is not None
    assert (settled.to, settled.name) == (PENDING, f"{claimed.job_id}.json")
    assert Path(desk.spool.path(DONE, "job1.json")).read_bytes() == data


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
    real = record.fold

    def fold(data: bytes, item: record.Record) -> bytes | None:
        Path(desk.spool.path(RUNNING, "a.json")).write_bytes(edited)
        return real(data, item)

    monkeypatch.setattr(record, "fold", fold)
    assert isinstance(desk.decline("a.json"), Arriving)
    assert Path(desk.spool.path(PENDING, "a.json")).read_bytes() == edited
