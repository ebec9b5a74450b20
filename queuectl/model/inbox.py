"""Drop folders beside the spool: `[[inbox]]` in queuectl.toml, and what each may do. Computes only."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from queuectl.errors import InvalidSettingsError
from queuectl.model import job, names, times

SECTION = "inbox"
TRUSTED, TEMPLATES, SIGNED = "trusted", "templates", "signed"


class Inbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One drop folder, on any file system. Its files are taken into the spool's pending/."""

    path: str
    """The folder; a relative path begins at the spool's root."""
    mode: Literal["trusted", "templates", "signed"]
    """What a file may say: anything; only the name of a command of the settings; anything that a key signed."""
    owner: str = ""
    """Who owns the jobs, for taking turns and for finding them. Default: the folder's name."""
    tags: tuple[str, ...] = ()
    settle_s: float | str | None = None
    """How long an incomplete file may stay unchanged; None: the spool's setting, or 120 s on a network file system."""
    receipts: bool = True
    """Whether a dead job leaves NAME.failed.txt in the inbox."""
    done_receipts: bool = False
    """Whether a finished job leaves NAME.done.txt there."""
    max_bytes: int = job.JOB_MAX_BYTES
    """The largest file that is taken in."""
    max_waiting: int = 1000
    """How many of its jobs may wait in the spool; more stay in the inbox until some have run."""
    max_per_minute: int = 0
    """How many of its files are taken in or rejected within a minute; 0 is no limit."""
    max_rejected: int = 1000
    """How many rejected files get a text of their own; one text lists the others."""
    keys: str = ""
    """signed: the folder with the keys, one file NAME.key each."""
    audience: str = ""
    """signed: the name that jobs have to be signed for (`queuectl sign --for`). Default: the spool's identity."""


def parse(section: object, *, path: str) -> tuple[Inbox, ...]:
    """Return the inboxes that `[[inbox]]` of the settings file at `path` names, with their owners filled in.

    Raises:
        InvalidSettingsError: the key and what is wrong with it.
    """
    if isinstance(section, dict):
        raise _error(path, SECTION, "write [[inbox]] with two brackets: there may be several")
    try:
        listed = msgspec.convert(section, tuple[Inbox, ...])
    except msgspec.ValidationError as error:
        from queuectl.model import mistakes  # only where there is one

        found = mistakes.of_value(tuple[Inbox, ...], section, SECTION)
        raise _errors(path, [_numbered(mistake.text) for mistake in found] or [f"{SECTION}: {error}"]) from error
    inboxes: list[Inbox] = []
    wrong: list[str] = []
    for number, inbox in enumerate(listed, 1):
        try:
            inboxes.append(_checked(path, inbox))
        except InvalidSettingsError as error:
            wrong += [text.replace(f"{SECTION}.", f"[[{SECTION}]] {number}, ", 1) for text in error.mistakes]
    if wrong:
        raise _errors(path, wrong)
    made = tuple(inboxes)
    for field in ("owner", "path"):
        values = [getattr(inbox, field).lower() for inbox in made]
        if twice := next((value for value in values if values.count(value) > 1), ""):
            raise _error(path, f"{SECTION}.{field}", f"{twice!r} is given twice; each inbox has its own")
    for inbox in made:
        longer = next((each for each in made if each.owner.lower().startswith(f"{inbox.owner.lower()}-")), None)
        if longer is not None:
            what = (
                f"{longer.owner!r} begins as the ids of {inbox.owner!r} do, {inbox.owner}-NAME; give it another owner"
            )
            raise _error(path, f"{SECTION}.owner", what)
    return made


def _numbered(text: str) -> str:
    """Count the inboxes in `inbox[0].path: ...` from 1, as people do."""
    return re.sub(rf"^{SECTION}\[(\d+)\]\.?", lambda found: f"[[{SECTION}]] {int(found[1]) + 1}, ", text)


def example() -> list[str]:
    """Return an example for a settings file, each line commented out, with explanations."""
    return [
        "# Inboxes: folders outside the spool, on any file system, whose files are taken in. One [[inbox]] each.",
        "# What cannot be a job is renamed there to NAME.rejected, beside a text; what became of a job is told there.",
        "# [[inbox]]",
        '# path = "/srv/drop/anna"',
        '# mode = "trusted"         # trusted: may run anything; templates: only [commands]; signed: signed jobs',
        '# owner = "anna"           # whose jobs these are; the folder\'s name where it is left out',
        "# receipts = true          # NAME.failed.txt for a job that is dead; done_receipts: NAME.done.txt as well",
        "# max_bytes = 65536        # the largest file",
        "# max_waiting = 1000       # so many of its jobs may wait in the spool; more files stay in the inbox",
        "# max_per_minute = 60      # so many files are taken in or rejected within a minute; 0 is no limit",
        "# max_rejected = 1000      # so many rejected files have a text of their own; one text tells of the others",
    ]


def _checked(path: str, inbox: Inbox) -> Inbox:
    if not inbox.path.strip() or "\0" in inbox.path:
        raise _error(path, f"{SECTION}.path", "takes a folder")
    owner = inbox.owner or names.clean_id(re.split(r"[\\/]+", inbox.path.rstrip("\\/"))[-1])[: job.OWNER_MAX_CHARS]
    if why := job.why_bad_owner(owner):
        raise _error(path, f"{SECTION}.owner", f"{owner[:60]!r} {why}")
    if inbox.settle_s is not None:
        try:
            settle_s = times.parse_duration(inbox.settle_s)
        except ValueError as error:
            raise _error(path, f"{SECTION}.settle_s", str(error)) from error
        inbox = msgspec.structs.replace(inbox, settle_s=settle_s)
    for key, low in (("max_bytes", 2), ("max_waiting", 1), ("max_per_minute", 0), ("max_rejected", 0)):
        if getattr(inbox, key) < low:
            raise _error(path, f"{SECTION}.{key}", f"takes a whole number from {low} on")
    if inbox.max_bytes > job.JOB_MAX_BYTES:
        raise _error(path, f"{SECTION}.max_bytes", f"takes at most {job.JOB_MAX_BYTES}")
    if (inbox.mode == SIGNED) != bool(inbox.keys):
        what = "is missing: the folder with the keys" if inbox.mode == SIGNED else f"is nothing for mode {inbox.mode}"
        raise _error(path, f"{SECTION}.keys", what)
    if inbox.audience and inbox.mode != SIGNED:
        raise _error(path, f"{SECTION}.audience", f"is nothing for mode {inbox.mode}")
    if inbox.audience and not is_audience(inbox.audience):
        raise _error(path, f"{SECTION}.audience", f"{inbox.audience[:70]!r} is no name: {AUDIENCE_TAKES}")
    return msgspec.structs.replace(inbox, owner=owner)


AUDIENCE_TAKES = "it takes up to 64 letters, digits and . _ -, and begins with a letter or digit"


def is_audience(text: str) -> bool:
    """Return True for a name that jobs can be signed for."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) is not None


def _error(path: str, key: str, what: str) -> InvalidSettingsError:
    return _errors(path, [f"{key}: {what}"])


def _errors(path: str, texts: list[str]) -> InvalidSettingsError:
    return InvalidSettingsError(
        f"{path or 'queuectl.toml'}: {'; '.join(texts)}",
        path=path,
        key=texts[0].partition(":")[0],
        hint="docs/shares.md shows a whole example",
        mistakes=tuple(texts),
    )
