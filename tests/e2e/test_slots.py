"""Slots: one worker process runs many commands, and whatever one of them meets, the others go on."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.model import history
from queuectl.spool import pools
from queuectl.spool.folder import SpoolDir
from queuectl.spool.lease import is_alive
from tests.helpers import listing, named, wait_until
from tests.pool import SLEEP, SUCCEED, Pool, command_of, is_running, kill, last_start, queuectl

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")
posix = pytest.mark.skipif(sys.platform == "win32", reason="a text for sh")


@pytest.fixture
def spool(spool: SpoolDir) -> SpoolDir:
    """A spool whose pools have one worker process."""
    queuectl(spool, "config", "set", "worker_processes", "1")
    return spool


def enqueue(spool: SpoolDir, job_id: str, *words: str) -> None:
    """Put in a job that runs once."""
    queuectl(spool, "enqueue", "--id", job_id, "--max-retries", "0", *words)


def events(spool: SpoolDir, state: str, job_id: str) -> list[history.Event]:
    """The history of a job."""
    return list(spool.read(state, named(spool, state, f"{job_id}.json")).record.history)


@linux
@posix
def test_whatever_ends_a_run_the_others_go_on(spool: SpoolDir, tmp_path: Path) -> None:
    """A timeout, a cancel, too much output, a file taken away, a command that cannot start: side by side."""
    gate = tmp_path / "gate"
    waits = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    enqueue(spool, "stays", "--command", waits)
    enqueue(spool, "late", "--timeout", "0.3", "--command", "sleep 60")
    enqueue(spool, "loud", "--output-max", "1000", "--command", "while :; do echo xxxxxxxxxxxx; sleep 0.001; done")
    enqueue(spool, "cancelled", "--command", "sleep 60")
    enqueue(spool, "deleted", "--command", "sleep 60")
    enqueue(spool, "nothing", "--", "no-such-program-xyz")
    with Pool(spool, count=6) as pool:
        (worker,) = wait_until(pool.worker_pids)
        for job_id in ("cancelled", "deleted"):
            wait_until(lambda job_id=job_id: last_start(spool, job_id))
        queuectl(spool, "cancel", "cancelled")
        os.remove(spool.path("running", "deleted.json"))
        wait_until(lambda: set(listing(spool).get("dlq", ())) >= {f"{each}.json" for each in ENDS})
        pool.event("vanished", "deleted")
        assert pool.worker_pids() == [worker] and last_start(spool, "stays")
        enqueue(spool, "next", "--command", SUCCEED)
        pool.event("succeeded", "next")
        gate.touch()
        pool.event("succeeded", "stays")
    found = {job_id: events(spool, "dlq", job_id)[-1] for job_id in ENDS}
    assert {job_id: event.event for job_id, event in found.items()} == ENDS
    assert "output_max" in found["loud"].reason
    leases = [events(spool, "done", job_id)[-2].lease for job_id in ("stays", "next")]
    assert len(set(leases)) == 2 and all(not is_alive(spool, lease) for lease in leases)


ENDS = {"late": "timed_out", "loud": "failed", "cancelled": "cancelled", "nothing": "failed"}
"""How the jobs of the test above end."""


@linux
def test_commands_get_the_lease_of_their_own_slot_and_no_other_handle(spool: SpoolDir) -> None:
    """P3, P5: a command that held another slot's lease would keep that slot's job alive."""
    queuectl(spool, "config", "set", "worker_processes", "2")
    names = [f"job{number}" for number in range(64)]
    for job_id in names:
        enqueue(spool, job_id, "--", "sleep", "600")
    with Pool(spool, count=64) as pool:
        wait_until(lambda: len(spool.job_names("running")) == 64)
        assert len(pool.worker_pids()) == 2
        held = set()
        for job_id in names:
            pid = wait_until(lambda job_id=job_id: command_of(pool, job_id))
            wait_until(lambda pid=pid: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes())
            start = wait_until(lambda job_id=job_id: last_start(spool, job_id))
            own = spool.output_path(start.lease)
            expected = [os.devnull, own, own, spool.lease_path(start.lease)]
            wait_until(lambda pid=pid, expected=expected: _handles(pid) == expected)  # its start opens libraries
            held.add(start.lease)
        assert len(held) == 64
        queuectl(spool, "worker", "stop", "--now")
        assert pool.wait() == 0
    assert len(spool.job_names("pending")) == 64 and os.listdir(spool.lease_dir) == []


def _handles(pid: int) -> list[str]:
    """What a process has open, in the order of its handles."""
    found = []
    for fd in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        with contextlib.suppress(FileNotFoundError):  # it has just been closed
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


@linux
@posix
def test_commands_that_ignore_a_stop_are_ended_together(spool: SpoolDir) -> None:
    """P9: sixteen times the grace of a kill would be longer than a supervisor waits; all go back, uncounted."""
    queuectl(spool, "config", "set", "kill_grace_s", "1")
    for number in range(16):
        enqueue(spool, f"job{number}", "--command", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    with Pool(spool, count=16) as pool:
        for number in range(16):
            wait_until(lambda number=number: command_of(pool, f"job{number}"))
        wait_until(lambda: _printed(spool) == 16)
        queuectl(spool, "worker", "stop", "--now")
        assert pool.wait() == 0
    assert len(spool.job_names("pending")) == 16
    for number in range(16):
        last = events(spool, "pending", f"job{number}")[-1]
        assert (last.event, last.exit_code) == ("released", 137)


@linux
@posix
def test_a_stop_in_stages_ends_each_run_in_its_own_way(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: after the first request a run may end as it does, and nothing starts; after the second the rest goes back."""
    gate = tmp_path / "gate"
    enqueue(spool, "short", "--command", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    enqueue(spool, "long", "--command", "sleep 60")
    with Pool(spool, "--grace", "5m", count=3) as pool:
        for job_id in ("short", "long"):
            pool.event("started", job_id)
        (info,) = pools.live(spool)
        pool.ask_to_stop()
        pool.event("stopping")
        enqueue(spool, "late", "--command", SUCCEED)
        gate.touch()
        pool.event("succeeded", "short")
        assert last_start(spool, "long")
        pools.request_stop(spool, info.pool, now=True)
        assert pool.wait() == 0
    assert events(spool, "pending", "long")[-1].event == "released"
    assert [event.event for event in events(spool, "pending", "late")] == ["enqueued"]


def _printed(spool: SpoolDir) -> int:
    """How many commands have printed something."""
    return sum(path.stat().st_size > 0 for path in Path(spool.tmp_dir).glob("*.out"))


@linux
@posix
def test_a_killed_process_leaves_each_lease_to_its_command(spool: SpoolDir, tmp_path: Path) -> None:
    """P3, P5: what lives keeps its job from running; what ended with the worker, or later, is run again on its own."""
    for job_id in ("one", "two", "three"):
        text = f"echo {job_id} >> {tmp_path}/starts; while [ ! -e {tmp_path}/{job_id} ]; do sleep 0.02; done"
        queuectl(spool, "enqueue", "--id", job_id, "--max-retries", "1", "--backoff-base", "0", "--command", text)
    with Pool(spool, count=3) as pool:
        commands = {job_id: wait_until(lambda j=job_id: command_of(pool, j)) for job_id in ("one", "two", "three")}
        for job_id in commands:
            wait_until(lambda j=job_id: last_start(spool, j))
        wait_until(lambda: len((tmp_path / "starts").read_text().split()) == 3)
        (worker,) = pool.worker_pids()
        kill(worker)
        wait_until(lambda: pool.worker_pids() not in ([], [worker]))
        kill(commands["one"])
        pool.event("rescued", "one")
        wait_until(lambda: (tmp_path / "starts").read_text().split().count("one") == 2)
        assert all(is_running(commands[job_id]) and last_start(spool, job_id) for job_id in ("two", "three"))
        for job_id in commands:
            (tmp_path / job_id).touch()
        for job_id in commands:
            pool.event("succeeded", job_id)
    for job_id in commands:
        kinds = [event.event for event in events(spool, "done", job_id)]
        assert kinds == ["enqueued", "started", "abandoned", "started", "succeeded"]


@linux
@posix
def test_a_run_that_is_ended_takes_its_own_daemons_only(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: daemons of a neighbour that runs, and of an earlier job, live on; those of the run that is ended do not."""
    daemon = (
        "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; exec sleep 60' & while [ ! -s {0} ]; do sleep 0.01; done;"
    )
    paths = {job_id: tmp_path / job_id for job_id in ("left", "neighbour", "ended")}
    enqueue(spool, "left", "--command", daemon.format(paths["left"]))
    with Pool(spool, count=3) as pool:
        pool.event("succeeded", "left")
        for job_id in ("neighbour", "ended"):
            enqueue(spool, job_id, "--command", f"{daemon.format(paths[job_id])} exec sleep 60")
        pids = {job_id: int(wait_until(lambda p=path: p.exists() and p.read_text())) for job_id, path in paths.items()}
        try:
            assert pool.event("succeeded", "left")["left"] == [pids["left"]]
            for job_id in ("neighbour", "ended"):
                wait_until(lambda j=job_id: last_start(spool, j))
            queuectl(spool, "cancel", "ended")
            wait_until(lambda: "dlq" in listing(spool))
            assert events(spool, "dlq", "ended")[-1].killed == (pids["ended"],)
            assert not is_running(pids["ended"])
            assert is_running(pids["left"]) and is_running(pids["neighbour"])
            queuectl(spool, "worker", "stop", "--now")
            assert pool.wait() == 0
            assert not is_running(pids["neighbour"]) and is_running(pids["left"])
        finally:
            for pid in pids.values():
                kill(pid)


# Says that it runs, and waits until five do.
MEET = (
    "import os, sys, time; open(os.path.join(sys.argv[1], os.environ['QUEUECTL_JOB_ID']), 'w').close()\n"
    "while len(os.listdir(sys.argv[1])) < 5: time.sleep(0.01)"
)


def test_a_pool_with_more_slots_than_jobs_drains(spool: SpoolDir, tmp_path: Path) -> None:
    """All jobs run at the same time in one process, on every system: each waits for the others."""
    (tmp_path / "met").mkdir()
    for number in range(5):
        enqueue(spool, f"job{number}", "--", *SLEEP[:-1], MEET, str(tmp_path / "met"))
    with Pool(spool, "--drain", count=8) as pool:
        assert pool.wait() == 0
    assert len(spool.job_names("done")) == 5


def test_max_jobs_counts_the_runs_of_all_slots(spool: SpoolDir) -> None:
    """No slot starts one more."""
    for number in range(12):
        enqueue(spool, f"job{number}", "--command", SUCCEED)
    with Pool(spool, "--max-jobs", "7", count=4) as pool:
        assert pool.wait() == 0
    assert (len(spool.job_names("done")), len(spool.job_names("pending"))) == (7, 5)


@linux
@pytest.mark.parametrize("processes", ["1", "auto"])
def test_a_pool_is_scaled_while_it_runs(spool: SpoolDir, tmp_path: Path, processes: str) -> None:
    """Up: more runs at once. Down: what runs goes on to its end, and no more than the new number is started."""
    queuectl(spool, "config", "set", "worker_processes", processes)
    gate = tmp_path / "gate"
    waits = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    for number in range(6):
        enqueue(spool, f"early{number}", "--command", waits)
    with Pool(spool, count=2) as pool:
        wait_until(lambda: len(spool.job_names("running")) == 2)
        assert "6 slots in" in queuectl(spool, "worker", "scale", "6")
        wait_until(lambda: len(spool.job_names("running")) == 6)
        assert queuectl(spool, "worker", "scale", "1").endswith("has 1 slot in 1 worker process")
        assert [(info.count, info.processes) for info in pools.live(spool)] == [(1, 1)]
        pids = {number: wait_until(lambda n=number: command_of(pool, f"early{n}")) for number in range(6)}
        enqueue(spool, "late", "--command", SUCCEED)
        assert all(map(is_running, pids.values())) and listing(spool)["pending"] == ["late.json"]
        gate.touch()
        pool.event("succeeded", "late")
        wait_until(lambda: len(spool.job_names("done")) == 7)
        wait_until(lambda: len(os.listdir(spool.lease_dir)) == 1)
        wait_until(lambda: len(pool.worker_pids()) == 1)
        assert not [item for item in pool.events if item["event"] == "worker_lost"]
    starts = [item["id"] for item in pool.events if item["event"] == "started"]
    assert starts[-1] == "late"


def test_scaling_names_what_it_cannot_do(spool: SpoolDir) -> None:
    """Without a pool, with a wrong name, and with two pools of which none is named."""
    assert _failure(spool, "scale", "2").startswith("error: no workers are running")
    with Pool(spool, count=1).ready(), Pool(spool, count=1).ready():
        first, second = (info.pool for info in pools.live(spool))
        assert f"several pools are running: {first}, {second}" in _failure(spool, "scale", "2")
        assert "no pool nobody is running" in _failure(spool, "scale", "2", "--pool", "nobody")
        queuectl(spool, "worker", "scale", "3", "--pool", second)
        assert [info.count for info in pools.live(spool)] == [1, 3]


def _failure(spool: SpoolDir, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "queuectl", "--spool", spool.root, "worker", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    return done.stderr


def test_a_request_that_is_no_number_of_slots_is_deleted(spool: SpoolDir) -> None:
    """A file that somebody puts there by hand changes nothing and does not stay."""
    with Pool(spool, count=1).ready():
        (info,) = pools.live(spool)
        path = Path(spool.pool_path(info.pool, "scale"))
        for text in ("many", "0", "257", ""):
            path.write_text(text)
            wait_until(lambda: not path.exists())
            assert [info.count for info in pools.live(spool)] == [1], text


@posix
def test_settings_are_read_again_while_the_pool_runs(spool: SpoolDir, tmp_path: Path) -> None:
    """The next attempts use them, in new workers too; what runs keeps its own; what waits for a start is named."""
    gate = tmp_path / "gate"
    enqueue(spool, "early", "--command", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    with Pool(spool, count=2) as pool:
        pool.event("started", "early")
        queuectl(spool, "config", "set", "timeout", "0.3")
        queuectl(spool, "config", "set", "scan_s", "3")
        said = queuectl(spool, "worker", "reload")
        assert said.endswith("has read the settings; in use from its next start: scan_s")
        assert "settings  in use from the next start of the workers: scan_s" in queuectl(spool, "status")
        enqueue(spool, "late", "--command", "sleep 60")
        assert pool.event("timed_out", "late")["reason"].startswith("timed out after 0.3 s")
        queuectl(spool, "worker", "scale", "3")
        enqueue(spool, "later", "--command", "sleep 60")
        pool.event("timed_out", "later")
        assert last_start(spool, "early")
        gate.touch()
        pool.event("succeeded", "early")
        queuectl(spool, "config", "unset", "scan_s")
        assert queuectl(spool, "worker", "reload").endswith("has read the settings")


def test_a_settings_file_that_is_wrong_changes_nothing(spool: SpoolDir) -> None:
    """The command names the mistake; a request that is made by hand is answered by the pool's log."""
    with Pool(spool, count=1).ready() as pool:
        with open(spool.settings_path, "a", encoding="utf-8") as file:
            file.write("\ntimeout = 'soon'\n")
        assert "timeout" in _failure(spool, "reload")
        (info,) = pools.live(spool)
        pools.request_reload(spool, info.pool)
        assert "the settings stay as they were" in pool.event("reloaded")["text"]
        wait_until(lambda: not pools.is_reload_waiting(spool, info.pool))
        Path(spool.path("pending", "job.json")).write_text(json.dumps({"command": SUCCEED}))
        pool.event("succeeded", "job")
    os.remove(spool.settings_path)
    assert "no workers are running" in _failure(spool, "reload")


@posix
def test_requests_that_are_no_files_are_left_alone(spool: SpoolDir) -> None:
    """P6: a folder or a link in the place of a request holds up nothing."""
    with Pool(spool, count=1).ready() as pool:
        (info,) = pools.live(spool)
        os.mkdir(spool.pool_path(info.pool, "scale"))
        os.symlink("/nowhere", spool.pool_path(info.pool, "reload"))
        enqueue(spool, "job", "--command", SUCCEED)
        pool.event("succeeded", "job")
        assert not [item for item in pool.events if item["event"] in ("trouble", "scaled", "reloaded")]


@posix
def test_views_name_the_processes_and_the_jobs_in_their_slots(spool: SpoolDir, tmp_path: Path) -> None:
    """`worker list` and `status`: the name as in the history, the pid, the slots in use."""
    gate = tmp_path / "gate"
    for job_id in ("one", "two"):
        enqueue(spool, job_id, "--command", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    with Pool(spool, count=3) as pool:
        starts = [wait_until(lambda j=job_id: last_start(spool, j)) for job_id in ("one", "two")]
        (name,) = {start.worker for start in starts}
        wait_until(lambda: pools.live(spool)[0].workers)
        (listed,) = json.loads(queuectl(spool, "worker", "list", "--json"))["pools"][0]["processes"]
        assert listed == {"name": name, "pid": listed["pid"], "slots": 3, "is_ending": False, "running": ["one", "two"]}
        assert sys.platform != "linux" or [listed["pid"]] == pool.worker_pids()
        first, second = (row.split("\t") for row in queuectl(spool, "worker", "list").splitlines())
        assert (first[3], second) == ("2 of 3", [name, "", str(listed["pid"]), "2 of 3", "", "one two"])
        text = f"{name}  2 of 3 slots used, process {listed['pid']}"
        assert text in queuectl(spool, "status", "-v") and text not in queuectl(spool, "status")
        assert "3 in pool" in queuectl(spool, "status") and "(1 worker process)" in queuectl(spool, "status")
        status = json.loads(queuectl(spool, "status", "--json"))
        row = {"name": name, "pid": listed["pid"], "slots": 3, "used": 2, "is_ending": False}
        assert status["pools"][0]["processes"] == [row]
        assert [run["lease"] for run in status["running"]] == [start.lease for start in starts]
        gate.touch()
        pool.event("succeeded", "two")


@linux
@posix
def test_a_process_that_ends_after_its_jobs_is_shown(spool: SpoolDir, tmp_path: Path) -> None:
    """A pool that was made smaller says what the process is that it has too many."""
    queuectl(spool, "config", "set", "worker_processes", "auto")
    gate = tmp_path / "gate"
    for job_id in ("one", "two"):
        enqueue(spool, job_id, "--command", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    with Pool(spool, count=2) as pool:
        pool.event("started", "two")
        wait_until(lambda: len(pools.live(spool)[0].workers) == 2)
        pools.request_scale(spool, pools.live(spool)[0].pool, 1)
        wait_until(lambda: [worker.is_ending for worker in pools.live(spool)[0].workers] == [False, True])
        assert "1, ending" in queuectl(spool, "worker", "list")
        gate.touch()
        wait_until(lambda: len(pools.live(spool)[0].workers) == 1)


# A pool whose workers have a defect that the job `bad` meets while it runs.
DEFECTIVE = """
from queuectl.cli import run
from queuectl.worker.run import Run
check = Run.check
def broken(self):
    if self.claimed.job_id == "bad":
        raise AttributeError("no such thing")
    return check(self)
Run.check = broken
run()
"""


@linux
@posix
def test_a_defect_that_one_run_meets_costs_no_other_run(spool: SpoolDir, tmp_path: Path) -> None:
    """P3, P5: it is reported, its command is ended, its job is rescued; others go on; a new process takes over."""
    gate = tmp_path / "gate"
    enqueue(spool, "stays", "--command", f"while [ ! -e {gate} ]; do sleep 0.02; done")
    with Pool(spool, count=2, program=("-c", DEFECTIVE)) as pool:
        pool.event("started", "stays")
        command = wait_until(lambda: command_of(pool, "stays"))
        (worker,) = pool.worker_pids()
        enqueue(spool, "bad", "--command", "sleep 60")
        assert pool.event("defect", "bad")["text"].startswith("AttributeError: no such thing (")
        pool.event("rescued", "bad")
        for number in range(3):
            enqueue(spool, f"next{number}", "--command", SUCCEED)
            pool.event("succeeded", f"next{number}")
        assert len(pool.worker_pids()) == 2 and worker in pool.worker_pids()
        assert is_running(command) and last_start(spool, "stays")
        gate.touch()
        pool.event("succeeded", "stays")
        wait_until(lambda: worker not in pool.worker_pids())
        assert not [item for item in pool.events if item["event"] == "worker_lost"]
    assert [event.event for event in events(spool, "dlq", "bad")] == ["enqueued", "started", "abandoned"]
