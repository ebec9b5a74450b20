"""Files that hold many jobs: their names while they are split, the note with the progress, and the result.

Such a file, an array or one job per line, is moved from pending/ to .queuectl/taken/TOKEN.json(l), where TOKEN is
unique for this file, and split there by `jobs.splitter`. The note .queuectl/splits/TOKEN.json has the progress. At the
end the file is renamed to NAME.done; the file and its note are kept as long as finished jobs.

A file whose jobs name each other is NAME.flow on the disk while it is split, and NAME for all code: an older queuectl,
which would make jobs of it that wait for nobody, leaves such a name alone.
"""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.model.text import safe
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import MACHINERY
from queuectl.system import files

DONE_ENDING, FLOW_ENDING = ".done", ".flow"
# Refused documents that the note and the text in rejected/ name with their reasons.
NAMED_AT_MOST = 20
_NOTE_MAX_BYTES = 64 * 1024
_NOTES_AT_MOST = 500
IN_TAKEN = "taken/"

_Count = Annotated[int, Meta(ge=0)]


class Named(msgspec.Struct, frozen=True):
    """A refused document: its place, its line (0 for an element of an array), and the reason."""

    place: int
    line: int
    why: str


class Note(msgspec.Struct, frozen=True):
    """The progress of a split: all documents before `offset` and `place` are made or refused."""

    file: str
    """The name of the dropped file."""
    by: str
    """The process that makes the steps."""
    offset: _Count = 0
    """Where the next line begins."""
    line: _Count = 0
    """Lines read, blank ones included."""
    place: _Count = 0
    """Documents read."""
    made: _Count = 0
    refused: _Count = 0
    check_to: _Count = 0
    """Jobs up to this place may exist although the note does not count them."""
    is_over: bool = False
    phase: str = ""
    """What the steps do, if the file may be a flow: see `jobs.flow_split`."""
    parts: _Count = 0
    """How many parts the plan of a flow has (`plan_paths`)."""
    named: tuple[Named, ...] = ()
    """The first refused documents."""


def token_of(taken: str) -> str:
    """Return the token of a file in taken/: its stem."""
    return taken.partition(".")[0]


def key_of(taken: str) -> str:
    """Return the key of a file in taken/ among names of pending/, none of which holds a slash."""
    return IN_TAKEN + taken


def taken_of(name: str) -> str:
    """Return the name in taken/ of a key, or "" for a name in pending/."""
    return name[len(IN_TAKEN) :] if name.startswith(IN_TAKEN) else ""


def unfinished(spool: SpoolDir) -> list[str]:
    """Return the files of many jobs that are being split, or whose split was interrupted."""
    listed = [name.removesuffix(FLOW_ENDING) for name in spool.names(spool.taken_dir)]
    return [name for name in listed if name.endswith((".json", ".jsonl"))]


def path_of(spool: SpoolDir, taken: str) -> str:
    """Return the path of a file that is being split."""
    path = os.path.join(spool.taken_dir, taken)
    return path + FLOW_ENDING if os.path.lexists(path + FLOW_ENDING) else path


def is_lines(path: str) -> bool:
    """Return whether a file in taken/ has one job per line."""
    return path.removesuffix(FLOW_ENDING).endswith(".jsonl")


def read_note(spool: SpoolDir, token: str) -> Note | None:
    """Return the note of a split; None if it is missing or unreadable."""
    try:
        content = files.read(spool.split_path(token), _NOTE_MAX_BYTES)
        return msgspec.json.decode(content.data, type=Note)
    except (FileNotFoundError, files.NotRegularError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def plan_paths(spool: SpoolDir, token: str, parts: int) -> list[str]:
    """Return the files with the plan of a flow: what its documents say of each other, in the order of the file."""
    return [spool.plan_path(token, number) for number in range(parts)]


def newest_of(spool: SpoolDir, file: str) -> tuple[str, Note] | None:
    """Return the token and the note of the last file that was dropped as `file`, among the newest few hundred."""
    for _, name in sorted(files.changes(spool.split_dir, ".json", at_most=_NOTES_AT_MOST), reverse=True):
        note = read_note(spool, token_of(name))
        if note is not None and file in (note.file, note.file.rpartition(".")[0]):
            return token_of(name), note
    return None


def outcome_text(note: Note) -> str:
    """Return the result of a split as the end of a sentence."""
    return f"{_counted(note.made, 'job')}{'; ' if note.refused else ''}{refused_text(note)}"


def refused_text(note: Note) -> str:
    """Return how many documents were refused and where they are, or ""."""
    if not note.refused:
        return ""
    return f"{_counted(note.refused, 'line' if note.line else 'element')} {_were(note)} refused: see {REJECTED}/"


def report_text(note: Note, taken: str) -> str:
    """Return the text in rejected/ that explains the result of a split with refused documents."""
    token = token_of(taken)
    rows = [
        f"  {f'line {each.line}' if each.line else f'element {each.place}'}: {safe(each.why)}" for each in note.named
    ]
    if note.refused > len(rows):
        rows.append(f"  and {note.refused - len(rows)} more")
    return "\n".join(
        [
            f"{safe(note.file)} was split into {_counted(note.made, 'job')}; {note.refused} {_were(note)} refused:",
            "",
            *rows,
            "",
            f"Each is in this folder as {token}-PLACE.json, with its reason in {token}-PLACE.json.reason.txt.",
            f"To run one: correct its file and drag it to {PENDING}/ (or: queuectl rejected retry {token}-PLACE.json).",
            f"The original file is kept, unchanged, as {MACHINERY}/taken/{taken}{DONE_ENDING}.",
            "",
        ]
    )


def _were(note: Note) -> str:
    return "was" if note.refused == 1 else "were"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
