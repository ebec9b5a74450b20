"""The spool folder: open and complete it, and read, write and move its files.

This module makes no decisions. It writes every file in tmp/ and then renames or links it, so readers see whole files.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Iterator

import msgspec

from queuectl.errors import DamagedRecordError, NotASpoolError, SpoolUnavailableError
from queuectl.model import names, record
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import PENDING
from queuectl.model.setting import READ
from queuectl.model.settings import SETTINGS_NAME, Settings
from queuectl.spool.layout import FOLDERS, MACHINERY, Located
from queuectl.spool.listing import Listing
from queuectl.system import acting, disk, files, sharing

# No history grows to this size; a larger file in a state folder is not a record.
RECORD_MAX_BYTES = 64 * 1024 * 1024


class Stored(msgspec.Struct, frozen=True):
    """A record as it was read: decoded, its bytes, and the signature of the file."""

    record: record.Record
    data: bytes
    sig: files.FileSig


class SpoolDir(Listing):
    """One spool folder. Creating the object changes nothing on disk; see `open` and `create.create`."""

    def __init__(self, root: str | os.PathLike[str], *, rng: random.Random | None = None) -> None:
        super().__init__(root)
        acting.note(self.root)
        self.rng = rng or random.Random()
        """The source of unique names."""
        self.file_mode = disk.PRIVATE_MODE
        self.restored: list[str] = []
        """Folders that were missing and were created again; the code that reports them empties this list."""

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> SpoolDir:
        """Open the spool at `root`. Missing folders (a git clone keeps no empty ones) count as empty.

        Raises:
            NotASpoolError: there is no such folder, or it is not a spool.
        """
        found = cls(root)
        if not is_spool(found.root):
            cause = "it has neither queuectl.toml nor pending/" if os.path.isdir(found.root) else "no such folder"
            raise NotASpoolError(found.root, cause=cause)
        found.lacks_folders = not all(os.path.isdir(os.path.join(found.root, folder)) for folder in FOLDERS)
        return found

    def complete(self) -> None:
        """Create the folders that `open` missed. Every write calls this first. Raises SpoolUnavailableError."""
        if self.lacks_folders:
            self.make_folders()

    def make_folders(self) -> None:
        """Create the missing folders. Raises SpoolUnavailableError."""
        try:
            for folder in FOLDERS:
                path = os.path.join(self.root, folder)
                if not os.path.isdir(path):
                    disk.make_folder(path)
        except OSError as error:
            raise cannot_make(self.root, error) from error
        self.lacks_folders = False

    def restore_folders(self) -> None:
        """Create the missing folders again, except those that hold locks.

        Call this only if the spool is known to be in its place. Raises OSError.
        """
        for folder in FOLDERS:
            path = os.path.join(self.root, folder)
            if path not in (self.stripe_dir, self.lease_dir, self.pool_dir):
                self.restore(path)

    def restore(self, path: str) -> bool:
        """Create one folder again and note it in `restored`; return False if it exists. Raises OSError."""
        if os.path.isdir(path):
            return False
        disk.make_folder(path)
        self.restored.append(os.path.relpath(path, self.root))
        return True

    # ------------------------------------------------------------------------------------------------- records

    def read_document(self, path: str, *, patience_s: float = sharing.SHARING_DEADLINE_S) -> files.Content:
        """Read a drop of at most JOB_MAX_BYTES, or a record, which may be larger. Anything else is `oversize`.

        Raises:
            OSError: the same as `files.read`.
        """
        content = files.read(path, JOB_MAX_BYTES, patience_s=patience_s)
        # A large file is read only if its first bytes are those of a record.
        if not content.oversize or content.sig.size > RECORD_MAX_BYTES:
            return content
        if files.read_head(path, record.OPENING_BYTES) not in record.OPENINGS:
            return content
        return files.read(path, RECORD_MAX_BYTES, patience_s=patience_s)

    def read_drop(
        self, path: str, *, patience_s: float = sharing.SHARING_DEADLINE_S
    ) -> tuple[files.Content, float | None]:
        """Read as `read_document`, and return also when the file last changed if a program has it open for writing.

        See `files.written_at`.

        Raises:
            OSError: the same as `files.read`.
        """
        content, written_at = files.read_and_look(path, JOB_MAX_BYTES, patience_s=patience_s)
        if content.oversize:
            return self.read_document(path, patience_s=patience_s), files.written_at(path)
        return content, written_at

    def open_document(self, path: str) -> tuple[int, files.Content]:
        """Read as `read_document`, and also return a handle for `disk.append`, -1 if there is none.

        No other process changes the file. The caller closes the handle.
        """
        try:
            fd, content = files.open_and_read(path, JOB_MAX_BYTES)
        except PermissionError:
            return -1, self.read_document(path)
        if not content.oversize:
            return fd, content
        os.close(fd)
        return -1, self.read_document(path)

    def read(self, state: str, name: str, *, patience_s: float = sharing.SHARING_DEADLINE_S) -> Stored:
        """Read and decode a framed record.

        Raises:
            DamagedRecordError: the file is not framed, or not a record.
            OSError: the same as `files.read`.
        """
        path = self.path(state, name)
        content = self.read_document(path, patience_s=patience_s)
        if content.oversize or not record.is_framed(content.data):
            raise DamagedRecordError(f"{path} is not a record of queuectl", path=path)
        return Stored(record.decode(content.data, path=path), content.data, content.sig)

    def write_temporary(self, hint: str, data: bytes, *, sync: bool, mode: int | None = None) -> str:
        """Write an unfinished file in tmp/ under a unique name; return its path.

        The name begins with `hint`, for a person who finds it. The file gets `mode`, else the mode of files of jobs.
        """
        self.complete()
        while True:
            path = self.tmp_path(f"{hint}.{os.getpid()}-{names.new_token(self.rng, 8)}")
            try:
                disk.create(path, data, sync=sync, mode=self.file_mode if mode is None else mode)
            except FileExistsError:
                continue
            return path

    @contextlib.contextmanager
    def temporary(self, hint: str, data: bytes, *, sync: bool, mode: int | None = None) -> Iterator[str]:
        """Write an unfinished file for a block that moves it to its place; delete it if the block fails.

        The arguments are those of `write_temporary`.
        """
        path = self.write_temporary(hint, data, sync=sync, mode=mode)
        try:
            yield path
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(path)
            raise

    def replace_file(self, path: str, data: bytes, *, hint: str, sync: bool, mode: int | None = None) -> None:
        """Replace the file at `path` in one step. The arguments are those of `write_temporary`.

        Raises:
            OSError: the file at `path` is unchanged, and nothing is left behind.
        """
        with self.temporary(hint, data, sync=sync, mode=mode) as temporary:
            disk.replace(temporary, path)

    def publish_file(self, path: str, data: bytes, *, hint: str, sync: bool, mode: int | None = None) -> None:
        """Create a file that is whole as soon as it is visible. The arguments are those of `write_temporary`.

        Raises:
            FileExistsError: the name is taken; nothing is left behind.
            OSError: the system call failed; nothing is left behind.
        """
        with self.temporary(hint, data, sync=sync, mode=mode) as temporary:
            disk.publish(temporary, path)

    def move(self, source: Located, state: str, name: str) -> str:
        """Move a job's file to `state` under `name`, or under a similar name if that is taken (P7).

        Return the file's new name. A missing folder is created again.

        Raises:
            FileNotFoundError: the source is gone.
        """
        wanted = name
        while True:
            try:
                disk.move(source.path, self.path(state, wanted))
            except FileExistsError:
                wanted = names.beside(name, f"-{names.new_token(self.rng)}")
                continue
            except FileNotFoundError:
                if files.sig_of(source.path) is not None and self.restore(self.folder(state)):
                    continue  # somebody deleted the folder
                raise
            return wanted

    def use(self, settings: Settings) -> None:
        """Write files of jobs with the mode of these settings from now on."""
        self.file_mode = disk.GROUP_MODE if settings.group_access == READ else disk.PRIVATE_MODE


def is_spool(root: str) -> bool:
    """True if `root` is a spool: it has queuectl.toml, or both .queuectl/ and pending/."""
    return os.path.isfile(os.path.join(root, SETTINGS_NAME)) or (
        os.path.isdir(os.path.join(root, PENDING)) and os.path.isdir(os.path.join(root, MACHINERY))
    )


def cannot_make(root: str, error: OSError) -> SpoolUnavailableError:
    """Return the error for a spool at `root` that cannot be created or completed because of `error`."""
    parts = re.split(r"[\\/]", root) if os.name == "nt" else []
    if device := next(filter(names.is_device, parts), ""):
        cause, hint = f"{device} is the name of a device on Windows", "choose another name"
    else:
        cause, hint = f"{error.filename or root}: {error.strerror or error}", ""
    return SpoolUnavailableError(f"cannot create the spool {root}", path=root, cause=cause, hint=hint)
