"""desk: what a command may leave on its desk, and what a worker takes from it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.spool import desk as desks
from queuectl.spool.desk import NOTHING, Given
from queuectl.system import files
from queuectl.worker.desk import DeskSlot
from queuectl.worker.slot import Slot
from tests.helpers import Desk, FakeClock

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and modes of POSIX")


@pytest.fixture
def folder(slot: Slot) -> Path:
    """The desk of the slot, as its command sees it."""
    return Path(slot.desk.variables["QUEUECTL_RESULT"]).parent


def collect(slot: Slot) -> Given:
    """What the worker takes after a run of job a."""
    return slot.desk.collect("a", 1, before=NOTHING)


def test_a_result_is_moved_to_the_logs(slot: Slot, folder: Path, desk: Desk) -> None:
    """P4: what the command wrote is a private file beside the log, and the desk is empty."""
    (folder / "result").write_bytes(b"\x00\xff")
    if sys.platform != "win32":
        (folder / "result").chmod(0o644)
    assert slot.desk.has_news(0.0)
    assert collect(slot) == Given(2)
    kept = Path(desk.spool.result_path("a", 1))
    assert kept.read_bytes() == b"\x00\xff"
    if sys.platform != "win32":
        assert kept.stat().st_mode & 0o777 == 0o600
    assert os.listdir(folder) == [] and not slot.desk.has_news(0.0)
    slot.renew(is_plain=True)
    slot.open()
    assert Path(slot.desk.variables["QUEUECTL_RESULT"]).parent == folder


def test_a_result_replaces_no_other(slot: Slot, folder: Path, desk: Desk) -> None:
    """P7: a result with the name of this attempt is kept, and so is the new one."""
    for text in ("one", "two"):
        (folder / "result").write_text(text)
        collect(slot)
    assert Path(desk.spool.result_path("a", 1)).read_text() == "one"
    assert len(os.listdir(desk.spool.folder("logs"))) == 2


@posix_only
@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "socket"])
def test_what_is_no_regular_file_is_no_result(slot: Slot, folder: Path, desk: Desk, tmp_path: Path, kind: str) -> None:
    """P10: it is neither followed nor opened nor moved; a warning says so, and the next run has an empty desk."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    place = folder / "result"
    match kind:
        case "link":
            place.symlink_to(secret)
        case "dangling":
            place.symlink_to(tmp_path / "nothing")
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
            (place / "inner").symlink_to(tmp_path)
        case "socket":
            os.mknod(place, 0o140600)
    found = collect(slot)
    assert found.result_bytes is None and "no regular file" in found.warnings[0]
    assert os.listdir(desk.spool.folder("logs")) == []
    slot.renew(is_plain=True)
    slot.open()
    assert os.listdir(Path(slot.desk.variables["QUEUECTL_RESULT"]).parent) == []
    assert secret.read_text() == "secret"


@posix_only
def test_a_link_in_the_place_of_the_desk_leads_nowhere(slot: Slot, folder: Path, desk: Desk, tmp_path: Path) -> None:
    """P10: the worker works by its handle, so nothing outside of the desk is moved or deleted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "result").write_text("mine")
    folder.rename(tmp_path / "moved")
    folder.symlink_to(outside)
    assert slot.desk.has_news(0.0)
    assert collect(slot) == NOTHING
    slot.renew(is_plain=True)
    slot.open()
    assert (outside / "result").read_text() == "mine"
    assert Path(slot.desk.variables["QUEUECTL_RESULT"]).parent != folder
    assert desks.remove(desk.spool, folder.name) and (outside / "result").exists()


@posix_only
def test_a_desk_made_before_its_worker_is_emptied(desk: Desk) -> None:
    """P10: a command that guesses the next lease cannot forge the result of another job."""
    forged = Path(desk.spool.desk_path("w9.0"))
    forged.mkdir()
    (forged / "result").write_text("forged")
    other = Path(desk.spool.desk_path("w8.0"))
    other.symlink_to(forged)
    for worker in ("w8", "w9"):
        slot = Slot(desk.session, worker)
        slot.open()
        assert collect(slot) == NOTHING
        slot.close()


@posix_only
def test_many_names_and_deep_folders_are_left_to_a_sweep(slot: Slot, folder: Path, desk: Desk) -> None:
    """What cannot be deleted at once does not hold up the worker: the next run has another desk."""
    for number in range(100):
        (folder / f"junk{number}").touch()
    collect(slot)
    assert slot.desk.is_spoilt
    slot.renew(is_plain=True)
    slot.open()
    assert os.path.dirname(slot.desk.variables["QUEUECTL_RESULT"]) != str(folder)
    assert desks.remove(desk.spool, folder.name) and not folder.exists()


@posix_only
def test_a_closed_desk_spoils_no_other_run(slot: Slot, folder: Path) -> None:
    """P9: a command that takes all rights from its desk costs its own result, not the pool."""
    (folder / "result").write_text("x")
    folder.chmod(0)
    found = collect(slot)
    if os.getuid() != 0:  # root may do everything
        assert found.result_bytes is None and "could not be kept" in found.warnings[0]
    slot.renew(is_plain=True)
    slot.open()
    assert os.listdir(os.path.dirname(slot.desk.variables["QUEUECTL_RESULT"])) == []
    if folder.exists():
        folder.chmod(0o700)


@posix_only
def test_a_quiet_run_costs_one_fstat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker lists its desk only if the desk's time has changed, or may not have changed for a quick command."""
    clock = desk.session.clock
    assert isinstance(clock, FakeClock)
    made = DeskSlot(desk.session)
    made.open("w9.0")
    listed: list[object] = []
    names = files.names
    monkeypatch.setattr(files, "names", lambda path: listed.append(path) or names(path))
    assert not made.has_news(clock.monotonic()) and len(listed) == 1
    clock.advance(0.03)
    assert not made.has_news(clock.monotonic()) and len(listed) == 1
    Path(made.variables["QUEUECTL_RESULT"]).touch()
    os.utime(desk.spool.desk_path("w9.0"), (0, 0))  # a command can set this time, but not the time of the change
    assert made.has_news(clock.monotonic()) and len(listed) == 1
    made.close()
    assert not os.path.exists(desk.spool.desk_path("w9.0"))


def _tamper(how: str, path: Path) -> None:
    match how:
        case "nothing":
            pass
        case "overwritten":
            before = path.stat()
            path.write_bytes(b"two")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "longer":
            with path.open("ab") as opened:
                opened.write(b"x")
        case "deleted":
            path.unlink()
        case "replaced":
            path.unlink()
            path.write_bytes(b"one")
        case "a link":
            path.rename(path.parent / "moved")
            path.symlink_to("moved")
        case "a hard link":
            os.link(path, path.parent.parent / "other")
        case "closed":
            path.chmod(0)


@posix_only
@pytest.mark.parametrize(
    "how", ["nothing", "overwritten", "longer", "deleted", "replaced", "a link", "a hard link", "closed"]
)
def test_the_text_about_parents_stays_only_as_the_worker_made_it(slot: Slot, folder: Path, how: str) -> None:
    """P10: whatever one command does to it, the next one reads what the worker says."""
    path = Path(slot.desk.put_parents(b"one"))
    made = path.stat()
    _tamper(how, path)
    assert slot.desk.put_parents(b"one") == str(path)
    found = path.lstat()
    assert path.read_bytes() == b"one" and (found.st_mode, found.st_nlink) == (made.st_mode, 1)
    if how == "nothing":
        assert found.st_ino == made.st_ino
    slot.desk.put_parents(b"two")
    assert path.read_bytes() == b"two"
    slot.desk.take_parents()
    assert "parents.json" not in os.listdir(folder)


@posix_only
def test_a_child_that_gives_nothing_back_costs_no_listing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text about its parents is no news, but a result beside it is, also within the same step of the clock."""
    made = DeskSlot(desk.session)
    made.open("w9.0")
    listed: list[object] = []
    names = files.names
    monkeypatch.setattr(files, "names", lambda path: listed.append(path) or names(path))
    for number in range(3):
        started_s = desk.clock.monotonic()
        made.put_parents(b"one")
        assert not made.has_news(started_s) and len(listed) == 1, number
        desk.clock.advance(0.03)
    started_s = desk.clock.monotonic()
    made.put_parents(b"two")
    Path(made.variables["QUEUECTL_RESULT"]).touch()
    assert made.has_news(started_s)
    assert made.collect("a", 1, before=NOTHING) == Given(0)
    assert os.listdir(desk.spool.desk_path("w9.0")) == [] and not made.has_parents
    made.put_parents(b"two")
    made.close()
    assert not os.path.exists(desk.spool.desk_path("w9.0"))
