"""The parts of the screen of `queuectl top`: a table for each group of jobs, a log, a question, the help."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple

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
t             use other colours
q, Ctrl-C     quit; workers and jobs go on

Arrows scroll this text; any other key goes back."""


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
        wanted = {row.key: cells_of(row) for row in group.rows}
        if room != self._room:
            self.clear(columns=True)
            self._shown, self._room = {}, room
            for name, width in room._asdict().items():
                self.add_column(Text(name), width=width, key=name)
        self._change(wanted)
        self.rows_shown = group.rows
        place = self.place_of(before.name) if before is not None else None
        if place is not None and place != self.cursor_row:
            self.move_cursor(row=place)

    def _change(self, wanted: Mapping[str, tuple[Text, ...]]) -> None:
        for key in [key for key in self._shown if key not in wanted]:
            self.remove_row(key)
        for key, cells in wanted.items():
            shown = self._shown.get(key)
            if shown is None:
                self.add_row(*cells, key=key)
                continue
            for column, cell, old in zip(Widths._fields, cells, shown, strict=True):
                if cell != old or cell.style != old.style:
                    self.update_cell(key, column, cell)
        if list(wanted) != [row.key.value for row in self.ordered_rows]:
            places = {id(cells[0]): place for place, cells in enumerate(self._current(wanted))}
            self.sort("name", key=lambda cell: places[id(cell)])
        self._shown = dict(wanted)

    def _current(self, wanted: Mapping[str, tuple[Text, ...]]) -> list[Sequence[Text]]:
        return [self.get_row(key) for key in wanted]

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
        self.dismiss(is_yes)

    def on_key(self, event: events.Key) -> None:
        """Take any other key as a no."""
        if event.key not in ("y", "Y", "n"):
            event.stop()
            self.dismiss(False)

    def on_click(self) -> None:
        """Take a click as a no."""
        self.dismiss(False)


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
            self.dismiss()

    def on_click(self) -> None:
        """Go back."""
        self.dismiss()


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
        self.dismiss()

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
