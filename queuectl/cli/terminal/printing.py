"""Prints data to standard output and messages to standard error. Each of them may be a terminal or a pipe.

On a terminal: tables, colour, relative ages, local time. In a pipe: tab-separated lines without a heading, nothing cut
off, UTC. Text from a job or from the disk passes `safe` on its way to a terminal, so that no command's output and no
file name can move the cursor, hide text or ring the bell.
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
from typing import TYPE_CHECKING, Any, TextIO

from queuectl.errors import QueuectlError
from queuectl.model import times
from queuectl.model.text import safe as safe

if TYPE_CHECKING:
    from queuectl.monitor.rows import WorkerRow

_RED, _YELLOW, _DIM, _BOLD, _GREEN, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[1m", "\x1b[32m", "\x1b[0m"
STYLES = {"red": _RED, "yellow": _YELLOW, "dim": _DIM, "bold": _BOLD, "green": _GREEN}
NO_WORKERS = "no workers are running; to start some: queuectl worker start"
_SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
_LABEL = re.compile(r" *(?:\S+ {2,})?")
_STATE_STYLES = {"running": "yellow", "done": "green", "dlq": "red", "rejected": "red", "cancelled": "yellow"}


# ---------------------------------------------------------------------------------------------------------- streams


class _Nowhere(io.TextIOBase):
    """Discards everything that is written to it."""

    def write(self, text: str) -> int:
        return len(text)


def prepare_streams() -> None:
    """Make every character printable, and use the same line ends everywhere.

    A Windows pipe has the encoding cp1252, which lacks most characters. With Windows line ends, an id would end in a
    carriage return for a script in Git Bash or over `ssh`. A pool of the Task Scheduler has no streams at all
    (pythonw.exe): its output is discarded.
    """
    _fill_closed_handles()
    sys.stdout, sys.stderr = sys.stdout or _Nowhere(), sys.stderr or _Nowhere()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace", newline=None if stream.isatty() else "\n")


def _fill_closed_handles() -> None:
    """Open the null device for each closed standard handle (`2>&-`).

    Otherwise the next file, such as a lock, gets its number, and a command's output goes into that file.
    """
    if os.name == "nt":
        return
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def close_streams(code: int) -> int:
    """Flush the output and return the exit code, which is 1 if the reader has gone and `code` is 0."""
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
    """Return whether the reader of our output has gone, by flushing the output again.

    The original error does not show this: Windows reports it as EINVAL, like many other errors.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except OSError as error:
        return error.errno in (errno.EPIPE, errno.EINVAL)
    return False


def silence(*fds: int) -> None:
    """Discard all further output (of these handles only), because its reader has gone."""
    null_fd = os.open(os.devnull, os.O_WRONLY)
    for fd in fds or (1, 2):
        os.dup2(null_fd, fd)
    os.close(null_fd)


def is_terminal(stream: TextIO | None = None) -> bool:
    """Return whether `stream` (standard output) is a terminal."""
    chosen = sys.stdout if stream is None else stream
    return chosen is not None and chosen.isatty()


def is_interactive() -> bool:
    """Return whether a person can see and answer a question."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def has_colour(stream: TextIO | None = None) -> bool:
    """Return whether `stream` (standard output) shows colours: the terminal is not dumb, and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return False
    # An old Windows console shows escape sequences as text; newer terminals set one of these variables.
    return os.name != "nt" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM", "ConEmuANSI"))


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """Return `text` in a style if the stream shows colours."""
    return f"{STYLES[style]}{text}{_PLAIN}" if style and has_colour(stream) else text


# ------------------------------------------------------------------------------------------------------------ words


def count_of(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 job`, `2 jobs`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def worker_text(worker: WorkerRow) -> str:
    """Return what a worker process does: `2 of 4 slots used, process 4711`."""
    ends = ", ends after its jobs" if worker.is_ending else ""
    return f"{worker.used} of {count_of(worker.slots, 'slot')} used, process {worker.pid}{ends}"


def age(seconds: float) -> str:
    """Return a rounded time span with one unit: `3s`, `5m`, `2h`, `4d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def ago(instant_at: float | None, now_at: float) -> str:
    """Return the time since or until an instant on a terminal, and the instant itself in UTC in a pipe."""
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
    """Return why the spool is paused, and until when if that is known; safe to print."""
    until = f" (until {moment(until_at)})" if until_at is not None else ""
    return (safe(reason) or "the file PAUSED exists") + until


# --------------------------------------------------------------------------------------------------------- printing


def line(text: str = "") -> None:
    """Print a line of data to standard output. The caller passes text from a job or from the disk through `safe`.

    A terminal gets a long line broken between words, with its columns aligned.
    """
    print(_folded(text) if is_terminal() else text)


def exact_line(text: str) -> None:
    """Print a line unchanged to standard output, also on a terminal: a document, or the output of a job."""
    print(text)


def _folded(text: str) -> str:
    """Return `text` broken between words if it is wider than the terminal. Never break a word: it may be a path.

    Later lines are aligned with the text after the label (`paused    disk full`), else with the first word.
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
    """Print a line to standard error. The caller passes text from a job or from the disk through `safe`."""
    if sys.stderr is not None:
        print(_folded(text) if is_terminal(sys.stderr) else text, file=sys.stderr)


def exact_message(text: str) -> None:
    """Print a text unchanged to standard error, also on a terminal: its lines are already laid out."""
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def remark(text: str) -> None:
    """Print a message from a command that continues: if that fails, discard this and all later messages."""
    try:
        message(text)
    except (OSError, ValueError):
        give_up_streams()


def give_up_streams() -> None:
    """Discard further output of each stream that cannot be written (a full disk, a reader that has gone)."""
    for stream, fd in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            silence(fd)


def warning(text: str) -> None:
    """Print a warning to standard error."""
    message(f"{paint('warning:', 'yellow', sys.stderr)} {safe(text)}")


def error(problem: QueuectlError) -> None:
    """Print an error, its cause and a hint to standard error."""
    what, cause = str(problem), problem.cause
    mistakes = problem.mistakes
    if len(mistakes) > 1 and mistakes[0] in what:
        # Print each mistake on its own line, after their common beginning: the file or the job.
        head = what.partition(mistakes[0])[0]
        what, cause = f"{head}{len(mistakes)} mistakes", "\n".join(mistakes)
        if str(problem).endswith("; and more"):
            what, cause = f"{head}more than {len(mistakes)} mistakes", f"{cause}\n..."
    for label, text in (("error:", what), ("cause:", cause), ("hint:", problem.hint)):
        if text:
            # A cause may show a place in a text with a mark below it: align its lines.
            first, *rest = text.split("\n")
            message(f"{paint(label, 'red' if label == 'error:' else 'bold', sys.stderr)} {safe(first)}")
            for part in rest:
                message(" " * (len(label) + 1) + safe(part))


def print_json(value: Any) -> None:
    """Print a JSON document to standard output, safe in every encoding and on every terminal."""
    exact_line(json.dumps(value, indent=1, ensure_ascii=True))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, known: Callable[[], Iterable[str]] | None = None
) -> None:
    """Print rows: a table on a terminal, tab-separated lines without a heading in a pipe. Make each cell safe.

    `known` returns all ids (or names). With it, a narrow terminal shows ids shortened to a unique beginning.
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
                # Every command accepts a shortened id. Show no ellipsis, because people would copy it.
                Text(set_cell_size(row[place], width))
                if place == names_at and 0 < chars <= width
                else Text(row[place], style=_STATE_STYLES.get(row[place], ""))
                for place, width in widths.items()
            )
        )
    console.print(made)
