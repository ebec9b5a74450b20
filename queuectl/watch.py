"""Being woken when something lands in a folder. The only module that imports watchdog.

An event is a hint, never a fact: a lost one delays work by one scan at most (promise P8).

watchdog's own Linux emitter asks for renames out of the folder too and then waits up to 0.5 s to pair each with a
rename into it; a queue renames out with every claim, so each drop behind a claim would wait. The emitter here asks
only for what can be a new file: moved to, created, closed after writing (0.4 ms from rename to wake-up). On Windows
watchdog hands events on when none came for `timeout`, hence a short one there.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver

_WINDOWS_TIMEOUT_S = 0.05


class _Handler(FileSystemEventHandler):
    def __init__(self, notify: Callable[[str], None]) -> None:
        super().__init__()
        self._notify = notify

    def on_any_event(self, event: FileSystemEvent) -> None:
        # A handler that raises would end watchdog's thread.
        with contextlib.suppress(Exception):
            if event.is_directory or event.event_type in ("opened", "closed_no_write", "deleted"):
                return
            path = os.fsdecode(event.dest_path or event.src_path)
            self._notify(os.path.basename(path))


class Watch:
    """Watches one folder while armed and calls `notify` with the name of each file that may be new.

    `notify` is called from another thread and must not block.
    """

    def __init__(self, folder: str, notify: Callable[[str], None]) -> None:
        self._folder = folder
        self._handler = _Handler(notify)
        self._observer: BaseObserver | None = None
        self._watch: Any = None

    @property
    def armed(self) -> bool:
        """True while events are asked for."""
        return self._watch is not None

    def arm(self) -> bool:
        """Start watching; False where the system cannot (too many watches, a folder that is gone): scans go on.

        What arrived before is not told: list the folder after arming.
        """
        if self._watch is not None:
            return True
        try:
            if self._observer is None:
                self._observer = _make_observer()
                self._observer.start()
            self._watch = self._observer.schedule(self._handler, self._folder, recursive=False)
        except Exception:  # watchdog raises OSError, and errors of its own: all mean "no events"
            self._watch = None
            return False
        return True

    def disarm(self) -> None:
        """Stop asking for events (under load the listing holds the work already)."""
        if self._watch is not None and self._observer is not None:
            with contextlib.suppress(Exception):
                self._observer.unschedule(self._watch)
        self._watch = None

    def close(self) -> None:
        """End watchdog's threads."""
        self.disarm()
        if self._observer is not None:
            self._observer.stop()
            with contextlib.suppress(RuntimeError):
                self._observer.join(2)
            self._observer = None


def _make_observer() -> BaseObserver:
    if sys.platform.startswith("linux"):
        return _linux_observer()
    from watchdog.observers import Observer

    made: BaseObserver = Observer(timeout=_WINDOWS_TIMEOUT_S) if os.name == "nt" else Observer()
    return made


def _linux_observer() -> BaseObserver:
    from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
    from watchdog.observers.inotify_c import InotifyConstants, Mask

    class DropEmitter(InotifyEmitter):
        """Asks only for what can be a new or finished file, and for the end of the folder itself."""

        def get_event_mask_from_filter(self) -> Mask:
            return Mask(
                InotifyConstants.IN_MOVED_TO
                | InotifyConstants.IN_CREATE
                | InotifyConstants.IN_CLOSE_WRITE
                | InotifyConstants.IN_DELETE_SELF
            )

    made = InotifyObserver()
    made._emitter_class = DropEmitter
    return made
