"""A hand on every call to the disk that `queuectl.system` makes (and on the start of a command): count, end, or fail.

`disk`, `outputs`, `files` and `rights` are the door to the disk, so their global `os` is replaced by one that asks
before and after each call. It works below the functions of `disk`, not around them: so a publish can be cut between
its link and its unlink, a write in its middle, and what `disk` itself does about a full disk is tested too.

What is not a change (an open for reading, a read, a listing) is counted only where calls are to fail. Syncs are not
made: a killed process loses nothing that the kernel has.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from queuectl.system import disk, files, libc, outputs, rights

if sys.platform != "win32":  # where the tests are skipped, but read
    from queuectl.worker.executors import posix

# Calls that change what is on disk. A kill elsewhere is the same as one after the change before it.
CHANGES = ("create", "write", "ftruncate", "unlink", "link", "rename", "replace", "mkdir", "rmdir", "spawn")
# Further calls that can fail.
OTHERS = ("open", "read", "listdir", "lstat", "fsync", "syncfs")
# A write is cut after these shares of its bytes: in its middle, and before the last byte (of an event: the closing).
TORN = {"torn": 0.5, "torn late": 1.0}


class Crash(BaseException):
    """The process "dies" here: no handler of the package knows it, and every later change raises it again."""


class Call(NamedTuple):
    """One call that was seen: its place in the order, its kind, and the path that it was made with."""

    number: int
    kind: str
    path: str


class Plan:
    """What is to happen: nothing (`Plan()` only counts), an end, or an error.

    Args:
        at: the number of the call at which it happens, from 1; 0 for never.
        how: `before`, `after`, `torn` or `torn late` for an end; `error` or `short` (a write that fails half done);
            `meanwhile` for something that another process does before the call, which is made then, or
            `meanwhile torn` in the middle of a write (who reads beside a write may see half of it).
        code: the errno of an error.
        stays: for how many more changes the error stays; then the disk works again.
        end: what ends the process (in a forked child a SIGKILL to itself), or what the other process does.
    """

    def __init__(
        self, at: int = 0, how: str = "", *, code: int = 0, stays: int = 0, end: Callable[[], None] | None = None
    ) -> None:
        self.calls: list[Call] = []
        self.happened: Call | None = None
        self._at = at
        self._how = how
        self._code = code
        self._stays = stays
        self._end = end or self._crash
        self._counted = (*CHANGES, *OTHERS) if code or not how else CHANGES
        self._armed = True
        self._dead = False

    def disarm(self) -> None:
        """From now on every call is made as it is."""
        self._armed = False

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Calls in the block are made as they are, and are not counted."""
        armed, self._armed = self._armed, False
        try:
            yield
        finally:
            self._armed = armed

    @staticmethod
    def _crash() -> None:
        raise Crash

    def make(self, kind: str, real: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Make one call, or what is planned instead of it."""
        if not self._armed:
            return real(*args, **options)
        if self._dead:
            if kind in CHANGES:
                raise Crash
            return real(*args, **options)
        if kind not in self._counted:
            return real(*args, **options)
        if self._stays and self.happened is not None:
            if kind in CHANGES:
                self._stays -= 1
                raise OSError(self._code, os.strerror(self._code), *args[:1])
            return real(*args, **options)
        path = os.fsdecode(args[0]) if args and isinstance(args[0], str | bytes) else ""
        call = Call(len(self.calls) + 1, kind, path)
        self.calls.append(call)
        if call.number != self._at:
            return real(*args, **options)
        if self._how in ("short", "meanwhile torn", *TORN) and kind != "write":
            return real(*args, **options)  # such a point is none; the sweep tells by `happened`
        self.happened = call
        if self._how.startswith("meanwhile"):
            self._armed = False
            fd_and_half = (args[0], args[1][: len(args[1]) // 2], *args[2:]) if self._how == "meanwhile torn" else ()
            written = real(*fd_and_half) if fd_and_half else 0
            self._end()
            return written or real(*args, **options)
        if self._how in ("short", *TORN):
            data = args[1]
            real(args[0], data[: min(len(data) - 1, int(len(data) * TORN.get(self._how, 0.5)))], *args[2:])
        elif self._how == "after":
            with contextlib.suppress(
                OSError
            ):  # also after a call that the system refuses, such as a link that is there
                real(*args, **options)
        if self._code:
            raise OSError(self._code, os.strerror(self._code), *args[:1])
        self._dead = True
        return self._end()


class _Os:
    """`os` with a hand on it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        for kind in (*CHANGES, *OTHERS):
            if hasattr(os, kind) and kind not in ("open", "fsync"):
                setattr(self, kind, self._asking(kind, getattr(os, kind)))
        self.fsync = self._asking("fsync", lambda _fd: None)
        self.pwrite = self._asking("write", os.pwrite)
        self.pread = self._asking("read", os.pread)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        """An open that makes a file is a change."""
        kind = "create" if flags & os.O_CREAT and not _is_there(path, dir_fd) else "open"
        fd: int = self._plan.make(kind, os.open, (path, flags, *rest), {"dir_fd": dir_fd})
        return fd

    def _asking(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: self._plan.make(kind, real, args, options)


def _is_there(path: str, dir_fd: int | None) -> bool:
    with contextlib.suppress(OSError):
        os.lstat(path, dir_fd=dir_fd)
        return True
    return False


_under_way: list[Plan] = []


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Make the calls in the block as if no plan were under way."""
    with contextlib.ExitStack() as stack:
        for plan in _under_way:
            stack.enter_context(plan.aside())
        yield


@contextlib.contextmanager
def injected(plan: Plan) -> Iterator[Plan]:
    """Put the plan's hand on the calls of this process, for as long as the block lasts."""
    rename = libc.rename_no_replace
    assert rename is not None, "POSIX only"

    def asking_rename(source: bytes, target: bytes, *folder: int) -> int:
        try:
            return int(plan.make("rename", rename, (source, target, *folder), {}))
        except OSError as error:
            ctypes.set_errno(error.errno or errno.EIO)
            return -1

    def asking_sync(folder: str, paths: Any) -> None:
        plan.make("syncfs", lambda *_: None, (folder, paths), {})

    operating_system = _Os(plan)
    hands: list[tuple[Any, str, Any]] = [
        (disk, "os", operating_system),
        (files, "os", operating_system),
        (outputs, "os", operating_system),
        (rights, "os", operating_system),
        (libc, "rename_no_replace", asking_rename),
        (disk, "sync_files", asking_sync),
        (posix, "os", _OnlySpawn(plan)),
    ]
    before = [getattr(module, name) for module, name, _ in hands]
    for module, name, hand in hands:
        setattr(module, name, hand)
    _under_way.append(plan)
    try:
        yield plan
    finally:
        _under_way.remove(plan)
        for (module, name, _), real in zip(hands, before, strict=True):
            setattr(module, name, real)


class _OnlySpawn:
    """`os` for the executor: the start of a command is a change of the world, the rest is none of the disk."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def posix_spawnp(self, *args: Any, **options: Any) -> Any:
        """Ask, then start."""
        return self._plan.make("spawn", os.posix_spawnp, args, options)
