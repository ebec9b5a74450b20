"""What a producer's document in an inbox may become: the one seam between drop folders and the queue.

What comes out is an ordinary job document that names its owner. Nothing is run here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from queuectl import names
from queuectl.errors import InvalidJobError
from queuectl.inboxes import TRUSTED, Inbox
from queuectl.templates import Command


class Admitted(NamedTuple):
    """A job document; of a signed one also when it expires, by which key it was signed, and its id."""

    document: dict[str, Any]
    expires_at: float | None = None
    key: str | None = None
    id: str | None = None


def admit(
    document: Mapping[str, Any],
    *,
    inbox: Inbox,
    commands: Mapping[str, Command],
    keys: None,
    stem: str,
    now_at: float,
) -> Admitted:
    """The job that a document asks for; `stem` is its file's name without the ending.

    Raises:
        InvalidJobError: the key, and what is wrong with it, fit for the producer to read.
    """
    if inbox.mode != TRUSTED:
        raise InvalidJobError(f"this queuectl takes nothing in from an inbox of mode {inbox.mode}", key="mode")
    made = dict(document)
    made.setdefault("owner", inbox.owner)
    if inbox.tags:
        made.setdefault("tags", list(inbox.tags))
    made.setdefault("id", names.clean_id(stem))
    return Admitted(made)
