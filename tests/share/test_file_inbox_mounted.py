"""An inbox of files that itself lies on a mounted share: no events, old listings, servers that hang and die."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.pool import queuectl
from tests.share.rig import Samba, Sshd, mount_sshfs, pause
from tests.share.rig_nfs_webdav import WebDav, mount_rclone
from tests.share.scans import Scans

pytestmark = pytest.mark.share

SETTLE_S = 3.0
KINDS = ("sshfs", "smb", "webdav")


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    """An inbox of files."""
    return Scans(tmp_path)


@pytest.fixture(params=KINDS)
def mounted(request: pytest.FixtureRequest, scans: Scans, tmp_path: Path) -> Iterator[Path]:
    """The same inbox as workers see it that are on another machine than its disk."""
    with ExitStack() as stack:
        where = tmp_path / "mounted"
        if request.param == "sshfs":
            sshd = stack.enter_context(Sshd(str(scans.folder), tmp_path / "sshd"))
            stack.enter_context(mount_sshfs(sshd, str(scans.folder), where))
        elif request.param == "smb":
            samba = stack.enter_context(Samba(str(scans.folder), tmp_path / "samba"))
            stack.enter_context(mount_rclone(samba, where))
        else:
            webdav = stack.enter_context(WebDav("wsgidav", str(scans.folder), tmp_path / "webdav"))
            stack.enter_context(mount_rclone(webdav, where))
        scans.configure(path=where, settle_s=SETTLE_S)
        yield where


@pytest.fixture
def sshd(scans: Scans, tmp_path: Path) -> Iterator[Sshd]:
    """An sshd that leads into the inbox."""
    with Sshd(str(scans.folder), tmp_path / "sshd") as server:
        yield server


def test_files_on_a_mounted_inbox_are_processed_whole(scans: Scans, mounted: Path) -> None:
    """P1, P6: what is renamed, copied and written slowly at the server, and copied through the mount, runs once."""
    names = [f"{way}-{number}.pdf" for way in ("renamed", "copied", "through") for number in range(3)]
    with scans.pool():
        for name in names:
            body = scans.body(name)
            if name.startswith("through"):
                shutil.copyfile(body, mounted / name)
                continue
            part = scans.folder / (f"{name}.part" if name.startswith("renamed") else name)
            shutil.copyfile(body, part)
            os.rename(part, scans.folder / name)
        _write_slowly(scans, "slow.pdf", pause_s=0.5)
        scans.processed(*names, "slow.pdf")


def test_a_file_that_grows_behind_the_caches_of_a_mount_is_not_taken(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """P6: SSHFS repeats the facts of a file for 20 s; `settle_s` is shorter, the file is closed after each piece."""
    with mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted") as mounted:
        scans.configure(path=mounted, settle_s=SETTLE_S)
        with scans.pool():
            _write_slowly(scans, "slow.pdf", pause_s=0.7)
            scans.processed("slow.pdf")


def test_a_change_after_the_taking_is_reported_from_a_mount(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """P6: no program here has the file open, but another machine's may: that cannot be ruled out."""
    with mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted") as mounted:
        scans.configure(path=mounted, settle_s=SETTLE_S, max_retries=0)
        data = scans.body("open.pdf").read_bytes()
        with scans.pool() as pool:
            queuectl(scans.spool, "pause")
            with (scans.folder / "open.pdf").open("wb", buffering=0) as file:
                file.write(data[:-64])
                wait_until(lambda: scans.names("") == [] and scans.spool.job_names("pending"), 60)
                file.write(data[-64:])
            queuectl(scans.spool, "resume")
            wait_until(lambda: any("open.pdf changed after it was taken" in str(event) for event in pool.events), 30)


def test_a_share_that_hangs_stops_only_its_inbox(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """Jobs run and pools start and stop while the server stands still; when it goes on, the file runs once."""
    with mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted", "-o", "dir_cache=no") as mounted:
        scans.configure(path=mounted, settle_s=1.0)
        with scans.pool():
            wait_until(lambda: scans.state() is not None)
            with sshd.hanging():
                shutil.copyfile(scans.body("a.pdf"), scans.folder / "a.pdf")
                pause(3)
                queuectl(scans.spool, "enqueue", "--id", "meanwhile", "--command", "exit 0")
                wait_until(lambda: "meanwhile.json" in scans.spool.job_names("done"), 20)
                for words in (("status",), ("why", "a.pdf"), ("inbox", "list")):
                    queuectl(scans.spool, *words, check=False)
            scans.processed("a.pdf")
        with sshd.hanging():
            pause(2)  # the mount does not answer from its cache any more
            began_s = time.monotonic()
            pool = scans.pool()
            print(f"a pool starts after {time.monotonic() - began_s:.1f} s beside a share that hangs")
            queuectl(scans.spool, "enqueue", "--id", "again", "--command", "exit 0")
            wait_until(lambda: "again.json" in scans.spool.job_names("done"), 20)
            stopping_s = time.monotonic()
            pool.ask_to_stop()
            pool.process.wait(30)
            print(f"it stops after {time.monotonic() - stopping_s:.1f} s")
        pool.wait()


@pytest.mark.slow
def test_a_receiver_that_hangs_for_long_is_replaced(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """After 60 s without a sign of life it is killed and that is reported; another one goes on with the file."""
    with mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted") as mounted:
        scans.configure(path=mounted, settle_s=1.0)
        with scans.pool() as pool:
            wait_until(lambda: scans.state() is not None)
            with sshd.hanging():
                wait_until(lambda: any("has not answered for 60 s" in str(event) for event in pool.events), 100)
                shutil.copyfile(scans.body("a.pdf"), scans.folder / "a.pdf")
            scans.processed("a.pdf")


def test_a_server_that_dies_and_comes_back_loses_nothing(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """P1, P2: killed at any time, also while jobs run on its files; every file runs, whole, and ends in one folder."""
    names = [f"{number:02}.pdf" for number in range(40)]
    options = ("-o", "reconnect,ServerAliveInterval=1,ServerAliveCountMax=2")
    with mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted", *options) as mounted:
        scans.configure(path=mounted, settle_s=1.0, max_retries=20, settings="backoff_base = 1\n")
        with scans.pool():
            for number, name in enumerate(names):
                shutil.copyfile(scans.body(name), scans.folder / name)
                if number % 8 == 7:
                    wait_until(lambda least=number // 2: len(scans.names("done")) >= least, 60)
                    sshd.kill()
                    pause(1.5)
                    sshd.start()
            scans.processed(*names, again=True, timeout=120)


def test_a_mount_that_is_taken_away_and_comes_back(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """P1, P2: a job's file is on the share when that is unmounted; its end is settled when the share is back."""
    gate = scans.outside / "gate"
    code = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.05)"
    where = tmp_path / "mounted"
    with mount_sshfs(sshd, str(scans.folder), where):
        scans.configure(path=where, settle_s=1.0, command=[sys.executable, "-S", "-c", code, str(gate), "{file}"])
        pool = scans.pool()
        shutil.copyfile(scans.body("a.pdf"), scans.folder / "a.pdf")
        wait_until(lambda: scans.spool.job_names("running"))
    with pool:
        gate.touch()
        wait_until(lambda: scans.spool.job_names("done"))
        wait_until(lambda: (state := scans.state()) is not None and "mount the share" in state.trouble)
        where.rmdir()  # it is empty: the receiver made nothing there
        with mount_sshfs(sshd, str(scans.folder), where):
            wait_until(lambda: scans.names("done") == ["a.pdf"])
            assert scans.names("working") == [] and scans.names() == []
            assert sum(event["event"] == "started" for event in pool.events) == 1
            pool.ask_to_stop()
            pool.wait()


def test_the_server_side_of_a_mounted_inbox_may_delete_and_forbid(scans: Scans, sshd: Sshd, tmp_path: Path) -> None:
    """A file that vanishes while it settles is no job; one that the workers may not read waits, with its reason."""
    _log_in_as_nobody(sshd, scans)
    with mount_sshfs(sshd, str(scans.folder), tmp_path / "mounted") as mounted:
        scans.configure(path=mounted, settle_s=1.0)
        with scans.pool():
            for name in ("a.pdf", "gone.pdf", "secret.pdf"):
                shutil.copyfile(scans.body(name), scans.folder / name)
            os.chmod(scans.folder / "secret.pdf", 0)
            os.unlink(scans.folder / "gone.pdf")
            scans.wait_for_why("secret.pdf", "it cannot be taken: Permission denied")
            scans.processed("a.pdf", left=["secret.pdf"])
            os.chmod(scans.folder / "secret.pdf", 0o644)
            scans.processed("a.pdf", "secret.pdf")


def _log_in_as_nobody(sshd: Sshd, scans: Scans) -> None:
    """Let clients be a user of the server without the rights of root, who owns the inbox there."""
    if os.geteuid() != 0:
        pytest.skip("only root is let in as somebody else")
    config = sshd.client_config.read_text()
    sshd.client_config.write_text(config.replace("User root\n", "User nobody\n"))
    shutil.chown(scans.folder, "nobody")
    for above in (sshd.client_config.parent, *scans.folder.parents):
        if not above.stat().st_mode & 0o001:
            above.chmod(0o711)


def _write_slowly(scans: Scans, name: str, *, pause_s: float) -> None:
    """Write a file at the server in twenty pieces, and close it after each."""
    data = scans.body(name).read_bytes()
    for start in range(0, len(data), len(data) // 20):
        with (scans.folder / name).open("ab") as file:
            file.write(data[start : start + len(data) // 20])
        pause(pause_s)
