"""Decide whether a dropped file holds a job, is not complete yet, or is rejected, and why.

Look up ids in the spool. Move and change no file, except for the note of a signed id (`replay`).
"""

from __future__ import annotations

import json

from queuectl.errors import InvalidJobError
from queuectl.inbox import admission, parents, replay
from queuectl.inbox.handover import BY
from queuectl.inbox.signing import Keys
from queuectl.inbox.trust import keys_path
from queuectl.jobs import asked_parents
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.model import names, times
from queuectl.model.document import Incomplete, Many, Refused, parse
from queuectl.model.inbox import SIGNED, TRUSTED, Inbox
from queuectl.model.parents import parse as parse_after
from queuectl.model.record import Record
from queuectl.spool import trust
from queuectl.spool.session import Session
from queuectl.system.files import Content


class NotYetError(Exception):
    """A file that may still become a job: what is missing, and what to do."""

    def __init__(self, why: str, hint: str = "write the whole file again") -> None:
        super().__init__(why)
        self.hint = hint


class Judge:
    """Judges the files of one inbox."""

    def __init__(self, session: Session, inbox: Inbox) -> None:
        self._session = session
        self._inbox = inbox
        self._keys = Keys(keys_path(session.spool, inbox)) if inbox.keys else None
        self._owners = trust.owners(session.spool, session.settings) if inbox.mode == TRUSTED else None
        self._producer = Producer(session)

    def judge(self, name: str, content: Content, *, identity: str) -> Prepared:
        """Return the record of the job that the file `name` holds, in memory only.

        Args:
            name: the file's name in the inbox.
            content: the content of the file.
            identity: the identity of the spool, which a signed job must name.

        Raises:
            NotYetError: the file may still become a job.
            InvalidJobError: the file is rejected.
        """
        if names.is_batch(name):
            raise _many()
        if content.oversize:
            hint = "put the data in a file of its own and pass its path"
            raise NotYetError(f"the file is larger than {self._inbox.max_bytes} bytes", hint)
        if self._owners is not None and content.owner not in self._owners:
            why, hint = trust.foreign_owner(content.owner)
            raise InvalidJobError(why, hint=hint)
        if content.links != 1 and self._inbox.mode != TRUSTED:
            raise NotYetError("it has a second name (a hard link)", "copy the file instead of linking it")
        parsed = parse(content.data, lines=False)
        if isinstance(parsed, Incomplete):
            raise NotYetError(parsed.why, parsed.hint)
        if isinstance(parsed, Refused):
            raise InvalidJobError(parsed.why, hint=parsed.hint)
        if isinstance(parsed, Many):
            raise _many()
        stem = name[: -len(".json")]
        rules = admission.Rules(
            self._inbox, self._session.settings.commands, self._keys, self._inbox.audience or identity
        )
        admitted = admission.admit(parsed.document, rules, stem=stem, now_at=self._session.clock.now())
        document = {**admitted.document}
        if self._inbox.mode == SIGNED and document.get("after") is not None:
            after = parse_after(document["after"])
            if any("batch" in each for each in after if isinstance(each, dict)):
                what = "after: a range of jobs is only for a file of many jobs"
                raise InvalidJobError(what, key="after", hint="write the ids of the jobs")
            parents.check(self._session.spool, asked_parents.ids_in(after), self._inbox.owner)
        own = document.get("id") if "id" in parsed.document or admitted.key is not None else None
        if own is None:
            document["id"] = self._free_id(str(document.get("id") or names.clean_id(stem)))
        elif isinstance(own, str) and (found := self._session.spool.find(own)):
            if not document.get("history"):
                raise InvalidJobError(
                    f"a job with the id {own!r} already exists, in {found.state}/",
                    key="id",
                    hint="use another id, or omit it",
                )
            document["id"] = self._free_id(own)  # a record: it was accepted once
        return self._producer.prepare(document, by=BY, file=names.as_text(name))

    def use_signed_id(self, item: Record, data: bytes, token: str) -> None:
        """Note that a signed job uses its id, before the job is published. Do nothing in an inbox without signatures.

        Args:
            item: the job.
            data: its record as bytes.
            token: the token of the hand-over, which may note its id again.

        Raises:
            InvalidJobError: another job has used the signed id.
            OSError: the id cannot be noted now.
        """
        if self._inbox.mode != SIGNED:
            return
        facts = json.loads(data)
        # An older queuectl wrote `expires_at`.
        until = facts["signed_until"] if "signed_until" in facts else facts["expires_at"]
        used = replay.Use(str(facts["signed_by"]), item.id, times.from_text(until))
        if not replay.remember(self._session, used, token):
            raise InvalidJobError(
                f"the signed id {item.id!r} was already used", key="id", hint="sign the job again with another id"
            )

    def _free_id(self, wanted: str) -> str:
        """Return `wanted`, or, if that id is in use, the same id with the date and time."""
        made = wanted
        while self._session.spool.find(made) is not None:
            stamp = times.to_name(int(self._session.clock.now())).rstrip("Z")
            made = names.with_suffix(wanted, f"{stamp}-{names.new_token(self._session.rng, 2)}")
        return made


def _many() -> InvalidJobError:
    return InvalidJobError("it holds many jobs, and an inbox accepts one job per file", hint="write one file per job")
