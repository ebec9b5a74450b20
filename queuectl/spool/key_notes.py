"""The key notes and locks of unique jobs: .queuectl/unique/KEY names the newest job of a key (promise P15).

A note is read, judged and replaced under the lock of its key, one of 64 permanent files. A lock is opened for each use:
a handle that stayed open would be shared by a process that forks. Notes are only a memory: a note that is lost or
broken lets a duplicate in, and loses no job.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from queuectl.model import names, uniqueness
from queuectl.model.lifecycle import DLQ, DONE, PENDING, RUNNING
from queuectl.model.uniqueness import Note, Place
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located
from queuectl.system import disk, files
from queuectl.system.locks import NamedLock

# How long a worker, which holds the stripe of a job, waits for the lock of a key.
GLANCE_S = 0.02
# How long a producer does.
PATIENCE_S = 10.0
_POLL_S = 0.0005
_POLL_AT_MOST_S = 0.01
_MAX_BYTES = 8192
_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(Note)


@contextlib.contextmanager
def locked(spool: SpoolDir, key: str, *, patience_s: float) -> Iterator[bool]:
    """Hold the lock of a unique key; yield False if another process holds it for longer than `patience_s`.

    Raises:
        OSError: the lock file cannot be opened.
    """
    with locked_by_name(spool, uniqueness.note_name(key), patience_s=patience_s) as is_locked:
        yield is_locked


@contextlib.contextmanager
def locked_by_name(spool: SpoolDir, name: str, *, patience_s: float) -> Iterator[bool]:
    """Hold the lock of the note with a name; see `locked`."""
    lock = NamedLock(spool.unique_lock_path(uniqueness.lock_number(name)))
    try:
        yield _acquire(spool, lock, patience_s)
    finally:
        lock.close()


@contextlib.contextmanager
def locked_together(spool: SpoolDir, keys: Iterable[str], *, patience_s: float) -> Iterator[str]:
    """Hold the locks of several keys; yield "", or a key whose lock another process holds for too long.

    The locks are taken in the order of their numbers, so two processes that do this never wait for each other.

    Raises:
        OSError: a lock file cannot be opened.
    """
    key_of = {uniqueness.lock_number(uniqueness.note_name(key)): key for key in keys}
    busy = ""
    with contextlib.ExitStack() as held:
        for number in sorted(key_of):
            lock = NamedLock(spool.unique_lock_path(number))
            held.callback(lock.close)
            if not _acquire(spool, lock, patience_s):
                busy = key_of[number]
                break
        yield busy


def _acquire(spool: SpoolDir, lock: NamedLock, patience_s: float) -> bool:
    try:
        if lock.try_acquire():
            return True
    except FileNotFoundError:  # the folder is made when it is first needed
        disk.make_folder(spool.unique_dir)
    until_s, pause_s = time.monotonic() + patience_s, _POLL_S
    while not lock.try_acquire():
        if time.monotonic() >= until_s:
            return False
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _POLL_AT_MOST_S)
    return True


def read(spool: SpoolDir, key: str) -> Note | None:
    """Return the note of a key; None if there is none, or none that can be read."""
    return read_named(spool, uniqueness.note_name(key))


def read_named(spool: SpoolDir, name: str) -> Note | None:
    """Return the note with a name; None if there is none, or none that can be read."""
    try:
        note = _decoder.decode(files.read(spool.unique_path(name), _MAX_BYTES).data)
    except (FileNotFoundError, NotADirectoryError, files.NotRegularError):
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_path = names.why_bad_id(note.id) or (note.behind and names.why_bad_id(note.behind))
    return None if is_path or os.path.basename(note.name) != note.name else note  # these become parts of paths


def write(spool: SpoolDir, key: str, note: Note, *, sync: bool) -> None:
    """Replace the note of a key. A folder that somebody put in its place stays there: then there is no note.

    Raises:
        OSError: the disk refuses.
    """
    write_all(spool, [(key, note)], sync=sync)


def write_all(spool: SpoolDir, notes: Sequence[tuple[str, Note]], *, sync: bool) -> None:
    """Replace the notes of some keys, each in one step, as `write`; they share a sync."""
    alone = len(notes) == 1
    with contextlib.ExitStack() as left:
        written: list[tuple[str, str]] = []
        for key, note in notes:
            data, path = _encode(note) + b"\n", spool.unique_path(uniqueness.note_name(key))
            temporary = spool.temporary("unique", data, sync=sync and alone, mode=disk.FILE_MODE)
            written.append((left.enter_context(temporary), path))
        if sync and len(notes) > 1:
            disk.sync_files(spool.tmp_dir, [temporary for temporary, _ in written])
        for temporary_path, path in written:
            _put_in_place(spool, temporary_path, path)


def _put_in_place(spool: SpoolDir, temporary: str, path: str) -> None:
    try:
        try:
            disk.replace(temporary, path)
        except FileNotFoundError:  # somebody deleted the folder
            disk.make_folder(spool.unique_dir)
            disk.replace(temporary, path)
    except (IsADirectoryError, PermissionError):
        if not os.path.isdir(path):
            raise
        disk.unlink(temporary)


def forget(spool: SpoolDir, key: str) -> None:
    """Delete the note of a key. Raises OSError."""
    forget_named(spool, uniqueness.note_name(key))


def forget_named(spool: SpoolDir, name: str) -> None:
    """Delete a note by its name. Raises OSError."""
    with contextlib.suppress(IsADirectoryError, NotADirectoryError):
        disk.unlink(spool.unique_path(name))


def noted(spool: SpoolDir) -> list[str]:
    """Return the names of all notes: one listing."""
    try:
        return [name for name in files.names(spool.unique_dir) if "." not in name]
    except (FileNotFoundError, NotADirectoryError):
        return []


def find(spool: SpoolDir, note: Note) -> Located | None:
    """Find the job of a note, under its known names, else by one listing of pending/; None if it is nowhere."""
    found = find_known(spool, note) or spool.find_named(note.id)
    # Meanwhile it may have moved from pending/ to a state that was looked at before.
    return found or spool.find_plain(note.id, (RUNNING, DONE, DLQ))


def find_known(spool: SpoolDir, note: Note) -> Located | None:
    """Find the job of a note under its known names only, by a few stats."""
    known = [note.name, names.held_name(note.name)] if note.name else []
    for name in known:
        if os.path.lexists(path := spool.path(PENDING, name)):
            return Located(PENDING, name, path)
    return spool.find_plain(note.id, (RUNNING, PENDING, DONE, DLQ))


def place_of(spool: SpoolDir, note: Note | None) -> Place:
    """Return where the job of a note is."""
    if note is None:
        return Place()
    found = find(spool, note)
    return Place() if found is None else Place(found.state == PENDING, found.state == RUNNING, found.state == DONE)
