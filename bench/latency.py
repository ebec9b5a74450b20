"""B: how soon an idle pool starts a job: from the rename into pending/, or from typing, to the command's first
instruction (a small C program that reads the clock first; without a compiler, `date`)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

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


class Way(NamedTuple):
    """A way to start a job: `send`, once `prepare` has done what does not count. Both get the job's tag."""

    send: Callable[[int], None]
    prepare: Callable[[int], object] = lambda _tag: None


def series(
    stamp: Stamp, count: int, send: Callable[[int], None], prepare: Callable[[int], object] = lambda _tag: None
) -> list[float]:
    """Send `count` jobs one after the other, each to an idle pool; the waits in ms, without what `prepare` takes."""
    return in_turns(stamp, count, {"": Way(send, prepare)})[""]


def in_turns(stamp: Stamp, count: int, ways: Mapping[str, Way]) -> dict[str, list[float]]:
    """Send `count` jobs in each of the ways, in turns, each when all is idle; the waits in ms."""
    stamp.forget()
    sent: dict[int, int] = {}
    tags: dict[str, list[int]] = {title: [] for title in ways}
    for turn in range(count + _WARM_UP):
        for title, way in ways.items():
            tag = len(sent)
            way.prepare(tag)
            sent[tag] = time.time_ns()
            way.send(tag)
            deadline = time.monotonic() + _PATIENCE_S
            while tag not in stamp.seen() and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(0.03)  # what follows the run is over, and all waits again
            if turn >= _WARM_UP:
                tags[title].append(tag)
    seen = stamp.seen()
    return {title: [(seen[tag] - sent[tag]) / 1e6 for tag in found if tag in seen] for title, found in tags.items()}


def measure(parent: str, *, count: int, others: list[str]) -> None:
    """Measure and print."""
    with contextlib.ExitStack() as ended:
        folder = ended.enter_context(spools.folder(parent))
        stamp = Stamp(folder)
        spool = spools.make(folder)
        process = machine.Process(spools.pool(spool, 2), cwd=folder)
        ended.callback(process.stop)
        drops = _Drops(folder, spool.folder("pending"))
        ways = {
            "drop by rename, a list": Way(drops.rename, lambda tag: drops.write(stamp.words(tag))),
            "drop by rename, through the shell": Way(drops.rename, lambda tag: drops.write(stamp.shell(tag))),
            **_floor(folder, stamp, ended),
        }
        failed = []
        for name in others:
            if peers.ADAPTERS[name].waits:
                try:
                    ways[name] = _peer(name, ended.enter_context(spools.folder(parent)), stamp, ended)
                except (RuntimeError, OSError) as error:
                    failed.append([name, f"failed: {error}"[:60], "", "", ""])
        time.sleep(1.5)
        waits_ms = in_turns(stamp, count, ways)

        def enqueue(tag: int) -> None:
            machine.run(spools.queuectl(spool, "enqueue", "--command", stamp.shell(tag)), cwd=folder)

        rows = [row(title, found, count) for title, found in waits_ms.items()]
        rows.append(row("queuectl enqueue, from typing", series(stamp, count // 3, enqueue), count // 3))
    notes = [
        "From before the call to the clock's reading at the start of the command; an idle pool of 2; all in turns.",
        "The floor: two bare processes of Python that make the same system calls.",
    ]
    if not stamp.compiled:
        notes.append("No C compiler here, so a shell and date stand in for the small program and are counted with it.")
    table.show("B: latency, ms", ["", "p50", "p95", "max", "jobs"], rows + failed, notes)


class _Drops:
    """Files that are written beside a folder, and renamed into it."""

    def __init__(self, folder: str, pending: str) -> None:
        self._pending = pending
        self._drop = os.path.join(folder, f"{os.path.basename(os.path.dirname(pending))}.json")

    def write(self, command: str | list[str]) -> None:
        """Write the next one."""
        Path(self._drop).write_text(json.dumps({"command": command}))

    def rename(self, tag: int) -> None:
        """Drop it."""
        os.rename(self._drop, os.path.join(self._pending, f"drop-{time.time_ns()}-{tag}.json"))


def _floor(folder: str, stamp: Stamp, ended: contextlib.ExitStack) -> dict[str, Way]:
    """Start `bench.floor` (Linux) until the end."""
    if not sys.platform.startswith("linux"):
        return {}
    bare = os.path.join(folder, "bare")
    process = machine.Process([sys.executable, floor.__file__, bare], cwd=folder)
    ended.callback(process.stop)
    drops = _Drops(folder, os.path.join(bare, "pending"))
    return {
        "floor, a list": Way(drops.rename, lambda tag: drops.write(stamp.words(tag))),
        "floor, through the shell": Way(drops.rename, lambda tag: drops.write(stamp.shell(tag))),
    }


def _peer(name: str, folder: str, stamp: Stamp, ended: contextlib.ExitStack) -> Way:
    """Start another queue until the end."""
    peer = peers.ADAPTERS[name](folder, 2)
    ended.callback(peer.stop)
    peer.start()
    return Way(lambda tag: peer.submit(stamp.shell(tag)))


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
