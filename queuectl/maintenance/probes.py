"""What a spool's file system must be able to do, tried out in a scratch folder: the trials of `doctor`.

Each probe does one thing that the promises rest on, with files of its own, and says what it measured. The only process
it starts is one of its own that holds a lock until it is killed; the only lock it takes is the scratch folder's. What
a probe cannot do is a line that says so, never an error.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from queuectl.system import disk, files
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock

OK, WARN, FAIL = "ok", "warn", "fail"

_MAX_BYTES = 4096
_SYNCS = 5
# From here on each accepted job is felt to wait for the disk.
_SLOW_SYNC_MS = 200.0
# Starting a process may take long on a machine under load; a lock that is free later than this is not freed.
_PROCESS_DEADLINE_S = 30.0
_FREED_DEADLINE_S = 10.0
_FREED_WITHIN_MS = 1000.0  # promise P5: recovered within a second
_POLL_S = 0.001
_WATCH_TRIES = 3
_WATCH_DEADLINE_S = 2.0
_LATE_EVENT_MS = 1000.0
_NAME_CHARS = (255, 200, 143, 100)
_LONG_PATH_CHARS = 320
# FAT keeps times in steps of two seconds.
_SKEW_S = 2.5
_JUMP_S = 0.5
# Earlier than this queuectl did not exist: the machine has no battery for its clock, or has not asked the time yet.
_EARLIEST_AT = 1_735_689_600.0  # 2025-01-01
_READINGS = 1000


class Line(NamedTuple):
    """One thing that was looked at."""

    name: str
    """A word for programs, always the same for the same thing."""
    level: str
    """OK, WARN (works, but look at it) or FAIL (queuectl cannot keep its promises here)."""
    text: str
    """What was found."""
    hint: str = ""
    """What to do about it, or ""."""
    measured: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The figures in it, for programs; the unit stands in each name."""


class Bench(NamedTuple):
    """Where probes work: an empty folder of their own on the spool's file system."""

    folder: str
    clock: Clock

    def path(self, name: str) -> str:
        """Return a file in it."""
        return os.path.join(self.folder, name)


class Probe(NamedTuple):
    """One trial; `hint` is what to do where the system refuses it."""

    name: str
    call: Callable[[Bench], Line]
    hint: str


def run(probe: Probe, bench: Bench) -> Line:
    """Return what a probe finds; an error of the system is a FAIL."""
    try:
        return probe.call(bench)
    except OSError as error:
        return Line(probe.name, FAIL, f"the system refuses it: {error.strerror or error}", probe.hint)


# ------------------------------------------------------------------------------------------------------------ files


def _create(bench: Bench) -> Line:
    path = bench.path("create")
    disk.create(path, b"first", sync=False)
    try:
        disk.create(path, b"second", sync=False)
    except FileExistsError:
        if _content(path) == b"first":
            return Line("create", OK, "a new file is made only where its name is free")
    return Line("create", FAIL, "a file was made over another one of the same name", _OTHER_DISK)


def _rename(bench: Bench) -> Line:
    one, two, taken = bench.path("rename-1"), bench.path("rename-2"), bench.path("rename-3")
    disk.create(one, b"mine", sync=False)
    disk.create(taken, b"theirs", sync=False)
    started = time.perf_counter()
    disk.move(one, two)
    took_ms = _ms_since(started)
    if _content(two) != b"mine" or os.path.lexists(one):
        return Line("rename", FAIL, "a renamed file is not what it was, or is there twice", _OTHER_DISK)
    try:
        disk.move(two, taken)
        refused = False
    except FileExistsError:
        refused = _content(taken) == b"theirs" and _content(two) == b"mine"
    if not refused:
        return Line("rename", FAIL, "a rename replaced a file that was there", _OTHER_DISK)
    by_system = disk.refuses_to_replace(two, taken)
    disk.create(bench.path("rename-4"), b"new", sync=False)
    disk.replace(bench.path("rename-4"), taken)
    if _content(taken) != b"new":
        return Line("rename", FAIL, "a file cannot be replaced by a rename", _OTHER_DISK)
    measured = {"rename_ms": round(took_ms, 3), "refused_by_system": by_system}
    text = f"moves in {took_ms:.2f} ms and does not replace what is there"
    if by_system:
        return Line("rename", OK, text, measured=measured)
    text += "; this file system cannot refuse by itself, so queuectl looks first"
    return Line("rename", WARN, text, "do not move files in the spool by hand while workers run", measured)


def _link(bench: Bench) -> Line:
    disk.create(bench.path("link-1"), b"", sync=False)
    can = disk.can_link(bench.path("link-1"), bench.path("link-2"))
    text = "a file can have two names" if can else "no second names for a file here; jobs are published by rename"
    return Line("link", OK, text, measured={"links": can})


def _fsync(bench: Bench) -> Line:
    took_ms = []
    for number in range(_SYNCS):
        started = time.perf_counter()
        disk.create(bench.path(f"fsync-{number}"), b"x" * 300, sync=True)
        disk.sync_folder(bench.folder)
        took_ms.append(_ms_since(started))
    median_ms, worst_ms = statistics.median(took_ms), max(took_ms)
    measured = {"median_ms": round(median_ms, 3), "worst_ms": round(worst_ms, 3)}
    text = f"a small file is on disk in {median_ms:.1f} ms (at worst {worst_ms:.1f} of {_SYNCS})"
    if median_ms > _SLOW_SYNC_MS:
        hint = 'enqueue many jobs in one call, or set durability = "off" where a power cut may cost jobs'
        return Line("fsync", WARN, f"{text}: each accepted job waits that long", hint, measured)
    return Line("fsync", OK, text, measured=measured)


def _case(bench: Bench) -> Line:
    disk.create(bench.path("Case.probe"), b"", sync=False)
    tells = not os.path.lexists(bench.path("case.PROBE"))
    text = "upper and lower case are told apart" if tells else "Job1 and job1 are one file name"
    return Line("case", OK, f"{text}; ids are unique without regard to it", measured={"case_sensitive": tells})


def _names(bench: Bench) -> Line:
    longest = 0
    for length in _NAME_CHARS:
        with contextlib.suppress(OSError):
            disk.create(bench.path("n" * length), b"", sync=False)
            longest = length
            break
    measured = {"longest_name": longest}
    if longest == _NAME_CHARS[0]:
        return Line("names", OK, f"names of {longest} bytes", measured=measured)
    if not longest:
        return Line("names", FAIL, f"no names of even {_NAME_CHARS[-1]} bytes", _OTHER_DISK, measured)
    text = f"names of {longest} bytes, not of {_NAME_CHARS[0]}: longer drops cannot be put here"
    return Line("names", WARN, text, f"keep the names of drops below {longest - 60} characters", measured)


def _paths(bench: Bench) -> Line:
    folder = bench.folder
    while len(folder) < _LONG_PATH_CHARS:
        folder = os.path.join(folder, "p" * 40)
    path = os.path.join(folder, "probe")
    try:
        disk.make_folder(folder)
        disk.create(path, b"", sync=False)
    except OSError as error:
        text = f"no path of {len(path)} characters: {error.strerror or error}"
        hint = "keep the spool's own path short"
        if os.name == "nt":
            hint += "; or as administrator: reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem"
            hint += " /v LongPathsEnabled /t REG_DWORD /d 1"
        return Line("paths", WARN, text, hint, {"long_paths": False})
    return Line("paths", OK, f"a path of {len(path)} characters", measured={"long_paths": True})


# ------------------------------------------------------------------------------------------------------------ locks


def hold(theirs: str, own: str, conn: Connection) -> None:
    """What the helper process does: try a lock that is held, take another, tell of both, and hold on until it ends."""
    others, mine = FileLock(theirs), FileLock(own)
    try:
        conn.send((others.try_acquire(), mine.try_acquire()))
        with contextlib.suppress(EOFError, OSError):
            conn.recv()
    finally:
        others.close()
        mine.close()


def _locks(bench: Bench) -> Line:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ours, theirs = FileLock(bench.path("ours.lock")), FileLock(bench.path("theirs.lock"))
    conn, far_end = context.Pipe(duplex=True)
    process = context.Process(target=hold, args=(ours.path, theirs.path, far_end), daemon=True)
    try:
        if not ours.try_acquire():
            return Line("locks", FAIL, "a lock on a new file is refused", _NO_LOCKS)
        process.start()
        far_end.close()
        try:
            if not conn.poll(_PROCESS_DEADLINE_S):
                return Line("locks", FAIL, f"a helper process says nothing for {_PROCESS_DEADLINE_S:.0f} s", _BUSY)
            took_ours, has_theirs = conn.recv()
        except EOFError:
            return Line("locks", FAIL, "a helper process ended at once", "queuectl --debug doctor")
        if not has_theirs or took_ours or theirs.try_acquire():
            return Line("locks", FAIL, "two processes have one lock at the same time: jobs would run twice", _NO_LOCKS)
        return _freed(process, theirs)
    finally:
        if process.pid is not None:
            process.kill()
            process.join(_FREED_DEADLINE_S)
        for end in (conn, far_end):
            end.close()
        ours.close()
        theirs.close()


def _freed(process: Any, lock: FileLock) -> Line:
    """Kill the holder and wait until its lock is free."""
    pause = threading.Event()
    started = time.perf_counter()
    process.kill()
    while not lock.try_acquire():
        if _ms_since(started) > _FREED_DEADLINE_S * 1000:
            text = f"the lock of a process that was killed is still held after {_FREED_DEADLINE_S:.0f} s"
            return Line("locks", FAIL, f"{text}: its job would not run again", _NO_LOCKS)
        pause.wait(_POLL_S)
    freed_ms = _ms_since(started)
    text = f"exclude between two processes; free {freed_ms:.0f} ms after the holder was killed"
    measured = {"freed_ms": round(freed_ms, 3)}
    if freed_ms > _FREED_WITHIN_MS:
        return Line("locks", WARN, text, "jobs of a worker that dies run again that much later", measured)
    return Line("locks", OK, text, measured=measured)


# --------------------------------------------------------------------------------------------------------- watching


def _watch(bench: Bench) -> Line:
    from queuectl.system.watch import Watch

    folder = bench.path("watch")
    disk.make_folder(folder)
    watch = Watch(folder)
    try:
        if not watch.arm():
            hint = _NO_WATCHES if os.path.isdir("/proc/sys/fs/inotify") else ""
            return Line("watch", WARN, "the system tells of no new files; scans find them (setting scan_s)", hint)
        for attempt in range(1, _WATCH_TRIES + 1):
            # The first rename may come before the system's watch is in place: armed is asked for, not there.
            wanted = f"watch-{attempt}"
            disk.create(bench.path(wanted), b"", sync=False)
            started = time.perf_counter()
            disk.move(bench.path(wanted), os.path.join(folder, wanted))
            while watch.source is not None and (left_s := _WATCH_DEADLINE_S - _ms_since(started) / 1000) > 0:
                if wait([watch.source], left_s) and wanted in watch.names():
                    return _seen(_ms_since(started))
    finally:
        watch.close()
    text = f"a file that was renamed into a folder was not told of within {_WATCH_DEADLINE_S:.0f} s"
    return Line("watch", WARN, f"{text}; scans find them (setting scan_s)", "put the spool on a local disk")


def _seen(took_ms: float) -> Line:
    text, measured = f"a file that is renamed in is told of after {took_ms:.1f} ms", {"noticed_ms": round(took_ms, 3)}
    if took_ms > _LATE_EVENT_MS:
        return Line(
            "watch", WARN, text, "drops start that much later, or with the next scan (setting scan_s)", measured
        )
    return Line("watch", OK, text, measured=measured)


# ------------------------------------------------------------------------------------------------------------ clock


def _clock(bench: Bench) -> Line:
    clock = bench.clock
    offset_s = clock.now() - clock.monotonic()
    readings = [clock.now() for _ in range(_READINGS)]
    path = bench.path("clock")
    before_at = clock.now()
    disk.create(path, b"x", sync=False)
    after_at = clock.now()
    sig = files.sig_of(path)
    changed_at = after_at if sig is None else sig.mtime_ns / 1e9
    skew_s = min(changed_at - before_at, 0.0) + max(changed_at - after_at, 0.0)
    jumped_s = clock.now() - clock.monotonic() - offset_s
    measured = {"skew_s": round(skew_s, 3), "jumped_s": round(jumped_s, 3)}
    if readings != sorted(readings) or abs(jumped_s) > _JUMP_S:
        text = f"the clock jumped by {jumped_s:+.2f} s while it was looked at"
        return Line("clock", WARN, text, "delays and retries go by it: let one time service set it", measured)
    if before_at < _EARLIEST_AT:
        return Line("clock", WARN, "the clock is years behind", "set it: timestamps and run_at go by it", measured)
    text = f"goes forward; times of files are within {abs(skew_s):.2f} s of it"
    if abs(skew_s) > _SKEW_S:
        text = f"the file system's time is {skew_s:+.1f} s off this machine's clock"
        return Line("clock", WARN, text, "let the file server and this machine ask one time server", measured)
    return Line("clock", OK, text, measured=measured)


# --------------------------------------------------------------------------------------------------------- together

_OTHER_DISK = "put the spool on another file system: a local disk"
_NO_LOCKS = "put the spool on a local disk, or mount the share with locks (NFS 4, no `nolock`, no `nobrl`)"
_NO_WATCHES = "raise fs.inotify.max_user_watches and max_user_instances with sysctl"
_BUSY = "the machine is very busy; try again"

PROBES = (
    Probe("create", _create, _OTHER_DISK),
    Probe("rename", _rename, _OTHER_DISK),
    Probe("link", _link, _OTHER_DISK),
    Probe("fsync", _fsync, "without it a power cut may cost accepted jobs: put the spool on a local disk"),
    Probe("locks", _locks, _NO_LOCKS),
    Probe("watch", _watch, _NO_WATCHES),
    Probe("case", _case, _OTHER_DISK),
    Probe("names", _names, _OTHER_DISK),
    Probe("paths", _paths, _OTHER_DISK),
    Probe("clock", _clock, _OTHER_DISK),
)


def _content(path: str) -> bytes:
    return files.read(path, _MAX_BYTES).data


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
