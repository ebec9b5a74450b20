"""The app of `queuectl top`, its keys pressed by Textual's pilot; tests/terminal/ has it on a real terminal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input

from queuectl.api import Spool
from queuectl.cli.commands import top_actions
from queuectl.cli.commands.top_app import TopApp
from queuectl.cli.commands.top_look import Looker
from queuectl.cli.commands.top_widgets import JobTable, Looked
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING, Outcome
from queuectl.monitor.rows import RunRow
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.survey import Survey
from queuectl.spool import pause
from queuectl.spool.folder import SpoolDir
from queuectl.system.clock import Clock
from tests.cli.test_top import HOSTILE, SIZES, full
from tests.helpers import Desk, listing

DEADLINE_S = 60.0


class Screen:
    """The app while it runs, and what is on its screen."""

    def __init__(self, app: TopApp, pilot: Pilot[int]) -> None:
        self.app = app
        self._pilot = pilot

    @property
    def lines(self) -> list[str]:
        """The lines on the screen."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.lines)

    @property
    def selected(self) -> str:
        """The name in the selected row."""
        table = self.app.screen_stack[0].focused
        assert isinstance(table, JobTable)
        assert table.selected is not None
        return table.selected.name

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self._pilot.press(*keys)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, self.text
            await self._pilot.pause(0.01)

    async def shows(self, *texts: str, gone: str = "\0") -> str:
        """Wait until the screen shows all of `texts`, and `gone` no more; return it."""
        shown = ""

        def is_so() -> bool:
            nonlocal shown
            shown = self.text
            return all(text in shown for text in texts) and gone not in shown

        await self.until(is_so)
        return shown

    async def look_no_more(self) -> None:
        """Have the app look no more; a look that is under way ends before."""
        self.app._looker.stop()
        await asyncio.to_thread(self.app._looker._thread.join)

    async def give(self, found: Snapshot | Exception) -> None:
        """Let the app have seen this, and look no more."""
        await self.until(lambda: self.app._found is not None)
        await self.look_no_more()
        self.app.post_message(Looked(found))
        await self._pilot.pause()


def play(
    spool: SpoolDir, act: Callable[[Screen], Awaitable[None]], size: tuple[int, int] = (80, 24), every_s: float = 0.2
) -> TopApp:
    """Run the app on a screen of this size, and do `act` meanwhile; return the app after its end."""
    app = TopApp(spool, every_s)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await act(Screen(app, pilot))

    asyncio.run(run())
    return app


@pytest.fixture(autouse=True)
def own_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the tester's own terminal shines through."""
    for name in ("NO_COLOR", "COLORFGBG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def busy(spool: SpoolDir) -> SpoolDir:
    """Three jobs that wait, a finished one, and a dead one with output."""
    desk = Desk(spool, clock=Clock())
    desk.run(desk.enqueue(id="dead", max_retries=0), Outcome("failed", 3, duration_s=1.5))
    Path(spool.log_path("dead", 1)).write_bytes(b"first\n\n10%\r100%\n\x1b[2Jlast \x07words [red]x\n")
    for job_id in ("aa", "bb", "cc"):
        desk.enqueue(id=job_id, command=f"echo {job_id}")
    desk.close()
    return spool


# ---------------------------------------------------------------------------------------------------------------- keys


def test_keys_select_rows(busy: SpoolDir) -> None:
    """Arrows, j and k go from row to row and on to the next group; Home and End to the first and last row."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3", "Dead 1", "Enter log", "q quit")
        assert screen.selected == "aa"
        for keys, name in (
            (("down",), "bb"),
            (("j", "j"), "dead"),
            (("down",), "dead"),
            (("k",), "cc"),
            (("g",), "aa"),
            (("up",), "aa"),
            (("G",), "cc"),
            (("tab",), "dead"),
            (("shift+tab", "home"), "aa"),
        ):
            await screen.press(*keys)
            # The pilot takes an app that gets no processor for one that has done with its keys.
            await screen.until(lambda name=name: screen.selected == name)  # type: ignore[misc]

    play(busy, act)


def test_log_is_shown_and_followed(busy: SpoolDir) -> None:
    """Enter shows what a job printed, nothing of which acts on the screen; what is added appears; q goes back."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("tab", "enter")
        shown = await screen.shows("dead  dlq, attempt 1", "first", "100%", r"\x1b[2Jlast \x07words [red]x")
        assert "first\n\n" in shown
        assert "10%\n" not in shown
        assert "cancel" not in shown
        with open(busy.log_path("dead", 1), "ab") as file:
            file.write(b"".join(b"line %d\n" % number for number in range(100)))
        await screen.shows("line 99", gone="first")
        await screen.press("home")
        await screen.shows("first", gone="line 99")
        await screen.press("end")
        await screen.shows("line 99")
        await screen.press("q")
        await screen.shows("Waiting 3")
        assert screen.selected == "dead"
        await screen.press("shift+tab", "l")
        await screen.shows("aa  pending, no attempt yet")
        await screen.press("escape")
        await screen.shows("Waiting 3")

    play(busy, act)


def test_cancel_asks_first(busy: SpoolDir) -> None:
    """c does nothing without y; with it the job is cancelled, and the selection goes with the job."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("j", "c")
        await screen.shows("cancel bb? y/n")
        await screen.press("x")
        await screen.shows("nothing changed")
        await screen.press("c", "n")
        await screen.shows("nothing changed", gone="y/n")
        assert len(listing(busy)["pending"]) == 3
        await screen.press("c", "y")
        await screen.shows("bb is cancelled", "Dead 1, cancelled 1", "Waiting 2")
        assert screen.selected == "bb"

    play(busy, act)
    assert "bb.json" in listing(busy)["dlq"]


def test_a_key_goes_where_the_job_went(busy: SpoolDir) -> None:
    """The next key is for the group to which the selected job went, even if it comes with the look that shows it."""

    async def act(screen: Screen) -> None:
        await screen.until(lambda: screen.app._found is not None)
        await screen.press("j")
        await screen.until(lambda: screen.selected == "bb")
        await screen.look_no_more()
        Spool(busy.root).cancel("bb")
        found = Looker(Survey(busy, is_full=True, next_rows=50), 1.0, lambda _found: None)._look()
        assert found is not None
        screen.app.on_looked(Looked(found))
        table = screen.app._table()
        assert table is not None
        assert (table.state, screen.selected) == (DLQ, "bb")

    play(busy, act)


@pytest.mark.parametrize(("keys", "missed", "selected"), [("", 1, "bb"), ("", 2, "bb"), ("", 4, "cc"), ("k", 1, "aa")])
def test_a_job_that_looks_missed_is_selected_again(busy: SpoolDir, keys: str, missed: int, selected: str) -> None:
    """It moved while the folders were listed. Once a person has moved the cursor, or it is long gone, it is not."""

    async def act(screen: Screen) -> None:
        await screen.until(lambda: screen.app._found is not None)
        await screen.press("j")
        await screen.until(lambda: screen.selected == "bb")
        await screen.look_no_more()
        looker = Looker(Survey(busy, is_full=True, next_rows=50), 1.0, lambda _found: None)

        def look() -> None:
            found = looker._look()
            assert found is not None
            screen.app.on_looked(Looked(found))

        Spool(busy.root).cancel("bb")
        path = Path(busy.path(DLQ, "bb.json"))
        path.rename(path.with_suffix(".elsewhere"))
        for _ in range(missed):
            look()
        assert screen.selected == "cc"
        for key in keys:
            await screen.press(key)
        path.with_suffix(".elsewhere").rename(path)
        look()
        assert screen.selected == selected

    play(busy, act)


def test_dead_job_is_retried(busy: SpoolDir) -> None:
    """r puts a dead job back into pending/."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("tab", "r")
        await screen.shows("dead waits in pending/ again", "Waiting 4", gone="Dead")
        assert screen.selected == "dead"

    play(busy, act)
    assert "dead.json" in listing(busy)["pending"]


def test_hold_pause_and_resume(busy: SpoolDir) -> None:
    """h holds the job and says how to release it; p pauses, and then resumes; the footer says which."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3", "p pause")
        await screen.press("h")
        await screen.shows("aa is held; to release it: queuectl release aa", "(1 held)")
        await screen.press("p")
        await screen.shows("Paused (by `queuectl top`)", "paused: no new job starts")
        assert pause.is_paused(busy)
        await screen.press("escape")
        await screen.shows("p resume")
        await screen.press("p")
        await screen.shows("resumed", gone="Paused")
        assert not pause.is_paused(busy)

    play(busy, act)


def test_filter_sort_zoom_help_and_colours(busy: SpoolDir) -> None:
    """/ filters while somebody types and Esc shows all; s sorts; z shows one group; ? explains; t changes colours."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("slash", "B", "b")
        await screen.shows("Waiting 3: 1 of 3 match", "bb", gone="aa ")
        await screen.press("enter")
        await screen.shows("showing rows with 'Bb'")
        assert screen.selected == "bb"
        await screen.press("slash", "q", "escape")
        await screen.shows("aa ", "Dead 1", gone="match")
        await screen.press("s")
        await screen.shows("sorted by name")
        await screen.press("z")
        await screen.shows("Waiting 3", gone="Dead")
        await screen.press("z")
        await screen.shows("Waiting 3", "Dead 1")
        await screen.press("question_mark")
        await screen.shows("Each group shows jobs in one state", "quit; workers and jobs go on")
        await screen.press("down", "space")
        await screen.shows("Waiting 3", gone="Each group")
        before = screen.app.theme
        await screen.press("t")
        await screen.until(lambda: screen.app.theme != before)

    play(busy, act)


def test_keys_that_come_all_at_once(busy: SpoolDir) -> None:
    """The second of several keys may come before the first has taken effect: no screen goes twice."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        for key, back in (("question_mark", "space"), ("enter", "escape"), ("c", "n")):
            await screen.press(key)
            await screen.until(lambda: len(screen.app.screen_stack) == 2)
            for _ in range(3):
                screen.app.simulate_key(back)
            await screen.until(lambda: len(screen.app.screen_stack) == 1 or not screen.app.is_running)
            await screen.press("escape")
        assert screen.app.failed is None

    play(busy, act)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_it_ends(busy: SpoolDir, key: str) -> None:
    """q ends it; so does Ctrl-C, also in the filter, and the command then ends as every one that is interrupted."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        if key != "q":
            await screen.press("slash")
        await screen.press(key)
        await screen.until(lambda: not screen.app.is_running)

    app = play(busy, act)
    assert isinstance(app.failed, KeyboardInterrupt) == (key != "q")


def test_mouse_selects_and_presses_keys(busy: SpoolDir) -> None:
    """A click selects a row, a second one shows its output; a click on a key in the footer is that key."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3", "? help")
        row = next(number for number, line in enumerate(screen.lines) if line.startswith(" cc"))
        await screen._pilot.click(offset=(3, row))
        await screen.until(lambda: screen.selected == "cc")
        await screen._pilot.click(offset=(screen.lines[-1].index("? help"), 23))
        await screen.shows("Each group shows")

    play(busy, act)


# ------------------------------------------------------------------------------------------------------------- actions


@pytest.mark.parametrize(
    ("offer", "state", "words"),
    [
        (top_actions.cancel, DLQ, "the job has ended"),
        (top_actions.cancel, DONE, "the job has ended"),
        (top_actions.cancel, REJECTED, "queuectl rejected retry"),
        (top_actions.retry, PENDING, "only a job that has ended"),
        (top_actions.retry, RUNNING, "only a job that has ended"),
        (top_actions.retry, REJECTED, "queuectl rejected retry"),
        (top_actions.hold, RUNNING, "only a waiting job"),
        (top_actions.hold, DONE, "only a waiting job"),
        (top_actions.hold, "pool", "queuectl worker stop"),
    ],
)
def test_what_cannot_be_done_is_refused(offer: Callable[[Any], top_actions.Offer], state: str, words: str) -> None:
    """A refusal says why, and what to do."""
    from queuectl.cli.commands import top_rows

    row = next(row for group in top_rows.groups(full(), top_rows.View()).values() for row in group.rows)
    made = offer(row._replace(state=state))
    assert made.act is None
    assert words in made.words


def test_a_refusal_is_shown(busy: SpoolDir) -> None:
    """Also an action that fails on disk says why."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("r")
        await screen.shows("only a job that has ended can be run again")
        await screen.look_no_more()
        Spool(busy.root).cancel("aa")
        await screen.press("h")
        await screen.shows("aa", "dlq")

    play(busy, act)


def test_an_action_does_not_hold_up_the_screen(busy: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one goes on, keys are answered, another action is refused, and q ends the app."""
    go = threading.Event()
    begun = threading.Event()

    def wait(_spool: Spool) -> str:
        begun.set()
        go.wait(DEADLINE_S)
        return "at last"

    monkeypatch.setattr(top_actions, "pause", wait)

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("p")
        await screen.until(begun.is_set)
        await screen.press("p")
        await screen.shows("the last action is still running")
        await screen.press("question_mark")
        await screen.shows("Each group shows")
        await screen.press("q")
        go.set()
        await screen.shows("at last")

    play(busy, act)


# -------------------------------------------------------------------------------------------------------- hostile texts


@pytest.mark.parametrize(
    "size", [pytest.param(each, marks=[] if each == (80, 24) else [pytest.mark.slow]) for each in SIZES]
)
def test_screen_is_as_large_as_the_terminal(spool: SpoolDir, size: tuple[int, int]) -> None:
    """Whatever jobs are called and say, the screen has its size, and nothing that could act gets on it."""

    async def check(screen: Screen) -> None:
        made: list[str] = []

        def is_drawn() -> bool:
            nonlocal made
            made = screen.lines
            return len(made) == size[1]

        await screen.until(is_drawn)  # a screen that has just come has no lines yet
        assert all(cell_len(line) == size[0] for line in made)
        assert all(line.isprintable() for line in made)

    async def act(screen: Screen) -> None:
        for text in HOSTILE:
            await screen.give(full(text, retention_waits=text))
            await check(screen)
            screen.app.say(text)
            for key in ("c", "n", "enter", "escape"):
                await screen.press(key)
                await check(screen)
        await screen.press("question_mark")
        await check(screen)

    play(spool, act, size)


def test_markup_of_strangers_is_text(spool: SpoolDir) -> None:
    """Brackets in ids, commands, reasons and messages are shown as they are."""
    text = "[b]x[/b]"

    async def act(screen: Screen) -> None:
        await screen.give(full(text))
        await screen.shows("Paused ([b]x[/b])", "priority 5  attempt 2  [b]x[/b]", "retry 1 of 3: [b]x[/b]")
        await screen.press("c")
        await screen.shows("cancel [b]x[/b]? y/n")
        await screen.press("n")
        screen.app.say(text)
        await screen.shows("\n[b]x[/b]")

    play(spool, act, (100, 28))


def test_rows_that_come_into_view_are_up_to_date(spool: SpoolDir) -> None:
    """Of many rows only the visible ones are kept up to date, and the others as soon as they are visible."""
    run = RunRow("x", 1, "w", None, None, "before", True)

    async def act(screen: Screen) -> None:
        for word in ("before", "after"):
            runs = tuple(run._replace(id=f"run{number:03d}", command=word) for number in range(300))
            await screen.give(full(runs=runs))
            await screen.shows("run000", word)
        await screen.press("G")
        await screen.shows("run299", "after", gone="before")
        await screen.give(full(runs=runs[:100]))
        await screen.shows("run099", gone="run299")
        assert screen.selected == "run099"

    play(spool, act)


@pytest.mark.parametrize("size", [(80, 24), (50, 15), (200, 60)])
def test_each_group_has_a_line(spool: SpoolDir, size: tuple[int, int]) -> None:
    """A screen of a usual size shows every group, none of whose rows wraps, and the keys below."""

    async def act(screen: Screen) -> None:
        await screen.give(full("x" * 60, paused=None))
        shown = await screen.shows("Running 1", "Waiting 2", "Dead 1", "Finished 7", "q quit")
        assert sum(line.startswith(" xxx") for line in shown.split("\n")) >= 5

    play(spool, act, size)


def test_another_size_of_the_window(busy: SpoolDir) -> None:
    """Rows are laid out anew."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3", "q quit")
        await screen._pilot.resize_terminal(40, 12)
        await screen.until(lambda: len(screen.lines) == 12)
        await screen.shows("Waiting 3", "echo aa")

    play(busy, act)


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_spool_that_cannot_be_read_ends_it(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look fails: the app ends with that error. A later one: the app says so and goes on."""

    async def later(screen: Screen) -> None:
        await screen.give(full())
        screen.app.post_message(Looked(OSError(5, "gone")))
        await screen.shows("the spool cannot be read")

    play(spool, later)

    async def first(screen: Screen) -> None:
        await screen.until(lambda: not screen.app.is_running)

    monkeypatch.setattr("queuectl.monitor.survey.Survey.take", _fails)
    assert isinstance(play(spool, first).failed, PermissionError)


def _fails(*_args: object) -> Any:
    raise PermissionError(13, "no")


def test_a_bug_ends_it_without_a_text_of_a_job(busy: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong is there to be raised, and Textual prints no variables."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        monkeypatch.setattr("queuectl.cli.commands.top_rows.groups", None)
        await screen.until(lambda: screen.app.failed is not None)

    with pytest.raises(TypeError):
        play(busy, act)


@pytest.mark.parametrize("where", ["queuectl.monitor.survey.Survey.take", "queuectl.cli.commands.top_actions.pause"])
def test_a_bug_in_a_thread_ends_it(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Looks and actions have threads of their own, whose end nobody would notice."""

    def fails(*_args: object) -> Any:
        raise ZeroDivisionError

    async def act(screen: Screen) -> None:
        if "pause" in where:
            await screen.shows("q quit", "p pause")
        monkeypatch.setattr(where, fails)
        await screen.press("p")
        await screen.until(lambda: not screen.app.is_running)

    monkeypatch.setattr(where, fails)
    assert isinstance(play(spool, act).failed, ZeroDivisionError)


def test_a_signal_ends_it(busy: SpoolDir) -> None:
    """It may come in the midst of anything."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        screen.app.end_by(15)
        await screen.until(lambda: not screen.app.is_running)

    assert play(busy, act).killed == 15


def test_a_signal_before_the_first_screen_ends_it(spool: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come while the app is being made."""
    made = TopApp.__init__

    def make(self: TopApp, *args: Any) -> None:
        made(self, *args)
        self.end_by(15)

    monkeypatch.setattr(TopApp, "__init__", make)

    async def act(screen: Screen) -> None:
        await screen.until(lambda: not screen.app.is_running)

    assert play(spool, act).killed == 15


# ------------------------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize(
    ("name", "value", "theme"),
    [("COLORFGBG", "0;15", "textual-light"), ("COLORFGBG", "15;0", "textual-dark"), ("NO_COLOR", "1", "ansi-dark")],
)
def test_colours_are_those_of_the_terminal(
    busy: SpoolDir, monkeypatch: pytest.MonkeyPatch, name: str, value: str, theme: str
) -> None:
    """Light on a light terminal; with NO_COLOR none, and the selected row is still to be seen."""
    monkeypatch.setenv(name, value)

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        assert screen.app.theme == theme
        if name == "NO_COLOR":
            strips = screen.app.screen._compositor.render_strips()
            row = next(strip for strip in strips if strip.text.startswith(" aa"))
            assert any(segment.style is not None and segment.style.reverse for segment in row)

    play(busy, act)


def test_filter_takes_no_key_before_it_is_opened(busy: SpoolDir) -> None:
    """Keys are commands unless somebody has asked for the filter."""

    async def act(screen: Screen) -> None:
        await screen.shows("Waiting 3")
        await screen.press("a", "b")
        assert screen.app.query_one("#filter", Input).value == ""

    play(busy, act)
