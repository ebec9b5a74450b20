"""Producers on NFSv4: nfs-cp, and a client that writes slowly, gives up, renames and leaves strange times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import Pool, queuectl
from tests.share.conftest import Queue
from tests.share.rig_nfs_webdav import Ganesha

pytestmark = pytest.mark.share

AHEAD_AT = 4_000_000_000


def test_files_by_nfs_run_once(queue: Queue, nfs: Ganesha) -> None:
    """P1: nfs-cp in place, and four clients at once in place and by a temporary name: every file runs once."""
    body, small = queue.body(size=9_000), queue.body("small")
    with Pool(queue.spool).ready():
        kinds: dict[str, tuple[str, ...]] = {"a": (), "b": (), "slow": ("--rate", "20000"), "times": ("--strange",)}
        writers = [nfs.writer(body, kind, "--count", "10", *options) for kind, options in kinds.items()]
        for number in range(5):
            nfs.copy(small, f"copy-{number}.json")
            nfs.writer(body, f"renamed-{number}.json", "--as", f"renamed-{number}.json.tmp").close()
        for writer in writers:
            writer.close()
        ids = [f"{kind}-{number}" for kind in kinds for number in range(10)]
        ids += [f"renamed-{number}" for number in range(5)]
        queue.ran_once(*ids, sent=body)
        copies = [f"copy-{number}" for number in range(5)]
        queue.ran_once(*copies, sent=small)
    queue.nothing_else_ran(*ids, *copies)
    assert queue.rejected() == []


@pytest.mark.parametrize("options", [(), ("--strange",)], ids=["plain", "times of 2105"])
def test_a_slow_nfs_write_runs_when_it_is_whole(queue: Queue, nfs: Ganesha, options: tuple[str, ...]) -> None:
    """P1, P6: 100 KB at 50 KB/s run once, whole; also where the file's time stands in 2105 all the while."""
    body = queue.body(size=100_000)
    with Pool(queue.spool).ready() as pool:
        writer = nfs.writer(body, "slow.json", "--rate", "50000", *options)
        writer.told("open")
        path = Path(queue.spool.path("pending", "slow.json"))
        wait_until(lambda: path.stat().st_size > 20_000)
        # The writer sets the time after each write.
        wait_until(lambda: (path.stat().st_mtime > AHEAD_AT) == bool(options))
        writer.close()
        queue.ran_once("slow", sent=body)
        assert [item for item in pool.events if item["event"] == "rejected"] == []
    queue.nothing_else_ran("slow")


@pytest.mark.parametrize("options", [(), ("--strange",)], ids=["plain", "times of 2105"])
def test_an_aborted_nfs_write_never_runs_and_can_be_sent_again(
    queue: Queue, nfs: Ganesha, options: tuple[str, ...]
) -> None:
    """P6: half a file whose client died is kept with its reason; sent again, it runs once."""
    body = queue.body(size=100_000)
    with Pool(queue.spool).ready() as pool:
        writer = nfs.writer(body, "half.json", "--stop-at", "40960", *options)
        writer.told("stopped")
        writer.kill()
        pool.event("rejected")
        assert queue.witness.lines() == []
        assert "not complete JSON" in queue.reason("half.json")
        nfs.writer(body, "half.json").close()
        queue.ran_once("half", sent=body)
    queue.nothing_else_ran("half")
    assert queue.rejected() == ["half.json"]


def test_a_file_that_is_written_over_by_nfs_runs_as_what_it_became(queue: Queue, nfs: Ganesha) -> None:
    """P1: of a file that waits and is put again, the last content runs, once, and its client's handle may stay open."""
    first, second = queue.body("first", size=40_000, filler="1"), queue.body("second", size=40_000, filler="2")
    with Pool(queue.spool).ready():
        queuectl(queue.spool, "pause")
        nfs.writer(first, "over.json").close()
        writer = nfs.writer(second, "over.json", "--hold", "--over")
        writer.told("written")
        queuectl(queue.spool, "resume")
        queue.ran_once("over", sent=second)
        writer.close()
    queue.nothing_else_ran("over")
    assert queue.rejected() == []
