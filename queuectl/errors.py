"""Every error that queuectl raises on purpose.

    QueuectlError
    ├── InvalidJobError (ValueError)         a document is not a valid job: the key and what is wrong
    ├── InvalidSettingsError (ValueError)    a mistake in queuectl.toml: the file, the key and what is allowed
    ├── UnknownJobError (LookupError)        no file in the spool has this id
    │   ├── UnknownGroupError                no job belongs to this group
    │   ├── UnknownScheduleError             no schedule has this name
    │   └── UnknownFileError                 no rejected file has this name
    ├── AmbiguousIdError (LookupError)       several ids begin like this
    ├── DuplicateJobError                    the id is in use: in which state
    ├── NotASpoolError                       the folder is not a spool
    ├── SpoolUnavailableError                the spool cannot be read or written now (full, missing, busy)
    ├── UntrustedSpoolError                  other users could make queuectl run commands (promise P10)
    ├── ClusterError                         the cluster cannot be used: its keys, its address, the extra
    │   └── ClusterUnreachableError          nobody answers there now
    ├── WaitTimeoutError (TimeoutError)      jobs have not ended in time
    ├── DamagedRecordError                   a file is not a whole record
    └── IllegalMoveError (RuntimeError)      the state table does not have this move: a bug

An error says what happened (`str(error)`), why (`cause`) and what to do (`hint`). A command that fails is not an
error but an outcome (`lifecycle.Outcome`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack


class Words(TypedDict, total=False):
    """What an error says besides what happened; see `QueuectlError`."""

    cause: str
    hint: str
    mistakes: tuple[str, ...]


class QueuectlError(Exception):
    """Base of all errors that are shown to a person.

    Attributes:
        cause: the reason, or "".
        hint: what to do about it, preferably a command to copy, or "".
        mistakes: the sentences that name the mistakes, if a document or a command line has several.
    """

    def __init__(self, what: str, *, cause: str = "", hint: str = "", mistakes: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.cause = cause
        self.hint = hint
        self.mistakes = mistakes


class InvalidJobError(QueuectlError, ValueError):
    """A document is not a valid job. `key` is the first key at fault, or ""."""

    def __init__(self, what: str, *, key: str = "", **words: Unpack[Words]) -> None:
        super().__init__(what, **words)
        self.key = key


class InvalidSettingsError(QueuectlError, ValueError):
    """A setting is not valid. `path` is the file, `key` the first setting at fault."""

    def __init__(self, what: str, *, path: str = "", key: str = "", **words: Unpack[Words]) -> None:
        super().__init__(what, **words)
        self.path = path
        self.key = key


class UnknownJobError(QueuectlError, LookupError):
    """No job in the spool has the id `job_id`."""

    def __init__(self, job_id: str, *, hint: str = "") -> None:
        super().__init__(f"no job {job_id!r} in this spool", hint=hint or "queuectl list  shows all jobs")
        self.job_id = job_id


class UnknownParentError(UnknownJobError):
    """A job is to wait for `job_id`, and the spool has no such job."""

    def __init__(self, job_id: str) -> None:
        QueuectlError.__init__(
            self,
            f"after: no job {job_id!r} in this spool",
            hint="enqueue that job first; if it arrives later, use --allow-missing (Python: allow_missing=True)",
        )
        self.job_id = job_id


class UnknownGroupError(UnknownJobError):
    """No job in the spool belongs to the group `token`."""

    def __init__(self, token: str) -> None:
        hint = "a group is the jobs of one file, and its name is what their ids begin with"
        QueuectlError.__init__(self, f"no job of a group {token[:120]!r} in this spool", hint=hint)
        self.job_id = self.token = token


class UnknownScheduleError(UnknownJobError):
    """No file in schedules/ is the schedule `name`."""

    def __init__(self, name: str, *, hint: str = "") -> None:
        hint = hint or "to list the schedules: queuectl schedule list"
        QueuectlError.__init__(self, f"no schedule {name[:120]!r} in this spool", hint=hint)
        self.job_id = self.name = name


class UnknownFileError(UnknownJobError):
    """No rejected file has the name `name`, or several (`found`, sorted) begin with it."""

    def __init__(self, name: str, found: list[str]) -> None:
        QueuectlError.__init__(
            self,
            f"{len(found)} rejected files begin with {name[:60]!r}" if found else f"no rejected file {name[:60]!r}",
            cause=f"matching names: {', '.join(found[:5])}{' ...' if len(found) > 5 else ''}" if found else "",
            hint="type more characters of the name" if found else "queuectl rejected list  shows all of them",
        )
        self.job_id = name


class AmbiguousIdError(QueuectlError, LookupError):
    """`prefix` is not an id, and several ids (`ids`, sorted) begin with it."""

    SHOWN = 5

    def __init__(self, prefix: str, ids: list[str]) -> None:
        more = f" and {len(ids) - self.SHOWN} more" if len(ids) > self.SHOWN else ""
        super().__init__(
            f"{len(ids)} job ids begin with {prefix!r}",
            cause=f"matching ids: {', '.join(ids[: self.SHOWN])}{more}",
            hint="type more characters of the id",
        )
        self.prefix = prefix
        self.ids = ids


class DuplicateJobError(QueuectlError):
    """A job in `state` already has the id `job_id`; nothing was written."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(
            f"a job with the id {job_id!r} already exists, in {state}/",
            hint=f"omit the id to get a new one, or run it again: queuectl retry {job_id}"
            if state in ("dlq", "done")
            else "omit the id to get a new one",
        )
        self.job_id = job_id
        self.state = state


class NotASpoolError(QueuectlError):
    """`path` is not a spool folder."""

    def __init__(self, path: str, *, cause: str = "") -> None:
        super().__init__(f"{path} is not a spool", cause=cause, hint=f'queuectl init "{path}"')
        self.path = path


class SpoolUnavailableError(QueuectlError):
    """The spool cannot be used now: the disk is full or read-only, the folder is missing or busy."""

    def __init__(self, what: str, *, path: str = "", cause: str = "", hint: str = "") -> None:
        super().__init__(what, cause=cause, hint=hint)
        self.path = path


class UntrustedSpoolError(QueuectlError):
    """Other users can write to `path`, so they could make queuectl run commands (promise P10)."""

    def __init__(self, path: str, *, cause: str, hint: str, what: str = "") -> None:
        super().__init__(what or f"refusing to run commands from {path}", cause=cause, hint=hint)
        self.path = path


class ClusterError(QueuectlError):
    """The cluster cannot be used before a person acts: keys, address, version or the missing extra."""


class ClusterUnreachableError(ClusterError):
    """The scheduler of the cluster, or all of its nodes, do not answer now."""


class WaitTimeoutError(QueuectlError, TimeoutError):
    """A wait timed out. `left` holds the ids of the jobs that have not ended, `ended` how the others ended."""

    SHOWN = 3

    def __init__(self, left: list[str], *, ended: Sequence[object] = ()) -> None:
        more = f" and {len(left) - self.SHOWN} more" if len(left) > self.SHOWN else ""
        verb = "has" if len(left) == 1 else "have"
        super().__init__(f"timed out: {', '.join(left[: self.SHOWN])}{more} {verb} not ended")
        self.left = left
        self.ended = ended


class DamagedRecordError(QueuectlError):
    """The record at `path` is torn, or somebody changed the file so that it is no longer a record."""

    def __init__(self, what: str, *, path: str = "", cause: str = "", hint: str = "") -> None:
        super().__init__(what, cause=cause, hint=hint or "queuectl check --repair")
        self.path = path


class IllegalMoveError(QueuectlError, RuntimeError):
    """The state table does not allow this event in this state: a bug in the caller."""


def os_words(error: OSError) -> str:
    """Return the message of the operating system with its path: `/x/y: Permission denied`."""
    why = error.strerror or str(error)
    return f"{error.filename}: {why}" if error.filename else why
