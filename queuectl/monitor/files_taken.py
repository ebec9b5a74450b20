"""Find the job of a file that an inbox of files has taken, by the name of the file. Only looks."""

from __future__ import annotations

from queuectl.errors import DamagedRecordError
from queuectl.model import names
from queuectl.model.inbox import FILES
from queuectl.model.lifecycle import ENQUEUED
from queuectl.spool.session import Session


def job_of(session: Session, name: str) -> str:
    """Return the id of the newest job that an inbox has made of a file of this name, "" if there is none."""
    inboxes = [inbox for inbox in session.settings.inboxes if inbox.mode == FILES]
    if not inboxes:
        return ""
    from queuectl.inbox.file_judge import TOKEN_CHARS, id_of  # few spools have such inboxes

    found: list[tuple[str, str]] = []
    for inbox in inboxes:
        token = "x" * TOKEN_CHARS
        beginning = names.with_suffix(id_of(inbox, name), token).removesuffix(token)
        for job_id in session.spool.ids(beginning):
            try:
                located = session.spool.find(job_id)
                item = None if located is None else session.spool.read(located.state, located.name).record
            except (FileNotFoundError, DamagedRecordError):
                continue  # it moves, or says nothing
            event = next((each for each in item.history if each.event == ENQUEUED), None) if item is not None else None
            if event is not None and name in (event.file, event.file.rpartition("/")[2]):
                found.append((event.at, job_id))
    return max(found)[1] if found else ""
