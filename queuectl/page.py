"""status.html: a snapshot as one page that needs nothing but a browser. Computes only.

The page is opened by a double click, so it has the rights of a file of this machine, and it shows texts of strangers.
Therefore: each text of a job is made `safe` and escaped in one place (`_said`), the page fetches nothing and links to
its own parts only, and its policy (CSP) runs one script and one style sheet, which it knows by their hashes. Both are
constants, so nothing of a job can get into them.

The script only compares the page's time with the browser's clock. Without it the page says when it was written, and
loads itself anew all the same.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
from collections.abc import Iterator, Sequence

from queuectl import chart, times
from queuectl.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.printable import safe
from queuectl.snapshot import HEARTBEAT_S, ROWS, STALE_S, Snapshot, pace

# The page loads itself anew this often; it is small, and most of the time it comes from the system's cache.
RELOAD_S = 10

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--card:#f4f5f7;--ink:#1b1f24;--soft:#4d5661;--line:#c9ced6;--bad:#a3161d;
--badback:#fdecec;--good:#1c6b34;--code:#e9ebef}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--card:#1e2329;--ink:#e8eaed;--soft:#aab3bf;--line:#3b434d;
--bad:#ff9b96;--badback:#3a1718;--good:#7fd49a;--code:#2a3038}}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0 auto;padding:1rem;max-width:84rem;background:var(--back);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.35rem;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.75rem 0 .4rem}
p{margin:.3rem 0}
.soft{color:var(--soft)}
.note{border-left:4px solid var(--line);background:var(--card);padding:.5rem .75rem;margin:.6rem 0}
.alarm{border:2px solid var(--bad);background:var(--badback);color:var(--bad);font-weight:600;padding:.6rem .75rem;
margin:.6rem 0}
code,pre{font:13px/1.4 ui-monospace,SFMono-Regular,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
code{background:var(--code);padding:.05rem .3rem;border-radius:3px}
pre{margin:.3rem 0 0;padding:.4rem .5rem;background:var(--code);white-space:pre-wrap;border-radius:3px}
bdi{overflow-wrap:anywhere}
.counts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:.8rem 0;padding:0;
list-style:none}
.counts li{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.5rem .7rem}
.counts b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.counts a{color:inherit}
.counts .many{border-color:var(--bad)}
.counts .many b{color:var(--bad)}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600;font-size:.9rem;white-space:nowrap}
td:first-child{min-width:9rem}
time{white-space:nowrap}
.bad-text{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.6rem .7rem}
figcaption{font-size:.9rem;margin-bottom:.3rem}
.chart{display:block;width:100%;max-width:34rem;height:auto}
.chart text{font:10px system-ui,sans-serif;fill:var(--soft)}
.chart .axis{stroke:var(--soft);fill:none}
.chart .good{fill:var(--good)}
.chart .bad{stroke:var(--bad);stroke-width:.6}
.stripe-a{fill:var(--badback)}
.stripe-b{fill:var(--bad)}
.defs{position:absolute;width:0;height:0;overflow:hidden}
@media (max-width:46rem){
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,td{display:block}
tr{border:1px solid var(--line);border-radius:6px;padding:.4rem .6rem;margin:.5rem 0;background:var(--card)}
td{border:0;padding:.15rem 0}
td:first-child{min-width:0}
td::before{content:attr(data-label);color:var(--soft);font-size:.85rem;font-weight:600;margin-right:.5rem}
}
@media print{
:root{color-scheme:light;--back:#fff;--card:#fff;--ink:#000;--soft:#333;--line:#999;--bad:#8c0f16;--badback:#fff;
--good:#14532a;--code:#fff}
body{max-width:none;padding:0;font-size:10pt}
tr,figure,.counts li{break-inside:avoid}
}
"""

_SCRIPT = """
(function () {
  var written = document.getElementById("written"), stale = document.getElementById("stale");
  var after = Number(stale.getAttribute("data-after")), age = document.getElementById("age");
  function look() {
    var seconds = Math.floor((Date.now() - Date.parse(written.dateTime)) / 1000), text = seconds + " seconds";
    if (seconds >= 172800) { text = Math.floor(seconds / 86400) + " days"; }
    else if (seconds >= 7200) { text = Math.floor(seconds / 3600) + " hours"; }
    else if (seconds >= 120) { text = Math.floor(seconds / 60) + " minutes"; }
    age.textContent = text;
    stale.hidden = !(seconds > after);
  }
  look();
  setInterval(look, 1000);
})();
"""


def render(found: Snapshot, *, advice: tuple[str, str]) -> str:
    """The whole page. `advice` is the next sensible command, or "", and why."""
    return "".join(_parts(found, advice))


@functools.cache
def policy() -> str:
    """The content security policy: nothing but this page's own style sheet and script."""
    return (
        f"default-src 'none'; style-src '{_hash(_STYLE)}'; script-src '{_hash(_SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _parts(found: Snapshot, advice: tuple[str, str]) -> Iterator[str]:
    name = found.path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
    yield f'<meta http-equiv="refresh" content="{RELOAD_S}">'
    yield f"<title>{_title(found)} - {_said(name)}</title><style>{_STYLE}</style></head>\n<body>"
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
        yield from _refusals(found)
    yield from _pools(found)
    yield from _finishes(found)
    if not found.is_full:
        yield '<p class="soft">Jobs are not listed here: the setting <code>dashboard</code> is "counts".</p>'
    yield f"</main>\n<script>{_SCRIPT}</script></body></html>\n"


def _title(found: Snapshot) -> str:
    counts = found.counts
    dead = f"{counts[DLQ]} dead, " if counts[DLQ] else ""
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
        yield f'<p class="note"><strong>Paused</strong>{reason}. Delete the file PAUSED to go on.</p>'
    if not found.pools:
        yield '<p class="note"><strong>No workers run.</strong> This page stays as it is until some do.</p>'
    if advice[0]:
        yield f'<p class="note">Next: <code>{_said(advice[0])}</code> <span class="soft">{_said(advice[1])}</span></p>'
    for state, count in found.foreign.items():
        yield f'<p class="note">{state}/ also holds {_count(count, "file")} of somebody else, left alone.</p>'


def _counts(found: Snapshot) -> Iterator[str]:
    counts = found.counts
    waiting = [f"{found.ready} could run now"]
    if found.oldest_since is not None:
        waiting.append(f"the oldest has waited {_age(found.oldest_since, found)}")
    if found.later:
        waiting.append(f"{found.later} later")
    running = f"the longest for {_age(found.longest_since, found)}" if found.longest_since is not None else ""
    dead = f"dead, the newest {_ago(found.failures[0].ended_at, found)}" if found.failures else "dead jobs"
    yield '<ul class="counts">'
    yield _card(PENDING, counts[PENDING], ", ".join(waiting))
    yield _card(RUNNING, counts[RUNNING], running)
    yield _card(DONE, counts[DONE], "ended well")
    yield _card(DLQ, counts[DLQ], dead, is_bad=counts[DLQ] > 0)
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
    yield _section(DLQ, "Failures")
    yield (
        f'<p class="soft">These are dead: their retries are used up. To run one again, drag its file from {DLQ}/ to '
        f"{PENDING}/, or type what stands beside it.</p>"
    )
    rows = []
    for row in found.failures:
        error = f'<bdi class="bad-text">{_said(row.error)}</bdi>'
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
    yield from _table(("job", "died", "why, and what it printed last", "command", "to run it again"), rows)
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
    """A text of somebody else: nothing in it acts on the page or deceives who reads it."""
    return html.escape(safe(text), quote=True)


def _age(since: float | None, found: Snapshot, *, until: float | None = None) -> str:
    if since is None:
        return "?"
    return times.format_duration(max(1, round((found.taken_at if until is None else until) - since)))


def _ago(instant_at: float | None, found: Snapshot) -> str:
    """How long before the page's time; the instant itself for who points at it."""
    if instant_at is None:
        return "?"
    text = times.to_text(instant_at)
    return f'<time datetime="{text}" title="{text}">{_age(instant_at, found)} ago</time>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
