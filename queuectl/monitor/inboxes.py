"""Make the rows of inboxes from what their processes published last (`inbox.state`). Computes only."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from queuectl.inbox.state import InboxEnd, InboxFile, InboxRefusal, InboxState, Unmoved
from queuectl.model import times
from queuectl.model.inbox import FILES


class EndedFile(NamedTuple):
    """The last file of an inbox whose job ended in one way."""

    name: str
    id: str
    ended_at: float | None


class InboxRow(NamedTuple):
    """An inbox as its process listed it last, with its files by what happens to them next."""

    owner: str
    path: str
    mode: str
    listed_at: str
    waiting: int
    arriving: int
    held_back: str
    rejected: int
    left_alone: int
    taken: int
    """Files taken in since the inbox process started."""
    trouble: str
    text: str
    """All of this in a sentence."""
    files: tuple[InboxFile, ...]
    """Some of the files that are arriving."""
    refused: tuple[InboxRefusal, ...] = ()
    """The newest rejected files."""
    subfolders: int = 0
    """Subfolders whose files are taken too."""
    kept: int = 0
    """Files that stay in the inbox because their jobs have succeeded."""
    command: str = ""
    """Of an inbox of files, as the following: the command of the settings."""
    working: int = 0
    """How many files are in working/ for jobs that have not ended."""
    last_done: EndedFile | None = None
    last_failed: EndedFile | None = None
    unmoved: int = 0
    """Files whose jobs have ended and that cannot leave working/ now."""
    unmoved_files: tuple[Unmoved, ...] = ()
    """Some of those."""


def sentence(state: InboxState) -> str:
    """Return the state of an inbox in one line."""
    if state.trouble:
        return state.trouble
    parts = []
    if state.unmoved:
        why = f": {state.unmoved_rows[0].why}" if state.unmoved_rows else ""
        parts.append(f"{state.unmoved} cannot leave working/{why}")
    if state.waiting:
        parts.append(f"{state.waiting} to be taken in" + (f", held back: {state.held_back}" if state.held_back else ""))
    if state.arriving:
        parts.append(f"{state.arriving} still arriving")
    if state.working:
        parts.append(f"{state.working} in working/")
    if state.rejected:
        parts.append(f"{state.rejected} {'refused' if state.mode == FILES else 'rejected'}")
    if state.kept:
        parts.append(f"{state.kept} kept after success")
    if state.left_alone:
        parts.append(f"{state.left_alone} left alone")
    text = "; ".join(parts) or "nothing is waiting"
    if state.subfolders:
        text += f"; looks into {state.subfolders} subfolder{'s' * (state.subfolders != 1)}"
    return text


def without_texts(state: InboxState) -> InboxState:
    """Return the state without names of files; of trouble, only that there is some."""
    trouble = "it is unavailable now" if state.trouble else ""
    texts: dict[str, object] = {"command": "", "last_done": None, "last_failed": None}
    texts |= dict.fromkeys(("rows", "unmoved_rows", "refused", "next", "foreign"), ())
    return msgspec.structs.replace(state, trouble=trouble, **texts)


def row(state: InboxState) -> InboxRow:
    """Return the row of a state."""
    return InboxRow(
        owner=state.owner,
        path=state.path,
        mode=state.mode,
        listed_at=state.listed_at,
        waiting=state.waiting,
        arriving=state.arriving,
        held_back=state.held_back,
        rejected=state.rejected,
        kept=state.kept,
        unmoved=state.unmoved,
        left_alone=state.left_alone,
        taken=state.taken,
        trouble=state.trouble,
        text=sentence(state),
        files=state.rows,
        refused=state.refused,
        subfolders=state.subfolders,
        command=state.command,
        working=state.working,
        last_done=_ended(state.last_done),
        last_failed=_ended(state.last_failed),
        unmoved_files=state.unmoved_rows,
    )


def lines_of(row: InboxRow) -> list[str]:
    """Return all that is known of the files of an inbox, a line for each. Not yet safe."""
    lines = [row.path, *([f"command: {row.command}"] if row.command else [])]
    lines += [f"arriving: {each.name}: {each.why}" for each in row.files]
    lines += [f"refused: {each.name}: {each.why}" for each in row.refused]
    for what, end in (("last done", row.last_done), ("last failed", row.last_failed)):
        if end is not None:
            lines.append(f"{what}: {end.name} (job {end.id})")
    return lines


def _ended(end: InboxEnd | None) -> EndedFile | None:
    return None if end is None else EndedFile(end.name, end.job_id, times.instant(end.ended_at))
