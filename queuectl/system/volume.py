"""The file system of a folder: its type, its nature, its free space, and whether a sync client handles the folder.

The facts come from the system: /proc/self/mountinfo and /sys on Linux, statfs on macOS, GetVolumeInformation and
GetDriveType on Windows. An unknown fact is "" or None, never a guess and never an error.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

LOCAL, NETWORK, USERSPACE, REMOVABLE, MEMORY, SHARED, UNKNOWN = (
    "local",
    "network",
    "userspace",
    "removable",
    "memory",
    "shared",
    "unknown",
)

_NETWORK = """nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs afs afpfs webdav davfs ncpfs ceph glusterfs lustre gfs2 ocfs2
beegfs gpfs orangefs pvfs2 moosefs"""
_NETWORK_KINDS = frozenset(_NETWORK.split())
# Folders of a host machine inside a virtual machine (WSL's /mnt/c is 9p).
_SHARED_KINDS = frozenset({"9p", "drvfs", "virtiofs", "vboxsf", "prl_fs", "vmhgfs"})
_NETWORK_HELPERS = ("sshfs", "glusterfs", "rclone", "s3fs", "gcsfuse", "goofys", "davfs", "curlftpfs", "ceph", "smb")
_MEMORY_KINDS = frozenset({"tmpfs", "ramfs"})

# The beginnings of the names of folders that sync clients handle.
_SYNC_FOLDERS = (
    ("onedrive", "OneDrive"),
    ("dropbox", "Dropbox"),
    ("google drive", "Google Drive"),
    ("googledrive", "Google Drive"),
    ("my drive", "Google Drive"),
    ("icloud", "iCloud"),
    ("mobile documents", "iCloud"),
    ("cloudstorage", "a sync client of macOS"),
    ("nextcloud", "Nextcloud"),
    ("owncloud", "ownCloud"),
    ("box sync", "Box"),
    ("pcloud", "pCloud"),
)
_SYNC_VARIABLES = ("OneDrive", "OneDriveConsumer", "OneDriveCommercial")
_SYNC_MARKS = ((".stfolder", "Syncthing"), (".dropbox.cache", "Dropbox"), (".dropbox", "Dropbox"))


class Volume(NamedTuple):
    """A file system as the operating system names it."""

    kind: str
    """Its type: `ext4`, `NTFS`, `apfs` ... or ""."""
    where: str
    """The mount point or drive; "" if unknown."""
    nature: str
    """LOCAL, NETWORK, USERSPACE (FUSE), REMOVABLE, MEMORY, SHARED (of a virtual machine's host) or UNKNOWN."""


class Space(msgspec.Struct, frozen=True):
    """The free space, in bytes and in files. Files are None if the file system does not count them."""

    free_bytes: int
    total_bytes: int
    free_files: int | None
    total_files: int | None


def of(path: str) -> Volume:
    """Return the file system of `path`."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.platform == "win32":
            return _of_windows(path)
        if sys.platform == "darwin":
            return _of_macos(path)
        return _of_linux(path)
    return Volume("", "", UNKNOWN)


@functools.cache
def first_of(path: str) -> Volume:
    """Return the file system of `path` as it was when this process, or the one it was forked from, first asked.

    A look takes some sixty system calls: the workers of a pool have what their supervisor has found.
    """
    return of(path)


def mounted_by(path: str) -> int | None:
    """Return the user who mounted the file system of `path`, if the system knows (FUSE on Linux, macOS), else None.

    That user decides who owns the files there.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.platform == "darwin":
            return int(_statfs_of_macos(path).owner)
        if sys.platform == "linux":
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
                return parse_mounter(file.read(), os.path.realpath(path))
    return None


def space(path: str) -> Space:
    """Return the space that this user has on the file system of `path`. Raises OSError."""
    usage = shutil.disk_usage(path)
    if sys.platform == "win32":
        return Space(usage.free, usage.total, None, None)
    info = os.statvfs(path)
    return Space(usage.free, usage.total, *((info.f_favail, info.f_files) if info.f_files > 0 else (None, None)))


def sync_client(path: str, environment: Mapping[str, str]) -> str:
    """Return the sync client that handles `path`, or "", from the names of parent folders and files of clients."""
    for name in _SYNC_VARIABLES:
        home = environment.get(name, "")
        if home and _is_within(path, home):
            return "OneDrive"
    for part in re.split(r"[\\/]+", path):
        for beginning, client in _SYNC_FOLDERS:
            if part.lower().startswith(beginning):
                return client
    folder = path
    while True:
        for mark, client in _SYNC_MARKS:
            if os.path.lexists(os.path.join(folder, mark)):
                return client
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        folder = above


def _is_within(path: str, home: str) -> bool:
    def folded(text: str) -> str:
        return text.replace("\\", "/").rstrip("/").lower() + "/"

    return folded(path).startswith(folded(home))


def reports_events(nature: str) -> bool:
    """Return whether the system reports every change in a folder. (Changes by other machines cause no events here.)"""
    return nature in (LOCAL, REMOVABLE, MEMORY)


def nature_of(kind: str) -> str:
    """Return the nature that a file system's type implies (Linux and macOS)."""
    folded = kind.lower()
    if folded in _NETWORK_KINDS or any(folded.startswith(f"fuse.{helper}") for helper in _NETWORK_HELPERS):
        return NETWORK
    if folded in _SHARED_KINDS:
        return SHARED
    if folded.startswith("fuse") or folded in ("osxfuse", "macfuse"):
        return USERSPACE
    return MEMORY if folded in _MEMORY_KINDS else LOCAL


# ------------------------------------------------------------------------------------------------------------ Linux


def parse_mounts(text: str, path: str) -> tuple[str, str, str]:
    """Return the mount point, type and device number (`259:1`) of `path` (without links) from a mountinfo text.

    Of two mounts on one point the later one hides the other (proc(5)). Return ("", "", "") if none fits.
    """
    found = ("", "", "")
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= len(found[0]):
            found = (point, kind, fields[2])
    return found


def parse_mounter(text: str, path: str) -> int | None:
    """Return the user who mounted the file system of `path` (without links) from a mountinfo text; None if unnamed."""
    found, longest = None, -1
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5:
            continue
        point = _unescaped(fields[4])
        if (path == point or path.startswith(point.rstrip("/") + "/")) and len(point) >= longest:
            match = re.search(r"(?:^|,)user_id=(\d+)", after.split(" ")[-1])
            found, longest = int(match[1]) if match else None, len(point)
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def _of_linux(path: str) -> Volume:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        point, kind, device = parse_mounts(file.read(), os.path.realpath(path))
    nature = nature_of(kind) if kind else UNKNOWN
    if nature == LOCAL and _is_removable(device):
        nature = REMOVABLE
    return Volume(kind, point, nature)


def _is_removable(device: str) -> bool:
    """Return whether a block device is removable: it or its disk is marked so, or is on USB."""
    block = os.path.realpath(f"/sys/dev/block/{device}")
    if "/usb" in block:
        return True
    for folder in (block, os.path.dirname(block)):
        with contextlib.suppress(OSError), open(os.path.join(folder, "removable"), encoding="ascii") as file:
            return file.read().strip() == "1"
    return False


# ------------------------------------------------------------------------------------------------------------ macOS


def _statfs_of_macos(path: str) -> Any:
    import ctypes

    class Statfs(ctypes.Structure):  # sys/mount.h, 64-bit inodes
        _fields_ = (
            ("sizes", ctypes.c_uint32 * 2),
            ("counts", ctypes.c_uint64 * 5),
            ("fsid", ctypes.c_int32 * 2),
            ("owner", ctypes.c_uint32),
            ("type", ctypes.c_uint32),
            ("flags", ctypes.c_uint32),
            ("subtype", ctypes.c_uint32),
            ("kind", ctypes.c_char * 16),
            ("where", ctypes.c_char * 1024),
            ("source", ctypes.c_char * 1024),
            ("reserved", ctypes.c_uint32 * 8),
        )

    libc = ctypes.CDLL(None, use_errno=True)
    call: Any = getattr(libc, "statfs$INODE64", None) or libc.statfs
    info = Statfs()
    if call(os.fsencode(path), ctypes.byref(info)) != 0:
        raise OSError(ctypes.get_errno(), "statfs", path)
    return info


def _of_macos(path: str) -> Volume:
    local_flag, removable_flag = 0x1000, 0x200  # MNT_LOCAL, MNT_REMOVABLE
    info = _statfs_of_macos(path)
    kind, where = os.fsdecode(info.kind), os.fsdecode(info.where)
    nature = nature_of(kind)
    if nature == LOCAL and not info.flags & local_flag:
        nature = NETWORK
    elif nature == LOCAL and info.flags & removable_flag:
        nature = REMOVABLE
    return Volume(kind, where, nature)


# ---------------------------------------------------------------------------------------------------------- Windows

_DRIVE_NATURES = {2: REMOVABLE, 3: LOCAL, 4: NETWORK, 5: REMOVABLE, 6: MEMORY}


def _of_windows(path: str) -> Volume:
    if sys.platform != "win32":
        raise OSError("Windows only")
    import ctypes

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    root = ctypes.create_unicode_buffer(1024)
    if not kernel32.GetVolumePathNameW(ctypes.c_wchar_p(path), root, 1024):
        raise ctypes.WinError(ctypes.get_last_error())
    nature = _DRIVE_NATURES.get(kernel32.GetDriveTypeW(root), UNKNOWN)
    kind = ctypes.create_unicode_buffer(256)
    if not kernel32.GetVolumeInformationW(root, None, 0, None, None, None, kind, 256):
        return Volume("", root.value, nature)
    return Volume(kind.value, root.value, NETWORK if root.value.startswith("\\\\") else nature)
