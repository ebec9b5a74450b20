"""status.html in a real browser, judged by axe-core: no fault, however it is looked at.

Run with `pytest -m browser tests/browser` after `pip install -e . --group browser`, which brings Playwright and
axe-core; the browser is a Chromium of the system's. Skipped, with the reason, where one of them is not there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from queuectl.model.lifecycle import Outcome
from queuectl.model.settings import defaults
from queuectl.monitor import page
from queuectl.monitor.rows import CauseRow, DueRow, FailureRow, NextRow, RefusalRow, RunRow
from queuectl.pool.dashboard import Dashboard
from queuectl.spool.folder import SpoolDir
from tests.helpers import NOON_AT, Desk, write_drop
from tests.unit.monitor.test_page import HOSTILE, snapshot_of

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

WIDTHS = {"wide": (1280, 900), "narrow": (360, 740)}


def faults(browser: Any, axe: str, path: Path, *, scheme: str, width: str) -> list[str]:
    """What axe-core finds wrong in a page, a line each; and what is wider than the screen."""
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(color_scheme=scheme, viewport=size)
    try:
        tab = context.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
        tab.goto(path.as_uri())
        tab.evaluate(axe)
        # It takes seconds for a thousand rows: the page is not to load itself anew meanwhile.
        found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
        wrong = [
            f"{each['impact']}: {each['id']}: {each['help']}: {node['html'][:200]}"
            for each in found["violations"]
            for node in each["nodes"][:3]
        ]
        overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wrong += [f"it is {overflow} pixels wider than the screen"] if overflow > 0 else []
        return wrong + [f"the browser says: {text}" for text in said]
    finally:
        context.close()


def without_reload(text: str) -> str:
    """A page that does not load itself anew in the middle of being judged."""
    return re.sub('data-reload="[0-9]+"', 'data-reload="0"', text)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_of_a_thousand_hostile_jobs_has_no_fault(
    browser: Any, axe: str, tmp_path: Path, scheme: str, width: str
) -> None:
    """Two hundred rows a table, as many as there can be, with texts that attack the page; nothing of them acts."""
    texts = [*HOSTILE, "x" * 400, "W" * 100 + " " + "/very/long/path" * 20]
    words = [texts[number % len(texts)] + str(number) for number in range(200)]
    found = snapshot_of(
        HOSTILE[0],
        counts={"pending": 1000, "running": 1000, "done": 1000, "dlq": 1000, "rejected": 1000},
        runs=tuple(RunRow(text, 1, text, NOON_AT - 30, 300.0, text, False) for text in words),
        failures=tuple(FailureRow(text, NOON_AT - 5, 4, text, text, (text, text)) for text in words),
        causes=tuple(CauseRow(text, 9, NOON_AT - 5, NOON_AT - 9, (text,), text, (text, text)) for text in words[:50]),
        nexts=tuple(NextRow(text, 1, 9, text, text, (text,), NOON_AT - 9) for text in words),
        dues=tuple(DueRow(text, NOON_AT + 8, 1, 3, text) for text in words),
        refusals=tuple(RefusalRow(text, text, NOON_AT - 9) for text in words),
    )
    path = tmp_path / "status.html"
    path.write_text(without_reload(page.render(found, advice=("queuectl dlq list", "dead jobs"))), encoding="utf-8")
    assert faults(browser, axe, path, scheme=scheme, width=width) == []


@pytest.mark.parametrize("kind", ["empty", "busy", "counts"])
def test_a_page_as_it_is_written_has_no_fault(browser: Any, axe: str, spool: SpoolDir, desk: Desk, kind: str) -> None:
    """The file that a pool writes: of an empty queue, of one with some of everything, and without texts of jobs."""
    if kind != "empty":
        for number in range(3):
            desk.run(desk.enqueue(id=f"done{number}"), Outcome("succeeded", 0, "", 0.2))
        desk.run(desk.enqueue(id="dead", max_retries=0), Outcome("failed", 3, "", 0.2))
        desk.run(desk.enqueue(id="again"), Outcome("failed", 3, "", 0.2))
        write_drop(spool, "odd.json", {"no": "job"}, "rejected")
        desk.start(desk.enqueue(id="runs"))
    settings = defaults()._replace(dashboard="counts" if kind == "counts" else "full")
    Dashboard(desk.session._replace(settings=settings)).close()
    path = Path(spool.root, "status.html")
    path.write_text(without_reload(path.read_text(encoding="utf-8")), encoding="utf-8")
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            assert faults(browser, axe, path, scheme=scheme, width=width) == []


def test_a_fault_would_be_found(browser: Any, axe: str, tmp_path: Path) -> None:
    """What is asked here can be answered with no: soft words of hardly any contrast are a fault."""
    path = tmp_path / "status.html"
    bad = page.source("page.css").replace("--soft:#59626e", "--soft:#d5d9de")
    made = without_reload(page.render(snapshot_of(), advice=("", ""))).replace(page.source("page.css"), bad)
    path.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", made), encoding="utf-8")
    assert any("color-contrast" in each for each in faults(browser, axe, path, scheme="light", width="wide"))
