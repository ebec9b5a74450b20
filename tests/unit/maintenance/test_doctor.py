"""An examination tells what is wrong with a spool's surroundings, and leaves everything as it was."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.maintenance import doctor, probes
from queuectl.maintenance.doctor import FAIL, OK, WARN, Line
from queuectl.model.lifecycle import DLQ
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, volume
from queuectl.system.clock import Clock
from queuectl.system.volume import LOCAL, MEMORY, NETWORK, REMOVABLE, SHARED, UNKNOWN, USERSPACE, Space, Volume

GB = 1024**3
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no mode bits")


def examine(spool: SpoolDir) -> dict[str, Line]:
    """All lines by name, which is unique."""
    lines = list(doctor.examine(spool, clock=Clock(), rng=random.Random(1), environment={}))
    assert len({line.name for line in lines}) == len(lines)
    return {line.name: line for line in lines}


def contents(spool: SpoolDir) -> set[str]:
    return {str(path) for path in Path(spool.root).rglob("*")}


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    def call(*_args: object, **_options: object) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(disk, name, call)


def test_a_good_spool_has_no_failure_and_is_left_as_it_was(spool: SpoolDir) -> None:
    """On the machine that tests queuectl every line is there, none fails, and no file is left or lost."""
    before = contents(spool)
    lines = examine(spool)
    assert [line for line in lines.values() if line.level == FAIL] == []
    assert set(lines) >= {probe.name for probe in probes.PROBES}
    assert all(line.hint for line in lines.values() if line.level != OK)
    assert contents(spool) == before


def test_no_state_folder_is_touched(spool: SpoolDir) -> None:
    """Nothing appears in the folders that a running pool looks at, not for an instant."""
    folders = [folder for folder in FOLDERS if not folder.endswith("tmp")]
    before = [os.stat(os.path.join(spool.root, folder)).st_mtime_ns for folder in folders]
    examine(spool)
    assert [os.stat(os.path.join(spool.root, folder)).st_mtime_ns for folder in folders] == before


def test_a_pool_that_holds_every_stripe_is_not_waited_for(spool: SpoolDir) -> None:
    """An examination takes no stripe, so it neither waits for a pool nor holds one up."""
    stripes = Stripes(spool)
    held = {id(stripe): stripe for stripe in (stripes.of(f"job{number}") for number in range(2000))}
    assert all(stripe.try_acquire() for stripe in held.values())
    try:
        assert [line for line in examine(spool).values() if line.level == FAIL] == []
    finally:
        stripes.close()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("call", ["make_folder", "create"])
def test_a_spool_that_cannot_be_written_is_a_line(
    spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    """A read-only, foreign or full spool is told as such, with a hint, and nothing more is tried."""
    refuse(monkeypatch, call, code)
    lines = examine(spool)
    assert lines["write"].level == FAIL
    assert os.strerror(code) in lines["write"].text
    assert lines["write"].hint
    assert "rename" not in lines


def test_what_cannot_be_deleted_is_named(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the scratch folder stays behind, its path is told."""
    refuse(monkeypatch, "remove_tree", errno.EACCES)
    line = examine(spool)["cleanup"]
    assert line.level == WARN
    assert spool.tmp_dir in line.text


def test_an_examination_that_is_cut_short_deletes_its_folder(spool: SpoolDir) -> None:
    """Ctrl-C in the middle leaves nothing behind."""
    lines = doctor.examine(spool, clock=Clock(), rng=random.Random(1), environment={})
    while next(lines).name != "create":
        pass
    assert os.listdir(spool.tmp_dir)
    lines.close()  # type: ignore[attr-defined]
    assert os.listdir(spool.tmp_dir) == []


def test_missing_folders_are_made(spool: SpoolDir) -> None:
    """A clone without empty folders is completed, as by every command."""
    shutil.rmtree(spool.folder(DLQ))
    line = examine(spool)["folders"]
    assert (line.level, DLQ in line.text) == (OK, True)
    assert os.path.isdir(spool.folder(DLQ))


def test_missing_folders_that_cannot_be_made_fail(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that cannot be completed is a line too."""
    shutil.rmtree(spool.folder(DLQ))
    refuse(monkeypatch, "make_folder", errno.EROFS)
    lines = examine(spool)
    assert lines["folders"].level == lines["one_file_system"].level == FAIL


def test_wrong_settings_fail_and_missing_ones_warn(spool: SpoolDir) -> None:
    """Workers do not start on a mistake in the settings; without a file the defaults count."""
    Path(spool.settings_path).write_text("max_retrys = 5\n", encoding="utf-8")
    line = doctor.settings_line(spool)
    assert line.level == FAIL
    assert "did you mean max_retries?" in line.text
    os.unlink(spool.settings_path)
    assert doctor.settings_line(spool).level == WARN


@posix
def test_a_spool_that_others_can_write_to_fails(spool: SpoolDir) -> None:
    """What workers would refuse (P10) is told before they do, with the command that closes it."""
    os.chmod(spool.folder(DLQ), 0o777)
    line = examine(spool)["trust"]
    assert line.level == FAIL
    assert "chmod" in line.hint


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/shm")
def test_a_folder_on_another_file_system_fails(spool: SpoolDir, tmp_path: Path) -> None:
    """A link that leads one folder to another disk breaks every move (P2)."""
    if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("the tests themselves are in /dev/shm")
    shutil.rmtree(spool.folder(DLQ))
    os.symlink("/dev/shm", spool.folder(DLQ))
    line = examine(spool)["one_file_system"]
    assert line.level == FAIL
    assert spool.folder(DLQ) in line.text


def test_a_mount_of_the_same_file_system_fails_too(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind mount has the same device number and still refuses renames; that shows by trying."""
    refuse(monkeypatch, "move", errno.EXDEV)
    assert doctor.one_file_system_line(spool).level == FAIL


@pytest.mark.parametrize("nature", [NETWORK, USERSPACE, REMOVABLE, MEMORY, SHARED, UNKNOWN])
def test_a_file_system_that_is_not_local_is_a_warning(nature: str) -> None:
    """Each nature that is known to make trouble is named, with what to do."""
    line = doctor.volume_line(Volume("xfs", "/mnt", nature))
    assert line.level == WARN
    assert "xfs at /mnt" in line.text
    assert line.hint
    assert line.measured == {"file_system": "xfs", "mounted_at": "/mnt", "nature": nature}


@pytest.mark.parametrize("kind", ["ext4", "overlay", "NTFS", ""])
def test_a_local_file_system_is_well(kind: str) -> None:
    """A local disk is as it should be."""
    assert doctor.volume_line(Volume(kind, "/", LOCAL)).level == OK


def test_a_sync_client_is_a_warning() -> None:
    """A sync client is named."""
    line = doctor.sync_line("OneDrive")
    assert (line.level, "OneDrive" in line.text) == (WARN, True)
    assert doctor.sync_line("").level == OK


@pytest.mark.parametrize(
    ("space", "level"),
    [
        (Space(100 * GB, 200 * GB, None, None), OK),
        (Space(6 * GB, 1000 * GB, 1_000_000, 2_000_000), OK),
        (Space(4 * GB, 1000 * GB, None, None), WARN),
        (Space(GB // 4, GB, None, None), WARN),
        (Space(100 * GB, 200 * GB, 5000, 2_000_000), WARN),
        (Space(1024, 200 * GB, None, None), FAIL),
        (Space(100 * GB, 200 * GB, 3, 2_000_000), FAIL),
        (Space(0, 0, None, None), FAIL),
    ],
)
def test_a_full_disk_is_told_by_bytes_and_by_files(space: Space, level: str) -> None:
    """Room is judged by what is left, in bytes and in files, whichever is scarcer (P9)."""
    assert doctor.space_line(space).level == level


@pytest.mark.parametrize(("limit", "level"), [(None, OK), (20_000, OK), (1024, OK), (200, WARN), (64, FAIL)])
def test_few_open_files_are_told(limit: int | None, level: str) -> None:
    """A small limit is told with the number of workers that it is enough for."""
    line = doctor.files_line(limit)
    assert line.level == level
    assert level == OK or line.hint


def test_space_that_cannot_be_counted_is_a_line(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call that fails is a warning."""

    def call(_path: str) -> Space:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(doctor.volume, "space", call)
    assert examine(spool)["space"].level == WARN


def test_an_old_python_fails() -> None:
    """A Python that is too old is told which one is needed."""
    line = doctor.python_line((3, 10, 1))
    assert (line.level, "3.11" in line.hint) == (FAIL, True)


@posix
@pytest.mark.parametrize(("uid", "level"), [(0, WARN), (65_000, OK)])
def test_root_is_a_warning(monkeypatch: pytest.MonkeyPatch, uid: int, level: str) -> None:
    """Workers of root run every job as root."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert doctor.user_line().level == level


def test_worst_is_the_worst() -> None:
    """One failure makes the whole a failure, one warning a warning."""
    ok, warn, fail = (Line("x", level, "") for level in (OK, WARN, FAIL))
    assert [doctor.worst(lines) for lines in ([ok], [ok, warn], [fail, warn, ok], [])] == [OK, WARN, FAIL, OK]


def test_a_pool_on_a_share_is_told_and_what_it_needs_is_tried_out(
    spool: SpoolDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a local disk nothing is looked at; elsewhere exclusive create, rename and locks are tried before jobs run."""

    def look() -> list[Line]:
        return doctor.before_start(spool, clock=Clock(), rng=random.Random(1))

    assert look() == []
    monkeypatch.setattr(volume, "of", lambda _path: Volume("fuse.sshfs", "/mnt", NETWORK))
    before = contents(spool)
    found = {line.name: line.level for line in look()}
    assert (found["file_system"], found["create"], found["rename"], found["locks"]) == (WARN, OK, OK, OK)
    assert "watch" not in found
    assert contents(spool) == before
    refuse(monkeypatch, "create", errno.EROFS)
    assert doctor.worst(look()) == FAIL


def test_a_lock_file_that_cannot_be_opened_is_a_line(spool: SpoolDir) -> None:
    """P9: doctor says which one and what to do, and takes no lock."""
    assert doctor.stripes_line(spool).level == OK
    os.mkdir(spool.stripe_path(7))
    line = doctor.stripes_line(spool)
    assert line.level == FAIL and spool.stripe_path(7) in line.text and "move away" in line.hint
