"""Giving a record other bytes: the one place where a damaged or edited record is rewritten (P4, P6, P7).

Every repair is the same: write the new record in tmp/, keep the old bytes in rejected/ where the new record lacks any
of them, and rename the new record over the old one. A crash between two of these calls leaves the old record where it
is, at worst beside a copy. The caller holds the stripe of the job's id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from queuectl.jobs import reject
from queuectl.model import record
from queuectl.model.lifecycle import REJECTED
from queuectl.spool.folder import RECORD_MAX_BYTES, Stored
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files

_WHY = "its history is damaged; the job goes on from the last event before the damage"
_HINT = "see whether what follows the damage matters; else delete both files"


class Kept(NamedTuple):
    """A copy of the old bytes for a person: its name in rejected/ and what the text beside it says."""

    name: str
    why: str
    hint: str


def rewrite(
    session: Session,
    path: str,
    before: bytes,
    after: bytes,
    keep: Kept | None,
    *,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Replace the record at `path`, which holds `before`, by `after`; return the name of the copy, "" without one.

    `check` runs last before the replacement and may raise to prevent it.

    Raises:
        OSError: the machine's trouble; the record is as it was.
    """
    spool, sync, kept = session.spool, session.syncs_accepted, ""
    with spool.temporary("mended", after, sync=sync) as temporary:
        if keep is not None:
            kept = reject.keep_copy(session, keep.name, before, keep.why, keep.hint)
            if sync:  # the old record is the only other place that has these bytes
                disk.sync_file(spool.path(REJECTED, kept))
                disk.sync_folder(spool.folder(REJECTED))
        check()
        disk.replace(temporary, path)
    return kept


def repair(session: Session, where: Located, data: bytes) -> bytes | None:
    """Cut a torn record back to its last whole event; return its bytes, or None if it needs no repair.

    `where` is the job's file, which holds `data`. If whole events follow the damage, the old bytes stay in rejected/
    as ID.torn.json beside a reason.

    Raises:
        OSError: the machine's trouble; the record is as it was.
    """
    whole = record.repair(data)
    if whole is None or whole == data:
        return None
    keep = None
    if record.loses_events(data, whole):
        keep = Kept(f"{where.name.removesuffix('.json').partition(',')[0]}.torn.json", _WHY, _HINT)
    rewrite(session, where.path, data, whole, keep)
    return whole


def repaired(session: Session, found: Located) -> Stored:
    """Repair a damaged record and read it again.

    Raises:
        DamagedRecordError: it cannot be repaired.
        OSError: the machine's trouble; the record is as it was.
    """
    data = files.read(found.path, RECORD_MAX_BYTES).data
    repair(session, found, data)
    return session.spool.read(found.state, found.name)


def repair_ended(session: Session, stripes: Stripes, where: Located) -> bool | None:
    """Repair a record in done/ or dlq/ that lost its end; False if it needs no repair, None if its id is busy.

    Raises:
        OSError: the machine's trouble; the file is as it was.
    """
    stripe = stripes.of(where.name.removesuffix(".json"))
    if not stripe.try_acquire():
        return None
    try:
        return repair(session, where, session.spool.read_document(where.path).data) is not None
    except (FileNotFoundError, files.NotRegularError):
        return False
    finally:
        stripe.release()
