"""api: the library that the commands call."""

from __future__ import annotations

import errno
import math
import os
import re
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
    DuplicateJobError,
    InvalidJobError,
    InvalidSettingsError,
    NotASpoolError,
    SpoolUnavailableError,
    UnknownJobError,
)
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING, Outcome
from queuectl.spool.folder import SpoolDir
from queuectl.system import disk
from tests.helpers import Desk, listing, without_arrival, write_drop

OK = Outcome("succeeded", 0, "", 0.01)
FAILED = Outcome("failed", 3, "", 0.01)


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
    not_raised = {"IllegalMoveError", "ClusterError", "ClusterUnreachableError", "UnknownGroupError"}
    assert raised - set(queuectl.__all__) == not_raised, "a bug in queuectl, and what only pools or commands meet"


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
    with pytest.raises(InvalidJobError, match="no longer exists"):
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
        ("meta", {"a": object()}, "meta: contains a value that JSON cannot express"),
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


def test_each_call_looks_at_parents_anew(api: Spool, hands: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """P13: what was seen of a parent counts for one call only, however long the library object lives; no record of a
    new job is made and read once more to find its parents.
    """
    decoded: list[str] = []
    decode = record.decode
    monkeypatch.setattr(record, "decode", lambda data, **more: decoded.append("") or decode(data, **more))
    parent = api.enqueue("true", id="load", max_retries=0)
    first = api.enqueue_many([{"command": "true", "after": parent} for _ in range(3)])
    name = next(name for name in api.folder.waiting_names() if name.startswith("load,"))
    assert len(decoded) == 4  # each by its check
    hands.run(name, Outcome("failed", 1))
    later = api.enqueue("true", after={"id": parent, "when": "dead"})
    unmet = api.enqueue("true", after=parent)
    waiting = api.folder.waiting_names()
    assert all(f"{job_id},after=load.json" in waiting for job_id in first)
    assert f"{later}.json" in waiting and "unblocked" in hands.events("pending", f"{later}.json")
    assert f"{unmet},after=load.json" in waiting
    again = api.enqueue_many([{"command": "true", "history": [{"event": "started"}], "after": parent}])
    assert f"{again[0]},after=load.json" in api.folder.waiting_names()  # `enqueue` takes no history
