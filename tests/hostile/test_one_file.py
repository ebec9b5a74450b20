"""Trouble of one file, or of one lock, stays with it (P6, P9): a pool of one worker runs everything else meanwhile."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from queuectl.model import names
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, listing, names_in, wait_until
from tests.hostile.flags import immutable
from tests.pool import SUCCEED, Pool, queuectl


def _done(spool: SpoolDir, *ids: str) -> bool:
    return {f"{job_id}.json" for job_id in ids} <= set(names_in(spool, "done"))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "20260101-000000-000000-aaaa.json"])
def test_a_file_that_cannot_be_moved_holds_up_no_other(spool: SpoolDir, name: str) -> None:
    """P6: an immutable file in pending/ is reported once, with the cure; the others run, and in the end it does too."""
    desk = Desk(spool)
    Path(spool.settings_path).write_text('settle_s = "100ms"\n', encoding="utf-8")
    desk.drop(name, {"command": SUCCEED} if name != "a.jsonl" else '{"command": "exit 0"}\n{"command": "exit 0"}\n')
    path = spool.path("pending", name)
    with ExitStack() as until:
        until.enter_context(immutable(path))
        with Pool(spool, count=1).ready() as pool:
            desk.drop("b.json", {"command": SUCCEED})
            pool.event("stuck")
            desk.drop("c.json", {"command": SUCCEED})
            wait_until(lambda: _done(spool, "b", "c"))
            assert os.path.exists(path)
            until.close()
            wait_until(lambda: not names_in(spool, "pending") and not names_in(spool, "running"))
    told = [event for event in pool.events if event["event"] == "stuck"]
    assert len(told) == 1 and f"chattr -i {path}" in told[0]["text"], told
    assert not [event for event in pool.events if event["event"] in ("trouble", "resumed")]


def test_a_file_that_cannot_be_moved_ends_no_drain_late(spool: SpoolDir) -> None:
    """P6: `--drain` ends with such a file left where it is, as with one that cannot be read."""
    desk = Desk(spool)
    for name in ("a.json", "b.json"):
        desk.drop(name, {"command": SUCCEED})
    with immutable(spool.path("pending", "a.json")), Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    assert listing(spool) == {"pending": ["a.json"], "done": ["b.json"]}


def test_a_refused_file_that_cannot_be_moved_holds_up_no_other(spool: SpoolDir) -> None:
    """P6: the same for a file that is to be rejected, at once or once it is quiet."""
    desk = Desk(spool)
    Path(spool.settings_path).write_text('settle_s = "100ms"\n', encoding="utf-8")
    desk.drop("a.json", {"no": "command"})
    desk.drop("b.json", '{"command": ')
    with ExitStack() as until:
        until.enter_context(immutable(spool.path("pending", "a.json"), spool.path("pending", "b.json")))
        with Pool(spool, count=1).ready() as pool:
            wait_until(lambda: len({e["text"] for e in pool.events if e["event"] == "stuck"}) == 2)
            desk.drop("c.json", {"command": SUCCEED})
            wait_until(lambda: _done(spool, "c"))
            until.close()
            wait_until(lambda: {"a.json", "b.json"} <= set(names_in(spool, "rejected")))
    assert not [event for event in pool.events if event["event"] in ("trouble", "resumed")]


def test_a_record_in_running_that_cannot_be_changed_holds_up_no_other(spool: SpoolDir) -> None:
    """P5, P6: what a dead worker left is rescued although the file before it in running/ is immutable."""
    desk = Desk(spool, worker="dead")
    for job_id in ("a", "b"):
        desk.start(desk.enqueue(id=job_id, command=SUCCEED))
    desk.close()
    with immutable(spool.path("running", "a.json")), Pool(spool, count=1).ready() as pool:
        wait_until(lambda: _done(spool, "b"))
        told = pool.event("stuck")
        assert "running/a.json" in told["text"].replace(os.sep, "/")
        queuectl(spool, "enqueue", "--id", "c", "--", "true")
        wait_until(lambda: _done(spool, "c"))
    assert not [event for event in pool.events if event["event"] in ("trouble", "resumed")]


def test_an_outcome_that_cannot_be_recorded_holds_up_no_other(spool: SpoolDir) -> None:
    """P4, P6: a worker keeps such an outcome, runs other jobs meanwhile, and records it once that can be."""
    desk = Desk(spool)
    go = Path(spool.root, "go")
    queuectl(spool, "enqueue", "--id", "a", "--", "sh", "-c", f"while [ ! -e '{go}' ]; do sleep 0.02; done; echo hi")
    with Pool(spool, count=1).ready() as pool:
        wait_until(lambda: names_in(spool, "running") == ["a.json"])
        pool.event("started", "a")
        with immutable(spool.path("running", "a.json")):
            go.touch()
            desk.drop("b.json", {"command": SUCCEED})
            wait_until(lambda: _done(spool, "b"))
            assert names_in(spool, "running") == ["a.json"]
            assert "a" in pool.event("stuck")["text"]
        wait_until(lambda: _done(spool, "a"), 40)
    ended = [event for event in pool.events if event["event"] == "succeeded" and event["id"] == "a"]
    assert len(ended) == 1
    assert Path(spool.log_path("a", 1)).read_text(encoding="utf-8") == "hi\n"


def test_a_stripe_that_cannot_be_opened_holds_up_its_own_ids_only(spool: SpoolDir) -> None:
    """P9: a folder in the place of a lock file is reported once, whatever number of jobs waits for it."""
    desk = Desk(spool)
    number = names.stripe_of("x0")
    same = [f"x{at}" for at in range(2000) if names.stripe_of(f"x{at}") == number][:6]
    os.makedirs(spool.stripe_path(number))
    for job_id in same:
        desk.drop(f"{job_id}.json", {"command": SUCCEED})
    other = next(f"y{at}" for at in range(2000) if names.stripe_of(f"y{at}") != number)
    with Pool(spool, count=1).ready() as pool:
        pool.event("stuck")
        desk.drop(f"{other}.json", {"command": SUCCEED})
        wait_until(lambda: _done(spool, other))
        os.rmdir(spool.stripe_path(number))
        wait_until(lambda: _done(spool, *same), 40)
    told = [event for event in pool.events if event["event"] == "stuck"]
    assert len(told) == 1 and spool.stripe_path(number) in told[0]["text"]
    assert not [event for event in pool.events if event["event"] in ("trouble", "resumed")]


def test_a_record_in_running_that_cannot_be_changed_ends_no_drain_late(spool: SpoolDir) -> None:
    """P6: `--drain` ends although a file in running/ can be put right by a person only."""
    desk = Desk(spool, worker="dead")
    desk.start(desk.enqueue(id="a", command=SUCCEED))
    desk.enqueue(id="b", command=SUCCEED)
    desk.close()
    with immutable(spool.path("running", "a.json")), Pool(spool, "--drain", count=1) as pool:
        assert pool.wait(30) == 0
    assert listing(spool) == {"running": ["a.json"], "done": ["b.json"]}


def test_a_stop_waits_for_an_outcome_no_longer_than_its_grace(spool: SpoolDir) -> None:
    """P4: the job of an outcome that nobody could record until the end counts as abandoned, and is tried again."""
    Path(spool.settings_path).write_text('stop_grace_s = "500ms"\nkill_grace_s = "500ms"\n', encoding="utf-8")
    go = Path(spool.root, "go")
    queuectl(spool, "enqueue", "--id", "a", "--", "sh", "-c", f"while [ ! -e '{go}' ]; do sleep 0.02; done")
    with Pool(spool, count=1).ready() as pool:
        pool.event("started", "a")
        with immutable(spool.path("running", "a.json")):
            go.touch()
            pool.event("stuck")
            pool.ask_to_stop()
            pool.wait(30)
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait(30) == 0
    assert Desk(spool, worker="w2").events("done", "a.json")[-4:] == ["started", "abandoned", "started", "succeeded"]
