"""old_starts: logs of starts are deleted once no rate can need them."""

from __future__ import annotations

import os
from pathlib import Path

from queuectl.jobs.verdict import Claimed, Gated
from queuectl.maintenance.old_starts import OldStarts
from queuectl.maintenance.sweeper import Sweeper
from queuectl.model.lifecycle import Outcome
from queuectl.model.queues import Queue
from queuectl.model.settings import defaults
from queuectl.system.locks import FileLock
from tests.helpers import Desk, make_spool

OK = Outcome("succeeded", 0, "", 0.01)


def test_logs_go_when_their_last_start_is_older_than_the_window(tmp_path: Path) -> None:
    """The log of each key, and of each queue, goes by its own window; a worker that has it open begins a new one."""
    limits = {"api": Queue(rate="9/1h", rate_per_key="1/1m"), "once": Queue(rate="1/1m")}
    desk = Desk(make_spool(tmp_path / "spool"), settings=defaults()._replace(queues=limits))
    sweeper = OldStarts(desk.session)
    assert sweeper.sweep() == 0
    desk.run(desk.enqueue(id="a", queue="api", key="k"), OK)
    desk.run(desk.enqueue(id="b", queue="once"), OK)
    desk.clock.advance(50)
    assert OldStarts(desk.session).sweep() == 0
    desk.run(desk.enqueue(id="c", queue="api", key="other"), OK)
    del limits["once"]
    desk.clock.advance(15)
    assert sweeper.sweep() == 0  # only every ten minutes
    assert OldStarts(desk.session).sweep() == 1
    assert os.listdir(desk.spool.key_starts_dir("api")) == ["other.starts"]
    assert os.path.exists(desk.spool.starts_path("once"))
    assert isinstance(desk.claim(desk.enqueue(id="d", queue="api", key="k")), Claimed)
    assert isinstance(desk.claim(desk.enqueue(id="e", queue="api", key="k")), Gated)
    desk.clock.advance(86400)
    Sweeper(desk.session, desk.stripes).sweep()
    assert os.listdir(desk.spool.key_starts_dir("api")) == []
    assert not os.path.exists(desk.spool.starts_path("once"))


def test_log_stays_while_the_gate_is_locked(tmp_path: Path) -> None:
    """Whoever passes the gate may be about to add a start."""
    desk = Desk(make_spool(tmp_path / "spool"), settings=defaults()._replace(queues={"api": Queue(rate="1/1m")}))
    desk.run(desk.enqueue(id="a", queue="api"), OK)
    desk.clock.advance(100)
    lock = FileLock(desk.spool.gate_lock_path("api"))
    assert lock.try_acquire()
    assert OldStarts(desk.session).sweep() == 0
    lock.close()
    assert OldStarts(desk.session).sweep() == 1
