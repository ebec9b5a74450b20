"""D: putting jobs in: one by one and many at once in a process, lines on standard input, a whole process for one."""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import machine, spools, table
from queuectl import Spool

_BARE = '''"""The least program there can be with Typer: one command that prints its argument."""
import typer

app = typer.Typer()


@app.command()
def say(text: str) -> None:
    """Print a text."""
    typer.echo(text)
'''


def _rate(parent: str, durability: str, count: int, put: Callable[[Spool, int], None]) -> float:
    with spools.folder(parent) as folder:
        spool = Spool(spools.make(folder, durability=durability).root)
        spools.settle_disk()
        began_s = time.perf_counter()
        put(spool, count)
        rate = count / (time.perf_counter() - began_s)
        assert spool.counts().pending == count
    return rate


def _one_by_one(spool: Spool, count: int) -> None:
    for _ in range(count):
        spool.enqueue("true")


def _many(spool: Spool, count: int) -> None:
    spool.enqueue_many([{"command": "true"} for _ in range(count)])


def _lines(parent: str, durability: str, count: int) -> float:
    with spools.folder(parent) as folder:
        spool = spools.make(folder, durability=durability)
        source = os.path.join(folder, "jobs.jsonl")
        Path(source).write_text("".join(json.dumps({"command": f"echo {n}"}) + "\n" for n in range(count)))
        spools.settle_disk()
        ran = machine.run(spools.queuectl(spool, "enqueue", "-"), cwd=folder, stdin=source)
    return count / ran.wall_s


def measure(parent: str, *, lines: int, single: int, repetitions: int, processes: int) -> None:
    """Measure and print."""
    ways: dict[str, Callable[[str], float]] = {
        "enqueue, one by one": lambda durability: _rate(parent, durability, single, _one_by_one),
        "enqueue_many": lambda durability: _rate(parent, durability, lines, _many),
        f"queuectl enqueue - ({lines:,} lines)": lambda durability: _lines(parent, durability, lines),
    }
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(repetitions):
        for (title, way), durability in itertools.product(ways.items(), ("queue", "off")):
            found.setdefault((title, durability), []).append(way(durability))
    rows = [[title, *(table.spread(found[title, durability]) for durability in ("queue", "off"))] for title in ways]
    notes = [f"{single:,} jobs one by one, {lines:,} at once; the last row is a whole process. full is as queue here."]
    table.show("D: enqueue, jobs/s", ["", "durability queue", "off"], rows, notes)
    _whole_process(parent, processes)


def _whole_process(parent: str, count: int) -> None:
    """One job a process, beside the least program that Typer makes."""
    with spools.folder(parent) as folder:
        Path(folder, "bare.py").write_text(_BARE)
        spool = spools.make(folder)
        ways = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "Typer, one command": [sys.executable, "-c", "import bare; bare.app()", "hello"],
            "queuectl enqueue": spools.queuectl(spool, "enqueue", "--command", "true"),
            "queuectl version": spools.queuectl(spool, "version"),
        }
        found: dict[str, list[machine.Ran]] = {title: [] for title in ways}
        for _ in range(count + 1):
            for title, argv in ways.items():
                found[title].append(machine.run(argv, cwd=folder))
    bare = found["Typer, one command"][1:]
    rows = [
        [
            title,
            table.spread(mine.wall_s / other.wall_s for mine, other in zip(values[1:], bare, strict=True)),
            table.spread(mine.cpu_s / other.cpu_s for mine, other in zip(values[1:], bare, strict=True)),
            table.spread(value.wall_s * 1e3 for value in values[1:]),
            table.spread(value.cpu_s * 1e3 for value in values[1:]),
        ]
        for title, values in found.items()
    ]
    head = ["", "time / Typer", "CPU / Typer", "ms", "CPU ms"]
    notes = [f"{count} times, in turn; the first of each is left out."]
    table.show("D: a whole process for one job", head, rows, notes)
