"""File servers on loopback over a spool's pending/: a Samba and an sshd of the test's own, started and ended here.

Nothing of the system's is used or changed: the settings, keys, accounts and ports are the test's. What a test started
it ends, by process id.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import pytest

from tests.helpers import wait_until
from tests.pool import children, command_line, is_running

SHARES_MD = Path(__file__).parents[2] / "docs" / "shares.md"
WRITER = Path(__file__).with_name("smb_writer.py")
PASSWORD = "quiet-harbour-7"


def need(program: str, package: str) -> str:
    """Where a program is; skips the test where it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(program, path=path)
    if found is None:
        pytest.skip(f"{program} is not here: install {package}")
    return found


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """True where a server takes connections."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def pause(seconds: float) -> None:
    """A wait of known length, where the length itself is what is tested."""
    threading.Event().wait(seconds)


# ----------------------------------------------------------------------------------------------------------- smb.conf


def document_section(name: str) -> list[str]:
    """The lines of one section of the smb.conf in docs/shares.md, its heading left out."""
    text = SHARES_MD.read_text(encoding="utf-8")
    block = text.split("```ini\n", 1)[1].split("```", 1)[0]
    section = block.split(f"[{name}]\n", 1)[1].split("\n[", 1)[0]
    return [line.strip() for line in section.splitlines() if line.strip()]


def jobs_section(pending: str, user: str) -> str:
    """The `[jobs]` section of the document, word for word but for the folder and the accounts of this machine."""
    here = {"path": pending, "force user": user, "valid users": user}
    lines = []
    for line in document_section("jobs"):
        key = line.partition("=")[0].strip()
        lines.append(f"  {key} = {here.pop(key)}" if key in here else f"  {line}")
    assert not here, f"docs/shares.md does not set {list(here)}"
    return "\n".join(["[jobs]", *lines, ""])


def global_section(folder: Path, port: int) -> str:
    """What lets a Samba run beside any other, from a folder of its own and for this machine only."""
    own = {
        "private dir": "private",
        "lock directory": "lock",
        "state directory": "state",
        "cache directory": "cache",
        "pid directory": "pid",
        "ncalrpc dir": "rpc",
    }
    for name in own.values():
        (folder / name).mkdir(mode=0o700, parents=True)
    lines = [f"{key} = {folder / name}" for key, name in own.items()]
    lines += [
        f"smb ports = {port}",
        "interfaces = 127.0.0.1/8",
        "bind interfaces only = yes",
        "disable netbios = yes",
        "disable spoolss = yes",
        "load printers = no",
        "map to guest = never",
        f"passdb backend = tdbsam:{folder / 'accounts.tdb'}",
        f"log file = {folder / 'smbd.log'}",
    ]
    return "\n".join(["[global]", *(f"  {line}" for line in lines), ""])


# ------------------------------------------------------------------------------------------------------------ servers


class Cable:
    """A network of its own (a namespace with a loopback) that can be cut: no FIN, no RST, nothing arrives."""

    def __init__(self) -> None:
        self._enter = need("nsenter", "util-linux")
        self._ip = need("ip", "iproute2")
        words = [need("unshare", "util-linux"), "--net", need("cat", "coreutils")]  # which ends with its input
        self._holder = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: self._is_apart() or self._holder.poll() is not None)
            if self._holder.poll() is not None:
                pytest.skip(f"no network namespace can be made here: {self._holder.communicate()[1].strip()}")
            self.mend()
        except BaseException:
            self.close()
            raise

    def _is_apart(self) -> bool:
        return os.readlink(f"/proc/{self._holder.pid}/ns/net") != os.readlink("/proc/self/ns/net")

    def words(self, *command: str) -> list[str]:
        """The command line that runs a command in there."""
        return [self._enter, "--target", str(self._holder.pid), "--net", *command]

    def listens(self, port: int) -> bool:
        """True where somebody in there takes connections."""
        rows = Path(f"/proc/{self._holder.pid}/net/tcp").read_text().splitlines()[1:]
        return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)

    def cut(self) -> None:
        """Pull it out."""
        subprocess.run(self.words(self._ip, "link", "set", "lo", "down"), check=True, timeout=10)

    def mend(self) -> None:
        """Put it in again."""
        subprocess.run(self.words(self._ip, "link", "set", "lo", "up"), check=True, timeout=10)

    def close(self) -> None:
        """Give the network up."""
        if self._holder.poll() is None:
            self._holder.communicate(timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Server:
    """A server process that stays in the foreground, so that its pid is known; behind a cable where one is given."""

    def __init__(self, command: list[str], port: int, log: Path, cable: Cable | None = None) -> None:
        self.port = port
        self._listens = answers if cable is None else cable.listens
        self._command = command if cable is None else cable.words(*command)
        self.log = log
        self.start()

    def start(self) -> None:
        """Start it, at first or again on the same port."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # smbd ends its whole process group when it ends
            )
        try:
            wait_until(lambda: self._listens(self.port) or self.process.poll() is not None, 15)
            assert self.process.poll() is None, "it ended at once"
        except AssertionError:
            self.stop()
            pytest.fail(f"{self._command[0]} does not start: {self.log.read_text(errors='replace')[-2000:]}")

    def kill(self) -> None:
        """SIGKILL to it and to what it started, as a power cut does."""
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop it and what it started, so that it answers nobody; it goes on afterwards."""
        stopped = self.family()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def family(self) -> list[int]:
        """The server and the processes it started, theirs too."""
        pids = [self.process.pid]
        for pid in pids:
            pids += [child for child in children(pid) if child not in pids]
        return pids

    def holders(self, path: str) -> list[int]:
        """Which of its processes have a file open."""
        return [pid for pid in self.family() if path in _open_files(pid)]

    def stop(self) -> None:
        """End it and what it started."""
        left = {pid: command_line(pid) for pid in self.family()}
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        for pid, line in left.items():
            if pid != self.process.pid and is_running(pid) and command_line(pid) == line:
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is not None:
            print("the server told:", self.log.read_text(errors="replace")[-2000:])


def _open_files(pid: int) -> list[str]:
    found = []
    try:
        for item in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.append(os.readlink(item))
            except OSError:
                continue
    except OSError:
        pass
    return found


class Samba(Server):
    """smbd with the `[jobs]` share of docs/shares.md over one folder."""

    def __init__(self, pending: str, folder: Path, cable: Cable | None = None) -> None:
        smbd = need("smbd", "samba")
        pdbedit = need("pdbedit", "samba")
        folder.mkdir()
        self.user = getpass.getuser()
        self.config = folder / "smb.conf"
        port = free_port()
        self.config.write_text(global_section(folder, port) + jobs_section(pending, self.user))
        subprocess.run(
            [pdbedit, "-s", str(self.config), "-a", "-t", "-u", self.user],
            input=f"{PASSWORD}\n{PASSWORD}\n",
            text=True,
            check=True,
            capture_output=True,
            timeout=30,
        )
        command = [smbd, "--foreground", "--no-process-group", "-s", str(self.config), "-l", str(folder)]
        super().__init__(command, port, folder / "out", cable)
        self._cable = cable
        self._login = folder / "login"
        self._login.write_text(f"username = {self.user}\npassword = {PASSWORD}\n")

    def smbclient(self, *commands: str) -> None:
        """Run commands in smbclient, each given as it would be typed."""
        done = subprocess.run(self.smbclient_words(*commands), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)

    def smbclient_words(self, *commands: str) -> list[str]:
        """The command line that does so."""
        words = [need("smbclient", "smbclient"), "//127.0.0.1/jobs", "-p", str(self.port), "-A", str(self._login)]
        return [*words, "-c", "; ".join(commands)]

    def writer(self, body: Path, name: str, *options: str) -> Writer:
        """A client of its own process that writes as Windows programs do; see smb_writer.py."""
        pytest.importorskip("smbprotocol", reason="smbprotocol is not here: pip install smbprotocol")
        words = [sys.executable, str(WRITER), str(self.port), self.user, PASSWORD, str(body), name, *options]
        return Writer(words if self._cable is None else self._cable.words(*words))


class Writer:
    """A running smb_writer.py or nfs_writer.py: it tells how far it is, and is told to go on, or killed."""

    def __init__(self, words: list[str]) -> None:
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.at: dict[str, int] = {}
        """When it told what, in monotonic nanoseconds."""
        self.untimed = 0
        """After `close`: how often it told since that a file's time could not be set."""

    def told(self, word: str) -> int:
        """Wait until it says so; when that was."""
        stream: IO[str] | None = self.process.stdout
        assert stream is not None
        for line in stream:
            kind, _, at = line.strip().partition(" ")
            self.at[kind] = int(at)
            if kind == word:
                return int(at)
        raise AssertionError(f"it ended with {self.process.wait(10)} before it was {word}")

    def close(self) -> None:
        """Let one that holds its file go on, wait for its end, and see that nothing failed."""
        told, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        self.untimed = told.count("untimed")

    def kill(self) -> None:
        """End it without a word, as a machine does that loses its power."""
        self.process.kill()
        self.process.communicate(timeout=10)


class Sshd(Server):
    """sshd for the user who runs the tests, by key."""

    def __init__(self, pending: str, folder: Path) -> None:
        sshd = need("sshd", "openssh-server")
        keygen = need("ssh-keygen", "openssh-client")
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # a started sshd wants it, empty
        for key in ("host", "client"):
            subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True, timeout=30)
        port = free_port()
        settings = [
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder / 'host'}",
            f"AuthorizedKeysFile {folder / 'client.pub'}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            f"Subsystem sftp internal-sftp -d {pending}",
        ]
        (folder / "sshd_config").write_text("\n".join([*settings, ""]))
        self.pending = pending
        self.client_config = folder / "ssh_config"
        client = [
            "Host jobs",
            "HostName 127.0.0.1",
            f"Port {port}",
            f"User {getpass.getuser()}",
            f"IdentityFile {folder / 'client'}",
            "IdentitiesOnly yes",
            "BatchMode yes",
            "LogLevel ERROR",
            "StrictHostKeyChecking no",
            f"UserKnownHostsFile {folder / 'known'}",
        ]
        self.client_config.write_text("\n".join([*client, ""]))
        super().__init__([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], port, folder / "out")

    def sftp(self, *commands: str, kbit_s: int = 0) -> subprocess.Popen[str]:
        """Start sftp with these commands, slowed down to so many kilobits a second where asked to."""
        words = [need("sftp", "openssh-client"), "-F", str(self.client_config), "-b", "-"]
        words += ["-l", str(kbit_s)] if kbit_s else []
        process = subprocess.Popen(
            [*words, "jobs"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        process.stdin.write("\n".join([*commands, ""]))
        process.stdin.close()
        process.stdin = None
        return process

    def scp(self, *words: str) -> subprocess.Popen[str]:
        """Start scp; the target is `jobs:NAME`."""
        return self._start(need("scp", "openssh-client"), "-F", str(self.client_config), *words)

    def rsync(self, *words: str) -> subprocess.Popen[str]:
        """Start rsync over ssh; the target is `jobs:PATH`."""
        return self._start(need("rsync", "rsync"), "-e", f"ssh -F {self.client_config}", *words)

    @staticmethod
    def _start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def mount_sshfs(sshd: Sshd, path: str, folder: Path, *options: str) -> Iterator[Path]:
    """A folder of the server, mounted with SSHFS as on a producer's machine."""
    folder.mkdir()
    words = [need("sshfs", "sshfs"), "-F", str(sshd.client_config), f"jobs:{path}", str(folder), *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0 or not os.path.ismount(folder):
        pytest.skip(f"SSHFS cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([need("fusermount3", "fuse3"), "-u", str(folder)], timeout=30, check=True)


def finished(process: subprocess.Popen[str], *allowed: int, timeout: float = 60) -> None:
    """Wait until a client has ended, and see that nothing failed, or only with an allowed exit code."""
    _, errors = process.communicate(timeout=timeout)
    assert process.returncode in (0, *allowed), errors
    if process.returncode:
        print(f"the client ended with {process.returncode}: {errors.strip()}")
