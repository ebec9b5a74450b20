"""Jobs that prove who made them: HMAC-SHA256 with a key that both sides have (promise P10).

A signed drop is one JSON object of three texts:

    {"payload": "<the job, as JSON>", "key": "anna", "hmac": "<64 hex digits>"}

The proof covers a text that names its purpose and then the payload's exact bytes. So JSON needs no canonical form, and
a proof made for another purpose is invalid here. The payload must have `for`, `id` and `expires_at`. `for` names the
queue: the inbox's `audience` in the settings, else the spool's identity. So a person who sees a signed job cannot make
another spool with the same key run it. An id is accepted once (`replay`), and remembered until the payload has expired.

Keys are files (`keyfile`); as in ssh, a key that others can read, or in a folder that others can write to, is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from queuectl.errors import InvalidJobError, UntrustedSpoolError
from queuectl.inbox import keyfile
from queuectl.inbox.trust import check_key
from queuectl.model import times
from queuectl.model.document import Many, Single, parse
from queuectl.system import sharing

DOMAIN = b"queuectl job v1\n"
LONGEST_S = 31 * 86400.0
AUDIENCE = "for"
"""The key of the payload that names the queue."""
ENVELOPE = ("payload", "key", "hmac")
_HMAC = re.compile(r"[0-9a-f]{64}")


class Verified(NamedTuple):
    """A payload with a valid proof: the job, its key, its id and when it expires."""

    document: dict[str, Any]
    key: str
    job_id: str
    expires_at: float


class Keys:
    """The keys in a folder. Each is read and judged again on every use."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def secret(self, name: str) -> bytes:
        """Return the key called `name`.

        Raises:
            InvalidJobError: there is no such key, or it cannot be used; the message is for the producer.
            OSError: a problem of the machine.
        """
        if not keyfile.is_name(name):
            raise _refused("key", "is not a valid key name")
        path = os.path.join(self.folder, name + keyfile.ENDING)
        try:
            check_key(path)
            return keyfile.read(path)
        except FileNotFoundError as error:
            raise _refused("key", f"this inbox has no key {name!r}", "ask the person who runs the queue") from error
        except (OSError, ValueError, UntrustedSpoolError) as error:
            if isinstance(error, OSError) and sharing.is_trouble(error):
                raise  # a problem of the machine is not the job's fault (P9): it is tried again
            hint = "report this to the person who runs the queue"
            raise _refused("key", f"the key {name!r} cannot be used now", hint) from error


def sign(document: Mapping[str, Any], key: str, secret: bytes) -> dict[str, str]:
    """Return the envelope for a job that has its `id` and `expires_at`."""
    payload = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return {"payload": payload, "key": key, "hmac": _proof(payload, secret)}


def verify(envelope: Mapping[str, Any], keys: Keys, *, audience: str, now_at: float) -> Verified:
    """Check a signed drop and return its job.

    Raises:
        InvalidJobError: the drop is invalid; the message says why and never shows the right proof.
    """
    for name in ENVELOPE:
        if not isinstance(envelope.get(name), str):
            hint = "queuectl sign JOB.json --key NAME.key  makes a signed job"
            raise _refused(name, "is missing: this inbox accepts only signed jobs", hint)
    if unknown := sorted(envelope.keys() - set(ENVELOPE)):
        raise _refused(unknown[0][:60], "is not allowed next to payload, key and hmac", "put it in the payload")
    payload, key, given = (envelope[name] for name in ENVELOPE)
    if not _HMAC.fullmatch(given):
        raise _refused("hmac", "is not 64 lowercase hex digits")
    secret = keys.secret(key)
    try:
        proof = _proof(payload, secret)
    except UnicodeEncodeError as error:
        raise _refused("payload", "contains half of a surrogate pair, which is not a character") from error
    if not hmac.compare_digest(proof, given):
        raise _refused("hmac", "does not match: the payload was changed, or signed with another key")
    document = _document(payload)
    _check_audience(document.pop(AUDIENCE, None), audience)
    expires_at = _expiry(document.get("expires_at"), now_at)
    job_id = document.get("id")
    if not isinstance(job_id, str) or not job_id:
        raise _refused("id", "is missing in the payload: a signed job needs an id, so that it is accepted only once")
    for name in ("history", "format"):
        if name in document:
            raise _refused(name, "is written by queuectl and must not be signed")
    return Verified(document, key, job_id, expires_at)


def _document(payload: str) -> dict[str, Any]:
    parsed = parse(payload.encode(), lines=False)
    if isinstance(parsed, Single):
        return parsed.document
    why = "it is an array; sign one job per file" if isinstance(parsed, Many) else parsed.why
    raise _refused("payload", why)


def _check_audience(value: object, audience: str) -> None:
    """Refuse a job that was signed for another queue, or that names no queue."""
    if audience and value == audience:
        return
    what = "is missing in the payload, so the job does not say which queue it is for"
    if value is not None:
        what = f"the job is signed for {value!r:.80}, but this inbox accepts jobs signed for {audience!r}"
    raise _refused(AUDIENCE, what, f"queuectl sign --for {audience}")


def _expiry(value: object, now_at: float) -> float:
    if not isinstance(value, str):
        raise _refused("expires_at", "is missing in the payload", 'write it like "2026-11-24T03:15:00Z"')
    try:
        expires_at = times.from_text(value)
    except ValueError as error:
        raise _refused("expires_at", f"is not an instant: {error}") from error
    if expires_at <= now_at:
        raise _refused("expires_at", "has passed", "sign it again")
    if expires_at > now_at + LONGEST_S:
        raise _refused("expires_at", f"is more than {LONGEST_S / 86400:.0f} days ahead", "sign it for a shorter time")
    return expires_at


def _proof(payload: str, secret: bytes) -> str:
    return hmac.new(secret, DOMAIN + payload.encode(), hashlib.sha256).hexdigest()


def _refused(key: str, what: str, hint: str = "") -> InvalidJobError:
    return InvalidJobError(f"{key}: {what}", key=key, hint=hint)
