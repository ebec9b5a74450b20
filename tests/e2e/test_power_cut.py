"""What a power cut may leave of jobs that had ended, and what the next pool makes of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from queuectl.model import names, record
from queuectl.spool import pools
from queuectl.spool.folder import SpoolDir
from queuectl.system.locks import FileLock
from tests.helpers import wait_until
from tests.pool import SUCCEED, Pool, queuectl


def test_torn_records_in_done_are_mended_by_the_next_pool(spool: SpoolDir) -> None:
    """P4: a finished job whose record lost its end is whole JSON again soon after the next pool has started."""
    for number in range(3):
        queuectl(spool, "enqueue", "--id", f"job{number}", "--command", SUCCEED)
    pool = Pool(spool)
    wait_until(lambda: len(spool.job_names("done")) == 3)
    pool.kill_everything()
    assert pools.live(spool) == []
    path = Path(spool.path("done", "job1.json"))
    whole = path.read_bytes()
    started = whole[: whole.rindex(b",\n")] + record.CLOSING
    # What ext4 leaves when the size was committed and the page was not: the old end, then zeros.
    path.write_bytes(started + bytes(len(whole) - len(started)))
    with Pool(spool, "--drain") as again:
        assert again.wait() == 0
    document = json.loads(path.read_bytes())
    assert [event["event"] for event in document["history"]] == ["enqueued", "started"]
    assert sorted(spool.job_names("done")) == ["job0.json", "job1.json", "job2.json"]
    assert os.listdir(spool.pool_dir) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a lock from outside")
def test_record_that_could_not_be_mended_is_left_to_the_next_pool(spool: SpoolDir) -> None:
    """P4: a pool that ends while a finished record is still torn leaves the sign of it, so the next one mends it."""
    queuectl(spool, "enqueue", "--id", "job1", "--command", SUCCEED)
    pool = Pool(spool)
    wait_until(lambda: spool.job_names("done"))
    pool.kill_everything()
    path = Path(spool.path("done", "job1.json"))
    path.write_bytes(path.read_bytes()[:-4])
    stripe = FileLock(spool.stripe_path(names.stripe_of("job1")))
    assert stripe.try_acquire()
    with Pool(spool, "--drain") as again:
        assert again.wait() == 0
    stripe.close()
    assert not record.is_record(path.read_bytes())
    assert os.listdir(spool.pool_dir) != []
    with Pool(spool, "--drain") as last:
        assert last.wait() == 0
    assert record.is_record(path.read_bytes())
    assert os.listdir(spool.pool_dir) == []
