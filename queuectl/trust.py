"""Who may make us run commands: only who may write to the spool already (promise P10).

Whoever can put a file into pending/, or change the settings, has code run as the worker's user. So the spool's root,
the settings and every folder but logs/ must be writable by nobody but that user (and root).
"""

from __future__ import annotations

import os
import stat
import sys

from queuectl.errors import UntrustedSpoolError
from queuectl.spool import FOLDERS, LOGS, SpoolDir


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
                hint=f"chmod -R go-w {_quoted(spool.root)}"
                if info.st_uid in (os.geteuid(), 0)
                else f"chown -R {user_name(os.geteuid())} {_quoted(spool.root)}",
            )


def _others(info: os.stat_result) -> str:
    """Who else may write, in words, or ""."""
    if sys.platform == "win32":
        return ""
    if info.st_uid not in (os.geteuid(), 0):
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


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
