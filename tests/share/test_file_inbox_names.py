"""What shares put into an inbox of files: odd names, names of clients, and files of four gigabytes."""

from __future__ import annotations

import http.client
import os
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import children, queuectl
from tests.share.nfs_writer import Export
from tests.share.rig import PASSWORD, Samba, Sshd, mount_sshfs
from tests.share.rig_nfs_webdav import Ganesha, WebDav
from tests.share.scans import Scans
from tests.share.test_names import UNFINISHED

pytestmark = pytest.mark.share

# Every protocol can carry these.
ODD = (
    "a b  c.pdf",
    "-rf.pdf",
    "--output=x.pdf",
    "{file}.pdf",
    "{{x}}.pdf",
    "$(touch x);`id`&.pdf",
    "it's.pdf",
    "%PATH%%2e%2e.pdf",
    "100%.pdf",
    "a#b,c=d;e.pdf",
    "Straße ümläut.pdf",
    "u\u0308 decomposed.pdf",
    "日本語 файл.pdf",
    "emoji 😀.pdf",
    "right \u202e to left.pdf",
    "zero\u200bwidth\ufeff.pdf",
    "x" * 230 + ".pdf",
    "é" * 110 + ".pdf",
    "no ending",
    "UPPER.PDF",
    "a.b.c.pdf",
    "con.pdf",
    "nul",
    "working.pdf",
    "a.failed.pdf",
    "[x].pdf",
)
# Windows has no such names; POSIX clients do.
POSIX_ONLY = (
    'quo"te.pdf',
    "a:b.pdf",
    "a*b?.pdf",
    "<a|b>.pdf",
    "back\\slash.pdf",
    "dot at the end.",
    "space at the end ",
)
# No command gets these: they stay, with the reason.
REFUSED = ("line\nfeed.pdf", "bell\x07.pdf", os.fsdecode(b"not utf-8 \xff\xfe.pdf"), "\x1b[31mred.pdf")

Put = Callable[[str, bytes], None]


@contextmanager
def _smb(scans: Scans, folder: Path) -> Iterator[Put]:
    smbclient = pytest.importorskip("smbclient", reason="smbprotocol is not here: pip install smbprotocol")
    with Samba(str(scans.folder), folder) as samba:
        login = {"port": samba.port, "username": samba.user, "password": PASSWORD}
        cache: dict[str, object] = {}

        def put(name: str, data: bytes) -> None:
            with smbclient.open_file(
                rf"\\127.0.0.1\jobs\{name}", mode="wb", share_access="rwd", connection_cache=cache, **login
            ) as file:
                file.write(data)

        yield put
        smbclient.reset_connection_cache(connection_cache=cache)


@contextmanager
def _sshfs(scans: Scans, folder: Path) -> Iterator[Put]:
    with Sshd(str(scans.folder), folder) as sshd, mount_sshfs(sshd, str(scans.folder), folder / "mounted") as mounted:

        def put(name: str, data: bytes) -> None:
            (mounted / name).write_bytes(data)

        yield put


@contextmanager
def _nfs(scans: Scans, folder: Path) -> Iterator[Put]:
    import ctypes

    with Ganesha(str(scans.folder), folder) as server:
        export = Export(server.port)

        def put(name: str, data: bytes) -> None:
            handle = ctypes.c_void_p()
            path = b"/" + os.fsencode(name)
            export.call("create", path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644, ctypes.byref(handle))
            for start in range(0, len(data), 2048):
                piece = data[start : start + 2048]
                export.call("pwrite", handle, ctypes.c_uint64(start), ctypes.c_uint64(len(piece)), piece)
            export.call("close", handle)

        yield put


@contextmanager
def _webdav(scans: Scans, folder: Path) -> Iterator[Put]:
    with WebDav("wsgidav", str(scans.folder), folder) as server:

        def put(name: str, data: bytes) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("PUT", "/" + urllib.parse.quote(os.fsencode(name)), body=data)
            status = connection.getresponse().status
            connection.close()
            assert status in (200, 201, 204), (name, status)

        yield put


@pytest.mark.parametrize("protocol", ["smb", "sshfs", "nfs", "webdav"])
def test_files_of_odd_names_are_processed_under_their_names(scans: Scans, tmp_path: Path, protocol: str) -> None:
    """P2, P10: a name is a word of the command and nothing else; what no command may get stays, with its reason."""
    ways = {"smb": _smb, "sshfs": _sshfs, "nfs": _nfs, "webdav": _webdav}
    names = [*ODD, *(POSIX_ONLY if protocol in ("sshfs", "nfs") else ())]
    refused = [name for name in REFUSED if protocol == "sshfs"]
    with scans.pool() as pool:
        with ways[protocol](scans, tmp_path / "server") as put:  # at its end nfs-ganesha closes the files
            for name in (*names, *refused):
                put(name, scans.body(name).read_bytes())
        scans.processed(*names, left=refused)
        wait_until(lambda: (state := scans.state()) is not None and state.rejected == len(refused))
        queuectl(scans.spool, "status")
    assert not (scans.folder / "x").exists()
    assert [event for event in pool.events if event.get("level") == "warning"] == []


def test_names_that_clients_use_meanwhile_are_left_alone(scans: Scans, tmp_path: Path) -> None:
    """P11: also with `match = ["*"]`, whatever the ending of the file that is being written."""
    names = {name.replace(".json", ".pdf") for kind in UNFINISHED.values() for name in kind}
    # Whole files of other kinds: a link of Windows' desktop, and the name that vim tries for an instant.
    names -= {"job.pdf.lnk", "4913"}
    for name in names:
        (scans.folder / name).write_bytes(scans.body(name).read_bytes())
    (scans.folder / "job.pdf").write_bytes(scans.body("job.pdf").read_bytes())
    with scans.pool():
        scans.processed("job.pdf", left=names)
        wait_until(lambda: (state := scans.state()) is not None and state.left_alone == len(names))


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    """An inbox of files of any name."""
    found = Scans(tmp_path)
    found.configure(match=["*"])
    return found


FOUR_GB = 4 * 1024**3 + 4096


@pytest.mark.parametrize("protocol", ["smb", "sshfs", "nfs"])
def test_a_file_of_four_gigabytes_costs_no_memory_and_stops_no_other(
    scans: Scans, tmp_path: Path, protocol: str
) -> None:
    """P9: nothing of it is read, and a small file that comes meanwhile is processed."""
    code = "import os, sys; print(os.path.getsize(sys.argv[1]))"
    scans.configure(command=[sys.executable, "-S", "-c", code, "{file}"], match=["*"])
    with ExitStack() as stack:
        if protocol == "smb":
            smbclient = pytest.importorskip("smbclient", reason="smbprotocol is not here: pip install smbprotocol")
            samba = stack.enter_context(Samba(str(scans.folder), tmp_path / "server"))
        elif protocol == "sshfs":
            sshd = stack.enter_context(Sshd(str(scans.folder), tmp_path / "server"))
            mounted = stack.enter_context(mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted"))
        else:
            ganesha = stack.enter_context(Ganesha(str(scans.folder), tmp_path / "server"))
        pool = stack.enter_context(scans.pool())
        wait_until(lambda: scans.state() is not None)
        (receiver,) = (pid for pid in children(pool.pid) if _holds_lock(pid, scans))
        before_kib = _peak_kib(receiver)
        if protocol == "smb":
            login = {"port": samba.port, "username": samba.user, "password": PASSWORD}
            with smbclient.open_file(r"\\127.0.0.1\jobs\big.iso", mode="wb", share_access="rwd", **login) as file:
                file.truncate(FOUR_GB)
                file.seek(FOUR_GB - 4096)
                file.write(b"x" * 4096)
                _small_one(scans)
        elif protocol == "sshfs":
            with (mounted / "big.iso").open("wb") as file:
                file.truncate(FOUR_GB)
                file.seek(FOUR_GB - 4096)
                file.write(b"x" * 4096)
                file.flush()
                _small_one(scans)
        else:
            ganesha.copy(scans.body("big.iso", 1000), "big.iso.part")
            Export(ganesha.port).call("truncate", b"/big.iso.part", _u64(FOUR_GB))
            _small_one(scans)
            Export(ganesha.port).call("rename", b"/big.iso.part", b"/big.iso")
            ganesha.stop()  # it keeps files open
        wait_until(lambda: scans.names("done") == ["big.iso", "small.pdf"])
        grown_kib = _peak_kib(receiver) - before_kib
        assert (scans.folder / "done" / "big.iso").stat().st_size == FOUR_GB
        print(f"{protocol}: the receiver's memory grew by {grown_kib} KiB")
        assert grown_kib < 20_000


def _u64(value: int) -> object:
    import ctypes

    return ctypes.c_uint64(value)


def _small_one(scans: Scans) -> None:
    part = scans.folder / "small.pdf.part"
    part.write_bytes(b"small")
    part.rename(scans.folder / "small.pdf")
    wait_until(lambda: scans.names("done") == ["small.pdf"], 30)


def _holds_lock(pid: int, scans: Scans) -> bool:
    """Whether a process is the receiver: it has the lock of the inbox open."""
    try:
        return any(
            os.readlink(item).endswith(".lock") and scans.spool.inbox_dir in os.readlink(item)
            for item in Path(f"/proc/{pid}/fd").iterdir()
        )
    except OSError:
        return False


def _peak_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])
