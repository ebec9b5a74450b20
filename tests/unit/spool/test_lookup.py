"""lookup: jobs are found and read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import AmbiguousIdError, DamagedRecordError, SpoolUnavailableError, UnknownJobError
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lookup import Counts
from tests.helpers import Desk, FakeClock, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


def test_unknown_job_is_one_error_everywhere(api: Spool) -> None:
    """An id that no file has is told in the same way by every call."""
    for call in (api.get, api.requeue, api.purge):
        with pytest.raises(UnknownJobError):
            call("nobody")
        with pytest.raises(UnknownJobError):
            call("../pending/x")
    assert api.logs("nobody") == []


def test_job_in_each_state_tells_where_it_stands(api: Spool, hands: Desk) -> None:
    """Attempts, worker, error and due time are read off the history."""
    for job_id in ("p", "r", "d", "x", "w"):
        hands.enqueue(id=job_id, max_retries=0 if job_id == "x" else 3)
    hands.run("d.json", OK)
    hands.run("x.json", FAILED)
    hands.run("w.json", FAILED)
    hands.start("r.json")
    found = {job_id: api.get(job_id) for job_id in "prdxw"}
    assert {job_id: item.state for job_id, item in found.items()} == {
        "p": PENDING,
        "r": RUNNING,
        "d": DONE,
        "x": DLQ,
        "w": PENDING,
    }
    assert {job_id: item.attempts for job_id, item in found.items()} == {"p": 0, "r": 1, "d": 1, "x": 1, "w": 1}
    assert (found["r"].worker, found["d"].worker) == ("w1", "")
    assert found["x"].error == "exit 3: 1 attempt, retries used up"
    assert (found["w"].error, found["d"].error) == ("exit 3", "")
    assert found["w"].due_at is not None
    assert found["x"].due_at is None
    assert api.counts() == Counts(pending=2, running=1, done=1, dlq=1, rejected=0, waiting_for_time=1)


def test_drop_that_nobody_has_looked_at_is_shown_as_a_job(api: Spool, spool: SpoolDir) -> None:
    """A file in pending/ is a job at once, with the defaults it will get."""
    write_drop(spool, "my drop.json", {"command": "x", "customer": 5})
    found = api.get("my-drop") if (spool.find("my-drop")) else next(api.jobs(PENDING))
    assert (found.id, found.command, found.max_retries, found.history) == ("my-drop", "x", 3, [])
    assert found.spec["customer"] == 5


@pytest.mark.parametrize("content", ["{half", "[]", "5", '[{"command": "a"}]', '{"comand": "x"}'])
def test_file_that_is_no_job_is_told_apart_from_none(api: Spool, spool: SpoolDir, content: str) -> None:
    """`get` says what is wrong with the file; listings pass it over and show the others (P6)."""
    write_drop(spool, "x.json", content)
    api.enqueue("true", id="good")
    with pytest.raises(DamagedRecordError) as caught:
        api.get("x")
    assert spool.path(PENDING, "x.json") in str(caught.value)
    assert [found.id for found in api.jobs(PENDING)] == ["good"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX: links, FIFOs, modes, limits, moves while open")
def test_listing_passes_over_strange_files(api: Spool, spool: SpoolDir) -> None:
    """A FIFO or a folder in a state folder neither blocks nor breaks a listing (P6, P11)."""
    os.mkfifo(spool.path(DONE, "fifo.json"))
    os.mkdir(spool.path(DONE, "folder.json"))
    os.symlink("/etc/passwd", spool.path(DONE, "link.json"))
    assert list(api.jobs(DONE)) == []


@pytest.mark.parametrize(
    ("word", "state"), [("completed", DONE), ("dead", DLQ), ("processing", RUNNING), ("done", DONE)]
)
def test_states_may_be_called_by_other_words(api: Spool, spool: SpoolDir, word: str, state: str) -> None:
    """Words of other queues are understood."""
    data = record.frame({"id": "a", "command": "x", "max_retries": 1, "backoff_base": 2, "backoff_max": 9}, [])
    write_drop(spool, "a.json", data, state)
    assert [found.id for found in api.jobs(word)] == ["a"]


def test_state_that_does_not_exist_is_an_error(api: Spool) -> None:
    """A typing error is not an empty listing."""
    with pytest.raises(ValueError):
        list(api.jobs("pendign"))


def test_logs_are_in_the_order_of_attempts(api: Spool, spool: SpoolDir) -> None:
    """The tenth run comes after the ninth, and other jobs' logs are not among them."""
    for name in ("a.10.log", "a.9.log", "a.1.log", "a.b.1.log", "a.log", "a.x.log", "ab.1.log", "a.1.txt"):
        Path(spool.folder("logs"), name).write_text("")
    assert [os.path.basename(path) for path in api.logs("a")] == ["a.1.log", "a.9.log", "a.10.log"]
    assert [os.path.basename(path) for path in api.logs("a.b")] == ["a.b.1.log"]


def test_counts_of_a_folder_that_is_gone_are_an_error(api: Spool, spool: SpoolDir) -> None:
    """A share that went away is not an empty queue."""
    shutil.rmtree(spool.folder("done"))
    with pytest.raises(SpoolUnavailableError):
        api.counts()


def test_history_of_an_unreadable_time_does_not_break_a_listing(api: Spool, spool: SpoolDir, clock: FakeClock) -> None:
    """An instant that somebody edited is unknown, not an error."""
    spec = {"id": "a", "command": "x", "max_retries": 1, "backoff_base": 2, "backoff_max": 9}
    write_drop(spool, "a.json", record.frame(spec, [{"at": "yesterday", "event": "enqueued"}]), DONE)
    assert clock.now() > 0
    assert api.get("a").enqueued_at is None


def test_the_beginning_of_an_id_is_enough_in_every_state(api: Spool, hands: Desk) -> None:
    """`resolve` finds the only id that begins so, whatever the job's state, flags and case are."""
    hands.run(hands.enqueue(id="done-1"), OK)
    hands.run(hands.enqueue(id="dead-1", max_retries=0), FAILED)
    hands.run(hands.enqueue(id="Later-1", backoff_base=1000), FAILED)
    hands.start(hands.enqueue(id="run-1"))
    hands.drop("dropped.json", {"command": "true"})
    for prefix, job_id in (("don", "done-1"), ("DE", "dead-1"), ("later", "Later-1"), ("r", "run-1")):
        assert api.resolve(prefix) == job_id
    assert api.resolve("drop") == "dropped"


def test_a_whole_id_is_that_job_though_others_begin_so(api: Spool, hands: Desk) -> None:
    """The exact id counts before any that begins with it, also one that a drop gives itself."""
    for job_id in ("a", "ab", "abc"):
        hands.run(hands.enqueue(id=job_id), OK)
    hands.drop("x.json", {"id": "abcd", "command": "true"})
    hands.drop("abcde.json", {"command": "true"})
    hands.drop("abcdf.json", {"command": "true"})
    assert [api.resolve(job_id) for job_id in ("a", "ab", "abc", "abcd")] == ["a", "ab", "abc", "abcd"]


def test_the_beginning_of_several_ids_is_refused(api: Spool, hands: Desk) -> None:
    """Nothing is guessed: up to five of the ids are named."""
    for number in range(7):
        hands.enqueue(id=f"job{number}")
    with pytest.raises(AmbiguousIdError) as caught:
        api.resolve("jo")
    assert len(caught.value.ids) == 7
    assert caught.value.cause == "matching ids: job0, job1, job2, job3, job4 and 2 more"


@pytest.mark.parametrize("typed", ["", "nothing", "../done/a", "jbo1", "ob1"])
def test_the_beginning_of_no_id_is_unknown(api: Spool, hands: Desk, typed: str) -> None:
    """What begins no id is no job; one that was mistyped is told the near one."""
    hands.enqueue(id="job1")
    with pytest.raises(UnknownJobError) as caught:
        api.resolve(typed)
    assert ("job1" in caught.value.hint) == (typed in ("jbo1", "ob1"))


def test_files_that_are_no_jobs_have_no_id(api: Spool, hands: Desk) -> None:
    """P11: foreign and unfinished files in the state folders are not taken for jobs."""
    for name in ("ab.txt", "ab.json.part", "ab.jsonl", "ab.sync-conflict-20260101-000000.json"):
        hands.drop(name, "x")
        hands.drop(name, "x", state=DONE)
    with pytest.raises(UnknownJobError):
        api.resolve("ab")
