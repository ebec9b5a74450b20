"""Who may make us run commands: only who may write to the spool already (promise P10).

Whoever can put a file into pending/, or change the settings, has code run as the worker's user. So the spool's root,
the settings and every folder but logs/ must be writable by nobody but that user (and root).
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.model.lifecycle import PENDING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS, LOGS
from queuectl.system import files

if TYPE_CHECKING:
    from queuectl.model.command import Command
    from queuectl.model.inbox import Inbox
    from queuectl.model.settings import Settings

_LINKS_MOST = 40


def check(spool: SpoolDir) -> None:
    """Refuse a spool that others can write to. On Windows the folder's ACL decides and nothing is checked here.

    Raises:
        UntrustedSpoolError: the first path at fault, who could write there, and the command that closes it.
    """
    if sys.platform == "win32":
        return
    paths = [spool.root, *(os.path.join(spool.root, folder) for folder in FOLDERS if folder != LOGS)]
    paths += [spool.machinery, spool.settings_path]
    for path in paths:
        try:
            info = os.stat(path)
        except FileNotFoundError:
            continue
        if who := _others(info):
            raise UntrustedSpoolError(
                path,
                cause=f"{who} can write to it, and so could run commands as user {user_name(os.geteuid())}",
                hint=_cure(spool, info.st_uid),
            )


def _cure(spool: SpoolDir, owner: int) -> str:
    """What makes a spool safe of which `owner` owns a part: never to take somebody else's spool away from them."""
    ours = (os.geteuid(), 0)
    if owner in ours:
        return f"chmod -R go-w {quoted(spool.root)}"
    if (whose := os.stat(spool.root).st_uid) in ours:
        return f"chown -R {user_name(os.geteuid())} {quoted(spool.root)}"
    return f"run this as user {user_name(whose)}, or make a spool of your own: queuectl init FOLDER"


def way_to(spool: SpoolDir) -> tuple[str, str]:
    """Return who could put another folder in the place of the spool, as a sentence, and what to do; "" for nobody.

    No reason to refuse: in a container the folder above often belongs to a user of the host, who may do that anyway.
    """
    try:
        check_folders(spool.root, why="could put another spool in the place of this one")
    except UntrustedSpoolError as error:
        return f"{error.path}: {error.cause}", error.hint
    return "", ""


def stranger(root: str) -> int | None:
    """Who else owns the spool at `root`, or a part of it that says what the spool is; None if it is all this user's."""
    if sys.platform == "win32":
        return None
    spool = SpoolDir(root)
    for path in (root, spool.root, spool.settings_path, spool.machinery, spool.tmp_dir, spool.folder(PENDING)):
        for look in (os.lstat, os.stat):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if (owner := look(path).st_uid) != os.geteuid():
                    return owner
    return None


def owners(spool: SpoolDir, settings: Settings) -> frozenset[int] | None:
    """The users whose files in pending/ are run: root, the spool's owner and the workers' user; None for everybody's.

    Nobody else can put a file there. So a stranger's file is there by a mistake of root's, or by a hole in the system.
    """
    if sys.platform == "win32" or settings.run_files_of_others:
        return None
    return frozenset({0, os.geteuid(), os.stat(spool.root).st_uid})


def foreign_owner(owner: int) -> tuple[str, str]:
    """Why a file of somebody whom `owners` does not name is refused, and what to do about that."""
    why = f"it belongs to user {user_name(owner)}, and only files of root and of user {_me()} are run"
    hint = f"chown it to {_me()} and move it back; or to run files of all: queuectl config set run_files_of_others true"
    return why, hint


def check_all(spool: SpoolDir, settings: Settings) -> None:
    """Refuse to start workers where an inbox, a key or a command lets others do more than the settings say.

    Raises:
        UntrustedSpoolError: the path at fault, why, and the command that closes it.
        InvalidSettingsError: the key at fault and what to do.
    """
    for check_part in PARTS.values():
        check_part(spool, settings)


def check_inboxes(spool: SpoolDir, settings: Settings) -> None:
    """Refuse inboxes through which others could do more than their mode allows.

    Raises:
        UntrustedSpoolError: the path at fault, why, and the command that closes it.
        InvalidSettingsError: an inbox that holds the spool, or lies in a folder of it.
    """
    for inbox in settings.inboxes:
        check_inbox(spool, inbox)


def check_inbox(spool: SpoolDir, inbox: Inbox) -> None:
    """Refuse one inbox, as `check_inboxes`. One that is not there (a share that is away) is judged when it is."""
    with contextlib.suppress(OSError):
        fd = open_inbox(spool, inbox).fd
        if fd >= 0:
            os.close(fd)


class Opened(NamedTuple):
    """The folder of an inbox: its handle, to be closed by the caller, and which folder that is."""

    fd: int
    """-1 on Windows, where a folder is used by its path."""
    identity: tuple[int, int]
    """Device and inode."""


def open_inbox(spool: SpoolDir, inbox: Inbox) -> Opened:
    """Open the folder of an inbox, once everything on the way to it is judged.

    Each folder is opened in the one above it, without following a link, and judged by that handle. So the folder that
    was judged is the folder that is used, whatever is renamed meanwhile (POSIX).

    Raises:
        UntrustedSpoolError: a stranger could put another folder in the place of the inbox, or of one above it.
        InvalidSettingsError: the inbox holds the spool, or is in one of the spool's own folders.
        OSError: the folder is not there, or cannot be opened.
    """
    path = os.path.abspath(inbox_path(spool, inbox))
    home, real = os.path.realpath(spool.root), os.path.realpath(path)
    ours = [os.path.join(home, folder) for folder in FOLDERS]
    if _is_in(home, real) or any(_is_in(real, folder) for folder in (*ours, os.path.realpath(spool.machinery))):
        raise _is_the_spools(spool, path)
    if sys.platform == "win32":
        info = os.stat(path)
        return Opened(-1, (info.st_dev, info.st_ino))
    fd, seen = _walk(path, inbox)
    # By handle as well: a path can lead to these folders in more ways than one (a bind mount, a rename just now).
    folders, above = {_identity(folder) for folder in (*ours, spool.machinery)}, home
    holders = {_identity(home)}
    while above != os.path.dirname(above):
        above = os.path.dirname(above)
        holders.add(_identity(above))
    if folders.intersection(seen) or seen[-1] in holders:
        os.close(fd)
        raise _is_the_spools(spool, path)
    return Opened(fd, seen[-1])


def _walk(path: str, inbox: Inbox) -> tuple[int, list[tuple[int, int]]]:
    """A handle to the folder `path`, and device and inode of each folder on the way. Raises as `open_inbox`."""
    if sys.platform == "win32":
        raise NotImplementedError
    at, left = "/", [part for part in path.split("/") if part][::-1]
    fd = files.open_folder_in(at, at=None, to_list=False)
    try:
        info = os.fstat(fd)
        device, hosts = info.st_dev, frozenset[int]()
        _judge(at, info, inbox, hosts, is_last=False)
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
                    hint = f'name the folder that it leads to: path = "{os.path.realpath(here)}"'
                    raise UntrustedSpoolError(here, cause="it is a link, and an inbox is a folder", hint=hint)
                _judge(here, info, inbox, hosts, is_last=False)
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
            _judge(here, info, inbox, hosts, is_last=not left)
            seen.append((info.st_dev, info.st_ino))
    except BaseException:
        os.close(fd)
        raise
    return fd, seen


def _instead(old: int, new: int) -> int:
    os.close(old)
    return new


def _hosts(path: str, info: os.stat_result, inbox: Inbox) -> frozenset[int]:
    """Who else may own folders on a file system that is mounted at `path`: on another machine's, whoever has its root.

    A mount point cannot be renamed, and its root's owner is a user of the other machine, who decides there anyway. No
    link is followed there, so nothing but a folder of that same file system can be put in the place of the inbox. A
    trusted inbox runs everything, and so it gets no such leave.
    """
    from queuectl.system import volume

    if inbox.mode == "trusted" or volume.of(path).nature not in (volume.NETWORK, volume.USERSPACE, volume.SHARED):
        return frozenset()
    return frozenset({info.st_uid})


def _judge_mount(path: str, inbox: Inbox) -> None:
    """Refuse a file system of a stranger's on the way to a trusted inbox: they say who owns the files there."""
    from queuectl.system import volume

    if inbox.mode != "trusted" or sys.platform == "win32":
        return
    who = volume.mounted_by(path)
    if who not in (None, 0, os.geteuid()):
        assert who is not None
        raise UntrustedSpoolError(
            path,
            cause=f"user {user_name(who)} has mounted the file system there, and so could run commands",
            hint=f"mount it as root or as user {_me()}, or use an inbox elsewhere",
            what=_refusing(path, inbox),
        )


def _judge(path: str, info: os.stat_result, inbox: Inbox, hosts: frozenset[int], *, is_last: bool) -> None:
    """Refuse a folder or a link on the way to an inbox, or the inbox itself."""
    mine = {0, os.geteuid()} if sys.platform != "win32" else {0}
    is_trusted = inbox.mode == "trusted"
    does = "could run commands" if is_trusted else "could put another folder in the place of the inbox"
    if info.st_uid not in mine and (info.st_uid not in hosts or stat.S_ISLNK(info.st_mode)):
        who = f"its owner, user {user_name(info.st_uid)}, can change it"
        if is_last:
            hint = f"chown {_me()} {quoted(path)}; let producers in by its mode: chmod 1777, or 2770 with their group"
        else:
            hint = f"use an inbox in a folder of root or of user {_me()}, such as /srv/drop/{inbox.owner}"
        raise UntrustedSpoolError(path, cause=f"{who}, and so {does}", hint=hint, what=_refusing(path, inbox))
    if stat.S_ISLNK(info.st_mode) or (is_last and not is_trusted):
        return
    if info.st_mode & stat.S_ISVTX and not is_last:
        return  # only an entry's owner can take it away there, and that owner is judged next
    if who := _others(info, mine | hosts):
        hint = f"chmod go-w {quoted(path)}"
        if not is_last:
            hint += f"; or use an inbox in a folder that only root or user {_me()} can write to"
        raise UntrustedSpoolError(
            path, cause=f"{who} can write to it, and so {does}", hint=hint, what=_refusing(path, inbox)
        )


def _refusing(path: str, inbox: Inbox) -> str:
    return f"refusing the inbox {inbox.owner}: {path}"


def _identity(path: str) -> tuple[int, int]:
    """Device and inode of a folder; (0, 0), which no folder has, where it is not there."""
    try:
        info = os.stat(path)
    except OSError:
        return 0, 0
    return info.st_dev, info.st_ino


def _is_the_spools(spool: SpoolDir, path: str) -> InvalidSettingsError:
    what = f"{spool.settings_path}: inbox.path: {path} holds the spool, or is one of its own folders"
    return InvalidSettingsError(what, path=spool.settings_path, key="inbox.path", hint="use a folder beside it")


def check_keys(spool: SpoolDir, settings: Settings) -> None:
    """Refuse keys that others can read or replace. Raises as `check_inboxes`."""
    signed = [inbox for inbox in settings.inboxes if inbox.keys]
    if not signed:
        return
    from queuectl.inbox import keyfile  # and with it the machinery of random numbers

    for inbox in signed:
        folder = keys_path(spool, inbox)
        try:
            listed = sorted(name for name in os.listdir(folder) if name.endswith(keyfile.ENDING))
        except OSError as error:
            what = f"{spool.settings_path}: inbox.keys: {folder}: {error.strerror}"
            hint = "mkdir -m 700 there, then queuectl sign --new-key FOLDER/NAME.key"
            raise InvalidSettingsError(what, path=spool.settings_path, key="inbox.keys", hint=hint) from error
        check_folders(folder, why="could put keys of their own there")
        for name in listed:
            path = os.path.join(folder, name)
            check_key(path)
            try:
                keyfile.read(path)
            except (ValueError, OSError) as error:
                what = f"{spool.settings_path}: inbox.keys: {path}: {getattr(error, 'strerror', None) or error}"
                hint = f"queuectl sign --new-key {quoted(path)}  makes one, once this is gone"
                raise InvalidSettingsError(what, path=spool.settings_path, key="inbox.keys", hint=hint) from error


def check_key(path: str) -> None:
    """Refuse a key that others can read or replace (POSIX; on Windows its access list decides).

    Raises:
        UntrustedSpoolError: the path at fault and the command that closes it.
        FileNotFoundError, OSError: as the system says.
    """
    info = os.lstat(path)
    if sys.platform == "win32":
        return
    if stat.S_ISREG(info.st_mode) and (info.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(info.st_mode) & 0o077):
        who = "its owner is another user" if info.st_uid not in (os.geteuid(), 0) else "others can read or write it"
        hint = f"chmod 600 {quoted(path)}"
        if info.st_uid not in (os.geteuid(), 0):
            hint = f"chown {user_name(os.geteuid())} {quoted(path)} && {hint}"
        raise UntrustedSpoolError(
            path, cause=f"{who}, and so could sign jobs", hint=hint, what=f"refusing the key {path}"
        )
    check_folders(os.path.dirname(os.path.abspath(path)), why="could put keys of their own there")


def check_commands(spool: SpoolDir, settings: Settings) -> None:
    """Refuse commands whose program is not there, is a batch file, or can be replaced by others.

    Raises as `check_inboxes`.
    """
    if not settings.commands:
        return
    from queuectl.model import command as templates

    for name, command in settings.commands.items():
        key = f"commands.{name}.argv"
        program = find_program(command)
        if not program:
            what = f"{spool.settings_path}: {key}: there is no program {command.argv[0]!r}"
            hint = "write its full path; the pool's own PATH does not count"
            raise InvalidSettingsError(what, path=spool.settings_path, key=key, hint=hint)
        if templates.is_batch(program):
            what = f"{spool.settings_path}: {key}: {program} is a batch file, whose arguments cmd.exe reads as commands"
            hint = "name the program that it starts"
            raise InvalidSettingsError(what, path=spool.settings_path, key=key, hint=hint)
        check_folders(program, why=f"could have it run what they like as user {_me()}")


def find_program(command: Command) -> str:
    """The file that a command starts, by the PATH that it will have; "" where there is none."""
    import shutil

    from queuectl.system import environment

    path = command.env.get("PATH", environment.minimal_here()["PATH"])
    return shutil.which(command.argv[0], path=path) or ""


def inbox_path(spool: SpoolDir, inbox: Inbox) -> str:
    """Where an inbox lies."""
    return os.path.join(spool.root, inbox.path)


def keys_path(spool: SpoolDir, inbox: Inbox) -> str:
    """Where the keys of an inbox lie."""
    return os.path.join(spool.root, inbox.keys)


def check_folders(path: str, *, why: str) -> None:
    """Refuse a path that others can write to, or can put another in the place of: in any folder on the way to it.

    Folders above it with the sticky bit (/tmp) may be anybody's: only an entry's owner can take it away there. What
    is not there is not refused.

    Raises:
        UntrustedSpoolError: see there.
    """
    if sys.platform == "win32":
        return
    for at, is_above in _on_the_way(os.path.abspath(path)):
        try:
            info = os.lstat(at)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(info.st_mode):
            if info.st_uid in (os.geteuid(), 0):
                continue
        elif is_above and info.st_mode & stat.S_ISVTX and info.st_uid in (os.geteuid(), 0):
            continue
        if who := _others(info):
            mine = info.st_uid in (os.geteuid(), 0)
            hint = f"chmod go-w {quoted(at)}" if mine else f"chown -h {_me()} {quoted(at)}"
            raise UntrustedSpoolError(at, cause=f"{who} can write to it, and so {why}", hint=hint)


def _on_the_way(path: str) -> Iterator[tuple[str, bool]]:
    """`path`, every link that it leads over, and every folder above each of them (True)."""
    for _ in range(_LINKS_MOST):
        yield path, False
        above = os.path.dirname(path)
        while True:
            yield above, True
            if os.path.dirname(above) == above:
                break
            above = os.path.dirname(above)
        if not os.path.islink(path):
            break
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    if (real := os.path.realpath(path)) != path:
        yield from _on_the_way(real)


def _is_in(path: str, folder: str) -> bool:
    """True where `path` is `folder` or lies in it."""
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:
        return False


def _me() -> str:
    return user_name(os.geteuid()) if sys.platform != "win32" else "of the workers"


def _others(info: os.stat_result, mine: Collection[int] = ()) -> str:
    """Who else may write, in words, or "". `mine` are the users who may own it, where others may than root and us."""
    if sys.platform == "win32":
        return ""
    if info.st_uid not in (mine or (os.geteuid(), 0)):
        return f"its owner, user {user_name(info.st_uid)},"
    mode = stat.S_IMODE(info.st_mode)
    if mode & stat.S_IWOTH:
        return "every user"
    if mode & stat.S_IWGRP and not _is_private_group(info.st_gid, info.st_uid):
        return f"group {_group_name(info.st_gid)}"
    return ""


def _is_private_group(gid: int, uid: int) -> bool:
    """True for a group of one: many systems give each user a group of the same name, and a umask of 002."""
    if sys.platform == "win32":
        return False
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(uid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and user.pw_gid == gid and set(group.gr_mem) <= {user.pw_name}


def user_name(uid: int) -> str:
    """A user as a person calls it; the number where it has no name."""
    if sys.platform == "win32":
        return str(uid)
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    if sys.platform == "win32":
        return str(gid)
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def quoted(path: str) -> str:
    """A path as it is typed into a shell."""
    import shlex

    return shlex.quote(path)


# What is checked beside the spool itself, by the name of its line in `doctor`.
PARTS = {"inboxes": check_inboxes, "keys": check_keys, "commands": check_commands}
