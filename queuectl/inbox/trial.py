"""Say what would happen to a file if it were in an inbox now, without doing any of it."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

from queuectl.errors import InvalidJobError
from queuectl.inbox import opening
from queuectl.inbox.file_judge import FileJudge
from queuectl.inbox.identity import known_identity
from queuectl.inbox.judge import Judge, NotYetError
from queuectl.model import record
from queuectl.model.inbox import FILES, Inbox
from queuectl.model.text import command_text
from queuectl.spool.session import Session
from queuectl.system import files

ACCEPTED = "accepted"


class Answer(NamedTuple):
    """What would happen: ACCEPTED, `waits`, `refused` or `left alone`; why; the command that would run, or ""."""

    verdict: str
    why: str
    hint: str = ""
    command: str = ""


def inbox_of(session: Session, path: str) -> Inbox | None:
    """Return the inbox that a path is in, None if the settings name no inbox there."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    for inbox in session.settings.inboxes:
        if os.path.realpath(opening.inbox_path(session.spool, inbox)) == folder:
            return inbox
    return None


def judge(session: Session, inbox: Inbox, path: str) -> Answer:
    """Return what would happen to the file at `path`. The file need not be in the inbox. Raises OSError."""
    name = os.path.basename(path)
    try:
        return _of_file(session, inbox, path) if inbox.mode == FILES else _of_job(session, inbox, path, name)
    except files.NotRegularError:
        return Answer("left alone", "it is a link, a folder, a pipe or a device")
    except NotYetError as error:
        return Answer("waits", f"it may not be complete: {error}", error.hint)
    except InvalidJobError as error:
        return Answer("refused", str(error), error.hint)


def _of_file(session: Session, inbox: Inbox, path: str) -> Answer:
    name = os.path.basename(path)
    judge_of_names = FileJudge(session, inbox)
    if why := judge_of_names.why_left_alone(name):
        return Answer("left alone", why)
    info = files.look(path)
    if info is not None and not stat.S_ISREG(info.st_mode):
        return Answer("left alone", "it is a link, a folder, a pipe or a device")
    folder = os.path.abspath(opening.inbox_path(session.spool, inbox))
    words = judge_of_names.command_for(os.path.join(folder, "working", "...", name))
    command = command_text(words)
    if info is None:
        return Answer(ACCEPTED, "there is no such file, but a file of this name would be taken", "", command)
    if info.st_nlink > 1:
        return Answer("refused", "it has a second name (a hard link)", "copy the file instead of linking it")
    if judge_of_names.out and not os.path.isdir(judge_of_names.out):
        return Answer("waits", f"there is no folder {judge_of_names.out} (out)", "create it", command)
    if marker := judge_of_names.marker_of(name):
        if files.look(os.path.join(os.path.dirname(path), marker)) is None:
            return Answer("waits", f"{marker} is not there yet (done_file)", "", command)
        return Answer(ACCEPTED, f"{marker} says that it is whole", "", command)
    with contextlib.suppress(OSError):
        if files.has_writer(path):
            return Answer("waits", "a program has it open for writing", "", command)
    return Answer(ACCEPTED, "at once if it is renamed into the folder, else when it is quiet for settle_s", "", command)


def _of_job(session: Session, inbox: Inbox, path: str, name: str) -> Answer:
    content = files.read(path, inbox.max_bytes)
    prepared = Judge(session, inbox).judge(name, content, identity=known_identity(session.spool))
    item = record.decode(prepared.data)
    return Answer(ACCEPTED, f"as the job {item.id}", "", command_text(item.command))
