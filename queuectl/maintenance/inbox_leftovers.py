"""Report what inboxes leave in .queuectl/: jobs on their way, spent claims, receipts still to be written.

An inbox process settles its own leftovers as soon as it runs, and a pool settles those of an inbox that the settings no
longer name. So most of them are only noted. A repair does the same, and only under the inbox's lock, which every inbox
process holds. It deletes no token and no receipt that somebody may still wait for, because an inbox may be named again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from queuectl.inbox import state
from queuectl.inbox.handover import RECORD, SPENT, SPENT_KEPT_S, Handover
from queuectl.inbox.tokens import TOKEN_CHARS
from queuectl.maintenance.findings import Act, GoneError, Inspection, Repair
from queuectl.model import names
from queuectl.model.settings import Settings
from queuectl.system import disk, files
from queuectl.system.locks import FileLock

_TOKEN = re.compile(rf"[0-9a-z]{{{TOKEN_CHARS}}}")
_TOKENS_BYTES = 1024 * 1024


class InboxTraces:
    """Examines handover/, owed/ and inboxes/ of one spool.

    Args:
        settings: the settings of the spool, or None if they cannot be read: then every inbox may be named in them.
        knows: says whether the check has seen a job with an id.
    """

    def __init__(self, inspection: Inspection, settings: Settings | None, *, knows: Callable[[str], bool]) -> None:
        self._session, self._findings, self._age = inspection
        self._spool, self._clock = self._session.spool, self._session.clock
        self._settings = settings
        self._knows = knows
        self._named = None if settings is None else {inbox.owner for inbox in settings.inboxes}

    def examine(self, *, pool_lives: bool) -> None:
        """Examine all leftovers, unless a live pool, or an inbox process that outlived its pool, handles them."""
        if pool_lives:
            return
        for owner in sorted(self._owners()):
            path = self._spool.inbox_path(owner, "lock")
            if not os.path.lexists(path):
                self._look_at(owner)  # no inbox process has ever been there
                continue
            if not files.is_regular(path):
                self._foreign(path)
                continue
            lock = FileLock(path)
            try:
                if lock.try_acquire():
                    self._look_at(owner)
            finally:
                lock.close()

    def _owners(self) -> set[str]:
        found: set[str] = set()
        for folder in (self._spool.handover_dir, self._spool.owed_dir):
            for name in _names(folder):
                if files.is_folder(os.path.join(folder, name)):
                    found.add(name)
                else:
                    self._foreign(os.path.join(folder, name))
        for name in _names(self._spool.inbox_dir):
            owner, _, kind = name.rpartition(".")
            if kind in ("json", "tokens", "kept") and owner:
                found.add(owner)
        return found

    def _look_at(self, owner: str) -> None:
        is_gone = self._named is not None and owner not in self._named
        under_way = self._handover(owner, is_gone=is_gone)
        if not under_way:  # a job is owed from before it is published
            self._owed(owner, is_gone=is_gone)
        self._tokens(owner, is_gone=is_gone)
        if is_gone and files.is_regular(path := self._spool.inbox_path(owner, "kept")):
            text = "notes files kept in an inbox that the settings no longer name; left, because it may be named again"
            self._findings.info("kept", self._shown(path), text)
        if is_gone and files.is_regular(path := self._spool.inbox_path(owner, "json")):
            text = "is the state of an inbox that the settings no longer name"
            self._findings.info("inbox", self._shown(path), text, Repair("deleted", lambda: self._remove_state(owner)))

    def _remove_state(self, owner: str) -> None:
        state.remove(self._spool, owner)

    def _handover(self, owner: str, *, is_gone: bool) -> int:
        """Report jobs between the inbox and pending/, and expired claims; return the number of jobs."""
        folder = os.path.join(self._spool.handover_dir, owner)
        records = 0
        for name in sorted(_names(folder)):
            path = os.path.join(folder, name)
            token, ending = os.path.splitext(name)
            is_ours = _TOKEN.fullmatch(token) or (ending == RECORD and not names.why_bad_id(token))
            if not files.is_regular(path) or ending not in (RECORD, SPENT) or not is_ours:
                self._foreign(path)
            elif ending == RECORD:
                records += 1
            elif (sig := files.sig_of(path)) is not None and self._age.is_over(sig, SPENT_KEPT_S):
                text = f"waits for a claimed file of {owner} that has not come back for 90 days"
                self._findings.info("handover", self._shown(path), text, Repair("deleted", _unlink(path)))
        if records:
            text = f"holds {_count(records, 'job')} on the way from inbox {owner} to pending/; "
            if is_gone:
                text += "the settings no longer name that inbox"
                act: Act | None = lambda: self._publish(owner)  # noqa: E731
                self._findings.problem("handover", self._shown(folder), text, Repair("moved to pending/", act))
            else:
                text += "its receiver continues when workers start"
                self._findings.info("handover", self._shown(folder), text)
        return records

    def _publish(self, owner: str) -> str:
        assert self._settings is not None
        hands = Handover(self._session._replace(settings=self._settings), owner)
        return ", ".join(hands.publish_all())

    def _owed(self, owner: str, *, is_gone: bool) -> None:
        """Report receipts still to be written, and notes of jobs that are no longer in the spool."""
        folder = os.path.join(self._spool.owed_dir, owner)
        lost: list[str] = []
        kept = 0
        for name in sorted(_names(folder)):
            path = os.path.join(folder, name)
            if not files.is_regular(path):
                self._foreign(path)
            elif self._knows(name) or self._spool.find(name) is not None or _is_of_a_file(path):
                kept += 1
            else:
                lost.append(path)
        if lost:
            text = f"holds notes of {_count(len(lost), 'job')} missing from the spool"
            self._findings.info("owed", self._shown(folder), text, Repair("deleted", lambda: self._forget(lost)))
        if kept and is_gone:
            text = (
                f"holds notes of {_count(kept, 'job')} whose inbox the settings no longer name: the inbox gets no "
                "receipts, and files stay in its working/, unless it is named again"
            )
            self._findings.info("owed", self._shown(folder), text)

    def _forget(self, paths: list[str]) -> None:
        for path in paths:
            if self._spool.find(os.path.basename(path)) is None:
                disk.unlink(path)

    def _tokens(self, owner: str, *, is_gone: bool) -> None:
        """Report a note of claims that holds anything but tokens."""
        path = self._spool.inbox_path(owner, "tokens")
        try:
            data = files.read(path, _TOKENS_BYTES).data
        except FileNotFoundError:
            return
        except OSError as error:
            self._findings.problem("tokens", self._shown(path), f"cannot be read: {error.strerror or error}")
            return
        words = data.decode("ascii", "replace").split()
        bad = sum(not _TOKEN.fullmatch(word) for word in words)
        if bad:
            text = (
                f"holds {_count(bad, 'word')} that no receiver writes: a file claimed with a lost token stays in the "
                "inbox until you rename it"
            )
            self._findings.problem("tokens", self._shown(path), text)
        if is_gone and words:
            text = "notes claims in an inbox that the settings no longer name; kept, because it may be named again"
            self._findings.info("tokens", self._shown(path), text)

    def _foreign(self, path: str) -> None:
        self._findings.info("foreign", self._shown(path), "is not a file of queuectl; left alone")

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._spool.root).replace(os.sep, "/")


def _is_of_a_file(path: str) -> bool:
    """Return whether a note is of the job of a file: the receiver moves that file to failed/, and then deletes it."""
    sig = files.sig_of(path)
    return sig is not None and sig.size > 0


def _names(folder: str) -> list[str]:
    try:
        return files.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _unlink(path: str) -> Act:
    def act() -> None:
        if not disk.unlink(path):
            raise GoneError

    return act


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
