"""Requests to cancel a run."""

from __future__ import annotations

import os
from pathlib import Path

from queuectl.api import Spool
from queuectl.maintenance import check
from queuectl.model.lifecycle import DLQ, DONE, Outcome
from tests.helpers import Desk, write_drop


def test_a_copy_of_an_ended_job_is_cancelled_under_its_own_id(desk: Desk) -> None:
    """P7: the first file stays as it is, whatever becomes of a copy that waits, and `check` has nothing to say."""
    desk.run(desk.enqueue(id="job1"), Outcome("succeeded", 0))
    Path(desk.spool.log_path("job1", 1)).write_text("printed")
    data = Path(desk.spool.path(DONE, "job1.json")).read_bytes()
    write_drop(desk.spool, "job1.json", data)
    job = Spool(desk.spool.root).cancel("job1")
    assert job.cancelled
    assert job.id.startswith("job1-")
    assert job.history[-2]["text"] == f"the id 'job1' is in use, so this job continues as {job.id!r}"
    assert Path(desk.spool.path(DONE, "job1.json")).read_bytes() == data
    found = check.run(desk.spool, repair=True, names_only=False, clock=desk.clock).findings
    assert {item.code for item in found} <= {"clock"}  # the library's clock is not the desk's
    Spool(desk.spool.root).purge(job.id)
    assert os.path.exists(desk.spool.log_path("job1", 1))


def test_purge_leaves_the_logs_to_another_file_of_the_id(desk: Desk) -> None:
    """P7: while another file has the id, what its runs printed stays."""
    desk.run(desk.enqueue(id="job1"), Outcome("succeeded", 0))
    Path(desk.spool.log_path("job1", 1)).write_text("printed")
    write_drop(desk.spool, "job1.json", Path(desk.spool.path(DONE, "job1.json")).read_bytes(), DLQ)
    api = Spool(desk.spool.root)
    api.purge("job1")
    assert os.path.exists(desk.spool.log_path("job1", 1))
    api.purge("job1")
    assert not os.path.exists(desk.spool.log_path("job1", 1))
