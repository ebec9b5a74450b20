"""Edit a waiting or dead job: give a person its specification as text, check the text, and write it back.

The history cannot be edited. The new record replaces the old one in one step, and only if the old one has not changed
since it was read: a job that has started meanwhile runs unchanged.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from queuectl.errors import InvalidJobError, QueuectlError
from queuectl.model import history, names, record
from queuectl.model.document import Incomplete, Refused, Single, accept, parse
from queuectl.model.lifecycle import DLQ, PENDING, WARNING
from queuectl.spool.folder import Stored
from queuectl.spool.layout import Located
from queuectl.spool.lookup import Job, find_in, load
from queuectl.spool.session import Session
from queuectl.spool.stripes import held
from queuectl.system import files


class Draft(NamedTuple):
    """A job as it was read, and its specification as JSON for a person."""

    where: Located
    stored: Stored
    text: str


class Editor:
    """Edits jobs of one spool."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._spool = session.spool
        self._now_at = session.clock.now()
        self.warnings: list[str] = []
        """Warnings about ignored keys of the last text, except those that the job already had."""

    def draft(self, job_id: str) -> Draft:
        """Return what can be edited of a job.

        Raises:
            UnknownJobError: there is no such job.
            QueuectlError: the job is running or done.
            DamagedRecordError: the file is a drop that no worker has claimed, or is damaged: edit the file directly.
        """
        found = find_in(self._session, job_id, (PENDING, DLQ), "edited")
        stored = self._spool.read(found.state, found.name)
        document = {key: value for key, value in json.loads(stored.data).items() if key not in ("format", "history")}
        return Draft(found, stored, json.dumps(document, ensure_ascii=False, indent=1) + "\n")

    def put_back(self, draft: Draft, text: str) -> Job:
        """Check an edited text and replace the record with it.

        Raises:
            InvalidJobError: the text is not a valid job; the message says what is wrong and where.
            QueuectlError: the job has changed since it was read: it is running, or somebody else edited it.
        """
        spec, warnings = self._checked(draft, text)
        events = json.loads(draft.stored.data)["history"]
        known = {event.get("text") for event in events if event.get("event") == WARNING}
        self.warnings = [text for text in warnings if text not in known]
        events += [history.event(WARNING, self._now_at, text=text) for text in self.warnings]
        data = record.frame(spec, events)
        item = record.decode(data)
        with held(self._session, item.id):
            if files.sig_of(draft.where.path) != draft.stored.sig:
                raise QueuectlError(
                    f"job {item.id!r} has changed since it was read", hint=f"queuectl edit {item.id}  to start again"
                )
            self._spool.replace_file(draft.where.path, data, hint=item.id, sync=True)
            name = draft.where.name
            # Compared with the name, so that the next edit completes one that was interrupted before the move.
            parts = names.parse(name)
            said = None if parts is None else (parts.priority, parts.owner, (parts.queue, parts.key, parts.needs))
            blocked = item.blocked
            if blocked is not None:
                wanted = names.blocked_name(item.id, blocked.pointer)
            elif parts is not None and (parts.after or said != (item.priority, item.owner, item.place)):
                due_at = item.standing().due_at
                wanted = names.waiting_name(item.id, due_at, item.priority, item.owner, parts.arrived, item.place)
            else:
                wanted = names.released_name(name)
            if draft.where.state == PENDING and wanted != names.released_name(name):
                wanted = names.held_name(wanted) if names.is_held(name) else wanted
                name = self._spool.move(draft.where, PENDING, wanted)
            return load(self._session, draft.where.state, name)

    def _checked(self, draft: Draft, text: str) -> tuple[dict[str, Any], list[str]]:
        parsed = parse(text.encode(), lines=False)
        if isinstance(parsed, Incomplete | Refused):
            raise InvalidJobError(parsed.why)
        if not isinstance(parsed, Single):
            raise InvalidJobError("the text holds several jobs", hint="write one job as one object {...}")
        document = {key: value for key, value in parsed.document.items() if key not in ("format", "history")}
        if document.get("id") != draft.stored.record.id:
            raise InvalidJobError("the id cannot be changed", key="id", hint="enqueue a new job and cancel this one")
        if document.get("run_at", "") != draft.stored.record.run_at or "delay" in document:
            raise InvalidJobError(
                "the start time cannot be changed here", key="run_at", hint="enqueue a new job and cancel this one"
            )
        run_at = {key: document.pop(key) for key in ("run_at",) if key in document}
        taken = accept(document, defaults=self._session.settings.retry_defaults, now_at=self._now_at)
        return {**taken.spec, **run_at}, taken.warnings
