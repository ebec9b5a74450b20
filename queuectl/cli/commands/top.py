"""`queuectl top`: the queue live on the whole screen, and keys that act on it.

One loop: look at the spool in small steps (`survey`), draw (`screen`), read keys (`keys`). What may take long, such as
ending a running job, is done in a thread of its own, so that the screen goes on. `stage` has the terminal.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from queuectl.cli import context, exit_codes, group, rows
from queuectl.cli.exit_codes import WrongUsageError
from queuectl.cli.terminal import printing
from queuectl.errors import QueuectlError
from queuectl.model.lifecycle import DLQ, DONE

if TYPE_CHECKING:
    from rich.text import Text

    from queuectl.cli.commands.top_screen import Log, Row
    from queuectl.cli.terminal.stage import Stage
    from queuectl.monitor.snapshot import Snapshot
    from queuectl.monitor.steps import Steps
    from queuectl.spool.folder import SpoolDir

app = group.new_app()

_LEAST_EVERY_S = 0.1
# A key, another size of the window and the clock are seen within this.
_TICK_S = 0.2
# Looking goes on this long at a time; between, a key is read and the screen drawn.
_LOOK_S = 0.05
# Of the time, looking takes at most one part in this many; in more where no file came or went meanwhile.
_REST_PARTS, _IDLE_PARTS = 5, 20
_MESSAGE_S = 8.0
_NEXT_ROWS = 50
_LOG_BYTES = 64 * 1024
_PAGE_ROWS = 10
_STEPS = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -_PAGE_ROWS, "page down": _PAGE_ROWS}
_ENDS = {"home": 0, "g": 0, "end": -1, "G": -1}


@app.command()
def top(
    every: Annotated[str, typer.Option(metavar="TIME", help="Look again this often: 500ms, 5s.")] = "1s",
) -> None:
    """Example: queuectl top

    Watch the queue live, and act on it by single keys. Shown are the counts, the workers, what runs, what runs next,
    and the newest dead and cancelled jobs. Keys: arrows select a job, Enter shows what it prints, c cancels it, r runs
    one that has ended again, p pauses and resumes, ? is help, q quits. In a pipe it prints what `queuectl status`
    prints, once.
    """
    every_s = rows.duration(every, "--every")
    if every_s < _LEAST_EVERY_S:
        raise WrongUsageError(f"--every: {every} is too often", hint="write 1s, or 100ms at least")
    spool = context.open_dir()
    if not _is_screen():
        from queuectl.cli.commands.status import print_text
        from queuectl.monitor.status import collect

        print_text(collect(spool, now_at=time.time()))
        return
    from queuectl.cli.terminal.keys import TerminalGoneError
    from queuectl.cli.terminal.stage import Killed, Stage

    try:
        with Stage() as stage:
            _Top(spool, stage, every_s).run()
    except Killed as killed:
        signal.signal(killed.signum, signal.SIG_DFL)
        signal.raise_signal(killed.signum)
    except TerminalGoneError:
        printing.silence()
        raise typer.Exit(exit_codes.FAILURE) from None


def _is_screen() -> bool:
    """Whether there is a screen to draw on and a person with keys."""
    return printing.is_terminal() and printing.is_terminal(sys.stdin) and os.environ.get("TERM") != "dumb"


class _Top:
    """What is shown and selected, and what a key does."""

    def __init__(self, spool: SpoolDir, stage: Stage, every_s: float) -> None:
        from queuectl.monitor.survey import Survey

        self._spool = spool
        self._stage = stage
        self._every_s = every_s
        self._survey = Survey(spool, is_full=True, next_rows=_NEXT_ROWS)
        self._steps: Steps[Snapshot] | None = None
        self._found: Snapshot | None = None
        self._began_s = self._looked_s = self._took_s = 0.0
        self._marks: object = None
        self._rows: list[Row] = []
        self._selected = ""
        self._place = 0
        self._message, self._message_until_s = "", 0.0
        self._question: tuple[str, Callable[[], None]] | None = None
        self._log_id = ""
        self._log: Log | None = None
        self._log_at_s = 0.0
        self._is_help = False
        self._is_over = False
        self._task: threading.Thread | None = None
        self._told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> None:
        """Until q. Raises OSError if the spool cannot be read at all."""
        while not self._is_over:
            self._look()
            with contextlib.suppress(queue.Empty):
                self._say(self._told.get_nowait())
                self._looked_s = 0.0  # what was done shows at once
            self._stage.show(self._lines())
            for key in self._stage.keys(0.0 if self._steps is not None else _TICK_S):
                self._press(key)

    # -------------------------------------------------------------------------------------------------- looking

    def _look(self) -> None:
        """Go on with looking, for a moment; of a log that is shown only that is read."""
        now_s = time.monotonic()
        if self._log_id:
            if now_s - self._log_at_s >= self._every_s:
                self._log_at_s, self._log = now_s, self._read_log()
            return
        try:
            if self._steps is None:
                if not self._is_due(now_s):
                    return
                self._marks, self._began_s = self._survey.marks(), now_s
                self._steps = self._survey.take(time.time())
            while time.monotonic() < now_s + _LOOK_S:
                next(self._steps)
        except StopIteration as end:
            self._take(end.value)
        except OSError as error:
            if self._found is None:
                raise
            self._steps, self._looked_s = None, time.monotonic()
            self._say(f"the spool cannot be read: {error}")

    def _is_due(self, now_s: float) -> bool:
        parts = _REST_PARTS if self._survey.marks() != self._marks else _IDLE_PARTS
        return self._looked_s == 0.0 or now_s - self._looked_s >= max(self._every_s, parts * self._took_s)

    def _take(self, found: Snapshot) -> None:
        from queuectl.cli.commands.top_screen import rows_of

        self._steps, self._found = None, found
        self._looked_s = time.monotonic()
        self._took_s = self._looked_s - self._began_s
        self._rows = rows_of(found)
        place = next((number for number, row in enumerate(self._rows) if row.id == self._selected), self._place)
        self._select(place)

    def _read_log(self) -> Log:
        from queuectl.api import Spool
        from queuectl.cli.commands.top_screen import Log
        from queuectl.model.text import printed_lines
        from queuectl.monitor import logs

        try:
            found = logs.glimpse(Spool(self._spool.root).session, self._log_id, _LOG_BYTES)
        except (QueuectlError, OSError) as error:
            return Log(self._log_id, str(error), [])
        if not found.attempt:
            return Log(self._log_id, f"{found.state}, has not run yet", [])
        title = f"{found.state}, run {found.attempt}" + ("" if found.data else ": printed nothing")
        lines = printed_lines(found.data.rstrip(b"\r\n"), is_cut=len(found.data) == _LOG_BYTES)
        return Log(self._log_id, title, lines)

    # -------------------------------------------------------------------------------------------------- drawing

    def _lines(self) -> list[Text]:
        from rich.text import Text

        from queuectl.cli.commands import top_screen

        width, height = self._stage.size()
        if self._is_help:
            return top_screen.help_lines(width=width, height=height)
        if self._log is not None and self._log_id:
            return top_screen.log_lines(self._log, width=width, height=height)
        if self._found is None:
            return [Text("looking ...")]
        if self._message and time.monotonic() >= self._message_until_s:
            self._message = ""
        view = top_screen.View(
            selected=self._selected,
            message=self._question[0] if self._question is not None else self._message,
            clock=time.strftime("%H:%M:%S"),
        )
        return top_screen.queue_lines(self._found, time.time(), view, width=width, height=height)

    def _say(self, text: str) -> None:
        self._message, self._message_until_s = text, time.monotonic() + _MESSAGE_S

    # ----------------------------------------------------------------------------------------------------- keys

    def _press(self, key: str) -> None:
        self._message = ""
        if self._question is not None:
            (_, action), self._question = self._question, None
            if key in ("y", "Y"):
                action()
            else:
                self._say("nothing was changed")
        elif self._is_help:
            self._is_help = False
        elif self._log_id:
            if key in ("q", "escape", "left", "enter", "l"):
                self._log_id, self._log = "", None
        elif key in _STEPS:
            self._select(self._place + _STEPS[key])
        elif key in _ENDS:
            self._select(_ENDS[key] % max(1, len(self._rows)))
        else:
            self._act(key)

    def _act(self, key: str) -> None:
        row = self._rows[self._place] if self._rows else None
        if key == "q":
            self._is_over = True
        elif key in ("?", "h"):
            self._is_help = True
        elif key == "p":
            self._pause_or_resume()
        elif key in ("enter", "l", "right", "c", "r"):
            if row is None:
                self._say("no job is selected")
            elif key == "c":
                self._cancel(row)
            elif key == "r":
                self._retry(row)
            else:
                self._log_id, self._log_at_s = row.id, 0.0

    def _select(self, place: int) -> None:
        self._place = min(max(0, place), max(0, len(self._rows) - 1))
        self._selected = self._rows[self._place].id if self._rows else ""

    # -------------------------------------------------------------------------------------------------- actions

    def _pause_or_resume(self) -> None:
        from queuectl.api import Spool

        def change() -> str:
            spool = Spool(self._spool.root)
            if spool.resume():
                return "working again"
            spool.pause("by `queuectl top`")
            return "paused: nothing new is started; p resumes"

        self._do("...", change)

    def _cancel(self, row: Row) -> None:
        from queuectl.api import Spool

        if row.state in (DLQ, DONE):
            self._say("it has ended already; r runs it again")
            return

        def end() -> str:
            spool = Spool(self._spool.root)
            job = spool.cancel(spool.resolve(row.id), by="top")
            return f"{job.id} is cancelled: it lies in dlq/"

        self._question = (f"cancel {row.id}? y/n", lambda: self._do(f"cancelling {row.id} ...", end))

    def _retry(self, row: Row) -> None:
        from queuectl.api import Spool

        if row.state != DLQ:
            self._say("only a dead or cancelled job can be run again")
            return

        def again() -> str:
            spool = Spool(self._spool.root)
            return f"{spool.requeue(spool.resolve(row.id), by='top').id} waits in pending/ again"

        self._do(f"{row.id} ...", again)

    def _do(self, words: str, action: Callable[[], str]) -> None:
        """Do it beside the screen; what came of it is said when it is known."""
        if self._task is not None and self._task.is_alive():
            self._say("one thing after the other: the last one is not done yet")
            return

        def work() -> None:
            try:
                self._told.put(action())
            except QueuectlError as error:
                self._told.put(f"{error}; {error.hint}" if error.hint else str(error))
            except OSError as error:
                self._told.put(str(error))

        self._say(words)
        self._task = threading.Thread(target=work, daemon=True)
        self._task.start()
