"""The only way from a document in an inbox to a job: each document is admitted as a job or refused (promise P10).

Runs and writes nothing. The result is an ordinary job document, so claim, worker and retry know nothing about inboxes.
The error text of a refusal is for the producer.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from queuectl.errors import InvalidJobError
from queuectl.inbox import confinement, signing
from queuectl.inbox.signing import Keys
from queuectl.model import job, names
from queuectl.model.command import Command, render
from queuectl.model.document import accept
from queuectl.model.inbox import SIGNED, TEMPLATES, Inbox
from queuectl.model.job import RetryDefaults
from queuectl.model.text import safe

_ASK = "report this to the person who runs the queue"
# Texts for a human reader; queuectl ignores them.
_TEXTS = ("description", "comment", "notes")
ALLOWED = ("template", "params", "run_at", "delay", "tags", "priority", "$schema", *_TEXTS)
TEXT_MAX_CHARS = 4096
TAGS_LIMIT, TAG_MAX_CHARS = 32, 64
# Used only to check whether the document can be a job; the spool's own defaults apply when it is accepted.
_ANY = RetryDefaults(3, 2, 3600.0, 0.0)


class Admitted(NamedTuple):
    """A job document with its id; for a signed job also its key, its signed id and when that expires."""

    document: dict[str, Any]
    expires_at: float | None = None
    key: str | None = None
    job_id: str | None = None


class Rules(NamedTuple):
    """The rules of an inbox."""

    inbox: Inbox
    commands: Mapping[str, Command]
    """The settings' `[commands]`."""
    keys: Keys | None
    """The inbox's keys, for mode signed."""
    audience: str
    """The queue that a job of mode signed must be signed for."""


def admit(document: Mapping[str, Any], rules: Rules, *, stem: str, now_at: float) -> Admitted:
    """Convert the document of a dropped file into the document of a job.

    Args:
        document: parsed JSON of one job (`document.Single`).
        rules: the rules of the inbox that the file was dropped into.
        stem: the dropped file's name without its ending.
        now_at: the wall clock.

    Raises:
        InvalidJobError: the key at fault, what is wrong with it and what to do, worded for the producer.
    """
    if any(isinstance(value, dict | list) and job.is_deep(value) for value in document.values()):
        raise InvalidJobError("it is nested too deep", hint="a job needs no more than a few levels")
    inbox, keys = rules.inbox, rules.keys
    if inbox.mode == TEMPLATES:
        made = Admitted(_filled_in(document, inbox, rules.commands, stem))
    elif inbox.mode == SIGNED:
        if keys is None:
            raise InvalidJobError("the keys of this inbox cannot be used now", hint=_ASK)
        found = signing.verify(document, keys, audience=rules.audience, now_at=now_at)
        made = Admitted(_signed(found.document, inbox, found.key), found.expires_at, found.key, found.job_id)
    else:
        made = Admitted(_trusted(document, inbox, stem))
    accept(made.document, defaults=_ANY, now_at=now_at)
    return made


def _trusted(document: Mapping[str, Any], inbox: Inbox, stem: str) -> dict[str, Any]:
    made = {"id": names.clean_id(stem), "owner": inbox.owner, **_queue(inbox), **document}
    if inbox.tags and "tags" not in made:
        made["tags"] = list(inbox.tags)
    return made


def _queue(inbox: Inbox) -> dict[str, str]:
    """Return the queue that the settings give to jobs of an inbox, as a key of a job."""
    return {"queue": inbox.queue} if inbox.queue else {}


def _signed(document: Mapping[str, Any], inbox: Inbox, key: str) -> dict[str, Any]:
    # The limit of the signature is not the job's: an accepted job may wait for longer.
    made = {**document, "signed_by": key, "signed_until": document["expires_at"]}
    del made["expires_at"]
    if made.setdefault("owner", inbox.owner) != inbox.owner:
        raise InvalidJobError(f"owner: jobs of this inbox belong to {inbox.owner}", key="owner", hint="omit it")
    if inbox.queue and made.setdefault("queue", inbox.queue) != inbox.queue:
        raise InvalidJobError(f"queue: jobs of this inbox are in the queue {inbox.queue}", key="queue", hint="omit it")
    if isinstance(unique := made.get("unique"), str):
        made["unique"] = f"{inbox.owner}:{unique}"  # so that nobody suppresses the jobs of another owner
    if inbox.tags and "tags" not in made:
        made["tags"] = list(inbox.tags)
    return made


def _filled_in(document: Mapping[str, Any], inbox: Inbox, commands: Mapping[str, Command], stem: str) -> dict[str, Any]:
    for key in document:
        if key not in ALLOWED:
            hint = "allowed keys: " + ", ".join(ALLOWED)
            raise InvalidJobError(f"{safe(key[:60])}: is not allowed in this inbox", key=key[:60], hint=hint)
    name = document.get("template")
    known = ", ".join(sorted(commands)) or "none"
    if not isinstance(name, str):
        raise InvalidJobError("template: is missing", key="template", hint=f"available commands: {known}")
    command = commands.get(name)
    if command is None:
        what = f"template: there is no command {safe(name[:60])!r}"
        raise InvalidJobError(what, key="template", hint=f"available commands: {known}")
    params = document.get("params", {})
    if not isinstance(params, dict):
        raise InvalidJobError("params: takes an object", key="params", hint='"params": {"NAME": VALUE}')
    made: dict[str, Any] = {
        "id": id_for(inbox.owner, stem),
        "command": render(command, params, confinement.resolve),
        "minimal_env": True,
        "owner": inbox.owner,
        **_queue(inbox),
        "tags": [*inbox.tags, *_tags(document.get("tags", []))],
        "template": name,
        "params": params,
    }
    if not made["tags"]:
        del made["tags"]
    further = {
        "cwd": command.cwd or None,
        "timeout": command.timeout,
        "max_retries": command.max_retries,
        "env": command.env or None,
        "priority": _priority(document.get("priority", 0)) or None,
        "run_at": document.get("run_at"),
        "delay": document.get("delay"),
        **{key: _free_text(key, document[key]) for key in _TEXTS if key in document},
    }
    return made | {key: value for key, value in further.items() if value is not None}


def id_for(owner: str, stem: str) -> str:
    """Return the id for a job from its owner and its file's name. The id begins with the owner, so owners never clash.

    `model.inbox.parse` refuses an owner whose name begins like the ids of another owner.
    """
    made = f"{owner}-{names.clean_id(stem)}"[: names.ID_MAX_CHARS].rstrip("-._")
    if names.why_bad_id(made) or not made.startswith(f"{owner}-"):
        return f"{owner}-{zlib.crc32(stem.encode('utf-8', 'replace')):08x}"
    return made


def _priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -job.PRIORITY_LIMIT <= value <= 0:
        raise InvalidJobError("priority: takes 0 or less here", key="priority", hint="omit it")
    return value


def _tags(value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > TAGS_LIMIT:
        raise InvalidJobError(f"tags: takes a list of at most {TAGS_LIMIT} words", key="tags")
    return [_free_text("tags", tag, most=TAG_MAX_CHARS) for tag in value]


def _free_text(key: str, value: object, *, most: int = TEXT_MAX_CHARS) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise InvalidJobError(f"{key}: takes a text of at most {most} characters", key=key)
    if "\0" in value or (key == "tags" and safe(value) != value):
        raise InvalidJobError(f"{key}: contains an invisible character", key=key)
    return value
