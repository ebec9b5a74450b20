"""List, explain, retry and delete files that could not become jobs.

Files of an inbox stay there, because they belong to other users and their share may hang. This module knows only what
the inbox process published last about them.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

from queuectl.api import Spool
from queuectl.errors import InvalidJobError, QueuectlError, UnknownFileError
from queuectl.inbox.state import InboxState, read_all
from queuectl.model import document, job, names, times
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.monitor import rejected
from queuectl.spool import trust
from queuectl.spool.access import unavailable
from queuectl.system import disk, files

INBOX_ENDING = ".rejected"


class Refusal(NamedTuple):
    """A rejected file: its name, the reason, the time (None: unknown), the owner of its inbox ("": none), its path."""

    name: str
    why: str
    rejected_at: float | None
    inbox: str
    path: str


def listed(spool: Spool, limit: int) -> tuple[list[Refusal], int]:
    """Return the newest rejected files, at most `limit` (0: all known ones), and the number of all.

    Of an inbox only those files are known that its process named.
    """
    own = rejected.rejected_names(spool.folder)
    wanted = rejected.newest_refused(spool.folder, own, limit or len(own))
    found = [_own(spool, name) for name in wanted]
    states = read_all(spool.folder)
    found += [refusal for state in states for refusal in _in_inbox(state)]
    found = heapq.nlargest(limit or len(found), found, key=lambda each: (each.rejected_at or 0.0, each.name))
    return found, len(own) + sum(state.rejected for state in states)


def find(spool: Spool, typed: str) -> Refusal:
    """Return the rejected file with this name, name without ending, or beginning of a name.

    Raises:
        UnknownFileError: there is no such file, or several begin like this.
    """
    known = set(own := sorted(rejected.rejected_names(spool.folder)))
    inboxes = {each.name: each for state in read_all(spool.folder) for each in _in_inbox(state)}
    every = [*own, *(name for name in inboxes if name not in known)]
    same = [name for name in every if typed in (name, name.removesuffix(INBOX_ENDING), _stem(name))]
    begun = [name for name in every if typed and name.lower().startswith(typed.lower())]
    meant = same[:1] or begun
    if len(meant) != 1:
        raise UnknownFileError(typed, sorted(meant))
    return _own(spool, meant[0]) if meant[0] in known else inboxes[meant[0]]


def retry(spool: Spool, typed: str) -> str:
    """Move a rejected file back to pending/, where it is judged again; return its name.

    Raises:
        UnknownFileError: there is no file with this name.
        InvalidJobError: the file is still not a job; the message says why.
        QueuectlError: the file is in an inbox, or pending/ has a file with this name.
        SpoolUnavailableError: the disk refuses the change.
    """
    found = _ours(find(spool, typed), "retry")
    with spool.held(names.clean_id(_stem(found.name))):
        try:
            if refused := _verdict(spool, found):
                raise InvalidJobError(
                    f"{found.name} is not a job: {refused.why}",
                    hint=f"correct {found.path}; {refused.hint}".rstrip("; "),
                )
            disk.move(found.path, spool.folder.path(PENDING, found.name))
            disk.unlink(spool.folder.reason_path(found.name))
            if spool.settings.durability != "off":
                disk.sync_folder(spool.folder.folder(PENDING))
        except FileExistsError as error:
            hint = "rename one of the two"
            raise QueuectlError(f"{PENDING}/ already holds a file named {found.name}", hint=hint) from error
        except FileNotFoundError as error:
            raise UnknownFileError(found.name, []) from error  # corrected meanwhile, and therefore already moved back
        except OSError as error:
            raise unavailable(spool.folder, error) from error
    return found.name


def purge(spool: Spool, typed: str) -> str:
    """Delete a rejected file and its text; return its name. Raises as `retry`."""
    found = _ours(find(spool, typed), "purge")
    with spool.held(names.clean_id(_stem(found.name))):
        try:
            # The file first, so that a crash leaves a text without a file, never a file without a reason.
            if not disk.unlink(found.path):
                raise UnknownFileError(found.name, [])
            disk.unlink(spool.folder.reason_path(found.name))
        except OSError as error:
            raise unavailable(spool.folder, error) from error
    return found.name


def text(spool: Spool, found: Refusal) -> str:
    """Return the text of a file in rejected/, or "". It has no control characters except line ends."""
    if found.inbox:
        return ""
    try:
        return files.read(spool.folder.reason_path(found.name), 64 * 1024).data.decode("utf-8", "replace")
    except OSError:
        return ""


def _own(spool: Spool, name: str) -> Refusal:
    row = rejected.refusal(spool.folder, name)
    return Refusal(name, row.why, row.rejected_at, "", spool.folder.path(REJECTED, name))


def _in_inbox(state: InboxState) -> list[Refusal]:
    return [
        Refusal(row.name, row.why, times.instant(row.rejected_at), state.owner, f"{state.path}/{row.name}")
        for row in state.refused
    ]


def _ours(found: Refusal, verb: str) -> Refusal:
    """Return the file if it is in the spool. Raises QueuectlError if it is in an inbox."""
    if not found.inbox:
        return found
    raise QueuectlError(
        f"{found.name} is in the inbox of {found.inbox}; only its owner can {verb} it",
        hint=f"correct or delete {found.path}; queuectl accepts a corrected file automatically",
    )


def _verdict(spool: Spool, found: Refusal) -> document.Refused | None:
    """Return why a file is still not a job, or None if it may be tried again. Raises OSError."""
    lines = names.is_batch(found.name)
    content = files.read(found.path, document.BATCH_MAX_BYTES if lines else job.JOB_MAX_BYTES)
    if content.oversize:
        return document.Refused("the file is too large", "split it, or put the data in another file and pass its path")
    owners = trust.owners(spool.folder, spool.settings)
    if owners is not None and content.owner not in owners:
        return document.Refused(*trust.foreign_owner(content.owner))
    parsed = document.parse(content.data, lines=lines)
    if isinstance(parsed, document.Incomplete):
        return document.Refused(parsed.why, parsed.hint)
    if isinstance(parsed, document.Refused):
        return parsed
    if isinstance(parsed, document.Many):
        return None  # each job in it is judged separately
    try:
        taken = document.accept(parsed.document, defaults=spool.settings.retry_defaults, now_at=0.0)
    except InvalidJobError as error:
        return document.Refused(str(error), error.hint)
    wanted = taken.spec.get("id")
    if wanted is not None and not taken.history and (there := spool.folder.find(wanted)):
        return document.Refused(f"a job with the id {wanted!r} already exists, in {there.state}/", "use another id")
    return None


def _stem(name: str) -> str:
    """Return the name without its endings."""
    return name.removesuffix(INBOX_ENDING).rpartition(".")[0]
