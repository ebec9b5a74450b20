"""files: what is read is a regular file, whole, and nobody is waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl.system import files

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX: links, FIFOs, modes, limits, moves while open")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")


def test_read_gives_content_and_signature(tmp_path: Path) -> None:
    """A read tells what tells this version from the next."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    content = files.read(str(path), 10)
    assert (content.data, content.links, content.oversize) == (b"abc", 1, False)
    assert content.sig == files.sig_of(str(path))
    path.write_bytes(b"abcd")
    assert content.sig != files.sig_of(str(path))


@linux_only
def test_a_writer_is_seen_for_as_long_as_it_has_the_file_open(tmp_path: Path) -> None:
    """Open for writing is told with the time of the last change; open for reading, closed and missing are nothing."""
    path = tmp_path / "x"
    assert files.written_at(str(path)) is None
    with path.open("wb", buffering=0) as file:
        file.write(b"abc")
        assert files.written_at(str(path)) == os.stat(path).st_ctime
        os.utime(path, (0, 4_260_000_000))  # a time of 2105, as NFS clients leave for an instant
        assert files.written_at(str(path)) == os.stat(path).st_ctime < 4_260_000_000
    with path.open("rb"):
        assert files.written_at(str(path)) is None


@linux_only
def test_a_writer_that_comes_while_we_ask_costs_neither_of_us_anything(tmp_path: Path) -> None:
    """The signal that a broken lease sends ends nobody, and the writer's open goes through."""
    path = tmp_path / "x"
    path.write_bytes(b"")
    code = f"for _ in range(1500): open({str(path)!r}, 'ab').close()"
    started = time.monotonic()
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as writer:
        while writer.poll() is None:
            files.written_at(str(path))
    assert writer.returncode == 0
    assert time.monotonic() - started < 40  # a lease that was kept holds a writer up for 45 s


def test_read_of_a_large_file_reads_nothing(tmp_path: Path) -> None:
    """A sparse file of many gigabytes costs no memory (P6)."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(8 << 30)
    content = files.read(str(path), 1000)
    assert content.oversize
    assert content.data == b""


def test_read_up_to_the_limit(tmp_path: Path) -> None:
    """A file of exactly the limit is read."""
    path = tmp_path / "x"
    path.write_bytes(b"x" * 1000)
    assert len(files.read(str(path), 1000).data) == 1000
    assert files.read(str(path), 999).oversize


@posix_only
@pytest.mark.parametrize("kind", ["folder", "link", "dangling", "fifo", "socket", "null"])
def test_read_of_what_is_no_regular_file_raises_at_once(tmp_path: Path, kind: str) -> None:
    """A link is not followed, a FIFO and a device are not waited for (P11)."""
    path = tmp_path / "x.json"
    target = tmp_path / "target"
    target.write_bytes(b"secret")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path = Path(os.devnull)
    with pytest.raises(files.NotRegularError):
        files.read(str(path), 1000)


def test_read_of_a_missing_file_says_so(tmp_path: Path) -> None:
    """A file that is gone is told apart from one that cannot be read."""
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "x"), 10)
    assert files.sig_of(str(tmp_path / "x")) is None
    assert files.sig_of(str(tmp_path / "x" / "y")) is None


def test_tail_is_the_end_of_the_file(tmp_path: Path) -> None:
    """Only the end of a long file is read."""
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    assert files.read_tail(str(path), 4) == b"6789"
    assert files.read_tail(str(path), 99) == b"0123456789"


@posix_only
def test_open_and_read_waits_for_nobody_and_takes_regular_files_only(tmp_path: Path) -> None:
    """A link, a folder or a FIFO in the place of a record is a foreign file (P11)."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    for name in ("fifo", "folder", "link"):
        with pytest.raises(files.NotRegularError):
            files.open_and_read(str(tmp_path / name), 100)
    before = len(os.listdir("/dev/fd"))
    fd, content = files.open_and_read(str(tmp_path / "file"), 0)
    os.close(fd)
    assert content.oversize and content.data == b""
    assert len(os.listdir("/dev/fd")) == before
