"""inboxes: what status, page, top and figures show of an inbox of files."""

from __future__ import annotations

import json

from queuectl.cli.commands import top_actions, top_facts, top_rows
from queuectl.cli.commands.top_rows import View
from queuectl.inbox.state import InboxEnd, InboxFile, InboxRefusal, InboxState
from queuectl.model import times
from queuectl.monitor import inboxes, page
from queuectl.monitor.facts import inbox_document
from queuectl.monitor.inboxes import row, sentence, without_texts
from tests.helpers import NOON_AT
from tests.unit.monitor.test_metrics import figures
from tests.unit.monitor.test_page import snapshot_of

ENDED_AT = times.to_text(NOON_AT - 125)
STATE = InboxState(
    owner="scans",
    path="/srv/scans",
    mode="files",
    listed_at=times.to_text(NOON_AT - 1),
    waiting=3,
    arriving=1,
    rows=(InboxFile("slow.pdf", 5000, 2.0, "a program has it open for writing"),),
    held_back="max_waiting = 6",
    rejected=1,
    refused=(InboxRefusal("second.pdf", "it has a second name", ""),),
    command="pdftotext '{file}'",
    working=6,
    last_done=InboxEnd("Scan 7.pdf", "scans-Scan-7-x", ENDED_AT),
    last_failed=InboxEnd("Scan 8.pdf", "scans-Scan-8-y", ENDED_AT),
)


def test_a_sentence_has_every_count() -> None:
    """A file that stays where it is was refused; only other modes rename it and call it rejected."""
    counts = "3 to be taken in, held back: max_waiting = 6; 1 still arriving; 6 in working/; 1 "
    assert sentence(STATE) == f"{counts}refused"
    assert sentence(InboxState(owner="a", path="/a", mode="signed", rejected=2)) == "2 rejected"


def test_status_json_has_the_files_that_ended_last() -> None:
    """And of other modes only what they have; with `dashboard = "counts"` no name and no command."""
    made = inbox_document(row(STATE))
    assert made["last_failed"] == {"name": "Scan 8.pdf", "id": "scans-Scan-8-y", "ended_at": ENDED_AT}
    assert (made["working"], made["command"]) == (6, "pdftotext '{file}'")
    assert "last_done" not in inbox_document(row(InboxState(owner="a", path="/a", mode="signed")))
    bare = json.dumps(inbox_document(row(without_texts(STATE))))
    assert not [word for word in ("Scan", ".pdf", "pdftotext") if word in bare]


def test_the_page_shows_each_file_that_a_person_may_ask_for() -> None:
    """What arrives, what is refused and why, what ended last, and the command."""
    made = page.render(snapshot_of(inboxes=(row(STATE),)), advice=("", ""))
    inside = made[made.index('id="inboxes"') :]
    inside = inside[: inside.index("</section>")]
    for words in ("slow.pdf", "open for writing", "second.pdf", "second name", "Scan 7.pdf", "scans-Scan-8-y"):
        assert words in inside, words
    assert inside.count("<time") == 2


def test_top_names_the_file_that_needs_a_person() -> None:
    """One that is refused, then one that failed after the last success; Enter shows all of them."""

    def facts(state: InboxState) -> str:
        group = top_rows.groups(snapshot_of(inboxes=(row(state),)), View())[top_rows.INBOX]
        (shown,) = group.rows
        assert group.title == "Inboxes 1" and shown.name == "scans"
        assert top_actions.cancel(shown).act is None and "inbox" in top_actions.retry(shown).words
        return top_facts.facts(shown.item, NOON_AT).plain

    assert facts(STATE).endswith("1 refused  second.pdf: it has a second name")
    quiet = {"owner": "scans", "path": "/srv/scans", "mode": "files", "last_done": STATE.last_done}
    assert facts(InboxState(**quiet)) == "nothing is waiting  last done: Scan 7.pdf"  # type: ignore[arg-type]
    later = InboxEnd("Scan 9.pdf", "j", times.to_text(NOON_AT))
    assert facts(InboxState(**quiet, last_failed=later)).endswith("last failed: Scan 9.pdf")  # type: ignore[arg-type]
    lines = inboxes.lines_of(row(STATE))
    assert lines[0] == "/srv/scans" and "refused: second.pdf: it has a second name" in lines
    assert lines[-1] == "last failed: Scan 8.pdf (job scans-Scan-8-y)"


def test_figures_of_an_inbox_by_owner() -> None:
    """The settings name the owners, so they may be labels."""
    from queuectl.monitor import metrics

    text = metrics.text(snapshot_of(inboxes=(row(STATE),)))
    for state, count in {"waiting": 3, "arriving": 1, "rejected": 1, "working": 6}.items():
        assert f'queuectl_inbox_files{{owner="scans",state="{state}"}} {count:.1f}' in text
    told = figures(snapshot_of(inboxes=(row(STATE),)))
    assert told["queuectl_inbox_unavailable", "scans"] == 0
    assert told["queuectl_inbox_listed_timestamp_seconds", "scans"] == NOON_AT - 1
    assert "pdf" not in text and "queuectl_inbox" not in metrics.text(snapshot_of(inboxes=()))
