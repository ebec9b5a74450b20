"""metrics: the figures for Prometheus."""

from __future__ import annotations

import re

from queuectl.monitor import metrics
from tests.unit.monitor.test_page import snapshot_of

_SAMPLE = re.compile(r'[a-z_]+(\{[a-z]+="[a-z0-9.]+"\})? -?[0-9.e+-]+')


def test_every_line_is_of_the_exposition_format() -> None:
    """A family is told with its help and type before its samples, and each sample is a name, a label and a number."""
    told: set[str] = set()
    text = metrics.text(snapshot_of())
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            told.add(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [line.split()[2], "gauge"]
        else:
            assert _SAMPLE.fullmatch(line), line
            assert re.split(r"[{ ]", line)[0] in told


def test_figures_are_those_of_the_snapshot() -> None:
    """Jobs by state, the oldest one's age, workers, and when it was all so."""
    lines = metrics.text(snapshot_of()).splitlines()
    for line in (
        'queuectl_jobs{state="done"} 7',
        'queuectl_waiting_jobs{when="later"} 1',
        "queuectl_oldest_waiting_age_seconds 60.000",
        "queuectl_workers 2",
        "queuectl_paused 1",
        'queuectl_recent_run_duration_seconds{quantile="0.5"} 0.5',
        "queuectl_written_timestamp_seconds 1800000000.000",
    ):
        assert line in lines


def test_no_text_of_a_job_is_a_label() -> None:
    """Neither names nor commands of jobs are given to a program that keeps them."""
    assert "secret" not in metrics.text(snapshot_of("secret"))
