"""B: how soon an idle pool starts a job: from the rename into pending/, or from typing, to the command's first
instruction (a small C program that reads the clock first; without a compiler, `date`)."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import floor, machine, peers, spools, table

_WARM_UP = 3
_PATIENCE_S = 10.0


class Stamp:
    """The program that notes when it started, and what it has noted."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "stamps")
        self._program = os.path.join(folder, "stamp")
        source = Path(__file__).with_name("stamp.c")
        compiler = shutil.which("cc")
        self.compiled = compiler is not None and any(
            subprocess.run(
                [compiler, "-O2", *options, "-o", self._program, source], stderr=subprocess.DEVNULL, check=False
            ).returncode
            == 0
            for options in (["-static"], [])
        )

    def shell(self, tag: int) -> str:
        """The command as a text for a shell."""
        if self.compiled:
            return f"exec {self._program} {self._path} {tag}"
        return f"echo {tag} $(date +%s%N) >> {self._path}"

    def words(self, tag: int) -> list[str]:
        """The command as a list."""
        return [self._program, self._path, str(tag)] if self.compiled else ["sh", "-c", self.shell(tag)]

    def seen(self) -> dict[int, int]:
        """Nanoseconds since 1970, by tag."""
        try:
            rows = Path(self._path).read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {int(tag): int(at) for tag, at in (row.split() for row in rows)}

    def forget(self) -> None:
        """Start anew."""
        Path(self._path).unlink(missing_ok=True)


def series(
    stamp: Stamp, count: int, send: Callable[[int], None], prepare: Callable[[int], object] = lambda _tag: None
) -> list[float]:
    """Send `count` jobs one after the other, each to an idle pool; the waits in ms, without what `prepare` takes."""
    stamp.forget()
    sent: dict[int, int] = {}
    for tag in range(count + _WARM_UP):
        prepare(tag)
        sent[tag] = time.time_ns()
        send(tag)
        deadline = time.monotonic() + _PATIENCE_S
        while tag not in stamp.seen() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.03)  # what follows the run is over, and the pool waits again
    seen = stamp.seen()
    return [(seen[tag] - sent[tag]) / 1e6 for tag in range(_WARM_UP, count + _WARM_UP) if tag in seen]


def measure(parent: str, *, count: int, others: list[str]) -> None:
    """Measure and print."""
    rows = []
    with spools.folder(parent) as folder:
        stamp = Stamp(folder)
        spool = spools.make(folder)
        drop = os.path.join(folder, "drop.json")

        def write(command: str | list[str]) -> None:
            Path(drop).write_text(json.dumps({"command": command}))

        def rename(tag: int) -> None:
            os.rename(drop, spool.path("pending", f"drop-{time.time_ns()}-{tag}.json"))

        def enqueue(tag: int) -> None:
            machine.run(spools.queuectl(spool, "enqueue", "--command", stamp.shell(tag)), cwd=folder)

        process = machine.Process(spools.pool(spool, 2), cwd=folder)
        try:
            time.sleep(1.5)
            waits_ms = series(stamp, count, rename, lambda tag: write(stamp.shell(tag)))
            rows.append(row("drop by rename, through the shell", waits_ms, count))
            waits_ms = series(stamp, count, rename, lambda tag: write(stamp.words(tag)))
            rows.append(row("drop by rename, a list", waits_ms, count))
            rows.append(row("queuectl enqueue, from typing", series(stamp, count // 3, enqueue), count // 3))
        finally:
            process.stop()
        rows += _floor(folder, stamp, count)
        for name in others:
            made = peers.ADAPTERS[name]
            if made.waits:
                rows.append(_peer(parent, name, stamp, count))
    notes = [
        "From before the call to the clock's reading at the start of the command; an idle pool of 2.",
        "The floor: two bare processes of Python that make the same system calls.",
    ]
    if not stamp.compiled:
        notes.append("No C compiler here, so a shell and date stand in for the small program and are counted with it.")
    table.show("B: latency, ms", ["", "p50", "p95", "max", "jobs"], rows, notes)


def _floor(folder: str, stamp: Stamp, count: int) -> list[list[str]]:
    """Measure `bench.floor` (Linux)."""
    if not sys.platform.startswith("linux"):
        return []
    bare, drop = os.path.join(folder, "bare"), os.path.join(folder, "bare.json")
    process = machine.Process([sys.executable, floor.__file__, bare], cwd=folder)
    try:
        time.sleep(1.0)

        def write(command: str | list[str]) -> None:
            Path(drop).write_text(json.dumps({"command": command}))

        def rename(tag: int) -> None:
            os.rename(drop, os.path.join(bare, "pending", f"drop-{time.time_ns()}-{tag}.json"))

        rows = []
        for title, command in (("through the shell", stamp.shell), ("a list", stamp.words)):
            waits_ms = series(stamp, count, rename, lambda tag, command=command: write(command(tag)))
            rows.append(row(f"floor, {title}", waits_ms, count))
        return rows
    finally:
        process.stop()


def _peer(parent: str, name: str, stamp: Stamp, count: int) -> list[str]:
    with spools.folder(parent) as folder:
        peer = peers.ADAPTERS[name](folder, 2)
        try:
            peer.start()
            time.sleep(1.5)
            return row(name, series(stamp, count, lambda tag: peer.submit(stamp.shell(tag))), count)
        except (RuntimeError, OSError) as error:
            return [name, f"failed: {error}"[:60], "", "", ""]
        finally:
            peer.stop()


def row(title: str, waits_ms: list[float], count: int) -> list[str]:
    if not waits_ms:
        return [title, "none arrived", "", "", f"0 of {count}"]
    jobs = str(count) if len(waits_ms) == count else f"{len(waits_ms)} of {count}"
    return [
        title,
        f"{statistics.median(waits_ms):.2f}",
        f"{table.percentile(waits_ms, 0.95):.2f}",
        f"{max(waits_ms):.2f}",
        jobs,
    ]
