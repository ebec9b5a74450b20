"""status.html: a snapshot as one page that needs nothing but a browser. Computes only.

The page is opened by a double click, so it has the rights of a file of this machine, and it shows texts of strangers.
Therefore: each text of a job is made `safe` and escaped in one place (`_said`), the page fetches nothing and links to
its own parts only, and its policy (`theme`) lets nothing run that stands in it but one script. Without that script the
page says when it was written, and loads itself anew all the same.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.text import safe
from queuectl.monitor import chart, theme
from queuectl.monitor.rows import ROWS
from queuectl.monitor.snapshot import HEARTBEAT_S, STALE_S, Snapshot, pace, size_text

# The page loads itself anew this often; it is small, and most of the time it comes from the system's cache.
RELOAD_S = 10


def render(found: Snapshot, *, advice: tuple[str, str]) -> str:
    """Return the whole page. `advice` is the next sensible command, or "", and why."""
    return "".join(_parts(found, advice))


def _parts(found: Snapshot, advice: tuple[str, str]) -> Iterator[str]:
    name = found.path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{theme.policy()}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
    yield f'<meta http-equiv="refresh" content="{RELOAD_S}">'
    yield f"<title>{_title(found)} - {_said(name)}</title><style>{theme.STYLE}</style></head>\n<body>"
    yield f'<div class="defs">{chart.PATTERN}</div><header>'
    yield f"<h1>Queue <bdi>{_said(name)}</bdi></h1>"
    yield from _freshness(found)
    yield "</header>\n<main>"
    yield from _notes(found, advice)
    yield from _counts(found)
    if found.is_full:
        yield from _failures(found)
        yield from _runs(found)
        yield from _dues(found)
        yield from _arriving(found)
        yield from _refusals(found)
        yield from _inboxes(found)
    yield from _pools(found)
    yield from _finishes(found)
    if not found.is_full:
        yield '<p class="soft">Jobs are not listed here: the setting <code>dashboard</code> is "counts".</p>'
    yield f"</main>\n<script>{theme.SCRIPT}</script></body></html>\n"


def _title(found: Snapshot) -> str:
    counts = found.counts
    dead = f"{found.dead} dead, " if found.dead else ""
    return f"{dead}{counts[RUNNING]} running, {counts[PENDING]} waiting"


def _freshness(found: Snapshot) -> Iterator[str]:
    text = times.to_text(found.taken_at)
    yield (
        f'<div class="alarm" id="stale" role="alert" data-after="{STALE_S:.0f}" hidden>Out of date: nobody has written '
        f'this page for <span id="age">some time</span>. No workers run, or they cannot write here. '
        f"<code>queuectl status</code> tells.</div>"
    )
    yield (
        f'<p class="soft">As of <time id="written" datetime="{text}">{text[:10]} {text[11:19]} UTC</time>. While '
        f"workers run, this page is written at least every {HEARTBEAT_S:.0f} seconds; if that time is more than "
        f"{STALE_S:.0f} seconds ago, nobody does. Folder: <bdi>{_said(found.path)}</bdi></p>"
    )


def _notes(found: Snapshot, advice: tuple[str, str]) -> Iterator[str]:
    if found.paused is not None:
        reason = f": <bdi>{_said(found.paused)}</bdi>" if found.paused else ""
        until = "" if found.paused_until is None else times.to_text(found.paused_until)
        end = f" Work goes on at {until[:10]} {until[11:19]} UTC." if until else ""
        yield f'<p class="note"><strong>Paused</strong>{reason}.{end} Delete the file PAUSED to go on.</p>'
    if found.retention_waits:
        yield f'<p class="note"><strong>Retention</strong> {_said(found.retention_waits)}.</p>'
    if not found.pools:
        yield '<p class="note"><strong>No workers run.</strong> This page stays as it is until some do.</p>'
    if advice[0]:
        yield f'<p class="note">Next: <code>{_said(advice[0])}</code> <span class="soft">{_said(advice[1])}</span></p>'
    for state, count in found.foreign.items():
        copies = found.copies.get(state, 0)
        more = f": {copies} with names of unfinished or conflicting copies" if copies else ""
        yield f'<p class="note">{state}/ also holds {_count(count, "file")} of somebody else, left alone{more}.</p>'


def _counts(found: Snapshot) -> Iterator[str]:
    counts = found.counts
    waiting = [f"{found.ready} could run now"]
    if found.oldest_since is not None:
        waiting.append(f"the oldest has waited {_age(found.oldest_since, found)}")
    if found.stopped:
        waiting.append(f"{found.stopped} paused")
    if found.later:
        waiting.append(f"{found.later} later")
    if found.held:
        waiting.append(f"{found.held} held")
    if found.blocked:
        waiting.append(f"{found.blocked} not whole")
    running = f"the longest for {_age(found.longest_since, found)}" if found.longest_since is not None else ""
    newest = next((row for row in found.failures if not row.cancelled), None)
    dead = f"dead, the newest {_ago(newest.ended_at, found)}" if newest is not None else "dead jobs"
    if found.cancelled:
        dead = f"{found.dead} {dead}; {found.cancelled} cancelled"
    yield '<ul class="counts">'
    yield _card(PENDING, counts[PENDING], ", ".join(waiting))
    yield _card(RUNNING, counts[RUNNING], running)
    yield _card(DONE, counts[DONE], "ended well")
    yield _card(DLQ, counts[DLQ], dead, is_bad=found.dead > 0)
    yield _card(REJECTED, counts[REJECTED], "files that are no jobs", is_bad=counts[REJECTED] > 0)
    yield _card("workers", found.workers, f"in {_count(len(found.pools), 'pool')}", is_bad=not found.workers)
    yield "</ul>"


def _card(name: str, count: int, more: str, *, is_bad: bool = False) -> str:
    mark = ' class="many"' if is_bad else ""
    return f'<li{mark}><a href="#{name}">{name}</a><b>{count}</b><span class="soft">{more}</span></li>'


def _section(name: str, title: str) -> str:
    return f'<section id="{name}"><h2>{title}</h2>'


# ------------------------------------------------------------------------------------------------------------- tables


def _failures(found: Snapshot) -> Iterator[str]:
    if not found.counts[DLQ]:
        return
    yield _section(DLQ, "Failures and cancelled jobs" if found.cancelled else "Failures")
    yield (
        f'<p class="soft">Nothing runs these jobs again by itself. To run one again, drag its file from {DLQ}/ to '
        f"{PENDING}/, or type the command in its row.</p>"
    )
    rows = []
    for row in found.failures:
        error = f'<bdi class="{"" if row.cancelled else "bad-text"}">{_said(row.error)}</bdi>'
        if row.output:
            lines = "\n".join(_said(line) for line in row.output)
            error += f"<pre><bdi>{lines}</bdi></pre>"
        rows.append(
            (
                f"<code>{_said(row.id)}</code>",
                _ago(row.ended_at, found),
                f"{error}",
                f"<code><bdi>{_said(row.command)}</bdi></code>",
                f"<code>queuectl dlq retry {_said(row.id)}</code>",
            )
        )
    yield from _table(("job", "ended", "why, and what it printed last", "command", "to run it again"), rows)
    yield _rest(found.counts[DLQ], len(rows), "queuectl dlq list")
    yield "</section>"


def _runs(found: Snapshot) -> Iterator[str]:
    if not found.counts[RUNNING]:
        return
    yield _section(RUNNING, "Running")
    rows = []
    for row in found.runs:
        limit = f"of {times.format_duration(row.timeout_s)}" if row.timeout_s is not None else "no timeout"
        gone = "" if row.is_alive else ' <strong class="bad-text">its worker is gone</strong>'
        rows.append(
            (
                f"<code>{_said(row.id)}</code>",
                f"{_age(row.started_at, found)}, {limit}{gone}",
                f"{row.attempt}",
                f"<bdi>{_said(row.worker)}</bdi>",
                f"<code><bdi>{_said(row.command)}</bdi></code>",
            )
        )
    yield from _table(("job", "has run for", "run", "worker", "command"), rows)
    yield _rest(found.counts[RUNNING], len(rows), "queuectl list --state running")
    yield "</section>"


def _dues(found: Snapshot) -> Iterator[str]:
    if not found.later:
        return
    yield _section(PENDING, "Waiting for their time")
    rows = [
        (
            f"<code>{_said(row.id)}</code>",
            f"in {_age(found.taken_at, found, until=row.due_at)}",
            f"retry {row.runs} of {row.max_retries}, after <bdi>{_said(row.error)}</bdi>" if row.runs else "delayed",
        )
        for row in found.dues
    ]
    yield from _table(("job", "due", "why"), rows)
    yield _rest(found.later, len(rows), "queuectl list --state pending")
    yield "</section>"


def _arriving(found: Snapshot) -> Iterator[str]:
    if not found.arriving:
        return
    yield _section("arriving", "Arriving")
    yield '<p class="soft">Files that are not whole yet. One runs when it is, and is refused when it stays quiet.</p>'
    rows = [
        (
            f"<code><bdi>{_said(row.name)}</bdi></code>",
            size_text(row.size),
            _ago(row.changed_at, found),
            f"<bdi>{_said(row.why)}</bdi>",
        )
        for row in found.arriving
    ]
    yield from _table(("file", "so far", "last change", "why it waits"), rows)
    yield "</section>"


def _refusals(found: Snapshot) -> Iterator[str]:
    if not found.counts[REJECTED]:
        return
    yield _section(REJECTED, "Rejected files")
    yield f'<p class="soft">Correct the file and move it back to {PENDING}/; the text beside it says more.</p>'
    rows = [
        (f"<code><bdi>{_said(row.name)}</bdi></code>", _ago(row.rejected_at, found), f"<bdi>{_said(row.why)}</bdi>")
        for row in found.refusals
    ]
    yield from _table(("file", "rejected", "why"), rows)
    yield _rest(found.counts[REJECTED], len(rows), "queuectl list --state rejected")
    yield "</section>"


def _pools(found: Snapshot) -> Iterator[str]:
    if not found.pools:
        return
    yield _section("workers", "Workers")
    rows = [
        (
            f"<bdi>{_said(row.pool)}</bdi>",
            f"{row.workers}",
            f"<bdi>{_said(row.host)}</bdi>, process {row.pid}",
            _ago(row.started_at, found),
        )
        for row in found.pools[:ROWS]
    ]
    yield from _table(("pool", "workers", "on", "started"), rows)
    yield _rest(len(found.pools), len(rows), "queuectl worker list")
    yield "</section>"


def _inboxes(found: Snapshot) -> Iterator[str]:
    if not found.inboxes:
        return
    yield _section("inboxes", "Inboxes")
    rows = [
        (
            f"<bdi>{_said(row.owner)}</bdi>",
            f"<bdi>{_said(row.path)}</bdi>",
            f'<bdi class="{"bad-text" if row.trouble else ""}">{_said(row.text)}</bdi>',
        )
        for row in found.inboxes
    ]
    yield from _table(("whose", "folder", "what is in it"), rows)
    yield "</section>"


def _finishes(found: Snapshot) -> Iterator[str]:
    if not found.finishes:
        return
    speed = pace(found.finishes)
    yield f"{_section(DONE, 'Finished lately')}<p>The newest {_count(speed.jobs, 'job')} that ran"
    yield f", {speed.failed} of them dead (striped)" if speed.failed else ", all of them well"
    yield f"; the last {_ago(found.finishes[-1].ended_at, found)}.</p>"
    yield '<div class="charts"><figure><figcaption>Throughput'
    yield f": {speed.per_s:.3g} a second" if speed.per_s is not None else ""
    yield f"</figcaption>{chart.throughput(found.finishes)}</figure>"
    if speed.median_s is not None and speed.p95_s is not None and speed.longest_s is not None:
        shown = [times.format_duration(each) for each in (speed.median_s, speed.p95_s, speed.longest_s)]
        yield f"<figure><figcaption>Duration: half within {shown[0]}, 95% within {shown[1]}, longest {shown[2]}"
        yield f"</figcaption>{chart.durations(found.finishes)}</figure>"
    yield "</div></section>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table of cells that are HTML already. On a narrow screen each row is a card, so cells repeat their heads."""
    if not rows:
        return
    yield "<table><thead><tr>"
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead><tbody>\n"
    for row in rows:
        cells = zip(heads, row, strict=True)
        yield "<tr>" + "".join(f'<td data-label="{head}">{cell}</td>' for head, cell in cells) + "</tr>\n"
    yield "</tbody></table>"


def _rest(count: int, shown: int, command: str) -> str:
    return f'<p class="soft">... and {count - shown} more: <code>{command}</code></p>' if count > shown else ""


# -------------------------------------------------------------------------------------------------------------- parts


def _said(text: str) -> str:
    """Return a text of somebody else: nothing in it acts on the page or deceives who reads it."""
    return html.escape(safe(text), quote=True)


def _age(since: float | None, found: Snapshot, *, until: float | None = None) -> str:
    if since is None:
        return "?"
    return times.format_duration(max(1, round((found.taken_at if until is None else until) - since)))


def _ago(instant_at: float | None, found: Snapshot) -> str:
    """Return an instant as an age before the page's time, with the instant itself as its title."""
    if instant_at is None:
        return "?"
    text = times.to_text(instant_at)
    return f'<time datetime="{text}" title="{text}">{_age(instant_at, found)} ago</time>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
