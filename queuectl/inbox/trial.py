"""Say what would happen to a file if it were in an inbox now, without doing any of it."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

from queuectl.errors import InvalidJobError
from queuectl.inbox import kept, opening
from queuectl.inbox.file_judge import FileJudge
from queuectl.inbox.identity import known_identity
from queuectl.inbox.judge import Judge, NotYetError
from queuectl.inbox.subfolder_walk import SubfolderWalk
from queuectl.model import file_command, names, record, subfolders, uniqueness
from queuectl.model.file_command import DELETE, KEEP
from queuectl.model.inbox import FILES, Inbox
from queuectl.model.lifecycle import DONE
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
    ends: tuple[str, str] = ("", "")
    """Where the file goes if its job succeeds, and otherwise; empty in an inbox of another mode."""


def inbox_of(session: Session, path: str) -> Inbox | None:
    """Return the inbox that a path is in, None if the settings name no inbox there."""
    folder = os.path.realpath(os.path.dirname(path) or ".")
    tops = [(os.path.realpath(opening.inbox_path(session.spool, inbox)), inbox) for inbox in session.settings.inboxes]
    for top, inbox in tops:
        if top == folder:
            return inbox
    above = [(top, inbox) for top, inbox in tops if inbox.recursive and _is_below(folder, top)]
    return max(above, key=lambda each: len(each[0]))[1] if above else None


def _is_below(folder: str, top: str) -> bool:
    return os.path.normcase(folder).startswith(os.path.normcase(top.rstrip(os.sep) + os.sep))


def judge(session: Session, inbox: Inbox, path: str) -> Answer:
    """Return what would happen to the file at `path`. The file need not be in the inbox. Raises OSError."""
    name = os.path.basename(path)
    try:
        if inbox.mode != FILES:
            return _of_job(session, inbox, path, name)
        sub = _subfolder(session, inbox, path)
        return _of_file(session, inbox, path)._replace(ends=_ends(session, inbox, sub))
    except files.NotRegularError:
        return Answer("left alone", "it is a link, a folder, a pipe or a device")
    except NotYetError as error:
        return Answer("waits", f"it may not be complete: {error}", error.hint)
    except InvalidJobError as error:
        return Answer("refused", str(error), error.hint)


def _of_file(session: Session, inbox: Inbox, path: str) -> Answer:
    judge_of_names = FileJudge(session, inbox)
    sub = _subfolder(session, inbox, path)
    name = subfolders.join(sub, os.path.basename(path))
    is_device = names.opens_a_device(os.path.basename(path))  # a look would open it
    info = None if is_device else files.look(path)
    if inbox.recursive and info is not None and stat.S_ISDIR(info.st_mode):
        if why := _why_not_in(session, inbox, judge_of_names, name):
            return Answer("left alone", f"it is a folder from which no file is taken: {why}")
        return Answer(ACCEPTED, "it is a folder: the files in it are taken, each when it is whole")
    if why := _why_not_in(session, inbox, judge_of_names, sub) or judge_of_names.why_left_alone(name):
        return Answer("left alone", why)
    if info is not None and not stat.S_ISREG(info.st_mode):
        return Answer("left alone", "it is a link, a folder, a pipe or a device")
    path_in = os.path.join(_folder(session, inbox), "working", "...", subfolders.native(name))
    words = judge_of_names.command_for(path_in, sub=sub)
    command = command_text(words)
    if info is None:
        return Answer(ACCEPTED, "there is no such file, but a file of this name would be taken", "", command)
    if _is_kept(session, inbox, path, name, info):
        why = 'its job has succeeded, and it has not changed since (on_success = "keep")'
        return Answer("left alone", why, f"to run it again: touch {path}", command)
    if info.st_nlink > 1:
        return Answer("refused", "it has a second name (a hard link)", "copy the file instead of linking it")
    if judge_of_names.out and not os.path.isdir(judge_of_names.out):
        return Answer("waits", f"there is no folder {judge_of_names.out} (out)", "create it", command)
    if inbox.unique and (other := _job_with(session, inbox, path)):
        return Answer("refused", f"its content is that of the job {other} (unique)", f"queuectl show {other}", command)
    if marker := judge_of_names.marker_of(name):
        marker = subfolders.split(marker)[1]
        if files.look(os.path.join(os.path.dirname(path), marker)) is None:
            return Answer("waits", f"{marker} is not there yet (done_file)", "", command)
        return Answer(ACCEPTED, f"{marker} says that it is whole", "", command)
    with contextlib.suppress(OSError):
        if files.has_writer(path):
            return Answer("waits", "a program has it open for writing", "", command)
    return Answer(ACCEPTED, "at once if it is renamed into the folder, else when it is quiet for settle_s", "", command)


def _subfolder(session: Session, inbox: Inbox, path: str) -> str:
    """Return the subfolder of an inbox in which a file is, "" if it is at the top or elsewhere."""
    folder = os.path.realpath(os.path.dirname(path) or ".")
    top = os.path.realpath(opening.inbox_path(session.spool, inbox))
    return os.path.relpath(folder, top).replace(os.sep, "/") if _is_below(folder, top) else ""


def _why_not_in(session: Session, inbox: Inbox, judge_of_names: FileJudge, sub: str) -> str:
    """Return why no file is taken from a subfolder, as the end of a sentence, or ""."""
    parts = subfolders.parts(sub)
    if parts and not inbox.recursive:
        return "it is in a subfolder (recursive)"
    walk = SubfolderWalk(session, inbox, opening.inbox_path(session.spool, inbox), judge_of_names)
    reserved = subfolders.reserved(DONE, *file_command.own_folders(inbox.on_success, inbox.on_failure))
    for length in range(1, len(parts) + 1):
        if why := walk.why_left_alone("/".join(parts[:length]), reserved):
            return f"the folder {parts[length - 1]}: {why}"
    return ""


def _ends(session: Session, inbox: Inbox, sub: str) -> tuple[str, str]:
    """Return where a file in a subfolder goes if its job succeeds, and otherwise."""
    top = _folder(session, inbox)
    words = {DELETE: "it is deleted", KEEP: "it stays in its place"}

    def where(end: str) -> str:
        return words.get(end) or os.path.join(top, end, subfolders.native(sub), "")

    return where(inbox.on_success), where(inbox.on_failure)


def _is_kept(session: Session, inbox: Inbox, path: str, name: str, info: os.stat_result) -> bool:
    """Return whether a file is the version in the inbox that has been worked on."""
    folder, found = kept.versions(session.spool, inbox.owner)
    noted = found.get(name)
    here = os.path.join(_folder(session, inbox), subfolders.native(name))
    if noted is None or os.path.realpath(path) != os.path.realpath(here):
        return False
    return kept.is_same(noted, files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns), folder=folder)


def _folder(session: Session, inbox: Inbox) -> str:
    return os.path.abspath(opening.inbox_path(session.spool, inbox))


def _job_with(session: Session, inbox: Inbox, path: str) -> str:
    """Return the job whose content a file has, which keeps the file from being run; "" if there is none."""
    from queuectl.inbox import contents
    from queuectl.spool import key_notes

    note = key_notes.read(session.spool, contents.key_of(inbox.owner, contents.digest_of(path)))
    if note is None or not uniqueness.holds(note, key_notes.place_of(session.spool, note)):
        return ""
    return note.id


def _of_job(session: Session, inbox: Inbox, path: str, name: str) -> Answer:
    content = files.read(path, inbox.max_bytes)
    prepared = Judge(session, inbox).judge(name, content, identity=known_identity(session.spool))
    item = record.decode(prepared.data)
    return Answer(ACCEPTED, f"as the job {item.id}", "", command_text(item.command))
