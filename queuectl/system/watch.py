"""Wake a loop when a file arrives in a folder. The only module that imports watchdog.

An event is a hint, never a fact: a lost event delays work by at most one scan (promise P8).

On Linux the supervisor's own loop waits for inotify's handle and reads it: without a thread the wake-up has one step
less, and the process can fork. The usual event, a file in the watched folder, is taken from the bytes at once, because
a drop waits for it; watchdog's reader handles all others. The watch requests only events that can mean a new file:
moved to, created, closed after writing. (watchdog's own emitter also requests renames out of the folder, and waits up
to 0.5 s to pair each with a rename into it. Every claim renames a file out, so each drop after a claim would wait.)

Elsewhere watchdog's thread wakes the loop. On Windows watchdog passes on events only after `timeout` without a new one,
so the timeout is short there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from queuectl.system.wakeup import Wakeup

_WINDOWS_TIMEOUT_S = 0.05
# struct inotify_event without its name: watch, mask, cookie, length of the name (inotify(7)).
_HEAD = struct.Struct("iIII")
_READ_BYTES = 64 * 1024
# The most subfolders that are watched (Linux): a user's processes share some 10,000 to 1,000,000 watches.
FOLLOWED_MOST = 2000


class Watch:
    """Watches one folder while armed, for the names of files that may be new.

    With `is_deep` also its subfolders: those that `follow` names (Linux), elsewhere all. Then a name is a path with
    slashes, and folders count as files do.
    """

    def __init__(self, folder: str, *, tells_renames: bool = False, is_deep: bool = False) -> None:
        self._folder = folder
        self._is_deep = is_deep
        self._events: _Events | None = None
        self.armed = False
        """True while the system reports events."""
        self.renamed: set[str] | None = set() if tells_renames else None
        """The names of files that were renamed into the folder, or in it, and not closed by a writer since (Linux).
        With `is_deep` also folders, with a slash at the end, whose mode and times nobody has changed since. The caller
        removes them. None if nobody wants to know."""

    @property
    def source(self) -> Any:
        """The source for `multiprocessing.connection.wait` before a call of `names`; None if no event can come."""
        return None if self._events is None else self._events.source

    def arm(self) -> bool:
        """Start watching; return False if that fails (too many watches, a missing folder): scans still find files.

        Files that arrived before cause no events, so list the folder after arming.
        """
        if self.armed:
            return True
        try:
            if self._events is None:
                self._events = _make(is_deep=self._is_deep)
            self._events.begin(self._folder)
        except Exception:  # watchdog raises OSError and its own errors; all mean "no events"
            self.close()
            return False
        self.armed = True
        return True

    def follow(self, folders: Mapping[str, tuple[int, int]]) -> bool:
        """Watch these subfolders, by path, with device and inode, and no others; return whether one is new."""
        if not (self._is_deep and self.armed and self._events is not None):
            return False
        try:
            return self._events.follow(folders)
        except Exception:  # any error: continue with scans
            self.close()
            return False

    def names(self) -> list[str]:
        """Return the names of files that may be new since the last call, without waiting."""
        found: list[str] = []
        if self._events is not None:
            try:
                if not self._events.collect(found, self.renamed):
                    self.disarm()
            except Exception:  # any error: continue with scans, without events
                self.close()
        return found

    def disarm(self) -> None:
        """Stop the events, because under load the listings find all new files."""
        if self.armed and self._events is not None:
            with contextlib.suppress(Exception):
                self._events.end()
        self.armed = False

    def close(self) -> None:
        """Close all handles, and end watchdog's thread."""
        self.disarm()
        if self._events is not None:
            with contextlib.suppress(Exception):
                self._events.close()
            self._events = None

    def close_inherited(self) -> None:
        """Close only the handles, in a forked process, because the watch belongs to its parent."""
        if self._events is not None:
            self._events.close_inherited()


class _Events(Protocol):
    """A source of events. Any exception from it means that no events will come."""

    source: Any

    def begin(self, folder: str) -> None: ...

    def follow(self, folders: Mapping[str, tuple[int, int]]) -> bool: ...

    def collect(self, found: list[str], renamed: set[str] | None) -> bool:
        """Add the new names, and put `renamed` right; return False if the folder is no longer watched."""

    def end(self) -> None: ...

    def close(self) -> None: ...

    def close_inherited(self) -> None: ...


def _make(*, is_deep: bool) -> _Events:
    return _linux_events(is_deep=is_deep) if sys.platform == "linux" else _ObserverEvents(is_deep=is_deep)


def _linux_events(*, is_deep: bool) -> _Events:
    assert sys.platform == "linux"  # for mypy, too
    from watchdog.observers.inotify_c import (
        CallbackId,
        InotifyConstants,
        InotifyEvent,
        InotifyFD,
        Mask,
        WatchDescriptor,
    )

    only = CallbackId(0)
    wanted = Mask(InotifyConstants.IN_MOVED_TO | InotifyConstants.IN_CREATE | InotifyConstants.IN_CLOSE_WRITE)
    wanted = Mask(wanted | InotifyConstants.IN_MOVE_SELF)  # a renamed folder is no longer the watched one
    usual = frozenset((InotifyConstants.IN_MOVED_TO, InotifyConstants.IN_CREATE, InotifyConstants.IN_CLOSE_WRITE))
    moved_to = InotifyConstants.IN_MOVED_TO
    if is_deep:
        wanted = Mask(wanted | InotifyConstants.IN_ATTRIB)
    below = Mask(wanted | InotifyConstants.IN_ONLYDIR | InotifyConstants.IN_DONT_FOLLOW)

    class InotifyEvents(InotifyFD):
        """watchdog's reader, called by our loop instead of running as a thread."""

        def __init__(self) -> None:
            try:
                super().__init__()
            except OSError:  # no handle is left for its pipe: close the one that it has
                if (fd := self.__dict__.get("_inotify_fd", -1)) >= 0:
                    os.close(fd)
                raise
            self._is_reading = False  # no thread is in a read
            os.set_inheritable(self._inotify_fd, False)
            os.set_blocking(self._inotify_fd, False)
            self.source = self._inotify_fd
            self._names: list[str] = []
            self._renamed: set[str] | None = None
            self._watched: WatchDescriptor | None = None
            self._moved_away = False
            self._folder = ""
            self._followed: dict[str, tuple[tuple[int, int], WatchDescriptor]] = {}
            self._subs: dict[WatchDescriptor, str] = {}

        def begin(self, folder: str) -> None:
            self._moved_away = False
            self._folder = folder
            self._watched = self.add_callback(os.fsencode(folder), wanted, self, only)

        def follow(self, folders: Mapping[str, tuple[int, int]]) -> bool:
            for sub in [sub for sub, (identity, _) in self._followed.items() if folders.get(sub) != identity]:
                self._leave(sub)
            known = {identity for identity, _ in self._followed.values()}
            is_new = False
            for sub, identity in folders.items():
                if len(self._followed) >= FOLLOWED_MOST:
                    break
                if identity in known:
                    continue
                try:
                    watched = self.add_callback(os.fsencode(f"{self._folder}/{sub}"), below, self, only)
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        break  # the system has no more watches
                    continue  # it is gone, or no folder any more
                if watched < 0 or watched in self._subs or watched == self._watched:
                    continue  # it may not be read; or it is one of the others, by a rename just now
                self._followed[sub], self._subs[watched] = (identity, watched), sub
                known.add(identity)
                is_new = True
            return is_new

        def _leave(self, sub: str) -> None:
            _, watched = self._followed.pop(sub)
            self._subs.pop(watched, None)
            self._forget_renames(sub)
            self.remove_callbacks([(watched, only)])

        def _forget_renames(self, sub: str) -> None:
            """Forget what was renamed into a folder, because another one may have its path now."""
            if self._renamed:
                self._renamed.difference_update([name for name in self._renamed if name.startswith(f"{sub}/")])

        def collect(self, found: list[str], renamed: set[str] | None) -> bool:
            self._renamed = renamed
            try:
                data = os.read(self.source, _READ_BYTES)
            except BlockingIOError:
                data = b""
            start = 0
            while start < len(data):
                watched, mask, cookie, length = _HEAD.unpack_from(data, start)
                start += _HEAD.size + length
                name = data[start - length : start].rstrip(b"\0")
                if mask in usual and watched == self._watched:
                    found.append(os.fsdecode(name))
                    self._note(found[-1], is_rename=mask == moved_to)
                elif watched != -1 or mask & InotifyConstants.IN_Q_OVERFLOW:
                    self.handle_event(InotifyEvent(watched, mask, cookie, name))
            found += self._names
            self._names.clear()
            return self._watched is not None and not self._moved_away

        def _note(self, entry: str, *, is_rename: bool) -> None:
            """Note in `renamed` whether the last change of an entry was a rename."""
            if self._renamed is not None:
                change = self._renamed.add if is_rename else self._renamed.discard
                change(entry)

        def end(self) -> None:
            for sub in list(self._followed):
                self._leave(sub)
            if self._watched is not None:
                self.remove_callbacks([(self._watched, only)])

        def close_inherited(self) -> None:
            self._close_resources()

        # What watchdog calls.

        def on_event(self, event: InotifyEvent) -> None:
            sub = self._subs.get(event.wd, "")
            if event.is_move_self and event.wd != self._watched:
                for each in [each for each in self._followed if f"{each}/".startswith(f"{sub}/")]:
                    self._leave(each)  # their paths are others now
            elif event.is_move_self:
                self._moved_away = True
            elif not event.is_directory or is_deep:
                name = os.fsdecode(event.name)
                name = f"{sub}/{name}" if sub else name
                if not event.is_attrib:
                    self._names.append(name)
                elif not event.is_directory:
                    return
                self._note(f"{name}/" if event.is_directory else name, is_rename=event.is_moved_to)

        def on_watch_deleted(self, watched: WatchDescriptor) -> None:
            if watched == self._watched:
                self._watched = None
            elif (sub := self._subs.pop(watched, None)) is not None:
                self._followed.pop(sub, None)
                self._forget_renames(sub)

        def on_queue_overflow(self) -> None:
            """Ignore lost events: the next scan finds the files. A write after a rename may be among them."""
            if self._renamed is not None:
                self._renamed.clear()

    return InotifyEvents()


class _ObserverEvents:
    """Events of watchdog's thread."""

    def __init__(self, *, is_deep: bool) -> None:
        from watchdog.events import FileSystemEvent, FileSystemEventHandler
        from watchdog.observers import Observer

        names: deque[str] = deque()
        wakeup = Wakeup()
        self._is_deep = is_deep
        self.folder = ""
        outer = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: FileSystemEvent) -> None:
                # A handler that raises would end watchdog's thread.
                with contextlib.suppress(Exception):
                    if event.is_directory and not (is_deep and event.event_type in ("created", "moved")):
                        return
                    if event.event_type in ("opened", "closed_no_write", "deleted"):
                        return
                    path = os.fsdecode(event.dest_path or event.src_path)
                    names.append(os.path.relpath(path, outer.folder) if is_deep else os.path.basename(path))
                    wakeup.wake()

        self._names, self._wakeup, self._handler = names, wakeup, Handler()
        self.source = wakeup.conn
        self._observer = Observer(timeout=_WINDOWS_TIMEOUT_S) if os.name == "nt" else Observer()
        self._observer.start()
        self._watch: Any = None

    def begin(self, folder: str) -> None:
        self.folder = folder
        self._watch = self._observer.schedule(self._handler, folder, recursive=self._is_deep)

    def follow(self, folders: Mapping[str, tuple[int, int]]) -> bool:
        """Do nothing: all subfolders are watched."""
        return False

    def collect(self, found: list[str], renamed: set[str] | None) -> bool:
        if self._wakeup.conn.poll(0):
            self._wakeup.clear()
        while self._names:
            name = self._names.popleft()
            found.append(name.replace(os.sep, "/") if self._is_deep else name)
        return True

    def end(self) -> None:
        self._observer.unschedule(self._watch)

    def close(self) -> None:
        self._observer.stop()
        with contextlib.suppress(RuntimeError):
            self._observer.join(2)
        self._wakeup.close()

    def close_inherited(self) -> None:
        """Do nothing: a process with this thread never forks."""
