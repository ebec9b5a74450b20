"""api: the library that the commands call."""

from __future__ import annotations

import errno
import math
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import queuectl
from queuectl import errors
from queuectl.api import Spool
from queuectl.errors import (
    AmbiguousIdError,
    DamagedRecordError,
    DuplicateJobError,
    InvalidJobError,
    InvalidSettingsError,
    NotASpoolError,
    QueuectlError,
    SpoolUnavailableError,
    UnknownJobError,
)
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool import stripes
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lookup import Counts
from queuectl.system import disk
from tests.helpers import Desk, FakeClock, listing, without_arrival, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


@pytest.fixture
def api(spool: SpoolDir) -> Spool:
    """The library on the test's spool."""
    return Spool(spool.root)


@pytest.fixture
def hands(spool: SpoolDir) -> Iterator[Desk]:
    """A worker on the same spool, by the machine's clock as the library is."""
    made = Desk(spool, clock=queuectl.api.Clock())
    yield made
    made.close()


def test_package_gives_the_library_and_nothing_else_by_accident() -> None:
    """`from queuectl import Spool` works, and names that do not exist say so."""
    assert queuectl.Spool is Spool
    assert issubclass(queuectl.QueuectlError, Exception)
    with pytest.raises(AttributeError):
        _ = queuectl.Nothing  # type: ignore[attr-defined]


def test_package_shows_its_public_names_and_no_others() -> None:
    """`dir(queuectl)` is `__all__`; each name is there, and modules are imported as before."""
    code = (
        "import queuectl as q; print(*dir(q)); import queuectl.api; "
        "from queuectl.model import names; print(names.__name__)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    public, module = printed.splitlines()
    assert public.split() == sorted(queuectl.__all__)
    assert module == "queuectl.model.names"
    assert all(getattr(queuectl, name) for name in queuectl.__all__)
    raised = {name for name in dir(errors) if isinstance(getattr(errors, name), type) and name.endswith("Error")}
    assert raised - set(queuectl.__all__) == {"IllegalMoveError"}, "a bug in queuectl, not for callers to catch"


def test_a_path_is_taken_wherever_a_path_is_meant(tmp_path: Path) -> None:
    """A spool's folder, a program, its arguments, cwd and variables may be any `os.PathLike`."""
    api = Spool.create(tmp_path / "spool")
    job_id = api.enqueue(
        [Path("bin/tool"), "-o", tmp_path / "a b"], cwd=tmp_path / "x" / "..", env={"OUT": tmp_path / "out"}
    )
    spec = api.get(job_id).spec
    assert spec["command"] == [os.path.join("bin", "tool"), "-o", str(tmp_path / "a b")]
    assert (spec["cwd"], spec["env"]) == (str(tmp_path), {"OUT": str(tmp_path / "out")})
    assert api.get(api.enqueue(tmp_path / "a tool")).command == [str(tmp_path / "a tool")], "a program, not for a shell"
    (other,) = api.enqueue_many([{"command": [tmp_path / "tool"], "cwd": tmp_path}])
    assert api.get(other).spec["cwd"] == str(tmp_path)


@pytest.mark.parametrize("command", ["make all", ["make", "all"]])
def test_a_job_runs_where_its_program_enqueued_it(
    api: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    """`enqueue` records the folder as the command line does; a document of `enqueue_many` names its own or none."""
    monkeypatch.chdir(tmp_path)
    assert api.get(api.enqueue(command)).spec["cwd"] == str(tmp_path)
    assert api.get(api.enqueue(command, cwd="below")).spec["cwd"] == str(tmp_path / "below")
    (job_id,) = api.enqueue_many([{"command": command}])
    assert "cwd" not in api.get(job_id).spec


@pytest.mark.skipif(sys.platform == "win32", reason="the folder a process works in cannot be deleted there")
def test_a_folder_that_is_gone_is_said_in_words(
    api: Spool, spool: SpoolDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a folder to record nothing is enqueued; with `cwd` it is."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(InvalidJobError, match="does not exist any more"):
        api.enqueue("true")
    assert listing(spool) == {}
    assert api.get(api.enqueue("true", cwd=tmp_path)).state == PENDING


@pytest.mark.parametrize("when", [4102444800, 4102444800.0, datetime(2100, 1, 1, tzinfo=UTC)])
def test_an_instant_is_a_number_or_a_datetime_with_a_zone(api: Spool, spool: SpoolDir, when: Any) -> None:
    """`run_at` and `until_at` take both; the file holds RFC 3339, and the library gives the number back."""
    found = api.get(api.enqueue("true", run_at=when))
    assert (found.due_at, found.spec["run_at"]) == (4102444800.0, "2100-01-01T00:00:00.000Z")
    api.pause("lunch", until_at=when)
    assert "until 2100-01-01T00:00:00.000Z" in Path(spool.root, "PAUSED").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("command", 5, "command: expected a string, a path or a list of these, not int"),
        ("command", None, "not None"),
        ("command", b"true", "not bytes"),
        ("command", {"a": 1}, "not dict"),
        ("command", ["a", 5], "command: expected strings and paths, not int"),
        ("cwd", 5, "cwd: expected strings and paths, not int"),
        ("env", [("A", "1")], "env: expected a mapping, not list"),
        ("env", {"A": 5}, "env: expected strings and paths, not int"),
        ("env", {5: "A"}, "env: expected strings as names"),
        ("tags", 5, "tags: expected a list, not int"),
        ("no_retry_exit_codes", 5, "no_retry_exit_codes: expected a list, not int"),
        ("meta", 5, "meta: expected a mapping, not int"),
        ("meta", {"a": object()}, "meta: holds a value that JSON has no form for"),
        ("run_at", True, "run_at: expected a datetime or seconds since 1970 UTC, not bool"),
        ("run_at", datetime(2100, 1, 1), "the datetime has no time zone"),
        ("run_at", math.inf, "outside the years"),
    ],
)
def test_a_wrong_type_in_a_job_is_said_in_words(api: Spool, spool: SpoolDir, key: str, value: Any, words: str) -> None:
    """InvalidJobError names the key and what was expected; nothing is written."""
    arguments: dict[str, Any] = {"command": "true", key: value}
    with pytest.raises(InvalidJobError, match=re.escape(words)) as caught:
        api.enqueue(**arguments)
    assert caught.value.key == key
    with pytest.raises(InvalidJobError):
        api.enqueue_many([{"command": "true"}, arguments])
    assert listing(spool) == {}


def test_a_wrong_type_elsewhere_is_a_type_error_in_words(api: Spool) -> None:
    """Each message names the argument and what was expected."""
    wrong: list[tuple[str, Callable[[Any], object]]] = [
        ("path", Spool),
        ("path", Spool.create),
        ("documents", api.enqueue_many),
        ("job_id", api.get),
        ("job_id", api.requeue),
        ("job_id", api.cancel),
        ("job_id", api.hold),
        ("job_id", api.release),
        ("job_id", api.purge),
        ("job_id", api.logs),
        ("job_ids", api.wait),
        ("prefix", api.resolve),
        ("state", api.jobs),
        ("reason", api.pause),
        ("until_at", lambda value: api.pause(until_at=[value])),  # type: ignore[arg-type]
        ("timeout", lambda value: api.wait(timeout=[value])),  # type: ignore[arg-type]
    ]
    for name, call in wrong:
        with pytest.raises(TypeError, match=f"^{name}: expected .*, not (int|list)$"):
            call(5)
    for documents in ("true", {"command": "true"}):
        with pytest.raises(TypeError, match="expected a list of mappings"):
            api.enqueue_many(documents)  # type: ignore[arg-type]
    with pytest.raises(InvalidJobError, match="expected a mapping with the keys of a job"):
        api.enqueue_many(["true"])  # type: ignore[list-item]


def test_a_wait_ends_when_all_have_ended(api: Spool, hands: Desk) -> None:
    """`wait` gives each end as it was: state, exit code and why."""
    for job_id in ("good", "bad"):
        api.enqueue("true", id=job_id, max_retries=0)
    runs = threading.Thread(
        target=lambda: [hands.run(f"{name}.json", end) for name, end in (("good", OK), ("bad", FAILED))]
    )
    runs.start()
    ended = {ending.id: ending for ending in api.wait("good", "bad", timeout=60)}
    runs.join()
    assert (ended["good"].succeeded, ended["good"].state, ended["good"].exit_code) == (True, DONE, 0)
    assert (ended["bad"].succeeded, ended["bad"].state, ended["bad"].exit_code) == (False, DLQ, 3)
    assert api.wait() == []
    assert [ending.id for ending in api.wait("goo")] == ["good"], "the beginning of an id is enough"


def test_a_wait_for_the_first_end_leaves_the_others(api: Spool, hands: Desk) -> None:
    """With `first` one end is enough."""
    for job_id in ("one", "two"):
        api.enqueue("true", id=job_id)
    hands.run("two.json", OK)
    assert [ending.id for ending in api.wait("one", "two", first=True, timeout=60)] == ["two"]


def test_a_wait_whose_time_is_up_says_what_is_left(api: Spool, hands: Desk) -> None:
    """WaitTimeoutError is a TimeoutError that knows what has ended and what has not."""
    for job_id in ("one", "two"):
        api.enqueue("true", id=job_id)
    hands.run("two.json", OK)
    with pytest.raises(TimeoutError) as caught:
        api.wait("one", "two", timeout=0.01)
    assert isinstance(caught.value, queuectl.WaitTimeoutError)
    assert (caught.value.left, [ending.id for ending in caught.value.ended]) == (["one"], ["two"])
    with pytest.raises(ValueError, match="timeout: 'soon' is not a duration"):
        api.wait("one", timeout="soon")
    with pytest.raises(UnknownJobError):
        api.wait("nobody", timeout=60)


def test_spool_is_opened_or_made(tmp_path: Path) -> None:
    """A path that is no spool is an error; `create` makes one and opens one."""
    with pytest.raises(NotASpoolError):
        Spool(tmp_path / "spool")
    made = Spool.create(tmp_path / "spool")
    assert made.path == str(tmp_path / "spool")
    assert Spool.create(tmp_path / "spool").counts() == Spool(tmp_path / "spool").counts()


def test_spool_with_a_mistake_in_its_settings_is_an_error(spool: SpoolDir) -> None:
    """A library call does not work on settings that nobody meant."""
    Path(spool.settings_path).write_text("max_retires = 3")
    with pytest.raises(InvalidSettingsError):
        Spool(spool.root)


def test_enqueued_job_can_be_looked_at(api: Spool, spool: SpoolDir) -> None:
    """What was asked for is what lies in pending/ (P1)."""
    job_id = api.enqueue(
        ["convert", "a b.png"], id="job1", max_retries=1, timeout="5m", priority=4, tags=("x", "y"), env={"A": "1"}
    )
    found = api.get(job_id)
    assert (found.id, found.state, found.attempts, found.max_retries) == ("job1", PENDING, 0, 1)
    assert found.command == ["convert", "a b.png"]
    assert (found.priority, found.tags, found.due_at, found.worker, found.error) == (4, ["x", "y"], None, "", "")
    assert found.spec["timeout"] == 300
    assert found.spec["env"] == {"A": "1"}
    assert "format" not in found.spec and "history" not in found.spec
    assert found.history[0]["by"] == "enqueue"
    assert found.enqueued_at is not None
    assert without_arrival(found.path) == spool.path(PENDING, "job1,prio=4.json")
    assert os.path.exists(found.path)


@pytest.mark.parametrize(
    "keys",
    [
        {"backoff_base": 3, "backoff_max": "10m", "jitter": 0.5},
        {"run_at": "2100-01-01T00:00:00Z"},
        {"delay": 60},
        {"cwd": os.path.abspath("somewhere"), "no_retry_exit_codes": (2, 3)},
    ],
)
def test_every_argument_reaches_the_job(api: Spool, keys: dict[str, Any]) -> None:
    """No argument of `enqueue` is dropped on the way."""
    found = api.get(api.enqueue("true", **keys))
    for key, value in keys.items():
        if key in ("delay", "run_at"):
            assert found.due_at is not None
        else:
            assert found.spec[key] == {"10m": 600}.get(value, list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("keys", [{"id": "a/b"}, {"max_retries": -1}, {"timeout": "x"}, {"cwd": "\0"}, {"tags": "x"}])
def test_argument_that_cannot_be_writes_nothing(api: Spool, spool: SpoolDir, keys: dict[str, Any]) -> None:
    """A mistake in a call leaves no trace."""
    with pytest.raises(InvalidJobError) as caught:
        api.enqueue("true", **keys)
    assert not str(caught.value).startswith("job 1:")
    assert listing(spool) == {}


def test_many_jobs_keep_their_order(api: Spool) -> None:
    """Ids come back in the order of the documents."""
    ids = api.enqueue_many([{"command": f"echo {number}"} for number in range(20)])
    assert ids == sorted(ids)
    assert [found.command for found in api.jobs(PENDING)] == [f"echo {number}" for number in range(20)]
    assert api.enqueue_many([]) == []
    assert api.enqueue_many(iter([{"command": "x"}])) != []


@pytest.mark.parametrize(
    "bad",
    [{"comand": "x"}, {"command": "x", "id": "../x"}, {"command": "x", "id": "FIRST"}, {"command": "x", "id": "there"}],
)
def test_many_jobs_are_all_checked_before_one_is_written(api: Spool, spool: SpoolDir, bad: dict[str, Any]) -> None:
    """One bad or duplicate job among many: nothing is written."""
    api.enqueue("true", id="there")
    with pytest.raises((InvalidJobError, DuplicateJobError)) as caught:
        api.enqueue_many([{"command": "x", "id": "first"}, {"command": "x"}, bad])
    if "comand" in bad:
        assert "job 3" in str(caught.value)
    assert listing(spool) == {"pending": ["there.json"]}
    assert os.listdir(spool.tmp_dir) == []


@pytest.mark.parametrize("state", [PENDING, RUNNING, DONE, DLQ])
def test_duplicate_id_says_where_the_other_is(api: Spool, spool: SpoolDir, state: str) -> None:
    """Nothing is overwritten, and the state is named (P7)."""
    write_drop(spool, "job1.json", "x", state)
    with pytest.raises(DuplicateJobError) as caught:
        api.enqueue("true", id="job1")
    assert caught.value.state == state
    assert listing(spool) == {state: ["job1.json"]}


def test_history_of_a_document_is_not_believed(api: Spool) -> None:
    """A job that is enqueued starts with nothing behind it, whatever the document says."""
    (job_id,) = api.enqueue_many([{"command": "x", "history": [{"at": "x", "event": "succeeded", "to": "done"}]}])
    assert [event["event"] for event in api.get(job_id).history] == ["enqueued"]


@pytest.mark.parametrize(
    ("code", "hint"),
    [("ENOSPC", "free"), ("EDQUOT", "quota"), ("EROFS", "read-only"), ("EACCES", "permissions"), ("EIO", "")],
)
def test_disk_that_refuses_is_said_in_words(
    api: Spool, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, code: str, hint: str
) -> None:
    """An enqueue that fails says why and what to do, and leaves nothing behind (P1)."""

    def refuse(path: str, *_args: object, **_options: object) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), path)

    monkeypatch.setattr(disk, "create", refuse)
    with pytest.raises(SpoolUnavailableError) as caught:
        api.enqueue("true")
    assert hint in caught.value.hint
    assert listing(spool) == {}


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
    assert found["x"].error == "exit 3: 1 run, retries used up"
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


@pytest.mark.parametrize(("state", "outcome"), [(DONE, OK), (DLQ, FAILED)])
def test_requeued_job_waits_afresh_with_its_history(api: Spool, hands: Desk, state: str, outcome: Outcome) -> None:
    """A dead or finished job runs again with all its retries (P7)."""
    hands.run(hands.enqueue(id="a", max_retries=0, priority=5), outcome)
    found = api.requeue("a", by="cli")
    assert (found.state, found.attempts) == (PENDING, 0)
    assert [event["event"] for event in found.history] == ["enqueued", "started", outcome.kind, "requeued"]
    assert found.history[-1]["by"] == "cli"
    assert listing(hands.spool) == {"pending": ["a,prio=5.json"]}
    claimed = hands.start("a,prio=5.json")
    assert (claimed.attempt, claimed.failures) == (2, 0)
    assert hands.events(RUNNING, "a.json")[-2:] == ["requeued", "started"]


def test_requeue_of_a_job_that_is_on_its_way_is_refused(api: Spool, hands: Desk) -> None:
    """A job that waits or runs is not doubled (P3)."""
    name = hands.enqueue(id="a")
    with pytest.raises(QueuectlError, match="pending"):
        api.requeue("a")
    hands.start(name)
    with pytest.raises(QueuectlError, match="running"):
        api.requeue("a")
    assert hands.events(RUNNING, "a.json") == ["enqueued", "started"]


def test_requeue_that_was_cut_short_can_be_done_again(api: Spool, hands: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash between the event and the move leaves a dead job that can be requeued or dragged (P4)."""
    hands.run(hands.enqueue(id="a", max_retries=0), FAILED)

    def refuse(*_args: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "move", refuse)
        with pytest.raises(SpoolUnavailableError):
            api.requeue("a")
    assert listing(hands.spool) == {"dlq": ["a.json"]}
    assert api.requeue("a").state == PENDING
    assert hands.start("a.json").failures == 0


def test_requeue_waits_for_a_claim_in_progress(api: Spool, hands: Desk) -> None:
    """The stripe of an id guards its moves by hand too (P3)."""
    hands.run(hands.enqueue(id="a", max_retries=0), FAILED)
    stripe = hands.stripes.of("a")
    assert stripe.try_acquire()
    done: list[str] = []
    caller = threading.Thread(target=lambda: done.append(api.requeue("a").state))
    caller.start()
    caller.join(0.1)
    assert caller.is_alive()
    assert listing(hands.spool) == {"dlq": ["a.json"]}
    stripe.release()
    caller.join(60)
    assert done == [PENDING]


def test_requeue_gives_up_on_a_stripe_that_stays_busy(api: Spool, hands: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process does not hang a command for ever."""
    monkeypatch.setattr(stripes, "_PATIENCE_S", 0.05)
    hands.run(hands.enqueue(id="a", max_retries=0), FAILED)
    assert hands.stripes.of("a").try_acquire()
    with pytest.raises(SpoolUnavailableError):
        api.requeue("a")


def test_purged_job_is_gone_with_its_logs(api: Spool, hands: Desk) -> None:
    """Only what was asked for is deleted (P6)."""
    for job_id in ("a", "a.1", "b"):
        hands.run(hands.enqueue(id=job_id, max_retries=0), FAILED)
        Path(hands.spool.log_path(job_id, 1)).write_text(job_id)
    api.purge("a")
    assert listing(hands.spool) == {"dlq": ["a.1.json", "b.json"]}
    assert sorted(os.listdir(hands.spool.folder("logs"))) == ["a.1.1.log", "b.1.log"]
    with pytest.raises(UnknownJobError):
        api.get("a")


def test_purge_takes_the_logs_of_every_run(api: Spool, hands: Desk) -> None:
    """A job that ran more than once leaves nothing behind."""
    name = hands.enqueue(id="a", max_retries=1, backoff_base=0)
    for _ in range(2):
        name = hands.run(name, FAILED).name
    for attempt in (1, 2):
        Path(hands.spool.log_path("a", attempt)).write_text("x")
    api.purge("a")
    assert os.listdir(hands.spool.folder("logs")) == []


def test_purge_of_a_record_that_is_none_any_more(api: Spool, spool: SpoolDir) -> None:
    """A damaged file in dlq/ can be deleted by its name too."""
    write_drop(spool, "a.json", "damaged", DLQ)
    Path(spool.log_path("a", 1)).write_text("x")
    api.purge("a")
    assert listing(spool) == {}
    assert os.listdir(spool.folder("logs")) == []


def test_purge_of_a_job_that_is_on_its_way_is_refused(api: Spool, hands: Desk) -> None:
    """What waits or runs is never deleted (P1)."""
    name = hands.enqueue(id="a")
    with pytest.raises(QueuectlError, match="pending"):
        api.purge("a")
    hands.start(name)
    with pytest.raises(QueuectlError, match="running"):
        api.purge("a")
    assert listing(hands.spool) == {"running": ["a.json"]}


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


# ------------------------------------------------------------------------------------------------------ prefixes of ids


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
    assert caught.value.cause == "it could be job0, job1, job2, job3, job4 and 2 more"


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
