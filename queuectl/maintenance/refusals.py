"""What a person can do about files that could not become jobs: list, explain, retry, delete them.

Files of an inbox stay where they are, because they belong to others and their share may hang. All that is known of them
is what the inbox process published last.
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
    """A file that was refused: its name, why, since when (None: unknown), whose inbox it is in (""), and its path."""

    name: str
    why: str
    rejected_at: float | None
    inbox: str
    path: str


def listed(spool: Spool, limit: int) -> tuple[list[Refusal], int]:
    """The files that were refused last, newest first, at most `limit` (0: all that are known), and how many there are.

    Of an inbox only those are known that its process named.
    """
    own = rejected.rejected_names(spool.folder)
    wanted = rejected.newest_refused(spool.folder, own, limit or len(own))
    found = [_own(spool, name) for name in wanted]
    states = read_all(spool.folder)
    found += [refusal for state in states for refusal in _in_inbox(state)]
    found = heapq.nlargest(limit or len(found), found, key=lambda each: (each.rejected_at or 0.0, each.name))
    return found, len(own) + sum(state.rejected for state in states)


def find(spool: Spool, typed: str) -> Refusal:
    """Return the refused file that is meant by its name, its name without ending, or the beginning of it.

    Raises:
        UnknownFileError: there is none, or several begin so.
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
    """Put a refused file back into pending/, where it is judged anew; its name.

    Raises:
        UnknownFileError: there is none of this name.
        InvalidJobError: it is still no job; says why.
        QueuectlError: it is in an inbox, or pending/ has a file of this name.
        SpoolUnavailableError: the disk refuses.
    """
    found = _ours(find(spool, typed), "retry")
    with spool.held(names.clean_id(_stem(found.name))):
        try:
            if refused := _verdict(spool, found):
                raise InvalidJobError(
                    f"{found.name} is no job: {refused.why}", hint=f"correct {found.path}; {refused.hint}".rstrip("; ")
                )
            disk.move(found.path, spool.folder.path(PENDING, found.name))
            disk.unlink(spool.folder.reason_path(found.name))
            if spool.settings.durability != "off":
                disk.sync_folder(spool.folder.folder(PENDING))
        except FileExistsError as error:
            hint = "rename one of the two"
            raise QueuectlError(f"{PENDING}/ already holds a file named {found.name}", hint=hint) from error
        except FileNotFoundError as error:
            raise UnknownFileError(found.name, []) from error  # corrected meanwhile, and so moved back already
        except OSError as error:
            raise unavailable(spool.folder, error) from error
    return found.name


def purge(spool: Spool, typed: str) -> str:
    """Delete a refused file and the text beside it; its name. Raises as `retry`."""
    found = _ours(find(spool, typed), "purge")
    with spool.held(names.clean_id(_stem(found.name))):
        try:
            # The file first: what a crash leaves is a text without a file, and never a file without a reason.
            if not disk.unlink(found.path):
                raise UnknownFileError(found.name, [])
            disk.unlink(spool.folder.reason_path(found.name))
        except OSError as error:
            raise unavailable(spool.folder, error) from error
    return found.name


def text(spool: Spool, found: Refusal) -> str:
    """The text beside a file in rejected/, or "". It holds nothing that could act on a terminal, but for line ends."""
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
    """Return the file if it is ours to act on. Raises QueuectlError."""
    if not found.inbox:
        return found
    raise QueuectlError(
        f"{found.name} is in the inbox of {found.inbox}, and is its owner's to {verb}",
        hint=f"correct or delete {found.path}; a corrected file is taken in automatically",
    )


def _verdict(spool: Spool, found: Refusal) -> document.Refused | None:
    """Return why a file is still no job, or None for one that may be tried again. Raises OSError."""
    lines = names.is_batch(found.name)
    content = files.read(found.path, document.BATCH_MAX_BYTES if lines else job.JOB_MAX_BYTES)
    if content.oversize:
        return document.Refused("it is too large", "split it, or put the data elsewhere and name it")
    owners = trust.owners(spool.folder, spool.settings)
    if owners is not None and content.owner not in owners:
        return document.Refused(*trust.foreign_owner(content.owner))
    parsed = document.parse(content.data, lines=lines)
    if isinstance(parsed, document.Incomplete):
        return document.Refused(parsed.why, parsed.hint)
    if isinstance(parsed, document.Refused):
        return parsed
    if isinstance(parsed, document.Many):
        return None  # each job in it is judged by itself
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
