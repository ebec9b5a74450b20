"""page_facts: what the page tells beside the rows of a snapshot."""

from __future__ import annotations

import pytest

from queuectl.model.text import command_text
from queuectl.monitor import page, page_facts
from queuectl.monitor.headline import headline
from queuectl.monitor.rows import CauseRow, EndedPool, Finish, RefusalRow, RunRow
from queuectl.monitor.snapshot import pace
from queuectl.spool.counts import DIED, DRAINED
from tests.helpers import NOON_AT
from tests.unit.monitor.test_page import NO_ADVICE, snapshot_of


def test_only_a_plain_id_gets_into_a_command() -> None:
    """The command that retries the jobs of a cause is there only if no shell takes an id for anything else."""
    plain = CauseRow("x", 2, None, None, ("job1", "job-2.b"), "", ())
    assert page_facts._retry(plain) == "retry job1 job-2.b"
    for bad in ("$(reboot)", "a;b", "a b", "-rf", "a\nb", "`x`", "%PATH%", "", "ä"):
        assert page_facts._retry(plain._replace(ids=("job1", bad))) == ""
    assert page_facts._retry(plain._replace(jobs=3)) == ""


def test_a_command_names_the_spool_in_quotes_or_not_at_all() -> None:
    """A copied command works from any folder; a path that a shell could take for something else is left out."""
    assert page_facts.command_of("/srv/queue") == "queuectl --spool /srv/queue"
    assert page_facts.command_of("/srv/my queue") == f"queuectl --spool {command_text(['/srv/my queue'])}"
    for strange in ("/srv/$(x)", "/srv/`x`", "/srv/%PATH%", "/srv/a\nb", "/srv/\u202ex"):
        assert page_facts.command_of(strange) == "queuectl"


def test_a_run_is_shown_against_its_usual_time_and_timeout() -> None:
    """The bar spans twice the usual time, at most the timeout, and says when a run is late."""
    row = RunRow("x", 1, "w", NOON_AT - 30, 300.0, "", True, 20.0)
    assert page_facts.gauge(row, NOON_AT) == page_facts.Gauge(40.0, 75.0, 50.0, False)
    assert page_facts.gauge(row._replace(usual_s=None), NOON_AT) == page_facts.Gauge(300.0, 10.0, None, False)
    assert page_facts.gauge(row._replace(timeout_s=36.0), NOON_AT).total_s == 36.0
    assert page_facts.gauge(row._replace(usual_s=10.0), NOON_AT).is_late
    assert page_facts.gauge(row._replace(usual_s=None, timeout_s=32.0), NOON_AT).is_late
    assert page_facts.gauge(row._replace(usual_s=None, timeout_s=None), NOON_AT).total_s == 0
    assert page_facts.gauge(row._replace(started_at=None), NOON_AT).total_s == 0
    made = page.render(snapshot_of(), advice=NO_ADVICE)
    assert "usually 20 s" in made
    assert "timeout 5 min" in made


def test_the_age_in_the_headline_is_one_that_the_script_counts_on() -> None:
    """The sentence is that of `headline`, and how long the oldest job has waited stands apart."""
    busy = snapshot_of(paused=None, next_due_at=None)
    for found, age in ((busy, "1 min"), (busy._replace(oldest_since=None), ""), (busy._replace(pools=()), "1 min")):
        made = page_facts.headline_of(found)
        assert made.age == age
        assert made.before + made.age + made.after == headline(found)


@pytest.mark.parametrize(
    ("seconds", "text", "exact"),
    [
        (-5, "0 s", "0 s"),
        (59.9, "59 s", "59 s"),
        (60, "1 min", "1 min"),
        (61, "1 min", "1 min 1 s"),
        (7500, "2 h 5 min", "2 h 5 min"),
        (7200, "2 h", "2 h"),
        (270_000, "3 d 3 h", "3 d 3 h"),
        (1e300, "36,600 d", "36,600 d"),
    ],
)
def test_a_time_is_said_with_its_unit(seconds: float, text: str, exact: str) -> None:
    """A time that passes has one or two units."""
    assert (page_facts.span_text(seconds), page_facts.span_text(seconds, True)) == (text, exact)


def test_what_took_less_than_a_minute_is_said_closely() -> None:
    """Durations of jobs tell milliseconds and tenths apart."""
    shown = [page_facts.took_text(each) for each in (-1, 0.0004, 0.25, 0.9996, 4.25, 9.99, 75, 4000)]
    assert shown == ["0 ms", "0 ms", "250 ms", "1 s", "4.2 s", "10 s", "1 min 15 s", "1 h 6 min"]


def test_a_failure_is_news_for_an_hour() -> None:
    """The mark at the top is red while something failed lately or has lost its worker, and not for ever after."""
    quiet = snapshot_of(paused=None, failed_last_hour=0, causes=(), refusals=(), runs=())
    assert page_facts.health_of(quiet) == "good"
    assert page_facts.health_of(quiet._replace(failed_last_hour=1)) == "bad"
    for age_s, health in ((3000, "bad"), (4000, "good")):
        cause = CauseRow("x", 1, NOON_AT - age_s, None, ("x",), "", ())
        assert page_facts.health_of(quiet._replace(causes=(cause,))) == health
        assert page_facts.health_of(quiet._replace(refusals=(RefusalRow("x", "x", NOON_AT - age_s),))) == health
    assert page_facts.health_of(quiet._replace(runs=(RunRow("x", 1, "w", NOON_AT, None, "", False),))) == "bad"
    assert page_facts.health_of(quiet._replace(paused="")) == "still"
    assert page_facts.health_of(quiet._replace(pools=())) == "still"
    nothing = dict.fromkeys(quiet.counts, 0)
    assert page_facts.health_of(quiet._replace(pools=(), counts=nothing)) == "gone"


def test_the_small_print_says_only_what_there_is() -> None:
    """No figure has a zero below it, and a queue that no pool works on tells for how long."""
    busy = snapshot_of(oldest_since=None, longest_since=None, later=0, cancelled=0, ended_pool=None)
    parts = {each.label: each.parts for each in page_facts.stats_of(busy)}
    assert parts == {"Running": (("2 workers", None),), "Waiting": (), "Done": (), "Failed": (), "Rejected": ()}
    gone = busy._replace(pools=(), ended_pool=EndedPool(DRAINED, NOON_AT - 60))
    assert page_facts.stats_of(gone)[0].parts == (("no workers for", NOON_AT - 60),)
    assert page_facts.ended_text(EndedPool(DIED, None)) == "died"
    assert "Rejected" not in [
        each.label for each in page_facts.stats_of(busy._replace(counts={**busy.counts, "rejected": 0}))
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/photos/spool", "photos/spool"),
        ("/srv/photos/spool/", "photos/spool"),
        ("C:\\photos\\spool", "photos/spool"),
        ("/spool", "spool"),
        ("spool", "spool"),
        ("/srv/photos", "photos"),
    ],
)
def test_a_spool_with_the_usual_name_shows_its_parent_folder(path: str, name: str) -> None:
    """Two pages in two tabs have different titles, although most spools are called `spool`."""
    assert page_facts.name_of(path) == name
    made = page.render(snapshot_of(path=path), advice=NO_ADVICE)
    assert f" - {name}</title>" in made
    assert f"Queue <bdi>{name}</bdi>" in made


def test_the_durations_of_one_or_two_jobs_are_no_statistics() -> None:
    """Shares of a half and of 95% appear only if there are three jobs at least."""
    finishes = [Finish(NOON_AT + number, took_s, True) for number, took_s in enumerate((1.0, 3.0, 2.0))]
    assert [page_facts.durations_of(pace(finishes[:number])) for number in range(4)] == [
        "",
        "The last job took 1 s.",
        "The longer of the last 2 jobs took 3 s.",
        "Of the last 3 jobs, half took 2 s or less, 95% took 3 s or less, and the longest took 3 s.",
    ]


def test_output_that_the_cause_repeats_is_shown_once() -> None:
    """The box with the output appears only if it has more than the heading."""
    cause = CauseRow("exit 3: disk full", 1, None, None, ("x",), "", ("disk full ",))
    for output, is_shown in ((cause.output, False), ((), False), (("a", "disk full"), True), (("no page",), True)):
        found = snapshot_of(causes=(cause._replace(output=output),))
        assert ("Last lines of output" in page.render(found, advice=NO_ADVICE)) == is_shown, output


def test_jobs_that_ended_are_not_taken_for_files_that_are_there() -> None:
    """More jobs may have ended than are left in done/ and dlq/, so the small print says what it counts."""
    small = {each.label: each.parts for each in page_facts.stats_of(snapshot_of(done_last_hour=8, failed_last_hour=3))}
    assert small["Done"] == (("8 ended in the last hour", None),)
    assert small["Failed"][0] == ("3 failed in the last hour", None)
