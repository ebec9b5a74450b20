"""What every poll of an inbox needs, whatever its files are: judge and open the folder, report trouble, show the state.

If the inbox cannot be used, the next poll tries again; each problem is reported once. A process of its own polls each
inbox (`process`), because its share may hang.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from queuectl.errors import InvalidSettingsError, UntrustedSpoolError
from queuectl.inbox import opening
from queuectl.inbox.identity import identity_of
from queuectl.inbox.limits import Limits
from queuectl.inbox.state import ROWS, InboxState, publish
from queuectl.inbox.trust import check_keys
from queuectl.model import times
from queuectl.model.inbox import Inbox
from queuectl.model.notice import INFO, WARNING, Notice
from queuectl.spool.session import Session
from queuectl.system import volume

# A copy over a network may pause for longer than one on this machine.
_NETWORK_SETTLE_S = 120.0
_FAR = (volume.NETWORK, volume.USERSPACE, volume.REMOVABLE, volume.SHARED)

Box = TypeVar("Box", bound=contextlib.AbstractContextManager[object])


class Polling(ABC, Generic[Box]):
    """Polls one inbox. `notices` collects messages for people; the caller takes them from there.

    A poll opens the folder again and works in it through a `Box`, which closes it.

    `beat` is called between two steps of a poll, so that the supervisor sees that the poll makes progress.
    """

    def __init__(self, session: Session, inbox: Inbox, path: str, *, beat: Callable[[], None] = lambda: None) -> None:
        self.notices: list[Notice] = []
        self.renamed: set[str] = set()
        """Names that were renamed into the folder, as `system.watch` tells them; only inboxes of files use them."""
        self.catch_up: Callable[[], None] = lambda: None
        """Bring `renamed` up to date."""
        self._session = session
        self._spool = session.spool
        self._clock = session.clock
        self._inbox = msgspec.structs.replace(inbox, path=path)
        self._path = path
        self._beat = beat
        self._limits = Limits(inbox, clock=self._clock)
        self._has_polled = False
        self._folder: tuple[int, int] | None = None
        """The folder of the last poll, by device and inode."""
        self._measure()
        self._reported_trouble = ""
        self._state = InboxState(owner=inbox.owner, path=path, mode=inbox.mode)
        self._shown: InboxState | None = None
        self._shown_s = 0.0

    def is_far(self) -> bool:
        """Whether the folder is not on a disk of this machine, so that its file system sends no events."""
        return volume.of(self._path).nature in _FAR

    def _measure(self) -> None:
        """Look where the folder is now, and how long its files must be quiet for that."""
        self._is_far = self.is_far()
        self._settle_s = _NETWORK_SETTLE_S if self._is_far else self._session.settings.settle_s
        if isinstance(self._inbox.settle_s, int | float):
            self._settle_s = self._inbox.settle_s

    @property
    def state(self) -> InboxState:
        """What the last poll found."""
        return self._state

    @property
    def rejected(self) -> int:
        """How many files the last poll rejected."""
        return 0

    @property
    def is_drained(self) -> bool:
        """Whether the last poll left no file that may be taken soon."""
        return not (self._state.waiting or self._state.arriving)

    @property
    def folders(self) -> Mapping[str, tuple[int, int]]:
        """The subfolders whose files are taken too, by their paths, with device and inode."""
        return {}

    @property
    def due_s(self) -> float:
        """In how many seconds the next poll has something to do, as far as the last one knows."""
        return float("inf")

    @property
    def has_work(self) -> bool:
        """Whether `work` has something to do between two polls."""
        return False

    def work(self) -> bool:
        """Do a part of what takes long, some 10 ms; return whether a poll should follow now."""
        return False

    def is_news(self, name: str) -> bool:
        """Return whether an event for this name is worth a poll."""
        return not name.startswith(".") and not name.endswith(".txt")

    def step(self) -> list[str]:
        """Poll once, and report problems as notices; return the names in pending/ of the accepted jobs."""
        try:
            if self._inbox.keys:
                check_keys(self._spool, self._session.settings)
            published = self.poll()
        except OSError as error:
            self._trouble(self._words(error))
            return []
        except (UntrustedSpoolError, InvalidSettingsError) as error:
            self._trouble(f"{error}: {error.cause}; {error.hint}")
            return []
        if self._reported_trouble:
            self._say(INFO, "is reachable again")
            self._reported_trouble = ""
        return published

    def poll(self) -> list[str]:
        """Poll once; return as `step`.

        Raises:
            UntrustedSpoolError, InvalidSettingsError: others can do more to the folder than the settings allow.
            OSError: the folder or the spool cannot be used now.
        """
        with self._opened() as box:
            self._has_polled = True
            return self._poll(box)

    def finish(self) -> None:
        """Write and move what is left, when the pool has ended its jobs."""
        if self._has_polled:
            with contextlib.suppress(OSError, UntrustedSpoolError, InvalidSettingsError), self._opened() as box:
                self._finish(box)

    @abstractmethod
    def _box(self, fd: int, identity: str) -> Box:
        """Return the box of an opened folder. It closes the handle `fd`. `identity` is that of the spool."""

    @abstractmethod
    def _poll(self, box: Box) -> list[str]:
        """Poll once; return and raise as `poll`."""

    @abstractmethod
    def _finish(self, box: Box) -> None:
        """Do what is left in the box, when the pool has ended its jobs. Raises OSError."""

    def show(self, *, every_s: float) -> None:
        """Publish the state if it has changed, and at least every `every_s` seconds."""
        now_s = self._clock.monotonic()
        is_new = self._shown is None or _news(self._shown) != _news(self._state)
        if is_new or now_s >= self._shown_s + every_s:
            try:
                publish(self._spool, self._state)
            except OSError:
                return
            self._shown, self._shown_s = self._state, now_s

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Box]:
        """Judge and open the folder again, because modes change and a share can be unmounted between two polls."""
        opened = opening.open_inbox(self._spool, self._inbox)
        try:
            identity = identity_of(self._spool)
            if self._folder != opened.identity:
                self._measure()  # a share may have been mounted there
                if self._folder is not None:
                    what = "is now a different folder: it was renamed, made again or mounted again"
                    self._say(WARNING, f"{self._path} {what}; queuectl takes files from the new folder")
            self._folder = opened.identity
            box = self._box(opened.fd, identity)
        except BaseException:
            if opened.fd >= 0:
                os.close(opened.fd)
            raise
        with box:
            yield box

    def _seen(self, left: list[str], held_back: str, foreign: list[str], published: int) -> InboxState:
        """Return what every poll reports: the files left for later, why, those left alone, and how many it took."""
        return InboxState(
            owner=self._inbox.owner,
            path=self._path,
            mode=self._inbox.mode,
            listed_at=times.to_text(self._clock.now()),
            waiting=len(left),
            next=tuple(left[:ROWS]),
            held_back=held_back,
            left_alone=len(foreign),
            foreign=tuple(sorted(foreign)[:ROWS]),
            taken=self._state.taken + published,
        )

    def _words(self, error: OSError) -> str:
        if error.errno is None:
            return str(error)
        where = os.path.join(self._path, error.filename) if error.filename else self._path
        if isinstance(error, FileNotFoundError) and where == self._path:
            return f"there is no folder {self._path}; create it, or correct the path in {self._spool.settings_path}"
        return f"{error.strerror or error}: {where}"

    def _trouble(self, text: str) -> None:
        if text != self._reported_trouble:
            self._reported_trouble = text
            self._say(WARNING, f"{text}; queuectl tries again automatically")
        self._state = msgspec.structs.replace(self._state, trouble=text)

    def _say(self, level: str, text: str) -> None:
        self.notices.append(Notice(level, "inbox", text))


def _news(state: InboxState) -> object:
    """Return the part of a state that is written at once if it changes: all but how long files are quiet."""
    rows = tuple((row.name, row.size, row.why) for row in state.rows)
    return (
        state.waiting,
        state.arriving,
        rows,
        state.held_back,
        state.rejected,
        state.refused,
        state.foreign,
        state.kept,
        state.unmoved,
        state.unmoved_rows,
        state.taken,
        state.trouble,
        state.working,
        state.last_done,
        state.last_failed,
    )
