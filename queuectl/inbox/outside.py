"""Folders outside an inbox that its files go to (`on_success`, `on_failure`), and moves into them from working/.

The way to such a folder is judged as that to the inbox is. On the file system of the inbox a move is one rename. On
another one the file is copied under a temporary name, synced, renamed and only then deleted, so that it is whole in one
place at least, whatever is killed, and nobody finds a part of it (FORMAT.md, "A folder outside the inbox").
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple

from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import opening
from queuectl.inbox.place import Place
from queuectl.model.file_command import is_outside
from queuectl.model.inbox import FILES, Inbox
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import MACHINERY
from queuectl.spool.session import Session
from queuectl.system import disk, volume

MOVED = ".queuectl-moved"
"""The note of a copy that is whole, in working/SPOOL-ID, where nobody else can write."""
_NOTE_BYTES = 4096


class OutsideError(Exception):
    """A file cannot go to a folder outside its inbox now: the folder, why, and what to do."""


def folders(inbox: Inbox) -> dict[str, str]:
    """Return the folders outside an inbox that its files go to, by the key of the settings that names them."""
    found = {"on_success": inbox.on_success, "on_failure": inbox.on_failure} if inbox.mode == FILES else {}
    return {key: path for key, path in found.items() if is_outside(path)}


def check(spool: SpoolDir, settings: Settings, inbox: Inbox) -> None:
    """Refuse folders that other users could exchange, or whose files would become jobs, as `open_folder` does.

    A missing folder (an offline share) is judged when it is back.
    """
    for key, path in folders(inbox).items():
        with contextlib.suppress(OSError):
            opened = open_folder(spool, settings, inbox, key, path)
            opening.close(opened)
            for other in settings.inboxes:  # several paths can lead to one folder (a bind mount)
                if other.mode != FILES and opening.folder_id(opening.inbox_path(spool, other)) == opened.identity:
                    raise _becomes_jobs(spool, key, path, f"is the inbox of {other.owner}")


def open_folder(spool: SpoolDir, settings: Settings, inbox: Inbox, key: str, path: str) -> opening.Opened:
    """Judge every folder on the way to a folder for files whose jobs have ended, and open it.

    Raises:
        UntrustedSpoolError: another user could replace it, or exchange the files in it.
        InvalidSettingsError: its files would become jobs, because it is in a spool or is an inbox.
        OSError: the folder does not exist, or cannot be opened.
    """
    path = os.path.abspath(path)
    if sys.platform == "win32":
        info = os.stat(path)
        fd, seen = -1, [(info.st_dev, info.st_ino)]
    else:
        fd, seen = opening.walk(path, inbox, key)
    try:
        if why := _why_jobs(spool, settings, inbox, path, set(seen)):
            raise _becomes_jobs(spool, key, path, why)
    except BaseException:
        if fd >= 0:
            os.close(fd)
        raise
    return opening.Opened(fd, seen[-1])


def _becomes_jobs(spool: SpoolDir, key: str, path: str, why: str) -> InvalidSettingsError:
    what = f"{spool.settings_path}: inbox.{key}: {path} {why}"
    hint = "use a folder that is in no spool and no inbox"
    return InvalidSettingsError(what, path=spool.settings_path, key=f"inbox.{key}", hint=hint)


def _why_jobs(spool: SpoolDir, settings: Settings, inbox: Inbox, path: str, seen: set[tuple[int, int]]) -> str:
    """Return why files in a folder could become jobs, "" if they could not. `seen` are the folders on the way to it.

    A copy belongs to the workers' user, so in a spool or a trusted inbox it would run.
    """
    own = os.path.abspath(opening.inbox_path(spool, inbox))
    if opening.folder_id(own) in seen or opening.is_in(os.path.realpath(path), os.path.realpath(own)):
        return "is in the inbox itself; write only the name of the folder"
    if opening.folder_id(spool.root) in seen:
        return "is in the spool"
    above = real = os.path.realpath(path)
    while True:
        if os.path.isdir(os.path.join(above, MACHINERY)):
            return f"is in the spool {above}"
        if os.path.dirname(above) == above:
            break
        above = os.path.dirname(above)
    for other in settings.inboxes:  # by their paths only: the share of another inbox may hang
        folder = os.path.abspath(opening.inbox_path(spool, other))
        if other.mode != FILES and (opening.is_in(real, folder) or opening.is_in(path, folder)):
            return f"is in the inbox of {other.owner}"
    return ""


class Opener:
    """Opens the folders outside one inbox. `beat` is called while a large file is copied."""

    def __init__(self, session: Session, inbox: Inbox, *, beat: Callable[[], None] = lambda: None) -> None:
        self._session = session
        self._inbox = inbox
        self.beat = beat
        self.sync = session.syncs_accepted

    def open(self, path: str) -> Place:
        """Open a folder. Raises as `open_folder`."""
        key = next(key for key, each in folders(self._inbox).items() if each == path)
        opened = open_folder(self._session.spool, self._session.settings, self._inbox, key, path)
        return Place(os.path.abspath(path), opened.fd)


def words(error: Exception, path: str) -> str:
    """Return why a file cannot go to the folder `path` now, and what to do."""
    if isinstance(error, UntrustedSpoolError | InvalidSettingsError):
        return "; ".join(part for part in (str(error), error.cause, error.hint) if part)
    code = getattr(error, "errno", None)
    name = getattr(error, "filename", None)
    if code == errno.ENOENT:
        return f"there is no folder {path}; create it"
    if code in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no room in {path}; make some, or use another folder"
    if code == errno.EROFS:
        return f"{path} is on a file system that is mounted read-only"
    if code in (errno.EACCES, errno.EPERM):
        return f"the workers' user may not move {os.fsdecode(name) if name else 'it'} to {path}; change its rights"
    return f"it cannot be moved to {path}: {getattr(error, 'strerror', None) or error}"


class _Note(NamedTuple):
    """A copy that is whole: the entry that it is of, the name that it will have, and the versions of both."""

    name: str
    target: str
    entry: list[int]
    copy: list[int]


class Carrier:
    """Moves the entries of one folder in working/ to a folder on another file system.

    Args:
        place: working/SPOOL-ID.
        to: the folder outside.
        temporary: the name of an unfinished copy there, which no other job has.
    """

    def __init__(self, place: Place, to: Place, temporary: str, opener: Opener) -> None:
        self._place = place
        self._to = to
        self._temporary = temporary
        self._opener = opener
        self.must_copy = place.info().st_dev != to.info().st_dev
        """Whether an entry must be copied: no rename leads to another file system."""

    @property
    def text(self) -> str:
        """The name of an unfinished text in the folder outside."""
        return f"{self._temporary}.txt"

    def recover(self) -> None:
        """Complete a move that was cut short: delete an entry whose copy has arrived, or a part of a copy."""
        note = self._noted()
        if note is not None and _version(self._to, note.target) == note.copy:
            if self._opener.sync:
                self._to.sync()
            if _version(self._place, note.name) == note.entry:
                _remove(self._place, note.name)
        self._place.remove(MOVED)
        _remove(self._to, self._temporary)
        _remove(self._to, self.text)

    def copy(self, name: str) -> None:
        """Copy an entry under the temporary name. Raises OSError."""
        _remove(self._to, self._temporary)
        self._copy(self._place, name, self._to, self._temporary)

    def publish(self, name: str, target: str) -> None:
        """Give the copy its name, and delete the entry. Raises FileExistsError (the name is taken), OSError."""
        entry, copy = _version(self._place, name), _version(self._to, self._temporary)
        note = json.dumps(_Note(name, target, entry, copy)).encode()
        self._place.remove(MOVED)
        disk.create(self._place.entry(MOVED), note, sync=self._opener.sync, at=self._place.at)
        if self._opener.sync:
            self._place.sync()
        self._to.move(self._temporary, self._to, target)
        if self._opener.sync:
            self._to.sync()
        _remove(self._place, name)
        self._place.remove(MOVED)

    def _copy(self, place: Place, name: str, to: Place, target: str) -> None:
        info = place.look(name)
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        self._opener.beat()
        if stat.S_ISLNK(info.st_mode):
            disk.copy_link(place.entry(name), to.entry(target), at=place.at, to=to.at)
        elif stat.S_ISDIR(info.st_mode):
            to.make(target)
            with place.folder(name) as source, to.folder(target) as made:
                for each in sorted(source.names()):
                    self._copy(source, each, made, each)
                if self._opener.sync:
                    made.sync()
        elif stat.S_ISREG(info.st_mode):
            if info.st_size > volume.space(self._to.path).free_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            source_path, path = place.entry(name), to.entry(target)
            disk.copy(source_path, path, sync=self._opener.sync, at=place.at, to=to.at, beat=self._opener.beat)
        else:
            raise OSError(errno.EINVAL, f"{name} is a pipe, a socket or a device; delete it", name)

    def _noted(self) -> _Note | None:
        try:
            name, target, entry, copy = json.loads(self._place.read(MOVED, _NOTE_BYTES))
            return _Note(name, target, entry, copy) if entry and copy else None
        except (FileNotFoundError, ValueError, TypeError):  # torn: the copy has no other name yet
            return None


def _version(place: Place, name: str) -> list[int]:
    """Return inode, size and time of an entry, [] if there is none; of a folder, which may be half empty, the inode."""
    info = place.look(name)
    if info is None:
        return []
    return [info.st_ino, *((-1, -1) if stat.S_ISDIR(info.st_mode) else (info.st_size, info.st_mtime_ns))]


def _remove(place: Place, name: str) -> None:
    """Delete an entry, a folder with all that is in it. Raises OSError."""
    info = place.look(name)
    if info is not None and stat.S_ISDIR(info.st_mode):
        with place.folder(name) as folder:
            for each in folder.names():
                _remove(folder, each)
        place.remove_folder(name)
    elif info is not None:
        place.remove(name)
