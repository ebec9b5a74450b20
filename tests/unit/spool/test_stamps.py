"""stamps: until when the runs of a session on a cluster may go on."""

from __future__ import annotations

import os

import pytest

from queuectl.maintenance.sweeper import Sweeper
from queuectl.model.lifecycle import FAILED, SUCCEEDED, Outcome
from queuectl.spool import stamps
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.spool.lease import is_alive, is_locked, outlives
from queuectl.system import boot
from tests.helpers import Desk

SESSION = "host-1-abcd-c1"
LEASE = f"{SESSION}.0"


@pytest.fixture
def up(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A machine in the boot "b1"; the list holds its uptime."""
    now = [1000.0]
    monkeypatch.setattr(boot, "boot_id", lambda: "b1")
    monkeypatch.setattr(boot, "uptime_s", lambda: now[0])
    return now


@pytest.fixture
def stamped(spool: SpoolDir, up: list[float]) -> SpoolDir:
    """A spool with a stamp of 33 s."""
    stamps.note_length(spool, 33.0)
    stamps.write(spool, SESSION, for_s=33.0)
    return spool


def test_a_lease_names_its_session() -> None:
    """Only the `c` before the number of its worker makes a lease remote, so local leases cost no look."""
    assert stamps.session_of(LEASE) == SESSION
    assert [stamps.session_of(lease) for lease in ("host-1-abcd-1.0", "w1.0", "", "c-host-1-abcd-2.7")] == [""] * 4


def test_a_run_elsewhere_is_alive_until_its_stamp_runs_out(stamped: SpoolDir, up: list[float]) -> None:
    """A free lock proves nothing about a run on another machine (P3); a stamp that has run out does (P5)."""
    assert not is_locked(stamped, LEASE)
    up[0] += 32.9
    assert is_alive(stamped, LEASE)
    assert not is_alive(stamped, "host-1-abcd-1.0")
    up[0] += 0.2
    assert not is_alive(stamped, LEASE)


def test_a_stamp_of_another_boot_counts_from_the_start(
    stamped: SpoolDir, up: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reboot the time of the old boot says nothing, and the whole length must pass (P3)."""
    monkeypatch.setattr(boot, "boot_id", lambda: "b2")
    up[0] = 32.0
    assert is_alive(stamped, LEASE)
    up[0] = 33.1
    assert not is_alive(stamped, LEASE)


def test_a_lost_stamp_protects_after_a_boot(stamped: SpoolDir, up: list[float]) -> None:
    """A power cut may take the stamp, so a spool that used a cluster waits for its longest lease (P3)."""
    held = stamps.lock(stamped, SESSION)
    assert held is not None
    assert stamps.lock(stamped, SESSION) is None, "two processes spoke in the name of one session"
    stamps.remove(stamped, SESSION, held)
    assert not is_alive(stamped, LEASE)
    up[0] = 20.0
    assert is_alive(stamped, LEASE)
    assert stamps.wait_s(stamped) == 13.0
    stamps.note_length(stamped, 10.0)
    assert stamps.wait_s(stamped) == 13.0, "a shorter lease shortened the wait"


def test_a_torn_stamp_protects(stamped: SpoolDir, up: list[float]) -> None:
    """Bytes that say nothing never free a run (P3)."""
    with open(stamped.stamp_path(SESSION), "wb") as file:
        file.write(b"b1 10")
    up[0] = 100.0
    assert is_alive(stamped, LEASE)
    up[0] = 1000.0
    assert not is_alive(stamped, LEASE)


def test_a_spool_without_a_cluster_waits_for_nothing(spool: SpoolDir, up: list[float]) -> None:
    """Whoever uses no cluster never waits after a boot."""
    up[0] = 1.0
    assert stamps.wait_s(spool) == 0
    assert not os.path.exists(spool.engine_dir)


def test_a_retry_does_not_wait_for_the_stamp(stamped: SpoolDir) -> None:
    """Once its outcome is on record, nothing of a run on a node is left, whatever the stamp says (P3)."""
    desk = Desk(stamped, worker=SESSION)
    name = desk.enqueue(id="job1", max_retries=1, backoff_base=0)
    claimed = desk.start(name)
    desk.lease.change()
    assert outlives(stamped, desk.record("running", "job1.json"))
    desk.settlements.settle(claimed, Outcome(FAILED, 1))
    assert not outlives(stamped, desk.record("pending", name))
    desk.close()


def test_rescue_waits_for_the_stamp(stamped: SpoolDir, up: list[float], other_desk: Desk) -> None:
    """A run elsewhere loses its worker: no pool rescues it before its stamp has run out (P3, P5)."""
    desk = Desk(stamped, worker=SESSION)
    desk.claims.where = {"node": "w1", "member": "w1-7-abcd"}
    desk.start(desk.enqueue(id="job1"))
    desk.die()
    assert other_desk.orphans.rescue("job1.json") is None
    up[0] += 34
    assert other_desk.orphans.rescue("job1.json") is not None
    started = other_desk.record("pending", "job1.json").history[1]
    assert (started.node, started.member) == ("w1", "w1-7-abcd")


def test_an_outcome_on_record_waits_for_no_stamp(stamped: SpoolDir, other_desk: Desk) -> None:
    """A worker dies between outcome and move: rescue makes the move at once (P5)."""
    desk = Desk(stamped, worker=SESSION)
    claimed = desk.start(desk.enqueue(id="job1"))
    here = Located("running", claimed.name, stamped.path("running", claimed.name))
    desk.settlements._record_outcome(here, claimed, Outcome(SUCCEEDED, 0))
    desk.die()
    settled = other_desk.orphans.rescue("job1.json")
    assert settled is not None
    assert settled.to == "done"


def test_old_stamps_are_swept(stamped: SpoolDir, up: list[float], desk: Desk) -> None:
    """A stamp that has run out goes, unless a running job names its session."""
    sweeper = Sweeper(desk.session, desk.stripes)
    sweeper.sweep()
    assert stamps.sessions(stamped) == [SESSION]
    up[0] += 40
    other = Desk(stamped, worker=SESSION)
    claimed = other.start(other.enqueue())
    sweeper.sweep()
    assert stamps.sessions(stamped) == [SESSION]
    other.settlements.settle(claimed, Outcome(SUCCEEDED, 0))
    other.close()
    sweeper.sweep()
    assert stamps.sessions(stamped) == []
