"""settle: a drop whose command runs before its record is on disk, and what may happen in between."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.jobs.verdict import Alive, Claimed
from queuectl.maintenance.rescuer import Rescue
from queuectl.maintenance.sweeper import Sweeper
from queuectl.model.lifecycle import DONE, PENDING, RUNNING, Outcome
from queuectl.spool.stripes import Stripes
from queuectl.system import disk
from tests.helpers import Desk, listing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="on Windows the record is synced before the start")
JOB = {"command": "echo hello"}
OK = Outcome("succeeded", 0, "", 0.01)


@pytest.fixture
def starting(desk: Desk) -> Claimed:
    """A drop that was claimed; its command would be starting now."""
    claimed = desk.claim(desk.drop("a.json", JOB))
    assert isinstance(claimed, Claimed)
    assert json.loads(running(desk).read_bytes()) == JOB
    assert os.listdir(desk.spool.tmp_dir) == [f"start,a,{desk.lease.name}"]
    return claimed


def running(desk: Desk) -> Path:
    """Where the job lies."""
    return Path(desk.spool.path(RUNNING, "a.json"))


def rescue(desk: Desk) -> list[str]:
    """What another pool's look at running/ brings back."""
    stripes = Stripes(desk.spool)
    other = Rescue(desk.session, stripes)
    found = [rescued.settled.to for rescued in other.rescue_all(set())]
    Sweeper(desk.session, stripes).sweep_leases()
    stripes.close()
    return found


def test_nobody_else_looks_at_it_meanwhile(desk: Desk, starting: Claimed) -> None:
    """P3: its stripe stays locked, so no pool takes the drop for one whose claimer died, or runs it elsewhere."""
    assert rescue(desk) == []
    assert json.loads(running(desk).read_bytes()) == JOB
    desk.settlements.secure(starting)
    assert desk.events(RUNNING, "a.json") == ["enqueued", "started"]
    assert desk.settlements.settle(starting, OK).to == DONE
    assert rescue(desk) == []
    assert os.listdir(desk.spool.tmp_dir) == []


def test_a_command_that_outlives_its_worker_is_found_alive(desk: Desk, starting: Claimed) -> None:
    """P3: the worker is killed between the start and the sync; its command holds the lease, and is left alone."""
    os.set_inheritable(desk.lease.fd, True)
    with subprocess.Popen(["sleep", "60"], pass_fds=[desk.lease.fd]) as command:
        desk.die()
        assert rescue(desk) == []
        assert desk.events(RUNNING, "a.json") == ["enqueued", "started"]
        assert os.listdir(desk.spool.tmp_dir) == []
        command.kill()
    assert rescue(desk) == [PENDING]
    assert desk.events(PENDING, desk.spool.waiting_names()[0]) == ["enqueued", "started", "abandoned"]


@pytest.mark.parametrize("left", [b"", b"\0" * 300, b'{\n "format": 1,\n "id": "a"'])
def test_after_a_power_cut_the_drop_is_whole(desk: Desk, starting: Claimed, left: bytes) -> None:
    """P1: a record that was never synced may be empty, of NULs or cut off; the drop is as its producer made it."""
    Path(starting.copy).write_bytes(left)
    desk.die()
    assert rescue(desk) == [PENDING]
    assert listing(desk.spool) == {PENDING: ["a.json"]}
    assert json.loads(Path(desk.spool.path(PENDING, "a.json")).read_bytes()) == JOB
    assert os.listdir(desk.spool.tmp_dir) == []


def test_a_job_that_is_taken_away_does_not_come_back(desk: Desk, starting: Claimed) -> None:
    """Deleting the file of a running job ends it, in this instant too."""
    running(desk).unlink()
    desk.settlements.secure(starting)
    with pytest.raises(FileNotFoundError):
        desk.settlements.settle(starting, OK)
    assert listing(desk.spool) == {}
    assert os.listdir(desk.spool.tmp_dir) == []


def test_a_drop_that_is_dragged_back_at_once_is_known_to_run(desk: Desk, starting: Claimed) -> None:
    """P3: moved to pending/ in this instant, it is not run a second time beside its command."""
    running(desk).rename(desk.spool.path(PENDING, "a.json"))
    desk.settlements.secure(starting)
    assert desk.events(PENDING, "a.json") == ["enqueued", "started"]
    assert isinstance(desk.decline("a.json"), Alive)
    assert os.listdir(desk.spool.tmp_dir) == []


def test_what_a_dead_worker_left_of_a_job_that_is_gone_is_swept(desk: Desk, starting: Claimed) -> None:
    """Killed, and the file deleted by hand: nothing stays in tmp/."""
    running(desk).unlink()
    desk.die()
    assert rescue(desk) == []
    assert os.listdir(desk.spool.tmp_dir) == []


def test_a_sync_that_failed_is_not_believed_later(
    desk: Desk, starting: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have dropped the pages: the record is written anew."""

    def failing(path: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(disk, "sync_file", failing)
    old = os.stat(starting.copy).st_ino
    desk.settlements.secure(starting)
    assert running(desk).stat().st_ino != old
    assert desk.settlements.settle(starting, OK).to == DONE
    assert os.listdir(desk.spool.tmp_dir) == []
