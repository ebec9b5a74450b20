"""sweeper: what dead workers, pools and commands left is removed, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from queuectl.jobs import error_text
from queuectl.maintenance import sweeper
from queuectl.maintenance.sweeper import OrphanTexts, Sweeper
from queuectl.model.lifecycle import DLQ, DONE, Outcome
from queuectl.spool import cancel_requests
from queuectl.spool.cancel_requests import Request
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease
from queuectl.spool.pools import Pool, StopSummary
from queuectl.system import files
from tests.helpers import Desk, full_disk, write_drop

FAILED = Outcome("failed", 127, "command not found", 0.5)


def kill_job(desk: Desk, job_id: str = "job1") -> None:
    """Let a job die, and have its text written."""
    claimed = desk.start(desk.enqueue(id=job_id, max_retries=0))
    assert desk.settlements.settle(claimed, FAILED).to == DLQ
    assert error_text.write(desk.session, f"{job_id}.json")


def texts(spool: SpoolDir) -> list[str]:
    """What there is of texts in dlq/."""
    return sorted(name for name in os.listdir(spool.folder(DLQ)) if name.endswith((".error.txt", ".cancelled.txt")))


def test_the_text_of_a_job_that_was_dragged_away_is_swept(desk: Desk) -> None:
    """Texts beside a job stay, others go; nothing is listed while nothing has changed."""
    for job_id in ("stays", "dragged", "deleted"):
        kill_job(desk, job_id)
    write_drop(desk.spool, "notes.error.txt", "mine", DLQ)
    orphan_texts = OrphanTexts(desk.session)
    assert orphan_texts.sweep() == 0
    shutil.move(desk.spool.path(DLQ, "dragged.json"), desk.spool.path(DONE, "dragged.json"))
    os.remove(desk.spool.path(DLQ, "deleted.json"))
    desk.clock.advance(60)
    assert orphan_texts.sweep() == 2
    assert texts(desk.spool) == ["notes.error.txt", "stays.error.txt"]


def test_sweeping_lists_only_what_has_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of a million dead jobs costs one stat, as long as none comes or goes."""
    kill_job(desk)
    orphan_texts = OrphanTexts(desk.session)
    orphan_texts.sweep()
    desk.clock.advance(60)
    monkeypatch.setattr(files, "names", full_disk)
    assert orphan_texts.sweep() == 0


def test_sweep_leaves_the_requests_for_what_runs(desk: Desk) -> None:
    """What a killed command left goes once the job does not run; a request under way stays."""
    desk.start(desk.enqueue(id="runs"))
    desk.run(desk.enqueue(id="ended"), Outcome("succeeded", 0))
    for job_id in ("runs", "ended", "unknown"):
        cancel_requests.put(desk.spool, Request(job_id, 1, "somebody", ""))
    sweeper.sweep_requests(desk.spool)
    assert cancel_requests.waiting(desk.spool) == [("runs", 1)]


def test_leases_of_the_dead_go_and_those_of_the_living_stay(desk: Desk, other_desk: Desk) -> None:
    """P5: a lease file is deleted if nobody holds it and no running job names it; its empty output goes with it."""
    desk.start(desk.enqueue(id="orphan"))
    orphaned = desk.lease.name
    desk.die()
    dead = Lease(desk.spool, "dead")
    name = dead.name
    Path(desk.spool.output_path(name)).touch()
    dead.close()
    Path(desk.spool.lease_path(name)).touch()
    Sweeper(other_desk.session, other_desk.stripes).sweep_leases()
    left = {lease.removesuffix(".lock") for lease in os.listdir(desk.spool.lease_dir)}
    assert left == {orphaned, desk.lease.name, other_desk.lease.name}
    assert not os.path.exists(desk.spool.output_path(name))


def test_traces_of_dead_pools_go_and_who_did_not_end_cleanly_is_counted(desk: Desk) -> None:
    """P5: a pool that lives keeps its files, and a file that is no pool's is left alone (P11)."""
    pool = Pool(desk.session, count=1, cwd="/")
    pool.enter()
    for name in ("gone.json", "gone.stop", "gone.lock", "notes.txt"):
        Path(desk.spool.pool_dir, name).touch()
    os.mkdir(os.path.join(desk.spool.pool_dir, "folder.json"))
    assert sweeper.sweep_pools(desk.spool) == 1
    assert set(os.listdir(desk.spool.pool_dir)) == {
        f"{pool.name}.json",
        f"{pool.name}.lock",
        "folder.json",
        "notes.txt",
    }
    pool.leave(StopSummary([], 0), clean=True)
