"""Move jobs from an inbox to pending/, across file systems: a kill at any point loses and doubles nothing (P1, P2).

| # | step | what a crash after it leaves, and what then follows |
|---|---|---|
| 1 | read NAME, judge it, note TOKEN (`tokens`) | nothing |
| 2 | rename NAME to `.queuectl-S-TOKEN-NAME`, read it again | only a claimed file: it gets its name back |
| 3 | write the record to handover/OWNER/TOKEN.json (fsynced) | both: continue with 4 |
| 4 | delete the claimed file (the folder fsynced) | only a record: continue with 5 |
| 5 | rename the record into pending/, not replacing | the job |

The file that is handed over is the finished record, so step 5 is one atomic rename. No job is published before step 4
is known to be done.

If the claimed file is missing in step 4, its owner has moved it away, or its share is offline and may bring it back.
Then TOKEN.spent stays: a claimed file with that token that appears later was already handed over.

A file whose name looks claimed, but whose token is not noted, belongs to somebody else and is left alone.

Only the process that holds the inbox's lock does this (`process`). Each step may be repeated.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NamedTuple

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.inbox.folder import Folder
from queuectl.inbox.tokens import Tokens
from queuectl.jobs.enqueue import Prepared
from queuectl.model import names, record
from queuectl.model.extras import PLAIN
from queuectl.model.lifecycle import PENDING
from queuectl.spool import rejected
from queuectl.spool.folder import RECORD_MAX_BYTES
from queuectl.spool.layout import name_for
from queuectl.spool.session import Session
from queuectl.system import disk, files

BY = "inbox"
"""The `by` of the `enqueued` event of a job from an inbox."""
RECORD, SPENT = ".json", ".spent"
# If a share comes back after longer than this, its claimed files count as new.
SPENT_KEPT_S = 90 * 86400.0


class Recovered(NamedTuple):
    """The results of interrupted hand-overs."""

    published: list[str]
    """The names in pending/ of the jobs that were published."""
    strange: list[str]
    """Files whose names say that this spool claimed them, although it did not."""


class Handover:
    """Hands jobs over from one inbox.

    `expect(record, data, token)` is called for each job before it is published, once its hand-over is on disk under
    that token. It may be called twice for one job, and raises InvalidJobError if the job must not be published.
    """

    def __init__(
        self,
        session: Session,
        owner: str,
        *,
        expect: Callable[[record.Record, bytes, str], None] = lambda _item, _data, _token: None,
    ) -> None:
        self._session = session
        self._spool = session.spool
        self._folder = os.path.join(session.spool.handover_dir, owner)
        self._clock = session.clock
        self._expect = expect
        self._sync = session.syncs_accepted
        self.tokens = Tokens(session, owner)

    def hand_over(self, box: Folder, name: str, content: files.Content, prepared: Prepared) -> str:
        """Take the file `name`, which held `content` when it was read; return the job's name in pending/.

        Return "" if the file is gone, or has changed since it was read; then it stays in the inbox.

        Raises:
            InvalidJobError: `expect` raised it; the file is back in the inbox.
            OSError: a problem of the machine; `recover` continues after step 2.
        """
        disk.make_folder(self._folder)
        token = self.tokens.take()
        try:
            claimed = box.claim(name, token)
        except OSError as error:
            self.tokens.done(token)
            if isinstance(error, FileNotFoundError):
                return ""
            raise
        try:
            again = box.read(claimed, len(content.data))
            if again.oversize or again.data != content.data:
                self._give_back(box, token, claimed)
                return ""
            self._write(token, prepared)
        except OSError:
            if files.sig_of(self._path(token)) is None:
                self._give_back(box, token, claimed)
            raise
        return self._finish(box, token, claimed)

    def recover(self, box: Folder, claimed: dict[str, str]) -> Recovered:
        """Complete interrupted hand-overs.

        `claimed` holds the claimed files in the folder, by token. Call this only after a listing that succeeded: while
        the folder is unreachable, everything waits.
        """
        published = []
        left = dict(claimed)
        listed = set(files.names(self._folder)) if os.path.isdir(self._folder) else set()
        if listed and self._sync:
            disk.sync_folder(self._folder)  # the interrupted hand-over may not have done this
        for file in sorted(listed):
            if file.endswith(RECORD):
                token = file.removesuffix(RECORD)
                with contextlib.suppress(InvalidJobError):  # the next poll judges the file again
                    if name := self._finish(box, token, left.pop(token, "")):
                        published.append(name)
        strange = []
        for token, name in left.items():
            if f"{token}{SPENT}" in listed:
                box.remove(name)
                box.sync()
                disk.unlink(self._path(token, SPENT))
            elif self.tokens.is_ours(token):
                self._give_back(box, token, name)
            else:
                strange.append(name)
        return Recovered(published, strange)

    def _give_back(self, box: Folder, token: str, claimed: str) -> None:
        box.give_back(claimed)
        self.tokens.done(token)

    def sweep(self) -> None:
        """Forget claimed files that have not come back for months (TOKEN.spent)."""
        if os.path.isdir(self._folder):
            for changed_ns, name in files.changes(self._folder, SPENT, at_most=10_000):
                if self._clock.now() - changed_ns / 1e9 > SPENT_KEPT_S:
                    disk.unlink(os.path.join(self._folder, name))

    def publish_all(self) -> list[str]:
        """Publish the pending hand-overs of an inbox that the settings no longer name."""
        listed = files.names(self._folder) if os.path.isdir(self._folder) else []
        found = [self._finish(None, name.removesuffix(RECORD), "") for name in listed if name.endswith(RECORD)]
        return [name for name in found if name]

    def _write(self, token: str, prepared: Prepared) -> None:
        with self._spool.temporary("handover", prepared.data, sync=self._sync) as temporary:
            disk.move(temporary, self._path(token))
        if self._sync:
            disk.sync_folder(self._folder)

    def _finish(self, box: Folder | None, token: str, claimed: str) -> str:
        """Do steps 4 and 5; return "" if the disk has lost the record (its claimed file is kept)."""
        path = self._path(token)
        data = files.read(path, RECORD_MAX_BYTES).data
        try:
            item = record.decode(data, path=path)
        except DamagedRecordError as error:
            self._lost(box, token, claimed, data, str(error))
            return ""
        try:
            self._expect(item, data, token)
        except InvalidJobError:
            disk.unlink(path)
            if box is not None and claimed:
                self._give_back(box, token, claimed)
            raise
        if box is not None and claimed and box.remove(claimed):
            if self._sync:
                box.sync()
        elif not any(event.claimed for event in item.history):  # no token marks a file of an inbox of files
            self._mark_spent(token)
        self.tokens.done(token)
        if item.extras is PLAIN or not item.extras.unique:
            return publish(self._session, path, item)
        from queuectl.jobs import unique_drops  # few jobs have a unique key

        return unique_drops.publish(self._session, path, data, lambda judged: publish(self._session, path, judged))

    def _mark_spent(self, token: str) -> None:
        try:
            disk.create(self._path(token, SPENT), b"", sync=False)
        except FileExistsError:
            return
        if self._sync:
            disk.sync_folder(self._folder)

    def _lost(self, box: Folder | None, token: str, claimed: str, data: bytes, why: str) -> None:
        """Clean up after a power cut destroyed a record (`durability = "off"`): rename its claimed file back."""
        if box is None or not claimed:
            hint = "drop the file again"
            rejected.keep_copy(self._session, f"{token}.json", data, rejected.Reason(why, hint))
        disk.unlink(self._path(token))
        if box is not None and claimed:
            self._give_back(box, token, claimed)

    def _path(self, token: str, ending: str = RECORD) -> str:
        return os.path.join(self._folder, token + ending)


def publish(session: Session, path: str, item: record.Record) -> str:
    """Rename a record that is on disk into pending/, never replacing; return its name there. Raises OSError."""
    spool = session.spool
    plain = wanted = name_for(item, item.standing(), session.clock.now())
    while True:
        try:
            disk.move(path, spool.path(PENDING, wanted))
            break
        except FileExistsError:  # two jobs with one id: keep both; the claim gives one of them another id (P7)
            wanted = names.beside(plain, f"-{names.new_token(session.rng)}")
    if session.syncs_accepted:
        disk.sync_folder(spool.folder(PENDING))
        disk.sync_folder(os.path.dirname(path))
    return wanted
