"""Owners take turns: one with many jobs, another with one, and a real pool."""

from __future__ import annotations

import time
from pathlib import Path

from queuectl.api import Spool
from queuectl.spool.folder import SpoolDir
from tests.helpers import wait_until, write_drop
from tests.pool import Pool, Witness, queuectl

MANY = 200
SECONDS, SCAN_S = 0.05, 0.2
# While there is much to do, new files are found by the next listing; what two workers start until then, and in hand.
SOON = 25


def test_one_job_is_started_soon_behind_another_owner_s_hundreds(spool: SpoolDir, tmp_path: Path) -> None:
    """One job that is enqueued, and one dropped by hand, are among the first few of hundreds to start."""
    witness = Witness(tmp_path / "witness")
    command = witness.command(seconds=SECONDS)
    queuectl(spool, "config", "set", "scan_s", str(SCAN_S))
    queue = Spool(spool.root)
    queue.enqueue_many([{"id": f"a{n}", "command": command, "owner": "anna"} for n in range(MANY)])
    with Pool(spool, count=2) as pool:
        wait_until(lambda: len(witness.lines()) > 4)
        queue.enqueue(command, id="theirs", owner="bob")
        write_drop(spool, "dropped.json", {"command": command, "owner": "carl"})
        from_ns = time.monotonic_ns()
        for job_id in ("theirs", "dropped"):
            pool.event("succeeded", job_id)
            start_ns = witness.starts(job_id)[0]
            before = [at for kind, _, _, at in witness.lines() if kind == "S" and from_ns < at < start_ns]
            assert len(before) < SOON, f"{len(before)} started before {job_id}"
        # Else nothing was held up that could have been.
        assert sum(kind == "S" for kind, *_ in witness.lines()) < MANY
