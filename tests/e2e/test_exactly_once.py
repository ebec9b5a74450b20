"""Many jobs, several workers: all done, each once, none twice at the same time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.pool import Marks, Pool


def test_three_workers_run_three_hundred_jobs_each_exactly_once(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: 300 jobs that each append a line to one file leave 300 different lines."""
    marks = Marks(tmp_path / "marks")
    ids = Spool(spool.root).enqueue_many([{"command": marks.command("S", "E")} for _ in range(300)])
    with Pool(spool, "--drain", count=3) as pool:
        assert pool.wait(90) == 0
    counted = Counter(marks.lines())
    assert counted == {f"{kind} {job_id}": 1 for job_id in ids for kind in "SE"}
    assert sorted(spool.job_names("done")) == sorted(f"{job_id}.json" for job_id in ids)
    assert all(spool.read("done", name).record.history[-1].attempt == 1 for name in spool.job_names("done"))


def test_two_pools_on_one_spool_share_the_work(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: two supervisors suggest the same names, and still every job runs once."""
    marks = Marks(tmp_path / "marks")
    ids = Spool(spool.root).enqueue_many([{"command": marks.command("S")} for _ in range(200)])
    with Pool(spool, "--drain", count=2) as one, Pool(spool, "--drain", count=2) as two:
        assert one.wait(90) == 0
        assert two.wait(90) == 0
    assert sorted(marks.lines()) == sorted(f"S {job_id}" for job_id in ids)
