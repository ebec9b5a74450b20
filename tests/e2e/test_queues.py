"""Queues with limits and keys, from end to end: real pools, and commands that write when they ran."""

from __future__ import annotations

import bisect
import json
import os
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.flows import boards
from queuectl.model.lifecycle import DONE, PENDING, RUNNING
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in, wait_until, write_drop
from tests.pool import Pool, Witness, ends_with, queuectl


def most_at_once(witness: Witness, beginning: str) -> int:
    """How many commands of jobs whose ids begin so ran at once, by their own lines."""
    inside = most = 0
    for kind, job_id, _, _ in witness.lines():
        if job_id.startswith(beginning):
            inside += 1 if kind == "S" else -1
            most = max(most, inside)
    return most


def save(path: Path, text: str) -> None:
    """Replace a file as an editor does: a pool that reads meanwhile finds the old text or the new one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def in_order(numbers: list[int]) -> int:
    """The most numbers that are left in order if the others are taken out."""
    ends: list[int] = []  # the lowest number that ends a row of each length
    for number in numbers:
        at = bisect.bisect(ends, number)
        ends[at : at + 1] = [number]
    return len(ends)


def test_limits_hold_over_two_pools(spool: SpoolDir, tmp_path: Path) -> None:
    """Two pools run a queue of two slots and keys of one place, drops among them, and other jobs pass (P12)."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "config", "set", "queues.mail.slots", "2")
    queue, quick = Spool(spool.root), witness.command(seconds=0.03)
    queue.enqueue_many([{"id": f"mail{n}", "command": quick, "queue": "mail"} for n in range(10)])
    queue.enqueue_many([{"id": f"key{n}", "command": quick, "key": "one place"} for n in range(6)])
    for number in range(4):
        write_drop(spool, f"mail-d{number}.json", {"command": quick, "queue": "mail"})
    queue.enqueue_many([{"id": f"free{n}", "command": quick} for n in range(6)])
    with Pool(spool, "--drain", count=3) as one, Pool(spool, "--drain", count=3) as two:
        assert (one.wait(), two.wait()) == (0, 0)
    ends_with(spool, {DONE: 26, PENDING: 0})
    assert most_at_once(witness, "mail") <= 2
    assert most_at_once(witness, "key") == 1
    assert [boards.read(spool, queue_name) for queue_name in ("mail", "default")] == [[], []]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_short_jobs_of_a_serial_queue_run_one_at_a_time(spool: SpoolDir, tmp_path: Path, processes: str) -> None:
    """A pool that looks ahead in a queue of one slot runs its jobs about in order, never two at once (P12).

    Names whose worker is held up are offered again, so on a busy machine any number of jobs may overtake a few.
    """
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "config", "set", "queues.mail.slots", "1")
    queuectl(spool, "config", "set", "worker_processes", processes)
    queue, quick = Spool(spool.root), witness.command()
    queue.enqueue_many([{"id": f"mail{n:02}", "command": quick, "queue": "mail"} for n in range(60)])
    queue.enqueue_many([{"id": f"free{n}", "command": quick} for n in range(20)])
    with Pool(spool, "--drain", count=4) as pool:
        assert pool.wait() == 0
    ends_with(spool, {DONE: 80, PENDING: 0})
    started = [int(each[4:]) for kind, each, _, _ in witness.lines() if kind == "S" and each.startswith("mail")]
    assert sorted(started) == list(range(60))
    assert in_order(started) >= 30, started  # in any order it would be 13 or so
    assert most_at_once(witness, "mail") == 1


def test_running_pool_uses_a_changed_limit_and_pauses_a_queue(spool: SpoolDir, tmp_path: Path) -> None:
    """`config set` opens places at once, a bad edit is told once and changes nothing, PAUSED-QUEUE holds one queue."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "config", "set", "queues.mail.slots", "1")
    queue, long = Spool(spool.root), witness.command(seconds=witness.gate)
    ids = queue.enqueue_many([{"id": f"m{n}", "command": long, "queue": "mail"} for n in range(4)])
    with Pool(spool, count=4) as pool:
        pool.event("started", "m0")
        queue.enqueue(witness.command(), id="other")
        pool.event("succeeded", "other")
        wait_until(lambda: names_in(spool, RUNNING) == ["m0.json"])  # one may be tried for a moment
        reasons = wait_until(
            lambda: (
                (found := json.loads(queuectl(spool, "why", "m1", "--json"))["reasons"])
                and found[0]["kind"] == "queue_full"
                and found
            )
        )
        assert "1 of 1 run (m0)" in reasons[0]["text"]
        settings = Path(spool.settings_path)
        good = settings.read_text()
        save(settings, good + '\n[queues.scans]\nslots = "many"\n')
        wait_until(lambda: any("the settings stay as they were" in str(event) for event in pool.events))
        save(settings, good)
        queuectl(spool, "config", "set", "queues.mail.slots", "3")
        for job_id in ids[:3]:
            pool.event("started", job_id)
        queuectl(spool, "pause", "mail", "--reason", "moving")
        assert Path(f"{spool.paused_path}-mail").read_text().startswith("moving")
        wait_until(lambda: any("queue mail is paused: moving" in str(event) for event in pool.events))
        witness.open_gate()
        ends_with(spool, {DONE: 4})
        kinds = [row["kind"] for row in json.loads(queuectl(spool, "why", "m3", "--json"))["reasons"]]
        assert "queue_paused" in kinds
        assert "m3,q=mail.json" in [name.partition(",in=")[0] + ",q=mail.json" for name in names_in(spool, PENDING)]
        os.unlink(f"{spool.paused_path}-mail")
        pool.event("succeeded", "m3")
    assert sum("the settings stay as they were" in str(event) for event in pool.events) == 1


@pytest.mark.slow
def test_reserved_workers_take_their_queues_only(spool: SpoolDir, tmp_path: Path) -> None:
    """`worker start --queue` runs only jobs of these queues, dropped ones too; `why` names a queue nobody takes."""
    witness = Witness(tmp_path / "witness")
    queue = Spool(spool.root)
    queue.enqueue(witness.command(), id="plain")
    queue.enqueue(witness.command(), id="mail1", queue="mail")
    write_drop(spool, "drop1.json", {"command": witness.command()})
    write_drop(spool, "drop2.json", {"command": witness.command(), "queue": "scans"})
    with Pool(spool, "--queue", "mail,scans", count=2) as pool:
        pool.event("succeeded", "mail1")
        pool.event("succeeded", "drop2")
        assert json.loads(queuectl(spool, "why", "plain", "--json"))["reasons"][0]["kind"] == "not_taken"
    assert {job_id for _, job_id, _, _ in witness.lines()} == {"mail1", "drop2"}
    with Pool(spool, "--drain", count=2) as pool:
        assert pool.wait() == 0
    ends_with(spool, {DONE: 4, PENDING: 0})


def test_filters_choose_by_queue_and_key(spool: SpoolDir) -> None:
    """`list` and every command that chooses jobs take --queue and --key."""
    for words in (["--queue", "mail", "--key", "a b"], ["--queue", "mail"], []):
        queuectl(spool, "enqueue", *words, "--command", "exit 0")
    assert [len(queuectl(spool, "list", *words).splitlines()) for words in (["--queue", "mail"], ["--key", "a b"])] == [
        2,
        1,
    ]
    assert len(queuectl(spool, "list", "--queue", "default").splitlines()) == 1
    assert len(queuectl(spool, "cancel", "--queue", "mail", "--key", "a b", "--yes").splitlines()) == 1
    assert len(names_in(spool, PENDING)) == 2


def test_queues_are_listed_with_what_holds_them_up(spool: SpoolDir) -> None:
    """`queue list` and `queue show` tell limits, counts, keys and pauses; other names are errors with a hint."""
    queuectl(spool, "config", "set", "queues.mail.slots", "2")
    for key in ("a b", "a b", "c"):
        queuectl(spool, "enqueue", "--queue", "mail", "--key", key, "--command", "exit 0")
    queuectl(spool, "enqueue", "--command", "exit 0")
    queuectl(spool, "pause", "mail", "--reason", "moving")
    rows = {row["queue"]: row for row in json.loads(queuectl(spool, "queue", "list", "--json"))["queues"]}
    assert (rows["mail"]["waiting"], rows["mail"]["slots"], rows["mail"]["paused"]) == (3, 2, "moving")
    assert [(key["key"][:4], key["waiting"]) for key in rows["mail"]["keys"]] == [("a-b~", 2), ("c", 1)]
    assert rows["default"]["waiting"] == 1
    shown = queuectl(spool, "queue", "show", "mail")
    assert "paused: moving" in shown
    assert "mail\t3\t0\t2\t1\t-\t-\t1\tpaused: moving" in queuectl(spool, "queue", "list").splitlines()
    assert queuectl(spool, "queue", "show", "nosuch", check=False) == ""
    assert "queue     mail: 3 waiting, 0 of 2 running  paused: moving" in queuectl(spool, "status")
    (row,) = [row for row in json.loads(queuectl(spool, "status", "--json"))["queues"] if row["queue"] == "mail"]
    assert (row["waiting"], row["slots"], row["paused"], row["is_taken"]) == (3, 2, "moving", True)
    assert queuectl(spool, "pause", "No Such", check=False) == ""
