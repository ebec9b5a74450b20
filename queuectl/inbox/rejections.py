"""The rejected files of an inbox: their texts, their reasons, and how they return once they are corrected."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from queuectl.errors import InvalidJobError
from queuectl.inbox.folder import SUMMARY, Cause, Folder, Listing, is_version
from queuectl.inbox.judge import Judge, NotYetError
from queuectl.inbox.state import ROWS, InboxRefusal
from queuectl.model import times
from queuectl.model.inbox import Inbox
from queuectl.model.notice import INFO, WARNING, Notice, Notify
from queuectl.system.clock import Clock
from queuectl.system.files import FileSig, NotRegularError

# The summary names at most this many rejected files.
_NAMED_MOST = 20
# One poll checks at most this many rejected files for changes.
_ASKED_AT_MOST = 200
# The published state keeps a reason up to this length; the text of the file has all of it.
_WHY_CHARS = 400


class Rejections:
    """Rejects files of one inbox, and readmits those that were corrected.

    `notify` gets messages for people; `beat` is called between two files.
    """

    def __init__(
        self, inbox: Inbox, judge: Judge, *, clock: Clock, notify: Notify, beat: Callable[[], None] = lambda: None
    ) -> None:
        self._inbox = inbox
        self._judge = judge
        self._clock = clock
        self._notify = notify
        self._beat = beat
        self._sigs: dict[str, FileSig] = {}
        """The last version of each rejected file that was checked."""
        self._refusals: dict[str, InboxRefusal] = {}
        """Why each was rejected, as far as that is known."""
        self._next = 0
        """Where the next poll continues, if there are too many to check all of them."""
        self._texts = 0
        self._without_text: list[str] = []
        """Names and reasons of files that this poll rejected without a text of their own."""
        self.latest = 0
        """How many files the last poll rejected."""

    def begin(self, found: Listing) -> None:
        """Reset the counts at the start of a poll."""
        self._texts = len(found.texts)
        self.latest = 0

    def reject(self, box: Folder, name: str, sig: FileSig, cause: Cause) -> bool:
        """Reject this version of a file; return False if the file has just changed and was skipped. Raises OSError."""
        has_text = self._texts < self._inbox.max_rejected
        target = box.reject(name, sig, cause, now_at=self._clock.now(), has_text=has_text)
        if not target:
            return False
        self._sigs[target] = sig
        self._refusals[target] = InboxRefusal(target, cause.why[:_WHY_CHARS], times.to_text(self._clock.now()))
        self.latest += 1
        if has_text:
            self._texts += 1
            self._say(WARNING, f"{name} was rejected: {cause.why}")
        else:
            self._without_text.append(f"{name}: {cause.why}")
        return True

    def summarise(self, box: Folder, found: Listing) -> None:
        """Write one text about all files without their own text; delete it when those files are gone."""
        texts = set(found.texts)
        count = len(self._without_text) + sum(f"{name}.txt" not in texts for name in found.rejected)
        if self._without_text:
            self._say(WARNING, f"{len(self._without_text)} more files were rejected; {SUMMARY} lists the reasons")
            some = self._without_text[-_NAMED_MOST:]
            try:
                box.put_summary(count, some, self._inbox.max_rejected, now_at=self._clock.now())
            except NotRegularError:
                self._say(WARNING, f"{SUMMARY} cannot be written: a folder has this name")
            self._without_text = []
        elif found.has_summary and not count:
            box.forget(SUMMARY)

    def readmit(self, box: Folder, found: Listing) -> list[str]:
        """Rename rejected files that have become valid jobs back; return their names."""
        there = set(found.rejected)
        self._sigs = {name: sig for name, sig in self._sigs.items() if name in there}
        self._refusals = {name: row for name, row in self._refusals.items() if name in there}
        listed = found.rejected
        if len(listed) > _ASKED_AT_MOST:
            start = self._next % len(listed)
            listed = (listed[start:] + listed[:start])[:_ASKED_AT_MOST]
            self._next = start + _ASKED_AT_MOST
        readmitted = []
        for rejected in listed:
            self._beat()
            if (name := self._readmitted(box, rejected)) and name not in found.jobs:
                readmitted.append(name)
                self._say(INFO, f"{name} is now a valid job")
        return readmitted

    def _readmitted(self, box: Folder, rejected: str) -> str:
        sig = box.sig_of(rejected)
        if sig is None:
            return ""
        known = self._sigs.get(rejected)
        if known is None:
            text = box.rejection(rejected)
            self._refusals[rejected] = InboxRefusal(rejected, text.why[:_WHY_CHARS], text.at)
            has_changed = bool(text.version) and not is_version(sig, text.version)
        else:
            has_changed = known != sig
        self._sigs[rejected] = sig
        if not has_changed:
            return ""
        try:
            content = box.read(rejected, self._inbox.max_bytes)
            self._judge.judge(rejected.removesuffix(".rejected"), content, identity=box.identity)
        except (OSError, InvalidJobError, NotYetError):
            return ""
        return box.take_back(rejected)

    def count(self, found: Listing) -> int:
        """Return the number of rejected files."""
        return len(self._sigs) if len(found.rejected) <= _ASKED_AT_MOST else len(found.rejected)

    def newest(self) -> tuple[InboxRefusal, ...]:
        """Return the newest of the rejected files, as far as their reasons are known."""
        return tuple(heapq.nlargest(ROWS, self._refusals.values(), key=lambda row: (row.rejected_at, row.name)))

    def _say(self, level: str, text: str) -> None:
        self._notify(Notice(level, "inbox", text))
