"""Names for files whose jobs have ended, and the texts beside those that failed: nothing is overwritten.

The second `Scan.pdf` in a folder becomes `Scan (2).pdf`. Its text, `Scan (2).pdf.failed.txt`, is there before the file.
Only a text that queuectl has written, and that nobody has changed, is replaced or deleted.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from queuectl.inbox import outside
from queuectl.inbox.place import Place
from queuectl.model import file_command, names
from queuectl.model.seal import is_sealed, seal
from queuectl.system import disk, files

FAILED_TEXT = ".failed.txt"
# A text on its way, in working/SPOOL-ID, where nobody else can write.
TEMPORARY = ".queuectl-text"
_TEXT_MAX_BYTES = 64 * 1024
# So many numbers are tried for a name that is taken.
_NUMBERS_MOST = 10_000


def move(place: Place, name: str, to: Place, wanted: str, *, text: str = "", by: outside.Carrier | None = None) -> str:
    """Move an entry to the first free name like `wanted`; return that name. `by` moves it out of the inbox."""
    carrier = by if by is not None and by.must_copy else None
    if carrier is not None:
        carrier.copy(name)
    while True:
        target = free_name(to, wanted, with_text=bool(text))
        try:
            if text:
                at, temporary = (place, TEMPORARY) if by is None else (to, by.text)
                _put_text(at, temporary, to, target + FAILED_TEXT, text)
            if carrier is None:
                place.move(name, to, target)
            else:
                carrier.publish(name, target)
        except FileExistsError:
            if text:
                forget_text(to, target + FAILED_TEXT)
            continue
        except OSError as error:
            if by is None or carrier is not None or error.errno != errno.EXDEV:
                raise
            carrier = by  # a mount of the same file system
            carrier.copy(name)
            continue
        return target


def free_name(to: Place, name: str, *, with_text: bool = False, room: int = 0) -> str:
    """Return the first free name like `name` in a folder; `with_text`: whose text is free, or without a file.

    `room` bytes of a file's name are left for an ending.
    """
    for each in _numbered(name, room=len(FAILED_TEXT) if with_text else room):
        if to.look(each) is None and (not with_text or _is_text_free(to, each + FAILED_TEXT)):
            return each
    raise FileExistsError(17, f"there are {_NUMBERS_MOST} files of this name", name)


def forget_text(place: Place, name: str) -> None:
    """Delete a text, if it is one of ours."""
    with contextlib.suppress(OSError):
        if is_sealed(place.read(name, _TEXT_MAX_BYTES)):
            place.remove(name)


def _put_text(place: Place, temporary: str, to: Place, name: str, text: str) -> None:
    """Write a text whole, in place of a text whose file is gone. Raises FileExistsError, OSError."""
    forget_text(to, name)
    place.remove(temporary)
    disk.create(place.entry(temporary), seal(text), sync=False, mode=disk.FILE_MODE, at=place.at)
    place.move(temporary, to, name)


def _is_text_free(to: Place, text: str) -> bool:
    try:
        return to.look(text) is None or is_sealed(to.read(text, _TEXT_MAX_BYTES))
    except FileNotFoundError:
        return True
    except (files.NotRegularError, PermissionError):
        return False


def _numbered(name: str, *, room: int) -> Iterator[str]:
    """Yield a name, then `NAME (2)`, `NAME (3)` ..., with the number before the ending, and `room` bytes left."""
    stem, suffix = file_command.split_ending(name)
    for number in range(1, _NUMBERS_MOST):
        ending = f" ({number}){suffix}" if number > 1 else suffix
        head = stem
        while len(head) > 1 and len(os.fsencode(head + ending)) > names.NAME_MAX_BYTES - room:
            head = head[:-1]
        yield head + ending
