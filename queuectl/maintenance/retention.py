"""Delete finished and dead jobs and rejected files that are older than the settings say (promise P6).

A pass goes through a folder in small steps between other work. A file's mtime only rules out files that cannot be old
enough; the record's last event decides. Each deletion happens under the stripes of the file's name and of its id, so
that a job that is being requeued stays. Other programs may delete files at the same time.

While the clock has jumped (see `clock_note`), nothing is deleted, and a jump in the middle of a pass does not count.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text
from queuectl.model import names, parents, record, times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, STATES
from queuectl.model.notice import WARNING, Notice, Notify
from queuectl.spool import clock_note, rejected, victims
from queuectl.spool.batch import DONE_ENDING, token_of
from queuectl.spool.layout import REASON_ENDING, record_name
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files

_STEP = 200
_EVERY_S = 3600.0


class Retention:
    """Applies `keep_done`, `keep_dlq` and `keep_rejected`.

    `notify` is called if a pass waits for the clock.
    """

    def __init__(self, session: Session, stripes: Stripes, *, notify: Notify) -> None:
        settings = session.settings
        self._spool = session.spool
        self._keep_s = {DONE: settings.keep_done, DLQ: settings.keep_dlq, REJECTED: settings.keep_rejected}
        self._limit_s = clock_note.limit_s([keep_s for keep_s in self._keep_s.values() if keep_s is not None])
        self._stripes = stripes
        self._clock = session.clock
        self._notify = notify
        self._waits = False
        self._next_pass_s = 0.0
        self._may_pass: bool | None = None
        """The result of `compare_clock`, for the first pass; else None."""
        self._offset_s = 0.0
        self._walk: Iterator[tuple[str, str]] | None = None
        self._asked: set[str] | None = None
        """The ids that blocked jobs may still ask for; None until a pass finds something to delete."""
        self._asked_at = 0.0
        """When that was found out: a job that ended later is left to the next pass."""
        self._must_ask = False

    def compare_clock(self) -> None:
        """Compare the clock for the first pass now, before a job of this pool moves.

        Where there is no note of the clock, the times of the folders count, and a move changes them. Raises OSError.
        """
        self._may_pass = self._may_start()

    def step(self) -> int:
        """Check at most a few hundred files; return how many jobs were deleted. A pass starts once an hour."""
        if self._walk is None:
            now_s = self._clock.monotonic()
            if now_s < self._next_pass_s:
                return 0
            self._next_pass_s = now_s + _EVERY_S
            may_pass, self._may_pass = self._may_pass, None
            if not (self._may_start() if may_pass is None else may_pass):
                return 0
            self._asked, self._walk = None, self._candidates()
        deleted = 0
        for _ in range(_STEP):
            try:
                found = next(self._walk, None)
            except OSError:
                self._walk = None  # a folder cannot be listed, and a generator that has raised is over
                raise
            if found is None:
                self._walk = None
                break
            # ValueError: a person wrote a text that is not an instant.
            with contextlib.suppress(OSError, DamagedRecordError, ValueError):
                deleted += self._delete_if_old(*found)
            if self._must_ask:
                self._must_ask = False
                self._walk = itertools.chain(self._ask_blocked(), [found], self._walk)
        return deleted

    def _may_start(self) -> bool:
        """Compare the clock with its note; return False if nothing may be deleted now."""
        if all(keep_s is None for keep_s in self._keep_s.values()):
            return False
        now_at = self._clock.now()
        self._offset_s = now_at - self._clock.monotonic()
        note = clock_note.update(self._spool, now_at=now_at, longest_s=self._limit_s)
        until_at = note.waits_until(now_at)
        if until_at is not None and not self._waits:
            self._notify(Notice(WARNING, "retention", f"retention {clock_note.wait_text(note, until_at)}"))
        self._waits = until_at is not None
        return not self._waits

    def _now(self) -> float:
        """Return the time of this pass: by the clock at its start, so a clock that jumps meanwhile deletes nothing."""
        return self._clock.monotonic() + self._offset_s

    def _candidates(self) -> Iterator[tuple[str, str]]:
        for state, keep_s in self._keep_s.items():
            if keep_s is None:
                continue
            with os.scandir(self._spool.folder(state)) as entries:
                for entry in entries:
                    # The time of a rejection is in the reason text; the time of the file itself may be any.
                    if not entry.name.endswith(REASON_ENDING if state == REJECTED else ".json"):
                        continue
                    try:
                        changed_at = entry.stat(follow_symlinks=False).st_mtime
                    except OSError:
                        continue  # deleted or moved since the folder was listed
                    # Half the retention time, because clients may have set the mtime: this only skips young files.
                    age_s = self._now() - changed_at
                    if age_s >= keep_s / 2 or age_s < 0:
                        yield state, entry.name
        if self._keep_s[DONE] is not None:
            for name in files.names(self._spool.taken_dir):
                if name.endswith(DONE_ENDING):
                    self._delete_batch_if_old(os.path.join(self._spool.taken_dir, name))

    def _ask_blocked(self) -> Iterator[tuple[str, str]]:
        """Read the records of the blocked jobs, in steps: their parents are spared (P13)."""
        self._asked = asked = set[str]()
        self._asked_at = self._now()
        for name in self._spool.waiting_names():
            if names.AFTER not in name:
                continue
            parts = names.parse(name)
            asked.add(parts.after if parts is not None else "")
            with contextlib.suppress(OSError, DamagedRecordError):
                item = self._spool.read(PENDING, name).record
                if (known := item.blocked) is not None:
                    asked.update(parents.still_asked(item.extras.after, known))
            yield "", ""

    def _delete_if_old(self, state: str, name: str) -> int:
        if not state:
            return 0
        if state == REJECTED:
            return self._delete_rejected_if_old(name.removesuffix(REASON_ENDING))
        keep_s = self._keep_s[state]
        stored = self._spool.read(state, name)
        last = stored.record.standing().last
        if keep_s is None or last is None or self._now() - times.from_text(last.at) < keep_s:
            return 0
        if self._is_owed(stored.record):
            return 0
        if self._asked is None:
            self._must_ask = True
            return 0
        if stored.record.id in self._asked or times.from_text(last.at) > self._asked_at:
            return 0
        with contextlib.ExitStack() as held:
            # A file with a longer name (P7) is requeued under the stripe of that name.
            ids = (name.removesuffix(".json"), stored.record.id)
            for stripe in {names.stripe_of(job_id): self._stripes.of(job_id) for job_id in ids}.values():
                if not stripe.try_acquire():
                    return 0
                held.callback(stripe.release)
            path = self._spool.path(state, name)
            if files.sig_of(path) != stored.sig:
                return 0
            # The logs first, so that a crash leaves a job without logs, which the next pass deletes.
            if self._owns_logs(state, name, stored.record):
                for log in self._spool.output_paths(stored.record.id, stored.record.standing().starts):
                    disk.unlink(log)
            deleted = disk.unlink(path)
            if state == DLQ:
                error_text.forget(self._spool, name)
                if victims.has_any(self._spool):
                    victims.forget_all(self._spool, stored.record.id)
            return int(deleted)

    def _is_owed(self, item: record.Record) -> bool:
        """Return whether the receiver of an inbox of files still has to see how this job ended (section 9)."""
        if not any(event.claimed for event in item.history):
            return False
        return files.sig_of(os.path.join(self._spool.owed_dir, item.owner, item.id)) is not None

    def _delete_rejected_if_old(self, name: str) -> int:
        """Delete a rejected file and its reason, or a reason without a file. The reason text has its time."""
        keep_s = self._keep_s[REJECTED]
        try:
            rejected_at = rejected.read(self._spool, name).rejected_at
        except OSError:
            return 0
        if keep_s is None or rejected_at is None or self._now() - rejected_at < keep_s:
            return 0
        stripe = self._stripes.of(names.clean_id(name.rpartition(".")[0]))
        if not stripe.try_acquire():
            return 0
        try:
            sig = files.sig_of(self._spool.path(REJECTED, name))
            if sig is not None and self._now() - sig.mtime_ns / 1e9 < keep_s:
                return 0  # somebody is correcting it
            # The file first, so that a crash leaves a reason without a file, which the next pass deletes.
            deleted = disk.unlink(self._spool.path(REJECTED, name))
            disk.unlink(self._spool.reason_path(name))
            return int(deleted)
        finally:
            stripe.release()

    def _owns_logs(self, state: str, name: str, item: record.Record) -> bool:
        """Return False if another file has the id that the logs are named after."""
        if name != record_name(item.id):
            return self._spool.find(item.id) is None
        return not self._spool.holds(item.id, tuple(other for other in STATES if other != state))

    def _delete_batch_if_old(self, path: str) -> None:
        """Delete a split file of many jobs with its text and its note, whose time is that of the split."""
        keep_s = self._keep_s[DONE]
        token = token_of(os.path.basename(path))
        note_path = self._spool.split_path(token)
        sigs = [sig for each in (path, note_path) if (sig := files.sig_of(each)) is not None]
        if keep_s is not None and sigs and self._now() - max(sig.mtime_ns for sig in sigs) / 1e9 >= keep_s:
            with contextlib.suppress(IsADirectoryError, PermissionError):
                disk.unlink(path)
                disk.unlink(self._spool.split_text_path(token))
                disk.unlink(note_path)
