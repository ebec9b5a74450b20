"""Files in rejected/ and the text beside each, NAME.reason.txt: written and read here only (P6).

The text is for a person, but two facts are read from it again: why the file was rejected, and which version of the
file that was. So a later version can be judged anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from queuectl.model import names, times
from queuectl.model.lifecycle import PENDING, REJECTED
from queuectl.model.text import safe
from queuectl.spool.layout import REASON_ENDING, Layout
from queuectl.spool.session import Session
from queuectl.system import disk, files

NEW = "new"
"""The version of a file that was never anywhere else."""

_MAX_BYTES = 64 * 1024
# The last line of a text, which says when and of which version it is, is shorter than this.
_LAST_LINE_BYTES = 200


class Reason(NamedTuple):
    """Why a file is in rejected/, what a person can do about it, and which version of the file it was."""

    why: str
    hint: str = ""
    version: str = NEW


class Written(NamedTuple):
    """What the text beside a rejected file says: why, and since when (None if it does not say)."""

    why: str
    rejected_at: float | None


def version_of(sig: files.FileSig) -> str:
    """Return a signature as a text. A rename changes neither inode nor size nor time."""
    return f"{sig.inode}-{sig.size}-{sig.mtime_ns}"


def text_of(name: str, reason: Reason, *, now_at: float) -> str:
    """Return the text beside a rejected file. What others wrote in it is made safe to be looked at."""
    lines = [
        f"{safe(name)} was put aside here; nothing in this folder is run.",
        "",
        f"Why:   {safe(reason.why)}",
        *([f"To do: {safe(reason.hint)}"] if reason.hint else []),
        "",
        f"Nothing was changed in the file. Correct it and move it back to {PENDING}/;",
        "if it changes here into a valid job, it is moved back by itself. Delete both files if it is not wanted.",
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
    """Return the version that the text beside a rejected file is about, "" if it does not say. Raises OSError."""
    text = files.read_tail(spool.reason_path(name), _LAST_LINE_BYTES).decode("utf-8", "replace")
    _, found, version = text.strip().rpartition(", version ")
    return version if found else ""


def keep_copy(session: Session, name: str, data: bytes, reason: Reason) -> str:
    """Keep `data` in rejected/ beside a text that says why; return the name it has there. Raises OSError."""

    def place(target: str) -> None:
        # A crash in the middle of a write must not leave half of a file there.
        session.spool.publish_file(target, data, hint="kept", sync=False)

    return keep(session, name, reason, place)


def keep(session: Session, name: str, reason: Reason, place: Callable[[str], None]) -> str:
    """Write the text of a file, then have `place` put the file beside it; return the name that both have.

    A crash between the two leaves a text without its file, never a file without a reason. If the name is taken, both
    get another (P7).

    Raises:
        OSError: what `place` raised, or the text could not be written; the text is taken away again.
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
