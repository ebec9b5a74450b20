"""status.html: a snapshot as one page that needs nothing but a browser. Computes only.

The words and the looks are in `templates/`: page.html and its parts, page.css, page.js, and the SVG of the charts. Only
who writes the page imports this module, because it brings Jinja2.

A double click opens the page, so it has the rights of a file of this machine, and it shows texts of strangers.
Therefore: the environment makes each text `safe` and escapes it (`_finalize`, autoescape), and has no filter that
undoes this. The page fetches nothing, links only to files of the spool (`link`), and its policy lets only its own
script and style sheet act. Without that script the page is complete, and loads itself anew.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from queuectl.model import times
from queuectl.model.lifecycle import CANCELLED, DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import command_text, safe
from queuectl.monitor import chart
from queuectl.monitor.headline import about, headline
from queuectl.monitor.rows import ROWS, CauseRow, FailureRow, RunRow
from queuectl.monitor.snapshot import HEARTBEAT_S, STALE_S, Snapshot, pace, size_text
from queuectl.spool.counts import DIED, DRAINED, STOPPED
from queuectl.spool.layout import LOGS

# The page loads itself anew this often; it is small, and most of the time it comes from the system's cache.
RELOAD_S = 10
TEMPLATES = os.path.join(os.path.dirname(__file__), "templates")
# Folders whose files the page links to. A name is one part of a path in each.
_LINKED = frozenset({PENDING, RUNNING, DONE, DLQ, REJECTED, LOGS})
# An id that no shell takes for anything else.
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENDED = {DRAINED: "ended when no jobs were left", STOPPED: "was stopped", DIED: "died"}
# Rows of a table whose rest a command lists, so that the page stays small.
_SHOWN = 60
# A failure is news for this long.
_NEWS_S = 3600.0
# A command for more jobs than this is no longer pasted with ease.
_RETRIED_AT_ONCE = 20
_FILTERS = ("length", "sum")
# With `dashboard = "counts"` no text of a job is on the page.
_TEXTS = "runs failures causes dues nexts refusals arriving inboxes tags owners"
_NO_TEXTS: dict[str, Any] = dict.fromkeys(_TEXTS.split(), ())


class Stat(NamedTuple):
    """One of the figures at the top; `target` is the section that it leads to, or "".

    A part of the small print is a text, and an instant if it ends in a time that passes.
    """

    label: str
    number: int
    parts: tuple[tuple[str, float | None], ...]
    target: str
    is_bad: bool = False


class Headline(NamedTuple):
    """The sentence at the top: its time that passes apart, if it has one, so that the script counts it on."""

    before: str
    since: float | None
    age: str
    after: str


class Gauge(NamedTuple):
    """A bar for a run: how much of `total_s` is over and where its usual time ends, in percent (None: unknown)."""

    total_s: float
    fill: float
    usual: float | None
    is_late: bool


class Cause(NamedTuple):
    """A cause, those of its jobs that have rows, and the command that retries all of them, or ""."""

    row: CauseRow
    jobs: tuple[FailureRow, ...]
    retry: str


def render(found: Snapshot, *, advice: tuple[str, str]) -> str:
    """Return the whole page. `advice` is the next sensible command, or "", and why."""
    if not found.is_full:
        found = found._replace(**_NO_TEXTS)
    found = found._replace(**{key: getattr(found, key)[:_SHOWN] for key in ("runs", "nexts", "dues", "refusals")})
    return (
        _environment()
        .get_template("page.html")
        .render(
            found=found,
            advice=advice,
            name=found.path.replace("\\", "/").rstrip("/").rpartition("/")[2],
            run=_run(found.path),
            title=_title(found),
            headline=_headline(found),
            health=_health(found),
            is_busy=bool(found.counts[PENDING] + found.counts[RUNNING]),
            stats=_stats(found),
            ended="" if found.ended_pool is None else _ENDED.get(found.ended_pool.how, "ended"),
            causes=_causes(found) if found.is_full else (),
            runs=[(row, gauge(row, found.taken_at)) for row in found.runs],
            waiting_now=found.ready + found.stopped,
            plots=_plots(found),
            finishes=[row for row in found.finishes[: -_SHOWN - 1 : -1] if row.id or not found.is_full],
            pace=pace(found.finishes),
            groups=(
                ("tags", "Tags", found.tags, found.tags_left),
                ("owners", "Owners", found.owners, found.owners_left),
            ),
            cancelled=[row for row in found.failures if row.cancelled],
        )
    )


def load() -> Iterator[None]:
    """Compile the templates, one a step, so that other work may go on between them. `render` does it if nobody has."""
    environment = _environment()
    for name in environment.list_templates(extensions=("html", "svg")):
        environment.get_template(name)
        yield


# -------------------------------------------------------------------------------------------------------- environment


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    made.filters = {name: made.filters[name] for name in _FILTERS} | {
        "span": span_text,
        "took": took_text,
        "count": _count,
        "number": lambda number: f"{number:,}",
        "size": size_text,
        "stamp": lambda instant_at: times.to_text(instant_at)[:19] + "Z",
        "clock": lambda instant_at: times.to_text(instant_at)[:19].replace("T", " ") + " UTC",
        "link": link,
    }
    css, js = source("page.css"), source("page.js")
    made.globals = {
        "css": Markup(css),  # a file of the package: nothing of a job is in it
        "js": Markup(js),
        "policy": policy(),
        "reload_s": RELOAD_S,
        "stale_s": f"{STALE_S:.0f}",
        "heartbeat_s": f"{HEARTBEAT_S:.0f}",
        "rows": ROWS,
    }
    return made


def _finalize(value: Any) -> Any:
    """Return what a template shows, safe to read; autoescape makes it safe for HTML."""
    return value if isinstance(value, Markup) else safe(str(value))


@functools.cache
def source(name: str) -> str:
    """Return a file of `templates/`, with the ends of lines that a browser hashes."""
    with open(os.path.join(TEMPLATES, name), encoding="utf-8") as file:
        return file.read()


@functools.cache
def policy() -> str:
    """Return the content security policy: nothing but this page's own style sheet and script."""
    return (
        f"default-src 'none'; style-src '{_hash(source('page.css'))}'; script-src '{_hash(source('page.js'))}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# -------------------------------------------------------------------------------------------------------------- facts


def link(path: str) -> str:
    """Return the address of a file of the spool, relative to the page, or "" if the path could lead elsewhere."""
    folder, _, name = path.replace(os.sep, "/").partition("/")
    if folder not in _LINKED or not name or name in (".", "..") or "/" in name or "\\" in name:
        return ""
    try:
        return f"{folder}/{quote(name, safe='', errors='surrogateescape')}"
    except UnicodeEncodeError:  # half a surrogate pair, which Windows allows in names
        return ""


def _run(path: str) -> str:
    """Return how a command begins that works from any folder, or from this one if the path is a strange one."""
    words = command_text(["queuectl", "--spool", path])
    return words if safe(path) == path and not set(path) & set("`$%!") else "queuectl"


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


def _causes(found: Snapshot) -> tuple[Cause, ...]:
    rows = {row.id: row for row in found.failures if not row.cancelled}
    return tuple(
        Cause(each, tuple(rows[job_id] for job_id in each.ids if job_id in rows), _retry(each)) for each in found.causes
    )


def _retry(cause: CauseRow) -> str:
    is_all = cause.jobs == len(cause.ids) <= _RETRIED_AT_ONCE
    return "retry " + " ".join(cause.ids) if is_all and all(map(_PLAIN_ID.fullmatch, cause.ids)) else ""


def _plots(found: Snapshot) -> list[chart.Plot]:
    spans = ((found.load.hour, chart.HOUR, 60), (found.load.day, chart.DAY, 900))
    made = [draw(*span) for draw in (chart.throughput, chart.depth) for span in spans]
    return [each for each in made if each is not None]


# -------------------------------------------------------------------------------------------------------------- words


def _title(found: Snapshot) -> str:
    counts = found.counts
    failed = f"{found.dead} failed, " if found.dead else ""
    return f"{failed}{counts[RUNNING]} running, {counts[PENDING]} waiting"


def _headline(found: Snapshot) -> Headline:
    """Return the sentence at the top. The page tells the reason of a pause and the next due time further down."""
    found = found._replace(next_due_at=None, paused=None if found.paused is None else "")
    text = headline(found)
    age = "" if found.oldest_since is None else about(found.taken_at - found.oldest_since)
    before, word, after = text.partition(f" for {age}")
    return Headline(before + " for ", found.oldest_since, age, after) if age and word else Headline(text, None, "", "")


def _health(found: Snapshot) -> str:
    """Return the class of the mark before the headline."""
    news_at = found.taken_at - _NEWS_S
    failed = [row.newest_at or 0.0 for row in found.causes] + [row.rejected_at or 0.0 for row in found.refusals]
    if found.failed_last_hour or max(failed, default=0.0) > news_at or not all(row.is_alive for row in found.runs):
        return "bad"
    is_stuck = found.counts[PENDING] + found.counts[RUNNING] and not found.pools
    return "still" if found.paused is not None or is_stuck else "good" if found.pools else "gone"


def _stats(found: Snapshot) -> tuple[Stat, ...]:
    """Return the figures at the top. Each part of the small print is there only if it says something."""
    counts = found.counts
    waiting = [("oldest", found.oldest_since), *_some(found.later, "later"), *_some(found.held, "held")]
    waiting += _some(found.blocked, "incomplete")
    ended_at = None if found.ended_pool is None else found.ended_pool.at
    none = ("no workers", None) if ended_at is None else ("no workers for", ended_at)
    running = [(_count(found.workers, "worker"), None) if found.pools else none, ("longest", found.longest_since)]
    done = _some(found.done_last_hour, "in the last hour")
    failed = [*_some(found.failed_last_hour, "in the last hour"), *_some(found.cancelled, CANCELLED)]
    queue = "waiting" if found.nexts else "later" if found.dues else "arriving" if found.arriving else ""
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


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
