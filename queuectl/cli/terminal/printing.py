"""Everything that prints. Data goes to stdout, messages to stderr; the two are judged apart.

On a terminal: tables, colour, relative ages, local time. In a pipe: tab-separated lines without a heading, nothing cut
off, UTC. Whatever comes from a job or from the disk passes `safe` on its way to a terminal, so that no command's output
and no file name can move the cursor, hide text or ring the bell.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from queuectl.errors import QueuectlError
from queuectl.model import times
from queuectl.model.text import safe as safe

_RED, _YELLOW, _DIM, _BOLD, _GREEN, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[0m"
STYLES = {"red": _RED, "yellow": _YELLOW, "dim": _DIM, "bold": _BOLD, "green": _GREEN}
NO_WORKERS = "no workers run; to start some: queuectl worker start"
_SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
_LABEL = re.compile(r" *(?:\S+ {2,})?")
_STATE_STYLES = {"running": "yellow", "done": "green", "dlq": "red", "rejected": "red", "cancelled": "yellow"}


# ---------------------------------------------------------------------------------------------------------- streams


class _Nowhere(io.TextIOBase):
    """Takes what is printed and keeps nothing of it."""

    def write(self, text: str) -> int:
        return len(text)


def prepare_streams() -> None:
    """Make sure that no character can end a command, and that lines end the same everywhere.

    A Windows pipe speaks cp1252 and lacks most characters; and with the line ends of Windows an id that a script of
    Git Bash or an `ssh` from elsewhere reads would end in a carriage return. A pool that the Task Scheduler starts has
    no streams at all (pythonw.exe): it prints to nowhere.
    """
    _fill_closed_handles()
    sys.stdout, sys.stderr = sys.stdout or _Nowhere(), sys.stderr or _Nowhere()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace", newline=None if stream.isatty() else "\n")


def _fill_closed_handles() -> None:
    """Open the null device where a standard handle is closed (`2>&-`).

    Else the next file gets its number, a lock among them, and a command's output takes the place of that file.
    """
    if os.name == "nt":
        return
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def close_streams(code: int) -> int:
    """Flush what was printed; the exit code, which is 1 where the reader has gone away."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:
        if not is_cut_off():
            raise
        silence()
        return code or 1
    return code


def is_cut_off() -> bool:
    """Whether the reader of our output has gone: what was printed last is still there, and cannot be written.

    Asked rather than told by the error: Windows reports it as EINVAL, as it does much else.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError as error:
        return error.errno in (errno.EPIPE, errno.EINVAL)
    return False


def silence(*fds: int) -> None:
    """The reader of our output (of these handles only) has gone: the rest goes nowhere, and raises nothing."""
    null_fd = os.open(os.devnull, os.O_WRONLY)
    for fd in fds or (1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether `stream` (stdout) is looked at by a person."""
    chosen = sys.stdout if stream is None else stream
    return chosen is not None and chosen.isatty()


def is_interactive() -> bool:
    """Whether a question can be asked and answered."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def has_colour(stream: TextIO | None = None) -> bool:
    """Whether `stream` (stdout) shows colours: a terminal that is not dumb, and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return False
    # An old Windows console shows escape sequences as text; those that understand them say so.
    return os.name != "nt" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM", "ConEmuANSI"))


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style where the stream shows colours."""
    return f"{STYLES[style]}{text}{_PLAIN}" if style and has_colour(stream) else text


# ------------------------------------------------------------------------------------------------------------ words


def count_of(number: int, noun: str, plural: str = "") -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def age(seconds: float) -> str:
    """Return a span for a glance, one unit: `3s`, `5m`, `2h`, `4d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def ago(instant_at: float | None, now_at: float) -> str:
    """Return how long ago an instant was or how far off it is, on a terminal; the instant itself in UTC in a pipe."""
    if instant_at is None:
        return ""
    if not is_terminal():
        return times.to_text(instant_at)
    return f"in {age(instant_at - now_at + 0.999)}" if instant_at > now_at else f"{age(now_at - instant_at)} ago"


def moment(instant_at: float) -> str:
    """Return an instant: local time on a terminal, UTC in a pipe."""
    if not is_terminal():
        return times.to_text(instant_at)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instant_at))


def pause_text(reason: str, until_at: float | None) -> str:
    """Return why the spool is paused, and until when, if that is known; safe to be printed."""
    until = f" (until {moment(until_at)})" if until_at is not None else ""
    return (safe(reason) or "the file PAUSED exists") + until


# --------------------------------------------------------------------------------------------------------- printing


def line(text: str = "") -> None:
    """One line of data to stdout. Text from a job or from the disk is `safe` before it comes here.

    On a terminal a longer one is broken between words, so that its columns stay under each other.
    """
    print(_folded(text) if is_terminal() else text)


def exact_line(text: str) -> None:
    """One line to stdout as it is, on a terminal too: a document, or what a job printed."""
    print(text)


def _folded(text: str) -> str:
    """`text` broken between words where it is wider than the terminal; a word alone is never broken: it may be a path.

    Later lines stand under the text behind the label (`paused    disk full`), else under the first word.
    """
    import shutil

    width = shutil.get_terminal_size().columns
    if len(text) <= width:
        return text
    from rich.cells import cell_len

    bare = _SEQUENCE.sub("", text)
    label = _LABEL.match(bare)
    indent = min(label.end() if label is not None else 0, width // 2)
    lines, used = [""], 0
    for word in re.split(r"(?<=\S)(?= )", text):
        size = cell_len(_SEQUENCE.sub("", word))
        if used and used + size > width:
            word = word.lstrip(" ")
            size = cell_len(_SEQUENCE.sub("", word))
            used = max(0, min(indent, width - size))
            lines.append(" " * used)
        lines[-1] += word
        used += size
    return "\n".join(lines)


def message(text: str) -> None:
    """One line for the person to stderr. Text from a job or from the disk is `safe` before it comes here."""
    if sys.stderr is not None:
        print(_folded(text) if is_terminal(sys.stderr) else text, file=sys.stderr)


def remark(text: str) -> None:
    """As `message`, from a command that goes on: where stderr takes nothing, this and all later text goes nowhere."""
    try:
        message(text)
    except (OSError, ValueError):
        give_up_streams()


def give_up_streams() -> None:
    """Send to nowhere what is printed to a stream that takes nothing (a full disk, a reader that has gone)."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(fd)


def warning(text: str) -> None:
    """Something to look at that stops nothing, to stderr."""
    message(f"{paint('warning:', 'yellow', sys.stderr)} {safe(text)}")


def error(problem: QueuectlError) -> None:
    """What happened, why, and what to do about it, to stderr."""
    what, cause = str(problem), problem.cause
    mistakes = problem.mistakes
    if len(mistakes) > 1 and mistakes[0] in what:
        # Each on a line of its own, behind what comes before all of them: the file, or which job.
        head = what.partition(mistakes[0])[0]
        what, cause = f"{head}{len(mistakes)} mistakes", "\n".join(mistakes)
        if str(problem).endswith("; and more"):
            what, cause = f"{head}more than {len(mistakes)} mistakes", f"{cause}\n..."
    for label, text in (("error:", what), ("cause:", cause), ("hint:", problem.hint)):
        if text:
            # A cause may show a place in a text with a mark under it: further lines stand below the first.
            first, *rest = text.split("\n")
            message(f"{paint(label, 'red' if label == 'error:' else 'bold', sys.stderr)} {safe(first)}")
            for part in rest:
                message(" " * (len(label) + 1) + safe(part))


def print_json(value: Any) -> None:
    """One JSON document to stdout, safe in every encoding and on every terminal."""
    exact_line(json.dumps(value, indent=1, ensure_ascii=True))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, known: Callable[[], Iterable[str]] | None = None
) -> None:
    """Rows of text: a table on a terminal, tab-separated lines without the heading in a pipe. Makes each cell safe.

    `known` gives all ids (or names) that there are; then those in the first column of their kind are shortened on a
    narrow terminal to what is unique among them.
    """
    if not is_terminal():
        for row in rows:
            line("\t".join(safe(cell) for cell in row))
        return
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from queuectl.cli.terminal import columns

    cells = [[safe(cell) for cell in row] for row in rows]
    console = Console(highlight=False, emoji=False, markup=False, color_system="auto" if has_colour() else None)
    sizes = [[cell_len(cell) for cell in row] for row in cells]
    widths = columns.fit(headers, sizes, console.width)
    names_at = next((place for place, header in enumerate(headers) if header in ("ID", "FILE")), -1)
    chars = 0
    if known is not None and any(row[names_at] > widths[names_at] for row in sizes):
        chars = columns.unique_chars((row[names_at] for row in rows), known())
        widths = columns.fit(headers, sizes, console.width, name_chars=chars)
    made = Table(box=None, pad_edge=False, padding=(0, columns.GAP, 0, 0), header_style="bold")
    for place, width in widths.items():
        made.add_column(headers[place], no_wrap=True, overflow="ellipsis", width=width)
    for row in cells:
        made.add_row(
            *(
                # The beginning of an id, as every command takes it: no mark behind it that would be copied too.
                Text(set_cell_size(row[place], width))
                if place == names_at and 0 < chars <= width
                else Text(row[place], style=_STATE_STYLES.get(row[place], ""))
                for place, width in widths.items()
            )
        )
    console.print(made)
