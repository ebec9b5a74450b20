"""Producers on WebDAV: curl puts files in place and under temporary names, on two servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import Pool, queuectl
from tests.share.conftest import Queue
from tests.share.rig import finished
from tests.share.rig_nfs_webdav import WebDav

# curl's "the server refused it": servers look for the file once more after they have closed or renamed it. The job may
# be quicker.
GONE = 22

pytestmark = pytest.mark.share


def test_files_by_webdav_run_once(queue: Queue, webdav: WebDav) -> None:
    """P1: ten files in place, ten by a temporary name, and a slow one run once each."""
    body, large = queue.body(), queue.body("large", size=100_000)
    with Pool(queue.spool).ready():
        slow = webdav.put(large, "slow.json", "--limit-rate", "50000")
        for number in range(10):
            finished(webdav.put(body, f"put-{number}.json"), GONE)
            finished(webdav.put(body, f"moved-{number}.json.tmp"))
            finished(webdav.move(f"moved-{number}.json.tmp", f"moved-{number}.json"), GONE)
        finished(slow, GONE)
        ids = [f"{kind}-{number}" for kind in ("put", "moved") for number in range(10)]
        queue.ran_once(*ids, sent=body)
        queue.ran_once("slow", sent=large)
    queue.nothing_else_ran("slow", *ids)
    assert queue.rejected() == []


def test_an_aborted_webdav_put_never_runs_and_can_be_sent_again(queue: Queue, webdav: WebDav) -> None:
    """P6: what a killed curl leaves is taken away by the server or refused; sent again, it runs once."""
    body = queue.body(size=400_000)
    with Pool(queue.spool).ready():
        client = webdav.put(body, "half.json", "--limit-rate", "50000")
        path = Path(queue.spool.path("pending", "half.json"))
        wait_until(lambda: path.exists() and path.stat().st_size > 20_000)
        client.kill()
        client.communicate(timeout=10)
        wait_until(lambda: not any(name.startswith("half") for name in os.listdir(queue.pending)), 30)
        assert queue.witness.lines() == []
        refused = queue.rejected()
        assert all("not complete JSON" in queue.reason(name) for name in refused)
        finished(webdav.put(body, "half.json"), GONE)
        queue.ran_once("half", sent=body)
        print("the half was", "refused" if refused else "taken away by the server")
    queue.nothing_else_ran("half")


def test_a_file_that_is_put_over_a_waiting_one_runs_as_what_it_became(queue: Queue, webdav: WebDav) -> None:
    """P1: the last content runs, once."""
    first, second = queue.body("first", size=30_000, filler="1"), queue.body("second", size=30_000, filler="2")
    with Pool(queue.spool).ready():
        queuectl(queue.spool, "pause")
        finished(webdav.put(first, "over.json"))
        finished(webdav.put(second, "over.json"))
        queuectl(queue.spool, "resume")
        queue.ran_once("over", sent=second)
    queue.nothing_else_ran("over")
    assert queue.rejected() == []
