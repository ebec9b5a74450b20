"""The whole corpus in one spool, under a real pool: every file ends as it must, and good jobs run meanwhile."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from queuectl.api import Spool
from tests.helpers import wait_until
from tests.hostile.corpus import CORPUS, RUN
from tests.hostile.ground import Ground, make_ground
from tests.pool import Pool

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links, FIFOs, sockets and names that Windows has not")

MEMORY_LIMIT_KIB = 128 * 1024
_GOOD = 40
_BOUND_S = 100.0


def peak_kib(pid: int) -> int:
    """The most memory that a process has had in use so far (Linux)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) if found else 0


def _good_ones_run(ground: Ground) -> float:
    """Put good jobs in beside the hostile files and wait until all have run; how long that took."""
    started_s = time.monotonic()
    spool = Spool(ground.spool.root)
    ids = spool.enqueue_many([{"command": RUN} for _ in range(_GOOD // 2)])
    for number in range(_GOOD // 2):
        ground.drop(f"good-{number}.json", {"command": RUN})
        ids.append(f"good-{number}")
    for job_id in ids:
        wait_until(lambda job_id=job_id: spool.folder.holds(job_id, ("done",)), _BOUND_S)  # type: ignore[misc]
    return time.monotonic() - started_s


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_whole_corpus_ends_as_it_must(tmp_path: Path, every: int) -> None:
    """P6, P11: beside 1,900 hostile files good jobs run; each file is refused with a reason, run, or left alone."""
    ground = make_ground(tmp_path, settle_s="0.3", keep_done='"1d"', keep_dlq='"1d"')
    cases = CORPUS[::every]
    ground.put(cases, mtime_at=1e9)
    with Pool(ground.spool, count=2, cwd=ground.work) as pool:
        pool.ready()
        workers = wait_until(lambda: len(pids := pool.worker_pids()) == 2 and pids)
        good_s = _good_ones_run(ground)
        wait_until(lambda: not ground.unsettled(), _BOUND_S)
        assert pool.process.poll() is None
        assert pool.worker_pids() == workers, "a worker was lost"
        peaks = [peak_kib(pid) for pid in (pool.process.pid, *workers)]
        events = list(pool.events)
    print(f"{len(cases)} files; good jobs took {good_s:.1f} s; peak memory {[kib // 1024 for kib in peaks]} MiB")
    assert ground.complaints() == []
    assert not [event for event in events if event["event"] in ("worker_lost", "trouble")]
    assert not [event for event in events if event["event"] == "foreign" and "Error" in event["text"]]
    assert max(peaks) < MEMORY_LIMIT_KIB
