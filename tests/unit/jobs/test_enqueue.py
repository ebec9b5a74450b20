"""producer: new jobs are checked, written, forced to disk and published."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.errors import DuplicateJobError, InvalidJobError
from queuectl.jobs import enqueue
from queuectl.jobs.enqueue import Prepared
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.system import disk
from tests.helpers import NOON_AT, Desk, listing, write_drop


def _prepare(desk: Desk, **keys: Any) -> Prepared:
    return desk.producer.prepare({"command": "true", **keys}, by="enqueue")


def test_published_job_is_a_whole_record_in_pending(desk: Desk) -> None:
    """An enqueued job stands complete in pending/, and nothing is left in tmp/ (P1)."""
    assert desk.producer.publish([_prepare(desk, id="job1", meta={"customer": 5})]) == ["job1"]
    assert listing(desk.spool) == {"pending": ["job1.json"]}
    assert record.is_framed(Path(desk.spool.path(PENDING, "job1,in=20270115T080000.000000Z.json")).read_bytes())
    assert desk.document(PENDING, "job1.json")["meta"] == {"customer": 5}
    assert desk.document(PENDING, "job1.json")["history"] == [
        {"at": "2027-01-15T08:00:00.000Z", "event": "enqueued", "by": "enqueue"}
    ]
    assert os.listdir(desk.spool.tmp_dir) == []


def test_generated_ids_are_in_order_and_different(desk: Desk) -> None:
    """A clock that stands still gives ids that still sort by the order they were made."""
    made = [_prepare(desk).job_id for _ in range(200)]
    assert made == sorted(made)
    assert len({job_id[:22] for job_id in made}) == 200


def test_waiting_job_says_so_in_its_name(desk: Desk) -> None:
    """Arrival, due time and priority are in the name, so that a listing gives the order of runs."""
    assert _prepare(desk, id="a", priority=3).name == "a,in=20270115T080000.000000Z,prio=3.json"
    assert _prepare(desk, id="a", delay=5, priority=3).name == "a,due=20270115T080005Z,prio=3.json"
    desk.clock.now_at = NOON_AT + 0.0004
    prepared = _prepare(desk, id="b", delay=5)
    assert prepared.name == "b,due=20270115T080005.001Z.json"
    assert b'"due_at": "2027-01-15T08:00:05.001Z"' in prepared.data
    assert _prepare(desk, id="c", owner="anna").name == "c,in=20270115T080000.000401Z,by=anna.json"


def test_job_larger_than_the_limit_is_refused(desk: Desk) -> None:
    """Data belongs into a file; a job that workers would refuse is not accepted (P1)."""
    with pytest.raises(InvalidJobError):
        _prepare(desk, customer="x" * 1_100_000)


def test_text_that_no_file_can_hold_is_refused(desk: Desk) -> None:
    """A lone surrogate, as Python makes of a bad argument, is an invalid job."""
    with pytest.raises(InvalidJobError):
        _prepare(desk, command="echo \udcff")


@pytest.mark.parametrize("state", [PENDING, RUNNING, DONE, DLQ])
@pytest.mark.parametrize("others", [[], ["job2"]])
def test_id_that_is_taken_is_a_duplicate(desk: Desk, state: str, others: list[str]) -> None:
    """One id is never two jobs, whichever state holds it (P7)."""
    write_drop(desk.spool, "job1.json", "", state)
    with pytest.raises(DuplicateJobError) as caught:
        desk.producer.refuse_duplicates([*others, "job1"])
    assert (caught.value.job_id, caught.value.state) == ("job1", state)


@pytest.mark.parametrize("others", [[], ["job2"]])
def test_id_of_a_waiting_job_with_flags_is_a_duplicate(desk: Desk, others: list[str]) -> None:
    """A job that waits for a retry holds its id too, in any case of letters (P7)."""
    desk.enqueue(id="Job1", delay=5, priority=3)
    with pytest.raises(DuplicateJobError):
        desk.producer.refuse_duplicates([*others, "job1"])


def test_id_given_twice_in_one_call_is_refused(desk: Desk) -> None:
    """A list that names one id twice is a mistake, in any case of letters."""
    with pytest.raises(InvalidJobError):
        desk.producer.refuse_duplicates(["a", "b", "A"])
    desk.producer.refuse_duplicates(["a", "b"])


def test_name_that_was_taken_meanwhile_is_not_overwritten(desk: Desk) -> None:
    """Two producers with one id: the second is told, the first stays (P7)."""
    prepared = [_prepare(desk, id="a"), _prepare(desk, id="b")]
    write_drop(desk.spool, "b.json", "mine")
    with pytest.raises(DuplicateJobError):
        desk.producer.publish(prepared)
    assert Path(desk.spool.path(PENDING, "b.json")).read_text() == "mine"
    assert os.listdir(desk.spool.tmp_dir) == []


def _meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, at: str) -> None:
    """Do something just before the first call of one of `disk`."""
    real = getattr(disk, at)

    def first(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(disk, at, real)
        act()
        return real(*args, **options)

    monkeypatch.setattr(disk, at, first)


def test_two_that_enqueue_one_id_do_not_both_succeed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names differ by the arrival; all the same one of them is refused, and the other's job stays (P7)."""
    other = Desk(desk.spool, worker="w2")
    prepared = [_prepare(desk, id="a"), _prepare(other, id="a", priority=3)]
    _meanwhile(monkeypatch, lambda: other.producer.publish(prepared[1:]), at="publish")
    with pytest.raises(DuplicateJobError):
        desk.producer.publish(prepared[:1])
    assert desk.spool.job_names(PENDING) == [prepared[1].name]
    desk.claim(prepared[1].name)
    with pytest.raises(DuplicateJobError) as caught:
        desk.producer.publish(prepared[:1])
    assert caught.value.state == RUNNING
    assert desk.spool.job_names(PENDING) == []
    other.close()


def test_job_that_a_worker_takes_before_it_has_its_name_is_accepted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has it, so the producer is told that it is in (P1)."""
    _meanwhile(monkeypatch, lambda: desk.claim("a.json"), at="move")
    assert desk.producer.publish([_prepare(desk, id="a")]) == ["a"]
    assert listing(desk.spool) == {"running": ["a.json"]}


def test_job_keeps_the_name_it_has_where_it_can_get_no_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is a hint: a rename that fails costs its place at most (P1)."""

    def refused(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EACCES, "somebody looks at it")

    monkeypatch.setattr(disk, "move", refused)
    assert desk.producer.publish([_prepare(desk, id="a")]) == ["a"]
    assert desk.spool.waiting_names() == ["a.json"]


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("call", ["create", "publish", "sync_folder"])
def test_disk_that_refuses_leaves_nothing_in_tmp(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, call: str, count: int
) -> None:
    """An enqueue that fails raises and leaves neither an unfinished file nor a job, whichever step failed (P1)."""
    prepared = [_prepare(desk) for _ in range(count)]

    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(disk, call, full)
        with pytest.raises(OSError):
            desk.producer.publish(prepared)
    assert os.listdir(desk.spool.tmp_dir) == []
    assert listing(desk.spool) == {}


@pytest.mark.parametrize(("durability", "synced"), [("queue", True), ("full", True), ("off", False)])
@pytest.mark.parametrize("count", [1, 3])
def test_accepted_jobs_are_forced_to_disk_before_they_are_acknowledged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, durability: str, synced: bool, count: int
) -> None:
    """The content is synced before the name appears, the name before the call returns (P1)."""
    calls: list[str] = []

    def watch(call: str) -> None:
        real = getattr(disk, call)

        def watched(*args: Any, **options: Any) -> Any:
            calls.append(f"{call}+sync" if options.get("sync") else call)
            return real(*args, **options)

        monkeypatch.setattr(disk, call, watched)

    for call in ("create", "sync_files", "publish", "sync_folder"):
        watch(call)
    made = Desk(desk.spool, worker="w3", settings=desk.settings._replace(durability=durability))
    made.producer.publish([_prepare(made) for _ in range(count)])
    made.close()
    if not synced:
        assert calls == ["create"] * count + ["publish"] * count
    elif count == 1:
        assert calls == ["create+sync", "publish", "sync_folder"]
    else:
        assert calls == ["create"] * count + ["sync_files"] + ["publish"] * count + ["sync_folder"]


def test_many_jobs_are_published_in_chunks(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More jobs than fit one chunk are all there, in order."""
    monkeypatch.setattr(enqueue, "CHUNK", 4)
    prepared = [_prepare(desk) for _ in range(10)]
    assert desk.producer.publish(prepared) == [item.job_id for item in prepared]
    assert desk.spool.job_names(PENDING) == [item.name for item in prepared]
    assert desk.producer.publish([]) == []
