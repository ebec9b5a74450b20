"""Folders that are deleted or replaced under a running pool: nothing is lost or runs twice, and the pool says why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until, write_drop
from tests.pool import SUCCEED, Pool, command_of, is_running, queuectl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no folder that is in use")


def troubles(pool: Pool, kind: str = "trouble") -> list[str]:
    """What the pool reported, of one kind."""
    return [event["text"] for event in pool.events if event["event"] == kind]


def history(spool: SpoolDir, state: str, job_id: str) -> list[str]:
    """The events of a job, which is in this state."""
    found = spool.find(job_id)
    assert found is not None and found.state == state
    return [event.event for event in spool.read(state, found.name).record.history]


def test_a_pool_whose_own_folder_is_gone_waits_for_it(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: a folder that no job named is no job's fault: all go back uncounted, the pool says why, and then goes on."""
    home = tmp_path / "home"
    home.mkdir()
    with Pool(spool, count=2, cwd=home).ready() as pool:
        home.rmdir()
        for number in range(3):
            write_drop(spool, f"job{number}.json", {"command": SUCCEED, "max_retries": 0})
        (told,) = wait_until(lambda: troubles(pool))
        assert str(home) in told and "create it again" in told
        wait_until(lambda: len(spool.job_names("pending")) == 3)
        home.mkdir()
        wait_until(lambda: len(spool.job_names("done")) == 3)
    runs = [history(spool, "done", f"job{number}") for number in range(3)]
    assert all(set(each) <= {"enqueued", "started", "released", "succeeded"} for each in runs)
    # What is on record for each try is written once a worker, not at each look.
    assert sum(each.count("released") for each in runs) <= 2


def immutable(path: str, on: bool) -> bool:
    """Make a folder one that even root cannot change; False where that cannot be done here."""
    done = subprocess.run(["chattr", "+i" if on else "-i", path], check=False, capture_output=True)
    return done.returncode == 0


def test_workers_that_cannot_make_a_lease_wait(spool: SpoolDir) -> None:
    """P9: where leases/ takes no file the pool says so once, no worker dies, no job is touched, and it goes on."""
    if shutil.which("chattr") is None or not immutable(spool.lease_dir, True):
        pytest.skip("no immutable folders here (needs root, chattr and a file system that has them)")
    try:
        with Pool(spool, count=2) as pool:
            pool.ready()
            queuectl(spool, "enqueue", "--id", "job", "--command", SUCCEED)
            (told,) = wait_until(lambda: troubles(pool))
            assert "leases" in told
            assert history(spool, "pending", "job") == ["enqueued"]
            immutable(spool.lease_dir, False)
            pool.event("succeeded", "job")
            assert troubles(pool) == [told] and not troubles(pool, "worker_lost")
            assert pool.errors == ["warning: running as root, so every job runs as root\n"]
    finally:
        immutable(spool.lease_dir, False)


def take_away(folder: str) -> None:
    """Delete a folder. By a rename first: who writes meanwhile would put a file where others are being deleted."""
    os.rename(folder, folder + ".old")
    shutil.rmtree(folder + ".old")


def gated(path: Path) -> str:
    """A command that prints, then waits until there is a file."""
    return f"echo printed; while [ ! -e {path} ]; do sleep 0.02; done"


def test_a_folder_that_is_deleted_is_made_again(spool: SpoolDir, tmp_path: Path) -> None:
    """P2, P4: an outcome and an output whose folders are gone have their places again, and the pool says so."""
    gate = tmp_path / "gate"
    queuectl(spool, "enqueue", "--id", "good", "--command", gated(gate))
    queuectl(spool, "enqueue", "--id", "bad", "--max-retries", "0", "--command", gated(gate) + "; exit 1")
    with Pool(spool, count=2) as pool:
        pool.event("started", "good")
        pool.event("started", "bad")
        for folder in ("done", "dlq", "logs"):
            take_away(spool.folder(folder))
        gate.touch()
        pool.event("succeeded", "good")
        pool.event("failed", "bad")
        assert (spool.job_names("done"), spool.job_names("dlq")) == (["good.json"], ["bad.json"])
        assert [Path(spool.log_path(each, 1)).read_text() for each in ("good", "bad")] == ["printed\n", "printed\n"]
        wait_until(lambda: len(set(troubles(pool, "restored"))) == 3)  # each is told by one worker or by both
        for folder in ("pending", "tmp", "running"):
            take_away(spool.tmp_dir if folder == "tmp" else spool.folder(folder))
        wait_until(lambda: len(set(troubles(pool, "restored"))) == 6)
        write_drop(spool, "after.json", {"command": "echo printed"})
        pool.event("succeeded", "after")
        assert Path(spool.log_path("after", 1)).read_text() == "printed\n"
        assert not [event for event in pool.events if event["event"] in ("vanished", "worker_lost")]


def test_a_run_whose_folder_is_deleted_ends(spool: SpoolDir, tmp_path: Path) -> None:
    """Who deletes running/ deletes the jobs in it: their commands end, as where each file is deleted."""
    queuectl(spool, "enqueue", "--id", "job", "--command", "sleep 60")
    with Pool(spool, count=1) as pool:
        pool.event("started", "job")
        take_away(spool.folder("running"))
        assert pool.event("vanished", "job")["outcome"] == "cancelled"
        queuectl(spool, "enqueue", "--id", "next", "--command", SUCCEED)
        pool.event("succeeded", "next")


@pytest.mark.parametrize("how", ["deleted", "replaced", "without its machinery"])
def test_a_pool_ends_with_its_spool(spool: SpoolDir, tmp_path: Path, how: str) -> None:
    """P3: a pool whose locks exclude nobody any more ends what it runs, then itself, and says why."""
    daemon = tmp_path / "daemon"
    text = f"setsid sh -c 'echo $$ > {daemon}; exec sleep 60' & sleep 60"
    queuectl(spool, "enqueue", "--id", "job", "--command", text)
    with Pool(spool, count=2) as pool:
        pool.event("started", "job")
        pid = int(wait_until(lambda: daemon.exists() and daemon.read_text().strip()))
        if how == "without its machinery":
            take_away(spool.lease_dir)
        else:
            os.rename(spool.root, spool.root + ".old")
            if how == "replaced":
                subprocess.run([sys.executable, "-m", "queuectl", "init", spool.root], check=True, capture_output=True)
                queuectl(spool, "enqueue", "--id", "job", "--command", f"! kill -0 {pid}", "--max-retries", "9")
            shutil.rmtree(spool.root + ".old")
        assert pool.wait() == 75
        assert not is_running(pid)
        last = "".join(pool.errors)
        assert f"{spool.root} was {'replaced' if how == 'replaced' else 'deleted'}" in last and "Traceback" not in last
        assert pool.event("vanished", "job")["outcome"] == "cancelled"
    if how == "replaced":
        assert history(spool, "pending", "job") == ["enqueued"]
        with Pool(spool, "--drain", count=1) as second:
            assert second.wait() == 0
        assert history(spool, "done", "job") == ["enqueued", "started", "succeeded"]


def test_a_spool_that_is_out_of_reach_is_waited_for(spool: SpoolDir, tmp_path: Path) -> None:
    """P4, P9: while a spool is away nothing ends and nothing is lost; the pool says so once, and then goes on."""
    gate = tmp_path / "gate"
    queuectl(spool, "enqueue", "--id", "job", "--command", gated(gate))
    queuectl(spool, "enqueue", "--id", "next", "--command", SUCCEED)
    with Pool(spool, count=1) as pool:
        pool.event("started", "job")
        os.rename(spool.root, spool.root + ".away")
        wait_until(lambda: troubles(pool))
        command = command_of(pool, "job")
        gate.touch()
        wait_until(lambda: command is not None and not is_running(command) and command_of(pool, "job") is None)
        os.rename(spool.root + ".away", spool.root)
        pool.event("succeeded", "job")
        pool.event("succeeded", "next")
        assert Path(spool.log_path("job", 1)).read_text() == "printed\n"
    assert history(spool, "done", "job") == ["enqueued", "started", "succeeded"]
