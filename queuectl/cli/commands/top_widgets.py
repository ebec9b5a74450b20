"""The parts of `queuectl top`: a table for each group of jobs, a log, a question, the help, colours and messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Log, Static

from queuectl.cli.commands.top_rows import Group, Row, Widths
from queuectl.cli.terminal.printing import safe
from queuectl.monitor.snapshot import Snapshot

HELP = """\
Each group shows jobs in one state: running (the time so far, the timeout, the usual duration), waiting (in the order \
of runs), dead and cancelled (newest first), and finished lately. Below are the workers and the rejected files.

arrows, j, k  select a row; Tab: next group
Enter, l      show the output, and follow it
/             filter by id, command or reason
Esc           show all rows again
s             sort by name, by time, by reason
z             show only this group, or all
c             cancel the job; asks y or n
r             run the job again
h             hold the waiting job
p             pause or resume the spool
t             next theme: dark, light, terminal's
q, Ctrl-C     quit; workers and jobs go on
mouse         selects, scrolls, presses keys

Arrows scroll this text; any other key goes back."""

# In the order of the footer, which begins with Enter.
KEYS: list[BindingType] = [
    Binding("q", "leave", "quit"),
    Binding("question_mark", "help", "help", key_display="?"),
    Binding("slash", "filter", "filter", key_display="/"),
    Binding("c", "cancel", "cancel"),
    Binding("r", "retry", "retry"),
    Binding("h", "hold", "hold"),
    Binding("p", "pause", "pause"),
    Binding("p", "resume", "resume"),
    Binding("s", "sort", "sort"),
    Binding("z", "zoom", show=False),
    Binding("t", "theme", show=False),
    Binding("escape", "show_all", show=False),
    Binding("ctrl+c", "interrupt", show=False, priority=True),
    Binding("ctrl+z", "suspend_process", show=False, priority=True),
]
_DARK, _LIGHT, _PLAIN = "textual-dark", "textual-light", "ansi-dark"
# The last two use the colours and the background that the terminal has.
THEMES = (_DARK, _LIGHT, _PLAIN, "ansi-light")


class Looked(Message):
    """A look at the spool has ended."""

    def __init__(self, found: Snapshot | Exception) -> None:
        super().__init__()
        self.found = found


class Acted(Message):
    """An action has ended: what there is to say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class JobTable(DataTable[Text]):
    """The rows of one group under a line with its title."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
        Binding("home,g", "scroll_top", show=False),
        Binding("end,G", "scroll_bottom", show=False),
        Binding("enter", "select_cursor", "log", key_display="Enter"),
        Binding("l", "select_cursor", show=False),
    ]

    class Left(Message):
        """The cursor would leave the table: upward (-1) or downward (1)."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Scrolled(Message):
        """Other rows have come into view."""

    def __init__(self, state: str) -> None:
        super().__init__(id=f"group-{state}", show_header=False, show_row_labels=False, cursor_type="row")
        self.state = state
        self.show_cursor = self.display = False
        self.rows_shown: Sequence[Row] = ()
        self._shown: dict[str, tuple[Text, ...]] = {}
        self._room: Widths | None = None
        self._title = ""

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        return self.rows_shown[self.cursor_row] if 0 <= self.cursor_row < len(self.rows_shown) else None

    def place_of(self, name: str) -> int | None:
        """Return the place of the row with this name."""
        return next((place for place, row in enumerate(self.rows_shown) if row.name == name), None)

    def show_group(self, group: Group, room: Widths, cells_of: Callable[[Row], tuple[Text, ...]]) -> None:
        """Show these rows. The cursor stays on its row, and the part that is shown stays where it is."""
        before = self.selected
        if group.title != self._title:
            self._title = group.title
            self.border_title = Content(group.title)  # not a str: that would be parsed as markup
        if room != self._room:
            self.clear(columns=True)
            self._shown, self._room = {}, room
            for name, width in room._asdict().items():
                self.add_column(Text(name), width=width, key=name)
        self._change(group.rows, cells_of)
        self.rows_shown = group.rows
        place = self.place_of(before.name) if before is not None else None
        if place is not None and place != self.cursor_row:
            self.move_cursor(row=place)

    def _change(self, rows: Sequence[Row], cells_of: Callable[[Row], tuple[Text, ...]]) -> None:
        """Make the table one of these rows. Of those that stay only the visible ones are looked at.

        A cell that changes makes the table draw all that is visible, and the ages of hundreds of rows change often.
        """
        keys = {row.key: row for row in rows}
        for key in [key for key in self._shown if key not in keys]:
            self.remove_row(key)
            del self._shown[key]
        first = int(self.scroll_y)
        for place, row in enumerate(rows):
            shown = self._shown.get(row.key)
            if shown is not None and not first <= place < first + self.size.height:
                continue
            cells = self._shown[row.key] = cells_of(row)
            if shown is None:
                self.add_row(*cells, key=row.key)
                continue
            for column, cell, old in zip(Widths._fields, cells, shown, strict=True):
                if cell != old or cell.style != old.style:
                    self.update_cell(row.key, column, cell)
        if list(keys) != [row.key.value for row in self.ordered_rows]:
            places = {id(self.get_row(key)[0]): place for place, key in enumerate(keys)}
            self.sort("name", key=lambda cell: places[id(cell)])

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Bring the rows up to date that come into view."""
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Scrolled())

    def on_focus(self) -> None:
        """Show where the keys go."""
        self.show_cursor = True

    def on_blur(self) -> None:
        """The keys go elsewhere."""
        self.show_cursor = False

    def action_cursor_down(self) -> None:
        """Go down; from the last row to the next group."""
        if self.cursor_row >= self.row_count - 1:
            self.post_message(self.Left(1))
        else:
            super().action_cursor_down()

    def action_cursor_up(self) -> None:
        """Go up; from the first row to the previous group."""
        if self.cursor_row <= 0:
            self.post_message(self.Left(-1))
        else:
            super().action_cursor_up()


def _go_back(screen: Screen[Any], result: object = None) -> None:
    """Leave a screen, once: a second key may come before the screen is gone."""
    if screen.is_current:
        screen.dismiss(result)


class Ask(ModalScreen[bool]):
    """A question in the last line of the screen; every key but y means no."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y,Y", "answer(True)"), Binding("n", "answer(False)")]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """Place the question."""
        yield Static(self._question, markup=False, classes="question")

    def action_answer(self, is_yes: bool) -> None:
        """Answer and go back."""
        _go_back(self, is_yes)

    def on_key(self, event: events.Key) -> None:
        """Take any other key as a no."""
        if event.key not in ("y", "Y", "n"):
            event.stop()
            _go_back(self, False)

    def on_click(self) -> None:
        """Take a click as a no."""
        _go_back(self, False)


class Help(ModalScreen[None]):
    """What is shown and which keys there are; any key that does not scroll goes back."""

    AUTO_FOCUS = "VerticalScroll"

    def compose(self) -> ComposeResult:
        """Place the text."""
        with VerticalScroll(classes="help"):
            yield Static(HELP, markup=False)

    def on_key(self, event: events.Key) -> None:
        """Go back."""
        if event.key not in ("up", "down", "pageup", "pagedown", "home", "end"):
            event.stop()
            _go_back(self)

    def on_click(self) -> None:
        """Go back."""
        _go_back(self)


class Output(NamedTuple):
    """What the newest run of a job printed last."""

    title: str
    lines: Sequence[str]


class LogScreen(Screen[None]):
    """The output of a job, read again every `every_s`. Follows the end until somebody scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,left,enter,l", "go_back", "back", key_display="q"),
        Binding("end,G", "to_end", "follow", key_display="End"),
        Binding("home,g", "to_start", "start", key_display="Home"),
        Binding("j,down", "down", show=False),
        Binding("k,up", "up", show=False),
    ]

    def __init__(self, name: str, read: Callable[[], Output], every_s: float) -> None:
        super().__init__()
        self._job = name
        self._read = read
        self._every_s = every_s
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        """Place the title, the output and the keys."""
        yield Static(classes="log-title", markup=False)
        yield Log()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Read now, and again and again."""
        self.query_one(Log).focus()
        self._show()
        self.set_interval(self._every_s, self._show)

    def _show(self) -> None:
        found = self._read()
        title = Text.assemble((safe(self._job), "bold"), "  ", safe(found.title))
        title.truncate(max(1, self.app.size.width), overflow="ellipsis")
        self.query_one(".log-title", Static).update(title)
        lines = [safe(line) or " " for line in found.lines]
        if lines == self._shown:
            return
        log, known = self.query_one(Log), len(self._shown)
        if lines[:known] == self._shown:
            log.write_lines(lines[known:])
        else:
            # The beginning was cut off, another run began, or the last line was written over.
            follows = log.is_vertical_scroll_end
            at = log.scroll_offset
            log.clear()
            log.write_lines(lines)
            if not follows:
                log.scroll_to(y=at.y, animate=False)
        self._shown = lines

    def action_go_back(self) -> None:
        """Leave the log."""
        _go_back(self)

    def action_to_end(self) -> None:
        """Follow the end again."""
        self.query_one(Log).scroll_end(animate=False, x_axis=False)

    def action_to_start(self) -> None:
        """Go to the first line."""
        self.query_one(Log).scroll_home(animate=False)

    def action_down(self) -> None:
        """Go one line down."""
        self.query_one(Log).scroll_down(animate=False)

    def action_up(self) -> None:
        """Go one line up."""
        self.query_one(Log).scroll_up(animate=False)


def theme(*, has_few_colours: bool) -> str:
    """Return the colours for this terminal; those of a light one if the terminal says that it is light."""
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    is_light = background == "7" or background in ("9", "10", "11", "12", "13", "14", "15")
    if has_few_colours:
        return _PLAIN
    return _LIGHT if is_light else _DARK
