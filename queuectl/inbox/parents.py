"""Let a signed job wait for jobs of its own owner only (promise P10).

Otherwise a producer could learn when the jobs of others end, or that an id is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable

from queuectl.errors import DamagedRecordError, InvalidJobError
from queuectl.model import names
from queuectl.model.lifecycle import PENDING, STATES
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import Located

_HINT = "name a job of yours, and send it before this one"


def check(spool: SpoolDir, asked: Iterable[str], owner: str) -> None:
    """Check the ids that a job waits for.

    Raises:
        InvalidJobError: one of them is no job of this owner; the text is the same whether there is such a job or not.
        OSError: the folders cannot be looked at.
    """
    flagged: dict[str, str] | None = None
    for job_id in asked:
        found = spool.find_plain(job_id, STATES)
        if found is None:
            if flagged is None:
                flagged = {name.partition(",")[0]: name for name in spool.waiting_names() if "," in name}
            name = flagged.get(job_id, "")
            found = Located(PENDING, name, spool.path(PENDING, name)) if name else None
        if found is None or not _is_of(spool, found, owner):
            raise InvalidJobError(f"after: {job_id!r} is no job of {owner}", key="after", hint=_HINT)


def _is_of(spool: SpoolDir, found: Located, owner: str) -> bool:
    parts = names.parse(found.name)
    if parts is not None and parts.owner:
        return parts.owner == owner
    try:
        return spool.read(found.state, found.name).record.owner == owner
    except (DamagedRecordError, FileNotFoundError):
        return False  # a drop, or it moves just now: the producer may send the file again
