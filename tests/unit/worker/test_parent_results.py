"""parent_results: what a command learns of the jobs that its job waited for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.verdict import Split
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, Outcome
from queuectl.spool import groups
from queuectl.worker import parent_results
from queuectl.worker.parent_results import ParentResults
from tests.helpers import Desk

OK = Outcome("succeeded", 0, "", 0.01)


def parent(desk: Desk, job_id: str, result: bytes | None, outcome: Outcome = OK) -> None:
    """Run a job that gives this back."""
    desk.run(desk.enqueue(id=job_id, max_retries=0), outcome)
    if result is not None:
        Path(desk.spool.result_path(job_id, 1)).write_bytes(result)


def told(desk: Desk, after: Any, job_id: str = "child") -> dict[str, Any]:
    """What the command of a job with these parents learns."""
    name = desk.enqueue(id=job_id, after=after)
    made: dict[str, Any] = json.loads(parent_results.document(desk.spool, desk.record(PENDING, name)))
    return made


def test_each_parent_by_its_id(desk: Desk) -> None:
    """Its state, how it ended, where its result is, and the value if it is JSON."""
    parent(desk, "a", b'{"pages": 3}')
    parent(desk, "b", b"no json", Outcome("failed", 7))
    parent(desk, "c", None)
    found = told(desk, ["a", {"id": "b", "when": "ended"}, "c", {"id": "nowhere", "when": "ended"}])
    assert found == {
        "a": {
            "id": "a", "state": "done", "attempt": 1, "exit_code": 0, "result": desk.spool.result_path("a", 1),
            "json": {"pages": 3},
        },
        "b": {
            "id": "b", "state": "dlq", "attempt": 1, "exit_code": 7, "result": desk.spool.result_path("b", 1),
            "json": None,
        },
        "c": {"id": "c", "state": "done", "attempt": 1, "exit_code": 0, "result": None, "json": None},
        "nowhere": {"id": "nowhere", "state": None, "attempt": 0, "exit_code": None, "result": None, "json": None},
    }  # fmt: skip


@pytest.mark.parametrize(
    "result",
    [b"[" * 60_000, b"NaN", b"\xff", b'"' + b"x" * 65_600 + b'"', b"", b"{}x", b'{"a": 1e999}', b"1" * 9999],
)
def test_a_hostile_result_is_a_path_only(desk: Desk, result: bytes) -> None:
    """What a stranger's command wrote makes no trouble for the worker."""
    parent(desk, "a", result)
    found = told(desk, "a")["a"]
    assert found["json"] is None and found["result"] == desk.spool.result_path("a", 1)


def test_all_results_together_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand parents do not make a file of 64 MiB."""
    monkeypatch.setattr(parent_results, "_ALL_MAX_BYTES", 25)
    for job_id in "abc":
        parent(desk, job_id, b'"0123456789"')
    found = told(desk, ["a", "b", "c"])
    assert [found[job_id]["json"] for job_id in "abc"] == ["0123456789", "0123456789", None]


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_a_link_in_the_place_of_a_result_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    """Somebody may have put it into logs/."""
    parent(desk, "a", None)
    (tmp_path / "secret").write_text('"secret"')
    os.symlink(tmp_path / "secret", desk.spool.result_path("a", 1))
    assert told(desk, "a")["a"]["json"] is None


def test_jobs_of_one_file_know_each_other_by_refs(desk: Desk) -> None:
    """And all of them together as counts."""
    rows: list[dict[str, Any]] = [{"command": "x", "max_retries": 0, "ref": "load"}]
    rows += [{"command": "x", "max_retries": 0} for _ in range(3)]
    rows += [{"command": "y", "ref": "last", "after": ["load", {"id": "*", "when": "ended"}]}]
    desk.drop("f.json", rows)
    made = desk.claims.splits.split("f.json")
    assert isinstance(made, Split)
    ids = [groups.id_of(name) for name in made.names]
    for job_id, code in zip(ids[:3], (0, 1, 0), strict=True):
        waiting = next(name for name in desk.spool.waiting_names() if groups.id_of(name) == job_id)
        desk.run(waiting, OK if code == 0 else Outcome("failed", 1))
    name = next(name for name in desk.spool.waiting_names() if groups.id_of(name) == ids[4])
    item: record.Record = desk.record(PENDING, name)
    found = json.loads(parent_results.document(desk.spool, item))
    assert found["load"]["state"] == "done" and found["load"]["id"] == ids[0]
    assert found["*"] == {"count": 3, "done": 1, "dead": 1, "dead_ids": [ids[1]]}


def test_brackets_make_no_large_file(desk: Desk) -> None:
    """A small result of deep lists is handed on about as small as it is: the text of a stranger fills no disk."""
    deep = "[" + ",".join(["[" * 400 + "]" * 400] * 70) + "]"
    parent(desk, "a", deep.encode())
    found = parent_results.document(desk.spool, desk.record(PENDING, desk.enqueue(id="child", after="a")))
    assert len(found) < 2 * len(deep) and json.loads(found)["a"]["json"] == json.loads(deep)


def test_elsewhere_there_are_no_paths_and_less(desk: Desk) -> None:
    """A command on another machine has JSON values only, a quarter of a megabyte of all parents together."""
    ids = [f"p{number}" for number in range(6)]
    for job_id in ids:
        parent(desk, job_id, json.dumps("x" * 60_000).encode())
    item = desk.record(PENDING, desk.enqueue(id="child", after=ids))
    found = json.loads(parent_results.document(desk.spool, item, is_here=False))
    assert {row["result"] for row in found.values()} == {None}
    assert [row["json"] is not None for row in found.values()] == [True] * 4 + [False] * 2
    assert {row["state"] for row in found.values()} == {"done"}


def _retry(desk: Desk) -> None:
    """The parent runs once more, and gives back something else of the same length."""
    os.rename(desk.spool.path(DONE, "p.json"), desk.spool.path(PENDING, "p.json"))
    desk.run("p.json", OK)
    Path(desk.spool.result_path("p", 2)).write_bytes(b"[2]")


def _drag(desk: Desk) -> None:
    os.rename(desk.spool.path(DONE, "p.json"), desk.spool.path(DLQ, "p.json"))


def _rewrite_result(desk: Desk) -> None:
    """Only the time of the change, which nobody can set, tells this from what was there."""
    path = desk.spool.result_path("p", 1)
    before = os.stat(path)
    Path(path).write_bytes(b"[9]")
    if sys.platform != "win32":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _edit_record(desk: Desk) -> None:
    path = Path(desk.spool.path(DONE, "p.json"))
    path.write_bytes(path.read_bytes().replace(b'"exit_code": 0', b'"exit_code": 3'))


CHANGES: dict[str, Callable[[Desk], None]] = {
    "retried": _retry,
    "dragged": _drag,
    "its result is other": _rewrite_result,
    "its result is gone": lambda desk: os.unlink(desk.spool.result_path("p", 1)),
    "its record is edited": _edit_record,
    "deleted": lambda desk: os.unlink(desk.spool.path(DONE, "p.json")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_children_share_a_text_until_their_parent_changes(desk: Desk, change: str) -> None:
    """P13: the folder is the truth at each start, and results are those of the attempt on record."""
    parent(desk, "p", b"[1]")
    item = desk.record(PENDING, desk.enqueue(id="child", after={"id": "p", "when": "over"}))
    results = ParentResults(desk.spool, clock=desk.clock)
    for _ in range(3):
        kept = results.document(item)
        desk.clock.advance(1)
    assert results.document(item) is kept and json.loads(kept)["p"]["json"] == [1]
    CHANGES[change](desk)
    found = results.document(item)
    assert found == parent_results.document(desk.spool, item) and found != kept
    desk.clock.advance(1)
    assert results.document(item) == found
    assert results.document(item) == found


def test_a_dead_parent_that_is_done_after_all(desk: Desk) -> None:
    """The file in done/ counts, also while the other one is still there, as at the claim."""
    parent(desk, "p", None, Outcome("failed", 7))
    item = desk.record(PENDING, desk.enqueue(id="child", after={"id": "p", "when": "ended"}))
    results = ParentResults(desk.spool, clock=desk.clock)
    for _ in range(3):
        kept = results.document(item)
        desk.clock.advance(1)
    assert results.document(item) is kept and json.loads(kept)["p"]["state"] == "dlq"
    Path(desk.spool.path(DONE, "p.json")).write_bytes(Path(desk.spool.path(DLQ, "p.json")).read_bytes())
    assert json.loads(results.document(item))["p"]["state"] == "done"


def test_a_text_is_read_again_until_its_files_are_old_enough(desk: Desk) -> None:
    """A file that changes twice within one step of the system's clock looks the same."""
    parent(desk, "p", b"[1]")
    item = desk.record(PENDING, desk.enqueue(id="child", after="p"))
    results = ParentResults(desk.spool, clock=desk.clock)
    texts = []
    for pause_s in (0.01, 0.015, 1, 1):
        texts.append(results.document(item))
        desk.clock.advance(pause_s)
    assert texts[0] is not texts[1] and texts[1] is not texts[2] and texts[2] is texts[3]


def test_few_texts_are_kept(desk: Desk) -> None:
    """A worker with children of ever other parents does not grow; nor does it keep what a range counts."""
    results = ParentResults(desk.spool, clock=desk.clock)
    for number in range(40):
        parent(desk, f"p{number}", None)
        item = desk.record(PENDING, desk.enqueue(id=f"c{number}", after=f"p{number}"))
        results.document(item)
    assert len(results._texts) == 32
