"""hooks: programs that a pool starts, never waits for and never believes."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.model import settings as config
from queuectl.model.lifecycle import DONE
from queuectl.model.notice import Notice
from queuectl.pool.hooks import DEAD, IDLE, Hooks
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from tests.helpers import FakeClock, wait_until, without_arrival
from tests.pool import PYTHON, Pool, is_running, tree

_NOTE = (
    "import json, os, sys\n"
    "keys = ('QUEUECTL_EVENT', 'QUEUECTL_RECORD', 'QUEUECTL_SPOOL')\n"
    "row = json.dumps([sys.argv[2:], [os.environ.get(key) for key in keys]]) + chr(10)\n"
    "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
    "os.write(fd, row.encode())\n"
)
_WAIT = "import os, sys, time\nopen(sys.argv[1] + str(os.getpid()), 'w').close()\ntime.sleep(60)"

Make = Callable[..., Hooks]


class Told(list[str]):
    """What was told."""

    def take(self, notice: Notice) -> None:
        """Keep the text."""
        self.append(notice.text)


@pytest.fixture
def told() -> Told:
    """What the hooks of a test have told."""
    return Told()


@pytest.fixture
def make(spool: SpoolDir, tmp_path: Path, told: Told) -> Iterator[Make]:
    """Hooks by their settings; ended after the test."""
    made: list[Hooks] = []

    def make_one(**commands: list[str]) -> Hooks:
        settings = config.defaults()._replace(**{key: tuple(words) for key, words in commands.items()})
        made.append(Hooks(Session(spool, settings, Clock(), random.Random()), cwd=str(tmp_path), notify=told.take))
        return made[-1]

    yield make_one
    for item in made:
        item.close()


def rows(path: Path) -> list[tuple[list[str], list[str]]]:
    """What the hooks of a test have noted: their arguments, and what the environment said."""
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_hook_gets_the_path_of_the_record_and_says_nothing(
    make: Make, spool: SpoolDir, tmp_path: Path, told: Told
) -> None:
    """No shell: words stay as they are; the path comes last, and where there is none nothing does."""
    note = tmp_path / "note"
    made = make(on_dead=[*PYTHON, _NOTE, str(note), "$HOME; x y"], on_idle=[*PYTHON, _NOTE, str(note)])
    record = spool.path("dlq", "job1.json")
    made.fire(DEAD, record)
    made.fire(DONE, spool.path("done", "job2.json"))  # for which there is no hook
    made.finish(20, hurry=lambda: False)
    made.fire(IDLE)
    made.finish(20, hurry=lambda: False)
    assert rows(note) == [
        (["$HOME; x y", record], ["dead", record, spool.root]),
        ([], ["idle", "", spool.root]),
    ]
    assert told == []


def test_two_run_at_once_a_hundred_wait_and_no_call_waits_for_them(make: Make, tmp_path: Path, told: Told) -> None:
    """P9: a slow hook holds up nobody; what is too much is passed over, and told of once."""
    made = make(on_done=[*PYTHON, _WAIT, str(tmp_path / "runs-")])
    began = time.monotonic()
    for number in range(110):
        made.fire(DONE, f"job{number}.json")
    assert time.monotonic() - began < 40  # of the 60 s that one takes
    assert told == ["100 hooks are already waiting; further hooks are skipped until some have ended"]
    wait_until(lambda: len(list(tmp_path.glob("runs-*"))) == 2)
    made.step()
    pids = [int(path.name.removeprefix("runs-")) for path in tmp_path.glob("runs-*")]
    assert len(pids) == 2
    made.close()
    if sys.platform != "win32":
        assert not any(is_running(pid) for pid in pids)


def test_a_hook_that_takes_too_long_is_killed_with_what_it_started(spool: SpoolDir, tmp_path: Path, told: Told) -> None:
    """A hook has half a minute."""
    child = tmp_path / "child"
    clock = FakeClock()
    settings = config.defaults()._replace(on_done=tuple(tree(child)))
    made = Hooks(Session(spool, settings, clock, random.Random()), cwd=str(tmp_path), notify=told.take)
    made.fire(DONE, "job.json")
    pid = int(wait_until(lambda: child.exists() and child.read_text()))
    clock.advance(29)
    made.step()
    assert is_running(pid)
    clock.advance(2)

    def has_told() -> Told:
        made.step()
        return told

    wait_until(has_told)
    assert told == [
        "the hook on_done for job.json took longer than 30 s and was killed; reported once, until it works again"
    ]
    if sys.platform != "win32":
        wait_until(lambda: not is_running(pid))


def test_a_hook_that_fails_is_told_of_once_until_it_works(make: Make, tmp_path: Path, told: Told) -> None:
    """A thousand failures are one line; a program that is not there is one too."""
    good = tmp_path / "good"
    code = "import os, sys; sys.exit(0 if os.path.exists(sys.argv[1]) else 3)"
    made = make(on_done=[*PYTHON, code, str(good)], on_dead=["no-such-program"])

    def run(event: str) -> None:
        made.fire(event, "job.json")
        made.finish(20, hurry=lambda: False)

    run(DONE)
    run(DONE)
    assert told == ["the hook on_done for job.json ended with exit code 3; reported once, until it works again"]
    good.touch()
    run(DONE)
    good.unlink()
    run(DONE)
    assert len(told) == 2
    run(DEAD)
    run(DEAD)
    assert len(told) == 3 and "on_dead for job.json cannot be started: " in told[2]


def test_a_pool_that_is_in_a_hurry_does_not_wait(make: Make, tmp_path: Path) -> None:
    """A second request to stop ends the hooks as well."""
    made = make(on_done=[*PYTHON, _WAIT, str(tmp_path / "runs-")])
    for _ in range(5):
        made.fire(DONE, "job.json")
    began = time.monotonic()
    made.finish(60, hurry=lambda: True)
    assert time.monotonic() - began < 40  # of the 60 s that one takes
    assert made._running == []


def test_a_pool_tells_its_hooks_of_the_dead_the_done_and_the_end(spool: SpoolDir, tmp_path: Path) -> None:
    """From the settings alone, after the job has moved, and before the pool ends."""
    note = tmp_path / "note"
    text = "".join(
        f"{name} = {json.dumps([*PYTHON, _NOTE, str(note)])}\n" for name in ("on_dead", "on_done", "on_idle")
    )
    Path(spool.settings_path).write_text(f"[hooks]\n{text}")
    Spool(spool.root).enqueue("exit 3", id="bad", max_retries=0)
    Spool(spool.root).enqueue("exit 0", id="good")
    with Pool(spool, "--drain", count=2) as pool:
        assert pool.wait() == 0
    found = {row[1][0]: row[0] for row in rows(note)}
    assert found == {"dead": [spool.path("dlq", "bad.json")], "done": [spool.path("done", "good.json")], "idle": []}
    assert sorted(row[1][0] for row in rows(note) if row[1][0] != "idle") == ["dead", "done"]
    assert all(os.path.exists(path) for paths in found.values() for path in paths)


def test_a_pool_tells_of_a_job_that_waits_too_long(spool: SpoolDir, tmp_path: Path) -> None:
    """Its only worker is busy: who waits is told of once, with the path of the record; who is held or later is not."""
    note, go_on = tmp_path / "note", tmp_path / "go-on"
    command = json.dumps([*PYTHON, _NOTE, str(note)])
    Path(spool.settings_path).write_text(f'scan_s = 0.1\n[hooks]\non_stale = {command}\nstale_after = "1s"\n')
    api = Spool(spool.root)
    until = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.02)"

    def told() -> list[tuple[list[str], list[str]]]:
        """Not of the first job: where workers start slowly it may have waited for too long itself."""
        return [row for row in rows(note) if "busy" not in row[0][0]]

    api.enqueue("exit 0", id="held")  # before the pool, which might find it waiting too long before it is held
    api.hold("held")
    with Pool(spool, count=1) as pool:
        api.enqueue([*PYTHON, until, str(go_on)], id="busy")
        pool.event("started", "busy")
        generated = api.enqueue("exit 0")
        api.enqueue("exit 0", id="mine")
        api.enqueue("exit 0", id="later", delay=3600)
        wait_until(lambda: len(told()) == 2)
        go_on.touch()
        pool.event("succeeded", "mine")
    paths = [spool.path("pending", f"{name}.json") for name in (generated, "mine")]
    calls = [tuple([without_arrival(word) for word in words] for words in call) for call in told()]
    assert sorted(calls) == sorted(([path], ["stale", path, spool.root]) for path in paths)
