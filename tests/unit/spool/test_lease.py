"""lease: a worker's proof of life."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from queuectl.maintenance.sweeper import Sweeper
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import Lease, is_alive
from queuectl.system.locks import NamedLock
from queuectl.worker.output import OutputSlot
from tests.helpers import Desk

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not share locks with children")


def test_lease_is_held_while_its_worker_lives(spool: SpoolDir) -> None:
    """What runs under a held lease is alive (P5)."""
    lease = Lease(spool, "w1")
    assert lease.name == "w1.0"
    assert is_alive(spool, "w1.0")
    lease.close()
    assert not is_alive(spool, "w1.0")
    assert os.listdir(spool.lease_dir) == []


def test_two_workers_of_one_name_get_different_leases(spool: SpoolDir) -> None:
    """A name that comes twice (a pid used again) never shares a proof of life (P3)."""
    one, two = Lease(spool, "w1"), Lease(spool, "w1")
    assert (one.name, two.name) == ("w1.0", "w1.1")
    one.close()
    two.close()


def test_renewed_lease_keeps_its_name(spool: SpoolDir) -> None:
    """Nobody is left behind, so the next job runs under the same lease."""
    lease = Lease(spool, "w1")
    assert lease.renew()
    assert lease.name == "w1.0"
    assert is_alive(spool, "w1.0")
    lease.close()


@posix_only
def test_lease_that_a_process_left_behind_still_holds_is_left_to_it(spool: SpoolDir) -> None:
    """A daemonised grandchild keeps its own job alive and no other (P3, P5)."""
    lease = Lease(spool, "w1")
    with subprocess.Popen(["sleep", "60"], pass_fds=[lease.fd]) as left_behind:
        assert not lease.renew()
        assert lease.name == "w1.1"
        assert is_alive(spool, "w1.0")
        assert is_alive(spool, "w1.1")
        left_behind.kill()
        left_behind.wait()
    assert not is_alive(spool, "w1.0")
    lease.close()


def test_lease_that_is_left_counts_as_dead(spool: SpoolDir) -> None:
    """After trouble the worker goes on under another lease, and what is on record under the old one is rescued (P9)."""
    lease = Lease(spool, "w1")
    lease.abandon()
    assert lease.name == "w1.1"
    assert not is_alive(spool, "w1.0")
    assert is_alive(spool, "w1.1")
    lease.close()


def test_lease_that_is_changed_is_dead_and_leaves_no_file(spool: SpoolDir) -> None:
    """A job that goes on names a lease that nobody holds, while its last worker works on under another (P5)."""
    lease = Lease(spool, "w1")
    assert lease.change()
    assert lease.name == "w1.1"
    assert not is_alive(spool, "w1.0")
    assert os.listdir(spool.lease_dir) == ["w1.1.lock"]
    lease.close()


@pytest.mark.parametrize("name", ["", "nobody.0", "../../queuectl.toml", "/etc/passwd", "x\0y", "x" * 5000, ".."])
def test_lease_name_out_of_a_strange_record_is_dead_and_touches_nothing(spool: SpoolDir, name: str) -> None:
    """A lease's name comes out of a file that others may write: it leads to no other folder (P10)."""
    assert not is_alive(spool, name)
    assert os.listdir(spool.lease_dir) == []


def test_an_output_is_kept_although_the_lease_is_swept_while_it_is_renewed(
    spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4: a sweep of dead workers' leases that meets one between its two locks costs no output of the next run."""
    desk = Desk(spool)
    sweeper = Sweeper(desk.session, desk.stripes)
    lease, slot = Lease(spool, "w1"), OutputSlot(spool)
    slot.open(lease.name)
    close = NamedLock.close

    def close_and_lose(lock: NamedLock) -> None:
        close(lock)
        monkeypatch.setattr(NamedLock, "close", close)
        sweeper.sweep_leases()

    monkeypatch.setattr(NamedLock, "close", close_and_lose)
    if not lease.renew():
        slot.abandon()
    assert is_alive(spool, lease.name)
    os.write(slot.open(lease.name), b"printed\n")
    slot.keep("job", 1)
    assert "job.1.log" in os.listdir(spool.folder("logs"))
    desk.close()
    lease.close()


@pytest.mark.skipif(sys.platform == "win32", reason="takes the folder away under a lease")
def test_a_lease_that_cannot_be_made_is_made_later(spool: SpoolDir) -> None:
    """P9: a worker without a folder for leases, or without inodes, goes on once there is one."""
    lease = Lease(spool, "w1")
    os.rename(spool.lease_dir, spool.lease_dir + ".away")
    assert not lease.change() and not lease.is_held
    lease.abandon()
    with pytest.raises(FileNotFoundError):
        lease.hold()
    lease.close()
    os.rename(spool.lease_dir + ".away", spool.lease_dir)
    lease.hold()
    assert is_alive(spool, lease.name)
    lease.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no file that is open")
def test_a_lease_that_was_deleted_is_seen(spool: SpoolDir) -> None:
    """P3: a lock on a file without a name proves nothing to others, so nothing is started under it."""
    lease = Lease(spool, "w1")
    lease.check()
    os.remove(lease.path)
    with pytest.raises(FileNotFoundError):
        lease.check()
    lease.abandon()
    lease.check()
    assert is_alive(spool, lease.name)
    lease.close()
