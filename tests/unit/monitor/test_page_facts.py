"""page_facts: what the page tells beside the rows of a snapshot."""

from __future__ import annotations

import pytest

from queuectl.model.text import command_text
from queuectl.monitor import page, page_facts
from queuectl.monitor.headline import headline
from queuectl.monitor.rows import CauseRow, EndedPool, RefusalRow, RunRow
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
