"""Hundreds of files at once through real servers, in the ways of real clients, while all processes are killed.

Without NFS: nfs-ganesha keeps each file open for writing, and so each would wait until the server ends.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import file_sender
from tests.e2e.test_file_inboxes import storm
from tests.helpers import LONG, make_spool
from tests.share.rig import PASSWORD, Samba, Sshd, finished, need, pause
from tests.share.rig_nfs_webdav import WebDav

pytestmark = [pytest.mark.share, pytest.mark.slow, pytest.mark.timeout(900)]

FILES = 504
# curl's "the server refused it": it looks for the file once more after it has renamed it. The job may be quicker.
GONE = 22


class Clients:
    """Real clients of real servers, of each kind one at a time."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._box, self._outside = folder / "in" / "plain", folder / "outside"
        self._outside.mkdir()
        self._smb: Any = pytest.importorskip("smbclient", reason="smbprotocol is not here: pip install smbprotocol")
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self.ways: dict[str, Callable[[str, Path], None]] = {
            "byte by byte": self._byte_by_byte,
            "rename": self._local,
            "plain": self._local,
            "marker": self._local,
        }
        self._samba = stack.enter_context(Samba(str(self._box), folder / "samba"))
        self.ways |= {"smb explorer": self._explorer, "smb put": self._smbclient, "smb rename": self._smbclient}
        self._sshd = stack.enter_context(Sshd(str(self._box), folder / "sshd"))
        need("rsync", "rsync")
        self.ways |= {"sftp": self._sftp, "sftp rename": self._sftp, "rsync": self._rsync, "rsync inplace": self._rsync}
        self._webdav = stack.enter_context(WebDav("rclone", str(self._box), folder / "webdav"))
        self.ways |= {"webdav": self._by_webdav, "webdav move": self._by_webdav}
        self._marked = folder / "in" / "marked"

    def send(self, _folder: str, name: str, way: str) -> None:
        """Send one file."""
        body = self._outside / name
        body.write_bytes(file_sender.content(name))
        if way == "byte by byte":
            self.ways[way](name, body)
        else:
            with self._locks[way]:
                self.ways[way](name, body)

    def _local(self, name: str, _body: Path) -> None:
        way = name.split(" ")[0]
        file_sender.send(str(self._marked if way == "marker" else self._box), name, way)

    def _byte_by_byte(self, name: str, body: Path) -> None:
        """Over ten seconds, by a program that keeps its file open."""
        data = body.read_bytes()
        with (self._box / name).open("wb", buffering=0) as file:
            file.write(data[:-500])
            for byte in data[-500:]:
                file.write(bytes([byte]))
                pause(0.02)

    def _explorer(self, name: str, body: Path) -> None:
        """The whole length first, then the bytes, then the time of the source, all by one handle."""
        from tests.share.smb_writer import set_time

        data = body.read_bytes()
        login = {"port": self._samba.port, "username": self._samba.user, "password": PASSWORD}
        file = self._smb.open_file(rf"\\127.0.0.1\jobs\{name}", mode="wb", buffering=0, share_access="rwd", **login)
        with file:
            file.truncate(len(data))
            file.seek(0)
            for start in range(0, len(data), 2048):
                file.write(data[start : start + 2048])
                pause(0.1)
            set_time(file)

    def _smbclient(self, name: str, body: Path) -> None:
        part = f"{name}.part"
        renamed = (f'put "{body}" "{part}"', f'rename "{part}" "{name}"')
        self._samba.smbclient(*(renamed if "rename" in name else (f'put "{body}" "{name}"',)))

    def _sftp(self, name: str, body: Path) -> None:
        part = f"{name}.filepart"
        renamed = (f'put "{body}" "{part}"', f'rename "{part}" "{name}"')
        finished(self._sshd.sftp(*(renamed if "rename" in name else (f'put "{body}" "{name}"',))))

    def _rsync(self, name: str, body: Path) -> None:
        options = ["--inplace"] if "inplace" in name else []
        finished(self._sshd.rsync("-t", "-s", *options, str(body), f"jobs:{self._box}/"))

    def _by_webdav(self, name: str, body: Path) -> None:
        there = name.replace(" ", "%20")
        if "move" in name:
            finished(self._webdav.put(body, f"{there}.tmp"))
            finished(self._webdav.move(f"{there}.tmp", there), GONE)
        else:
            finished(self._webdav.put(body, there))


def test_a_storm_of_files_by_real_clients_with_kills(tmp_path: Path) -> None:
    """P1, P2, P4: each file is processed whole, once, and again only after a kill; none is lost, none half."""
    for name in ("plain", "marked"):
        (tmp_path / "in" / name).mkdir(parents=True)
    with ExitStack() as stack:
        clients = Clients(tmp_path, stack)
        each = -(-int(FILES * LONG) // len(clients.ways))
        sent = [(f"{way} {number:03}.pdf", way) for number in range(each) for way in clients.ways]
        print(storm(make_spool(tmp_path / "spool"), tmp_path, sent, clients.send, producers=24))
