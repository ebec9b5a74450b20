"""The spool folder: where everything lies and what each file is called. The only module that knows these names.

    pending/ running/ done/ dlq/   the states; a job is one file in exactly one of them (promise P2)
                                   (dlq/ID.error.txt says in words why the job beside it is dead, ID.cancelled.txt
                                   who cancelled it)
    rejected/                      what could not become a job, each beside NAME.reason.txt (P6)
    logs/                          ID.ATTEMPT.log, what a command printed
    examples/                      jobs to copy; nothing in it is run
    queuectl.toml, README.md, job.schema.json, PAUSED
    status.html, status.json, queuectl.prom   what a supervisor writes for people and programs to look at
    .queuectl/                     tmp/ (unfinished writes), locks/ (stripes), leases/, pools/, taken/ (files of many
                                   jobs), splits/ (how far each of those has been split),
                                   cancels/ (runs that are to end), signed/ (ids of signed jobs, each taken once);
                                   where the settings name inboxes also
                                   inboxes/ (OWNER.json, OWNER.lock), handover/OWNER/ (jobs between an inbox and
                                   pending/), owed/OWNER/ (jobs that an inbox is to hear of), identity;
                                   clock (what time it was when a pool last looked)

Nothing here decides anything: it finds, reads, names and moves.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from queuectl.errors import DamagedRecordError, NotASpoolError, SpoolUnavailableError
from queuectl.model import names, record, times
from queuectl.model import settings as config
from queuectl.model.job import JOB_MAX_BYTES
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES
from queuectl.system import acting, disk, files, sharing

MACHINERY = ".queuectl"
LOGS = "logs"
EXAMPLES = "examples"
PAUSED = "PAUSED"
_UNTIL = "until "
README_TXT = "README.txt"
# The dashboard. They lie beside the folders, where no job ever is, and are for looking at only.
PAGE, FACTS, METRICS = "status.html", "status.json", "queuectl.prom"
BOARD = (PAGE, FACTS, METRICS)
START = "start,"
REASON_ENDING = ".reason.txt"
ERROR_ENDING = ".error.txt"
CANCELLED_ENDING = ".cancelled.txt"
SPLIT_ENDING = ".split.txt"
IDENTITY_CHARS = 6
FOLDERS = (
    *STATES,
    REJECTED,
    LOGS,
    *(
        os.path.join(MACHINERY, part)
        for part in ("tmp", "locks", "leases", "pools", "taken", "splits", "cancels", "signed")
    ),
)
_KNOWN = frozenset({".gitignore", ".gitkeep", README_TXT})
# Far above what a history grows to; a larger file in a state folder is somebody else's.
RECORD_MAX_BYTES = 64 * 1024 * 1024
# What a lease may be named. Its name stands in records, which others can write: it must not lead out of its folder.
_NO_LEASE = re.compile(r"[^A-Za-z0-9._-]")
_LEASE_CHARS = 120
_NAMED_RUNS = 2000


class Located(NamedTuple):
    """Where a job lies."""

    state: str
    name: str
    path: str


class Stored(NamedTuple):
    """A record as it was read from disk."""

    record: record.Record
    data: bytes
    sig: files.FileSig


class SpoolDir:
    """One spool folder. Making the object touches nothing; see `open` and `create`."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.fspath(root))
        acting.note(self.root)
        self.file_mode = disk.PRIVATE_MODE
        self.lacks_folders = False
        """True where folders were missing when the spool was opened for reading: they count as empty."""
        self.restored: list[str] = []
        """Folders that were missing and were made again since somebody last looked here."""
        self._folders = {state: os.path.join(self.root, state) for state in (*STATES, REJECTED, LOGS)}
        self.machinery = os.path.join(self.root, MACHINERY)
        self.tmp_dir = os.path.join(self.machinery, "tmp")
        self.stripe_dir = os.path.join(self.machinery, "locks")
        self.lease_dir = os.path.join(self.machinery, "leases")
        self.pool_dir = os.path.join(self.machinery, "pools")
        self.taken_dir = os.path.join(self.machinery, "taken")
        self.split_dir = os.path.join(self.machinery, "splits")
        self.cancel_dir = os.path.join(self.machinery, "cancels")
        self.inbox_dir = os.path.join(self.machinery, "inboxes")
        self.handover_dir = os.path.join(self.machinery, "handover")
        self.owed_dir = os.path.join(self.machinery, "owed")
        self.identity_path = os.path.join(self.machinery, "identity")
        self.clock_path = os.path.join(self.machinery, "clock")
        self.signed_dir = os.path.join(self.machinery, "signed")
        self.settings_path = os.path.join(self.root, config.SETTINGS_NAME)
        self.paused_path = os.path.join(self.root, PAUSED)
        self.readme_path = os.path.join(self.root, "README.md")
        self.schema_path = os.path.join(self.root, "job.schema.json")
        self.examples_dir = os.path.join(self.root, EXAMPLES)
        self.dashboard_lock_path = os.path.join(self.machinery, "dashboard.lock")
        self.stale_lock_path = os.path.join(self.machinery, "stale.lock")

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> SpoolDir:
        """The spool at `root`. Folders that are missing in it (a clone keeps no empty ones) read as empty.

        Raises:
            NotASpoolError: no such folder, or one that is no spool.
        """
        found = cls(root)
        if not is_spool(found.root):
            cause = "it holds neither queuectl.toml nor pending/" if os.path.isdir(found.root) else "no such folder"
            raise NotASpoolError(found.root, cause=cause)
        found.lacks_folders = not all(os.path.isdir(os.path.join(found.root, folder)) for folder in FOLDERS)
        return found

    def complete(self) -> None:
        """Make what was missing when the spool was opened: whoever writes calls it. Raises SpoolUnavailableError."""
        if self.lacks_folders:
            self.make_folders()

    def make_folders(self) -> None:
        """Make the folders that are missing. Raises SpoolUnavailableError where that fails."""
        try:
            for folder in FOLDERS:
                path = os.path.join(self.root, folder)
                if not os.path.isdir(path):
                    disk.make_folder(path)
        except OSError as error:
            raise cannot_make(self.root, error) from error
        self.lacks_folders = False

    def restore_folders(self) -> None:
        """Make those folders again that are missing, but for the ones that hold locks.

        To be called where the spool itself is known to be in its place. Raises OSError.
        """
        for folder in FOLDERS:
            path = os.path.join(self.root, folder)
            if path not in (self.stripe_dir, self.lease_dir, self.pool_dir):
                self.restore(path)

    def restore(self, path: str) -> bool:
        """Make one folder again; False where it is there. `restored` tells of it. Raises OSError."""
        if os.path.isdir(path):
            return False
        disk.make_folder(path)
        self.restored.append(os.path.relpath(path, self.root))
        return True

    def lacks(self, state: str, name: str) -> bool:
        """True where a state folder is there and a file is not in it: somebody has taken that file away.

        A spool that is out of reach (a share that is gone, a disk that fails) says nothing of that kind (P9).
        """
        try:
            return files.sig_of(self.path(state, name)) is None and files.sig_of(self.folder(state)) is not None
        except OSError:
            return False

    def is_taken_away(self, error: OSError, state: str, name: str) -> bool:
        """True where an error says that somebody has taken a file away, or put what is no file in its place."""
        if isinstance(error, files.NotRegularError):
            return True
        return isinstance(error, FileNotFoundError) and self.lacks(state, name)

    # ---------------------------------------------------------------------------------------------------- paths

    def folder(self, state: str) -> str:
        """The folder of a state (or of `rejected`, `logs`)."""
        return self._folders[state]

    def path(self, state: str, name: str) -> str:
        """The path of a file in a state folder."""
        return f"{self._folders[state]}{os.sep}{name}"

    def stripe_path(self, stripe: int) -> str:
        """The lock file of a stripe."""
        return os.path.join(self.stripe_dir, f"{stripe:02d}.lock")

    def lease_path(self, lease: str) -> str:
        """The lock file of a lease, by the name that a `started` event gives it."""
        return os.path.join(self.lease_dir, f"{_lease_name(lease)}.lock")

    def signed_path(self, key: str, job_id: str) -> str:
        """What says that a signed id was used; ids that differ only in case are one."""
        return os.path.join(self.signed_dir, f"{key}--{job_id}".lower())

    def tmp_path(self, name: str) -> str:
        """A path for an unfinished write."""
        return os.path.join(self.tmp_dir, name)

    def output_path(self, lease: str) -> str:
        """Where the command that runs under a lease writes what it prints, until it has ended."""
        return os.path.join(self.tmp_dir, f"{_lease_name(lease)}.out")

    def start_path(self, job_id: str, lease: str) -> str:
        """The record of a drop whose command was started under a lease, until it is on disk and takes its place."""
        return self.tmp_path(f"{START}{job_id},{lease}")

    def starts(self, job_id: str = "") -> list[str]:
        """The names in tmp/ of such records, of one job or of all."""
        beginning = f"{START}{job_id}," if job_id else START
        return [name for name in self.names(self.tmp_dir) if name.startswith(beginning)]

    def log_path(self, job_id: str, attempt: int) -> str:
        """Where the output of an attempt is kept."""
        return os.path.join(self._folders[LOGS], f"{job_id}.{attempt}.log")

    def log_paths(self, job_id: str, starts: int) -> list[str]:
        """Where the outputs of a job's runs are, if they are: by their names, as a listing of logs/ may take minutes.

        Of very many runs, which mostly printed nothing or were long ago, those that are listed.
        """
        if starts <= _NAMED_RUNS:
            return [self.log_path(job_id, attempt) for attempt in range(1, starts + 1)]
        found = []
        for name in self.names(self._folders[LOGS]):
            head, _, number = name.removesuffix(".log").rpartition(".")
            if head == job_id and number.isdecimal() and name.endswith(".log"):
                found.append(self.path(LOGS, name))
        return found

    def reason_path(self, name: str) -> str:
        """The text beside a rejected file."""
        return self.path(REJECTED, name + REASON_ENDING)

    def split_path(self, token: str) -> str:
        """The note of how far the split of a file of many jobs has come."""
        return os.path.join(self.split_dir, f"{token}.json")

    def split_text_path(self, token: str) -> str:
        """The text in rejected/ that lists what was refused of a file of many jobs."""
        return self.path(REJECTED, token + SPLIT_ENDING)

    def error_path(self, name: str, *, cancelled: bool = False) -> str:
        """The text beside the file of a dead job, or of a cancelled one."""
        return self.path(DLQ, name.removesuffix(".json") + (CANCELLED_ENDING if cancelled else ERROR_ENDING))

    def count_cancelled(self, jobs: Iterable[str]) -> int:
        """How many of these files in dlq/ are cancelled jobs, by the texts beside them: a listing, none is opened."""
        found = {name for name in files.names(self._folders[DLQ]) if name.endswith(CANCELLED_ENDING)}
        return sum(name.removesuffix(".json") + CANCELLED_ENDING in found for name in jobs) if found else 0

    def inbox_path(self, owner: str, kind: str) -> str:
        """What the receiver of an inbox keeps: `json`, its state; `lock`, its lock; `tokens`, of its claims."""
        return os.path.join(self.inbox_dir, f"{owner}.{kind}")

    def has_pool_traces(self) -> bool:
        """False where no pool runs: one listing. True proves nothing, because a pool that was killed leaves traces."""
        return any(name.endswith(".json") for name in self.names(self.pool_dir))

    def has_inbox_traces(self) -> bool:
        """True where an inbox was received from at some time: a stat."""
        return os.path.isdir(self.inbox_dir)

    # ------------------------------------------------------------------------------------------------- listings

    def names(self, folder: str) -> list[str]:
        """The names in a folder of the spool, in no order. Raises OSError."""
        try:
            return files.names(folder)
        except FileNotFoundError:
            if self.lacks_folders:
                return []
            raise

    def waiting(self) -> tuple[list[str], list[str]]:
        """What may be jobs or batches in pending/, of one listing: names that are just a generated id, and others."""
        generated, others = names.split_generated(self.names(self._folders[PENDING]))
        return generated, [name for name in others if may_be_job(name)]

    def waiting_names(self) -> list[str]:
        """As `waiting`, in one list and without folders: what a person or a program asks for."""
        generated, others = names.split_generated(self._marked(self._folders[PENDING]))
        return generated + [name for name in others if may_be_job(name)]

    def _marked(self, folder: str) -> list[str]:
        """As `names`, with a slash behind those of folders."""
        try:
            return files.marked_names(folder)
        except FileNotFoundError:
            if self.lacks_folders:
                return []
            raise

    def job_names(self, state: str) -> list[str]:
        """The names of job files in a state folder, sorted (generated ids: oldest first)."""
        return self.listing(state)[0]

    def foreign_names(self, state: str) -> list[str]:
        """The names in a state folder that are no job's, sorted: left alone, reported (promise P11)."""
        return self.listing(state)[1]

    def listing(self, state: str) -> tuple[list[str], list[str]]:
        """One listing of a state folder: `job_names` and `foreign_names`."""
        jobs: list[str] = []
        foreign: list[str] = []
        for name in self._marked(self._folders[state]):
            if may_be_job(name):
                # A record has this very ending; a drop, and a refused one, may have it in capitals.
                if name.endswith(".json") or (state in (PENDING, REJECTED) and not names.is_batch(name)):
                    jobs.append(name)
                elif not names.is_batch(name):
                    foreign.append(name)
            elif is_foreign(name):
                foreign.append(name.removesuffix("/"))
        return sorted(jobs), sorted(foreign)

    def find(self, job_id: str) -> Located | None:
        """Where the job with this id lies: a stat a state, then one listing of pending/ for a name with flags."""
        if "/" in job_id or "\\" in job_id:
            return None  # typed by somebody: an id is a name, never a path
        plain = f"{job_id}.json"
        for state in (RUNNING, PENDING, DONE, DLQ):
            path = self.path(state, plain)
            if os.path.lexists(path):
                return Located(state, plain, path)
        if (named := self.find_named(job_id)) is not None:
            return named
        # Between the looks the job may have moved on: from pending/ into one of the states looked at first.
        for state in (RUNNING, DONE, DLQ):
            path = self.path(state, plain)
            if os.path.lexists(path):
                return Located(state, plain, path)
        return None

    def find_named(self, job_id: str) -> Located | None:
        """A waiting job with this id and flags in its name, or whose id differs in case: one listing of pending/."""
        plain, folded = f"{job_id}.json", job_id.lower()
        for name in self.names(self._folders[PENDING]):
            # A cheap test first: a listing may hold a million names.
            if name[: len(folded)].lower() == folded and name != plain:
                parts = names.parse(name)
                if parts is not None and parts.stem.lower() == folded:
                    return Located(PENDING, name, self.path(PENDING, name))
        return None

    def file(self, typed: str) -> Located | None:
        """The job's file that is meant by FOLDER/NAME (`done/job1`, with or without .json), or None."""
        state, slash, name = typed.partition("/")
        if not slash or state not in STATES or not name or name.startswith(".") or "/" in name or os.sep in name:
            return None
        name = name if name.endswith(".json") else f"{name}.json"
        path = self.path(state, name)
        return Located(state, name, path) if os.path.lexists(path) else None

    def others(self, job_id: str, path: str) -> list[str]:
        """The files beside `path` that have the name of this id, as FOLDER/NAME: a stat a state."""
        plain = f"{job_id}.json"
        return [
            f"{state}/{plain}"
            for state in STATES
            if self.path(state, plain) != path and os.path.lexists(self.path(state, plain))
        ]

    def ids(self, prefix: str = "") -> set[str]:
        """The ids that begin with `prefix`, ignoring case, over all states: one listing a folder, no file is opened.

        A drop counts under its file's stem, whatever id it gives itself.
        """
        folded, length = prefix.lower(), len(prefix)
        found: set[str] = set()
        # In the direction that jobs move in: one that moves meanwhile is seen before or after its move.
        for state in (PENDING, RUNNING, DONE, DLQ):
            for name in self.names(self._folders[state]):
                if name[:length].lower() != folded or not may_be_job(name) or names.is_batch(name):
                    continue
                if state != PENDING:
                    found.add(name.removesuffix(".json"))
                elif (parts := names.parse(name)) is not None:
                    found.add(parts.stem)
        return {stem for stem in found if stem[:length].lower() == folded}

    def holds(self, job_id: str, states: tuple[str, ...] = (RUNNING, DONE, DLQ)) -> str:
        """The first of `states` with a plain file of this id, or "": a stat a state."""
        plain = f"{job_id}.json"
        return next((state for state in states if os.path.lexists(self.path(state, plain))), "")

    # ------------------------------------------------------------------------------------------------- records

    def read_document(self, path: str, *, patience_s: float = sharing.SHARING_DEADLINE_S) -> files.Content:
        """Read what may be a job: a drop of at most JOB_MAX_BYTES, or a record of ours, which grows. Else oversize.

        Raises:
            OSError: as `files.read`.
        """
        content = files.read(path, JOB_MAX_BYTES, patience_s=patience_s)
        # Nothing large is read before its first bytes say that it is ours: a gigabyte of zeros is looked at, not read.
        if not content.oversize or content.sig.size > RECORD_MAX_BYTES:
            return content
        if files.read_head(path, len(record.OPENING)) != record.OPENING:
            return content
        return files.read(path, RECORD_MAX_BYTES, patience_s=patience_s)

    def open_document(self, path: str) -> tuple[int, files.Content]:
        """As `read_document`, of a file that is ours alone, and a handle for `disk.append`; -1 where there is none.

        The caller closes the handle.
        """
        try:
            fd, content = files.open_and_read(path, JOB_MAX_BYTES)
        except PermissionError:
            return -1, self.read_document(path)
        if not content.oversize:
            return fd, content
        os.close(fd)
        return -1, self.read_document(path)

    def read(self, state: str, name: str, *, patience_s: float = sharing.SHARING_DEADLINE_S) -> Stored:
        """Read and decode a framed record.

        Raises:
            DamagedRecordError: it is not framed, or not a record.
            OSError: as `files.read`.
        """
        path = self.path(state, name)
        content = self.read_document(path, patience_s=patience_s)
        if content.oversize or not record.is_framed(content.data):
            raise DamagedRecordError(f"{path} is not a record of queuectl", path=path)
        return Stored(record.decode(content.data, path=path), content.data, content.sig)

    def write_temporary(
        self, hint: str, data: bytes, *, rng: random.Random, sync: bool, mode: int | None = None
    ) -> str:
        """Write an unfinished file in tmp/ under a name nobody has; return its path.

        It gets the mode of files of jobs, `file_mode`, unless another is given.
        """
        self.complete()
        while True:
            path = self.tmp_path(f"{hint}.{os.getpid()}-{names.new_token(rng, 8)}")
            try:
                disk.create(path, data, sync=sync, mode=self.file_mode if mode is None else mode)
            except FileExistsError:
                continue
            return path

    @contextlib.contextmanager
    def temporary(
        self, hint: str, data: bytes, *, rng: random.Random, sync: bool, mode: int | None = None
    ) -> Iterator[str]:
        """As `write_temporary`, for a block that gives the file its place; deleted if the block fails."""
        path = self.write_temporary(hint, data, rng=rng, sync=sync, mode=mode)
        try:
            yield path
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(path)
            raise

    def replace_with(
        self,
        path: str,
        data: bytes,
        *,
        hint: str,
        rng: random.Random,
        sync: bool,
        mode: int | None = None,
        patience_s: float = sharing.SHARING_DEADLINE_S,
    ) -> None:
        """Put a fresh file in the place of `path` in one step; arguments as of `write_temporary`.

        Raises:
            OSError: `path` is as it was, and nothing is left behind.
        """
        with self.temporary(hint, data, rng=rng, sync=sync, mode=mode) as temporary:
            disk.replace(temporary, path, patience_s=patience_s)

    def publish_as(
        self, path: str, data: bytes, *, hint: str, rng: random.Random, sync: bool, mode: int | None = None
    ) -> None:
        """Make a file that is whole from the instant that it is seen; arguments as of `write_temporary`.

        Raises:
            FileExistsError: the name is taken; nothing is left behind.
            OSError: as the system says; nothing is left behind.
        """
        with self.temporary(hint, data, rng=rng, sync=sync, mode=mode) as temporary:
            disk.publish(temporary, path)

    def move(self, source: Located, state: str, name: str, rng: random.Random) -> str:
        """Move a job's file to `state` under `name`, or beside it under another name if that is taken (P7).

        Returns the name it has now. A folder that is missing is made again.

        Raises:
            FileNotFoundError: the source is gone.
        """
        wanted = name
        while True:
            try:
                disk.move(source.path, self.path(state, wanted))
            except FileExistsError:
                wanted = names.beside(name, f"-{names.new_token(rng)}")
                continue
            except FileNotFoundError:
                if files.sig_of(source.path) is not None and self.restore(self.folder(state)):
                    continue  # somebody had deleted the folder
                raise
            return wanted

    def identity(self, rng: random.Random) -> str:
        """A short name of this spool, made once: it tells its own files in an inbox from those of another spool.

        Raises:
            OSError: it cannot be read, or not made.
        """
        if files.sig_of(self.identity_path) is None:
            made = names.new_token(rng, IDENTITY_CHARS).encode()
            with contextlib.suppress(FileExistsError):
                self.publish_as(self.identity_path, made, hint="identity", rng=rng, sync=True)
            disk.sync_folder(self.machinery)
        found = files.read_head(self.identity_path, IDENTITY_CHARS).decode("ascii", "replace")
        if not re.fullmatch(f"[0-9a-z]{{{IDENTITY_CHARS}}}", found):
            raise OSError(errno.EINVAL, "is damaged; delete it", self.identity_path)
        return found

    def known_identity(self) -> str:
        """`identity`, or "" if it cannot be read or is not made yet: workers make it."""
        try:
            found = files.read_head(self.identity_path, IDENTITY_CHARS).decode("ascii", "replace")
        except OSError:
            return ""
        return found if re.fullmatch(f"[0-9a-z]{{{IDENTITY_CHARS}}}", found) else ""

    # ------------------------------------------------------------------------------------------------ settings

    def use(self, settings: config.Settings) -> None:
        """Write files of jobs from now on as these settings say."""
        self.file_mode = disk.GROUP_MODE if settings.group_access == config.READ else disk.PRIVATE_MODE

    def write_board(self, name: str, text: str, *, has_texts: bool, rng: random.Random) -> None:
        """Put PAGE, FACTS or METRICS there in one step; a link or a read-only file in its place is replaced.

        One that `has_texts` of jobs is as private as their files; others are for everybody.

        Raises:
            OSError: it cannot be written (full, read-only, a folder of that name); nothing is left behind.
        """
        mode = None if has_texts else disk.FILE_MODE
        path, data = os.path.join(self.root, name), text.encode("utf-8", "replace")
        self.replace_with(path, data, hint=name, rng=rng, sync=False, mode=mode, patience_s=sharing.GLANCE_S)

    def is_paused(self) -> bool:
        """True while the file PAUSED exists."""
        return os.path.lexists(self.paused_path)

    def pause(self, reason: str, *, until_at: float | None, rng: random.Random) -> None:
        """Make the file PAUSED, or replace it. Raises OSError, IsADirectoryError if a folder has that name."""
        if files.is_folder(self.paused_path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.paused_path)
        text = reason.replace("\n", " ") + "\n"
        if until_at is not None:
            text += f"{_UNTIL}{times.to_text(until_at)}\n"
        data = text.encode("utf-8", "replace")
        self.replace_with(self.paused_path, data, hint="paused", rng=rng, sync=False, mode=disk.FILE_MODE)

    def paused_until(self) -> float | None:
        """When a pause is to end by itself, by the file's second line; None where it says nothing of it."""
        try:
            lines = files.read_tail(self.paused_path, 4096).decode("utf-8", "replace").split("\n")
            return (
                times.from_text(lines[1].removeprefix(_UNTIL))
                if len(lines) > 1 and lines[1].startswith(_UNTIL)
                else None
            )
        except (OSError, ValueError):
            return None

    def resume(self) -> bool:
        """Delete PAUSED; False where there was none. Raises OSError, IsADirectoryError if it is a folder."""
        if files.is_folder(self.paused_path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.paused_path)
        return disk.unlink(self.paused_path)

    def pause_reason(self) -> str:
        """The first line of PAUSED, or ""."""
        try:
            return files.read_tail(self.paused_path, 4096).decode("utf-8", "replace").strip().split("\n")[0]
        except OSError:
            return ""


def is_spool(root: str) -> bool:
    """True where `root` is a spool: it has our settings file, or our machinery beside pending/."""
    return os.path.isfile(os.path.join(root, config.SETTINGS_NAME)) or (
        os.path.isdir(os.path.join(root, PENDING)) and os.path.isdir(os.path.join(root, MACHINERY))
    )


def cannot_make(root: str, error: OSError) -> SpoolUnavailableError:
    """Return the error for a spool at `root` that cannot be made, or completed, because of `error`."""
    parts = re.split(r"[\\/]", root) if os.name == "nt" else []
    if device := next(filter(names.is_device, parts), ""):
        cause, hint = f"{device} is the name of a device on Windows", "choose another name"
    else:
        cause, hint = f"{error.filename or root}: {error.strerror or error}", ""
    return SpoolUnavailableError(f"cannot make the spool {root}", path=root, cause=cause, hint=hint)


def may_be_job(name: str) -> bool:
    """True for a name of a job or, in pending/ and rejected/, of a batch."""
    return names.ends_as_job(name) and not names.is_temporary(name)


def is_foreign(name: str) -> bool:
    """True where a name that is no job's is not ours either (P11)."""
    return not name.endswith((REASON_ENDING, ERROR_ENDING, CANCELLED_ENDING, SPLIT_ENDING)) and name not in _KNOWN


def _lease_name(lease: str) -> str:
    return _NO_LEASE.sub("-", lease)[:_LEASE_CHARS]


def record_name(job_id: str) -> str:
    """The name of a job's file in every folder but pending/."""
    return f"{job_id}.json"


def name_for(item: record.Record, standing: record.Standing, now_at: float, arrived: str = "") -> str:
    """The name of a waiting job's file by what its record says; `arrived` is what a name said of its arrival."""
    due_at = standing.due_at
    if due_at is not None and record.is_due(due_at, standing.delay_s, now_at):
        due_at = None
    return names.waiting_name(item.id, due_at, item.priority, item.owner, arrived)
