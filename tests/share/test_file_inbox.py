"""An inbox of files on the server's disk: producers come through Samba, SSH, NFS and WebDAV.

A file is processed whole and once. A client that dies in the middle of writing in place leaves half a file: no system
can tell it from a whole one, so it is taken after `settle_s` and its command decides. One that writes under a temporary
name and renames leaves nothing that is taken.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import wait_until
from tests.share.rig import Samba, Sshd, finished, need, pause
from tests.share.rig_nfs_webdav import Ganesha, WebDav
from tests.share.scans import Scans

pytestmark = pytest.mark.share

WRITER = "a program has it open for writing"
# So long that only a rename, which needs no quiet time, can be the proof.
NEVER_S = 600.0
# curl's "the server refused it": wsgidav looks for a file once more after it has renamed it. The job may be quicker.
GONE = 22
SLOW_KBIT_S = 400  # 50 KB/s
RSYNC_SETTLE_S = 4.0  # held back by --bwlimit, rsync writes in bursts with a second and more between them


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    """An inbox of files."""
    return Scans(tmp_path)


@pytest.fixture
def samba(scans: Scans, tmp_path: Path) -> Iterator[Samba]:
    """A Samba over it."""
    with Samba(str(scans.folder), tmp_path / "samba") as server:
        yield server


@pytest.fixture
def sshd(scans: Scans, tmp_path: Path) -> Iterator[Sshd]:
    """An sshd that leads into it."""
    with Sshd(str(scans.folder), tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def nfs(scans: Scans, tmp_path: Path) -> Iterator[Ganesha]:
    """An NFSv4 server over it."""
    with Ganesha(str(scans.folder), tmp_path / "ganesha") as server:
        yield server


@pytest.fixture(params=["rclone", "wsgidav"])
def webdav(request: pytest.FixtureRequest, scans: Scans, tmp_path: Path) -> Iterator[WebDav]:
    """A WebDAV server over it, of two kinds."""
    with WebDav(request.param, str(scans.folder), tmp_path / "webdav") as server:
        yield server


# ---------------------------------------------------------------------------------------------------------------- SMB


@pytest.mark.parametrize("how", ["plain", "explorer"])
def test_files_written_in_place_by_smb_are_processed_whole(scans: Scans, samba: Samba, how: str) -> None:
    """P1, P6: also with the full length of NULs from the start, and with pauses longer than `settle_s` while open."""
    with scans.pool():
        slow = samba.writer(scans.body("slow.pdf", 150_000), "slow.pdf", "--how", how, "--rate", "50000")
        stops = samba.writer(scans.body("stops.pdf", 90_000), "stops.pdf", "--how", how, "--stop-at", "40960")
        samba.smbclient(*[f'put "{scans.body(name)}" {name}' for name in ("a.pdf", "b.pdf", "c.pdf")])
        stops.told("stopped")
        scans.wait_for_why("stops.pdf", WRITER)
        pause(3 * 1.0)
        stops.close()
        slow.close()
        scans.processed("a.pdf", "b.pdf", "c.pdf", "slow.pdf", "stops.pdf")
    assert not slow.untimed and not stops.untimed


def test_a_file_renamed_by_smb_is_taken_at_once(scans: Scans, samba: Samba) -> None:
    """P1, P11: nothing takes the temporary name; the rename needs no quiet time."""
    scans.configure(settle_s=NEVER_S)
    with scans.pool():
        writer = samba.writer(scans.body("a.pdf", 60_000), "a.pdf", "--how", "rename", "--rate", "60000")
        writer.told("written")
        scans.nothing_ran()
        writer.close()
        samba.smbclient(f'put "{scans.body("b.pdf")}" b.pdf.part', "rename b.pdf.part b.pdf")
        scans.processed("a.pdf", "b.pdf", timeout=30)


def test_a_file_that_its_smb_client_holds_open_waits(scans: Scans, samba: Samba) -> None:
    """P6: all bytes are there, and nothing runs until the client closes; it then need not be quiet again."""
    with scans.pool():
        writer = samba.writer(scans.body("held.pdf"), "held.pdf", "--hold")
        writer.told("written")
        scans.wait_for_why("held.pdf", WRITER)
        pause(2)
        scans.nothing_ran()
        writer.close()
        scans.processed("held.pdf")


def test_an_smb_client_that_dies_leaves_a_half_that_fails_and_can_be_sent_again(scans: Scans, samba: Samba) -> None:
    """P6: in place, the half goes to failed/ with its text; under a temporary name it is left alone."""
    body = scans.body("cut.pdf", 100_000)
    with scans.pool():
        for options in (("--how", "explorer"), ("--as", "cut.pdf.tmp")):
            writer = samba.writer(body, "cut.pdf", *options, "--stop-at", "40960")
            writer.told("stopped")
            writer.kill()
        wait_until(lambda: scans.names("failed") == ["cut.pdf"])
        samba.smbclient(f'put "{body}" cut.pdf')
        scans.processed("cut.pdf", halves=["cut.pdf"], left=["cut.pdf.tmp"])


def test_an_smb_server_that_hangs_or_dies_in_the_middle_of_a_put(scans: Scans, samba: Samba) -> None:
    """P1, P6: while it hangs the file is open, so it waits; a client that sends again in time gets one whole run."""
    scans.configure(settle_s=3.0)
    with scans.pool():
        hung = samba.writer(scans.body("hung.pdf", 200_000), "hung.pdf", "--rate", "100000")
        scans.wait_for_size("hung.pdf", 50_000)
        stopped = samba.holders(str(scans.folder / "hung.pdf"))
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            pause(6)
            scans.nothing_ran()
            assert scans.why("hung.pdf") == WRITER
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        hung.close()
        again = samba.writer(scans.body("again.pdf", 200_000), "again.pdf", "--rate", "100000")
        scans.wait_for_size("again.pdf", 50_000)
        for pid in samba.holders(str(scans.folder / "again.pdf")):
            os.kill(pid, signal.SIGKILL)
        again.process.communicate(timeout=60)
        samba.smbclient(f'put "{scans.body("again.pdf", 200_000)}" again.pdf')
        scans.processed("again.pdf", "hung.pdf")


def test_a_file_that_vanishes_before_its_turn_is_no_job(scans: Scans, samba: Samba) -> None:
    """A client deletes what settles and what is held back by a limit: nothing runs, nothing is reported as trouble."""
    scans.configure(max_per_minute=1)
    with scans.pool() as pool:
        samba.smbclient(*[f'put "{scans.body(f"{n}.pdf")}" {n}.pdf.part' for n in range(4)])
        samba.smbclient(f'put "{scans.body("settles.pdf")}" settles.pdf', "rm settles.pdf")
        samba.smbclient(*[f"rename {n}.pdf.part {n}.pdf" for n in range(4)])
        wait_until(lambda: (state := scans.state()) is not None and state.waiting == 3)
        (first,) = (name for name in ("0.pdf", "1.pdf", "2.pdf", "3.pdf") if scans.size(name) < 0)
        samba.smbclient(*[f"rm {name}" for name in scans.names()])
        scans.processed(first)
        wait_until(lambda: (state := scans.state()) is not None and state.waiting == 0 and not state.trouble)
    assert [line for line in pool.events if line.get("level") == "warning"] == []


# ---------------------------------------------------------------------------------------------------------------- SSH


def test_files_by_sftp_and_scp_are_processed_whole(scans: Scans, sshd: Sshd) -> None:
    """P1, P6: in place, slowly and by a rename."""
    with scans.pool():
        names = [f"{way}-{number}.pdf" for way in ("put", "renamed") for number in range(4)]
        commands = []
        for name in names:
            part = f"{name}.filepart" if name.startswith("renamed") else name
            commands.append(f'put "{scans.body(name)}" {part}')
            commands += [f"rename {part} {name}"] if part != name else []
        clients = [sshd.sftp(*commands)]
        clients.append(sshd.sftp(f'put "{scans.body("slow.pdf", 150_000)}" slow.pdf', kbit_s=SLOW_KBIT_S))
        clients.append(sshd.scp("-l", "400", str(scans.body("scp.pdf", 90_000)), f"jobs:{scans.folder}/scp.pdf"))
        for client in clients:
            finished(client)
        scans.processed(*names, "slow.pdf", "scp.pdf")


def test_an_sftp_rename_is_taken_at_once(scans: Scans, sshd: Sshd) -> None:
    """P1: no quiet time is needed."""
    scans.configure(settle_s=NEVER_S)
    with scans.pool():
        finished(sshd.sftp(f'put "{scans.body("a.pdf")}" a.pdf.part', "rename a.pdf.part a.pdf"))
        scans.processed("a.pdf", timeout=30)


def test_an_sftp_put_that_is_cut_or_hangs(scans: Scans, sshd: Sshd) -> None:
    """P6: while the server hangs the file is open and waits; the half of a killed client fails, sent again it runs."""
    body = scans.body("cut.pdf", 900_000)  # much more than what is under way in pipes and arrives after the kill
    with scans.pool():
        client = sshd.sftp(f'put "{body}" cut.pdf', kbit_s=SLOW_KBIT_S)
        scans.wait_for_size("cut.pdf", 30_000)
        stopped = sshd.holders(str(scans.folder / "cut.pdf"))
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            pause(3)
            scans.nothing_ran()
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        client.kill()
        client.communicate(timeout=10)
        wait_until(lambda: scans.names("failed") == ["cut.pdf"])
        finished(sshd.sftp(f'put "{body}" cut.pdf'))
        scans.processed("cut.pdf", halves=["cut.pdf"])


@pytest.mark.parametrize("options", [[], ["--inplace"], ["--partial", "-t"]], ids=["rename", "inplace", "partial"])
def test_files_by_rsync_are_processed_whole(scans: Scans, sshd: Sshd, options: list[str]) -> None:
    """P1, P11: renamed ones at once, also slow ones; in place after `settle_s`."""
    need("rsync", "rsync")
    scans.configure(settle_s=RSYNC_SETTLE_S if "--inplace" in options else NEVER_S)
    folder = scans.outside / "send"
    folder.mkdir()
    names = [f"copy-{number}.pdf" for number in range(8)]
    for name in (*names, "large.pdf"):
        shutil.copyfile(scans.body(name, 150_000 if name == "large.pdf" else 10_000), folder / name)
    with scans.pool():
        clients = [sshd.rsync(*options, *(str(folder / name) for name in names), f"jobs:{scans.folder}/")]
        clients.append(sshd.rsync(*options, "--bwlimit=50", str(folder / "large.pdf"), f"jobs:{scans.folder}/"))
        for client in clients:
            finished(client)
        scans.processed(*names, "large.pdf")


def test_a_killed_rsync_leaves_a_hidden_file_that_is_left_alone(scans: Scans, sshd: Sshd) -> None:
    """P6, P11: sent again, the file runs once."""
    need("rsync", "rsync")
    body = scans.outside / "cut.pdf"
    shutil.copyfile(scans.body("cut.pdf", 700_000), body)
    with scans.pool():
        client = sshd.rsync("--bwlimit=100", str(body), f"jobs:{scans.folder}/")
        wait_until(lambda: any(name.startswith(".cut.pdf.") for name in os.listdir(scans.folder)))
        client.kill()
        client.communicate(timeout=10)
        finished(sshd.rsync(str(body), f"jobs:{scans.folder}/"))
        scans.processed("cut.pdf", left=[name for name in scans.names() if name.startswith(".cut")])


# ---------------------------------------------------------------------------------------------------------------- NFS


def test_files_by_nfs_wait_until_the_server_closes_them(scans: Scans, nfs: Ganesha) -> None:
    """P1, P6, P11: in place, slowly, with times of 2105, held open, and renamed: each runs once, whole.

    nfs-ganesha keeps a file open for writing after its client has closed it, so each waits, until the server is
    started again here. The `.nfs` names of files that were deleted while a client had them open are left alone.
    """
    names = ["slow.pdf", "times.pdf", "held.pdf", "renamed.pdf", *(f"copy-{number}.pdf" for number in range(4))]
    hidden = ".nfs000000000012ab34"
    with scans.pool():
        slow = nfs.writer(scans.body("slow.pdf", 150_000), "slow.pdf", "--rate", "50000")
        times = nfs.writer(scans.body("times.pdf", 60_000), "times.pdf", "--rate", "30000", "--strange")
        held = nfs.writer(scans.body("held.pdf"), "held.pdf", "--hold")
        nfs.writer(scans.body("renamed.pdf"), "renamed.pdf", "--as", "renamed.pdf.tmp").close()
        nfs.writer(scans.body(hidden), hidden, "--as", "b.pdf.tmp").close()
        for number in range(4):
            nfs.copy(scans.body(f"copy-{number}.pdf", 1500), f"copy-{number}.pdf")
        for name in ("held.pdf", "renamed.pdf", "copy-3.pdf"):
            scans.wait_for_why(name, WRITER)
        for writer in (held, slow, times):
            writer.told("last")
            writer.close()
        pause(3)
        assert not [name for name in names if f"half {name}" in scans.ran()]
        nfs.stop()
        nfs.start()
        scans.processed(*names, left=[hidden])


def test_what_an_nfs_client_deletes_or_leaves_half(scans: Scans, nfs: Ganesha) -> None:
    """P6: what is deleted while a client writes it is no job; a half fails once its server is gone."""
    with scans.pool():
        gone = nfs.writer(scans.body("gone.pdf"), "gone.pdf", "--hold")
        gone.told("written")
        scans.wait_for_why("gone.pdf", WRITER)
        os.unlink(scans.folder / "gone.pdf")
        gone.kill()
        cut = nfs.writer(scans.body("cut.pdf", 100_000), "cut.pdf", "--stop-at", "40960")
        cut.told("stopped")
        cut.kill()
        scans.wait_for_why("cut.pdf", WRITER)
        pause(2)
        scans.nothing_ran()
        nfs.kill()
        scans.processed(halves=["cut.pdf"])
        state = scans.state()
        assert state is not None and not state.trouble


# ------------------------------------------------------------------------------------------------------------- WebDAV


def test_files_by_webdav_are_processed_whole(scans: Scans, webdav: WebDav) -> None:
    """P1, P6: put in place, slowly, and under a temporary name that is moved."""
    scans.configure(settle_s=2.0)
    with scans.pool():
        slow = webdav.put(scans.body("slow.pdf", 150_000), "slow.pdf", "--limit-rate", "50000")
        for number in range(4):
            finished(webdav.put(scans.body(f"put-{number}.pdf"), f"put-{number}.pdf"))
            finished(webdav.put(scans.body(f"moved-{number}.pdf"), f"moved-{number}.pdf.tmp"))
            finished(webdav.move(f"moved-{number}.pdf.tmp", f"moved-{number}.pdf"), GONE)
        finished(slow)
        scans.processed("slow.pdf", *(f"{kind}-{number}.pdf" for kind in ("put", "moved") for number in range(4)))


def test_an_interrupted_webdav_put_fails_or_vanishes_and_can_be_sent_again(scans: Scans, webdav: WebDav) -> None:
    """P6: no command takes the half for whole."""
    body = scans.body("cut.pdf", 400_000)
    with scans.pool():
        client = webdav.put(body, "cut.pdf", "--limit-rate", "50000")
        scans.wait_for_size("cut.pdf", 20_000)
        client.kill()
        client.communicate(timeout=10)
        wait_until(lambda: scans.size("cut.pdf") < 0)
        wait_until(lambda: not scans.names("working"))
        halves = scans.names("failed")
        finished(webdav.put(body, "cut.pdf"))
        scans.processed("cut.pdf", halves=halves)
        print("the half was", "processed and failed" if halves else "deleted by the server")
