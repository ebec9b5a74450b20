"""The folder of an inbox: its files, and everything that queuectl does to them. Other users write there, too.

    NAME.json                      a job, or a file that may become a job
    .queuectl-S-TOKEN-NAME.json    claimed by the spool S (`identity`), on its way to pending/ (`handover`)
    .queuectl-S-tmp-TOKEN          an unfinished text
    NAME.json.rejected             a file that cannot be a job; NAME.json.rejected.txt says why
    NAME.json.failed.txt, NAME.json.done.txt    receipts: how the job from NAME.json ended

A user who can write there may be hostile. So this module opens the folder once and does everything through that handle,
by names in it (POSIX): it touches nothing outside, wherever the path leads later. It follows no link, opens only
regular files, writes a text under a new name before the rename, and judges only bytes in memory. Such a user can hide,
change and restore files of the folder at any time, but harms only the jobs of that folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import sys
from typing import NamedTuple

from queuectl.inbox.tokens import TOKEN_CHARS, Tokens
from queuectl.model import names, times
from queuectl.model.seal import is_sealed, seal
from queuectl.model.text import safe
from queuectl.spool.rejected import version_of
from queuectl.system import disk, files, sharing

_REJECTED = ".rejected"
_TEXT = ".txt"
FAILED, DONE_WELL = ".failed.txt", ".done.txt"
SUMMARY = "queuectl-more-rejected.txt"
"""The text about rejected files that have no text of their own."""
_OURS = (_REJECTED, _REJECTED + _TEXT, FAILED, DONE_WELL)
# The most characters that queuectl adds before and after a name, including the suffix for a name that is taken.
_ROOM = 50
_TEXT_MAX_BYTES = 64 * 1024


class Listing(NamedTuple):
    """The names in the folder, by kind."""

    jobs: list[str]
    """Files that may be jobs, sorted."""
    rejected: list[str]
    texts: list[str]
    """Texts about rejected files."""
    claimed: dict[str, str]
    """Files whose names say that this spool claimed them, by token (`handover` knows which of them it claimed)."""
    unfinished: list[str]
    """Unfinished texts of this spool, left by a kill."""
    foreign: list[str]
    has_summary: bool = False
    """Whether an entry has the name SUMMARY."""


class Rejection(NamedTuple):
    """What the text of a rejected file says: the version of the file, the reason, and the time; "" is unknown."""

    version: str
    why: str
    at: str


class Cause(NamedTuple):
    """Why a file is not accepted, and what its producer can do."""

    why: str
    hint: str = ""


class Folder:
    """One folder, for the spool with this identity. The owner must close it.

    Args:
        path: the path of the folder; used for texts, and on Windows.
        identity: the identity of the spool.
        rng: the source of random names.
        tokens: the tokens of the inbox process.
        fd: the handle of the folder, which this object closes (`opening.open_inbox`). Without a handle, this object
            opens the path without judging it.
    """

    def __init__(self, path: str, identity: str, *, rng: random.Random, tokens: Tokens, fd: int = -1) -> None:
        self.path = path
        self.identity = identity
        self._rng = rng
        self._tokens = tokens
        self._fd = fd
        if fd < 0 and sys.platform != "win32":
            self._fd = files.open_folder_in(path, at=None, to_list=True)
        self._at = self._fd if self._fd >= 0 else None
        self._mark = f".queuectl-{identity}-"
        self._claimed = re.compile(re.escape(self._mark) + rf"([0-9a-z]{{{TOKEN_CHARS}}})-(.+)", re.DOTALL)

    def close(self) -> None:
        """Close the handle."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, name: str) -> str:
        """Return the path of a file in the folder, as `disk` expects it together with the handle."""
        return name if self._at is not None else f"{self.path}{os.sep}{name}"

    def scan(self) -> Listing:
        """List the names in the folder. Raises OSError."""
        found = Listing([], [], [], {}, [], [])
        listed = files.names(self.path if self._at is None else self._at)
        if SUMMARY in listed:
            found = found._replace(has_summary=True)
        for name in listed:
            if name == SUMMARY:
                continue
            if names.opens_a_device(name):  # nothing may open it, whatever its ending
                found.foreign.append(name)
            elif name.startswith("."):
                if match := self._claimed.fullmatch(name):
                    found.claimed[match[1]] = name
                elif name.startswith(tmp := f"{self._mark}tmp-"):
                    ours = self._tokens.is_ours(name.removeprefix(tmp))
                    (found.unfinished if ours else found.foreign).append(name)
            elif names.ends_as_job(name) and not names.is_temporary(name):
                found.jobs.append(name)
            elif name.endswith(_REJECTED):
                found.rejected.append(name)
            elif name.endswith(_REJECTED + _TEXT):
                found.texts.append(name)
            elif not name.endswith(_OURS):
                found.foreign.append(name)
        found.jobs.sort()
        found.rejected.sort()
        return found

    def read(self, name: str, max_bytes: int) -> files.Content:
        """Return the content of a file. Raises the same errors as `files.read`."""
        return files.read(self.at(name), max_bytes, patience_s=sharing.GLANCE_S, at=self._at)

    # ------------------------------------------------------------------------------------------------ handing over

    def claim(self, name: str, token: str) -> str:
        """Rename a file to a name that marks it as claimed, and return that name. Raises OSError; replaces nothing."""
        claimed = f"{self._mark}{token}-{names.beside(name, room=_ROOM)}"
        sharing.check_free(self.at(name))
        self._move(name, claimed)
        return claimed

    def _move(self, name: str, target: str) -> None:
        disk.move(self.at(name), self.at(target), patience_s=sharing.GLANCE_S, at=self._at)

    def give_back(self, claimed: str) -> str:
        """Give a claimed file its own name back, or a similar one if that is taken; return the name, "" if it is gone.

        Raises:
            OSError: the file stays claimed.
        """
        match = self._claimed.fullmatch(claimed)
        name = wanted = match[2] if match is not None else claimed
        while True:
            try:
                disk.move(self.at(claimed), self.at(wanted), at=self._at)
            except FileExistsError:
                wanted = names.beside(name, f"-{names.new_token(self._rng)}", room=_ROOM)
                continue
            except FileNotFoundError:
                return ""
            return wanted

    def remove(self, name: str) -> bool:
        """Delete a file; return False if it is gone or a folder has its name. Raises OSError."""
        try:
            return disk.unlink_dropped(self.at(name), at=self._at)
        except OSError:
            if self._is_folder(name):
                return False
            raise

    def _is_folder(self, name: str) -> bool:
        return files.is_folder(self.at(name), at=self._at)

    def sync(self) -> None:
        """Fsync the folder's names, as far as its file system supports that."""
        with contextlib.suppress(OSError):
            if self._at is None:
                disk.sync_folder(self.path)
            else:
                disk.sync_open_folder(self._at)

    # --------------------------------------------------------------------------------------------- what is refused

    def reject(self, name: str, sig: files.FileSig, cause: Cause, *, now_at: float, has_text: bool = True) -> str:
        """Rename a file to NAME.rejected and write its text; return its new name, "" if the file has just changed.

        Without `has_text` the text is omitted: many exist already, and SUMMARY names this file (`put_summary`).

        The text comes first, so that a crash in between leaves a text without its file (`orphan_texts`), never a file
        without a reason. A program that has the file open can still write to it.

        Raises:
            OSError: the file is unchanged.
        """
        target = names.beside(name, room=_ROOM) + _REJECTED
        while self.sig_of(target) is not None or self._is_folder(target + _TEXT):
            target = names.beside(name, f"-{names.new_token(self._rng)}", room=_ROOM) + _REJECTED
        sharing.check_free(self.at(name))
        if self.sig_of(name) != sig:
            return ""
        if not has_text:
            self._move(name, target)
            return target
        self.put_text(target + _TEXT, _rejected_text(name, target, cause, sig, now_at))
        try:
            self._move(name, target)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(target + _TEXT)
            raise
        return target

    def put_summary(self, count: int, some: list[str], most: int, *, now_at: float) -> None:
        """Write SUMMARY: how many rejected files have no text, and why the last were rejected. Raises as `put_text`."""
        lines = [
            f"{count} rejected files here have no text of their own, because at most {most} get one (max_rejected).",
            "Each file is now called NAME.rejected. Its content is unchanged.",
            "",
            f"The most recent ones, at {times.to_text(now_at)}:",
            "",
            *(f"  {safe(each)}" for each in some),
            "",
            "To do: correct the program that writes these files, and delete the files you do not need.",
            "To send a file again, rename it to NAME. queuectl deletes this text when no such file is left.",
            "",
            "",
        ]
        self.put_text(SUMMARY, "\n".join(lines))

    def rejection(self, rejected: str) -> Rejection:
        """Read the text of a rejected file, if there is one. Any user may have written it."""
        try:
            data = files.read(self.at(rejected + _TEXT), _TEXT_MAX_BYTES, at=self._at).data
        except OSError:
            return Rejection("", "", "")
        version = re.search(rb", version (\d+-\d+-\d+)\n", data)
        why = re.search(rb"^Why: +(.*)$", data, re.MULTILINE)
        at = re.search(rb"^Rejected ([0-9TZ:.-]{20,30}),", data, re.MULTILINE)
        return Rejection(*(found[1].decode("utf-8", "replace") if found else "" for found in (version, why, at)))

    def sig_of(self, name: str) -> files.FileSig | None:
        """Return the signature of a file, None if there is none."""
        return files.sig_of(self.at(name), at=self._at)

    def take_back(self, rejected: str) -> str:
        """Rename a corrected file back and delete its text; return the name, "" if that fails."""
        name = rejected.removesuffix(_REJECTED)
        try:
            self._move(rejected, name)
        except (FileExistsError, FileNotFoundError):
            return ""
        self.forget(rejected + _TEXT)
        return name

    def orphan_texts(self, found: Listing) -> list[str]:
        """Return the texts whose rejected files are gone."""
        there = set(found.rejected)
        return [name for name in found.texts if name.removesuffix(_TEXT) not in there]

    # ------------------------------------------------------------------------------------------------------- texts

    def put_text(self, name: str, text: str) -> None:
        """Write a text in one step; it replaces any file or link of its name.

        Raises:
            NotRegularError: a folder has this name and cannot be replaced.
            OSError: no part of the text is left.
        """
        data = seal(text)
        while True:
            temporary = self.at(f"{self._mark}tmp-{self._tokens.for_texts()}")
            try:
                disk.create(temporary, data, sync=False, mode=disk.FILE_MODE, at=self._at)
                break
            except FileExistsError:  # not ours, because each poll first deletes ours
                self._tokens.renew_for_texts()
        try:
            disk.replace(temporary, self.at(name), patience_s=sharing.GLANCE_S, at=self._at)
        except OSError as error:
            with contextlib.suppress(OSError):
                disk.unlink(temporary, at=self._at)
            if self._is_folder(name):
                raise files.NotRegularError(errno.EISDIR, "a folder has this name", name) from error
            raise

    def forget(self, name: str) -> None:
        """Delete a text if it is exactly as queuectl wrote it."""
        with contextlib.suppress(OSError):
            data = files.read(self.at(name), _TEXT_MAX_BYTES, at=self._at).data
            if is_sealed(data):
                self.remove(name)


def receipt_name(name: str, ending: str) -> str:
    """Return the name of the text about a job that was dropped as `name`."""
    return names.beside(name, room=_ROOM) + ending


def is_version(sig: files.FileSig, version: str) -> bool:
    """Return whether a text is about this version of a file."""
    return version_of(sig) == version


def _rejected_text(name: str, target: str, cause: Cause, sig: files.FileSig, now_at: float) -> str:
    lines = [
        f"{safe(name)} could not become a job, so it did not run.",
        "",
        f"Why:   {safe(cause.why)}",
        *([f"To do: {safe(cause.hint)}"] if cause.hint else []),
        "",
        f"The file is now called {safe(target)}. Its content is unchanged.",
        f"To run it:    correct {safe(target)} and save it, or drop a corrected {safe(name)} here.",
        f"To delete it: delete {safe(target)}. queuectl then deletes this text.",
        "",
        f"Rejected {times.to_text(now_at)}, version {version_of(sig)}",
        "",
    ]
    return "\n".join(lines)
