"""Give root the rights of a spool's owner while it works in that spool (POSIX).

A file that root creates in a spool must belong to the spool's owner from its first instant, because a lock file of root
would keep the owner's workers from the jobs that it guards. The owner also decides where the names in the spool lead:
a folder in it can be a link to /etc. With the owner's rights, root creates, changes and reads nothing there that the
owner could not. So no check is needed, and no race is possible.

On Linux the rights are those of the calling thread for files (setfsuid(2)), elsewhere the effective user of the
process.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_ASK = 0xFFFFFFFF  # not a user: setfsuid changes nothing and returns the current one


class Owner(NamedTuple):
    """A user, their group, and all of their groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]


_owners: dict[str, Owner] = {}
_acting = threading.local()


def note(root: str) -> None:
    """Work in the folder `root` as its owner from now on, if this process is root and the owner is another user."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    try:
        info = os.stat(root)
    except OSError:
        _owners.pop(root, None)
        return
    if info.st_uid == 0:
        _owners.pop(root, None)
    elif root not in _owners or _owners[root][:2] != (info.st_uid, info.st_gid):
        _owners[root] = Owner(info.st_uid, info.st_gid, _groups(info.st_uid, info.st_gid))


def owner_of(path: str) -> Owner | None:
    """Return the owner of the noted folder that `path` is in, or None."""
    for root, owner in _owners.items():
        if path.startswith(root) and path[len(root) : len(root) + 1] in ("", os.sep):
            return owner
    return None


def as_owner(call: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function that takes paths, so that it uses the rights of the owner of their spool (see `note`)."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return call  # the process cannot become root later

    @functools.wraps(call)
    def acting(*args: P.args, **kwargs: P.kwargs) -> R:
        if _owners:
            for path in args[:2]:
                if isinstance(path, str) and (owner := owner_of(path)) is not None:
                    with rights_of(owner):
                        return call(*args, **kwargs)
        return call(*args, **kwargs)

    return acting


@contextlib.contextmanager
def rights_of(owner: Owner) -> Iterator[None]:
    """Use the rights of a user within the block; do nothing if this process is not root, or already uses them.

    Raises:
        PermissionError: the system refuses.
    """
    if sys.platform == "win32" or os.geteuid() != 0 or getattr(_acting, "owner", None) == owner:
        yield
        return
    groups = os.getgroups()
    _acting.owner = owner
    try:
        with contextlib.suppress(PermissionError):  # a container that forbids it
            os.setgroups(owner.groups)
        _take(owner)
        yield
    finally:
        _give_back()
        with contextlib.suppress(PermissionError):
            os.setgroups(groups)
        _acting.owner = None


def _take(owner: Owner) -> None:
    if sys.platform == "win32":
        return
    system = _file_rights()
    if system is None:
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
        return
    system.setfsgid(owner.gid)
    system.setfsuid(owner.uid)
    if (system.setfsgid(_ASK) & _ASK, system.setfsuid(_ASK) & _ASK) != (owner.gid, owner.uid):
        raise PermissionError(errno.EPERM, f"cannot work as user {owner.uid}, who owns the spool")


def _give_back() -> None:
    if sys.platform == "win32":
        return
    system = _file_rights()
    if system is None:
        os.seteuid(0)
        os.setegid(os.getgid())
    else:
        system.setfsuid(os.geteuid())
        system.setfsgid(os.getegid())


@functools.cache
def _file_rights() -> Any:
    """Return the C library if it can give a thread the rights of another user for files, else None."""
    if sys.platform != "linux":
        return None
    from queuectl.system import libc

    return libc.handle if hasattr(libc.handle, "setfsuid") and hasattr(libc.handle, "setfsgid") else None


def _groups(uid: int, gid: int) -> tuple[int, ...]:
    if sys.platform == "win32":
        return ()
    import pwd

    try:
        return tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except (KeyError, OSError):
        return (gid,)
