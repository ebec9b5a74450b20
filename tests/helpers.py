"""What the tests share: a clock that is set by hand, waiting for a condition, and a spool with a worker's hands."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import random
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs import submission
from queuectl.jobs.claim import Claims
from queuectl.jobs.enqueue import Producer
from queuectl.jobs.rescue import Orphans
from queuectl.jobs.settle import Settlements
from queuectl.jobs.triage import Triage
from queuectl.jobs.verdict import Claimed, Declined, Settled, Split, Splitting
from queuectl.model import record
from queuectl.model.lifecycle import REJECTED, STATES, Outcome
from queuectl.model.settings import Settings, defaults
from queuectl.spool import batch, create
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import README_TXT
from queuectl.spool.lease import Lease
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system import files
from queuectl.system.clock import Clock
from queuectl.worker.worker import Worker

# How many times as much as by default the slow tests do that take a number of jobs or files; 10 is a long run.
LONG = float(os.environ.get("QUEUECTL_LONG", "1"))
# 2027-01-15T08:00:00Z: a round instant, so that names and texts in tests can be read.
NOON_AT = 1_800_000_000.0


class FakeClock(Clock):
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now_at: float = NOON_AT) -> None:
        self.now_at = now_at
        self.monotonic_s = 1000.0

    def now(self) -> float:
        return self.now_at

    def monotonic(self) -> float:
        return self.monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.now_at += seconds
        self.monotonic_s += seconds


def wait_until(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """Wait until `condition` is true and return what it gave; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {timeout} s: {condition}"
        time.sleep(0.005)
    return value


def files_below(folder: Path, suffix: str = "") -> list[Path]:
    """Every file below a folder from which others may take files and folders away, which `Path.rglob` does not bear."""
    found = (Path(above, name) for above, _, names in os.walk(folder) for name in names if name.endswith(suffix))
    return [path for path in found if path.is_file()]


class Tree:
    """The folders and files of a tree, read once: to write them takes a third of the time of `shutil.copytree`."""

    def __init__(self, root: str | Path) -> None:
        self._folders: list[tuple[str, os.stat_result]] = []
        self._files: list[tuple[str, os.stat_result, bytes]] = []
        for folder, folders, names in os.walk(root):
            assert not any(os.path.islink(os.path.join(folder, name)) for name in folders)
            below = folder[len(str(root)) :]
            self._folders.append((below, os.stat(folder)))
            for name in names:
                path = os.path.join(folder, name)
                info = os.lstat(path)
                assert stat.S_ISREG(info.st_mode), f"{path} is no file: it would be left out"
                self._files.append((f"{below}/{name}", info, Path(path).read_bytes()))

    def write(self, root: str | Path, *, with_times: bool = False) -> None:
        """Make them anew, with their modes (POSIX)."""
        root = str(root)
        os.umask(mask := os.umask(0))
        unusual = mask | 0o7000  # what a new file or folder is not given by asking for it
        for below, info in self._folders:
            os.mkdir(root + below, info.st_mode & 0o777 | 0o700)
        for below, info, data in self._files:
            fd = os.open(root + below, os.O_WRONLY | os.O_CREAT | os.O_EXCL, info.st_mode & 0o777)
            try:
                if data:
                    os.write(fd, data)
                if info.st_mode & unusual:
                    os.fchmod(fd, stat.S_IMODE(info.st_mode))
                if with_times:
                    os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))
            finally:
                os.close(fd)
        for below, info in reversed(self._folders):
            if info.st_mode & unusual or ~info.st_mode & 0o700:
                os.chmod(root + below, stat.S_IMODE(info.st_mode))
            if with_times:
                os.utime(root + below, ns=(info.st_atime_ns, info.st_mtime_ns))


_new_spools: dict[tuple[int, int], Tree] = {}


def make_spool(path: Path) -> SpoolDir:
    """A new spool at `path`: made once by the package, and then written as it was made, in a third of the time."""
    spool = SpoolDir(path)
    if os.name == "nt" or os.path.lexists(path):
        create.create(spool)
        return spool
    os.umask(mask := os.umask(0))
    who = (os.geteuid(), mask)  # type: ignore[attr-defined,unused-ignore]
    if who in _new_spools:
        os.makedirs(os.path.dirname(spool.root), exist_ok=True)
        _new_spools[who].write(spool.root)
    else:
        create.create(spool)
        _new_spools[who] = Tree(spool.root)
    return spool


def let_others_enter(spool: SpoolDir) -> None:
    """Open the way to the spool: a tester's temporary folder is nobody else's (POSIX)."""
    for above in (spool.root, *map(str, Path(spool.root).parents)):
        info = os.stat(above)
        if not info.st_mode & 0o001 and info.st_uid == os.geteuid():  # type: ignore[attr-defined,unused-ignore]
            os.chmod(above, 0o711)


def write_drop(spool: SpoolDir, name: str, content: object, state: str = "pending") -> Path:
    """Put a file into a state folder as any other program would: bytes and texts as they are, the rest as JSON."""
    path = Path(spool.path(state, name))
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def names_in(spool: SpoolDir, state: str) -> list[str]:
    """The names in a state folder or in rejected/, but for the README.txt that every spool has there."""
    return [name for name in os.listdir(spool.folder(state)) if name != README_TXT]


def listing(spool: SpoolDir) -> dict[str, list[str]]:
    """The names in each state folder and in rejected/, empty folders left out, and when jobs arrived."""
    found = {state: sorted(map(without_arrival, names_in(spool, state))) for state in (*STATES, REJECTED)}
    return {state: names for state, names in found.items() if names}


def only(spool: SpoolDir, state: str) -> str:
    """The name of the one file in a folder."""
    (name,) = names_in(spool, state)
    return name


def rejected_name(spool: SpoolDir) -> str:
    """The name of the one rejected file."""
    (name,) = [name for name in names_in(spool, REJECTED) if not name.endswith(".reason.txt")]
    return name


def work_off(worker: Worker, *names: str) -> None:
    """Have a worker claim names, and attend the runs to their ends."""
    for name in names:
        worker._work(name)
    while worker._runs:
        worker._link.flush_in_time()
        worker._wait(worker._timeout_s(math.inf))


def full_disk(*_args: object, **_options: object) -> int:
    """What every call of a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def named(spool: SpoolDir, state: str, name: str) -> str:
    """The name of the file that `name` stands for where it is left out of that when its job arrived."""
    found = [other for other in names_in(spool, state) if name in (other, without_arrival(other))]
    return name if name in found or not found else found[0]


def without_arrival(name: str) -> str:
    """The name of a waiting file as it would be had nobody noted when its job arrived."""
    return re.sub(r",in=\d{8}T\d{6}\.\d{6}Z", "", name)


def foreign_group() -> int:
    """A group that we may give files to and that is not ours alone: what only we are in is trusted."""
    if os.geteuid() == 0:
        return 65534
    import pwd

    import pytest

    own = pwd.getpwuid(os.geteuid()).pw_gid
    others = [gid for gid in os.getgroups() if gid != own]
    if not others:
        pytest.skip("needs root, or a user who is in a second group")
    return others[0]


@contextlib.contextmanager
def unreadable(monkeypatch: Any, code: str, *, only: str = "") -> Iterator[None]:
    """Let each read of a file fail with this error number, or of the files alone that have `only` in their path."""
    read = files.read

    def refuse(path: str, max_bytes: int, **options: Any) -> files.Content:
        if only not in path:
            return read(path, max_bytes, **options)
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read", refuse)
        patch.setattr(files, "open_and_read", refuse)
        yield


class Desk:
    """One spool and what one worker needs to claim and settle in it."""

    def __init__(
        self,
        spool: SpoolDir,
        *,
        worker: str = "w1",
        clock: Clock | None = None,
        settings: Settings | None = None,
        seed: int = 1,
    ) -> None:
        self.spool = spool
        self.settings = settings or defaults()
        self.clock: Any = clock or FakeClock()
        self.rng = random.Random(seed)
        self.session = Session(spool, self.settings, self.clock, self.rng)
        spool.rng = self.rng
        self.stripes = Stripes(spool)
        self.lease = Lease(spool, worker)
        self.claims = Claims(self.session, self.stripes, worker=worker)
        self.settlements = Settlements(self.session, self.stripes)
        self.orphans = Orphans(self.session, self.stripes)
        self.triage = Triage(self.session, self.stripes)
        self.producer = Producer(self.session)

    def close(self) -> None:
        """End as a worker does: the lease is given up and its file deleted."""
        self.lease.close()
        self.stripes.close()

    def drop(self, name: str, content: object, state: str = "pending") -> str:
        """`write_drop`, returning the name."""
        write_drop(self.spool, name, content, state)
        return name

    def enqueue(self, document: Mapping[str, Any] | None = None, **keys: Any) -> str:
        """Enqueue one job; returns the name of its file in pending/, which does not tell when it arrived."""
        prepared = self.producer.prepare({"command": "true", **(document or {}), **keys}, by="enqueue")
        prepared = prepared._replace(name=without_arrival(prepared.name))
        submission.put_in(self.producer, [prepared])
        return prepared.name

    def claim(self, name: str) -> Claimed | Declined:
        """Try to claim a file of pending/."""
        return self.claims.claim(named(self.spool, "pending", name), self.lease.name)

    def start(self, name: str) -> Claimed:
        """Begin the run of a file that can be claimed."""
        claimed = self.begin(name)
        assert isinstance(claimed, Claimed), claimed
        return claimed

    def begin(self, name: str) -> Claimed | Declined:
        """Claim a file and bring it to where its command runs."""
        claimed = self.claim(name)
        if isinstance(claimed, Claimed):
            self.settlements.secure(claimed)
        return claimed

    def decline(self, name: str) -> Declined:
        """Try to claim a file that cannot be claimed."""
        declined = self.claim(name)
        assert isinstance(declined, Declined), declined
        return declined

    def run(self, name: str, outcome: Outcome) -> Settled:
        """Claim a file and end its run."""
        return self.settlements.settle(self.start(name), outcome)

    def finish_splits(self) -> int:
        """Make the steps of all splits that are not over, as a pool does; how many jobs came of them."""
        made = 0
        for taken in batch.unfinished(self.spool):
            while isinstance(declined := self.claims.splits.go_on(batch.key_of(taken)), Splitting) and declined.is_step:
                pass
            made += declined.jobs if isinstance(declined, Splitting | Split) else 0
        return made

    def die(self) -> None:
        """What is left of a worker that was killed: its lease is free, its file is still there."""
        self.stripes.close()
        self.lease.abandon()

    def record(self, state: str, name: str) -> record.Record:
        """The record in a state folder."""
        return self.spool.read(state, named(self.spool, state, name)).record

    def events(self, state: str, name: str) -> list[str]:
        """The kinds of events in a record's history."""
        return [event.event for event in self.record(state, name).history]

    def document(self, state: str, name: str) -> dict[str, Any]:
        """A record as any JSON reader sees it."""
        path = self.spool.path(state, named(self.spool, state, name))
        made: dict[str, Any] = json.loads(files.read(path, 1 << 30).data)
        return made


def set_monotonic(monkeypatch: pytest.MonkeyPatch, clock: Callable[[], float]) -> None:
    """Let `clock` be the monotonic clock of this process: of `time`, and of `Clock`, which holds the same function."""
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(Clock, "monotonic", staticmethod(clock))
