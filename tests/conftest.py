"""Fixtures of all tests: a fresh spool in a folder of its own, and a worker's hands in it."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from queuectl.flows.gates import Gates
from queuectl.model.settings import Settings, defaults
from queuectl.spool.folder import SpoolDir
from tests.helpers import Desk, FakeClock, make_spool

# A shell starts what runs in the background with SIGINT ignored, and all that is started from there inherits this. Some
# tests press Ctrl-C in what they start.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests start more than a thousand interpreters, and each would compile the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def _take_as_synced(fd: int) -> None:
    """Find a wrong descriptor, as a sync does, and wait for no disk."""
    os.fstat(fd)


# No test cuts the power, so what is written here need not be on the disk. That it is synced, and when, the tests show
# that stand in for the calls; what runs in a process of its own syncs in earnest, and so does who asks for that.
_sync_in_earnest = os.fsync
os.fsync = _take_as_synced

# A process that passes gates keeps their files open until it ends. The process of the tests would run out of handles.
_gates: list[Gates] = []
_make_gates = Gates.__init__


def _make_known_gates(self: Gates, *args: Any, **kwargs: Any) -> None:
    """Make gates, and remember them."""
    _make_gates(self, *args, **kwargs)
    _gates.append(self)


Gates.__init__ = _make_known_gates  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def closed_gates() -> Iterator[None]:
    """Close what gates the test has left open."""
    yield
    for gates in _gates:
        gates.close()
    _gates.clear()


# Examples: no deadline for one and none for making it (machines are shared), and the same ones in each run.
hypothesis_settings.register_profile(
    "queuectl", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
# `pytest --hypothesis-profile=search -o addopts= tests/properties` looks for new examples, and longer.
hypothesis_settings.register_profile(
    "search", hypothesis_settings.get_profile("queuectl"), derandomize=False, max_examples=2000
)
hypothesis_settings.load_profile("queuectl")


# The tests make and delete some three thousand spools of fifty files, which takes a third of the time in memory. Those
# of real pools (tests/e2e) are on a disk all the same, and so are all where there is no such place or TMPDIR names one.
_MEMORY = "/dev/shm"
_MEMORY_BYTES = 1 << 30


def _memory() -> bool:
    """True where temporary folders may be in memory: there is room, and programs in them can be executed."""
    if any(name in os.environ for name in ("PYTEST_DEBUG_TEMPROOT", "TMPDIR")) or not os.access(_MEMORY, os.W_OK):
        return False
    there = os.statvfs(_MEMORY)
    return there.f_bavail * there.f_frsize > _MEMORY_BYTES and not there.f_flag & os.ST_NOEXEC


if sys.platform == "linux" and _memory():
    os.environ["PYTEST_DEBUG_TEMPROOT"] = _MEMORY


def _leave_no_folder() -> None:
    """Remove the folder of pytest's temporary folders if it is empty: no run has failed, and none is under way."""
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir()
    with contextlib.suppress(OSError):
        os.rmdir(os.path.join(root, f"pytest-of-{getpass.getuser()}"))


atexit.register(_leave_no_folder)  # before pytest registers its own cleaning, so it is called after that


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let a process without tests take those of another: whoever has tests/e2e needs far longer than the rest."""
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.fixture
def earnest_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs wait for the disk."""
    monkeypatch.setattr(os, "fsync", _sync_in_earnest)


@pytest.fixture
def spool(tmp_path: Path) -> SpoolDir:
    """A new, empty spool."""
    return make_spool(tmp_path / "spool")


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def rng() -> random.Random:
    """Randomness that is the same in every run."""
    return random.Random(1)


@pytest.fixture
def settings() -> Settings:
    """The settings of a new spool."""
    return defaults()


@pytest.fixture
def desk(spool: SpoolDir, clock: FakeClock) -> Iterator[Desk]:
    """A worker's claims, lease and stripes on `spool`."""
    made = Desk(spool, clock=clock)
    yield made
    made.close()


@pytest.fixture
def other_desk(spool: SpoolDir, clock: FakeClock) -> Iterator[Desk]:
    """A second worker on the same spool."""
    made = Desk(spool, worker="w2", clock=clock, seed=2)
    yield made
    made.close()
