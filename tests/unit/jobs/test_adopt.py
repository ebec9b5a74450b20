"""adopt: a drop becomes a record with an id and a history."""

from __future__ import annotations

import codecs
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.verdict import (
    Claimed,
    Later,
    Rejected,
    Unreadable,
)
from queuectl.model import history, record, settings
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from tests.helpers import NOON_AT, Desk, listing, write_drop

JOB: dict[str, Any] = {"command": "echo hello"}
OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 1, "", 0.01)
WINDOWS = sys.platform == "win32"
posix_only = pytest.mark.skipif(WINDOWS, reason="POSIX: links, FIFOs, modes, limits, moves while open")


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


@pytest.mark.parametrize("more", [{}, {"unique": "k", "on_duplicate": "replace"}])
def test_drop_that_cannot_be_kept_as_a_record_is_rejected(desk: Desk, more: dict[str, Any]) -> None:
    """P6: valid as a job, but no record could be read back. It is kept with the reason, and replaces no other job."""
    desk.drop("other.json", {**JOB, **more})
    desk.triage.judge("other.json")
    before = listing(desk.spool)["pending"]
    declined = desk.decline(desk.drop("broken.json", {**JOB, **more, "keys of format 2": 5}))
    assert isinstance(declined, Rejected) and "cannot be kept as a record" in declined.why
    assert listing(desk.spool) == {"pending": before, "rejected": ["broken.json", "broken.json.reason.txt"]}


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


def test_owner_comes_into_the_name_of_a_file_that_must_wait(desk: Desk) -> None:
    """A drop that says whose it is waits under that name; nothing is renamed for an owner alone."""
    assert desk.decline(desk.drop("x.json", {**JOB, "owner": "anna", "delay": 60})).name == (
        "x,due=20270115T080100Z,by=anna.json"
    )
    assert desk.start(desk.drop("y.json", {**JOB, "owner": "anna"})).job_id == "y"
    os.rename(desk.spool.path(PENDING, desk.enqueue(id="z", owner="anna")), desk.spool.path(PENDING, "z.json"))
    assert desk.start("z.json").job_id == "z"


def test_edited_record_that_is_dragged_to_pending_runs_again_afresh(desk: Desk) -> None:
    """Correcting a dead job in an editor and dragging it back is a requeue too."""
    desk.run(desk.enqueue(id="a", max_retries=0), FAILED)
    document = desk.document(DLQ, "a.json")
    os.unlink(desk.spool.path(DLQ, "a.json"))
    claimed = desk.start(desk.drop("a.json", json.dumps({**document, "command": "mended"}, indent=2)))
    assert (claimed.record.command, claimed.attempt, claimed.failures) == ("mended", 2, 0)
    assert desk.events(RUNNING, "a.json") == ["enqueued", "started", "failed", "requeued", "started"]


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
    assert item.history[3].text == f"the id 'job1' is in use, so this job continues as {claimed.job_id!r}"
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
