"""What a folder lies on is told by the system, and never guessed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from queuectl.system import volume

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:30 / /home rw - nfs4 server:/home rw
31 30 0:31 / /home/me/My\040Disk rw shared:1 - fuseblk /dev/sdb1 rw
32 27 0:32 / /mnt/twice rw - ext4 /dev/vdb rw
33 32 0:33 / /mnt/twice rw - tmpfs tmpfs rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/var/spool", "/", "ext4"),
        ("/", "/", "ext4"),
        ("/home", "/home", "nfs4"),
        ("/home/me/spool", "/home", "nfs4"),
        ("/homes/spool", "/", "ext4"),
        ("/home/me/My Disk/spool", "/home/me/My Disk", "fuseblk"),
        ("/mnt/twice/spool", "/mnt/twice", "tmpfs"),
    ],
)
def test_mount_is_the_innermost_and_latest(path: str, point: str, kind: str) -> None:
    """A path lies on the mount with the longest matching point; a later mount hides an earlier one."""
    assert volume.parse_mounts(MOUNTS, path)[:2] == (point, kind)


def test_no_mount_is_no_guess() -> None:
    """A text without a fitting mount gives nothing."""
    assert volume.parse_mounts("", "/x") == ("", "", "")


@pytest.mark.parametrize(
    ("kind", "nature"),
    [
        ("ext4", volume.LOCAL),
        ("apfs", volume.LOCAL),
        ("overlay", volume.LOCAL),
        ("nfs4", volume.NETWORK),
        ("CIFS", volume.NETWORK),
        ("fuse.sshfs", volume.NETWORK),
        ("fuse.mergerfs", volume.USERSPACE),
        ("fuseblk", volume.USERSPACE),
        ("9p", volume.SHARED),
        ("tmpfs", volume.MEMORY),
    ],
)
def test_nature_is_told_by_the_type(kind: str, nature: str) -> None:
    """Network, user space, memory and a host's folders are known by their types."""
    assert volume.nature_of(kind) == nature


@pytest.mark.parametrize(
    ("path", "environment", "client"),
    [
        (r"C:\Users\me\OneDrive - Firm\spool", {}, "OneDrive"),
        (r"D:\Cloud\spool", {"OneDriveCommercial": r"d:\cloud"}, "OneDrive"),
        (r"D:\Cloudy\spool", {"OneDrive": r"d:\cloud"}, ""),
        ("/home/me/Dropbox/spool", {}, "Dropbox"),
        ("/Users/me/Library/Mobile Documents/com~apple~CloudDocs/spool", {}, "iCloud"),
        ("/Users/me/Library/CloudStorage/GoogleDrive-me/spool", {}, "a sync client of macOS"),
        ("/home/me/projects/spool", {"OneDrive": ""}, ""),
    ],
)
def test_sync_clients_are_known_by_their_folders(path: str, environment: dict[str, str], client: str) -> None:
    """A spool below a sync client's folder is noticed, on every system's way of writing paths."""
    assert volume.sync_client(path, environment) == client


def test_syncthing_is_known_by_its_mark(tmp_path: Path) -> None:
    """A folder that holds .stfolder is synced, and so is all below it."""
    (tmp_path / ".stfolder").mkdir()
    below = tmp_path / "a" / "spool"
    below.mkdir(parents=True)
    assert volume.sync_client(str(below), {}) == "Syncthing"


def test_this_folder_has_a_file_system_with_a_name(tmp_path: Path) -> None:
    """The real system names the type and the place of a real folder."""
    found = volume.of(str(tmp_path))
    assert found.kind
    assert str(tmp_path).lower().startswith(found.where.lower())
    assert found.nature != volume.UNKNOWN


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_proc_is_proc() -> None:
    """Another mount than the root is told from it."""
    assert volume.of("/proc/self")[:2] == ("proc", "/proc")


def test_a_folder_that_is_not_there_is_unknown_or_its_parent_s() -> None:
    """Nothing raises where nothing can be known."""
    assert volume.of(os.path.join(os.sep, "no", "such", "folder")).nature


def test_space_is_counted(tmp_path: Path) -> None:
    """There is room, and no more of it than there is disk."""
    found = volume.space(str(tmp_path))
    assert 0 < found.free_bytes <= found.total_bytes
    if found.free_files is not None and found.total_files is not None:
        assert 0 < found.free_files <= found.total_files


def test_events_are_relied_on_where_no_other_machine_writes() -> None:
    """Changes by others of a network, a host or a user-space program make no events (P8)."""
    natures = (volume.LOCAL, volume.REMOVABLE, volume.MEMORY, volume.NETWORK, volume.USERSPACE, volume.SHARED)
    assert [volume.reports_events(nature) for nature in (*natures, volume.UNKNOWN)] == [True] * 3 + [False] * 4


def test_who_mounted_a_file_system_is_read_off_its_options() -> None:
    """FUSE names the user; the kernel's own file systems name none; of two mounts on one point the later one counts."""
    text = """22 1 259:1 / / rw shared:1 - ext4 /dev/root rw,user_xattr
40 22 0:41 / /home/anna/x rw - fuse.sshfs anna@h:/ rw,user_id=1000,group_id=1000
41 22 0:42 / /mnt/a\\040b rw - fuse f rw,user_id=0,group_id=0,allow_other
42 41 0:43 / /mnt/a\\040b/c rw - fuse f rw,user_id=7
43 41 0:44 / /mnt/a\\040b/c rw - tmpfs t rw
"""
    for path, user in {
        "/etc": None,
        "/home/anna": None,
        "/home/anna/x/y": 1000,
        "/home/anna/xy": None,
        "/mnt/a b/d": 0,
        "/mnt/a b/c": None,
    }.items():
        assert volume.parse_mounter(text, path) == user, path


def test_the_first_look_at_a_folder_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked worker has what its supervisor has found, and does not read the mounts of the machine."""
    found = volume.first_of(str(tmp_path))
    monkeypatch.setattr(volume, "of", None)
    assert volume.first_of(str(tmp_path)) == found
