"""Files in rejected/ and the text beside each, NAME.reason.txt: only this module writes and reads it (P6).

The text is for a person, but `read` and `read_version` take two facts from it: why the file was rejected, and which
version of the file that was. So queuectl can judge a later version again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from queuectl.model import names, times
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.model.text import safe
from queuectl.spool.layout import REASON_ENDING, Layout
from queuectl.spool.session import Session
from queuectl.system import disk, files

NEW = "new"
"""The version of a file that was created in rejected/."""

_MAX_BYTES = 64 * 1024
# Names that every shell reads as one word. A text shows no command with another name, which a person might paste.
_PLAIN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.,=-]*")
# The last line of a text, with the time and the version, is shorter than this.
_LAST_LINE_BYTES = 200


class Reason(NamedTuple):
    """Why a file is in rejected/, what a person can do about it, and which version of the file it was."""

    why: str
    hint: str = ""
    version: str = NEW


class Written(NamedTuple):
    """What the text beside a rejected file says: the reason, and the time (None if it has none)."""

    why: str
    rejected_at: float | None


def version_of(sig: files.FileSig) -> str:
    """Return a signature as text. A rename changes neither inode nor size nor time."""
    return f"{sig.inode}-{sig.size}-{sig.mtime_ns}"


def text_of(name: str, reason: Reason, *, now_at: float) -> str:
    """Return the text beside a rejected file. Text from others in it is made safe to display."""
    shown = safe(name)
    word = shown if _PLAIN.fullmatch(shown) else "NAME"
    lines = [
        f"{shown}: queuectl put this file aside. Files in this folder never run.",
        "",
        f"Why:   {safe(reason.why)}",
        *([f"To do: {safe(reason.hint)}"] if reason.hint else []),
        "",
        "The file is unchanged.",
        f"To run it:    correct it and drag it to {PENDING}/ (or: queuectl rejected retry {word}).",
        "              If you correct it here, a running pool moves it back automatically.",
        f"To delete it: delete both files (or: queuectl rejected purge {word}).",
        "",
        f"Rejected {times.to_text(now_at)}, version {reason.version}",
        "",
    ]
    return "\n".join(lines)


def read(spool: Layout, name: str) -> Written:
    """Return what the text beside a rejected file says. Raises OSError, FileNotFoundError if there is none."""
    text = files.read(spool.reason_path(name), _MAX_BYTES).data.decode("utf-8", "replace")
    found = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in reversed(text.split("\n"))}
    return Written(found.get("Why:", ""), times.instant(found.get("Rejected", "").partition(",")[0]))


def read_version(spool: Layout, name: str) -> str:
    """Return the version that the text beside a rejected file names, "" if it names none. Raises OSError."""
    text = files.read_tail(spool.reason_path(name), _LAST_LINE_BYTES).decode("utf-8", "replace")
    _, found, version = text.strip().rpartition(", version ")
    return version if found else ""


def keep_copy(session: Session, name: str, data: bytes, reason: Reason) -> str:
    """Keep `data` in rejected/ beside a text that gives the reason; return its name there. Raises OSError."""

    def place(target: str) -> None:
        # A crash in the middle of a write must not leave half of a file there.
        session.spool.publish_file(target, data, hint="kept", sync=False)

    return keep(session, name, reason, place)


def keep(session: Session, name: str, reason: Reason, place: Callable[[str], None]) -> str:
    """Write the text of a file, then call `place` to put the file there; return the name of both.

    A crash between the two leaves a text without its file, never a file without a reason. If the name is taken, both
    get another name (P7).

    Raises:
        OSError: `place` raised it, or the text could not be written; the text is deleted again.
    """
    spool, _, clock, rng = session
    wanted = names.beside(name, room=len(REASON_ENDING))
    while True:
        try:
            data = text_of(wanted, reason, now_at=clock.now()).encode("utf-8", "replace")
            disk.create(spool.reason_path(wanted), data, sync=False, mode=spool.file_mode)
        except FileExistsError:
            wanted = names.beside(name, f"-{names.new_token(rng)}", room=len(REASON_ENDING))
            continue
        try:
            place(spool.path(REJECTED, wanted))
        except OSError as error:
            disk.unlink(spool.reason_path(wanted))
            if not isinstance(error, FileExistsError):
                raise
            wanted = names.beside(name, f"-{names.new_token(rng)}", room=len(REASON_ENDING))
            continue
        return wanted
