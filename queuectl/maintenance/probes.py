"""The probes of `doctor`: test in a scratch folder what a spool's file system must support.

Each probe tests one thing that the promises rely on, with its own files, and reports what it measured. The only process
that a probe starts is a helper that holds a lock until it is killed; the only locks are in the scratch folder. If a
probe fails to do its work, the result is a line that says so, never an error.
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

from queuectl.system import disk, files, trials
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock

OK, WARN, FAIL = "ok", "warn", "fail"

_MAX_BYTES = 4096
_SYNCS = 5
# From here on a person notices that each accepted job waits for the disk.
_SLOW_SYNC_MS = 200.0
# Starting a process may take long on a busy machine; a lock that is free later than this counts as not freed.
_PROCESS_DEADLINE_S = 30.0
_FREED_DEADLINE_S = 10.0
_FREED_WITHIN_MS = 1000.0  # promise P5: recovered within a second
_POLL_S = 0.001
_WATCH_TRIES = 3
_WATCH_DEADLINE_S = 2.0
_LATE_EVENT_MS = 1000.0
_NAME_CHARS = (255, 200, 143, 100)
_LONG_PATH_CHARS = 320
# FAT stores times in steps of two seconds.
_SKEW_S = 2.5
_JUMP_S = 0.5
# queuectl did not exist before this: the machine's clock has no battery, or has not been set yet.
_EARLIEST_AT = 1_735_689_600.0  # 2025-01-01
_READINGS = 1000


class Line(NamedTuple):
    """The result of one test or look-up."""

    name: str
    """A word for programs, always the same for the same test."""
    level: str
    """OK, WARN (works, but has a limit) or FAIL (queuectl cannot keep its promises here)."""
    text: str
    """What was found."""
    hint: str = ""
    """What to do about it, or ""."""
    measured: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The figures for programs; each name has its unit."""


class Bench(NamedTuple):
    """Where probes work: an empty scratch folder on the spool's file system."""

    folder: str
    clock: Clock

    def path(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.folder, name)


class Probe(NamedTuple):
    """One test; `hint` says what to do if the system refuses it."""

    name: str
    call: Callable[[Bench], Line]
    hint: str


def run(probe: Probe, bench: Bench) -> Line:
    """Return what a probe finds; an error of the system is a FAIL."""
    try:
        return probe.call(bench)
    except OSError as error:
        return Line(probe.name, FAIL, f"the operating system refused it: {error.strerror or error}", probe.hint)


# ------------------------------------------------------------------------------------------------------------ files


def _create(bench: Bench) -> Line:
    path = bench.path("create")
    disk.create(path, b"first", sync=False)
    try:
        disk.create(path, b"second", sync=False)
    except FileExistsError:
        if _content(path) == b"first":
            return Line("create", OK, "creating a file never replaces an existing one")
    return Line("create", FAIL, "creating a file replaced an existing one", _OTHER_DISK)


def _rename(bench: Bench) -> Line:
    one, two, taken = bench.path("rename-1"), bench.path("rename-2"), bench.path("rename-3")
    disk.create(one, b"mine", sync=False)
    disk.create(taken, b"theirs", sync=False)
    started = time.perf_counter()
    disk.move(one, two)
    took_ms = _ms_since(started)
    if _content(two) != b"mine" or os.path.lexists(one):
        return Line("rename", FAIL, "a renamed file has changed, or exists twice", _OTHER_DISK)
    try:
        disk.move(two, taken)
        refused = False
    except FileExistsError:
        refused = _content(taken) == b"theirs" and _content(two) == b"mine"
    if not refused:
        return Line("rename", FAIL, "a rename replaced an existing file", _OTHER_DISK)
    by_system = trials.refuses_to_replace(two, taken)
    disk.create(bench.path("rename-4"), b"new", sync=False)
    disk.replace(bench.path("rename-4"), taken)
    if _content(taken) != b"new":
        return Line("rename", FAIL, "a rename cannot replace a file", _OTHER_DISK)
    measured = {"rename_ms": round(took_ms, 3), "refused_by_system": by_system}
    text = f"a rename takes {took_ms:.2f} ms and does not replace an existing file"
    if by_system:
        return Line("rename", OK, text, measured=measured)
    text += "; the file system itself would replace it, so queuectl checks first"
    return Line("rename", WARN, text, "do not move files in the spool by hand while workers run", measured)


def _link(bench: Bench) -> Line:
    disk.create(bench.path("link-1"), b"", sync=False)
    can = trials.can_link(bench.path("link-1"), bench.path("link-2"))
    text = "hard links work" if can else "hard links do not work; jobs are published by rename instead"
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
    text = f"a small file is on disk after {median_ms:.1f} ms (worst of {_SYNCS}: {worst_ms:.1f} ms)"
    if median_ms > _SLOW_SYNC_MS:
        hint = 'enqueue many jobs in one call, or set durability = "off" if a power cut may lose jobs'
        return Line("fsync", WARN, f"{text}: each accepted job waits that long", hint, measured)
    return Line("fsync", OK, text, measured=measured)


def _case(bench: Bench) -> Line:
    disk.create(bench.path("Case.probe"), b"", sync=False)
    tells = not os.path.lexists(bench.path("case.PROBE"))
    text = "file names are case-sensitive" if tells else "file names ignore case: Job1 and job1 are one name"
    return Line("case", OK, f"{text}; ids always ignore case", measured={"case_sensitive": tells})


def _names(bench: Bench) -> Line:
    longest = 0
    for length in _NAME_CHARS:
        with contextlib.suppress(OSError):
            disk.create(bench.path("n" * length), b"", sync=False)
            longest = length
            break
    measured = {"longest_name": longest}
    if longest == _NAME_CHARS[0]:
        return Line("names", OK, f"names may have {longest} bytes", measured=measured)
    if not longest:
        return Line("names", FAIL, f"not even names of {_NAME_CHARS[-1]} bytes work", _OTHER_DISK, measured)
    text = f"names may have {longest} bytes, not {_NAME_CHARS[0]}: files with longer names cannot be dropped here"
    return Line("names", WARN, text, f"keep the names of dropped files below {longest - 60} characters", measured)


def _paths(bench: Bench) -> Line:
    folder = bench.folder
    while len(folder) < _LONG_PATH_CHARS:
        folder = os.path.join(folder, "p" * 40)
    path = os.path.join(folder, "probe")
    try:
        disk.make_folder(folder)
        disk.create(path, b"", sync=False)
    except OSError as error:
        text = f"a path of {len(path)} characters does not work: {error.strerror or error}"
        hint = "keep the spool's own path short"
        if os.name == "nt":
            hint += "; or as administrator: reg add HKLM\\SYSTEM\\CurrentControlSet\\Control\\FileSystem"
            hint += " /v LongPathsEnabled /t REG_DWORD /d 1"
        return Line("paths", WARN, text, hint, {"long_paths": False})
    return Line("paths", OK, f"a path of {len(path)} characters works", measured={"long_paths": True})


# ------------------------------------------------------------------------------------------------------------ locks


def hold(theirs: str, own: str, conn: Connection) -> None:
    """Run the helper process: try a lock that is held, take another, report both, and hold it until the end."""
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
            return Line("locks", FAIL, "a lock on a new file was refused", _NO_LOCKS)
        process.start()
        far_end.close()
        try:
            if not conn.poll(_PROCESS_DEADLINE_S):
                return Line("locks", FAIL, f"a helper process did not answer within {_PROCESS_DEADLINE_S:.0f} s", _BUSY)
            took_ours, has_theirs = conn.recv()
        except EOFError:
            return Line("locks", FAIL, "a helper process ended at once", "queuectl --debug doctor")
        if not has_theirs or took_ours or theirs.try_acquire():
            return Line("locks", FAIL, "two processes held one lock at once: jobs would run twice", _NO_LOCKS)
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
            text = f"the lock of a killed process is still held after {_FREED_DEADLINE_S:.0f} s"
            return Line("locks", FAIL, f"{text}: the job of a dead worker would not run again", _NO_LOCKS)
        pause.wait(_POLL_S)
    freed_ms = _ms_since(started)
    text = f"locks exclude other processes, and are free {freed_ms:.0f} ms after the holder is killed"
    measured = {"freed_ms": round(freed_ms, 3)}
    if freed_ms > _FREED_WITHIN_MS:
        return Line("locks", WARN, text, "the job of a dead worker runs again after that delay", measured)
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
            return Line("watch", WARN, "no events for new files here; scans find them instead (setting scan_s)", hint)
        for attempt in range(1, _WATCH_TRIES + 1):
            # The first rename may come before the system's watch is ready: `arm` only requests it.
            wanted = f"watch-{attempt}"
            disk.create(bench.path(wanted), b"", sync=False)
            started = time.perf_counter()
            disk.move(bench.path(wanted), os.path.join(folder, wanted))
            while watch.source is not None and (left_s := _WATCH_DEADLINE_S - _ms_since(started) / 1000) > 0:
                if wait([watch.source], left_s) and wanted in watch.names():
                    return _seen(_ms_since(started))
    finally:
        watch.close()
    text = f"no event within {_WATCH_DEADLINE_S:.0f} s for a file that was renamed into a folder"
    return Line("watch", WARN, f"{text}; scans find it instead (setting scan_s)", "put the spool on a local disk")


def _seen(took_ms: float) -> Line:
    text, measured = f"a new file causes an event after {took_ms:.1f} ms", {"noticed_ms": round(took_ms, 3)}
    if took_ms > _LATE_EVENT_MS:
        return Line(
            "watch",
            WARN,
            text,
            "dropped files start after that delay, or with the next scan (setting scan_s)",
            measured,
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
        text = f"the clock jumped by {jumped_s:+.2f} s during the test"
        return Line(
            "clock", WARN, text, "delays and retries depend on the clock: let one time service set it", measured
        )
    if before_at < _EARLIEST_AT:
        return Line("clock", WARN, "the clock is years behind", "set it: timestamps and run_at depend on it", measured)
    text = f"the clock runs forward; file times are within {abs(skew_s):.2f} s of it"
    if abs(skew_s) > _SKEW_S:
        text = f"the file system's time is {skew_s:+.1f} s off this machine's clock"
        return Line("clock", WARN, text, "let the file server and this machine use one time server", measured)
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
    Probe("fsync", _fsync, "without fsync a power cut may lose accepted jobs: put the spool on a local disk"),
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
