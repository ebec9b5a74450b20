"""Parses the inboxes of a spool, `[[inbox]]` in queuectl.toml. Computes only."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from queuectl.errors import InvalidSettingsError
from queuectl.model import file_command, job, names, section_errors, subfolders, times
from queuectl.model.file_command import DELETE, KEEP
from queuectl.model.lifecycle import DONE, FAILED

if TYPE_CHECKING:
    from queuectl.model.command import Command

SECTION = "inbox"
_HINT = "whole examples: docs/shares.md; for mode files docs/files.md"
_error = partial(section_errors.of_key, hint=_HINT)
_errors = partial(section_errors.of_mistakes, hint=_HINT)
TRUSTED, TEMPLATES, SIGNED, FILES = "trusted", "templates", "signed", "files"


class Inbox(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drop folder on any file system. Its files become jobs in the spool's pending/."""

    path: str
    """The folder; a relative path starts at the spool's root."""
    mode: Literal["trusted", "templates", "signed", "files"]
    """The jobs that a file may hold: any; only commands named in the settings; any job that a key signed. files: a file
    is no job but what `command` works on."""
    owner: str = ""
    """The owner of the jobs. Owners take turns. Default: the folder's name."""
    queue: str = ""
    """The queue of jobs without their own; in the modes templates and signed of all its jobs. "": the default queue."""
    tags: tuple[str, ...] = ()
    """Tags for jobs without their own."""
    settle_s: float | str | None = None
    """How long an incomplete file may stay unchanged; None: the spool's setting, or 120 s on a network file system."""
    receipts: bool = True
    """Whether a dead job leaves NAME.failed.txt in the inbox."""
    done_receipts: bool = False
    """Whether a finished job leaves NAME.done.txt in the inbox."""
    max_bytes: int = job.JOB_MAX_BYTES
    """The size limit of a file, in bytes."""
    max_waiting: int = 1000
    """How many of its jobs may wait in the spool; other files stay in the inbox until some jobs have run."""
    max_per_minute: int = 0
    """How many of its files are accepted or rejected per minute; 0 means no limit."""
    max_rejected: int = 1000
    """How many rejected files get their own text; one text lists the others."""
    keys: str = ""
    """signed: the folder with the keys, one file NAME.key per key."""
    audience: str = ""
    """signed: the name that jobs must be signed for (`queuectl sign --for`). Default: the spool's identity."""
    command: tuple[str, ...] = ()
    """files: the words to run for each file, with `file_command.PLACEHOLDERS`."""
    template: str = ""
    """files: the name of a command in `[commands]`, instead of `command` (`file_template`)."""
    params: dict[str, str | int] = {}
    """files: the values for the params of that command, with placeholders."""
    match: tuple[str, ...] = ("*",)
    """files: patterns of the names that are taken, ignoring case."""
    ignore: tuple[str, ...] = ()
    """files: patterns of names that are left alone."""
    recursive: bool | int = False
    """files: how many levels of subfolders are looked into; true: `subfolders.DEPTH`."""
    subfolder_tags: bool = False
    """files: whether the names of the folders on the way to a file are tags of its job."""
    out: str = ""
    """files: the folder that `{out}` stands for; a relative path starts at the spool's root."""
    unique: Literal["", "content"] = ""
    """files: "content": a file is not run if its content is that of a job that waits, runs or has succeeded."""
    priority: int = 0
    """files: the priority of the jobs."""
    timeout: float | str | None = None
    """files: the limit of each attempt."""
    max_retries: int | None = None
    """files: the retries of the jobs; None: the setting."""
    on_success: str = DONE
    """files: the folder for files whose jobs succeeded, in the inbox or an absolute path; `delete`: they are deleted;
    `keep`: they go back to their place in the inbox, and are taken again only if they change."""
    on_failure: str = FAILED
    """files: the folder for files whose jobs ended otherwise, in the inbox or an absolute path."""
    done_file: str = ""
    """files: the name of the marker that says that a file is whole, with `{name}` or `{stem}`."""


def parse(section: object, *, path: str) -> tuple[Inbox, ...]:
    """Return the inboxes of the settings file at `path`, with their owners. `check_templates` does the rest.

    Raises:
        InvalidSettingsError: the error names the key and its mistake.
    """
    if isinstance(section, dict):
        raise _error(path, SECTION, "write [[inbox]] with two brackets, because there can be several")
    try:
        listed = msgspec.convert(section, tuple[Inbox, ...])
    except msgspec.ValidationError as error:
        from queuectl.model import mistakes  # imported only for an error

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
    for field, folded in (("owner", str.lower), ("path", _folded)):
        values = [folded(getattr(inbox, field)) for inbox in made]
        if twice := next((value for value in values if values.count(value) > 1), ""):
            raise _error(path, f"{SECTION}.{field}", f"{twice!r} is given twice; each inbox needs its own")
    for inbox in made:
        longer = next((each for each in made if each.owner.lower().startswith(f"{inbox.owner.lower()}-")), None)
        if longer is not None:
            what = (
                f"{longer.owner!r} begins like the ids of {inbox.owner!r}, {inbox.owner}-NAME; use another owner for it"
            )
            raise _error(path, f"{SECTION}.owner", what)
    return made


def check_templates(inboxes: tuple[Inbox, ...], commands: Mapping[str, Command], *, path: str) -> None:
    """Check the inboxes of files that use a command of `[commands]`. Raises InvalidSettingsError, as `parse`."""
    wrong: list[str] = []
    for number, inbox in enumerate(inboxes, 1):
        if inbox.template:
            from queuectl.model import file_template  # few spools have any

            wrong += [f"[[{SECTION}]] {number}, {text}" for text in file_template.mistakes(inbox, commands)]
    if wrong:
        raise _errors(path, wrong)


def _numbered(text: str) -> str:
    """Number the inboxes in `inbox[0].path: ...` from 1, as people do."""
    return re.sub(rf"^{SECTION}\[(\d+)\]\.?", lambda found: f"[[{SECTION}]] {int(found[1]) + 1}, ", text)


def example() -> list[str]:
    """Return a commented example with explanations for a settings file."""
    return [
        "# Inboxes: folders outside the spool, on any file system, whose files become jobs. One [[inbox]] per folder.",
        "# A file that cannot become a job is renamed there to NAME.rejected; a text file next to it gives the reason.",
        "# [[inbox]]",
        '# path = "/srv/drop/anna"',
        '# mode = "trusted"         # trusted: any command; templates: only [commands]; signed: only signed jobs;',
        "#                          # files: any file, for the command of this inbox (docs/settings.md)",
        '# owner = "anna"           # owner of the jobs; default: the name of the folder',
        '# queue = "mail"           # queue of the jobs; default: the default queue',
        "# receipts = true          # write NAME.failed.txt for a dead job; done_receipts: also NAME.done.txt",
        "# max_bytes = 65536        # size limit of a file",
        "# max_waiting = 1000       # how many of its jobs may wait in the spool; other files stay in the inbox",
        "# max_per_minute = 60      # how many files are accepted or rejected per minute; 0 means no limit",
        "# max_rejected = 1000      # how many rejected files get their own text; one text lists the others",
        "#",
        "# Files that are work themselves: each PDF becomes a job of this command, and moves to done/ or failed/",
        "# [[inbox]]",
        '# path = "/srv/scans"',
        '# mode = "files"',
        '# match = ["*.pdf"]',
        '# command = ["pdftotext", "{file}", "{folder}/{stem}.txt"]',
    ]


def _checked(path: str, inbox: Inbox) -> Inbox:
    if not inbox.path.strip() or "\0" in inbox.path:
        raise _error(path, f"{SECTION}.path", "takes a folder")
    owner = inbox.owner or names.clean_id(re.split(r"[\\/]+", inbox.path.rstrip("\\/"))[-1])[: job.OWNER_MAX_CHARS]
    if why := job.why_bad_owner(owner):
        raise _error(path, f"{SECTION}.owner", f"{owner[:60]!r} {why}")
    if inbox.queue and (why := names.why_bad_queue(inbox.queue)):
        raise _error(path, f"{SECTION}.queue", f"{inbox.queue[:60]!r} {why}")
    if inbox.settle_s is not None:
        try:
            settle_s = times.parse_duration(inbox.settle_s)
        except ValueError as error:
            raise _error(path, f"{SECTION}.settle_s", str(error)) from error
        inbox = msgspec.structs.replace(inbox, settle_s=settle_s)
    for key, low in (("max_bytes", 2), ("max_waiting", 1), ("max_per_minute", 0), ("max_rejected", 0)):
        if getattr(inbox, key) < low:
            raise _error(path, f"{SECTION}.{key}", f"takes a whole number of {low} or more")
    if inbox.max_bytes > job.JOB_MAX_BYTES:
        raise _error(path, f"{SECTION}.max_bytes", f"takes at most {job.JOB_MAX_BYTES}")
    for key in _OTHERS if inbox.mode == FILES else _FILES_ONLY:
        if getattr(inbox, key) != _DEFAULTS[key]:
            raise _error(path, f"{SECTION}.{key}", f"is not for mode {inbox.mode}")
    if inbox.mode == FILES:
        inbox = _checked_files(path, inbox)
    if (inbox.mode == SIGNED) != bool(inbox.keys):
        what = "is missing: the folder with the keys" if inbox.mode == SIGNED else f"is not for mode {inbox.mode}"
        raise _error(path, f"{SECTION}.keys", what)
    if inbox.audience and inbox.mode != SIGNED:
        raise _error(path, f"{SECTION}.audience", f"is not for mode {inbox.mode}")
    if inbox.audience and not is_audience(inbox.audience):
        raise _error(path, f"{SECTION}.audience", f"{inbox.audience[:70]!r} is not allowed: {AUDIENCE_TAKES}")
    return msgspec.structs.replace(inbox, owner=owner)


def _checked_files(path: str, inbox: Inbox) -> Inbox:
    """Check the keys of an inbox of files. Raises InvalidSettingsError."""
    if inbox.template and inbox.command:
        raise _error(path, f"{SECTION}.template", "is given beside command; use one of the two")
    if not inbox.template and inbox.params:
        raise _error(
            path, f"{SECTION}.params", "is only for an inbox with template, the name of a command in [commands]"
        )
    if not inbox.template and (why := file_command.why_bad_command(inbox.command, has_out=bool(inbox.out))):
        raise _error(path, f"{SECTION}.command", why)
    for key in ("match", "ignore"):
        if any(not each or "/" in each or "\0" in each for each in getattr(inbox, key)):
            raise _error(path, f"{SECTION}.{key}", 'takes a list of patterns of names, such as ["*.pdf", "*.tif"]')
    if not inbox.match:
        raise _error(path, f"{SECTION}.match", 'is empty, so no file would be taken; use ["*"] for all files')
    for key in ("on_success", "on_failure"):
        folder = getattr(inbox, key)
        if key == "on_failure" and folder in (DELETE, KEEP):
            what = "deleted" if folder == DELETE else "kept in its place"
            raise _error(path, f"{SECTION}.{key}", f"takes the name of a folder: a file is {what} only after success")
        if why := file_command.why_bad_folder(folder):
            raise _error(path, f"{SECTION}.{key}", f"{folder[:60]!r} {why}")
    if _folded(inbox.on_success) == _folded(inbox.on_failure):
        raise _error(path, f"{SECTION}.on_failure", f"{inbox.on_failure!r} is on_success too; use two folders")
    if inbox.done_file and (why := file_command.why_bad_done_file(inbox.done_file)):
        raise _error(path, f"{SECTION}.done_file", f"{inbox.done_file[:60]!r} {why}")
    if not 0 <= inbox.recursive <= subfolders.DEPTH_MOST:
        what = f"takes true, false, or a depth from 1 to {subfolders.DEPTH_MOST}"
        raise _error(path, f"{SECTION}.recursive", what)
    if inbox.subfolder_tags and not inbox.recursive:
        raise _error(path, f"{SECTION}.subfolder_tags", "needs recursive = true")
    if "\0" in inbox.out:
        raise _error(path, f"{SECTION}.out", "takes a folder")
    if abs(inbox.priority) > job.PRIORITY_LIMIT:
        what = f"takes a whole number from -{job.PRIORITY_LIMIT} to {job.PRIORITY_LIMIT}"
        raise _error(path, f"{SECTION}.priority", what)
    if inbox.max_retries is not None and not 0 <= inbox.max_retries <= job.RETRIES_LIMIT:
        raise _error(path, f"{SECTION}.max_retries", f"takes a whole number from 0 to {job.RETRIES_LIMIT}")
    if inbox.timeout is not None:
        try:
            if times.parse_duration(inbox.timeout) == 0:
                raise ValueError("zero would end every attempt at once; remove it for no limit")
        except ValueError as error:
            raise _error(path, f"{SECTION}.timeout", str(error)) from error
    return inbox


def _folded(folder: str) -> str:
    """Return a folder in a form that is equal for equal folders. Only Windows ignores case in all of them."""
    return folder.lower().replace("/", "\\").rstrip("\\") if sys.platform == "win32" else folder.rstrip("/")


# Keys that only inboxes of files have, and keys that they have not.
_FILES_ONLY = (
    *("command", "template", "params", "match", "ignore", "recursive", "subfolder_tags"),
    *("out", "unique", "priority", "timeout", "max_retries"),
    *("on_success", "on_failure", "done_file"),
)
_OTHERS = ("done_receipts", "max_bytes", "max_rejected", "keys", "audience")
_DEFAULTS = {**dict(zip(Inbox.__struct_fields__, (None, None, *Inbox.__struct_defaults__), strict=False)), "params": {}}
AUDIENCE_TAKES = "use up to 64 letters, digits and . _ -, with a letter or digit first"


def is_audience(text: str) -> bool:
    """Return whether a text is a valid audience of signed jobs."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) is not None
