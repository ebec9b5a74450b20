"""Jobs with parents, from end to end: real pools, and a person who moves, copies and deletes files meanwhile (P13)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.api import Spool
from queuectl.model import record
from queuectl.model.lifecycle import DLQ, DONE, PENDING
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in, wait_until, write_drop
from tests.pool import PYTHON, SUCCEED, Pool, ends_with

FAIL = "exit 1"
LIST = "import os; open('last.txt', 'w').write('\\n'.join(os.listdir('done') + os.listdir('dlq')))"
IF_FLAG = "import os, sys; sys.exit(not os.path.exists('flag'))"


def settings(spool: SpoolDir, **values: object) -> None:
    """Put settings into queuectl.toml."""
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    path = Path(spool.settings_path)
    path.write_text(lines + path.read_text())


def item(spool: SpoolDir, state: str, job_id: str) -> record.Record:
    """The record of a job that has ended."""
    return spool.read(state, f"{job_id}.json").record


def reason(spool: SpoolDir, job_id: str) -> str:
    """Why a job is dead."""
    last = item(spool, DLQ, job_id).standing().last
    assert last is not None
    return last.reason


def is_in(spool: SpoolDir, state: str, *ids: str) -> bool:
    """Whether all these jobs are in a state."""
    return {f"{job_id}.json" for job_id in ids} <= set(names_in(spool, state))


def move(spool: SpoolDir, job_id: str, source: str, target: str, name: str = "") -> None:
    """`mv source/ID.json target/`."""
    by_hand(os.rename, spool.path(source, f"{job_id}.json"), spool.path(target, name or f"{job_id}.json"))


def by_hand(change: Callable[..., object], *paths: str) -> None:
    """Change files as a person does, who tries again while a worker has the file or Windows says that it is open."""

    def done() -> bool:
        try:
            change(*paths)
        except (FileNotFoundError, PermissionError):
            return False
        return True

    wait_until(done)


def test_a_pool_runs_families_in_order_and_ends(spool: SpoolDir) -> None:
    """Fan-out, fan-in, a failure that cascades, a job for failures only; children first, as drops may come."""
    settings(spool, scan_s=0.1)
    write_drop(spool, "sum.json", {"command": SUCCEED, "after": ["a", "b"]})
    write_drop(spool, "tell.json", {"command": SUCCEED, "after": {"id": "bad", "when": "dead"}})
    write_drop(spool, "idle.json", {"command": SUCCEED, "after": [{"id": "a", "when": "dead"}]})
    write_drop(spool, "late.json", {"command": SUCCEED, "after": "worse"})
    write_drop(spool, "worse.json", {"command": SUCCEED, "after": "bad"})
    write_drop(spool, "x.json", {"command": SUCCEED, "after": "y"})
    write_drop(spool, "y.json", {"command": SUCCEED, "after": "x"})
    for job_id in ("a", "b"):
        write_drop(spool, f"{job_id}.json", {"command": SUCCEED, "after": "load"})
    write_drop(spool, "load.json", {"command": SUCCEED})
    write_drop(spool, "bad.json", {"command": FAIL, "max_retries": 0})
    with Pool(spool, "--drain", count=2) as pool:
        assert pool.wait() == 0
    ends_with(spool, {DONE: 6, DLQ: 5, PENDING: 0})
    assert is_in(spool, DLQ, "bad", "worse", "late", "x", "y")
    assert reason(spool, "late") == "it waits for worse, which is dead"
    # One of the circle that is busy at that instant dies of the other.
    assert any(reason(spool, each).startswith("they wait for each other: ") for each in ("x", "y"))
    assert [event.event for event in item(spool, DONE, "idle").history][-1] == "skipped"
    ends = {job_id: item(spool, DONE, job_id).history for job_id in ("load", "a", "b", "sum")}
    for parent, child in (("load", "a"), ("load", "b"), ("a", "sum"), ("b", "sum")):
        assert ends[parent][-1].at <= ends[child][-2].at


def test_a_drain_ends_although_a_parent_is_held(spool: SpoolDir) -> None:
    """No parent can end without a person, so the pool ends, and says how many jobs stay blocked."""
    queue = Spool(spool.root)
    queue.enqueue(SUCCEED, id="held")
    queue.enqueue(SUCCEED, id="child", after="held")
    queue.enqueue(SUCCEED, id="grandchild", after="child")
    queue.hold("held")
    with Pool(spool, "--drain") as pool:
        assert pool.wait() == 0
        assert any("2 jobs stay blocked" in str(event) for event in pool.events)
    assert len(spool.waiting_names()) == 3


@pytest.mark.slow
def test_a_person_moves_the_files_of_families(spool: SpoolDir) -> None:
    """Each row of FORMAT.md's table by plain mv, cp and rm, while a pool runs."""
    settings(spool, scan_s=0.1, after_grace=0.3)
    queue = Spool(spool.root)
    with Pool(spool, count=2):
        # A dead parent: its children are dead; back in pending/ it brings them with it, all the way down.
        queue.enqueue([*PYTHON, IF_FLAG], id="p", max_retries=0, cwd=spool.root)
        queue.enqueue(SUCCEED, id="c1", after="p")
        queue.enqueue(SUCCEED, id="c2", after="c1")
        wait_until(lambda: is_in(spool, DLQ, "p", "c1", "c2"))
        Path(spool.root, "flag").touch()
        move(spool, "p", DLQ, PENDING)
        wait_until(lambda: is_in(spool, DONE, "p", "c1", "c2"))
        wait_until(lambda: not names_in(spool, DLQ))
        # A dead parent that somebody calls done.
        queue.enqueue(FAIL, id="q", max_retries=0)
        queue.enqueue(SUCCEED, id="d1", after="q")
        wait_until(lambda: is_in(spool, DLQ, "q", "d1"))
        move(spool, "q", DLQ, DONE)
        wait_until(lambda: is_in(spool, DONE, "d1"))
        # A child that is dragged alone dies again; its file deleted, it stays away.
        queue.enqueue(FAIL, id="r", max_retries=0)
        queue.enqueue(SUCCEED, id="e1", after="r")
        queue.enqueue(SUCCEED, id="e2", after="r")
        wait_until(lambda: is_in(spool, DLQ, "r", "e1", "e2"))
        move(spool, "e1", DLQ, PENDING)
        wait_until(lambda: len(item(spool, DLQ, "e1").history) == 4 if is_in(spool, DLQ, "e1") else False)
        by_hand(os.unlink, spool.path(DLQ, "e2.json"))
        # A dead parent deleted: its children stay dead.
        by_hand(os.unlink, spool.path(DLQ, "r.json"))
        wait_until(lambda: not os.path.isdir(spool.victims_of("r")))
        assert is_in(spool, DLQ, "e1")
        # A waiting parent deleted: the child is dead after the grace. The other's parent comes in time.
        queue.enqueue(SUCCEED, id="s", delay="1h")
        queue.enqueue(SUCCEED, id="f1", after="s")
        by_hand(os.unlink, wait_until(lambda: (found := spool.find("s")) and found.path))
        wait_until(lambda: is_in(spool, DLQ, "f1"))
        assert reason(spool, "f1") == "its parent s is not in the spool"
        # A flag taken out of the name comes back; a flag for a parent that is nowhere does not keep a plain job.
        queue.enqueue(SUCCEED, id="t", delay="1h")
        queue.enqueue(SUCCEED, id="g1", after="t")
        blocked = spool.path(PENDING, "g1,after=t.json")
        wait_until(lambda: os.path.exists(blocked))  # a worker may have it for a moment
        by_hand(os.rename, blocked, spool.path(PENDING, "g1.json"))
        wait_until(lambda: os.path.exists(spool.path(PENDING, "g1,after=t.json")))
        queue.enqueue(SUCCEED, id="h1", delay="1h")
        found = spool.find("h1")
        assert found is not None
        write_drop(spool, "plain,after=nowhere.json", {"command": SUCCEED})
        wait_until(lambda: is_in(spool, DONE, "plain"))
        # A copy of a blocked job is another job, and both wait.
        by_hand(shutil.copy, spool.path(PENDING, "g1,after=t.json"), spool.path(PENDING, "g2,after=t.json"))
        # The time comes: by hand, its file gets its plain name and moves to done/.
        named = spool.find("t")
        assert named is not None
        by_hand(os.rename, named.path, spool.path(DONE, "t.json"))
        wait_until(lambda: is_in(spool, DONE, "g1", "g2") or len(names_in(spool, DONE)) >= 8)
        # Jobs that wait for each other.
        write_drop(spool, "x.json", {"command": SUCCEED, "after": "z"})
        write_drop(spool, "y.json", {"command": SUCCEED, "after": "x"})
        write_drop(spool, "z.json", {"command": SUCCEED, "after": "y"})
        wait_until(lambda: is_in(spool, DLQ, "x", "y", "z"))
        # A blocked job moved to done/ by hand stays there, and its own children start.
        queue.enqueue(SUCCEED, id="u", delay="1h")
        queue.enqueue(SUCCEED, id="i1", after="u")
        queue.enqueue(SUCCEED, id="i2", after="i1")
        blocked = spool.path(PENDING, "i1,after=u.json")
        wait_until(lambda: os.path.exists(blocked))
        by_hand(os.rename, blocked, spool.path(DONE, "i1.json"))
        wait_until(lambda: is_in(spool, DONE, "i2"))
        assert [event.event for event in item(spool, DONE, "i1").history] == ["enqueued"]
        # A parent that is cancelled is dead; retry brings both back.
        queue.enqueue(SUCCEED, id="v", delay="1h")
        queue.enqueue(SUCCEED, id="k1", after="v")
        queue.cancel("v")
        wait_until(lambda: is_in(spool, DLQ, "k1"))
        queue.requeue("v")
        wait_until(lambda: is_in(spool, DONE, "v", "k1"))


@pytest.mark.slow
def test_a_large_group_whose_members_are_deleted_dead_and_dragged(spool: SpoolDir) -> None:
    """P13: the job that waits for all of them starts when the last one has ended, and not before.

    Some members fail, some are deleted while they wait, some are dragged to done/ and dlq/. A full run has 20,000
    (QUEUECTL_GROUP=20000).
    """
    count = int(os.environ.get("QUEUECTL_GROUP", "30" if os.name == "nt" else "300"))
    rows: list[dict[str, Any]] = [
        {"command": FAIL if number % 25 == 7 else SUCCEED, "max_retries": 0} for number in range(count)
    ]
    rows.append({"command": [*PYTHON, LIST], "cwd": spool.root, "after": {"id": "*", "when": "ended"}})
    made = Spool(spool.root)
    ids = made.enqueue_many(rows)
    star, token = ids[-1], ids[-1].rpartition("-")[0]
    made.pause()
    names = {name.partition(",")[0].removesuffix(".json"): name for name in spool.waiting_names()}
    for job_id in ids[5:count:40]:
        os.unlink(spool.path("pending", names[job_id]))
    for job_id in ids[11:count:97]:
        if os.path.exists(path := spool.path("pending", names[job_id])):
            os.rename(path, spool.path("done", f"{job_id}.json"))
    for job_id in ids[12:count:97]:
        if os.path.exists(path := spool.path("pending", names[job_id])):
            os.rename(path, spool.path("dlq", f"{job_id}.json"))
    there = made.group(token).total
    made.resume()
    with Pool(spool, count=2):
        wait_until(lambda: made.get(star).state == "done", timeout=60 + count / 50)
    found = made.group(token)
    assert (found.total, found.waiting, found.running) == (there, 0, 0)
    ended = [name for name in Path(spool.root, "last.txt").read_text().split() if name.startswith(token)]
    assert len([name for name in ended if name.endswith(".json")]) == there - 1, "it started before the last had ended"
