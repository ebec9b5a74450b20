"""Poll an inbox of jobs: accept complete jobs, reject invalid files, write receipts.

A poll lists names, and reads only files that may be accepted now.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.inbox import limits, replay
from queuectl.inbox.folder import Cause, Folder, Listing
from queuectl.inbox.handover import Handover
from queuectl.inbox.judge import Judge, NotYetError
from queuectl.inbox.polling import Polling
from queuectl.inbox.receipts import Receipts
from queuectl.inbox.rejections import Rejections
from queuectl.inbox.state import ROWS, InboxFile, InboxState
from queuectl.model.inbox import Inbox
from queuectl.model.notice import WARNING
from queuectl.model.record import Record
from queuectl.spool.session import Session
from queuectl.system import files, sharing

_WATCHED_AT_MOST = 1000
# Used signed ids that have expired are forgotten this often.
_SWEEP_S = 3600.0
# Why a file is skipped for now: it may become complete; it is tried again; it is not a regular file.
_ARRIVING, _UNREADABLE, _FOREIGN = "arriving", "unreadable", "foreign"


class _File(NamedTuple):
    """A file that is not a job yet. `kind` is _ARRIVING, _UNREADABLE or _FOREIGN."""

    sig: files.FileSig | None
    since_s: float
    kind: str
    cause: Cause


class Poller(Polling[Folder]):
    """Polls an inbox of jobs."""

    def __init__(self, session: Session, inbox: Inbox, path: str, *, beat: Callable[[], None] = lambda: None) -> None:
        super().__init__(session, inbox, path, beat=beat)
        self._strange: set[str] = set()
        self._judge = Judge(session, self._inbox)
        self._rejections = Rejections(
            self._inbox, self._judge, clock=self._clock, notify=self.notices.append, beat=beat
        )
        self._receipts = Receipts(session, inbox, notify=self.notices.append, beat=beat)
        self._handover = Handover(session, inbox.owner, expect=self._expect)
        self._arriving: dict[str, _File] = {}
        self._tried_to = ""
        """The last file that the last poll tried, of those beyond the number that can be watched."""
        self._next_sweep_s = self._clock.monotonic()

    @property
    def rejected(self) -> int:
        """How many files the last poll rejected."""
        return self._rejections.latest

    def _box(self, fd: int, identity: str) -> Folder:
        return Folder(self._path, identity, rng=self._session.rng, tokens=self._handover.tokens, fd=fd)

    def _poll(self, box: Folder) -> list[str]:
        found = box.scan()
        for name in found.unfinished:
            try:
                is_there = not box.remove(name)
            except OSError as error:
                if sharing.is_trouble(error):
                    raise
                is_there = True
            if is_there:  # a folder, or another user's file with this name: the poll continues
                found.foreign.append(name)
        published, strange = self._handover.recover(box, found.claimed)
        found.foreign.extend(strange)
        self._report_strange(set(strange))
        jobs = [*found.jobs, *self._rejections.readmit(box, found)]
        for name in box.orphan_texts(found):
            box.forget(name)
        self._rejections.begin(found)
        left, held_back = self._take(box, jobs, published)
        self._rejections.summarise(box, found)
        self._receipts.settle(box)
        if self._inbox.keys and self._clock.monotonic() >= self._next_sweep_s:
            self._next_sweep_s = self._clock.monotonic() + _SWEEP_S
            replay.sweep(self._spool, self._clock.now())
        self._state = self._as_seen(found, left, held_back, len(published))
        return published

    def _report_strange(self, strange: set[str]) -> None:
        """Report each file once whose name says that this spool claimed it."""
        if new := sorted(strange - self._strange):
            more = f" ({len(new) - 1} more)" if new[1:] else ""
            self._say(WARNING, f"{new[0]}{more} is ignored: its name says that this spool claimed it, but it did not")
        self._strange = strange

    def _finish(self, box: Folder) -> None:
        """Write the last receipts."""
        self._receipts.settle(box)
        self._handover.tokens.settle()

    # ------------------------------------------------------------------------------------------------- taking in

    def _take(self, box: Folder, jobs: list[str], published: list[str]) -> tuple[list[str], str]:
        """Accept or reject the files `jobs`; return those that are left for later, and the limit that keeps them.

        Append to `published` the names in pending/ of the accepted jobs.
        """
        there = set(jobs)
        self._arriving = {name: item for name, item in self._arriving.items() if name in there}
        if jobs:
            self._limits.begin(self._receipts.waiting())
        left: list[str] = []
        limit = last = ""
        tried = 0
        for name in jobs:
            self._beat()
            try:
                if name in self._arriving and self._check_again(box, name):
                    continue
                if full := self._limits.reached():
                    limit = full
                    left.append(name)
                    continue
                if name not in self._arriving and len(self._arriving) >= _WATCHED_AT_MOST:
                    # Each poll tries some of the others, in turn: files that are never complete must not hold up
                    # those that are.
                    if name <= self._tried_to or tried >= limits.AT_ONCE:
                        left.append(name)
                        continue
                    tried, last = tried + 1, name
                if self._limits.is_poll_full:
                    left.append(name)
                    continue
                if taken := self._take_one(box, name):
                    published.append(taken)
                    self._limits.count(taken=True)
            except OSError as error:
                if sharing.is_trouble(error):
                    raise
                self._watch(box, name, _UNREADABLE, f"it cannot be moved: {error.strerror or error}")
        self._tried_to = last if tried >= limits.AT_ONCE else ""
        return left, limit

    def _check_again(self, box: Folder, name: str) -> bool:
        """Check a watched file: reject it if it has not changed for long; return whether it is unchanged."""
        known = self._arriving[name]
        sig = box.sig_of(name)
        if sig != known.sig:
            return False
        if known.kind == _UNREADABLE:
            return False
        is_quiet = sig and self._clock.monotonic() - known.since_s >= self._settle_s
        if known.kind == _ARRIVING and sig and is_quiet and self._limits.may_reject:
            with contextlib.suppress(PermissionError):  # its writer has it open (Windows)
                self._reject(box, name, sig, known.cause)
        return True

    def _take_one(self, box: Folder, name: str) -> str:
        """Accept one file; return the job's name in pending/, "" if the file is not a job, or not a job yet."""
        sig: files.FileSig | None = None
        try:
            content = box.read(name, self._inbox.max_bytes)
            sig = content.sig
            prepared = self._judge.judge(name, content, identity=box.identity)
        except FileNotFoundError:
            self._arriving.pop(name, None)
            return ""
        except files.NotRegularError:
            self._watch(box, name, _FOREIGN, "it is not a regular file")
            return ""
        except NotYetError as error:
            known = self._arriving.get(name)
            since_s = known.since_s if known is not None and known.sig == sig else self._clock.monotonic()
            self._remember(name, _File(sig, since_s, _ARRIVING, Cause(str(error), error.hint)))
            return ""
        except InvalidJobError as error:
            if sig is not None:
                self._reject(box, name, sig, Cause(str(error), error.hint))
            return ""
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                raise
            self._watch(box, name, _UNREADABLE, f"it cannot be read: {error.strerror or error}")
            return ""
        try:
            published = self._handover.hand_over(box, name, content, prepared)
        except InvalidJobError as error:
            self._reject(box, name, sig, Cause(str(error), error.hint))
            return ""
        if published:
            self._arriving.pop(name, None)
        return published

    def _expect(self, item: Record, data: bytes, token: str) -> None:
        """Prepare the publishing of a job: check that a signed job is the first with its id, and expect its end."""
        self._judge.use_signed_id(item, data, token)
        self._receipts.expect(item)

    def _reject(self, box: Folder, name: str, sig: files.FileSig, cause: Cause) -> None:
        was_rejected = self._rejections.reject(box, name, sig, cause)
        self._arriving.pop(name, None)
        if was_rejected:
            self._limits.count(taken=False)

    def _watch(self, box: Folder, name: str, kind: str, why: str) -> None:
        """Skip a file until later, and report that once."""
        is_new = name not in self._arriving
        item = _File(box.sig_of(name), self._clock.monotonic(), kind, Cause(why))
        if self._remember(name, item) and is_new:
            self._say(WARNING, f"{name} is skipped for now: {why}")

    def _remember(self, name: str, item: _File) -> bool:
        """Watch a file from now on; return False if too many files are already watched."""
        if name not in self._arriving and len(self._arriving) >= _WATCHED_AT_MOST:
            return False
        self._arriving[name] = item
        return True

    # ---------------------------------------------------------------------------------------------------- the state

    def _as_seen(self, found: Listing, left: list[str], held_back: str, published: int) -> InboxState:
        now_s = self._clock.monotonic()
        open_files = [(name, item) for name, item in self._arriving.items() if item.kind != _FOREIGN]
        foreign = [*found.foreign, *(name for name, item in self._arriving.items() if item.kind == _FOREIGN)]
        rows = tuple(
            InboxFile(name, item.sig.size if item.sig else 0, round(now_s - item.since_s, 1), item.cause.why)
            for name, item in open_files[:ROWS]
        )
        return msgspec.structs.replace(
            self._seen(left, held_back, foreign, published),
            arriving=len(open_files),
            rows=rows,
            rejected=self._rejections.count(found),
            refused=self._rejections.newest(),
        )
