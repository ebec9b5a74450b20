"""Resolve a producer's path and refuse it unless it is inside the allowed folder. Read the disk, change nothing.

The walk goes name by name from that folder, follows links, and ends where a name or a link leads out. It reads
nothing outside, so a refusal reveals nothing about files there. The command gets the resolved path, so the path that
was judged is the path that is used. A user who can change the folder `under` can still put a link there afterwards
(docs/security.md).
"""

from __future__ import annotations

import errno
import os
import sys

from queuectl.errors import InvalidJobError
from queuectl.model.command import Param
from queuectl.model.text import safe

_LINKS_MOST = 40


class _OutsideError(Exception):
    """The path leads out of the folder."""


def resolve(param: Param, text: str) -> str:
    """Return the absolute path, free of links, that `text` names below `param.under`; relative texts begin there.

    Raises:
        InvalidJobError: the path is not below that folder, or does not exist although it must.
    """
    shown = safe(text)[:120]
    under = os.path.realpath(param.under)
    if not os.path.isdir(under):
        what = f"the folder {param.under} is missing at the moment"
        raise InvalidJobError(what, key="params", hint="ask the person who runs the queue, then send the file again")
    try:
        found = _walked(under, os.path.abspath(param.under), text)
    except _OutsideError:
        what = f"{shown!r} is not in {param.under}"
        raise InvalidJobError(
            what, key="params", hint="name a file in that folder; links that lead out of it are not allowed"
        ) from None
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        why = "its links form a loop" if code == errno.ELOOP else getattr(error, "strerror", None) or error
        raise InvalidJobError(f"{shown!r} cannot be looked up: {why}", key="params") from error
    if param.exists and not os.path.exists(found):
        raise InvalidJobError(
            f"{shown!r} does not exist", key="params", hint=f"put it in {param.under}, then send this file again"
        )
    return found


def is_in(under: str, path: str) -> bool:
    """Return whether a path names something in a folder, judged by the texts of both, as `resolve` begins."""
    path = os.path.abspath(path)
    return _is_below(path, os.path.realpath(under)) or _is_below(path, os.path.abspath(under))


def _walked(under: str, named: str, text: str) -> str:
    """Return the path of a text in the folder `under`, which the settings may spell differently (`named`)."""
    if sys.platform == "win32":
        return _walked_by_the_system(under, named, text)
    here: list[str] = []
    left = _names_below(under, named, text)[::-1]
    links = 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            if not here:
                raise _OutsideError
            here.pop()
            continue
        path = os.path.join(under, *here, name)
        try:
            target = os.readlink(path)
        except FileNotFoundError:
            target = ""  # the rest does not exist either, so its names decide
        except OSError as error:
            if error.errno != errno.EINVAL:  # "is no link"
                raise
            target = ""
            if left and not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        if not target:
            here.append(name)
            continue
        links += 1
        if links > _LINKS_MOST:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            here = []
            target = "/".join(_names_below(under, named, target))
        left += target.split("/")[::-1]
    if not here:
        raise _OutsideError  # the folder itself is not inside it
    return os.path.join(under, *here)


def _names_below(under: str, named: str, text: str) -> list[str]:
    """Return the names of a path below the folder; all names of a relative path."""
    if not text.startswith("/"):
        return text.split("/")
    names = [name for name in text.split("/") if name not in ("", ".")]
    for folder in (under, named):
        above = [name for name in folder.split("/") if name]
        if names[: len(above)] == above:
            return names[len(above) :]
    raise _OutsideError


def _walked_by_the_system(under: str, named: str, text: str) -> str:
    """Do the same as `_walked` on Windows, where one file has many names. Reads no path that begins outside."""
    path = os.path.normpath(os.path.join(under, text))
    if not _is_below(path, under) and not _is_below(path, named):
        raise _OutsideError
    try:
        found = os.path.realpath(path, strict=True)
    except FileNotFoundError:
        found = os.path.realpath(path)  # the target of a dangling link decides
    except OSError:
        found = os.path.realpath(path)
        if _is_below(found, under):
            raise
    if not _is_below(found, under):
        raise _OutsideError
    return found


def _is_below(path: str, under: str) -> bool:
    """Return whether a path is below `under`, at any depth; the folder itself is not."""
    path, under = os.path.normcase(path), os.path.normcase(under)
    try:
        return path != under and os.path.commonpath([path, under]) == under
    except ValueError:  # two drives
        return False
