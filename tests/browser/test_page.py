"""status.html as a person uses it: searching, sorting, copying, reloading, by keyboard, and without its script."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.monitor import page, page_facts
from queuectl.monitor.heartbeat import STALE_S
from queuectl.monitor.rows import DueRow, Finish, NextRow, PoolRow
from queuectl.monitor.snapshot import Snapshot
from tests.unit.monitor.test_page import snapshot_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

Open = Callable[..., Any]
EMPTY = {"pending": 0, "running": 0, "done": 7, "dlq": 0, "rejected": 0}


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a snapshot as the file status.html; `reload_s` 0 means never. What goes wrong in it fails the test."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def opened(found: Snapshot, *, reload_s: int = 0, init: str = "", **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text))
        if init:
            tab.add_init_script(init)
        path = tmp_path / "status.html"
        made = page.render(found, advice=("", ""))
        path.write_text(re.sub('data-reload="[0-9]+"', f'data-reload="{reload_s}"', made), encoding="utf-8")
        tab.goto(path.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def some(**facts: Any) -> Snapshot:
    """A snapshot of now, with thirty jobs that wait and five that are done."""
    now_at = time.time()
    facts = {
        "path": "/srv/queue",
        "nexts": tuple(
            NextRow(f"job-{number}", 0, 0, f"resize {number}.jpg", since=now_at - 10 * number) for number in range(30)
        ),
        "ready": 30,
        "finishes": tuple(
            Finish(now_at - 9 * number, took_s, True, f"done-{number}", "true", "", 1)
            for number, took_s in enumerate((0.25, 4.0, 75.0, 0.9, 5000.0))
        ),
        "pools": (),
        **facts,
    }
    return snapshot_of("plain", **{"taken_at": now_at, **facts})


def shown(tab: Any, section: str) -> list[str]:
    """The ids of the rows of a section that a person sees, in their order."""
    ids: list[str] = tab.locator(f"#{section} tbody tr:visible .id").all_inner_texts()
    return ids


def test_search_leaves_the_rows_that_hold_every_word(open_page: Open) -> None:
    """Typing filters the rows of all tables by id, command and error; Escape shows everything again."""
    tab = open_page(some())
    assert len(shown(tab, "waiting")) == 8, "a long table is folded"
    tab.keyboard.press("/")
    tab.keyboard.type("JOB-2 resize")
    assert shown(tab, "waiting") == ["job-2", *(f"job-{number}" for number in range(20, 30))]
    assert not tab.locator("#finished").is_visible()
    assert tab.locator("#hits").inner_text().startswith("11 of ")
    tab.locator("#find").fill("copy")
    assert tab.locator("#hits").inner_text().startswith("0 of "), "what buttons say is not searched"
    tab.keyboard.press("Escape")
    assert len(shown(tab, "waiting")) == 8
    assert tab.locator("#finished").is_visible()


@pytest.mark.parametrize("has_next", [True, False])
def test_a_job_that_became_due_is_among_what_is_next(open_page: Open, has_next: bool) -> None:
    """After the workers stopped, an old page says of a job that is due by now that it waits, as `status` does."""
    now_at = time.time()
    dues = tuple(DueRow(f"due-{at}", now_at + at, 1, 3, "exit 3", "make") for at in (-300, -200, 3600))
    facts: dict[str, Any] = {} if has_next else {"nexts": (), "ready": 0, "oldest_since": None}
    tab = open_page(some(paused=None, taken_at=now_at - 400, dues=dues, later=3, **facts))
    assert shown(tab, "later") == ["due-3600"]
    assert tab.locator("#h-later").inner_text().split() == ["Later", "1"]
    assert tab.locator("#h-waiting").inner_text().split() == ["Next", "32" if has_next else "2"]
    if has_next:
        tab.get_by_role("button", name="Show all 32").click()
    assert shown(tab, "waiting")[-2:] == ["due--300", "due--200"]
    row = tab.locator("#waiting tbody tr", has_text="due--300")
    assert re.search("5 min.*retry 1 of 3 after exit 3", row.inner_text(), re.DOTALL)
    assert row.get_by_role("button", name="Copy cancel command for due--300").count() == 1
    headline = tab.locator("h1").inner_text()
    assert ("2 due now, 1 due later" if has_next else "2 waiting, 1 due later") in headline
    assert tab.locator(".stats", has_text="Waiting").locator("small span", has_text="later").inner_text() == "1 later"


def test_nothing_is_due_later_when_all_is_due(open_page: Open) -> None:
    """The section and the words go with the last job."""
    now_at = time.time()
    due = DueRow("again", now_at - 60, 1, 3, "exit 3", "make")
    tab = open_page(some(paused=None, taken_at=now_at - 70, nexts=(), ready=0, oldest_since=None, dues=(due,), later=1))
    assert shown(tab, "waiting") == ["again"]
    assert tab.locator("#later").count() == 0
    assert re.search("^No workers are running, .*1 waiting", tab.locator("h1").inner_text())
    assert "later" not in tab.locator("header").inner_text()
    assert tab.locator('.stats a[href="#waiting"]').count() == 1


def test_a_folded_table_opens(open_page: Open) -> None:
    """One button shows all rows of a table, and then fewer."""
    tab = open_page(some())
    tab.get_by_role("button", name="Show all 30").click()
    assert len(shown(tab, "waiting")) == 30
    tab.get_by_role("button", name="Show fewer").click()
    assert len(shown(tab, "waiting")) == 8


def test_one_kind_of_job_can_be_shown_alone(open_page: Open) -> None:
    """The buttons beside the search show one group of sections; a link to another one shows everything."""
    tab = open_page(some())
    tab.get_by_role("group", name="Show").get_by_role("button", name="Waiting", exact=True).click()
    assert tab.locator("#waiting").is_visible()
    assert not tab.locator("#failures").is_visible()
    tab.locator('.stats a[href="#failures"]').click()
    assert tab.locator("#failures").is_visible()


def test_a_table_sorts_by_each_column(open_page: Open) -> None:
    """Durations sort by length, not by letters; a third press restores the order of the page."""
    tab = open_page(some())
    head = tab.locator("#finished th").nth(2)
    before = shown(tab, "finished")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert shown(tab, "finished") == ["done-0", "done-3", "done-1", "done-2", "done-4"]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert shown(tab, "finished")[0] == "done-4"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    assert shown(tab, "finished") == before


def test_the_command_that_cancels_is_copied(open_page: Open) -> None:
    """A button puts the whole command on the clipboard, with the spool that it is for."""
    tab = open_page(some(), permissions=["clipboard-read", "clipboard-write"])
    row = tab.locator("#waiting tbody tr").first
    row.hover()
    row.get_by_role("button", name="Copy cancel command for job-0").click()
    tab.get_by_role("button", name="Copy cancel command for job-0").get_by_text("Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == "queuectl --spool /srv/queue cancel job-0"


@pytest.mark.parametrize(
    "init",
    [
        "Object.defineProperty(navigator, 'clipboard', {value: undefined})",
        "navigator.clipboard.writeText = () => Promise.reject(new Error('denied'))",
    ],
)
def test_a_command_is_selected_where_there_is_no_clipboard(open_page: Open, init: str) -> None:
    """Without a clipboard the command appears, selected, so that the reader copies it."""
    tab = open_page(some(), init=init)
    row = tab.locator("#waiting tbody tr").first
    row.hover()
    row.get_by_role("button").click()
    field = row.locator("input")
    field.wait_for()
    whole = "queuectl --spool /srv/queue cancel job-0"
    assert field.input_value() == whole
    assert field.evaluate("each => each.value.slice(each.selectionStart, each.selectionEnd)") == whole
    tab.locator("h1").click()
    row.locator(".copy").wait_for(state="attached")


def test_a_strange_id_gets_into_no_command(open_page: Open) -> None:
    """What a shell could take for something else has no button."""
    strange = ("$(reboot)", "a;b", "-rf", "a b", "`x`", "a\\nb")
    nexts = tuple(NextRow(each, 0, 0, "") for each in strange)
    tab = open_page(some(nexts=nexts))
    assert shown(tab, "waiting") == list(strange)
    assert tab.locator("#waiting tbody .copy").count() == 0


def test_a_reload_keeps_search_order_place_and_focus(open_page: Open) -> None:
    """The page loads itself anew under the hands of a reader, who does not notice."""
    tab = open_page(some(), reload_s=1, viewport={"width": 1000, "height": 500})
    tab.get_by_role("group", name="Show").get_by_role("button", name="Waiting", exact=True).click()
    tab.get_by_role("button", name="Show all 30").click()
    tab.locator("#waiting th").first.get_by_role("button").click()
    tab.locator("#find").fill("job")
    tab.locator("#find").press("ArrowLeft")
    tab.evaluate("window.scrollTo(0, 333); window.old = true")
    order = shown(tab, "waiting")
    tab.wait_for_function("() => !window.old", timeout=60_000)
    assert tab.locator("#find").input_value() == "job"
    assert tab.evaluate("document.activeElement.id") == "find"
    assert tab.evaluate("document.getElementById('find').selectionStart") == 2
    assert shown(tab, "waiting") == order
    assert not tab.locator("#finished").is_visible()
    assert abs(tab.evaluate("window.scrollY") - 333) <= 2
    tab.locator("#find").fill("")
    assert len(shown(tab, "waiting")) == 30
    assert tab.locator("#waiting th").first.get_attribute("aria-sort") == "ascending"


def test_a_browser_that_refuses_storage_still_shows_everything(open_page: Open) -> None:
    """Where a file may keep nothing, only what the reader chose is lost."""
    refuse = "Object.defineProperty(window, 'sessionStorage', {get: () => { throw new Error('denied'); }})"
    tab = open_page(some(), init=refuse)
    tab.locator("#find").fill("job-7")
    assert shown(tab, "waiting") == ["job-7"]


def test_an_old_page_is_an_alarm_only_if_jobs_wait_or_run(open_page: Open) -> None:
    """A queue that was drained and left is quiet; one with jobs that nobody works on is not."""
    long_ago = time.time() - STALE_S - 30
    old = open_page(some(taken_at=long_ago))
    assert old.get_by_role("alert").is_visible()
    assert old.locator("h1").get_attribute("class") == "is-bad"
    assert not open_page(some()).get_by_role("alert").is_visible()
    quiet = open_page(some(taken_at=long_ago, counts=EMPTY, runs=(), nexts=(), dues=(), failures=(), causes=()))
    assert quiet.get_by_role("alert").count() == 0
    assert quiet.locator("h1").is_visible()


def test_times_go_on(open_page: Open) -> None:
    """An age is counted by the clock of the browser, in the words of the page."""
    tab = open_page(some())
    tab.wait_for_function(
        "() => document.querySelector('#written').textContent.match(/^[2-9] s ago$/)", timeout=60_000, polling=100
    )
    assert re.fullmatch(r"\d+ s ago", tab.locator("#finished tbody tr time").first.inner_text())


@pytest.mark.parametrize("passed_s", [61.5, 7500.5, 270_000.5])
def test_the_script_counts_on_in_the_words_of_the_page(open_page: Open, passed_s: float) -> None:
    """`span` in page.js says what `span_text` says."""
    tab = open_page(some(taken_at=time.time(), pools=(PoolRow("p", "h", 1, 1, time.time() - passed_s),)))
    assert tab.locator("#workers time").inner_text() == f"{page_facts.span_text(passed_s)} ago"


def test_all_of_it_is_within_reach_of_the_keyboard(open_page: Open) -> None:
    """Tab goes to the skip link, the figures, the search, the views, the heads of tables, links and buttons."""
    tab = open_page(some())
    reached = set()
    for _ in range(120):
        tab.keyboard.press("Tab")
        reached.add(
            tab.evaluate(
                "(() => { const at = document.activeElement;"
                " return at.id || at.dataset.focus || at.className || at.hash || at.tagName; })()"
            )
        )
    expected = {"skip", "#failures", "find", "view:Waiting", "sort:waiting:0:1", "all:waiting:0", "PRE"}
    assert expected <= reached
    assert "copy:queuectl --spool /srv/queue cancel job-1" in reached


def test_without_its_script_the_page_is_complete(open_page: Open) -> None:
    """All rows are there, the time stands as text, nothing is there that would do nothing, and it loads itself anew."""
    tab = open_page(some(), java_script_enabled=False)
    assert len(shown(tab, "waiting")) == 30
    assert tab.locator("button:visible, input:visible").count() == 0
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", tab.locator("#written").inner_text())
    assert tab.locator('meta[http-equiv="refresh"]').count() == 1


def test_a_log_that_looks_like_a_page_is_shown_as_text(open_page: Open, tmp_path: Path) -> None:
    """The files behind the links are of strangers: the browser runs nothing in them."""
    bad = "<!DOCTYPE html><html><script>document.title = 'ran'</script></html>"
    for name in ("dlq/job1.json", "logs/job1.4.log", "dlq/job1.error.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(bad)
    tab = open_page(some())
    for name in ("log", "error", "plain"):
        tab.locator("#failures tbody tr").first.get_by_role("link", name=name, exact=True).click()
        tab.wait_for_url("**/job1.*")
        assert tab.title() != "ran"
        assert tab.evaluate("document.contentType") != "text/html"
        tab.go_back()


def test_a_chart_tells_its_values(open_page: Open) -> None:
    """Pointing at a chart shows the numbers of that minute."""
    tab = open_page(some())
    plot = tab.locator("#load figure").first
    box = plot.locator("svg").first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    assert re.fullmatch(r"now: \d+ done(, \d+ failed)?", plot.locator(".read").inner_text())


def test_print_shows_no_controls(open_page: Open) -> None:
    """On paper there is nothing to press, all rows have heads, no table is folded, and the page has its time."""
    tab = open_page(some())
    tab.emulate_media(media="print")
    assert tab.locator("button.copy:visible, button.all:visible, input:visible").count() == 0
    assert tab.locator("#waiting th").nth(1).get_by_text("Waiting for").is_visible()
    assert len(shown(tab, "waiting")) == 30
    after = tab.evaluate("getComputedStyle(document.getElementById('written'), '::after').content")
    assert re.search("attr|T.*Z", after)
