"""What is in the folders of a spool, by the names of files: no file is opened, and nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterable

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES
from queuectl.spool.layout import (
    CANCELLED_ENDING,
    ERROR_ENDING,
    LOGS,
    README_TXT,
    REASON_ENDING,
    SPLIT_ENDING,
    START,
    Layout,
    Located,
)
from queuectl.system import files

_KNOWN = frozenset({".gitignore", ".gitkeep", README_TXT})
_NAMED_RUNS = 2000


class Listing(Layout):
    """A spool folder whose names can be asked for."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        super().__init__(root)
        self.lacks_folders = False
        """True if folders were missing when the spool was opened for reading: they count as empty."""

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

    def starts(self, job_id: str = "") -> list[str]:
        """The names in tmp/ of such records, of one job or of all."""
        beginning = f"{START}{job_id}," if job_id else START
        return [name for name in self.names(self.tmp_dir) if name.startswith(beginning)]

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

    def count_cancelled(self, jobs: Iterable[str]) -> int:
        """How many of these files in dlq/ are cancelled jobs, by the texts beside them: a listing, none is opened."""
        found = {name for name in files.names(self._folders[DLQ]) if name.endswith(CANCELLED_ENDING)}
        return sum(name.removesuffix(".json") + CANCELLED_ENDING in found for name in jobs) if found else 0

    def has_pool_traces(self) -> bool:
        """False where no pool runs: one listing. True proves nothing, because a pool that was killed leaves traces."""
        return any(name.endswith(".json") for name in self.names(self.pool_dir))

    def has_inbox_traces(self) -> bool:
        """True where an inbox was received from at some time: a stat."""
        return os.path.isdir(self.inbox_dir)

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


def may_be_job(name: str) -> bool:
    """True for a name of a job or, in pending/ and rejected/, of a batch."""
    return names.ends_as_job(name) and not names.is_temporary(name)


def is_foreign(name: str) -> bool:
    """True where a name that is no job's is not ours either (P11)."""
    return not name.endswith((REASON_ENDING, ERROR_ENDING, CANCELLED_ENDING, SPLIT_ENDING)) and name not in _KNOWN
