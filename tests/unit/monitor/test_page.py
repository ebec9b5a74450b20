"""page: a snapshot as a page that is safe to open, whatever stands in the jobs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from queuectl.inbox.state import InboxFile
from queuectl.monitor import metrics, page, theme
from queuectl.monitor.inboxes import InboxRow
from queuectl.monitor.rows import ArrivingRow, DueRow, FailureRow, Finish, PoolRow, RefusalRow, RunRow
from queuectl.monitor.snapshot import Snapshot
from tests.helpers import NOON_AT

HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "'><img src=x onerror=alert(1)>",
    "</pre></code></style></title><svg onload=alert(1)>",
    "<!-- --!><base href='https://example.com/'>",
    "&lt;script&gt; &#60;b&#62;",
    "\u202egnp.exe\u2066",
    "\x1b]0;title\x07\x1b[31mred",
    "nul\x00 lone \ud800 tag \U000e0041",
)
NO_ADVICE = ("", "")


def snapshot_of(text: str = "plain", **facts: object) -> Snapshot:
    """A snapshot with a row in each table, whose every text is `text`."""
    made = Snapshot(
        path=f"/srv/{text}",
        taken_at=NOON_AT,
        is_full=True,
        paused=text,
        counts={"pending": 2, "running": 1, "done": 7, "dlq": 1, "rejected": 1},
        ready=1,
        later=1,
        held=0,
        next_due_at=NOON_AT + 8,
        last_due_at=NOON_AT + 8,
        oldest_id=text,
        oldest_since=NOON_AT - 60,
        longest_since=NOON_AT - 30,
        pools=(PoolRow(text, text, 17, 2, NOON_AT - 3600),),
        runs=(RunRow(text, 1, text, NOON_AT - 30, 300.0, text, False),),
        failures=(FailureRow(text, NOON_AT - 5, 4, text, text, (text, text)),),
        dues=(DueRow(text, NOON_AT + 8, 1, 3, text),),
        refusals=(RefusalRow(text, text, NOON_AT - 9),),
        foreign={"pending": 3},
        copies={"pending": 2},
        arriving=(ArrivingRow(text, 123_456, NOON_AT - 4, text), ArrivingRow(text, 12, None, text)),
        finishes=(Finish(NOON_AT - 20, 0.5, True), Finish(NOON_AT - 5, 2.0, False)),
        inboxes=(
            InboxRow(text, text, "templates", text, 1, 1, text, 1, 1, 1, text, text, (InboxFile(text, 1, 1.0, text),)),
        ),
    )
    return made._replace(**facts)


class Tags(HTMLParser):
    """The tags and attributes of a page, and the text outside of its script and style sheet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]

    def handle_data(self, data: str) -> None:
        if not (self.tags and self.tags[-1][0] in ("script", "style")):
            self.words.append(data)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_job_is_live(text: str) -> None:
    """A page of hostile texts has the tags and attributes of a page of plain ones, and no others."""
    made = page.render(snapshot_of(text), advice=(text, text))
    assert Tags(made).tags == Tags(page.render(snapshot_of(), advice=("plain", "plain"))).tags
    outside = made.replace(theme.STYLE, "").replace(theme.SCRIPT, "")
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e007f]", outside
    )


@pytest.mark.parametrize("text", HOSTILE[:6])
def test_texts_are_shown_as_they_are(text: str) -> None:
    """What is harmless once it is escaped is not changed: a person reads what stands in the job."""
    assert "".join(Tags(page.render(snapshot_of(text), advice=NO_ADVICE)).words).count(text) >= 10


def test_page_runs_only_its_own_script_and_style() -> None:
    """The policy names the script and the style sheet by hash, and there are no other ones and no inline handlers."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert made.index("Content-Security-Policy") < made.index("<title>")
    assert theme.policy().startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", made, re.DOTALL)
        assert f"{tag}-src '{theme._hash(body)}'" in theme.policy()
    assert "unsafe" not in theme.policy()
    tags = Tags(made)
    attributes = {name for _, names in tags.tags for name in names}
    assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_page_fetches_nothing() -> None:
    """One file is all there is: its links lead to its own parts."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert all(link.startswith("#") for link in Tags(made).links)
    assert not re.search(r"https?:|url\((?!#)|@import|<link|<iframe", made)


def test_page_says_when_it_was_written_also_without_scripts() -> None:
    """The time stands there as text; the banner is hidden until the script finds the page old."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert '<time id="written" datetime="2027-01-15T08:00:00.000Z">2027-01-15 08:00:00 UTC</time>' in made
    assert re.search(r'<div class="alarm" id="stale" role="alert" data-after="90" hidden>', made)
    assert '<meta http-equiv="refresh" content="10">' in made


def test_a_failure_comes_first_and_tells_what_to_do() -> None:
    """A dead job stands above what runs, with its output and the command that runs it again."""
    made = page.render(snapshot_of("job1"), advice=NO_ADVICE)
    assert made.index("<h2>Failures") < made.index("<h2>Running") < made.index("<h2>Waiting for their time")
    assert "<code>queuectl dlq retry job1</code>" in made
    assert "drag its file from dlq/ to pending/" in made
    assert "<pre><bdi>job1\njob1</bdi></pre>" in made


def test_counts_alone_show_no_text_of_a_job() -> None:
    """Where the setting says so the page has no tables of jobs, and says why."""
    found = snapshot_of("secret", path="/srv/spool", paused="", is_full=False, oldest_id="", pools=())
    made = page.render(found, advice=NO_ADVICE)
    assert "secret" not in made
    assert "<h2>Finished lately" in made


def test_rows_that_are_left_out_are_told_with_the_command_that_lists_them() -> None:
    """A table is short, and never looks complete when it is not."""
    found = snapshot_of("x", counts={"pending": 2, "running": 900, "done": 7, "dlq": 301, "rejected": 1})
    made = page.render(found, advice=NO_ADVICE)
    assert "... and 300 more: <code>queuectl dlq list</code>" in made
    assert "... and 899 more: <code>queuectl list --state running</code>" in made


def test_odd_numbers_are_no_trouble() -> None:
    """Whatever instants and durations others wrote into records: there is a page."""
    odd = (Finish(0.0, 1e300, True), Finish(2.0e11, -5.0, False))
    found = snapshot_of(
        finishes=odd,
        oldest_since=2.0e11,
        longest_since=0.0,
        runs=(RunRow("x", -(10**30), "w", None, 1e9, "", True), RunRow("y", 0, "", 2.0e11, None, "", True)),
        failures=(FailureRow("x", None, 10**30, "", "", ()),),
        dues=(DueRow("x", 0.0, 10**30, -1, ""),),
    )
    assert page.render(found, advice=NO_ADVICE).endswith("</html>\n")
    assert metrics.text(found).endswith("\n")


def test_what_is_on_its_way_or_left_alone_is_shown() -> None:
    """A half file with its size and how long it has been quiet, and how many names are of copies (P6, P11)."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert "123 KB" in made
    assert "12 bytes" in made
    assert "holds 3 files of somebody else, left alone: 2 with names of unfinished or conflicting copies." in made


def test_empty_queue_has_a_page() -> None:
    """Nothing to show is no reason to fail."""
    empty = Snapshot(
        "/srv/spool", NOON_AT, True, None, dict.fromkeys(("pending", "running", "done", "dlq", "rejected"), 0),
        0, 0, 0, None, None, "", None, None, (), (), (), (), (), {}, {}, (), (),
    )  # fmt: skip
    made = page.render(empty, advice=NO_ADVICE)
    assert "No workers run." in made
    assert "<table>" not in made
    assert "<svg class" not in made


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_words_stand_out_from_what_is_behind_them(scheme: str) -> None:
    """Each colour of a text has a contrast of 4.5 at least to each ground it is shown on (WCAG 1.4.3)."""
    blocks = re.findall(r":root\{([^}]*)\}", theme.STYLE)
    assert len(blocks) == 3
    light, dark, ink = (dict(re.findall(r"--(\w+):(#\w+)", block)) for block in blocks)
    colours = {"light": light, "dark": light | dark, "print": light | ink}[scheme]
    grounds = [(word, ground) for word in ("ink", "soft", "bad") for ground in ("back", "card", "code")]
    for word, ground in (*grounds, ("bad", "badback"), ("good", "card")):
        assert _contrast(colours[word], colours[ground]) >= 4.5, (word, ground)


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
