"""`check --repair` beside real workers, and after all of them were killed."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from queuectl.jobs.enqueue import Producer
from queuectl.maintenance import check
from queuectl.maintenance.check import Checked
from queuectl.maintenance.findings import PROBLEM
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.spool import settings_file
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from tests.helpers import wait_until
from tests.pool import Pool, Witness, command_of, ends_with, queuectl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")


def repair(spool: SpoolDir) -> Checked:
    """One `check --repair`."""
    return check.run(spool, repair=True, names_only=False, clock=Clock())


def enqueue(spool: SpoolDir, *documents: dict[str, object]) -> list[str]:
    """Put jobs into the spool."""
    producer = Producer(Session(spool, settings_file.load(spool), Clock(), random.Random()))
    return producer.publish([producer.prepare(document, by="enqueue") for document in documents])


def problems(found: Checked) -> list[tuple[str, str, str]]:
    """What is a fault, without the notes."""
    return [(each.code, each.path, each.text) for each in found.findings if each.severity == PROBLEM]


def test_repairs_beside_a_pool_touch_no_live_job(spool: SpoolDir, tmp_path: Path) -> None:
    """Checks that repair, again and again while a pool works, find no fault, and every job runs as often as it should.

    Jobs succeed, fail, are retried and die meanwhile, one runs all of the time, and producers publish (P2, P3, P7).
    """
    witness = Witness(tmp_path / "witness")
    ran = tmp_path / "ran"
    note = f'echo "$QUEUECTL_JOB_ID" >> "{ran}"'
    good, bad, checks = [], [], 0
    with Pool(spool, count=3).ready() as pool:
        (long,) = enqueue(spool, {"command": witness.command(seconds=witness.gate)})
        wait_until(lambda: command_of(pool, long))
        while checks < 8 or len(spool.job_names(DLQ)) < 2:
            if len(spool.waiting_names()) < 50:
                good += enqueue(spool, *({"command": note} for _ in range(20)))
                bad += enqueue(spool, {"command": f"{note}; exit 3", "max_retries": 1, "backoff_base": 0})
            assert problems(repair(spool)) == []
            checks += 1
        witness.open_gate()
        ends_with(spool, {PENDING: 0, RUNNING: 0, DONE: len(good) + 1, DLQ: len(bad)})
    print(f"{checks} checks beside {len(good) + len(bad)} jobs")
    assert len(good) > 20
    assert repair(spool).findings == []
    assert Counter(ran.read_text().split()) == {**dict.fromkeys(good, 1), **dict.fromkeys(bad, 2)}
    assert len(witness.starts(long)) == 1


def test_what_a_power_cut_leaves_is_put_right_without_workers(spool: SpoolDir, tmp_path: Path) -> None:
    """After a kill of everything a check puts the runs back, but none whose command still runs (P3, P5)."""
    witness = Witness(tmp_path / "witness")
    jobs = enqueue(spool, *({"command": witness.command(seconds=witness.gate)} for _ in range(4)))
    pool = Pool(spool, count=2).ready()
    wait_until(lambda: len(witness.lines()) == 2)
    pool.kill_everything()
    witness.open_gate()
    wait_until(lambda: not repair(spool).skipped and not spool.job_names(RUNNING))
    assert sorted(len(spool.read(PENDING, name).record.history) for name in spool.job_names(PENDING)) == [1, 1, 3, 3]
    assert repair(spool).findings == []
    queuectl(spool, "worker", "start", "--drain", "--count", "2")
    ends_with(spool, {PENDING: 0, RUNNING: 0, DONE: len(jobs)})
    assert witness.overlapping() == []
