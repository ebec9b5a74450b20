"""metrics: the figures for Prometheus."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from queuectl.monitor import metrics
from queuectl.monitor.schedule_rows import ScheduleRow
from queuectl.monitor.snapshot import Snapshot
from queuectl.spool.counts import Totals
from tests.helpers import NOON_AT
from tests.unit.monitor.test_page import snapshot_of


def figures(found: Snapshot) -> dict[tuple[str, str], float]:
    """The value of each sample by its name and its only label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(metrics.text(found))
        for sample in family.samples
    }


def test_every_line_is_of_the_exposition_format() -> None:
    """Prometheus' own parser reads the file: each family once, with its help and type, and none without a sample."""
    text = metrics.text(snapshot_of(totals=Totals(5, 2, 1)))
    assert text.endswith("\n") and "\r" not in text
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families) == 23
    for family in families:
        assert family.documentation and family.samples
        assert family.type == ("counter" if family.name == "queuectl_ended_runs" else "gauge")
        assert {sample.name for sample in family.samples} <= {family.name, f"{family.name}_total"}


def test_figures_are_those_of_the_snapshot() -> None:
    """Jobs by state, the oldest one's age, workers, what has ended, and when it was all so."""
    found = snapshot_of(taken_at=NOON_AT + 0.25, totals=Totals(5, 2, 1), paused=None)
    told = figures(found)
    assert {key: value for key, value in told.items() if key[0] == "queuectl_jobs"} == {
        ("queuectl_jobs", state): count for state, count in found.counts.items()
    }
    assert told["queuectl_waiting_jobs", "later"] == found.later
    assert told["queuectl_oldest_waiting_age_seconds", ""] == 60.25
    assert told["queuectl_workers", ""] == found.workers
    assert told["queuectl_paused", ""] == 0
    assert told["queuectl_recent_run_duration_seconds", "0.5"] == 0.5
    assert told["queuectl_written_timestamp_seconds", ""] == NOON_AT + 0.25
    assert [told["queuectl_ended_runs_total", key] for key in ("done", "failed", "retried")] == [5, 2, 1]


def test_without_counts_no_counter_is_made_up() -> None:
    """A counter that nobody keeps is absent, and is not zero."""
    assert "queuectl_ended_runs" not in metrics.text(snapshot_of(totals=None))


def test_no_text_of_a_job_is_a_label() -> None:
    """Neither names nor commands of jobs are given to a program that keeps them."""
    nightly = ScheduleRow("nightly", "secret", NOON_AT, None, False, 0, "secret")
    inboxes = tuple(row._replace(owner="scans") for row in snapshot_of("secret").inboxes[1:])  # the settings name it
    assert "secret" not in metrics.text(snapshot_of("secret", schedules=(nightly,), inboxes=inboxes))


def test_figures_of_the_queues_that_the_settings_name() -> None:
    """Producers may name any number of others, so those are no labels."""
    told = figures(snapshot_of())
    kinds = ("waiting_jobs", "running_jobs", "slots", "paused")
    assert [told[f"queuectl_queue_{kind}", "mail"] for kind in kinds] == [12, 3, 4, 1]
    assert {queue for (name, queue) in told if name.startswith("queuectl_queue_")} == {"mail"}
    assert "queuectl_queue" not in metrics.text(snapshot_of(queues=()))
