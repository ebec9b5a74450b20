"""Folders that are deleted or replaced under a running pool: nothing is lost or runs twice, and the pool says why."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.spool import SpoolDir
from tests.helpers import wait_until, write_drop
from tests.pool import SUCCEED, Pool, queuectl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no folder that is in use")


def troubles(pool: Pool, kind: str = "trouble") -> list[str]:
    """What the pool reported, of one kind."""
    return [event["text"] for event in pool.events if event["event"] == kind]


def history(spool: SpoolDir, state: str, job_id: str) -> list[str]:
    """The events of a job."""
    return [event.event for event in spool.read(state, f"{job_id}.json").record.history]


def test_a_pool_whose_own_folder_is_gone_waits_for_it(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: a folder that no job named is no job's fault: all go back uncounted, the pool says why, and then goes on."""
    home = tmp_path / "home"
    home.mkdir()
    with Pool(spool, count=2, cwd=home).ready() as pool:
        home.rmdir()
        for number in range(3):
            write_drop(spool, f"job{number}.json", {"command": SUCCEED, "max_retries": 0})
        (told,) = wait_until(lambda: troubles(pool))
        assert str(home) in told and "make it again" in told
        wait_until(lambda: len(spool.job_names("pending")) == 3)
        home.mkdir()
        wait_until(lambda: len(spool.job_names("done")) == 3, 30)
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
            pool.event("succeeded", "job", timeout=30)
            assert troubles(pool) == [told] and not troubles(pool, "worker_lost")
            assert pool.errors == ["warning: running as root, so every job runs as root\n"]
    finally:
        immutable(spool.lease_dir, False)
