"""first_look: a pool checks its spool, and begins the housekeeping, once its workers have their first names."""

from __future__ import annotations

import os
from multiprocessing import Pipe
from pathlib import Path

from queuectl.model.notice import Notice
from queuectl.pool.first_look import FirstLook
from queuectl.spool.folder import SpoolDir
from tests.unit.pool.conftest import StillPool


def checks(pool: StillPool) -> list[str]:
    """What the check has told."""
    return [event.text for event in pool.told if isinstance(event, Notice) and event.kind == "check"]


def leave_unfinished(spool: SpoolDir) -> None:
    """A write that a producer did not finish, two hours ago."""
    path = Path(spool.tmp_path("report.1234"))
    path.write_text("{")
    os.utime(path, (1, 1))


def test_the_first_names_come_before_the_look(pool: StillPool, spool: SpoolDir) -> None:
    """While a worker is starting, it has no names yet: the look waits for it, and is made once."""
    leave_unfinished(spool)
    parts, worker = pool.parts, pool.parts.core.workers[0]
    look = FirstLook(parts.core, parts.crew, parts._housekeeping)
    ours, theirs = Pipe()
    worker.conn = ours
    try:
        look.step(pool.clock.monotonic())
        parts._housekeeping.step()
        assert checks(pool) == []
        assert not os.path.exists(spool.clock_path)
        worker.is_ready = True
        for _ in range(2):
            look.step(pool.clock.monotonic())
        assert len(checks(pool)) == 1
        assert os.path.exists(spool.clock_path)
        assert look.due_s() is None
    finally:
        worker.conn = None
        ours.close()
        theirs.close()


def test_a_worker_that_hangs_does_not_keep_the_pool_from_its_look(pool: StillPool, spool: SpoolDir) -> None:
    """The look is due after a second at the latest."""
    leave_unfinished(spool)
    parts, worker = pool.parts, pool.parts.core.workers[0]
    look = FirstLook(parts.core, parts.crew, parts._housekeeping)
    ours, theirs = Pipe()
    worker.conn = ours
    try:
        due_s = look.due_s()
        assert due_s is not None and due_s > pool.clock.monotonic()
        pool.clock.advance(due_s - pool.clock.monotonic())
        look.step(pool.clock.monotonic())
        assert len(checks(pool)) == 1
    finally:
        worker.conn = None
        ours.close()
        theirs.close()
