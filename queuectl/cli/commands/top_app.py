"""The app of `queuectl top`: what is shown and selected, and what a key does.

Looking at the spool (`top_look`) and actions that may take long, such as ending a running job, have threads of their
own, so that the screen goes on. They report by messages. `top_rows`, `top_facts` and `top_head` make the words,
`top_widgets` has the parts of the screen. Nothing here moves: animations would cost time of a processor that belongs to
the jobs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

from rich.text import Text
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.driver import Driver
from textual.widget import Widget
from textual.widgets import DataTable, Footer, Input, Static

from queuectl.api import Spool
from queuectl.cli.commands import top_actions, top_head, top_rows
from queuectl.cli.commands.top_look import Looker
from queuectl.cli.commands.top_missed import Missed
from queuectl.cli.commands.top_rows import Row, View
from queuectl.cli.commands.top_widgets import KEYS, THEMES, Acted, Ask, Help, JobTable, LogScreen, Looked, theme
from queuectl.cli.terminal.printing import safe
from queuectl.errors import QueuectlError
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.survey import Survey
from queuectl.spool.folder import SpoolDir

_NEXT_ROWS = 50
_MESSAGE_S = 8.0
_TICK_S = 1.0


class TopApp(App[int]):
    """The queue on the whole screen."""

    AUTO_FOCUS = ""
    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "top.tcss"
    BINDINGS = KEYS

    def __init__(self, spool: SpoolDir, every_s: float, driver_class: type[Driver] | None = None) -> None:
        is_plain = bool(os.environ.get("NO_COLOR"))
        super().__init__(driver_class=driver_class, ansi_color=True if is_plain else None)
        self.animation_level = "none"
        self.theme = theme(has_few_colours=is_plain or self.console.color_system in (None, "standard", "windows"))
        self.set_class(is_plain, "plain")
        self.killed = 0
        """The signal that ended it, or 0."""
        self.failed: BaseException | None = None
        """What ended it, or None."""
        self._spool = spool
        self._every_s = every_s
        self._looker = Looker(Survey(spool, is_full=True, next_rows=_NEXT_ROWS), every_s, self._report)
        self._found: Snapshot | None = None
        self._missed = Missed()
        self._view = View()
        self._zoomed = ""
        self._head_lines = 0
        self._drawn_s = 0.0
        self._message_until_s = 0.0
        self._acting: threading.Thread | None = None

    # ---------------------------------------------------------------------------------------------- the parts

    def compose(self) -> ComposeResult:
        """Place the parts of the screen."""
        yield Static("looking ...", id="head", markup=False)
        with Vertical(id="groups"):
            for state in top_rows.STATES:
                yield JobTable(state)
        yield Static(id="message", markup=False)
        yield Input(
            id="filter", placeholder="filter by id, command or reason; Esc shows all", compact=True, disabled=True
        )
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Begin to look."""
        self._looker.start()
        if self.killed:  # before there was a loop to end
            self.exit()
        # After Ctrl-Z and `fg` the screen of the terminal is empty.
        self.app_resume_signal.subscribe(self, lambda _app: self.refresh(layout=True))
        self.set_interval(_TICK_S, self._tick)

    def on_unmount(self) -> None:
        """Stop looking."""
        self._looker.stop()

    @property
    def has_looked(self) -> bool:
        """Whether something of the spool is shown."""
        return self._found is not None

    def end_by(self, signum: int) -> None:
        """End because of a signal; may be called from a signal handler."""
        self.killed = signum
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.exit)

    def _fatal_error(self) -> None:
        """End without Textual's own traceback, which shows texts of jobs: whoever ran the app raises the error."""
        self.failed = self._exception
        self._close_messages_no_wait()

    # ----------------------------------------------------------------------------------------------- looking

    def _report(self, found: Snapshot | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the app has ended meanwhile
            self.post_message(Looked(found))

    def on_looked(self, event: Looked) -> None:
        """Show what was found."""
        found = event.found
        if isinstance(found, Snapshot):
            before, self._found = self._found, found
            self._missed.looked()
            self._draw()
            if before is None or (before.paused is None) != (found.paused is None):
                self.refresh_bindings()
        elif isinstance(found, OSError) and self._found is not None:
            self.say(f"the spool cannot be read: {found}")
        else:
            self._fail(found)

    def _fail(self, error: BaseException) -> None:
        """End with an error, which whoever ran the app raises."""
        self.failed = error
        self.exit()

    def _tick(self) -> None:
        """Let the clock and the ages go on."""
        if self._message_until_s and time.monotonic() >= self._message_until_s:
            self._end_message()
        if time.monotonic() - self._drawn_s > _TICK_S / 2:
            self._draw()

    def on_job_table_scrolled(self) -> None:
        """Draw what has come into view."""
        self._draw()

    def on_resize(self) -> None:
        """Use the new size."""
        self._draw()

    def _draw(self) -> None:
        found = self._found
        if found is None or not self._is_up():
            return
        self._drawn_s = time.monotonic()
        main = self.screen_stack[0]
        columns, lines = self.size
        now_at = time.time()
        shown = top_rows.groups(found, self._view)
        top = top_head.head(found, columns=columns, clock=time.strftime("%H:%M:%S"))
        head = main.query_one("#head", Static)
        if len(top) != self._head_lines:  # another height lays out the whole screen anew
            self._head_lines = head.styles.height = len(top)
        head.update(Text("\n").join(top), layout=False)
        counts = {state: len(group.rows) for state, group in shown.items() if self._zoomed in ("", state)}
        heights = top_rows.heights(counts, lines - len(top) - 1)
        room = top_rows.widths(shown.values(), columns)
        chosen = self._table()
        before = chosen.selected if chosen is not None else None
        is_paused = found.paused is not None
        for table in main.query(JobTable):
            group = shown[table.state]
            table.show_group(group, room, lambda row: top_rows.cells(row, now_at, room, is_paused=is_paused))
            height = heights.get(table.state, 0)
            table.display = height > 0
            table.styles.height = max(1, height)
        self._keep_selected(chosen, before)

    def _is_up(self) -> bool:
        """Whether there is a screen: before the app ends, its parts are taken away while messages still come."""
        return bool(self.screen_stack) and len(self.screen_stack[0].query("#head, #message, #filter, Footer")) == 4

    def _keep_selected(self, chosen: JobTable | None, before: Row | None) -> None:
        """Go with the selected job to another group; else stay; else go to a group that is shown."""
        if chosen is not None and before is not None and chosen.place_of(before.name) is None:
            self._missed.note(before.name)
        elif chosen is not None:
            self._missed.selected("" if before is None else before.name)
        if self._missed.name and self._go_to(self._missed.name):
            self._missed.note("")
            return
        if isinstance(self.screen_stack[0].focused, Input):
            return
        tables = self._tables()
        if tables and (chosen is None or chosen not in tables):
            self._focus(tables[0])
        row = table.selected if (table := self._table()) is not None else None
        self._missed.stays_at("" if row is None else row.name)

    def _go_to(self, name: str) -> bool:
        """Select a job, if it is in a group that is shown."""
        for table in self._tables():
            place = table.place_of(name)
            if place is not None:
                table.move_cursor(row=place)
                self._focus(table)
                return True
        return False

    def _tables(self) -> list[JobTable]:
        return [table for table in self.screen_stack[0].query(JobTable) if table.display]

    def _table(self) -> JobTable | None:
        """The table with the selected row."""
        found = self.screen_stack[0].focused
        return found if isinstance(found, JobTable) else None

    def _focus(self, widget: Widget) -> None:
        """Send the next key there. `Widget.focus` would do so later, and a key may come before."""
        self.screen_stack[0].set_focus(widget)

    def on_job_table_left(self, event: JobTable.Left) -> None:
        """Go on with the next group."""
        tables, table = self._tables(), self._table()
        place = tables.index(table) + event.step if table in tables else 0
        if 0 <= place < len(tables):
            tables[place].move_cursor(row=0 if event.step > 0 else tables[place].row_count - 1)
            self._focus(tables[place])

    # ---------------------------------------------------------------------------------------------- messages

    def say(self, text: str) -> None:
        """Show a message in the place of the keys, for a while."""
        if not self._is_up():
            return
        message = self.screen_stack[0].query_one("#message", Static)
        message.update(Content(safe(text)))
        message.display = True
        self._message_until_s = time.monotonic() + _MESSAGE_S
        self._show_keys()

    def _end_message(self) -> None:
        self._message_until_s = 0.0
        if not self._is_up():
            return
        self.screen_stack[0].query_one("#message", Static).display = False
        self._show_keys()

    def _show_keys(self) -> None:
        main = self.screen_stack[0]
        others = (main.query_one("#message", Static), main.query_one("#filter", Input))
        main.query_one(Footer).display = not any(other.display for other in others)

    def on_acted(self, event: Acted) -> None:
        """Show what an action has done, and look at once."""
        self.say(event.text)
        self._looker.look_now()

    # -------------------------------------------------------------------------------------------------- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer p as pause or as resume, and what acts on a job only where it is selected."""
        if len(self.screen_stack) > 1 and action not in ("interrupt", "suspend_process", "theme", "help"):
            return False
        is_paused = self._found is not None and self._found.paused is not None
        if action in ("pause", "resume"):
            return is_paused == (action == "resume")
        return True

    def action_leave(self) -> None:
        """Quit."""
        self.exit()

    def action_interrupt(self) -> None:
        """Quit as every command does after Ctrl-C."""
        self._fail(KeyboardInterrupt())

    def action_help(self) -> None:
        """Show the help."""
        self.push_screen(Help())

    def action_theme(self) -> None:
        """Use the next colours."""
        self.theme = THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)]
        self.say(f"theme: {self.theme}")

    def action_sort(self) -> None:
        """Sort in the next way."""
        sort = top_rows.SORTS[(top_rows.SORTS.index(self._view.sort) + 1) % len(top_rows.SORTS)]
        self._view = self._view._replace(sort=sort)
        self.say(f"sorted by {sort}" if sort else "default order")
        self._draw()

    def action_zoom(self) -> None:
        """Show one group, or all."""
        table = self._table()
        self._zoomed = "" if self._zoomed or table is None else table.state
        self._draw()

    def action_filter(self) -> None:
        """Ask for the text to filter by."""
        box = self.query_one("#filter", Input)
        self._end_message()
        box.display, box.disabled = True, False
        self._show_keys()
        self._focus(box)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while somebody types."""
        self._view = self._view._replace(wanted=event.value.strip())
        self._draw()

    def on_input_submitted(self) -> None:
        """Go back to the rows that are left."""
        self._close_filter()
        if self._view.wanted:
            self.say(f"showing rows with {self._view.wanted!r}; Esc shows all")

    def action_show_all(self) -> None:
        """Filter no more, and show all groups."""
        self.query_one("#filter", Input).value = ""
        self._view, self._zoomed = self._view._replace(wanted=""), ""
        self._end_message()
        self._close_filter()
        self._draw()

    def _close_filter(self) -> None:
        box = self.query_one("#filter", Input)
        box.display, box.disabled = False, True
        self._show_keys()
        if tables := self._tables():
            self._focus(tables[0])

    # ------------------------------------------------------------------------------------------------ actions

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the output of the job."""
        if len(self.screen_stack) == 1:  # a second Enter may come before there is a log
            self.action_log()

    def action_log(self) -> None:
        """Show the output of the selected job."""
        if (row := self._selected()) is not None:
            spool = self._spool
            self.push_screen(LogScreen(row.name, lambda: top_actions.output(spool, row), self._every_s))

    def action_pause(self) -> None:
        """Pause the spool."""
        self._do("...", top_actions.pause)

    def action_resume(self) -> None:
        """Resume the spool."""
        self._do("...", top_actions.resume)

    def action_cancel(self) -> None:
        """Cancel the selected job."""
        self._act(top_actions.cancel)

    def action_retry(self) -> None:
        """Retry the selected job."""
        self._act(top_actions.retry)

    def action_hold(self) -> None:
        """Hold the selected job."""
        self._act(top_actions.hold)

    def _act(self, offer: Callable[[Row], top_actions.Offer]) -> None:
        if (row := self._selected()) is None:
            return
        offered = offer(row)
        act = offered.act
        if act is None:
            self.say(offered.words)
        elif offered.question:
            self.push_screen(
                Ask(safe(offered.question)),
                lambda is_yes: self._do(offered.words, act) if is_yes else self.say("nothing changed"),
            )
        else:
            self._do(offered.words, act)

    def _selected(self) -> Row | None:
        table = self._table()
        row = table.selected if table is not None else None
        if row is None:
            self.say("select a job first")
        return row

    def _do(self, words: str, act: Callable[[Spool], str]) -> None:
        """Act in a thread, so that the screen goes on; what came of it is shown when it is known."""
        if self._acting is not None and self._acting.is_alive():
            self.say("the last action is still running")
            return

        def work() -> None:
            try:
                text = act(Spool(self._spool.root))
            except QueuectlError as error:
                text = f"{error}; {error.hint}" if error.hint else str(error)
            except OSError as error:
                text = str(error)
            except Exception as error:  # a bug: nobody looks at the end of a thread, so the app ends with it
                self._report(error)
                return
            with contextlib.suppress(RuntimeError):  # the app has ended meanwhile
                self.post_message(Acted(text))

        self.say(words)
        self._acting = threading.Thread(target=work, daemon=True)
        self._acting.start()
