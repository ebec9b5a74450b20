"""`queuectl stats`: show throughput, durations and failures of recent jobs."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from queuectl.cli import context, group
from queuectl.cli.rows import duration
from queuectl.cli.terminal import printing
from queuectl.cli.terminal.printing import count_of
from queuectl.model import exit_status, times
from queuectl.monitor.stats import AT_MOST, Spread, Stats, collect

app = group.new_app()


@app.command()
def stats(
    since: Annotated[str, typer.Option(metavar="TIME", help="Period to look at: 30m, 24h, 7d.")] = "24h",
    as_json: Annotated[bool, typer.Option("--json", help=group.JSON_HELP)] = False,
) -> None:
    """Show throughput, durations and failures.

    Example: queuectl stats --since 24h

    The figures include jobs that ended in the period: done, dead or cancelled, at most the newest 5,000. Jobs per hour
    are counted from the first of these ends to the last. The waiting time of an attempt runs from when it could have
    started to its start.

    In a pipe, each line is the name of a figure and its value (durations in seconds, without a unit), separated by a
    tab.
    """
    span_s = duration(since, "--since")
    now_at = time.time()
    found = collect(context.open_dir(), since_at=now_at - span_s, now_at=now_at, at_most=AT_MOST)
    if as_json:
        printing.print_json(_as_json(found))
    elif printing.is_terminal():
        printing.table(("FIGURE", "VALUE"), _for_people(found))
    else:
        printing.table((), _for_programs(found))
    if found.was_cut:
        reach = times.format_duration(found.span_s)
        printing.message(f"note: these are the figures of the newest {AT_MOST} jobs, which ended in the last {reach}")


def _for_people(found: Stats) -> list[tuple[str, str]]:
    rows = [
        ("period", times.format_duration(found.span_s)),
        ("done", str(found.done)),
        ("dead", str(found.dead)),
        ("cancelled", str(found.cancelled)),
        ("ended within", times.format_duration(found.covered_s) if found.done + found.dead else "-"),
        ("jobs per hour", "-" if found.per_hour is None else f"{found.per_hour:.1f}"),
        ("attempts", str(found.runs)),
        ("retries", str(found.retries)),
        ("waiting time", _spread(found.waited)),
        ("running time", _spread(found.ran)),
    ]
    return rows + [(f"failed: {_failure(code)}", count_of(count, "attempt")) for code, count in found.failures.items()]


def _for_programs(found: Stats) -> list[tuple[str, str]]:
    rows = [
        ("span_s", f"{found.span_s:.3f}"),
        ("cut", str(int(found.was_cut))),
        ("done", str(found.done)),
        ("dead", str(found.dead)),
        ("cancelled", str(found.cancelled)),
        ("covered_s", f"{found.covered_s:.3f}"),
        ("per_hour", "" if found.per_hour is None else f"{found.per_hour:.3f}"),
        ("runs", str(found.runs)),
        ("retries", str(found.retries)),
    ]
    for name, spread in (("waited", found.waited), ("ran", found.ran)):
        for part, value in zip(("p50_s", "p95_s", "max_s"), spread[1:], strict=True):
            rows.append((f"{name}_{part}", "" if value is None else f"{value:.3f}"))
    return rows + [(f"failed_{code}", str(count)) for code, count in found.failures.items()]


def _spread(spread: Spread) -> str:
    if spread.p50 is None or spread.p95 is None or spread.longest is None:
        return "-"
    p50, p95, longest = map(times.format_duration, (spread.p50, spread.p95, spread.longest))
    return f"p50 {p50}, p95 {p95}, max {longest}"


def _failure(code: str) -> str:
    return exit_status.with_reason(int(code)) if code.lstrip("-").isdecimal() else code.replace("_", " ")


def _as_json(found: Stats) -> dict[str, Any]:
    def spread(part: Spread) -> dict[str, Any]:
        return {"count": part.number, "p50_s": part.p50, "p95_s": part.p95, "max_s": part.longest}

    return {
        "version": 1,
        **found._asdict(),
        "span_s": round(found.span_s, 3),
        "covered_s": round(found.covered_s, 3),
        "per_hour": None if found.per_hour is None else round(found.per_hour, 3),
        "truncated": found.was_cut,
        "waited": spread(found.waited),
        "ran": spread(found.ran),
    }
