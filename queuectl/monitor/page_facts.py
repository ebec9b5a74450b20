"""What the page tells beside the rows of a snapshot: figures, bars, causes, commands, and durations in words.

Computes only. The templates say the words around them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from queuectl.model import times
from queuectl.model.lifecycle import CANCELLED, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import command_text, safe
from queuectl.monitor import chart, nodes
from queuectl.monitor.headline import about, headline
from queuectl.monitor.rows import CauseRow, ClusterRow, EndedPool, FailureRow, RunRow
from queuectl.monitor.snapshot import Pace, Snapshot
from queuectl.spool.counts import DIED, DRAINED, STOPPED

# An id that no shell takes for anything else.
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDED = {DRAINED: "ended when no jobs were left", STOPPED: "was stopped", DIED: "died"}
# A spool gets this name unless somebody gives it another one.
_USUAL_NAME = "spool"
# A failure is news for this long.
_NEWS_S = 3600.0
# A command for more jobs than this is no longer pasted with ease.
_RETRIED_AT_ONCE = 20


class Stat(msgspec.Struct, frozen=True):
    """One of the figures at the top; `target` is the section that it leads to, or "".

    A part of the small print is a text, and an instant if it ends in a time that passes.
    """

    label: str
    number: int
    parts: tuple[tuple[str, float | None], ...]
    target: str
    is_bad: bool = False


class Headline(msgspec.Struct, frozen=True):
    """The sentence at the top: its time that passes apart, if it has one, so that the script counts it on."""

    before: str
    since: float | None
    age: str
    after: str


class Gauge(msgspec.Struct, frozen=True):
    """A bar for a run: how much of `total_s` is over and where its usual time ends, in percent (None: unknown)."""

    total_s: float
    fill: float
    usual: float | None
    is_late: bool


class Cause(msgspec.Struct, frozen=True):
    """A cause, those of its jobs that have rows, and the command that retries all of them, or ""."""

    row: CauseRow
    jobs: tuple[FailureRow, ...]
    retry: str
    has_output: bool
    """Whether the output has more than the cause says."""


def command_of(path: str) -> str:
    """Return how a command begins that works from any folder, or from this one if the path is a strange one."""
    words = command_text(["queuectl", "--spool", path])
    return words if safe(path) == path and not set(path) & set("`$%!") else "queuectl"


def name_of(path: str) -> str:
    """Return the name of a spool: its folder, with the parent of a folder that has the usual name."""
    *parents, name = path.replace("\\", "/").rstrip("/").split("/")
    return f"{parents[-1]}/{name}" if name == _USUAL_NAME and parents and parents[-1] else name


def durations_of(pace: Pace) -> str:
    """Return how long the newest jobs took, or "" if no duration is known."""
    if pace.median_s is None or pace.p95_s is None or pace.longest_s is None:
        return ""
    longest = took_text(pace.longest_s)
    if pace.jobs == 1:
        return f"The last job took {longest}."
    if pace.jobs == 2:
        return f"The longer of the last 2 jobs took {longest}."
    return (
        f"Of the last {pace.jobs:,} jobs, half took {took_text(pace.median_s)} or less, "
        f"95% took {took_text(pace.p95_s)} or less, and the longest took {longest}."
    )


def gauge(row: RunRow, now_at: float) -> Gauge:
    """Return the bar of a run. It spans twice the usual time, or the timeout, or what has passed by now."""
    passed_s = max(0.0, now_at - row.started_at) if row.started_at is not None else 0.0
    usual_s = row.usual_s if row.usual_s is not None and row.usual_s > 0 else None
    limit_s = row.timeout_s if row.timeout_s is not None and row.timeout_s > 0 else None
    total_s = max(2 * usual_s, passed_s * 1.1) if usual_s is not None else (limit_s or 0.0)
    if limit_s is not None:
        total_s = min(total_s, limit_s)
    if row.started_at is None or not total_s:
        return Gauge(0.0, 0.0, None, False)
    is_late = (usual_s is not None and passed_s > 2 * usual_s) or (limit_s is not None and passed_s > 0.8 * limit_s)
    usual = None if usual_s is None or usual_s > total_s else round(usual_s / total_s * 100, 1)
    return Gauge(round(total_s, 1), round(min(100.0, passed_s / total_s * 100), 1), usual, is_late)


def causes_of(found: Snapshot) -> tuple[Cause, ...]:
    rows = {row.id: row for row in found.failures if not row.cancelled}
    return tuple(
        Cause(each, tuple(rows[job_id] for job_id in each.ids if job_id in rows), _retry(each), _has_output(each))
        for each in found.causes
    )


def _has_output(cause: CauseRow) -> bool:
    is_repeated = len(cause.output) == 1 and cause.cause.endswith(cause.output[0].strip())
    return bool(cause.output) and not is_repeated


def _retry(cause: CauseRow) -> str:
    is_all = cause.jobs == len(cause.ids) <= _RETRIED_AT_ONCE
    return "retry " + " ".join(cause.ids) if is_all and all(map(_PLAIN_ID.fullmatch, cause.ids)) else ""


def plots_of(found: Snapshot) -> list[chart.Plot]:
    spans = ((found.load.hour, chart.HOUR, 60), (found.load.day, chart.DAY, 900))
    made = [draw(*span) for draw in (chart.throughput, chart.depth) for span in spans]
    return [each for each in made if each is not None]


def title_of(found: Snapshot) -> str:
    counts = found.counts
    failed = f"{found.dead} failed, " if found.dead else ""
    return f"{failed}{counts[RUNNING]} running, {counts[PENDING]} waiting"


def headline_of(found: Snapshot) -> Headline:
    """Return the sentence at the top. The page tells the reason of a pause and the next due time further down."""
    found = found._replace(next_due_at=None, paused=None if found.paused is None else "")
    text = headline(found)
    age = "" if found.oldest_since is None else about(found.taken_at - found.oldest_since)
    before, word, after = text.partition(f" for {age}")
    return Headline(before + " for ", found.oldest_since, age, after) if age and word else Headline(text, None, "", "")


def clusters_of(found: Snapshot, most: int) -> list[tuple[ClusterRow, str, list[tuple[str, str, bool]]]]:
    """Return the clusters and their nodes in words. The age of a beat is no fact here: a page is older than that."""
    made = []
    for row in found.clusters:
        shown = row if row.is_silent else row._replace(heard_at=None)
        rows = [
            (each.node, nodes.node_text(each, found.taken_at, with_beat=False), nodes.is_well(each))
            for each in row.nodes[:most]
        ]
        made.append((row, nodes.sentence(shown, found.taken_at), rows))
    return made


def ended_text(ended: EndedPool | None) -> str:
    """Return how the last pool ended, or "" if that is unknown."""
    return "" if ended is None else _ENDED.get(ended.how, "ended")


def health_of(found: Snapshot) -> str:
    """Return the class of the mark before the headline."""
    news_at = found.taken_at - _NEWS_S
    failed = [row.newest_at or 0.0 for row in found.causes] + [row.rejected_at or 0.0 for row in found.refusals]
    if found.failed_last_hour or max(failed, default=0.0) > news_at or not all(row.is_alive for row in found.runs):
        return "bad"
    is_stuck = found.counts[PENDING] + found.counts[RUNNING] and not found.pools
    return "still" if found.paused is not None or is_stuck else "good" if found.pools else "gone"


def stats_of(found: Snapshot) -> tuple[Stat, ...]:
    """Return the figures at the top. Each part of the small print is there only if it says something."""
    counts = found.counts
    waiting = [("oldest", found.oldest_since), *_some(found.later, "later"), *_some(found.held, "held")]
    waiting += [*_some(found.blocked, "blocked"), *_some(found.incomplete, "incomplete")]
    ended_at = None if found.ended_pool is None else found.ended_pool.at
    none = ("no workers", None) if ended_at is None else ("no workers for", ended_at)
    running = [
        (count_text(found.workers, found.place), None) if found.pools else none,
        ("longest", found.longest_since),
    ]
    done = _some(found.done_last_hour, "ended in the last hour")
    done += _some(found.skipped_last_hour, "skipped in the last hour")
    failed = [*_some(found.failed_last_hour, "failed in the last hour"), *_some(found.cancelled, CANCELLED)]
    queue = (
        "waiting"
        if found.nexts
        else "later"
        if found.dues
        else "held"
        if found.held_jobs
        else "arriving"
        if found.arriving
        else ""
    )
    stats = [
        Stat("Running", counts[RUNNING], _parts(running), RUNNING if found.runs else ""),
        Stat("Waiting", counts[PENDING], _parts(waiting), queue),
        Stat("Done", counts[DONE], _parts(done), "finished" if found.finishes else ""),
        Stat("Failed", found.dead, _parts(failed), "failures" if found.dead and found.is_full else "", found.dead > 0),
    ]
    if counts[REJECTED]:
        stats.append(Stat("Rejected", counts[REJECTED], (), "rejected" if found.refusals else "", True))
    return tuple(stats)


def _some(number: int, words: str) -> list[tuple[str, float | None]]:
    return [(f"{number:,} {words}", None)] if number else []


def _parts(small: Sequence[tuple[str, float | None]]) -> tuple[tuple[str, float | None], ...]:
    """Return the small print without times that are unknown."""
    return tuple(each for each in small if each[1] is not None or each[0] not in ("oldest", "longest"))


def span_text(seconds: float, is_exact: bool = False) -> str:
    """Return a time that passes: `12 s`, `3 min`, `2 h 5 min`, `4 d 3 h`. `is_exact` adds seconds to minutes.

    The script counts on in the same words (`span` in page.js).
    """
    whole = max(0, int(seconds)) if seconds < times.LONGEST_S else int(times.LONGEST_S)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if is_exact and whole % 60 else "")
    if whole < 86400:
        return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 >= 60 else "")
    return f"{whole // 86400:,} d" + (f" {whole % 86400 // 3600} h" if whole % 86400 >= 3600 else "")


def took_text(seconds: float) -> str:
    """Return a time that something took: `7 ms`, `4.2 s`, `2 min 5 s`."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds < 9.95 else span_text(round(min(seconds, 1e12)), True)


def count_text(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
