"""Worker pools: which pools work on a spool, and how to stop them (with a file, so from any terminal and host).

A pool is one start of one supervisor. It gets a new name each time, so an old stop request never stops a new pool.

    .queuectl/pools/POOL.json      facts about the pool, for people and for `worker list`
    .queuectl/pools/POOL.lock      held while the pool lives: the only proof of life; a pid proves nothing
    .queuectl/pools/POOL.stop      a request to stop; its lines are `now`, `wait`, `stop`, `stop SECONDS` or `leave`
    .queuectl/pools/POOL.scale     a request for another number of slots
    .queuectl/pools/POOL.reload    a request to read the settings again
    .queuectl/pools/POOL.stopped   the result of the stop, written just before the lock is freed
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
from typing import Any, NamedTuple

import msgspec

from queuectl import __version__
from queuectl.model import names, times
from queuectl.model.settings import Settings
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import boot, disk, files
from queuectl.system.locks import NamedLock, is_held

STOP, NOW, WAIT, LEAVE = "stop", "now", "wait", "leave"
# The most slots that a pool can have on its machine, and on the nodes of a cluster.
SLOTS_AT_MOST, CLUSTER_SLOTS_AT_MOST = 256, 10_000
_CLUSTER = "cluster "
# 1: this pool respects the stamps of runs on other machines. An older pool, whose record has no `format`, would rescue
# such a run while it lives.
POOL_FORMAT = 1
_SECONDS = re.compile(STOP + r" \d+(\.\d+)?(e[+-]?\d+)?")
_MAX_BYTES = 64 * 1024


class WorkerInfo(NamedTuple):
    """A worker process of a pool."""

    name: str
    """As in the events and the leases of its runs."""
    pid: int
    slots: int
    is_ending: bool
    """True if it claims no more jobs and ends after those that it runs."""


class PoolInfo(msgspec.Struct, frozen=True):
    """The facts about a pool. `log` is the file that a detached pool writes to, or "".

    `count` is the number of its slots, `processes` that of the worker processes that share them. The pool read the
    settings at `settings_at`; those in `held` changed since its start and take effect at the next one.

    After a stop request, running jobs may continue for `grace_s`; then they get `kill_grace_s` to end.
    """

    pool: str
    host: str
    pid: int
    started_at: float
    count: int
    cwd: str
    log: str
    grace_s: float = 10.0
    kill_grace_s: float = 5.0
    processes: int = 0
    settings_at: float = 0.0
    held: tuple[str, ...] = ()
    format: int = POOL_FORMAT
    boot: str = ""
    """The start of its machine (`system.boot`); "" where the system has no name for it."""
    queues: tuple[str, ...] = ()
    """The queues that it takes; none: all."""
    workers: tuple[WorkerInfo, ...] = ()
    """Its worker processes that live; empty until it has recorded them, just after its start."""
    cluster_slots: int = 0
    """The most slots that it uses on the nodes of a cluster, beside `count`; 0: none."""
    version: str = ""
    """The version of queuectl that it is; "": one that did not say."""


class StopRequest(NamedTuple):
    """How a pool is to stop."""

    grace_s: float
    """How long running jobs may continue (0: end all now; inf: wait)."""
    leaves: bool = False
    """True if commands on nodes go on, for the next pool."""


class ScaleRequest(NamedTuple):
    """How many slots a pool is to have, here or on the nodes of its cluster."""

    slots: int
    is_cluster: bool


class StopSummary(NamedTuple):
    """The result of a stop: ids whose run was ended and put back uncounted, and how many jobs the pool had run.

    The runs of `left` go on on their nodes, for `left_s` from the end of the pool unless another pool takes them over.
    """

    released: list[str]
    finished: int
    left: list[str] = []  # noqa: RUF012 - never changed
    left_s: float = 0.0


class Pool:
    """This process's own pool."""

    def __init__(
        self,
        session: Session,
        *,
        count: int,
        cwd: str,
        processes: int = 0,
        queues: tuple[str, ...] = (),
        cluster_slots: int = 0,
    ) -> None:
        spool, settings, clock, rng = session
        host = own_host()
        self.name = f"{host}-{os.getpid()}-{names.new_token(rng)}"
        self._spool = spool
        self._lock = NamedLock(spool.pool_path(self.name, "lock"))
        log = os.environ.get("QUEUECTL_POOL_LOG", "")
        self._info = PoolInfo(
            self.name,
            host,
            os.getpid(),
            clock.now(),
            count,
            cwd,
            log,
            settings.stop_grace_s,
            settings.kill_grace_s,
            processes or count,
            clock.now(),
            boot=boot.boot_id(),
            queues=queues,
            cluster_slots=cluster_slots,
            version=__version__,
        )

    def enter(self) -> None:
        """Take the lock and write the pool's record. Raises OSError."""
        if not self._lock.try_acquire():
            raise OSError(f"cannot lock {self._lock.path}")
        # Fsynced, so that after a power cut the next pool finds this record without a lock, and looks for torn records.
        path = self._spool.pool_path(self.name, "json")
        disk.create(path, self._body(), sync=True, mode=disk.FILE_MODE)
        disk.sync_folder(self._spool.pool_dir)

    def _body(self) -> bytes:
        instants = {key: times.to_text(getattr(self._info, key)) for key in ("started_at", "settings_at")}
        workers = [worker._asdict() for worker in self._info.workers]
        body = {**msgspec.structs.asdict(self._info), **instants, "workers": workers}
        return json.dumps(body, indent=1).encode() + b"\n"

    @property
    def lock(self) -> NamedLock:
        """The lock that proves that this pool is alive."""
        return self._lock

    def close_inherited(self) -> None:
        """Close the lock's handle in a forked process, which is not the pool's supervisor."""
        self._lock.close()

    def stop_request(self) -> StopRequest | None:
        """Return the request to stop, or None if there is none."""
        path = self._spool.pool_path(self.name, "stop")
        if not os.path.exists(path):
            return None
        try:
            lines = _lines(path)
        except OSError:
            lines = []
        graces = [_grace_s(line, self._info.grace_s) for line in lines if line != LEAVE]
        return StopRequest(min(graces, default=self._info.grace_s), LEAVE in lines)

    def scale_request(self) -> ScaleRequest | None:
        """Return the number of slots that somebody asked for, or None. A file that holds none is deleted."""
        path = self._spool.pool_path(self.name, "scale")
        if not files.is_regular(path):
            return None
        try:
            word = files.read(path, _MAX_BYTES).data.decode("utf-8", "replace")
            asked = ScaleRequest(int(word.removeprefix(_CLUSTER)), word.startswith(_CLUSTER))
        except OSError:
            return None
        except ValueError:
            asked = ScaleRequest(0, False)
        most = CLUSTER_SLOTS_AT_MOST if asked.is_cluster else SLOTS_AT_MOST
        if not 1 <= asked.slots <= most or (asked.is_cluster and not self._info.cluster_slots):
            disk.unlink(path)
            return None
        return asked

    def rescaled(self, **changes: Any) -> None:
        """Record how many slots there are now, and delete the request. Raises OSError."""
        self._rewrite(**changes)
        disk.unlink(self._spool.pool_path(self.name, "scale"))

    def note_workers(self, workers: tuple[WorkerInfo, ...]) -> None:
        """Record the worker processes, for people. Not synced: after a power cut the record's name is enough."""
        self._rewrite(sync=False, workers=workers)

    def is_reload_asked(self) -> bool:
        """Return whether somebody asked this pool to read the settings again."""
        return files.is_regular(self._spool.pool_path(self.name, "reload"))

    def reloaded(self, settings: Settings, held: list[str], *, read_at: float) -> None:
        """Record which settings the pool uses now, and delete the request. Raises OSError."""
        self._rewrite(kill_grace_s=settings.kill_grace_s, settings_at=read_at, held=tuple(held))
        self.forget_reload()

    def queues_read(self, *, read_at: float) -> None:
        """Record when the pool read the settings, of which only queues had changed. Raises OSError."""
        self._rewrite(settings_at=read_at)

    def forget_reload(self) -> None:
        """Delete the request to read the settings again. Raises OSError."""
        disk.unlink(self._spool.pool_path(self.name, "reload"))

    def _rewrite(self, *, sync: bool = True, **changes: object) -> None:
        self._info = msgspec.structs.replace(self._info, **changes)
        self._spool.replace_file(
            self._spool.pool_path(self.name, "json"), self._body(), hint="pool", sync=sync, mode=disk.FILE_MODE
        )

    def leave(self, summary: StopSummary, *, clean: bool) -> None:
        """Write the result of the stop, then free the lock and delete the pool's files.

        If not `clean`, keep the record, so that the next pool completes the remaining work (see `recovery`).
        """
        with contextlib.suppress(OSError):
            if self.stop_request() is not None:
                data = json.dumps(summary._asdict()).encode()
                disk.create(self._spool.pool_path(self.name, "stopped"), data, sync=False, mode=disk.FILE_MODE)
            for kind in ("json", "stop", "scale", "reload") if clean else ("stop", "scale", "reload"):
                disk.unlink(self._spool.pool_path(self.name, kind))
        self._lock.remove()


def own_host() -> str:
    """Return the name of this machine in the form that a pool's record has."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:30].strip("-") or "host"


def elsewhere(spool: SpoolDir) -> PoolInfo | None:
    """Return a pool that was started on another machine and did not end cleanly, or None.

    Its lock says nothing here: on a share it may hold on its own machine only. Another host of the same boot is a
    container of this machine.
    """
    for info in _all(spool):
        if info.boot and boot.boot_id() and info.boot != boot.boot_id() and info.host != own_host():
            return info
    return None


def live(spool: SpoolDir) -> list[PoolInfo]:
    """Return the pools that are alive, oldest first."""
    found = [info for info in _all(spool) if is_held(spool.pool_path(info.pool, "lock"))]
    return sorted(found, key=lambda info: info.started_at)


def is_live(spool: SpoolDir, pool: str) -> bool:
    """True while the pool's lock is held."""
    return is_held(spool.pool_path(pool, "lock"))


def request_stop(
    spool: SpoolDir, pool: str, *, now: bool = False, grace_s: float | None = None, leaves: bool = False
) -> None:
    """Ask a pool to stop `now`, or after its jobs have ended; they get `grace_s` (None: the pool's own; inf: no limit).

    With `leaves`, commands on nodes go on, for the next pool.
    The request that ends the pool first wins, so a later request can only shorten a stop. If two processes ask at the
    same instant, one request may get lost, so ask again while you wait. Raises OSError.
    """
    path = spool.pool_path(pool, "stop")
    asked = NOW if now or grace_s == 0 else STOP if grace_s is None else f"{STOP} {grace_s}"
    try:
        before = _lines(path)
    except FileNotFoundError:
        before = []
    lines = _hardest([*before, WAIT if asked == f"{STOP} {math.inf}" else asked])
    lines += [LEAVE] * (leaves or LEAVE in before)
    if lines == before:
        return
    # In one step, because half of a request would be a different request.
    spool.replace_file(path, "\n".join(lines).encode(), hint="stop", sync=False)


def request_scale(spool: SpoolDir, pool: str, slots: int, *, is_cluster: bool = False) -> None:
    """Ask a pool to have this many slots, here or on nodes. The last request counts. Raises OSError."""
    body = f"{_CLUSTER if is_cluster else ''}{slots}\n".encode()
    spool.replace_file(spool.pool_path(pool, "scale"), body, hint="scale", sync=False)


def request_reload(spool: SpoolDir, pool: str) -> None:
    """Ask a pool to read the settings again. Raises OSError."""
    spool.replace_file(spool.pool_path(pool, "reload"), b"", hint="reload", sync=False)


def is_reload_waiting(spool: SpoolDir, pool: str) -> bool:
    """Return whether a request to read the settings again is still there."""
    return files.is_regular(spool.pool_path(pool, "reload"))


def take_summary(spool: SpoolDir, pool: str) -> StopSummary | None:
    """Return the result of a stop and delete it; None if there is none, because the pool was killed."""
    path = spool.pool_path(pool, "stopped")
    try:
        body = json.loads(files.read(path, _MAX_BYTES * 16).data)
        disk.unlink(path)
        left = list(map(str, body.get("left", ())))
        return StopSummary(list(body["released"]), int(body["finished"]), left, float(body.get("left_s", 0.0)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _lines(path: str) -> list[str]:
    return files.read(path, _MAX_BYTES).data.decode("utf-8", "replace").split("\n")


def _hardest(lines: list[str]) -> list[str]:
    """Return the lines that may end the pool first; if two are left, only the pool knows which one does."""
    graces = [float(line.partition(" ")[2]) for line in lines if _SECONDS.fullmatch(line)]
    if NOW in lines or not (graces or STOP in lines):
        return [NOW if NOW in lines else WAIT]
    return [*([STOP] if STOP in lines else []), *([f"{STOP} {min(graces)}"] if graces else [])]


def _grace_s(line: str, own_s: float) -> float:
    """Return the grace that a line of a request names. An unknown line means an ordinary stop."""
    word, _, seconds = line.strip().partition(" ")
    if word in (NOW, WAIT):
        return 0.0 if word == NOW else math.inf
    try:
        return max(0.0, float(seconds)) if seconds else own_s
    except ValueError:
        return own_s


def _all(spool: SpoolDir) -> list[PoolInfo]:
    found = []
    for name in spool.names(spool.pool_dir):
        if name.endswith(".json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
                found.append(_info(json.loads(files.read(os.path.join(spool.pool_dir, name), _MAX_BYTES).data)))
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
        float(body.get("grace_s", 10.0)),
        float(body.get("kill_grace_s", 5.0)),
        int(body.get("processes", body["count"])),
        times.from_text(body.get("settings_at", body["started_at"])),
        tuple(map(str, body.get("held", ()))),
        int(body.get("format", 0)),
        str(body.get("boot", "")),
        tuple(map(str, body.get("queues", ()))),
        tuple(
            WorkerInfo(str(row["name"]), int(row["pid"]), int(row["slots"]), bool(row["is_ending"]))
            for row in body.get("workers", ())
        ),
        int(body.get("cluster_slots", 0)),
        str(body.get("version", "")),
    )
