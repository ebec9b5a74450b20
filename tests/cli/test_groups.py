"""Workflows and groups on the command line and in the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.errors import InvalidJobError, UnknownGroupError, UnknownJobError
from queuectl.model.lifecycle import DLQ, DONE, PENDING, Outcome
from queuectl.spool import groups
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.cli.commands import Commands
from tests.helpers import Desk

OK = Outcome("succeeded", 0, "", 0.1)
BUILD = [
    {"command": "mail", "after": {"id": "*", "when": "ended"}},
    {"ref": "sum", "command": "sum", "after": ["a", "b"]},
    {"ref": "a", "command": "a", "after": "load"},
    {"ref": "b", "command": "b", "after": "load"},
    {"ref": "load", "command": "load"},
]


@pytest.fixture
def clock() -> Clock:
    """The real clock: the commands look at it too."""
    return Clock()


@pytest.fixture
def build(tmp_path: Path) -> str:
    """A flow in a file."""
    path = tmp_path / "my build.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in BUILD))
    return str(path)


@pytest.fixture
def group(spool: SpoolDir, desk: Desk) -> str:
    """A group with a job in each state, and a job of nobody's."""
    desk.enqueue(id="other", tags=["x"])
    token = "g-20261124T031500-x2k9"
    for ref in ("done", "dead", "off", "run", "held"):
        desk.enqueue(id=f"{token}-{ref}", max_retries=0, tags=["x"])
    desk.run(f"{token}-done.json", OK)
    desk.run(f"{token}-dead.json", Outcome("failed", 1))
    Spool(spool.root).cancel(f"{token}-off")
    Desk(spool, worker="w2", clock=Clock()).start(f"{token}-run.json")
    return token


def test_a_flow_is_enqueued_parents_first(queuectl: Commands, spool: SpoolDir, build: str) -> None:
    """Ids begin with the name of the file, and come in the order of its lines."""
    ids = queuectl("enqueue", build).out.split()
    token = groups.token_of(ids[0])
    assert token.startswith("my-build-")
    assert [each.removeprefix(f"{token}-") for each in ids] == ["0001", "sum", "a", "b", "load"]
    names = {groups.id_of(name): name for name in spool.waiting_names()}
    assert [names[job_id].partition(",after=")[2].removesuffix(".json") for job_id in ids[1:4]] == [
        ids[3], ids[4], ids[4],
    ]  # fmt: skip
    assert spool.waiting_names() and ",after=" not in names[ids[4]]
    queuectl.on_terminal = True
    assert "enqueued 5 jobs as group my-build-" in queuectl("enqueue", build).out


def test_a_flow_comes_from_standard_input_too(queuectl: Commands, spool: SpoolDir) -> None:
    """Its ids begin with `flow` then."""
    ids = queuectl("enqueue", "-", stdin=json.dumps(BUILD)).out.split()
    assert len(ids) == 5 and groups.token_of(ids[0]).startswith("flow-")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"command": 5}, "job 6: command: takes"),
        ({"command": "x", "ref": "A"}, "job 6: ref: 'A' occurs twice"),
        ({"command": "x", "after": "lod"}, "did you mean 'load'?"),
        ({"command": "x", "id": "mine"}, "job 6: id: is not possible"),
    ],
)
def test_one_mistake_enqueues_nothing(
    queuectl: Commands, spool: SpoolDir, changed: dict[str, object], why: str
) -> None:
    """The error names the job and the key."""
    assert why in queuectl("enqueue", "-", stdin=json.dumps([*BUILD, changed]), code=5).err
    assert spool.waiting_names() == []


def test_a_workflow_is_a_plain_list(spool: SpoolDir) -> None:
    """In the library too; ids in the order given, also from an iterator."""
    api = Spool(spool.root)
    ids = api.enqueue_many(dict(row) for row in BUILD)
    assert api.group(groups.token_of(ids[0])) == api.group(ids[3]) and api.group(ids[0]).waiting == 5
    assert [job.id for job in api.jobs(PENDING, group=groups.token_of(ids[0]))] == sorted(ids)
    with pytest.raises(InvalidJobError, match="wait for each other: a -> b -> a"):
        api.enqueue_many([{"command": "x", "ref": "a", "after": "b"}, {"command": "x", "ref": "b", "after": "a"}])


def test_how_far_a_group_is(queuectl: Commands, group: str) -> None:
    """Counts by listing; the dead ones are named."""
    shown = queuectl("show", "--group", group)
    assert shown.out.splitlines()[0] == f"{group}  1 of 5 done, 1 dead, 1 cancelled, 1 run, 1 wait"
    assert f"{group}-dead" in shown.out and f"queuectl retry --group {group}" in shown.out
    assert queuectl("show", "--group", group, "--json").json == {
        "version": 1, "group": group, "total": 5, "done": 1, "dead": 1, "cancelled": 1, "running": 1, "waiting": 1,
    }  # fmt: skip
    assert "no job of a group" in queuectl("show", "--group", "nobody", code=3).err
    queuectl("show", code=2)
    queuectl("show", "other", "--group", group, code=2)


def test_large_counts_are_readable() -> None:
    """Thousands are set apart."""
    assert groups.GroupCounts(5000, 2310, 3, 0, 8, 2679).text == "2,310 of 5,000 done, 3 dead, 8 run, 2,679 wait"


def test_list_and_filters_take_a_group(
    queuectl: Commands, spool: SpoolDir, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only files of the group are opened; other filters apply beside it."""
    opened: list[str] = []
    load = Spool.load

    def noted(self: Spool, state: str, name: str) -> object:
        opened.append(name)
        return load(self, state, name)

    monkeypatch.setattr(Spool, "load", noted)
    listed = queuectl("list", "--group", group)
    assert len(listed.rows) == 5 and all(group in name for name in opened)
    assert [row[0] for row in queuectl("list", "--group", group, "--state", "done").rows] == [f"{group}-done"]
    assert queuectl("list", "--group", group, "--tag", "y").rows == []
    assert queuectl("retry", "--group", group, "--yes").out.split() == [f"{group}-dead"]
    assert queuectl("cancel", "--group", group, "--dry-run", "--state", "pending").out.split() == [
        f"{group}-dead",
        f"{group}-held",
    ]
    assert queuectl("purge", "--group", group, "--yes").out.split() == [f"{group}-done", f"{group}-off"]
    assert spool.holds("other") or "other.json" in [name.partition(",")[0] for name in spool.waiting_names()]


def test_wait_takes_a_group(queuectl: Commands, desk: Desk, spool: SpoolDir) -> None:
    """For all jobs that are there when it begins."""
    token = "g-20261124T031500-x2k9"
    for ref in ("a", "b"):
        desk.run(desk.enqueue(id=f"{token}-{ref}", max_retries=0), OK if ref == "a" else Outcome("failed", 1))
    rows = queuectl("wait", "--group", token, code=4).rows
    assert sorted(row[:2] for row in rows) == [[f"{token}-a", DONE], [f"{token}-b", DLQ]]
    queuectl("wait", "--group", "nobody", code=3)
    queuectl("wait", code=2)


def test_a_job_without_a_group_has_no_token() -> None:
    """Generated ids, ids of their own, and tokens themselves are no members."""
    for job_id in ("job1", "20261124-031500-120345-7f3k", "g-20261124T031500-x2k9", "g-20261124T031500-x2k-a"):
        assert groups.token_of(job_id) == ""
    assert groups.token_of("my-b-20261124T031500-x2k9-a-b.c") == "my-b-20261124T031500-x2k9"


def test_an_unknown_group_is_an_unknown_job(spool: SpoolDir) -> None:
    """For `except` clauses that exist already."""
    assert issubclass(UnknownGroupError, UnknownJobError)
    assert Spool(spool.root).group("nobody").total == 0
