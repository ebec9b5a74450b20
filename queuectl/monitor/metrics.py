"""queuectl.prom: a snapshot in the text exposition format of Prometheus. Computes only.

The file is for the "textfile" collector of node_exporter, which takes any file that ends in .prom. prometheus-client
makes the text; only a pool with the setting `metrics` imports it. No figure carries a text of a job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from queuectl.model import times
from queuectl.model.inbox import FILES
from queuectl.monitor.queues import QueueRow
from queuectl.monitor.snapshot import Snapshot, pace
from queuectl.spool.counts import Totals

_QUANTILES = (("0.5", "median_s"), ("0.95", "p95_s"), ("1", "longest_s"))
_OF_A_QUEUE: tuple[tuple[str, str, Callable[[QueueRow], float]], ...] = (
    ("waiting_jobs", "Waiting jobs of a queue.", lambda row: row.waiting),
    ("running_jobs", "Running jobs of a queue.", lambda row: row.running),
    ("slots", "The most jobs of a queue that may run at once; 0: no limit.", lambda row: row.slots),
    ("paused", "1 while the file PAUSED-QUEUE exists.", lambda row: row.paused is not None),
    ("halted", "1 while the circuit breaker has paused a queue.", lambda row: row.is_halted),
    (
        "failures_in_a_row",
        "How many runs of a queue with a circuit breaker have failed in a row.",
        lambda row: row.failures,
    ),
)


def text(found: Snapshot) -> str:
    """Return the whole file."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(found))
    return generate_latest(registry).decode()


class _Figures(Collector):
    """The figures of one snapshot."""

    def __init__(self, found: Snapshot) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        found = self._found
        yield _by("queuectl_jobs", "Jobs (files) in a folder of the spool.", "state", found.counts)
        yield _gauge("queuectl_cancelled_jobs", "Cancelled jobs among those in dlq.", found.cancelled)
        yield _by(
            "queuectl_waiting_jobs",
            "Waiting jobs: they could run now, wait for their time, are paused, held, blocked, or not whole yet.",
            "when",
            {
                "now": found.ready,
                "later": found.later,
                "paused": found.stopped,
                "held": found.held,
                "blocked": found.blocked,
                "incomplete": found.incomplete,
            },
        )
        yield _gauge(
            "queuectl_oldest_waiting_age_seconds",
            "How long the oldest job that could run now has waited.",
            _age_s(found, found.oldest_since),
        )
        yield _gauge(
            "queuectl_longest_run_age_seconds",
            "How long the longest of the running jobs has run.",
            _age_s(found, found.longest_since),
        )
        yield _gauge("queuectl_pools", "Live worker pools.", len(found.pools))
        yield _gauge("queuectl_workers", "Workers of all live pools.", found.workers)
        yield _gauge("queuectl_paused", "1 while the file PAUSED exists.", found.paused is not None)
        yield _gauge(
            "queuectl_recently_skipped_jobs",
            "Jobs that were skipped in the last hour, of the newest records in done.",
            found.skipped_last_hour,
        )
        yield from _queues(found)
        yield from _schedules(found)
        yield from _inboxes(found)
        if found.totals is not None:
            yield _ended(found.totals)
        speed = pace(found.finishes)._asdict()
        yield _by(
            "queuectl_recent_run_duration_seconds",
            "How long the newest finished jobs ran.",
            "quantile",
            {share: speed[key] for share, key in _QUANTILES if speed[key] is not None},
        )
        # The collector goes on exporting a file that nobody writes any more: this number shows it.
        yield _gauge(
            "queuectl_written_timestamp_seconds",
            "When these figures were taken, seconds since 1970 UTC.",
            found.taken_at,
        )


def _queues(found: Snapshot) -> Iterator[Metric]:
    """Yield the figures of the queues that the settings name: producers may name any number of others."""
    rows = [row for row in found.queues if row.is_set]
    if not rows:
        return
    for name, help_text, value in _OF_A_QUEUE:
        yield _by(f"queuectl_queue_{name}", help_text, "queue", {row.queue: value(row) for row in rows})


def _schedules(found: Snapshot) -> Iterator[Metric]:
    """Yield the figures of the schedules that a snapshot names."""
    rows = found.schedules
    if not rows:
        return
    states = {"active": 0, "paused": 0, "mistaken": 0}
    for row in rows:
        states["mistaken" if row.why else "paused" if row.is_held else "active"] += 1
    yield _by("queuectl_schedules", "Schedules: they make jobs, are paused, or have a mistake.", "state", states)
    if lasts := {row.schedule: row.last_at for row in rows if row.last_at is not None}:
        yield _by(
            "queuectl_schedule_last_tick_timestamp_seconds",
            "The last tick of which a schedule has made a job, seconds since 1970 UTC.",
            "schedule",
            lasts,
        )
    yield _by(
        "queuectl_schedule_skipped_ticks",
        "Ticks of a schedule without a job, because the last job had not ended.",
        "schedule",
        {row.schedule: row.skipped for row in rows},
    )


def _inboxes(found: Snapshot) -> Iterator[Metric]:
    """Yield the figures of the inboxes that the settings name, by the owner of their jobs."""
    rows = found.inboxes
    if not rows:
        return
    files = GaugeMetricFamily(
        "queuectl_inbox_files",
        "Files in an inbox: to be taken in, still arriving, rejected, and in working/ (mode files).",
        labels=["owner", "state"],
    )
    for row in rows:
        counts = {"waiting": row.waiting, "arriving": row.arriving, "rejected": row.rejected}
        if row.mode == FILES:
            counts["working"] = row.working
        for state, count in counts.items():
            files.add_metric([row.owner, state], float(count))
    yield files
    yield _by(
        "queuectl_inbox_unavailable",
        "1 while an inbox cannot be read, or is refused.",
        "owner",
        {row.owner: bool(row.trouble) for row in rows},
    )
    if listed := {row.owner: at for row in rows if (at := times.instant(row.listed_at)) is not None}:
        yield _by(
            "queuectl_inbox_listed_timestamp_seconds",
            "When an inbox was listed last, seconds since 1970 UTC.",
            "owner",
            listed,
        )


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _by(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    made = GaugeMetricFamily(name, help_text, labels=[label])
    for key, value in values.items():
        made.add_metric([key], float(value))
    return made


def _ended(totals: Totals) -> Metric:
    made = CounterMetricFamily(
        "queuectl_ended_runs",
        "Runs that ended, by the result for the job: done, failed (dead), or retried. Since the counts began.",
        labels=["outcome"],
    )
    for outcome, count in totals._asdict().items():
        made.add_metric([outcome], float(count))
    return made


def _age_s(found: Snapshot, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, found.taken_at - since)
