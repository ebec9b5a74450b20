"""locks: exclusive locks that end with their owner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.system.locks import FileLock, KeptLock, NamedLock, is_held
from tests.helpers import wait_until

_HOLD = """
import sys
from queuectl.system.locks import FileLock
lock = FileLock(sys.argv[1])
assert lock.try_acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_lock_is_exclusive(tmp_path: Path) -> None:
    """Two handles never hold one lock at a time (P3)."""
    path = str(tmp_path / "lock")
    one, two = FileLock(path), FileLock(path)
    try:
        assert one.try_acquire()
        assert not two.try_acquire()
        one.release()
        assert two.try_acquire()
        assert not one.try_acquire()
    finally:
        one.close()
        two.close()


def test_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    """A freed lock is the proof that its owner is dead (P5)."""
    path = str(tmp_path / "lock")
    with subprocess.Popen([sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline()
        assert is_held(path)
        owner.kill()
        owner.wait()
        assert not is_held(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not share locks with children")
def test_lock_lives_as_long_as_a_command_that_inherited_it(tmp_path: Path) -> None:
    """Closing our handle does not free what a command still holds (P3)."""
    path = str(tmp_path / "lock")
    lock = FileLock(path)
    assert lock.try_acquire()
    with subprocess.Popen(["sleep", "60"], pass_fds=[lock.fd]) as command:
        lock.close()
        assert is_held(path)
        command.kill()
        command.wait()
        assert not is_held(path)


def test_closed_lock_can_be_taken_again(tmp_path: Path) -> None:
    """A lock object is used again and again."""
    lock = FileLock(str(tmp_path / "lock"))
    for _ in range(3):
        assert lock.try_acquire()
        lock.close()
    lock.close()
    assert lock.fd == -1


def test_lock_that_cannot_be_opened_raises(tmp_path: Path) -> None:
    """No lock is never taken for a busy one."""
    with pytest.raises(OSError):
        FileLock(str(tmp_path / "no" / "lock")).try_acquire()


def test_nobody_holds_a_lock_that_does_not_exist(tmp_path: Path) -> None:
    """Asking makes no file."""
    assert not is_held(str(tmp_path / "lock"))
    assert not (tmp_path / "lock").exists()


def test_named_lock_of_a_deleted_file_is_not_taken(tmp_path: Path) -> None:
    """Who waited with a handle to a lock file that its owner deleted locks the new file (P3)."""
    path = tmp_path / "lock"
    one, two, three = (NamedLock(str(path)) for _ in range(3))
    try:
        assert one.try_acquire()
        two._fd = os.open(path, os.O_RDWR)  # opened just before its owner deletes it
        one.remove()
        assert path.exists() == (sys.platform == "win32")  # where a file that anybody has open stays
        assert two.try_acquire()
        assert path.exists()
        assert not three.try_acquire()
    finally:
        for lock in (one, two, three):
            lock.close()


def test_named_lock_that_is_busy_keeps_no_handle(tmp_path: Path) -> None:
    """A look at somebody's lease leaves nothing open."""
    one, two = NamedLock(str(tmp_path / "lock")), NamedLock(str(tmp_path / "lock"))
    assert one.try_acquire()
    assert not two.try_acquire()
    assert two.fd == -1
    one.close()
    wait_until(two.try_acquire)
    two.remove()
    assert os.listdir(tmp_path) == []


def test_kept_lock_keeps_its_handle(tmp_path: Path) -> None:
    """A busy lock is tried again without opening its file."""
    one, two = KeptLock(str(tmp_path / "lock")), KeptLock(str(tmp_path / "lock"))
    assert one.try_acquire()
    assert not two.try_acquire()
    before = two.fd
    assert before >= 0
    one.release()
    assert two.try_acquire()
    assert two.fd == before
    assert not one.try_acquire()
    for lock in (one, two):
        lock.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be deleted there")
def test_kept_lock_whose_file_was_deleted_locks_the_new_one(tmp_path: Path) -> None:
    """A lock on a file that somebody deleted excludes no other process, so it is none (P12)."""
    path = tmp_path / "lock"
    one, two = KeptLock(str(path)), KeptLock(str(path))
    assert one.try_acquire()
    one.release()
    path.unlink()
    assert two.try_acquire()
    assert not one.try_acquire()
    two.release()
    assert one.try_acquire()
    for lock in (one, two):
        lock.close()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there, and a folder cannot be opened")
@pytest.mark.parametrize("kind", ["folder", "dead link", "link"])
def test_what_is_no_file_is_a_lock_that_nobody_holds(tmp_path: Path, kind: str) -> None:
    """P11: a folder or a link with the name of a lock is nobody's, and no error."""
    path = tmp_path / "x.lock"
    if kind == "folder":
        path.mkdir()
    else:
        (tmp_path / "target").write_text("")
        path.symlink_to(tmp_path / ("target" if kind == "link" else "nothing"))
    assert not is_held(str(path))
