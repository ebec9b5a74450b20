"""Open the subfolders of an open folder, each by the handle of the one above it (FORMAT.md, "Subfolders").

A path is never used as a whole, so no link in it is followed, whatever is exchanged meanwhile (POSIX).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection

from queuectl.inbox.place import Place, UnsafeFolderError
from queuectl.model import names, subfolders

# So many names are tried for a folder whose name something else has.
_NUMBERS_MOST = 100


def inner(top: Place, sub: str, *, owners: Collection[int] = (), make: bool = False) -> Place:
    """Open a subfolder of `top`, which is not "". With `make` its missing folders are made, for this user alone.

    Raises:
        UnsafeFolderError: one of the folders is a link or a file, or belongs to another user than `owners`.
        FileNotFoundError, OSError: the system call failed.
    """
    place = top
    for name in subfolders.parts(sub):
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    place.make(name)
            below = place.folder(name, owners=owners)
        finally:
            if place is not top:
                place.close()
        place = below
    return place


class Descent:
    """The subfolders of one folder, of which the way to the last one stays open. The owner must close it."""

    def __init__(self, top: Place) -> None:
        self._top = top
        self._way: list[tuple[str, Place]] = []

    def to(self, sub: str) -> Place:
        """Return a subfolder, which the next call may close; "" is the folder itself. Raises as `inner`."""
        wanted = subfolders.parts(sub)
        there = 0
        while there < min(len(wanted), len(self._way)) and self._way[there][0] == wanted[there]:
            there += 1
        self._shorten(there)
        place = self._way[-1][1] if self._way else self._top
        for name in wanted[there:]:
            place = place.folder(name)
            self._way.append((name, place))
        return place

    def close(self) -> None:
        """Close the way."""
        self._shorten(0)

    def _shorten(self, length: int) -> None:
        while len(self._way) > length:
            self._way.pop()[1].close()


class Mirror:
    """Folders like those of the inbox, made where they are missing: in done/ and failed/, or in the inbox again.

    If something else has the name of a folder (a file, a link, a folder of another user, another file system), the next
    free name is used; without one, the folder above. So no file has to wait for a person, and nobody can stop an inbox
    with a folder of theirs. The owner must close it.

    Args:
        top: the folder in which they are.
        owners: the users to whom they may belong; empty: anybody.
        mode: the mode of new ones.
    """

    def __init__(self, top: Place, *, owners: Collection[int], mode: int) -> None:
        self._top = top
        self._owners = owners
        self._mode = mode
        self._open: dict[str, tuple[str, Place]] = {"": ("", top)}

    def to(self, sub: str) -> tuple[str, Place]:
        """Return the path and the open folder for a subfolder. Raises OSError."""
        if sub not in self._open:
            above, name = subfolders.split(sub)
            path, place = self.to(above)
            try:
                made, below = self._like(place, name)
            except (FileExistsError, PermissionError):
                return path, place
            self._open[sub] = (subfolders.join(path, made), below)
        return self._open[sub]

    @property
    def count(self) -> int:
        """How many folders are open."""
        return len(self._open)

    def sync(self) -> None:
        """Fsync all of them, as far as the file system can."""
        for _, place in self._open.values():
            place.sync()

    def close(self) -> None:
        """Close all but the top."""
        for sub, (_, place) in self._open.items():
            if sub:
                place.close()
        self._open = {"": ("", self._top)}

    def _like(self, place: Place, name: str) -> tuple[str, Place]:
        for number in range(1, _NUMBERS_MOST):
            each = _numbered(name, number)
            try:
                with contextlib.suppress(FileExistsError):
                    if place.look(each) is None:
                        place.make(each, self._mode)
                found = place.folder(each, owners=self._owners)
            except (UnsafeFolderError, FileNotFoundError):
                continue
            except PermissionError:
                if place.look(each) is None:
                    raise  # nothing may be made here
                continue
            if found.info().st_dev == place.info().st_dev:
                return each, found
            found.close()
        raise FileExistsError(
            17, f"there are {_NUMBERS_MOST} entries of this name, none of them a folder of ours", name
        )


def _numbered(name: str, number: int) -> str:
    """Return `NAME (2)` and so on, as long as a name may be; the first is the name itself."""
    ending = f" ({number})" if number > 1 else ""
    while len(os.fsencode(name + ending)) > names.NAME_MAX_BYTES:
        name = name[:-1]
    return name + ending


def is_folder_of(place: Place, name: str, owner: int) -> bool:
    """Return whether an entry is a folder of this user, as `inner` makes it (-1: of anybody)."""
    info = place.look(name)
    return info is not None and stat.S_ISDIR(info.st_mode) and owner in (-1, info.st_uid)
