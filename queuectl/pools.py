"""Worker pools: who is working on a spool, and how to ask them to stop (by file, so from any terminal and host).

A pool is one start of one supervisor. Its name is made anew each time, so an old stop request never stops a new pool.

    .queuectl/pools/POOL.json      who it is, for people and for `worker list`
    .queuectl/pools/POOL.lock      held while it lives: the only proof of life; a pid proves nothing
    .queuectl/pools/POOL.stop      a request to stop; its text is `stop` or `now`
    .queuectl/pools/POOL.stopped   what the stop did, written just before the lock is freed
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import socket
from typing import Any, NamedTuple

import msgspec

from queuectl import fsops, names, times
from queuectl.locks import NamedLock, is_held
from queuectl.spool import SpoolDir

STOP, NOW = "stop", "now"
_MAX_BYTES = 64 * 1024


class PoolInfo(msgspec.Struct, frozen=True):
    """What a pool says about itself. `log` is the file it writes to where it was started detached, or ""."""

    pool: str
    host: str
    pid: int
    started_at: float
    count: int
    cwd: str
    log: str


class StopSummary(NamedTuple):
    """What a stop did: ids whose run was cut off and put back uncounted, and how many jobs the pool had run."""

    released: list[str]
    finished: int


class Pool:
    """This process's own pool."""

    def __init__(self, spool: SpoolDir, *, count: int, cwd: str, now_at: float, rng: random.Random) -> None:
        host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:30].strip("-") or "host"
        self.name = f"{host}-{os.getpid()}-{names.new_token(rng)}"
        self._spool = spool
        self._lock = NamedLock(_path(spool, self.name, "lock"))
        self._info = PoolInfo(self.name, host, os.getpid(), now_at, count, cwd, os.environ.get("QUEUECTL_POOL_LOG", ""))

    def enter(self) -> None:
        """Take the lock and tell the world. Raises OSError."""
        if not self._lock.try_acquire():
            raise OSError(f"cannot lock {self._lock.path}")
        body = {**msgspec.structs.asdict(self._info), "started_at": times.to_text(self._info.started_at)}
        # Synced: after a power cut this record without its lock tells the next pool to look for torn records.
        fsops.create(_path(self._spool, self.name, "json"), json.dumps(body, indent=1).encode() + b"\n", sync=True)
        fsops.sync_folder(self._spool.pool_dir)

    def let_go(self) -> None:
        """Close the lock's handle, in a process that was forked and is not the pool's supervisor."""
        self._lock.close()

    def stop_request(self) -> str:
        """`stop`, `now`, or "" where nobody asked."""
        path = _path(self._spool, self.name, "stop")
        if not os.path.exists(path):
            return ""
        try:
            return NOW if fsops.read_tail(path, 100).strip() == NOW.encode() else STOP
        except OSError:
            return STOP

    def leave(self, summary: StopSummary, *, clean: bool) -> None:
        """Say what became of the work, then free the lock and take the traces away.

        `clean` False leaves the record, so that the next pool does what this one did not get to (see `aftermath`).
        """
        with contextlib.suppress(OSError):
            if self.stop_request():
                data = json.dumps(summary._asdict()).encode()
                fsops.create(_path(self._spool, self.name, "stopped"), data, sync=False)
            for kind in ("json", "stop") if clean else ("stop",):
                fsops.unlink(_path(self._spool, self.name, kind))
        self._lock.remove()


def live(spool: SpoolDir) -> list[PoolInfo]:
    """The pools that are alive, oldest first."""
    found = [info for info in _all(spool) if is_held(_path(spool, info.pool, "lock"))]
    return sorted(found, key=lambda info: info.started_at)


def is_live(spool: SpoolDir, pool: str) -> bool:
    """True while the pool's lock is held."""
    return is_held(_path(spool, pool, "lock"))


def request_stop(spool: SpoolDir, pool: str, *, now: bool) -> None:
    """Ask a pool to stop; asking again with `now` makes it hurry. Raises OSError."""
    path = _path(spool, pool, "stop")
    text = (NOW if now else STOP).encode()
    try:
        fsops.create(path, text, sync=False)
    except FileExistsError:
        if now:
            fsops.create(path + ".now", text, sync=False)
            fsops.replace(path + ".now", path)


def take_summary(spool: SpoolDir, pool: str) -> StopSummary | None:
    """What a stopped pool left as its summary, once; None where it left none (killed)."""
    path = _path(spool, pool, "stopped")
    try:
        body = json.loads(fsops.read(path, _MAX_BYTES * 16).data)
        fsops.unlink(path)
        return StopSummary(list(body["released"]), int(body["finished"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def sweep(spool: SpoolDir) -> int:
    """Take away what dead pools left: records, requests, locks and summaries; how many had not ended cleanly."""
    unclean = 0
    for name in fsops.names(spool.pool_dir):
        pool, _, kind = name.rpartition(".")
        if kind not in ("json", "stop", "lock", "stopped") or is_live(spool, pool):
            continue
        with contextlib.suppress(OSError):
            if kind == "lock":
                lock = NamedLock(_path(spool, pool, "lock"))
                if lock.try_acquire():
                    lock.remove()
            else:
                fsops.unlink(_path(spool, pool, kind))
                unclean += kind == "json"
    return unclean


def _all(spool: SpoolDir) -> list[PoolInfo]:
    found = []
    for name in fsops.names(spool.pool_dir):
        if name.endswith(".json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
                found.append(_info(json.loads(fsops.read(os.path.join(spool.pool_dir, name), _MAX_BYTES).data)))
    return found


def _info(body: dict[str, Any]) -> PoolInfo:
    return PoolInfo(
        str(body["pool"]),
        str(body["host"]),
        int(body["pid"]),
        times.from_text(body["started_at"]),
        int(body["count"]),
        str(body.get("cwd", "")),
        str(body.get("log", "")),
    )


def _path(spool: SpoolDir, pool: str, kind: str) -> str:
    return os.path.join(spool.pool_dir, f"{os.path.basename(pool)}.{kind}")
