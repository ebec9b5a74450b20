"""Report what crashes and people leave around the jobs: unfinished writes, outputs, leases, pools, reasons, logs.

`debris` finds leftovers of queuectl and has the proof for each kind. A file in tmp/ was never acknowledged (P1), yet a
whole job there that is nowhere else in the spool is kept in rejected/. This module never deletes logs or unknown files
(P11).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from queuectl.errors import DamagedRecordError
from queuectl.jobs import error_text, reject
from queuectl.maintenance import debris
from queuectl.maintenance.debris import OUTPUT, UNFINISHED_S, is_starting
from queuectl.maintenance.findings import Act, GoneError, Inspection, Repair
from queuectl.model import names, record
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES
from queuectl.spool import batch, counts, desk, rejected
from queuectl.spool.folder import RECORD_MAX_BYTES
from queuectl.spool.layout import BOARD, LOGS, README_TXT, REASON_ENDING, Located, log_parts
from queuectl.spool.lease import is_alive
from queuectl.spool.output import keep_output
from queuectl.spool.roster import Roster
from queuectl.spool.stripes import Stripes
from queuectl.spool.trust import quoted
from queuectl.system import disk, files, rights
from queuectl.system.locks import NamedLock

_NAMED = 3


class Leftovers:
    """Examines everything in a spool that is not a job.

    Args:
        gentle: repair only a second name of a file that is in its right place.
    """

    def __init__(self, inspection: Inspection, *, gentle: bool = False) -> None:
        self._session, self._findings, self._age = inspection
        self._spool, self._clock = self._session.spool, self._session.clock
        self._gentle = gentle

    # ------------------------------------------------------------------------------------------------------ tmp/

    def outputs(self, dead: list[str], runs: dict[str, tuple[str, str, int]]) -> None:
        """Report outputs whose worker died; `runs` has the run of each, if a record names it."""
        for lease in dead:
            path = self._spool.output_path(lease)
            sig = files.sig_of(path)
            _, job_id, attempt = runs.get(lease, ("", "", 0))
            if sig is None or is_alive(self._spool, lease) or (job_id and self._spool.holds(job_id, (RUNNING,))):
                continue  # the process that settles or rescues that job keeps it as a log
            shown = self._shown(path)
            if sig.size == 0:
                self._note("output", shown, "is the empty output of a dead worker", _deletion(path))
            elif job_id:
                text = f"is the output of attempt {attempt} of {job_id}, whose worker died"
                act = self._act_keep(path, job_id, attempt)
                self._note("output", shown, text, Repair(f"moved to {LOGS}/", act))
            else:
                text = "is the output of a dead worker, but no record names the job; delete it if you do not need it"
                self._findings.info("output", shown, text)

    def _act_keep(self, path: str, job_id: str, attempt: int) -> Act:
        def act() -> None:
            keep_output(self._spool, path, job_id, attempt)

        return act

    def unfinished(self) -> None:
        """Report writes that were never finished. Opens only files older than an hour."""
        for name in sorted(self._spool.names(self._spool.tmp_dir)):
            path = self._spool.tmp_path(name)
            sig = None if name.endswith(OUTPUT) or is_starting(self._spool, name) else files.sig_of(path)
            if sig is None or not self._age.is_over(sig, UNFINISHED_S):
                continue
            shown = self._shown(path)
            try:
                content = files.read(path, RECORD_MAX_BYTES)
            except FileNotFoundError:
                continue
            except files.NotRegularError:
                self._findings.info("foreign", shown, "is not a regular file; left alone")
                continue
            except OSError as error:
                self._findings.info("unfinished", shown, f"cannot be read: {error.strerror}")
                continue
            self._judge_unfinished(name, path, content)

    def _judge_unfinished(self, name: str, path: str, content: files.Content) -> None:
        shown = self._shown(path)
        item = None
        if record.is_framed(content.data):
            try:
                item = record.decode(content.data)
            except DamagedRecordError:
                item = None
        job_id = name.rpartition(".")[0] if item is None else item.id
        found = self._spool.find(job_id)
        if content.links > 1 and found is not None and _inode(found.path) == content.sig.inode:
            text = f"is a second name of {found.state}/{found.name}, left by a producer that died"
            self._findings.info(
                "unfinished", shown, text, Repair("unlinked", self._under_stripe(job_id, path, _unlink(path)))
            )
        elif item is not None and found is None and not content.oversize:
            text = f"is job {item.id}, which was never accepted: its producer died before the job was in {PENDING}/"
            why = "its producer died before the job was accepted, so the producer never reported success"
            act = self._act_reject(path, f"{item.id}.json", why)
            self._note(
                "unfinished", shown, text, Repair(f"moved to {REJECTED}/", self._under_stripe(job_id, path, act))
            )
        else:
            act = self._under_stripe(job_id, path, _unlink(path))
            self._note("unfinished", shown, "is an unfinished write", Repair("deleted", act))

    def _act_reject(self, path: str, name: str, why: str) -> Act:
        def act() -> str:
            source = Located(PENDING, name, path)
            hint = f"move it to {PENDING}/ if you still want the job"
            return reject.reject(self._session, source, name, why, hint)

        return act

    def _under_stripe(self, job_id: str, path: str, act: Act) -> Act:
        """Guard a repair: a worker that adopts a drop writes to tmp/ under the id's stripe, and may hang for hours."""
        before = files.sig_of(path)

        def guarded() -> str | None:
            stripes = Stripes(self._spool)
            try:
                if not stripes.of(job_id).try_acquire() or files.sig_of(path) != before:
                    raise GoneError
                return act()
            finally:
                stripes.close()

        return guarded

    # --------------------------------------------------------------------------------------------- other machinery

    def old_leases(self, *, pool_lives: bool) -> None:
        """Report lease files that no process holds and no running record names; a live pool removes them itself."""
        if pool_lives:
            return
        named = debris.named_leases(self._spool)
        if not named.is_certain:
            return  # an unread record may name any of them
        for lease, _ in sorted(debris.unnamed_leases(self._spool, named)):
            if not is_alive(self._spool, lease):
                path = self._spool.lease_path(lease)
                self._note("lease", self._shown(path), "was left by a dead worker", _deletion_of_lock(path))

    def old_desks(self, *, pool_lives: bool) -> None:
        """Report the desks of dead workers; a live pool removes them itself."""
        if pool_lives:
            return
        for lease in sorted(debris.dead_desks(self._spool)):
            path = self._spool.desk_path(lease)
            self._note(
                "desk", self._shown(path), "was left by a dead worker", Repair("deleted", self._act_remove(lease))
            )

    def _act_remove(self, lease: str) -> Act:
        def act() -> None:
            if not desk.remove(self._spool, lease):
                raise OSError(errno.ENOTEMPTY, "something in it cannot be deleted", self._spool.desk_path(lease))

        return act

    def old_pools(self, *, all_looked_at: bool) -> None:
        """Report records, requests and locks of pools that are gone.

        A record without its lock makes the next pool look for torn records (see `recovery`), so it is deleted only with
        `all_looked_at`, that is if this check has opened every job.
        """
        for kind, path in sorted(debris.pool_files(self._spool), key=lambda found: found.path):
            sig = files.sig_of(path)
            if sig is None or (kind == "stopped" and not self._age.is_over(sig, UNFINISHED_S)):
                continue  # the summary of a stop, for the command that waits for it
            if kind == "json" and not all_looked_at:
                text = "was left by a pool that did not stop cleanly; the next pool looks for torn records"
                self._findings.info("pool", self._shown(path), text)
                continue
            if not files.is_regular(path):
                self._findings.info("foreign", self._shown(path), "is not a regular file; left alone")
                continue
            act = _remove(path) if kind == "lock" else _unlink(path)
            self._note("pool", self._shown(path), "was left by a dead pool", Repair("deleted", act))

    def batches(self, *, pool_lives: bool) -> None:
        """Report files with many jobs whose split was interrupted; a live pool completes them itself."""
        if pool_lives:
            return
        stripes = Stripes(self._spool)
        try:
            for taken in sorted(batch.unfinished(self._spool)):
                stripe = stripes.of(batch.token_of(taken))
                if not stripe.try_acquire():
                    continue  # a worker that outlived its pool is splitting it
                try:
                    path = batch.path_of(self._spool, taken)
                    if files.sig_of(path) is not None:
                        act = self._act_split(taken)
                        text = "holds many jobs, and its split was interrupted"
                        self._findings.problem("batch", self._shown(path), text, Repair("split completely", act))
                finally:
                    stripe.release()
            self._notes()
        finally:
            stripes.close()

    def _notes(self) -> None:
        for path in debris.split_notes(self._spool):
            sig = files.sig_of(path)
            if sig is not None and self._age.is_over(sig, UNFINISHED_S):
                self._note("note", self._shown(path), "belongs to a file that does not exist", _deletion(path))

    def _act_split(self, taken: str) -> Act:
        def act() -> str:
            roster = Roster(self._spool, clock=self._clock)
            from queuectl.jobs.splitter import Splitter  # a pool that starts does not look at files of many jobs

            splitter = Splitter(self._session, roster)
            step = splitter.step(taken)
            while not (step.note.is_over or step.kept):
                step = splitter.step(taken)
            return f"moved to {REJECTED}/{step.kept}: {step.why}" if step.kept else batch.outcome_text(step.note)

        return act

    # ------------------------------------------------------------------------------------ what people get to see

    def foreign(self) -> None:
        """Report files that belong to no job, in any folder. They are listed and left alone (P11)."""
        for state in (*STATES, REJECTED):
            found = self._spool.foreign_names(state)
            if state in (RUNNING, DONE, DLQ):
                found += [name for name in self._spool.names(self._spool.folder(state)) if names.is_batch(name)]
            for name in found:
                self._findings.info("foreign", f"{state}/{name}", "is not a file of queuectl; left alone")
        for name in BOARD:
            path = os.path.join(self._spool.root, name)
            if os.path.isdir(path) and not os.path.islink(path):
                self._findings.info("foreign", name, "is a folder, but queuectl writes the dashboard here; left alone")

    def counts(self) -> None:
        """Report what is in the place of the counts and is something else: a pool replaces a file, but not a folder."""
        spool = self._spool
        name = os.path.relpath(spool.counts_path, spool.root).replace(os.sep, "/")
        if os.path.isdir(spool.counts_path) and not os.path.islink(spool.counts_path):
            self._findings.info("foreign", name, "is a folder where pools write their counts; delete it")
        elif os.path.lexists(spool.counts_path) and counts.read(spool) is None:
            self._findings.info("counts", name, "holds no counts; the next pool replaces it")

    def reasons(self) -> None:
        """Report texts without their file, and rejected files without a text (P6)."""
        listed = set(self._spool.names(self._spool.folder(REJECTED)))
        for name in sorted(listed):
            path = self._spool.path(REJECTED, name)
            if name.endswith(REASON_ENDING):
                # The text is written before its file arrives, so look for the file again.
                if name.removesuffix(REASON_ENDING) not in listed and not os.path.lexists(path[: -len(REASON_ENDING)]):
                    text = "belongs to a file that is no longer here; delete it if you do not need it"
                    self._findings.info("reason", f"{REJECTED}/{name}", text)
            elif names.ends_as_job(name) and not names.is_temporary(name):
                if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
                    self._findings.info("foreign", f"{REJECTED}/{name}", "is not a regular file; left alone")
                elif name + REASON_ENDING not in listed and self._is_unexplained(name):
                    text = "has no text that gives the reason"
                    act = self._act_explain(name)
                    self._findings.problem("unexplained", f"{REJECTED}/{name}", text, Repair("given one", act))

    def error_texts(self) -> None:
        """Report texts in dlq/ whose job is gone; a text that somebody changed is a foreign file."""
        for name in error_text.orphans(self._spool):
            if os.path.lexists(self._spool.path(DLQ, error_text.job_file(name))):
                continue
            if error_text.is_ours(self._spool, name):
                text = f"belongs to a job that is no longer in {DLQ}/"
                self._note("error-text", f"{DLQ}/{name}", text, _deletion(self._spool.path(DLQ, name)))
            else:
                self._findings.info("foreign", f"{DLQ}/{name}", "is not a file of queuectl; left alone")

    def _is_unexplained(self, name: str) -> bool:
        return os.path.lexists(self._spool.path(REJECTED, name)) and not os.path.lexists(self._spool.reason_path(name))

    def _act_explain(self, name: str) -> Act:
        def act() -> None:
            why = "unknown: somebody put the file here, or deleted its reason text"
            hint = f"move it to {PENDING}/ to have it checked"
            text = rejected.text_of(name, rejected.Reason(why, hint), now_at=self._clock.now())
            data = text.encode("utf-8", "replace")
            disk.create(self._spool.reason_path(name), data, sync=False, mode=self._spool.file_mode)

        return act

    def logs(self, knows: Callable[[str], bool]) -> None:
        """Report logs whose job is gone, in one finding; `knows` says which ids were seen."""
        strangers: dict[str, str] = {}
        for name in self._spool.names(self._spool.folder(LOGS)):
            if (parts := log_parts(name)) is not None and not knows(parts.job_id):
                strangers[name] = parts.job_id.lower()
        if strangers:
            # A job may have moved from a folder that was not yet listed into one that was.
            for state in STATES:
                here = {name.removesuffix(".json").partition(",")[0].lower() for name in self._spool.job_names(state)}
                strangers = {name: head for name, head in strangers.items() if head not in here}
        if strangers:
            some = ", ".join(sorted(strangers)[:_NAMED]) + (", ..." if len(strangers) > _NAMED else "")
            text = f"holds {len(strangers)} logs and results of jobs that are gone; kept: {some}"
            self._findings.info("log", LOGS, text)

    def open_files(self) -> None:
        """Report files of jobs that more users can read than the settings allow, in one finding; not waiting drops."""
        bits = 0o044 & ~self._spool.file_mode
        at = self._spool.root
        while True:  # a user who cannot enter a parent folder cannot read its files
            bits &= (rights.mode_of(at, otherwise=0) & 0o011) << 2
            if os.path.dirname(at) == at:
                break
            at = os.path.dirname(at)
        if not bits:
            return
        found = {
            folder: [name for name in rights.open_to_others(self._spool.folder(folder), bits) if name != README_TXT]
            for folder in (RUNNING, DONE, DLQ, LOGS)
            if os.path.isdir(self._spool.folder(folder))
        }
        count = sum(map(len, found.values()))
        if count:
            some = ", ".join(folder for folder, listed in found.items() if listed)
            paths = " ".join(quoted(self._spool.folder(folder)) for folder, listed in found.items() if listed)
            self._findings.info(
                "open-files",
                ".",
                f"other users can read {count} file{'s' * (count != 1)} of jobs in {some}, because an older"
                f" queuectl or a person allowed it; to prevent it: "
                f"find {paths} -type f ! -name {README_TXT} -exec chmod go-r {{}} +",
            )

    # ------------------------------------------------------------------------------------------------------ parts

    def _note(self, code: str, path: str, text: str, repair: Repair) -> None:
        """Note a harmless leftover that a repair removes, except a gentle one."""
        self._findings.info(code, path, text, Repair(repair.done) if self._gentle else repair)

    def _shown(self, path: str) -> str:
        return os.path.relpath(path, self._spool.root).replace(os.sep, "/")


def _deletion(path: str) -> Repair:
    return Repair("deleted", _unlink(path))


def _deletion_of_lock(path: str) -> Repair:
    return Repair("deleted", _remove(path))


def _unlink(path: str) -> Act:
    def act() -> None:
        if not disk.unlink(path):
            raise GoneError

    return act


def _remove(path: str) -> Act:
    """Return the deletion of a lock file, which holds its lock meanwhile."""

    def act() -> None:
        lock = NamedLock(path)
        try:
            if not lock.try_acquire():
                raise GoneError
            lock.remove()
        finally:
            lock.close()

    return act


def _inode(path: str) -> int:
    sig = files.sig_of(path)
    return -1 if sig is None else sig.inode
