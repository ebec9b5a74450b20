"""Rewrite a damaged or edited record: the one place that replaces the bytes of a record (P4, P6, P7).

Every repair takes the same steps: write the new record in tmp/, keep the old bytes in rejected/ if the new record lacks
any of them, and rename the new record over the old one. A crash between two of these steps leaves the old record in
place, at worst with a copy in rejected/. The caller holds the stripe of the job's id.
"""

from __future__ import annotations

import msgspec

from queuectl.errors import DamagedRecordError
from queuectl.model import history, names, record
from queuectl.model.lifecycle import REJECTED, WARNING
from queuectl.spool import rejected
from queuectl.spool.folder import RECORD_MAX_BYTES, Stored
from queuectl.spool.layout import Located
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import disk, files

_WHY = "the history in this record is damaged; the job continues from the last event before the damage"
_HINT = "check whether the events after the damage matter; if they do not, delete both files"


class GoneError(Exception):
    """Nothing is left to repair: the file has changed or moved since it was read."""


class Old(msgspec.Struct, frozen=True):
    """A record to replace: its path, its bytes, and the version of the file they were read from."""

    path: str
    data: bytes
    sig: files.FileSig | None = None
    """None if no other process can change the file."""


class Kept(msgspec.Struct, frozen=True):
    """A copy of the old bytes for a person: its name in rejected/, and the words of its reason text."""

    name: str
    why: str
    hint: str


def rewrite(session: Session, old: Old, data: bytes, keep: Kept | None = None) -> str:
    """Replace a record with `data`; return the name of the copy in rejected/, "" without `keep`.

    Raises:
        GoneError: the file is no longer the version that `old` names; it is unchanged.
        OSError: a problem of the machine; the record is unchanged.
    """
    spool, sync, kept = session.spool, session.syncs_accepted, ""
    with spool.temporary("mended", data, sync=sync) as temporary:
        if keep is not None:
            kept = rejected.keep_copy(session, keep.name, old.data, rejected.Reason(keep.why, keep.hint))
            if sync:  # the old record is the only other place that has these bytes
                disk.sync_file(spool.path(REJECTED, kept))
                disk.sync_folder(spool.folder(REJECTED))
        if old.sig is not None and files.sig_of(old.path) != old.sig:
            raise GoneError
        disk.replace(temporary, old.path)
    return kept


def repair(session: Session, where: Located, data: bytes) -> bytes | None:
    """Cut a torn record back to its last whole event; return its bytes, or None if it needs no repair.

    `where` is the job's file, which holds `data`. If whole events follow the damage, the old bytes stay in rejected/
    as ID.torn.json beside a reason.

    Raises:
        OSError: a problem of the machine; the record is unchanged.
    """
    whole = record.repair(data)
    if whole is None or whole == data:
        return None
    keep = None
    if record.loses_events(data, whole):
        keep = Kept(f"{where.name.removesuffix('.json').partition(',')[0]}.torn.json", _WHY, _HINT)
    rewrite(session, Old(where.path, data), whole, keep)
    return whole


def repaired(session: Session, found: Located) -> Stored:
    """Repair a damaged record and read it again.

    Raises:
        DamagedRecordError: the record cannot be repaired.
        OSError: a problem of the machine; the record is unchanged.
    """
    data = files.read(found.path, RECORD_MAX_BYTES).data
    repair(session, found, data)
    return session.spool.read(found.state, found.name)


def repair_ended(session: Session, stripes: Stripes, where: Located) -> bool | None:
    """Repair a record in done/ or dlq/ that lost its end; return False if it needs no repair, None if its id is busy.

    Raises:
        OSError: a problem of the machine; the file is unchanged.
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


def give_own_id(session: Session, where: Located, stored: Stored, wanted: str) -> str:
    """Give a new id to a job whose id is in use; return it and record the change in the history.

    The new id is `wanted`, the id in the file's name, if that id is valid and free.

    Raises:
        DamagedRecordError: the id is not written the way queuectl writes it.
        GoneError: the file has changed since it was read.
        OSError: a problem of the machine; the record is unchanged.
    """
    old = stored.record.id
    opening = stored.data[: record.OPENING_BYTES]
    head = opening + old.encode() + b'"'
    if opening not in record.OPENINGS or not stored.data.startswith(head):
        raise DamagedRecordError("its id is not written the way queuectl writes it")
    new = wanted
    while names.why_bad_id(new) or session.spool.find(new) not in (None, where) or new.lower() == old.lower():
        new = names.with_suffix(old, names.new_token(session.rng))
    data = opening + new.encode() + b'"' + stored.data[len(head) :]
    said = f"the id {old!r} is in use, so this job continues as {new!r}"
    event = history.event(WARNING, session.clock.now(), text=said)
    tail = record.append(len(data), [event], empty=not stored.record.history)
    rewrite(session, Old(where.path, stored.data, stored.sig), tail.on(data))
    return new
