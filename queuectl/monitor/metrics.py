"""queuectl.prom: a snapshot in the text exposition format of Prometheus. Computes only.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format. The file is for the
"textfile" collector of node_exporter, which takes any file that ends in .prom. No figure carries a text of a job.
"""

from __future__ import annotations

from collections.abc import Iterator

from queuectl.monitor.snapshot import Snapshot, pace

_QUANTILES = (("0.5", "median_s"), ("0.95", "p95_s"), ("1", "longest_s"))


def text(found: Snapshot) -> str:
    """Return the whole file."""
    return "".join(f"{line}\n" for line in _lines(found))


def _lines(found: Snapshot) -> Iterator[str]:
    yield from _gauge("queuectl_jobs", "Jobs (files) in a folder of the spool.")
    for state, count in found.counts.items():
        yield f'queuectl_jobs{{state="{state}"}} {count}'
    yield from _gauge("queuectl_cancelled_jobs", "Cancelled jobs among those in dlq.")
    yield f"queuectl_cancelled_jobs {found.cancelled}"
    yield from _gauge(
        "queuectl_waiting_jobs",
        "Waiting jobs: they could run now, wait for their time, are paused, held, or not whole yet.",
    )
    yield f'queuectl_waiting_jobs{{when="now"}} {found.ready}'
    yield f'queuectl_waiting_jobs{{when="later"}} {found.later}'
    yield f'queuectl_waiting_jobs{{when="paused"}} {found.stopped}'
    yield f'queuectl_waiting_jobs{{when="held"}} {found.held}'
    yield f'queuectl_waiting_jobs{{when="blocked"}} {found.blocked}'
    yield from _gauge("queuectl_oldest_waiting_age_seconds", "How long the oldest job that could run now has waited.")
    yield f"queuectl_oldest_waiting_age_seconds {_age_s(found, found.oldest_since)}"
    yield from _gauge("queuectl_longest_run_age_seconds", "How long the longest of the running jobs has run.")
    yield f"queuectl_longest_run_age_seconds {_age_s(found, found.longest_since)}"
    yield from _gauge("queuectl_pools", "Live worker pools.")
    yield f"queuectl_pools {len(found.pools)}"
    yield from _gauge("queuectl_workers", "Workers of all live pools.")
    yield f"queuectl_workers {found.workers}"
    yield from _gauge("queuectl_paused", "1 while the file PAUSED exists.")
    yield f"queuectl_paused {int(found.paused is not None)}"
    speed = pace(found.finishes)._asdict()
    yield from _gauge("queuectl_recent_run_duration_seconds", "How long the newest finished jobs ran.")
    for share, key in _QUANTILES:
        if speed[key] is not None:
            yield f'queuectl_recent_run_duration_seconds{{quantile="{share}"}} {speed[key]:.6g}'
    # The collector goes on exporting a file that nobody writes any more: this number shows it.
    yield from _gauge("queuectl_written_timestamp_seconds", "When these figures were taken, seconds since 1970 UTC.")
    yield f"queuectl_written_timestamp_seconds {found.taken_at:.3f}"


def _gauge(name: str, help_text: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"


def _age_s(found: Snapshot, since: float | None) -> str:
    return f"{max(0.0, found.taken_at - since):.3f}" if since is not None else "0"
