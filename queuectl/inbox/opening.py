"""Open the folder of an inbox after judging every folder on the way to it (P10).

Another user who could replace an inbox with another folder could make queuectl read other files, or run jobs. So each
folder is opened relative to its parent's handle, without following a link, and judged by its own handle.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.spool import trust
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS
from queuectl.system import answering, files

if TYPE_CHECKING:
    from queuectl.model.inbox import Inbox
    from queuectl.model.settings import Settings

T = TypeVar("T")
_LINKS_MOST = 40
# How long inboxes may take to answer a check. Workers start without those that hang.
ANSWER_S = 5.0
PATH = "path"
"""The key of the settings that names an inbox."""


def check_inboxes(spool: SpoolDir, settings: Settings) -> None:
    """Refuse inboxes through which other users could do more than the mode allows.

    An inbox that is missing (an offline share), or does not answer for ANSWER_S, is judged when it is back.

    Raises:
        UntrustedSpoolError: the path at fault, the reason, and the command that fixes it.
        InvalidSettingsError: an inbox contains the spool, or is in one of its folders; two are the same folder.
    """
    seen: dict[tuple[int, int], Inbox] = {}
    calls = [functools.partial(check_inbox, spool, inbox) for inbox in settings.inboxes]
    for inbox, folder in zip(settings.inboxes, judge(calls), strict=True):
        if folder is not None and (other := seen.setdefault(folder, inbox)) is not inbox:
            what = f"{spool.settings_path}: inbox.path: {inbox.path} is the folder of the inbox {other.owner} as well"
            hint = "two inboxes would take each other's files: remove one, or use another folder"
            raise InvalidSettingsError(what, path=spool.settings_path, key="inbox.path", hint=hint)


def judge(calls: Sequence[Callable[[], T]]) -> list[T | None]:
    """Make calls that judge folders; return what they return, None for those that do not answer for ANSWER_S."""
    answers = answering.which_answer(calls, within_s=ANSWER_S)
    return [call() if does_answer else None for call, does_answer in zip(calls, answers, strict=True)]


def check_inbox(spool: SpoolDir, inbox: Inbox) -> tuple[int, int] | None:
    """Refuse one inbox, as `check_inboxes`; return its device and inode, None if it cannot be opened now.

    A missing inbox (an offline share) is judged when it is back.
    """
    with contextlib.suppress(OSError):
        opened = open_inbox(spool, inbox)
        close(opened)
        return opened.identity
    return None


class Opened(msgspec.Struct, frozen=True):
    """The open folder of an inbox: its handle, which the caller closes, and its identity."""

    fd: int
    """-1 on Windows, where a folder is used by its path."""
    identity: tuple[int, int]
    """Device and inode."""


def open_inbox(spool: SpoolDir, inbox: Inbox) -> Opened:
    """Judge every folder on the way to an inbox and open the inbox.

    Each folder is judged by its handle, so the judged folder is the one that is used, whatever is renamed meanwhile
    (POSIX).

    Raises:
        UntrustedSpoolError: another user could replace the inbox, or a folder above it, with another folder.
        InvalidSettingsError: the inbox contains the spool, or is in one of the spool's own folders.
        OSError: the folder does not exist, or cannot be opened.
    """
    path = os.path.abspath(inbox_path(spool, inbox))
    home, real = os.path.realpath(spool.root), os.path.realpath(path)
    ours = [os.path.join(home, folder) for folder in FOLDERS]
    if is_in(home, real) or any(is_in(real, folder) for folder in (*ours, os.path.realpath(spool.machinery))):
        raise _is_the_spools(spool, path)
    if sys.platform == "win32":
        info = os.stat(path)
        return Opened(-1, (info.st_dev, info.st_ino))
    fd, seen = walk(path, inbox)
    # By handle as well, because several paths can lead to these folders (a bind mount, a rename just now).
    folders, above = {folder_id(folder) for folder in (*ours, spool.machinery)}, home
    holders = {folder_id(home)}
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        holders.add(folder_id(above))
    if folders.intersection(seen) or seen[-1] in holders:
        os.close(fd)
        raise _is_the_spools(spool, path)
    return Opened(fd, seen[-1])


def close(opened: Opened) -> None:
    """Close the handle of a folder."""
    if opened.fd >= 0:
        os.close(opened.fd)


def walk(path: str, inbox: Inbox, key: str = PATH) -> tuple[int, list[tuple[int, int]]]:
    """Return a handle to the folder `path`, and device and inode of each folder on the way. Raises as `open_inbox`.

    `key` is the key of the inbox that names the folder.
    """
    if sys.platform == "win32":
        raise NotImplementedError
    at, left = "/", [part for part in path.split("/") if part][::-1]
    fd = files.open_folder_in(at, at=None, to_list=False)
    try:
        info = os.fstat(fd)
        device, hosts = info.st_dev, frozenset[int]()
        _judge(at, info, inbox, hosts, key, is_last=False)
        seen = [(info.st_dev, info.st_ino)]
        links = 0
        while left:
            name = left.pop()
            if name in ("", "."):
                continue
            here = os.path.normpath(os.path.join(at, name))
            try:
                info = os.lstat(name, dir_fd=fd)
            except OSError as error:
                raise OSError(error.errno, error.strerror, here) from None
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink(name, dir_fd=fd)
                links += 1
                if not left or links > _LINKS_MOST:
                    hint = f'use the folder that it leads to: {key} = "{os.path.realpath(here)}"'
                    cause = f"it is a link, and {'an inbox' if key == PATH else key} must be a folder"
                    raise UntrustedSpoolError(here, cause=cause, hint=hint)
                _judge(here, info, inbox, hosts, key, is_last=False)
                left += target.split("/")[::-1]
                if target.startswith("/"):
                    at, fd = "/", _instead(fd, files.open_folder_in("/", at=None, to_list=False))
                    device, hosts = os.fstat(fd).st_dev, frozenset[int]()
                continue
            try:
                fd = _instead(fd, files.open_folder_in(name, at=fd, to_list=not left))
            except OSError as error:
                raise OSError(error.errno, error.strerror, here) from None
            info, at = os.fstat(fd), here
            if info.st_dev != device:
                device, hosts = info.st_dev, _hosts(here, info, inbox)
                _judge_mount(here, inbox)
            _judge(here, info, inbox, hosts, key, is_last=not left)
            seen.append((info.st_dev, info.st_ino))
    except BaseException:
        os.close(fd)
        raise
    return fd, seen


def _instead(old: int, new: int) -> int:
    os.close(old)
    return new


def _hosts(path: str, info: os.stat_result, inbox: Inbox) -> frozenset[int]:
    """Return who else may own folders on a file system mounted at `path`: on a network share the owner of its root.

    A mount point cannot be renamed, and the owner of its root is a user of the other machine, who decides there anyway.
    No link is followed there, so only a folder of the same file system can replace the inbox. A trusted inbox runs
    everything, so it allows no other owner.
    """
    from queuectl.system import volume

    if inbox.mode == "trusted" or volume.of(path).nature not in (volume.NETWORK, volume.USERSPACE, volume.SHARED):
        return frozenset()
    return frozenset({info.st_uid})


def _judge_mount(path: str, inbox: Inbox) -> None:
    """Refuse a file system that another user mounted above a trusted inbox: that user decides who owns its files."""
    from queuectl.system import volume

    if inbox.mode != "trusted" or sys.platform == "win32":
        return
    who = volume.mounted_by(path)
    if who not in (None, 0, os.geteuid()):
        assert who is not None
        raise UntrustedSpoolError(
            path,
            cause=f"user {trust.user_name(who)} has mounted the file system there, and so could run commands",
            hint=f"mount it as root or as user {trust.me()}, or use an inbox elsewhere",
            what=f"refusing the inbox {inbox.owner}: {path}",
        )


def _judge(path: str, info: os.stat_result, inbox: Inbox, hosts: frozenset[int], key: str, *, is_last: bool) -> None:
    """Refuse a folder or a link on the way to an inbox (or to the folder of `key`), or the inbox itself."""
    mine = {0}
    if sys.platform != "win32":
        mine.add(os.geteuid())
    is_trusted = inbox.mode == "trusted"
    does = "could run commands" if is_trusted else "could replace the inbox with another folder"
    refusing = f"refusing the inbox {inbox.owner}: {path}"
    if key != PATH:
        does, refusing = "could replace it with another folder", f"refusing {key} of the inbox {inbox.owner}: {path}"
    if info.st_uid not in mine and (info.st_uid not in hosts or stat.S_ISLNK(info.st_mode)):
        who = f"its owner, user {trust.user_name(info.st_uid)}, can change it"
        if key != PATH:
            hint = f"chown {trust.me()} {trust.quoted(path)}, or use a folder of root or of user {trust.me()}"
        elif is_last:
            hint = f"chown {trust.me()} {trust.quoted(path)}; "
            mode = "3770" if inbox.mode == "files" else "2770"
            hint += f"then give producers access with chmod 1777, or with chmod {mode} and their group"
        else:
            hint = f"use an inbox in a folder of root or of user {trust.me()}, such as /srv/drop/{inbox.owner}"
        raise UntrustedSpoolError(path, cause=f"{who}, and so {does}", hint=hint, what=refusing)
    if is_last and inbox.mode == "files" and not info.st_mode & stat.S_ISVTX:
        if who := trust.others(info, mine | hosts):
            could = "put another folder in the place of working/" if key == PATH else "exchange files that workers make"
            hint = f"chmod +t {trust.quoted(path)}"
            raise UntrustedSpoolError(
                path, cause=f"{who} can write to it, and so could {could}", hint=hint, what=refusing
            )
        return
    if stat.S_ISLNK(info.st_mode) or (is_last and not is_trusted):
        return
    if info.st_mode & stat.S_ISVTX and not is_last:
        return  # only an entry's owner can move it away there, and that owner is judged next
    if who := trust.others(info, mine | hosts):
        hint = f"chmod go-w {trust.quoted(path)}"
        if not is_last:
            what = "an inbox in a folder" if key == PATH else "a folder"
            hint += f"; or use {what} that only root or user {trust.me()} can write to"
        raise UntrustedSpoolError(path, cause=f"{who} can write to it, and so {does}", hint=hint, what=refusing)


def folder_id(path: str) -> tuple[int, int]:
    """Return device and inode of a folder; (0, 0), which no folder has, if it does not exist."""
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino


def _is_the_spools(spool: SpoolDir, path: str) -> InvalidSettingsError:
    what = f"{spool.settings_path}: inbox.path: {path} contains the spool, or is one of its own folders"
    return InvalidSettingsError(what, path=spool.settings_path, key="inbox.path", hint="use a folder next to the spool")


def is_in(path: str, folder: str) -> bool:
    """True if `path` is `folder` or is in it."""
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:
        return False


def inbox_path(spool: SpoolDir, inbox: Inbox) -> str:
    """Return the path of an inbox."""
    return os.path.abspath(os.path.join(spool.root, inbox.path))
