"""Check who can make workers run commands: only users who may write to the spool (promise P10).

Anyone who can put a file into pending/, or change the settings, can run code as the worker's user. So only that user
and root may be able to write to the spool's root, to the settings and to every folder except logs/.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from queuectl.errors import UntrustedSpoolError
from queuectl.model.lifecycle import PENDING
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FOLDERS, LOGS

if TYPE_CHECKING:
    from queuectl.model.settings import Settings

_LINKS_MOST = 40


def check(spool: SpoolDir) -> None:
    """Refuse a spool that other users can write to. On Windows the folder's ACL decides, so nothing is checked here.

    Raises:
        UntrustedSpoolError: the first path at fault, who could write there, and the command that fixes it.
    """
    if sys.platform == "win32":
        return
    paths = [spool.root, *(os.path.join(spool.root, folder) for folder in FOLDERS if folder != LOGS)]
    paths += [spool.machinery, spool.settings_path, spool.schedules_dir]
    for path in paths:
        try:
            info = os.stat(path)
        except FileNotFoundError:
            continue
        if who := others(info):
            raise UntrustedSpoolError(
                path,
                cause=f"{who} can write to it, and so could run commands as user {user_name(os.geteuid())}",
                hint=_cure(spool, info.st_uid),
            )


def _cure(spool: SpoolDir, owner: int) -> str:
    """Return the command that makes a spool safe in which `owner` owns a part, without taking another user's spool."""
    if sys.platform == "win32":  # never called there; this line is for mypy
        return ""
    ours = (os.geteuid(), 0)
    if owner in ours:
        return f"chmod -R go-w {quoted(spool.root)}"
    if (whose := os.stat(spool.root).st_uid) in ours:
        return f"chown -R {user_name(os.geteuid())} {quoted(spool.root)}"
    return f"run this command as user {user_name(whose)}, or create your own spool: queuectl init FOLDER"


def way_to(spool: SpoolDir) -> tuple[str, str]:
    """Return who could replace the spool with another folder, as a sentence, and what to do; "" for nobody.

    This is no reason to refuse: in a container the parent folder often belongs to a user of the host, who may do
    anything there anyway.
    """
    try:
        check_folders(spool.root, why="could replace this spool with another")
    except UntrustedSpoolError as error:
        return f"{error.path}: {error.cause}", error.hint
    return "", ""


def stranger(root: str) -> int | None:
    """Return another user who owns the spool at `root` or an essential part of it; None if this user owns all."""
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
    """Return the users whose files in pending/ may run: root, the spool's owner, the workers' user; None for all users.

    No other user can put a file there, so another user's file got there by root's mistake or by a security hole.
    """
    if sys.platform == "win32" or settings.run_files_of_others:
        return None
    return frozenset({0, os.geteuid(), os.stat(spool.root).st_uid})


def foreign_owner(owner: int) -> tuple[str, str]:
    """Return why a file is refused whose owner `owners` does not name, and what to do."""
    why = f"it belongs to user {user_name(owner)}, but only files of root and of user {me()} may run"
    hint = f"chown it to {me()} and move it back; or allow all users: queuectl config set run_files_of_others true"
    return why, hint


def check_folders(path: str, *, why: str) -> None:
    """Refuse a path that other users can write to, or can replace in any folder on the way to it.

    A parent folder with the sticky bit (/tmp) is accepted, because only an entry's owner can remove it there.
    A missing path is not refused.

    Raises:
        UntrustedSpoolError: the path at fault; `why` says what others could do.
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
        if who := others(info):
            mine = info.st_uid in (os.geteuid(), 0)
            hint = f"chmod go-w {quoted(at)}" if mine else f"chown -h {me()} {quoted(at)}"
            raise UntrustedSpoolError(at, cause=f"{who} can write to it, and so {why}", hint=hint)


def _on_the_way(path: str) -> Iterator[tuple[str, bool]]:
    """Yield `path`, every link on the way to it, and every folder above each of them (True)."""
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


def me() -> str:
    """Return this process' user, for a sentence."""
    if sys.platform == "win32":
        return "of the workers"
    return user_name(os.geteuid())


def others(info: os.stat_result, mine: Collection[int] = ()) -> str:
    """Return who else may write, in words, or "". `mine` are the users who may own it; by default root and us."""
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
    """True for a user's own group: many systems give each user a group of the same name, and a umask of 002."""
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
    """Return the name of a user, or the number if there is no name."""
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
    """Return a path quoted for a shell."""
    import shlex

    return shlex.quote(path)
