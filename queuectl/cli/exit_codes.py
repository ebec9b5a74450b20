"""Maps errors to exit codes.

0    success
1    failure; also a spool that others can write to, and a closed reader of standard output
2    wrong usage: an invalid option, argument or combination; an id prefix that fits several jobs
3    there is no such job
4    a job that was waited for failed: one of several, or a single job without an exit code from 1 to 255 (a single job
     passes on its own code)
5    an invalid job or setting; an id that is taken
10   check: the faults are repaired, or --repair can repair them
11   check: something needs a person
75   the spool is busy, full, read-only, unreachable or not a spool, or the cluster does not answer (sysexits.h: try
     again later)
124  waiting for a job took too long (as timeout(1))
130  interrupted by Ctrl-C
"""

from __future__ import annotations

from queuectl.errors import (
    AmbiguousIdError,
    ClusterUnreachableError,
    DuplicateJobError,
    InvalidJobError,
    InvalidSettingsError,
    NotASpoolError,
    QueuectlError,
    SpoolUnavailableError,
    UnknownJobError,
)

OK = 0
FAILURE = 1
USAGE = 2
NO_SUCH_JOB = 3
JOB_FAILED = 4
INVALID = 5
REPAIRED = 10
NEEDS_PERSON = 11
UNAVAILABLE = 75
WAIT_TIMED_OUT = 124
INTERRUPTED = 130


class WrongUsageError(QueuectlError):
    """The command line is wrong: an invalid value, or a combination that has no meaning."""


# The first class that fits decides; every other QueuectlError is FAILURE.
TABLE: tuple[tuple[type[QueuectlError], int], ...] = (
    (WrongUsageError, USAGE),
    (AmbiguousIdError, USAGE),
    (UnknownJobError, NO_SUCH_JOB),
    (InvalidJobError, INVALID),
    (InvalidSettingsError, INVALID),
    (DuplicateJobError, INVALID),
    (NotASpoolError, UNAVAILABLE),
    (SpoolUnavailableError, UNAVAILABLE),
    (ClusterUnreachableError, UNAVAILABLE),
)


def of(error: QueuectlError) -> int:
    """Return the exit code for an error."""
    return next((code for kind, code in TABLE if isinstance(error, kind)), FAILURE)


def of_job(exit_code: int | None, *, succeeded: bool) -> int:
    """Return the exit code for a job that was waited for: its own code if it is from 1 to 255, else JOB_FAILED."""
    if succeeded:
        return OK
    return exit_code if exit_code is not None and 0 < exit_code < 256 else JOB_FAILED
