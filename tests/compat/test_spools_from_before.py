"""Spools that an earlier version left are listed, repaired and run by today's code as if it had made them.

`queue` and `torn` beside this file were made by the version of November 2026, by its own commands; their instants were
set back by some days afterwards. They stay as they are: a change of the format gets a new folder beside them.

`queue/spool`, with its inbox: jobs that wait (for a retry, a delay, a person, nothing), jobs that are done, dead or
cancelled, rejected files, a job whose worker was killed, a file of many jobs that is half split, changed settings.
`torn/spool`: a folded history, a record without its end, an outcome without its move, a record on its way from an
inbox that the settings do not name any more.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl import Spool
from queuectl.spool.folder import SpoolDir
from tests.helpers import let_others_enter, wait_until
from tests.pool import Pool, queuectl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the kept jobs are commands of sh")
KEPT = Path(__file__).parent
# What git does not keep: folders that are empty.
FOLDERS = (
    *("pending", "running", "done", "dlq", "rejected", "logs"),
    *(f".queuectl/{name}" for name in ("tmp", "locks", "leases", "pools", "cancels", "signed", "taken", "splits")),
)
DEAD = {"bad", "dead-1", "dead-2", "slow-1", "cancelled-1"}
FINISHED = {"done-1", "done-2", "dropped-1", "line-1", "line-2", "report"}
WAITING = {"again-1", "held-1", "later-1", "many-1", "plain-1", "retried-1", "soon-1"}


def copy_of(name: str, folder: Path) -> SpoolDir:
    """A copy of a kept spool and of its inbox, with the modes that queuectl gives its files."""
    shutil.copytree(KEPT / name, folder / name)
    root = folder / name / "spool"
    for each in FOLDERS:
        (root / each).mkdir(parents=True, exist_ok=True)
    for path in (folder / name).rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o600)
    spool = SpoolDir(str(root))
    let_others_enter(spool)
    return spool


def states(spool: SpoolDir) -> dict[str, str]:
    """The state of each job."""
    return {row["id"]: row["state"] for row in json.loads(queuectl(spool, "list", "--json"))["jobs"]}


def story(spool: SpoolDir, job_id: str) -> list[str]:
    """The events of a job."""
    return [event["event"] for event in Spool(spool.root).get(job_id).history]


def verdict(spool: SpoolDir, *options: str) -> str:
    """What `queuectl check` says of the whole spool."""
    found: dict[str, Any] = json.loads(queuectl(spool, "check", *options, "--json", check=False))
    return str(found["verdict"])


def test_a_kept_spool_is_listed_and_shown(tmp_path: Path) -> None:
    """Every job is there, in its state, with its story, its output and its reason."""
    spool = copy_of("queue", tmp_path)
    expected = dict.fromkeys(WAITING, "pending") | dict.fromkeys(FINISHED, "done") | dict.fromkeys(DEAD, "dlq")
    assert states(spool) == expected | {"left-1": "running"}
    for job_id in expected:
        assert job_id in queuectl(spool, "show", job_id)
        assert story(spool, job_id)[0] == "enqueued"
    assert queuectl(spool, "logs", "done-1").splitlines() == ["hello", "world"]
    assert "retries used up" in queuectl(spool, "show", "dead-1")
    assert "not needed any more" in queuectl(spool, "show", "cancelled-1")
    job = Spool(spool.root).get("done-1")
    assert (job.tags, job.spec["meta"]) == (["first", "größer"], {"customer": 4711})
    assert Spool(spool.root).get("retried-1").attempts == 1
    assert "wrong.json" in queuectl(spool, "rejected", "list")


def test_a_kept_spool_is_put_right(tmp_path: Path) -> None:
    """What a kill has left is found and repaired: the split is finished, the job of the dead worker waits again."""
    spool = copy_of("queue", tmp_path)
    assert verdict(spool) == "repairable"
    assert verdict(spool, "--repair") == "repaired"
    assert verdict(spool) == "clean"
    assert {job_id for job_id, state in states(spool).items() if state == "pending"} == {
        *WAITING,
        *("left-1", "many-2", "many-3", "many-4"),
    }
    assert story(spool, "left-1") == ["enqueued", "started", "abandoned"]


def test_every_kept_job_ends_as_it_must(tmp_path: Path) -> None:
    """A pool of today runs what waits, and nothing else; what a person asks for is done."""
    spool = copy_of("queue", tmp_path)
    queuectl(spool, "release", "held-1")
    queuectl(spool, "retry", "dead-2")
    (tmp_path / "again").touch()
    ran = WAITING - {"later-1"} | {"left-1", "many-2", "many-3", "many-4", "waits"}
    with Pool(spool, cwd=tmp_path):
        expected = dict.fromkeys(ran | FINISHED, "done") | dict.fromkeys(DEAD, "dlq") | {"later-1": "pending"}
        wait_until(lambda: states(spool) == expected)
        wait_until((tmp_path / "queue" / "inbox" / "waits.json.done.txt").exists)
    assert verdict(spool) == "clean"
    assert story(spool, "left-1") == ["enqueued", "started", "abandoned", "started", "succeeded"]
    assert story(spool, "retried-1") == ["enqueued", "started", "failed", "started", "succeeded"]
    assert story(spool, "again-1") == ["enqueued", "started", "failed", "requeued", "started", "succeeded"]
    assert story(spool, "dead-2") == ["enqueued", "started", "failed", "requeued", "started", "failed"]
    assert all(story(spool, f"many-{number}") == ["enqueued", "started", "succeeded"] for number in range(1, 5))
    assert "exit code 9 is not retried" in (Path(spool.root) / "dlq" / "dead-2.error.txt").read_text()
    assert sorted(path.name for path in (tmp_path / "queue" / "inbox").iterdir()) == [
        *("bad.json.failed.txt", "report.json.done.txt", "waits.json.done.txt"),
        *("wrong.json.rejected", "wrong.json.rejected.txt"),
    ]


def test_a_kept_spool_that_was_torn_loses_nothing(tmp_path: Path) -> None:
    """A folded history is counted on, a torn record is cut back, an outcome is followed, a hand-over goes on."""
    spool = copy_of("torn", tmp_path)
    assert Spool(spool.root).get("folded-1").attempts == 12
    assert verdict(spool) == "repairable"
    ran = ("folded-1", "torn-1", "moved-1", "handed-1")
    with Pool(spool):
        wait_until(lambda: states(spool) == dict.fromkeys(ran, "done"))
    assert verdict(spool) == "clean"
    assert Spool(spool.root).get("folded-1").attempts == 13
    assert story(spool, "moved-1") == ["enqueued", "started", "succeeded"]
    assert Spool(spool.root).get("handed-1").owner == "carla"
    assert story(spool, "torn-1")[-2:] == ["started", "succeeded"]


def test_a_flow_that_an_earlier_version_has_half_split_is_finished(tmp_path: Path) -> None:
    """Its file has the name of any file of many jobs; each job runs once, parents first (P1, P13)."""
    spool = copy_of("flow", tmp_path)
    assert verdict(spool) == "repairable"
    taken = Path(spool.root) / ".queuectl" / "taken"
    with Pool(spool):
        wait_until(lambda: sorted(states(spool).values()) == ["done"] * 5)  # a list may miss a job while it moves
        wait_until(lambda: [path.suffix for path in taken.iterdir()] == [".done"])  # may come after the last job
    ran = (tmp_path / "flow" / "log").read_text().split()
    assert sorted(ran) == ["a", "all", "b", "load", "sum"]
    assert ran[0] == "load" and ran[3:] == ["sum", "all"]
    assert verdict(spool) == "clean"
