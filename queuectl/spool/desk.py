"""The desk of a running command: a folder in which the command leaves what it gives back.

A command may leave anything there: links, pipes, folders, another folder in the place of the desk. So a desk is used by
its handle (POSIX), without following links, and only regular files on it are read or moved. Upholds P4 for results: a
result is in logs/ before the outcome of its run is on record.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import NamedTuple

from queuectl.model import names
from queuectl.model.progress import TAIL_BYTES
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import LOGS
from queuectl.system import disk, files, inodes, rights

RESULT, PROGRESS, STDIN, AGAIN, PARENTS = "result", "progress", "stdin", "again", "parents.json"
# More of what a command writes to `again` is no time.
_AGAIN_BYTES = 64
# More names than this are not deleted one by one between two runs.
_NAMES_AT_MOST = 64


class Given(NamedTuple):
    """What a run left on its desk."""

    result_bytes: int | None = None
    """The size of the result, which is in logs/ now; None without one."""
    warnings: tuple[str, ...] = ()
    again: str = ""
    """When the command wants to run again, as it said, or ""."""
    progress: str = ""
    """What the command said last about its progress, safe to show, or ""."""


NOTHING = Given()


class OpenDesk:
    """One desk, open. On Windows it has no handle and is used by its path."""

    def __init__(self, spool: SpoolDir, path: str, fd: int | None) -> None:
        self._spool = spool
        self.path = path
        self.fd = fd
        self.parents_path = os.path.join(path, PARENTS)
        self._parents: tuple[int, os.stat_result] | None = None
        """The handle and the facts of `parents.json`, if it is kept."""

    @classmethod
    def make(cls, spool: SpoolDir, path: str) -> OpenDesk:
        """Create a desk at `path`; what a command put there before is deleted.

        Raises:
            OSError: a problem of the machine.
        """
        while True:
            try:
                disk.make_private_folder(path, spool.file_mode)
            except FileExistsError:
                if not _is_folder(path):
                    disk.unlink(path)
                    continue
                made = cls.open(spool, path)
                if made.clear():
                    return made
                made.close()
                raise
            except FileNotFoundError:
                if spool.restore(spool.desk_dir):  # somebody deleted it
                    continue
                raise
            return cls.open(spool, path)

    @classmethod
    def open(cls, spool: SpoolDir, path: str) -> OpenDesk:
        """Open the desk at `path`. Raises OSError, also if it is not a folder."""
        if sys.platform == "win32":
            if not _is_folder(path):
                raise NotADirectoryError(path)
            return cls(spool, path, None)
        return cls(spool, path, files.open_folder_in(path, at=None, to_list=True))

    def close(self) -> None:
        """Close the handles."""
        self._let_parents_go()
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def names(self) -> list[str]:
        """Return the names on the desk. Raises OSError."""
        return files.names(self.path if self.fd is None else self.fd)

    def is_in_place(self) -> bool:
        """Return whether the desk is still what its path leads to."""
        if self.fd is None:
            return _is_folder(self.path)
        with contextlib.suppress(OSError):
            return _is_folder(self.path) and inodes.is_at(self.fd, self.path)
        return False

    def keep_result(self, job_id: str, attempt: int) -> Given:
        """Move the result to logs/, under another name if that one is taken.

        Raises:
            OSError: logs/ cannot take it now; try again.
        """
        name = self._place(RESULT)
        try:
            if not files.is_regular(name, at=self.fd):
                is_there = files.sig_of(name, at=self.fd) is not None
                text = f"{RESULT} on its desk is no regular file, so this attempt has no result"
                return Given(warnings=(text,)) if is_there else NOTHING
        except OSError as error:
            return _unkept(error)
        target = self._spool.result_path(job_id, attempt)
        while True:
            try:
                disk.move(name, target, at=self.fd)
            except FileExistsError:
                target = self._spool.result_path(f"{job_id}-{names.new_token(self._spool.rng)}", attempt)
                continue
            except FileNotFoundError:
                if self._spool.restore(self._spool.folder(LOGS)):
                    continue
                return NOTHING  # a process of the run has deleted it
            except OSError as error:
                if rights.may_change(self.path):
                    raise
                return _unkept(error)  # the command has closed its own desk
            break
        info = os.lstat(target)
        if not stat.S_ISREG(info.st_mode):  # a process of the run put something else there between the two calls
            with contextlib.suppress(OSError):
                disk.unlink(target)
            return NOTHING
        if info.st_nlink == 1:
            rights.set_mode(target, self._spool.file_mode)
        return Given(info.st_size)

    def result_size(self) -> int:
        """Return the size of the result so far; 0 without one."""
        try:
            name = self._place(RESULT)
            sig = files.sig_of(name, at=self.fd) if files.is_regular(name, at=self.fd) else None
        except OSError:
            return 0
        return 0 if sig is None else sig.size

    def again(self) -> str:
        """Return what the command wrote about when it wants to run again, or ""."""
        try:
            found = files.read(self._place(AGAIN), _AGAIN_BYTES, at=self.fd)
        except FileNotFoundError:
            return ""
        except OSError:
            return AGAIN  # a link, a pipe: no time
        return AGAIN if found.oversize else found.data.decode("ascii", "replace").strip()

    def progress(self) -> bytes:
        """Return the end of what the command wrote about its progress."""
        try:
            fd, info = files.open_regular(self._place(PROGRESS), self.fd)
        except OSError:
            return b""  # nothing, or a link or pipe
        try:
            return b"".join(files.read_part(fd, max(0, info.st_size - TAIL_BYTES), info.st_size))
        finally:
            os.close(fd)

    def open_text(self, data: bytes) -> int:
        """Write a text for the command's standard input; return a handle to read it. Raises OSError."""
        name = self._place(STDIN)
        disk.create(name, data, sync=False, mode=self._spool.file_mode, at=self.fd)
        return files.open_regular(name, self.fd)[0]

    def put_parents(self, data: bytes, *, keep: bool) -> bool:
        """Write what the command may know of its job's parents; return whether `has_parents` can find it later.

        With `keep` it stays open, if the system lets others delete it then. Raises OSError.
        """
        name = self._place(PARENTS)
        disk.create(name, data, sync=False, mode=self._spool.file_mode, at=self.fd)
        if keep and self.fd is not None:
            self._parents = files.open_regular(name, self.fd)
        return self._parents is not None

    def has_parents(self, data: bytes) -> bool:
        """Return whether `parents.json` is there as it was made, with this content: a command may have changed it."""
        if self._parents is None:
            return False
        fd, made = self._parents
        try:
            found = os.lstat(PARENTS, dir_fd=self.fd)
            is_same = (found.st_ino, found.st_mode, found.st_nlink) == (made.st_ino, made.st_mode, made.st_nlink)
            return is_same and os.pread(fd, len(data) + 1, 0) == data
        except OSError:
            return False

    def take_parents(self) -> None:
        """Delete `parents.json`, if it is there. Raises OSError."""
        self._let_parents_go()
        disk.unlink(self._place(PARENTS), at=self.fd)

    def _let_parents_go(self) -> None:
        if self._parents is not None:
            os.close(self._parents[0])
            self._parents = None

    def clear(self) -> bool:
        """Delete what is on the desk; return False if something stays: then use another desk."""
        self._let_parents_go()
        try:
            found = self.names()
            if len(found) > _NAMES_AT_MOST:
                return False
            for name in found:
                disk.unlink(self._place(name), at=self.fd)
        except OSError:
            return False
        return True

    def _place(self, name: str) -> str:
        return os.path.join(self.path, name) if self.fd is None else name


def keep_result(spool: SpoolDir, lease: str, job_id: str, attempt: int) -> Given:
    """Move the result of a run whose worker is gone to logs/; return what is there if that was done before.

    Raises:
        OSError: logs/ cannot take it now; try again.
    """
    given = NOTHING
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        desk = OpenDesk.open(spool, spool.desk_path(lease))
        try:
            given = desk.keep_result(job_id, attempt)
        finally:
            desk.close()
    if given.result_bytes is None:
        sig = files.sig_of(spool.result_path(job_id, attempt))
        given = given._replace(result_bytes=None if sig is None else sig.size)
    return given


def progress(spool: SpoolDir, lease: str) -> bytes:
    """Return the end of what the command under a lease wrote about its progress."""
    path = spool.desk_path(lease)
    try:
        if not lease or not files.is_regular(os.path.join(path, PROGRESS)):
            return b""
        opened = OpenDesk.open(spool, path)
    except OSError:
        return b""
    try:
        return opened.progress()
    finally:
        opened.close()


def remove(spool: SpoolDir, lease: str) -> bool:
    """Delete a desk that no process needs, with all that is on it; return False if something stays."""
    path = spool.desk_path(lease)
    try:
        if _is_folder(path):
            disk.remove_tree(path)
        else:
            disk.unlink(path)
    except (OSError, RecursionError):  # what a command left may be nested without end
        return False
    return True


def _is_folder(path: str) -> bool:
    """Return whether a path is a folder, and no link or junction to one."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if sys.platform == "win32" and info.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT:
        return False
    return stat.S_ISDIR(info.st_mode)


def _unkept(error: OSError) -> Given:
    return Given(warnings=(f"its result could not be kept: {error.strerror or error}",))
