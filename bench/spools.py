"""Spools to measure on: made, filled as fast as files can be written, and read afterwards for what happened when."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from queuectl.model import history, names, record, times
from queuectl.model.lifecycle import DONE, PENDING
from queuectl.spool import create, settings_file
from queuectl.spool.folder import SpoolDir


class Run(NamedTuple):
    """One run as its record tells it: seconds since 1970, to the millisecond."""

    job_id: str
    started_at: float
    ended_at: float
    worker: str


_used: list[str] = []


@contextmanager
def folder(parent: str) -> Iterator[str]:
    """A folder of its own; it stays until `sweep`, because on ext4 deleted files make new ones dear (see `churn`)."""
    made = tempfile.mkdtemp(prefix="queuectl-bench-", dir=parent)
    _used.append(made)
    yield made


def sweep() -> None:
    """Delete what was made."""
    while _used:
        shutil.rmtree(_used.pop(), ignore_errors=True)


def make(parent: str, *, durability: str = "queue", settings: str = "") -> SpoolDir:
    """A new spool in `parent`; `settings` are lines of queuectl.toml."""
    spool = SpoolDir(os.path.join(parent, f"spool{len(os.listdir(parent))}"))
    create.create(spool)
    if durability != "queue":
        settings = f'durability = "{durability}"\n{settings}'
    if settings:
        settings_file.write(spool, settings)
    return spool


class Flags(NamedTuple):
    """What the names of jobs say beside their ids. The jobs take turns with keys, priorities and due times."""

    queue: str = ""
    keys: int = 0
    """So many different keys: k0, k1 ..."""
    priorities: int = 1
    """So many different priorities, from 0 on."""
    due_each: int = 0
    """One in so many has a due time, which is past."""

    def of(self, number: int, now_at: float) -> tuple[dict[str, Any], float | None]:
        """Return the keys of a job, and when it is due."""
        made: dict[str, Any] = {"queue": self.queue} if self.queue else {}
        if self.keys:
            made["key"] = f"k{number % self.keys}"
        if priority := number % self.priorities:
            made["priority"] = priority
        due_at = math.floor(now_at) - 1.0 if self.due_each and not number % self.due_each else None
        if due_at is not None:
            made["run_at"] = times.to_text(due_at)
        return made, due_at


PLAIN = Flags()


def fill(
    spool: SpoolDir,
    count: int,
    command: str | list[str] = "true",
    *,
    state: str = PENDING,
    own_ids: bool = False,
    flags: Flags = PLAIN,
) -> list[str]:
    """Write `count` records as `enqueue` (or, for done/, a worker) leaves them, without its checks; their ids.

    Plain writes of new files, so the file system is as it is after that many real jobs. With `own_ids` the ids are j1,
    j2 ... and the names say when the jobs arrived.
    """
    now_at = time.time() - count / 1e6 - 1
    spec = {"id": "ID", "command": command, "max_retries": 3, "backoff_base": 2, "backoff_max": 3600}
    events = [history.event("enqueued", now_at, by="enqueue")]
    if state == DONE:
        events.append(history.event("started", now_at, attempt=1, worker="bench-1", lease="bench-1.0"))
        events.append(history.event("succeeded", now_at, attempt=1, exit_code=0, duration_s=0.001, to=DONE))
    parts: dict[tuple[Any, ...], list[bytes]] = {}
    folder_path = spool.folder(state)
    rng = random.Random(count)
    ids = [names.generate_id(now_at + number / 1e6, rng) for number in range(count)]
    if own_ids:
        arrived = [names.stamp(now_at + number / 1e6) for number in range(count)]
        ids = [f"j{number}" for number in range(1, count + 1)]
    for number, job_id in enumerate(ids):
        name = names.waiting_name(job_id, None, 0, arrived=arrived[number]) if own_ids else f"{job_id}.json"
        more, due_at = flags.of(number, now_at)
        if more:
            place = more.get("queue", ""), more.get("key", ""), ""
            name = names.waiting_name(job_id, due_at, more.get("priority", 0), place=place)
        kind = tuple(more.values())
        if kind not in parts:
            parts[kind] = record.frame({**spec, **more}, events).split(b'"ID"', 1)
        before, after = parts[kind]
        fd = os.open(f"{folder_path}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, b'%s"%s"%s' % (before, job_id.encode(), after))
        os.close(fd)
    return ids


def settle_disk() -> None:
    """Let the disk finish what was written before, so that its work is not measured with ours."""
    if hasattr(os, "sync"):
        os.sync()


def churn(parent: str, count: int) -> None:
    """Create and delete files: afterwards ext4 looks for free inodes past those that were freed a moment ago."""
    place = os.path.join(parent, "churn")
    os.mkdir(place)
    for number in range(count):
        fd = os.open(f"{place}/{number}", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"x" * 300)
        os.close(fd)
    shutil.rmtree(place)


def runs(spool: SpoolDir) -> list[Run]:
    """The runs of the jobs in done/, in the order they ended."""
    return runs_of(spool, [name.removesuffix(".json") for name in spool.job_names(DONE)])


def runs_of(spool: SpoolDir, job_ids: list[str]) -> list[Run]:
    """The runs of some jobs in done/, in the order they ended."""
    found = []
    for name in [f"{job_id}.json" for job_id in job_ids]:
        with open(spool.path(DONE, name), "rb") as file:
            document = json.load(file)
        started = ended = worker = None
        for event in document["history"]:
            if event["event"] == "started":
                started, worker = event["at"], event["worker"]
            elif event["event"] == "succeeded":
                ended = event["at"]
        if started and ended:
            found.append(Run(document["id"], times.from_text(started), times.from_text(ended), worker or ""))
    return sorted(found, key=lambda run: run.ended_at)


def queuectl(spool: SpoolDir, *words: str) -> list[str]:
    """The command line of queuectl as the installed command starts it (no `-m`, which costs a few ms more)."""
    return [sys.executable, "-c", "from queuectl.__main__ import main; main()", "--spool", spool.root, *words]


def pool(spool: SpoolDir, count: int, *options: str) -> list[str]:
    """The command line of a pool of `count` workers."""
    return queuectl(spool, "worker", "start", "--count", str(count), *options)
