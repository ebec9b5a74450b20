"""Each probe sees what it is for: well on a real folder, and the fault where there is one."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuectl.maintenance import probes
from queuectl.maintenance.probes import FAIL, WARN, Bench, Line
from queuectl.system import disk, trials, watch
from queuectl.system.clock import Clock
from queuectl.system.locks import FileLock
from tests.helpers import NOON_AT, FakeClock

BY_NAME = {probe.name: probe for probe in probes.PROBES}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty folder to try things in."""
    folder = tmp_path / "bench"
    folder.mkdir()
    return Bench(str(folder), Clock())


def probe(name: str, bench: Bench) -> Line:
    return probes.run(BY_NAME[name], bench)


def refuse(code: int) -> Callable[..., Any]:
    """A call that the system refuses."""

    def call(*_args: object, **_options: object) -> Any:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("name", BY_NAME)
def test_probe_passes_on_a_real_folder(bench: Bench, name: str) -> None:
    """On the machine that tests queuectl, nothing that it needs fails."""
    line = probe(name, bench)
    assert line.level != FAIL, line
    assert line.name == name
    assert line.text


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - {"names", "paths", "watch"}))
def test_an_error_of_the_system_is_a_failing_line(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A probe that cannot even make its files says why, with a hint, and raises nothing."""
    for call in ("create", "open_lock_file"):
        monkeypatch.setattr(disk, call, refuse(errno.EIO))
    line = probe(name, bench)
    assert line.level == FAIL
    assert os.strerror(errno.EIO) in line.text
    assert line.hint


def test_a_rename_that_replaces_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose rename overwrites would lose jobs (P7)."""
    monkeypatch.setattr(disk, "move", os.replace)
    assert probe("rename", bench).level == FAIL


def test_a_rename_that_copies_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is in two places after a rename would run twice (P2)."""
    monkeypatch.setattr(disk, "move", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()))
    assert probe("rename", bench).level == FAIL


def test_a_rename_that_is_guarded_by_us_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not refuse by itself, that is told."""
    monkeypatch.setattr(trials, "refuses_to_replace", lambda *_: False)
    line = probe("rename", bench)
    assert (line.level, line.measured["refused_by_system"]) == (WARN, False)


def test_this_system_refuses_to_replace(bench: Bench) -> None:
    """Asking leaves both files as they are."""
    one, two = bench.path("one"), bench.path("two")
    disk.create(one, b"1", sync=False)
    disk.create(two, b"2", sync=False)
    assert trials.refuses_to_replace(one, two)
    assert (Path(one).read_bytes(), Path(two).read_bytes()) == (b"1", b"2")


def test_a_name_that_is_not_exclusive_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that makes a file twice would hand one job to two."""
    monkeypatch.setattr(disk, "create", lambda path, data, sync: Path(path).write_bytes(data))
    assert probe("create", bench).level == FAIL


def test_locks_that_do_not_exclude_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that two processes have at once breaks the promise that jobs do not run twice (P3)."""
    monkeypatch.setattr(FileLock, "try_acquire", lambda _self: True)
    line = probe("locks", bench)
    assert line.level == FAIL
    assert "two processes" in line.text


def test_a_lock_that_outlives_its_owner_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is not freed by a kill would leave a dead worker's job for ever (P5)."""

    class Stuck:
        def kill(self) -> None:
            """Nothing happens."""

        def try_acquire(self) -> bool:
            return False

    monkeypatch.setattr(probes, "_FREED_DEADLINE_S", 0.05)
    assert probes._freed(Stuck(), Stuck()).level == FAIL  # type: ignore[arg-type]


def test_a_late_lock_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A lock that is freed late delays a rescue, and is told with its time."""

    class Gone:
        def kill(self) -> None:
            """Was never there."""

    monkeypatch.setattr(probes, "_FREED_WITHIN_MS", -1.0)
    lock = FileLock(str(tmp_path / "x.lock"))
    line = probes._freed(Gone(), lock)
    lock.close()
    assert (line.level, set(line.measured)) == (WARN, {"freed_ms"})


def test_the_helper_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    """A doctor that is killed leaves no process behind: the helper ends when its pipe does."""
    context = multiprocessing.get_context("spawn")
    conn, far_end = context.Pipe()
    process = context.Process(target=probes.hold, args=(str(tmp_path / "a"), str(tmp_path / "b"), far_end))
    process.start()
    far_end.close()
    assert conn.recv() == (True, True)
    conn.close()
    process.join(20)
    assert process.exitcode == 0


def test_a_helper_that_dies_at_once_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper process that cannot live is a line, not a wait."""
    monkeypatch.setattr(probes, "hold", os._exit)
    line = probe("locks", bench)
    assert (line.level, "ended at once" in line.text) == (FAIL, True)


def test_a_slow_disk_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An fsync that holds up every enqueue is told, with the way around it."""
    monkeypatch.setattr(probes, "_SLOW_SYNC_MS", 0.0)
    line = probe("fsync", bench)
    assert line.level == WARN
    assert "durability" in line.hint


def test_a_system_without_events_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without events everything works by scans, later (P8)."""
    monkeypatch.setattr(watch.Watch, "arm", lambda _self: False)
    assert probe("watch", bench).level == WARN


def test_events_that_never_come_are_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that looks alive and tells nothing, as on a share, is found out."""
    monkeypatch.setattr(watch.Watch, "arm", lambda _self: True)
    monkeypatch.setattr(probes, "_WATCH_DEADLINE_S", 0.01)
    line = probe("watch", bench)
    assert line.level == WARN
    assert "no event" in line.text


def test_short_names_are_measured(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encrypted home that allows 143 bytes is a warning with that number."""
    real = disk.create

    def create(path: str, data: bytes, *, sync: bool) -> None:
        if len(os.path.basename(path)) > 143:
            raise OSError(errno.ENAMETOOLONG, "too long")
        real(path, data, sync=sync)

    monkeypatch.setattr(disk, "create", create)
    line = probe("names", bench)
    assert (line.level, line.measured) == (WARN, {"longest_name": 143})


def test_no_long_paths_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that ends paths at 260 characters is told."""
    monkeypatch.setattr(disk, "make_folder", refuse(errno.ENOENT))
    line = probe("paths", bench)
    assert (line.level, line.measured) == (WARN, {"long_paths": False})


def test_case_is_as_it_is(bench: Bench) -> None:
    """What is told about upper and lower case is so."""
    told = probe("case", bench).measured["case_sensitive"]
    disk.create(bench.path("one"), b"", sync=False)
    assert os.path.exists(bench.path("ONE")) != told


def test_a_skewed_clock_is_a_warning(bench: Bench) -> None:
    """A file system whose time is far from ours, as on a server with another clock, is told with the difference."""
    line = probe("clock", bench._replace(clock=FakeClock(NOON_AT)))
    real_s = Clock().now() - NOON_AT
    assert line.level == WARN
    assert line.measured["skew_s"] == pytest.approx(real_s, abs=60)


def test_a_clock_of_long_ago_is_a_warning(bench: Bench) -> None:
    """A machine that has not asked the time yet is told so."""
    assert "years behind" in probe("clock", bench._replace(clock=FakeClock(86400.0))).text


def test_a_jumping_clock_is_a_warning(bench: Bench) -> None:
    """A wall clock that moves against the other one is told."""

    class Jumping(Clock):
        def __init__(self) -> None:
            self.readings = 0

        def now(self) -> float:
            self.readings += 1
            return super().now() - (3.0 if self.readings > 500 else 0.0)

    line = probe("clock", bench._replace(clock=Jumping()))
    assert (line.level, line.measured["jumped_s"]) == (WARN, pytest.approx(-3.0, abs=0.4))
