"""disk: each step at the disk either happened or did not."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.system import disk, files, libc, outputs

pytestmark = pytest.mark.usefixtures("earnest_syncs")
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX: links, FIFOs, modes, limits, moves while open")


@pytest.mark.parametrize("sync", [True, False])
def test_create_never_replaces(tmp_path: Path, sync: bool) -> None:
    """A new file is new (P7)."""
    path = tmp_path / "x"
    disk.create(str(path), b"one", sync=sync)
    with pytest.raises(FileExistsError):
        disk.create(str(path), b"two", sync=sync)
    assert path.read_bytes() == b"one"


@posix_only
def test_created_files_are_not_writable_by_others(tmp_path: Path) -> None:
    """Whatever the umask, nobody else may write our files (P10)."""
    old = os.umask(0)
    try:
        disk.create(str(tmp_path / "x"), b"", sync=False)
        disk.make_folder(str(tmp_path / "a" / "b"))
        os.close(disk.open_lock_file(str(tmp_path / "lock")))
        os.close(outputs.open_file(str(tmp_path / "out")))
    finally:
        os.umask(old)
    for name in ("x", "a", "a/b", "lock", "out"):
        assert not stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o022, name


def test_append_writes_from_the_offset(tmp_path: Path) -> None:
    """The old end is overwritten by the new one, in place (P4)."""
    path = tmp_path / "x"
    path.write_bytes(b"head-END")
    inode = path.stat().st_ino
    assert disk.append(str(path), (8, 5, b"more-END"), sync=True) == 13
    assert path.read_bytes() == b"head-more-END"
    assert path.stat().st_ino == inode


def test_append_to_a_file_that_changed_writes_nothing(tmp_path: Path) -> None:
    """A record that somebody edited is not written over blindly."""
    path = tmp_path / "x"
    path.write_bytes(b"head-edited-END")
    with pytest.raises(BlockingIOError):
        disk.append(str(path), (8, 5, b"more-END"), sync=False)
    assert path.read_bytes() == b"head-edited-END"


_FULL_DISK = """
import resource, signal, sys
from queuectl.system import disk
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, call, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
code = 1
try:
    if call == "append":
        disk.append(path, (1000, 990, b"y" * 490 + b"0123456789"), sync=False)
    else:
        disk.create(path, b"y" * 500, sync=True)
except OSError as error:
    code = 0 if error.errno == 27 else 2
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # a coverage run writes its data at the end
sys.exit(code)
"""


@posix_only
@pytest.mark.parametrize("room", [0, 1, 9, 10, 11, 300])
def test_append_without_room_leaves_the_file_as_it_was(tmp_path: Path, room: int) -> None:
    """A disk that takes a part of a write costs nothing that was there (P4, P9)."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 990 + b"0123456789")
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, str(path), "append", str(1000 + room)], check=False)
    assert done.returncode == 0
    assert path.read_bytes() == b"x" * 990 + b"0123456789"


@posix_only
@pytest.mark.parametrize("room", [0, 100])
def test_create_without_room_leaves_nothing(tmp_path: Path, room: int) -> None:
    """An enqueue that does not fit leaves no half file (P1)."""
    path = tmp_path / "x"
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, str(path), "create", str(room)], check=False)
    assert done.returncode == 0
    assert not path.exists()


def test_move_never_replaces(tmp_path: Path) -> None:
    """A name that is taken stays as it is, and so does what was to be moved (P7)."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"a")
    target.write_bytes(b"b")
    with pytest.raises(FileExistsError):
        disk.move(str(source), str(target))
    assert (source.read_bytes(), target.read_bytes()) == (b"a", b"b")
    target.unlink()
    disk.move(str(source), str(target))
    assert target.read_bytes() == b"a"
    assert not source.exists()


@posix_only
def test_move_never_replaces_a_dangling_link(tmp_path: Path) -> None:
    """A link that leads nowhere is a file of somebody's too (P7)."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        disk.move(str(tmp_path / "a"), str(tmp_path / "b"))


@posix_only
@pytest.mark.parametrize("taken", [True, False])
def test_move_on_a_file_system_without_the_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    """Where rename knows no "do not replace" (NFS, FUSE), it still replaces nothing (P7)."""
    import ctypes

    def unsupported(_source: bytes, _target: bytes) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(libc, "rename_no_replace", unsupported)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"a")
    if taken:
        target.write_bytes(b"b")
        with pytest.raises(FileExistsError):
            disk.move(str(source), str(target))
        assert target.read_bytes() == b"b"
    else:
        disk.move(str(source), str(target))
        assert target.read_bytes() == b"a"


@pytest.mark.skipif(sys.platform == "win32", reason="handles of folders are of POSIX")
@pytest.mark.parametrize("has_flag", [True, False])
def test_move_between_two_open_folders_goes_where_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_flag: bool
) -> None:
    """P7: by their handles, whatever their paths lead to later; a name that is taken is not replaced."""
    if not has_flag:
        import ctypes

        def unsupported(*_facts: object) -> int:
            ctypes.set_errno(errno.EINVAL)
            return -1

        monkeypatch.setattr(libc, "rename_no_replace", unsupported)
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "a").write_text("a")
    (tmp_path / "to" / "taken").write_text("b")
    source, target = (files.open_folder_in(str(tmp_path / name), at=None, to_list=True) for name in ("from", "to"))
    try:
        os.rename(tmp_path / "to", tmp_path / "elsewhere")
        (tmp_path / "to").mkdir()
        with pytest.raises(FileExistsError):
            disk.move("a", "taken", at=source, to=target)
        disk.move("a", "b", at=source, to=target)
    finally:
        os.close(source)
        os.close(target)
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["b", "taken"] and not os.listdir(tmp_path / "to")
    assert (tmp_path / "elsewhere" / "taken").read_text() == "b"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_a_folder_gets_exactly_its_mode(tmp_path: Path) -> None:
    """P10: working/ of an inbox is closed to others, and failed/ as open as the inbox, whatever the umask."""
    mask = os.umask(0o027)
    try:
        for mode in (0o700, 0o1777, 0o3770):
            disk.make_folder_in(str(tmp_path / oct(mode)), mode)
            assert stat.S_IMODE((tmp_path / oct(mode)).stat().st_mode) == mode
    finally:
        os.umask(mask)


def test_move_of_what_is_gone_says_so(tmp_path: Path) -> None:
    """Who comes second to a rename is told."""
    with pytest.raises(FileNotFoundError):
        disk.move(str(tmp_path / "a"), str(tmp_path / "b"))


def test_publish_never_replaces(tmp_path: Path) -> None:
    """A finished file takes a free name and no other (P7)."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"a")
    disk.publish(str(source), str(target))
    assert target.read_bytes() == b"a"
    assert not source.exists()
    source.write_bytes(b"c")
    with pytest.raises(FileExistsError):
        disk.publish(str(source), str(target))
    assert (source.read_bytes(), target.read_bytes()) == (b"c", b"a")


@posix_only
@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_publish_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A file system without hard links (FAT, some shares) publishes by a move that replaces nothing (P7)."""

    def no_links(_source: str, _target: str) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(disk.os, "link", no_links)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"a")
    disk.publish(str(source), str(target))
    assert target.read_bytes() == b"a"
    source.write_bytes(b"c")
    with pytest.raises(FileExistsError):
        disk.publish(str(source), str(target))


def test_unlink_tells_what_was_gone(tmp_path: Path) -> None:
    """Deleting twice is no error."""
    path = tmp_path / "x"
    path.write_bytes(b"")
    assert disk.unlink(str(path))
    assert not disk.unlink(str(path))
    disk.unlink_if_free(str(path))


def test_syncs_of_folders_and_files_raise_nothing(tmp_path: Path) -> None:
    """What can be synced is, on this file system too (P1)."""
    paths = []
    for name in "abc":
        disk.create(str(tmp_path / name), b"x", sync=False)
        paths.append(str(tmp_path / name))
    disk.sync_files(str(tmp_path), paths)
    disk.sync_folder(str(tmp_path))


@posix_only
def test_kept_handle_to_a_file_that_was_replaced_is_not_written_to(tmp_path: Path) -> None:
    """An editor saves by putting a new file in the place: what we would write to the old one, nobody would see (P2)."""
    path = tmp_path / "a"
    path.write_bytes(b"one\n ]\n}\n")
    fd, content = files.open_and_read(str(path), 100)
    try:
        new = tmp_path / "b"
        new.write_bytes(b"two\n ]\n}\n")
        os.replace(new, path)
        with pytest.raises(BlockingIOError):
            disk.append(str(path), (content.sig.size, 3, b",x\n ]\n}\n"), sync=False, fd=fd)
        assert path.read_bytes() == b"two\n ]\n}\n"
    finally:
        os.close(fd)


def test_syncs_one_by_one_where_there_is_no_syncfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without syncfs every single file is synced (P1)."""
    monkeypatch.setattr(libc, "handle", None)
    synced: list[int] = []
    monkeypatch.setattr(disk.os, "fsync", synced.append)
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    disk.sync_files(str(tmp_path), [str(tmp_path / "a"), str(tmp_path / "b")])
    assert len(synced) == 2


def test_output_is_appended_to(tmp_path: Path) -> None:
    """What a command and its children print never overwrites itself, and a new run starts empty."""
    path = tmp_path / "out"
    path.write_bytes(b"old")
    fd = outputs.open_file(str(path))
    other = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"one ")
    os.write(other, b"two ")
    os.write(fd, b"three")
    os.close(fd)
    os.close(other)
    assert path.read_bytes() == b"one two three"


@posix_only
def test_lock_file_is_not_made_through_a_link(tmp_path: Path) -> None:
    """A link in the place of a lock makes no file elsewhere (P10)."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        disk.open_lock_file(str(tmp_path / "lock"))
    assert not (tmp_path / "elsewhere").exists()
