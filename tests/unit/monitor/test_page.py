"""page: a snapshot as a page that is safe to open, whatever stands in the jobs."""

from __future__ import annotations

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from queuectl.inbox.state import InboxFile, InboxRefusal
from queuectl.monitor import metrics, page
from queuectl.monitor.inboxes import EndedFile, InboxRow
from queuectl.monitor.queues import KeyRow, QueueRow
from queuectl.monitor.rows import (
    ArrivingRow,
    Bucket,
    CauseRow,
    DueRow,
    FailureRow,
    Finish,
    GroupProgress,
    GroupRow,
    HeldRow,
    Load,
    NextRow,
    PoolRow,
    RefusalRow,
    RunRow,
    WorkerRow,
)
from queuectl.monitor.schedule_rows import ScheduleRow
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
PATHS = ("dlq/job1.json", "logs/job1.4.log", "dlq/job1.error.txt")
BUCKETS = tuple(Bucket(NOON_AT + 60 * number, number % 3, number % 2, number, 1) for number in range(60))


def snapshot_of(text: str = "plain", **facts: object) -> Snapshot:
    """A snapshot with a row in each table, whose every text is `text`."""
    made = Snapshot(
        path=f"/srv/{text}",
        taken_at=NOON_AT,
        is_full=True,
        paused=text,
        counts={"pending": 2, "running": 1, "done": 7, "dlq": 2, "rejected": 1},
        ready=1,
        later=1,
        held=0,
        next_due_at=NOON_AT + 8,
        last_due_at=NOON_AT + 8,
        oldest_id=text,
        oldest_since=NOON_AT - 60,
        longest_since=NOON_AT - 30,
        pools=(PoolRow(text, text, 17, 2, NOON_AT - 3600),),
        runs=(RunRow(text, 1, text, NOON_AT - 30, 300.0, text, False, 20.0, "running/job1.json", "", 42, text),),
        failures=(
            FailureRow(text, NOON_AT - 5, 4, text, text, (text, text), False, *PATHS, text, (text, text)),
            FailureRow(text + "2", NOON_AT - 5, 4, text, text, (), True, *PATHS),
        ),
        cancelled=1,
        dues=(DueRow(text, NOON_AT + 8, 1, 3, text, text, "pending/job1,due=x.json"),),
        nexts=(NextRow(text, 1, 9, text, text, (text, text), NOON_AT - 60, "pending/job1.json"),),
        held_jobs=(HeldRow(text, text, text, (text, text), NOON_AT - 60, "pending/job1,hold.json"),),
        refusals=(RefusalRow(text, text, NOON_AT - 9),),
        foreign={"pending": 3},
        copies={"pending": 2},
        arriving=(ArrivingRow(text, 123_456, NOON_AT - 4, text), ArrivingRow(text, 12, None, text)),
        finishes=(
            Finish(NOON_AT - 20, 0.5, True, text, text, "", 1, *PATHS, (text, text)),
            Finish(NOON_AT - 5, 2.0, False, text, text, text, 4, *PATHS),
        ),
        inboxes=(
            InboxRow(text, text, "templates", text, 1, 1, text, 1, 1, 1, text, text, (InboxFile(text, 1, 1.0, text),)),
            InboxRow(
                *(text, text, "files", text, 1, 1, text, 1, 1, 1, text, text, (InboxFile(text, 1, 1.0, text),)),
                (InboxRefusal(text, text, ""),),
                command=text,
                working=1,
                last_done=EndedFile(text, text, NOON_AT - 9),
                last_failed=EndedFile(text, text, None),
            ),
        ),
        causes=(CauseRow(text, 1, NOON_AT - 5, NOON_AT - 5, (text,), text, (text, text), *PATHS),),
        load=Load(BUCKETS, BUCKETS),
        tags=(GroupRow(text, 1, 1, 7, 1),),
        owners=(GroupRow(text, 1, 1, 7, 1),),
        schedules=(ScheduleRow(text, text, NOON_AT - 60, NOON_AT + 60, False, 1, text),),
        queues=(
            QueueRow("mail", 12, 3, 4, 1, 1, text, NOON_AT + 60, True, (KeyRow(text, 5, 1),)),
            QueueRow(text, 1, 0, 0, 1, 1, None, None, False, (), is_set=False),
        ),
        groups=(GroupProgress(text, 5000, 2310, 3, 1, 8, 2678),),
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
    word = "two words" if page.link(f"rejected/{text}") else "two/words"  # a name that can be no file has no link
    plain = page.render(snapshot_of(word), advice=(word, word))
    assert Tags(made).tags == Tags(plain).tags
    links = [[each for each in Tags(some).links if "/" in each] for some in (made, plain)]
    assert [each.partition("/")[0] for each in links[0]] == [each.partition("/")[0] for each in links[1]]
    assert all(re.fullmatch(r"[a-z]+/[A-Za-z0-9._~%-]+", each) for each in links[0])
    outside = made.replace(page.source("page.css"), "").replace(page.source("page.js"), "")
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
    assert page.policy().startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (body,) = re.findall(f"<{tag}>(.*?)</{tag}>", made, re.DOTALL)
        assert f"{tag}-src '{page._hash(body)}'" in page.policy()
    assert "unsafe" not in page.policy()
    tags = Tags(made)
    attributes = {name for _, names in tags.tags for name in names}
    assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_page_fetches_nothing() -> None:
    """One file is all there is: its links lead to its own parts and to files of the spool."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    links = Tags(made).links
    assert {"dlq/job1.json", "logs/job1.4.log", "dlq/job1.error.txt", "running/job1.json", "pending/job1.json"} <= {
        *links
    }
    assert all(
        re.fullmatch(r"#[a-z]+|(dlq|logs|running|pending|rejected)/[A-Za-z0-9.%]+|status\.json", link) for link in links
    )
    assert not re.search(r"https?:|url\((?!#)|@import|<link|<iframe", made)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("dlq/job1.json", "dlq/job1.json"),
        ("pending/job 1,prio=9.json", "pending/job%201%2Cprio%3D9.json"),
        ('rejected/"><script>.json', "rejected/%22%3E%3Cscript%3E.json"),
        ("pending/a?b#c%2f.json", "pending/a%3Fb%23c%252f.json"),
        ("pending/\u202egnp.json", "pending/%E2%80%AEgnp.json"),
        ("pending/javascript:alert(1)", "pending/javascript%3Aalert%281%29"),
        ("pending/\udcff.json", "pending/%FF.json"),
        ("pending/\ud800.json", ""),
        ("javascript:alert(1)", ""),
        ("javascript:/alert(1)", ""),
        ("https://example.com/", ""),
        ("//example.com/x", ""),
        ("/etc/passwd", ""),
        ("dlq/../../x", ""),
        ("dlq/..", ""),
        ("dlq/.", ""),
        ("dlq/a\\..\\..\\x", ""),
        (".queuectl/identity", ""),
        ("dlq/", ""),
        ("dlq", ""),
        ("", ""),
    ],
)
def test_a_link_leads_to_a_file_of_the_spool_or_nowhere(path: str, address: str) -> None:
    """A name is one part of a path, percent-encoded: it is no scheme, no host, and leads to no other folder."""
    assert page.link(path) == address


def test_templates_have_no_way_around_the_escaping() -> None:
    """No filter undoes it, no template switches it off, and a name that is not there is an error."""
    assert {"safe", "tojson", "urlize", "xmlattr"} & {*page._environment().filters} == set()
    for name in page._environment().list_templates():
        assert not re.search(r"autoescape|\|\s*safe\b|Markup", page.source(name)), name
    assert page._environment().from_string("{{ x }}").render(x="<\u202e>") == "&lt;\\u202e&gt;"
    with pytest.raises(UndefinedError):
        page._environment().from_string("{{ missing }}").render()


def test_page_says_when_it_was_written_also_without_scripts() -> None:
    """The time is there as text, and the page loads itself anew; the alarm is hidden until the script finds it old."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert '<time id="written" datetime="2027-01-15T08:00:00Z">2027-01-15 08:00:00 UTC</time>' in made
    assert re.search(r'<p class="alarm" id="stale" role="alert" hidden>', made)
    assert 'data-stale="90"' in made
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in made


def test_a_queue_that_is_empty_and_well_can_raise_no_alarm() -> None:
    """Where nothing waits and nothing runs, a page that nobody writes is no trouble."""
    empty = {"pending": 0, "running": 0, "done": 7, "dlq": 0, "rejected": 0}
    made = page.render(snapshot_of(counts=empty, pools=(), runs=(), nexts=(), dues=(), paused=None), advice=NO_ADVICE)
    assert 'class="alarm"' not in made
    assert "queuectl worker start" not in made
    assert 'class="alarm"' in page.render(snapshot_of(counts=empty | {"pending": 1}), advice=NO_ADVICE)


def test_a_failure_comes_first_with_its_cause_output_and_command() -> None:
    """Dead jobs are above what runs and waits, with the last lines of output and the command that retries them."""
    made = page.render(snapshot_of("job1"), advice=NO_ADVICE)
    titles = [made.index(f">{title} <span") for title in ("Failed", "Running", "Next", "Later", "Rejected files")]
    assert titles == sorted(titles)
    assert "<h3><bdi>job1</bdi></h3>" in made
    assert "<bdi>job1\njob1\n</bdi></pre>" in made
    assert "These jobs will not run again automatically." in made
    assert "queuectl retry ID" in made
    assert "drag its file from dlq/ to pending/" in made


def test_the_column_of_times_holds_no_name_of_a_worker() -> None:
    """Beside a run are its usual time and its timeout."""
    run = RunRow("job1", 1, "host-17-1", NOON_AT - 30, 300.0, "make", True, 20.0, "running/job1.json")
    made = page.render(snapshot_of("job1", runs=(run,)), advice=NO_ADVICE)
    assert "timeout 5 min" in made
    assert "host-17-1" not in made


def test_a_held_job_has_a_row_with_the_command_that_releases_it() -> None:
    """What the headline counts as held is on the page, and what is left out is counted."""
    made = page.render(snapshot_of("job1", held=71), advice=NO_ADVICE)
    assert '>Held <span class="count">71</span></h2>' in made
    held = made[made.index('<section id="held"') :].partition("</section>")[0]
    assert '<table class="jobs" data-verb="release">' in held
    assert '<a class="id" href="pending/job1%2Chold.json">job1</a>' in held
    assert '70 more: <code class="run">queuectl list --state pending</code>' in held
    alone = snapshot_of(held=1, nexts=(), dues=())
    assert page.render(alone, advice=NO_ADVICE).count('href="#held"') == 1


def test_processes_have_rows_where_slots_share_them() -> None:
    """A process of one slot adds nothing to the row of its pool."""
    shared = WorkerRow("p-1", 4711, 4, 2, False), WorkerRow("p-2", 4712, 4, 1, True)
    made = page.render(snapshot_of(pools=(PoolRow("p", "h", 1, 4, NOON_AT, processes=shared),)), advice=NO_ADVICE)
    assert "2 of 4 slots used</td><td>process 4711</td>" in made and "ends after its jobs" in made
    assert ">Slots <span" in made and "<td>4 slots</td>" in made
    single = tuple(row._replace(slots=1) for row in shared)
    made = page.render(snapshot_of(pools=(PoolRow("p", "h", 1, 2, NOON_AT, processes=single),)), advice=NO_ADVICE)
    assert "4711" not in made and ">Workers <span" in made and "<td>2 workers</td>" in made


def test_counts_alone_show_no_text_of_a_job() -> None:
    """Where the setting says so the page has no tables of jobs, and says why."""
    found = snapshot_of("secret", path="/srv/spool", paused="", is_full=False, oldest_id="", pools=())
    made = page.render(found, advice=NO_ADVICE)
    assert "secret" not in made
    assert ">Recently finished</h2>" in made
    assert 'The page shows no jobs because the setting <code>dashboard</code> is "counts".' in made


def test_rows_that_are_left_out_are_counted_with_the_command_that_lists_them() -> None:
    """A table is short, and never looks complete when it is not."""
    counts = {"pending": 2000, "running": 900, "done": 7, "dlq": 301, "rejected": 1}
    made = page.render(snapshot_of("x", counts=counts, causes_left=299, ready=1500), advice=NO_ADVICE)
    assert '299 more failed jobs: <code class="run">queuectl dlq list</code>' in made
    assert '899 more: <code class="run">queuectl list --state running</code>' in made
    assert '1,499 more: <code class="run">queuectl list --state pending</code>' in made


def test_a_page_of_a_full_queue_stays_small() -> None:
    """With every table as long as a survey of 10,000 jobs makes it, the page has less than 250 KB."""
    ids = [f"20270115-080000-{number:06d}-ab1c" for number in range(200)]
    command, paths = "python resize.py --width 2048 photos/2027/january/0001.raw", (f"dlq/{ids[0]}.json", "", "")
    lines = ("a line of output that says what the command was doing just before the end",) * 6
    now_at = NOON_AT
    found = snapshot_of(
        counts={"pending": 9000, "running": 200, "done": 400, "dlq": 200, "rejected": 200},
        runs=tuple(RunRow(each, 1, "host-12345-ab1c-1", now_at, 3600.0, command, True, 60.0, paths[0]) for each in ids),
        nexts=tuple(NextRow(each, 0, 0, command, "anna", ("a", "b"), now_at, paths[0]) for each in ids),
        failures=tuple(FailureRow(each, now_at, 4, "exit 1", command, lines, False, *paths) for each in ids),
        causes=tuple(CauseRow(each, 9, 0.0, 1.0, tuple(ids[:5]), command, lines, *paths) for each in ids[:20]),
        dues=tuple(DueRow(each, now_at, 1, 3, "exit code 1", command, paths[0]) for each in ids),
        refusals=tuple(RefusalRow(f"{each}.json", "command: is missing", now_at) for each in ids),
        finishes=tuple(Finish(now_at, 1.0, True, each, command, "", 1, *paths) for each in ids),
        load=Load(BUCKETS, BUCKETS + BUCKETS[:36]),
        tags=tuple(GroupRow(each, 100, 100, 1000, 10) for each in ids[:20]),
        owners=tuple(GroupRow(each, 100, 100, 1000, 10) for each in ids[:20]),
    )
    assert len(page.render(found, advice=NO_ADVICE)) < 250_000


def test_odd_numbers_are_no_trouble() -> None:
    """Whatever instants and durations others wrote into records: there is a page."""
    odd = (Finish(0.0, 1e300, True), Finish(2.0e11, -5.0, False))
    found = snapshot_of(
        finishes=odd,
        oldest_since=2.0e11,
        longest_since=0.0,
        runs=(RunRow("x", -(10**30), "w", None, 1e9, "", True), RunRow("y", 0, "", 2.0e11, None, "", True)),
        failures=(FailureRow("x", None, 10**30, "", "", ()),),
        causes=(CauseRow("", 10**30, None, -1e300, ("x", "gone"), "", ()),),
        nexts=(NextRow("x", 10**30, -(10**30), "", since=1e300),),
        load=Load((Bucket(0.0, -5, 10**30, None, None),), (Bucket(1e300, 0, 0, -3, -3),)),
        dues=(DueRow("x", 0.0, 10**30, -1, ""),),
    )
    assert page.render(found, advice=NO_ADVICE).endswith("</html>\n")
    assert metrics.text(found).endswith("\n")


def test_what_is_on_its_way_or_left_alone_is_shown() -> None:
    """A half file with its size and how long it has been quiet, and how many names are of copies (P6, P11)."""
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert "123 KB" in made
    assert "12 bytes" in made
    assert "also holds 3 files of other programs, 2 of them named like unfinished or conflicting copies." in made


def test_empty_queue_has_a_page() -> None:
    """Nothing to show is no reason to fail."""
    empty = Snapshot(
        "/srv/spool", NOON_AT, True, None, dict.fromkeys(("pending", "running", "done", "dlq", "rejected"), 0),
        0, 0, 0, None, None, "", None, None, (), (), (), (), (), {}, {}, (), (),
    )  # fmt: skip
    made = page.render(empty, advice=NO_ADVICE)
    assert "<table" not in made
    assert "<section" not in made
    assert "<figure" not in made


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_words_stand_out_from_what_is_behind_them(scheme: str) -> None:
    """Each colour of a text has a contrast of 4.5 at least to each ground it is shown on (WCAG 1.4.3)."""
    blocks = re.findall(r":root\{([^}]*)\}", page.source("page.css"))
    assert len(blocks) == 3
    light, dark, ink = (dict(re.findall(r"--(\w+):(#\w+)", block)) for block in blocks)
    colours = {"light": light, "dark": light | dark, "print": light | ink}[scheme]
    grounds = [(word, ground) for word in ("ink", "soft", "bad", "accent") for ground in ("back", "card")]
    for word, ground in (*grounds, ("bad", "badback"), ("ink", "badback")):
        assert _contrast(colours[word], colours[ground]) >= 4.5, (word, ground)


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_compiled_templates_are_kept_and_never_trusted_to_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool need not compile what the last one did; a folder that is read-only, or a torn file, costs only time."""
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setattr(page, "CACHE", str(cache))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    shown = []
    for cut in (-40, 8, None):
        page._environment.cache_clear()
        shown.append(page.render(snapshot_of(), advice=("", "")))
        kept = sorted(cache.iterdir())
        assert kept
        for file in kept:
            file.write_bytes(file.read_bytes()[:cut])
    page._environment.cache_clear()
    shutil.rmtree(cache)
    shown.append(page.render(snapshot_of(), advice=("", "")))
    page._environment.cache_clear()
    assert len(set(shown)) == 1


def test_queues_have_a_table() -> None:
    """What waits and runs in each, its limit, and what holds it up; none without queues or with `counts`."""
    words = " ".join(" ".join(Tags(page.render(snapshot_of("why"), advice=NO_ADVICE)).words).split())
    assert "mail 12 waiting 3 running 4 at most paused: why until" in words
    assert "why 1 waiting 0 running no workers take it" in words
    assert 'id="queues"' not in page.render(snapshot_of(queues=()), advice=NO_ADVICE)


def test_results_are_shown_and_not_linked() -> None:
    """What a command gave back is escaped text: a browser may take its file, which has no known ending, for a page."""
    (finish, *_), (failure, *_) = snapshot_of().finishes, snapshot_of().failures
    lines = ("{", ' "<script>": "</pre>"', "}")
    failure = failure._replace(progress="42 %  page <3>", result=("<b>half</b>",))
    made = page.render(snapshot_of(finishes=(finish._replace(result=lines),), failures=(failure,)), advice=NO_ADVICE)
    assert "<bdi>{\n &#34;&lt;script&gt;&#34;: &#34;&lt;/pre&gt;&#34;\n}\n</bdi></pre></details>" in made
    assert "<bdi>&lt;b&gt;half&lt;/b&gt;\n</bdi>" in made
    assert "at <bdi>42 %  page &lt;3&gt;</bdi>" in made
    assert not any(each.endswith(".result") for each in Tags(made).links)
    silent = page.render(snapshot_of(finishes=(finish._replace(result=()),), failures=()), advice=NO_ADVICE)
    assert "<details" not in silent


def test_groups_have_a_table() -> None:
    """How far the jobs of one file are; none without groups or with `counts`."""
    words = " ".join(" ".join(Tags(page.render(snapshot_of("g", groups_left=7), advice=NO_ADVICE)).words).split())
    assert "g 2,310 of 5,000 done 3 failed 8 running 2,678 waiting 7 more: queuectl list" in words
    for found in (snapshot_of(groups=()), snapshot_of(is_full=False)):
        assert 'id="groups"' not in page.render(found, advice=NO_ADVICE)


def test_a_run_says_how_far_it_is() -> None:
    """The last line that a command wrote about itself, as it is."""
    (run,) = snapshot_of().runs
    made = page.render(snapshot_of(runs=(run._replace(percent=41.6, progress="page <3>"),)), advice=NO_ADVICE)
    assert "<span>42 %  page &lt;3&gt;</span>" in made
    silent = run._replace(percent=None, progress="")
    assert "page <" not in page.render(snapshot_of(runs=(silent,)), advice=NO_ADVICE)
