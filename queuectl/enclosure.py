"""The path that a producer names, kept inside the folder that the settings name. Looks at the disk, changes nothing.

Links are followed first, then it is judged where that leads; the path so found is what the command gets, so that what
was judged and what is used are one text. Whoever can change the folder `under` can still put a link there afterwards:
that is told in docs/security.md.
"""

from __future__ import annotations

import errno
import os

from queuectl.errors import InvalidJobError
from queuectl.printable import safe
from queuectl.templates import Param


def resolve(param: Param, text: str) -> str:
    """The absolute path, free of links, that `text` names below `param.under`; relative texts begin there.

    Raises:
        InvalidJobError: it is not below that folder, or not there although it must be.
    """
    shown = safe(text)[:120]
    under = _real(param.under, shown)
    if not os.path.isdir(under):
        what = f"the folder {param.under} is not there now"
        raise InvalidJobError(what, key="params", hint="tell who runs the queue; then send it again")
    found = _real(os.path.join(under, text), shown)
    if not _is_below(found, under):
        what = f"{shown!r} is not in {param.under}"
        raise InvalidJobError(what, key="params", hint="name a file in that folder; links out of it do not count")
    if param.exists and not os.path.exists(found):
        raise InvalidJobError(
            f"{shown!r} is not there", key="params", hint=f"put it into {param.under}, then send this file again"
        )
    return found


def _real(path: str, shown: str) -> str:
    try:
        return os.path.realpath(path, strict=True)
    except FileNotFoundError:
        return os.path.realpath(path)  # a link that leads nowhere yet is judged by where it leads
    except (OSError, ValueError) as error:
        code = getattr(error, "errno", None)
        why = "is a circle of links" if code == errno.ELOOP else getattr(error, "strerror", None) or error
        raise InvalidJobError(f"{shown!r} cannot be looked up: {why}", key="params") from error


def _is_below(path: str, under: str) -> bool:
    """True for what lies in `under`, at any depth; the folder itself does not."""
    path, under = os.path.normcase(path), os.path.normcase(under)
    try:
        return path != under and os.path.commonpath([path, under]) == under
    except ValueError:  # two drives
        return False
