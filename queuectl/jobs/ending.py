"""End a job that does not run: an event with the reason, then the move to dlq/ (P2, P4).

The caller holds the stripe of the id. A crash between the two leaves a job in running/ with its end on record, and
`rescue` makes the move.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from queuectl.jobs import error_text
from queuectl.jobs.verdict import Dead
from queuectl.model import history, lifecycle
from queuectl.model.lifecycle import DLQ, EXPIRED, PENDING
from queuectl.spool.layout import Located, record_name
from queuectl.spool.session import Session
from queuectl.system import disk


class UnburiedError(OSError):
    """A job whose end may be on record could not be moved to dlq/. It stays in running/, and `rescue` makes the move.

    In pending/ its end would count as the wish of a person to run it again.
    """


@contextlib.contextmanager
def on_record() -> Iterator[None]:
    """Within the block, the end of a job goes on record and the job to dlq/; a failed call leaves it in running/.

    Raises:
        UnburiedError: a problem of the machine.
        BlockingIOError: another program changed the record, so nothing was written.
    """
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise UnburiedError(error.errno, error.strerror, error.filename) from error


def expired(now_at: float, why: str) -> dict[str, Any]:
    """Return the event of a job that must not start any more."""
    lifecycle.check_move(PENDING, EXPIRED, DLQ)
    return history.event(EXPIRED, now_at, reason=why, to=DLQ)


def bury(session: Session, here: Located, job_id: str, why: str) -> Dead:
    """Move a job whose end is on record to dlq/, and write its text there.

    Raises:
        OSError: the file could not be moved.
    """
    name = session.spool.move(here, DLQ, record_name(job_id))
    if session.syncs_all:
        disk.sync_folder(session.spool.folder(DLQ))
    error_text.write(session, name)
    return Dead(name, why)
