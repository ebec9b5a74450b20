"""More file servers on loopback, as in rig: an NFSv4 server in user space, two WebDAV servers, and mounts by rclone."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.share.rig import PASSWORD, Samba, Server, Writer, free_port, need

NFS_WRITER = Path(__file__).with_name("nfs_writer.py")


class Ganesha(Server):
    """nfs-ganesha with one NFSv4 export, `/jobs`, over one folder. No kernel's server, no rpcbind."""

    def __init__(self, pending: str, folder: Path) -> None:
        program = need("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs")
        need("nfs-cp", "libnfs-utils")
        if ctypes.util.find_library("nfs") is None and not _loads("libnfs.so.13"):
            pytest.skip("libnfs is not here: install libnfs13")
        if os.geteuid() != 0:
            pytest.skip("nfs-ganesha opens files by handle, which needs root")
        (folder / "recovery").mkdir(parents=True)
        port = free_port()
        config = folder / "ganesha.conf"
        config.write_text(
            f"""
            NFS_CORE_PARAM {{
                NFS_Port = {port}; MNT_Port = {free_port()}; NLM_Port = {free_port()};
                Bind_addr = 127.0.0.1; Protocols = 4;
                Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
                mount_path_pseudo = true;
            }}
            NFSV4 {{
                Graceless = true; RecoveryBackend = fs; RecoveryRoot = {folder / "recovery"};
                Only_Numeric_Owners = true; Minor_Versions = 0, 1, 2;
            }}
            EXPORT {{
                Export_Id = 1; Path = {pending}; Pseudo = /jobs; Access_Type = RW; Squash = No_Root_Squash;
                SecType = sys; Transports = TCP; Protocols = 4; PrivilegedPort = false; Attr_Expiration_Time = 0;
                FSAL {{ Name = VFS; }}
            }}
            LOG {{ Default_Log_Level = EVENT; }}
            """
        )
        # -F: it stays in the foreground.
        words = [program, "-F", "-f", str(config), "-L", "/dev/stdout", "-p", str(folder / "pid")]
        super().__init__(words, port, folder / "out")

    def url(self, name: str) -> str:
        """Where libnfs' own programs find a file."""
        return f"nfs://127.0.0.1/jobs/{name}?nfsport={self.port}&version=4&auto-traverse-mounts=0"

    def copy(self, body: Path, name: str) -> None:
        """Copy a file with nfs-cp, which writes in place (that of libnfs 4.0 can do so with up to 3,000 bytes)."""
        words = [need("nfs-cp", "libnfs-utils"), str(body), self.url(name)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)

    def writer(self, body: Path, name: str, *options: str) -> Writer:
        """A client of its own process; see nfs_writer.py."""
        return Writer([sys.executable, str(NFS_WRITER), str(self.port), str(body), name, *options])


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class WebDav(Server):
    """A WebDAV server over one folder: rclone's, or wsgidav."""

    def __init__(self, kind: str, pending: str, folder: Path) -> None:
        self._curl = need("curl", "curl")
        folder.mkdir()
        port = free_port()
        if kind == "rclone":
            words = [need("rclone", "rclone"), "--config", str(folder / "rclone.conf")]
            words += ["serve", "webdav", pending, "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"]
        else:
            pytest.importorskip("wsgidav", reason="wsgidav is not here: pip install wsgidav cheroot")
            words = [sys.executable, "-m", "wsgidav.server.server_cli", "--host", "127.0.0.1", "--port", str(port)]
            words += ["--root", pending, "--auth", "anonymous", "--no-config"]
        super().__init__(words, port, folder / "out")

    def url(self, name: str) -> str:
        """Where a file is put."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def curl(self, *words: str) -> subprocess.Popen[str]:
        """Start curl; what the server refuses is an error."""
        line = [self._curl, "--silent", "--show-error", "--fail", *words]
        return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def put(self, body: Path, name: str, *options: str) -> subprocess.Popen[str]:
        """Start to put a file."""
        return self.curl(*options, "--upload-file", str(body), self.url(name))

    def move(self, source: str, target: str) -> subprocess.Popen[str]:
        """Start to rename a file."""
        return self.curl("--request", "MOVE", "--header", f"Destination: {self.url(target)}", self.url(source))


@contextlib.contextmanager
def mount_rclone(server: Samba | WebDav, folder: Path, *options: str) -> Iterator[Path]:
    """The share of a server, mounted with rclone. By default its listings are at most a second old."""
    rclone = need("rclone", "rclone")
    need("fusermount3", "fuse3")
    if isinstance(server, Samba):
        made = subprocess.run([rclone, "obscure", PASSWORD], capture_output=True, text=True, check=True, timeout=30)
        remote = f":smb,host=127.0.0.1,port={server.port},user={server.user},pass={made.stdout.strip()}:jobs"
    else:
        remote = f":webdav,url='{server.url('')}',vendor=other:"
    folder.mkdir()
    log = folder.with_name(f"{folder.name}.log")
    words = [rclone, "--config", str(folder.with_name("rclone.conf")), "mount", remote, str(folder)]
    words += ["--dir-cache-time", "1s", "--attr-timeout", "0s", "--vfs-cache-mode", "off", "--log-file", str(log)]
    process = subprocess.Popen([*words, *options], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: os.path.ismount(folder) or process.poll() is not None, 20)
        if not os.path.ismount(folder):
            pytest.skip(f"rclone cannot mount here: {log.read_text(errors='replace')[-500:]}")
        yield folder
    finally:
        if os.path.ismount(folder):
            subprocess.run([need("fusermount3", "fuse3"), "-u", "-z", str(folder)], timeout=30, check=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait(10)
