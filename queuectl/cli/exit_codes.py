"""What a script gets to see: one table from errors to exit codes.

0    done
1    it failed: also a spool that others can write to, and a reader of our output that went away
2    wrong usage: an option, an argument or a combination that cannot be; the beginning of several ids
3    there is no such job
4    a job that was waited for failed: one of several, or one alone that has no exit code of its own between 1 and 255
     (a job waited for alone passes its own on)
5    a job or a setting that is not valid; an id that is taken
10   check: what was wrong is repaired, or can be by --repair
11   check: something needs a person
75   the spool is busy, full, read-only, unreachable or no spool at all (sysexits.h: try again later)
124  waiting for a job took too long (as timeout(1))
130  interrupted by Ctrl-C
"""

from __future__ import annotations

from queuectl.errors import (
    AmbiguousIdError,
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
    """What was typed is no command: a combination of arguments that means nothing."""


# The first class that fits counts; every other QueuectlError is FAILURE.
TABLE: tuple[tuple[type[QueuectlError], int], ...] = (
    (WrongUsageError, USAGE),
    (AmbiguousIdError, USAGE),
    (UnknownJobError, NO_SUCH_JOB),
    (InvalidJobError, INVALID),
    (InvalidSettingsError, INVALID),
    (DuplicateJobError, INVALID),
    (NotASpoolError, UNAVAILABLE),
    (SpoolUnavailableError, UNAVAILABLE),
)


def of(error: QueuectlError) -> int:
    """Return the exit code for an error."""
    return next((code for kind, code in TABLE if isinstance(error, kind)), FAILURE)


def of_job(exit_code: int | None, *, succeeded: bool) -> int:
    """The exit code for how one job ended that was waited for: its own if it has one that every system passes on."""
    if succeeded:
        return OK
    return exit_code if exit_code is not None and 0 < exit_code < 256 else JOB_FAILED
