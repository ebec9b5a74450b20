"""List the folders of a spool by the names of files. Open no file and change nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable

from queuectl.model import names
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, STATES
from queuectl.spool.layout import (
    CANCELLED_ENDING,
    ERROR_ENDING,
    LOG_ENDING,
    LOGS,
    README_TXT,
    REASON_ENDING,
    SPLIT_ENDING,
    START,
    Layout,
    Located,
    log_parts,
    record_name,
)
from queuectl.system import files

# Files in a state folder that are neither jobs nor reported as foreign.
_KNOWN = frozenset({".gitignore", ".gitkeep", README_TXT})
# With more runs than this, logs are listed instead of named one by one.
_NAMED_RUNS = 2000


class Listing(Layout):
    """A spool whose folders can be listed. See `SpoolDir` for reading and writing."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        super().__init__(root)
        self.lacks_folders = False
        """True if folders were missing when the spool was opened for reading: they count as empty."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder of the spool, in no order. Raises OSError."""
        try:
            return files.names(folder)
        except FileNotFoundError:
            if self.lacks_folders:
                return []
            raise

    def waiting(self) -> tuple[list[str], list[str]]:
        """List pending/ once: names that are only a generated id, and all others, which the run queue judges."""
        return names.split_generated(self.names(self._folders[PENDING]))

    def waiting_names(self) -> list[str]:
        """Return the names of `waiting` in one list, without folders: for people and programs."""
        generated, others = names.split_generated(self._marked(self._folders[PENDING]))
        return generated + [name for name in others if may_be_job(name)]

    def _marked(self, folder: str) -> list[str]:
        """Return `names`, with a slash after the name of each folder."""
        try:
            return files.marked_names(folder)
        except FileNotFoundError:
            if self.lacks_folders:
                return []
            raise

    def job_names(self, state: str) -> list[str]:
        """Return the names of job files in a state folder, sorted (generated ids: oldest first)."""
        return self.listing(state)[0]

    def foreign_names(self, state: str) -> list[str]:
        """Return the names of other files in a state folder, sorted. They are reported and left alone (P11)."""
        return self.listing(state)[1]

    def listing(self, state: str) -> tuple[list[str], list[str]]:
        """List a state folder once; return `job_names` and `foreign_names`."""
        jobs: list[str] = []
        foreign: list[str] = []
        for name in self._marked(self._folders[state]):
            if may_be_job(name):
                # A record ends in .json; a drop, also a rejected one, may end in .JSON.
                if name.endswith(".json") or (state in (PENDING, REJECTED) and not names.is_batch(name)):
                    jobs.append(name)
                elif not names.is_batch(name):
                    foreign.append(name)
            elif is_foreign(name):
                foreign.append(name.removesuffix("/"))
        return sorted(jobs), sorted(foreign)

    def find(self, job_id: str) -> Located | None:
        """Find the job with this id: a stat per state, then one listing of pending/ for a name with flags."""
        if "/" in job_id or "\\" in job_id:
            return None  # a person typed it: an id is a name, never a path
        found = self.find_plain(job_id, (RUNNING, PENDING, DONE, DLQ)) or self.find_named(job_id)
        # Meanwhile the job may have moved from pending/ to a state that was checked before.
        return found or self.find_plain(job_id, (RUNNING, DONE, DLQ))

    def find_plain(self, job_id: str, states: tuple[str, ...]) -> Located | None:
        """Find a file named ID.json in the first of `states` that has one: a stat per state."""
        name = record_name(job_id)
        for state in states:
            path = self.path(state, name)
            if os.path.lexists(path):
                return Located(state, name, path)
        return None

    def find_named(self, job_id: str) -> Located | None:
        """Find a waiting job whose name has flags, or whose id differs in case: one listing of pending/."""
        plain, folded = f"{job_id}.json", job_id.lower()
        for name in self.names(self._folders[PENDING]):
            # A cheap test first, because a listing may have a million names.
            if name[: len(folded)].lower() == folded and name != plain:
                parts = names.parse(name)
                if parts is not None and parts.stem.lower() == folded:
                    return Located(PENDING, name, self.path(PENDING, name))
        return None

    def file(self, typed: str) -> Located | None:
        """Return the job's file for FOLDER/NAME (`done/job1`, with or without .json), or None."""
        state, slash, name = typed.partition("/")
        if not slash or state not in STATES or not name or name.startswith(".") or "/" in name or os.sep in name:
            return None
        name = name if name.endswith(".json") else f"{name}.json"
        path = self.path(state, name)
        return Located(state, name, path) if os.path.lexists(path) else None

    def others(self, job_id: str, path: str) -> list[str]:
        """Return the other files that are named after this id, as FOLDER/NAME: a stat per state."""
        plain = f"{job_id}.json"
        return [
            f"{state}/{plain}"
            for state in STATES
            if self.path(state, plain) != path and os.path.lexists(self.path(state, plain))
        ]

    def ids(self, prefix: str = "") -> set[str]:
        """Return the ids that begin with `prefix`, ignoring case, in all states: one listing per folder.

        A drop counts under its file's stem, whatever id is in it.
        """
        folded, length = prefix.lower(), len(prefix)
        found: set[str] = set()
        # In the order in which jobs move: a job that moves meanwhile is seen before or after its move.
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
        """Return the first of `states` with a file named ID.json, or "": a stat per state."""
        found = self.find_plain(job_id, states)
        return found.state if found is not None else ""

    def starts(self, job_id: str = "") -> list[str]:
        """Return the names in tmp/ of records of started drops (`start_path`), of one job or of all."""
        beginning = f"{START}{job_id}," if job_id else START
        return [name for name in self.names(self.tmp_dir) if name.startswith(beginning)]

    def output_paths(self, job_id: str, starts: int) -> list[str]:
        """Return the possible paths of a job's logs and results, because a listing of logs/ may take minutes.

        For a job with very many runs, list logs/ and return the files that exist.
        """
        if starts > _NAMED_RUNS:
            return self.listed_outputs(job_id)
        attempts = range(1, starts + 1)
        return [path(job_id, attempt) for attempt in attempts for path in (self.log_path, self.result_path)]

    def listed_outputs(self, job_id: str) -> list[str]:
        """Return the paths of a job's logs and results, the first attempt first: one listing of logs/."""
        found = [
            (parts.attempt, self.path(LOGS, name))
            for name in self.names(self._folders[LOGS])
            if (parts := log_parts(name)) is not None and parts.job_id == job_id
        ]
        return [path for _, path in sorted(found)]

    def listed_logs(self, job_id: str) -> list[str]:
        """Return the paths of a job's logs, the first attempt first: one listing of logs/."""
        return [path for path in self.listed_outputs(job_id) if path.endswith(LOG_ENDING)]

    def count_cancelled(self, jobs: Iterable[str]) -> int:
        """Count the cancelled jobs among these files in dlq/ by their texts: one listing."""
        found = {name for name in files.names(self._folders[DLQ]) if name.endswith(CANCELLED_ENDING)}
        return sum(name.removesuffix(".json") + CANCELLED_ENDING in found for name in jobs) if found else 0

    def has_pool_traces(self) -> bool:
        """False if no pool runs: one listing. True proves nothing, because a killed pool leaves traces."""
        return any(name.endswith(".json") for name in self.names(self.pool_dir))

    def has_inbox_traces(self) -> bool:
        """True if there was ever an inbox: a stat."""
        return os.path.isdir(self.inbox_dir)

    def lacks(self, state: str, name: str) -> bool:
        """True if a state folder exists and a file is not in it: somebody has moved or deleted the file.

        False if the spool is unreachable (a share is offline, a disk fails), because then it is unknown (P9).
        """
        try:
            return files.sig_of(self.path(state, name)) is None and files.sig_of(self.folder(state)) is not None
        except OSError:
            return False

    def is_taken_away(self, error: OSError, state: str, name: str) -> bool:
        """True if an error means that a file was moved, deleted, or replaced with a folder or the like."""
        if isinstance(error, files.NotRegularError):
            return True
        return isinstance(error, FileNotFoundError) and self.lacks(state, name)


def may_be_job(name: str) -> bool:
    """True for the name of a job or, in pending/ and rejected/, of a batch."""
    return names.ends_as_job(name) and not names.is_temporary(name)


def is_foreign(name: str) -> bool:
    """True if a file is neither a job nor another file of queuectl (P11)."""
    return not name.endswith((REASON_ENDING, ERROR_ENDING, CANCELLED_ENDING, SPLIT_ENDING)) and name not in _KNOWN
