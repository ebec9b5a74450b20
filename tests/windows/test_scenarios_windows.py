"""queuectl on Windows as people use it: typed through queuectl.exe, killed, held, read meanwhile, fed by Notepad."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("Windows only", allow_module_level=True)

from queuectl.jobs.enqueue import Producer
from queuectl.model import settings, times
from queuectl.model.names import why_bad_id
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import disk
from queuectl.system.clock import Clock
from tests.helpers import make_spool, named, names_in, wait_until, write_drop
from tests.pool import PYTHON, SLEEP, SUCCEED, Pool, Witness, children, is_running, kill, queuectl, tree
from tests.windows import procs

UNDER_WINE = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
LAUNCHER = Path(sys.prefix, "Scripts", "queuectl.exe")
CLAIMER = Path(__file__).with_name("claimer.py")
# Reads what lies in the folders of a spool, again and again, as any program does; prints how often that was refused.
READ_ALL = """
import collections, os, sys
root, enough = sys.argv[1:]
seen = collections.Counter()
while not os.path.exists(enough):
    for state in ("pending", "running", "done"):
        for name in os.listdir(os.path.join(root, state))[:200]:
            try:
                with open(os.path.join(root, state, name), "rb") as file:
                    file.read()
                seen["read"] += 1
            except OSError as error:
                seen[type(error).__name__] += 1
print(dict(seen))
"""


class Prompt:
    """A command prompt in a folder: what is typed runs by the real queuectl.exe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = SpoolDir(folder / "spool")

    def type(self, *words: str, code: int = 0) -> str:
        """Type `queuectl WORDS`; what it printed."""
        program = [str(LAUNCHER)] if LAUNCHER.exists() else [sys.executable, "-m", "queuectl"]
        env = {name: value for name, value in os.environ.items() if name != "QUEUECTL_SPOOL"}
        done = subprocess.run(
            [*program, *words], cwd=self.folder, env=env, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return (done.stdout + done.stderr).strip()


def events(spool: SpoolDir, state: str, job_id: str) -> list[str]:
    """What a job's history says, in short."""
    return [event.event for event in spool.read(state, named(spool, state, f"{job_id}.json")).record.history]


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    """A prompt in a folder where `queuectl init` was typed."""
    made = Prompt(tmp_path)
    made.type("init")
    return made


# ---------------------------------------------------------------------------------------------------- four scenarios


def test_an_enqueued_job_runs_and_completes(prompt: Prompt) -> None:
    """Scenario 1: what is enqueued, also as JSON, runs, is listed as completed, and its output is kept."""
    assert prompt.type("enqueue", '{"id": "job1", "command": "cmd /c echo Hello World"}').startswith("job1\n")
    assert prompt.type("enqueue", "--id", "job2", "--command", "cmd /c echo Hello World").startswith("job2\n")
    prompt.type("worker", "start", "--count", "2", "--drain")
    assert {"job1", "job2"} <= set(prompt.type("list", "--state", "completed").split())
    assert prompt.type("logs", "job1") == prompt.type("logs", "job2") == "Hello World"


def test_a_failing_job_is_retried_and_then_dead(prompt: Prompt) -> None:
    """Scenario 2: three retries after growing delays, then dlq/."""
    prompt.type("enqueue", "--id", "bad", "--backoff-base", "1.2", "--command", "cmd /c echo Hello World& exit 300")
    prompt.type("worker", "start", "--drain")
    failed = [event for event in prompt.spool.read("dlq", "bad.json").record.history if event.event == "failed"]
    assert [event.exit_code for event in failed] == [300] * 4
    assert [event.delay_s for event in failed] == [1.2, 1.44, 1.728, None]
    assert "0x12C" in prompt.type("show", "bad")
    assert "bad" in prompt.type("dlq", "list")


def test_a_job_retried_from_the_dead_letter_queue_succeeds(prompt: Prompt) -> None:
    """Scenario 3: a dead job runs again with its history kept, and succeeds."""
    prompt.type("enqueue", "--id", "later", "--max-retries", "0", "--command", "type marker.txt")
    prompt.type("worker", "start", "--drain")
    assert events(prompt.spool, "dlq", "later") == ["enqueued", "started", "failed"]
    (prompt.folder / "marker.txt").write_text("Hello World")
    prompt.type("dlq", "retry", "later")
    prompt.type("worker", "start", "--drain")
    assert events(prompt.spool, "done", "later") == [
        "enqueued",
        "started",
        "failed",
        "requeued",
        "started",
        "succeeded",
    ]
    assert prompt.type("logs", "later") == "Hello World"


def test_a_command_of_two_lines_is_dead_after_one_run(prompt: Prompt) -> None:
    """cmd would run the first line only, now and later: the job is not retried, and its error says what to do."""
    prompt.type("enqueue", "--id", "two", "--max-retries", "3", "--command", "echo one\necho two")
    prompt.type("worker", "start", "--drain")
    last = prompt.spool.read("dlq", "two.json").record.history[-1]
    assert (last.attempt, last.exit_code) == (1, 126)
    assert "cmd runs one line only" in last.reason and "powershell" in last.reason


def test_commands_are_shown_as_they_are_typed_here(prompt: Prompt) -> None:
    """A list is shown in the quoting of Windows, wherever it is shown."""
    words = ["no such program", "it's", 'say "hi"', "C:\\a b\\"]
    prompt.type("enqueue", "--id", "list", "--max-retries", "0", "--", *words)
    shown = subprocess.list2cmdline(words)
    assert shown in prompt.type("list") and shown in prompt.type("show", "list")
    prompt.type("worker", "start", "--drain")
    text = (prompt.folder / "spool" / "dlq" / "list.error.txt").read_text(encoding="utf-8")
    assert shown in text
    assert shown in prompt.type("dlq", "list") and shown in prompt.type("list")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("Q:\\spool", "no such drive or share"),
        ("\\\\no-server\\share\\spool", "no such drive or share"),
        ("con", "con is the name of a device"),
        ("new\\nul", "nul is the name of a device"),
    ],
)
def test_a_spool_that_cannot_be_there_is_refused_in_words(prompt: Prompt, path: str, why: str) -> None:
    """A missing drive, a server that does not answer and a device are named; nothing of Python is shown."""
    assert not os.path.exists("Q:\\")
    said = prompt.type("init", path, code=75)
    assert said.startswith("error: cannot create the spool ") and why in said
    assert "Errno" not in said and "WinError" not in said


def test_jobs_survive_a_restart_of_everything(prompt: Prompt) -> None:
    """Scenario 4 (P1, P3): all processes killed at once; a new pool runs what waited and what was cut off."""
    for number in range(4):
        prompt.type("enqueue", "--id", f"job{number}", "--command", "cmd /c echo Hello World& ping -n 3 127.0.0.1 >NUL")
    prompt.type("worker", "start", "--count", "2", "--detach")
    wait_until(lambda: len(prompt.spool.job_names("running")) == 2)
    pids = [pool["pid"] for pool in json.loads(prompt.type("worker", "list", "--json"))["pools"]]
    for pid in pids:
        pids += children(pid)
    for pid in pids:
        kill(pid)
    prompt.type("worker", "start", "--count", "2", "--drain")
    assert prompt.spool.job_names("done") == [f"job{number}.json" for number in range(4)]


# -------------------------------------------------------------------------------------------------- kill, stop, timeout


def test_a_killed_worker_s_tree_is_gone_and_its_job_runs_again(spool: SpoolDir, tmp_path: Path) -> None:
    """P3, P5: with its worker a command ends, and what it started; then the job runs again."""
    child = tmp_path / "child"
    queuectl(spool, "enqueue", "--id", "tree", "--", *tree(child))
    with Pool(spool, count=1) as pool:
        command = wait_until(lambda: child.exists() and [pid for w in pool.worker_pids() for pid in children(w)])
        tree_pids = [*command, int(child.read_text())]
        assert all(is_running(pid) for pid in tree_pids)
        child.unlink()
        pool.kill_worker_of("tree")
        killed_s = time.monotonic()
        wait_until(lambda: not any(is_running(pid) for pid in tree_pids))
        gone_s = time.monotonic() - killed_s
        wait_until(child.exists)
        print(f"the tree was gone {gone_s:.3f} s after the kill")
        print(f"and ran again {time.monotonic() - killed_s:.3f} s after it")
        assert events(spool, "running", "tree") == ["enqueued", "started", "abandoned", "started"]
        queuectl(spool, "worker", "stop", "--now")


def test_a_killed_worker_s_job_never_overlaps_itself(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: five kills in a row: a run starts only when the one before is gone (it would find its lock taken)."""
    witness = Witness(tmp_path / "witness")
    queuectl(spool, "enqueue", "--id", "job", "--max-retries", "9", "--", *witness.command(seconds="60,60,60,60,60,0"))
    with Pool(spool, count=1) as pool:
        for runs in range(1, 6):
            wait_until(lambda runs=runs: len(witness.starts("job")) == runs)
            pool.kill_worker_of("job")
        pool.event("succeeded", "job")
    assert (len(witness.starts("job")), len(witness.ends("job")), witness.overlapping()) == (6, 1, [])


def test_a_timeout_ends_child_and_grandchild(spool: SpoolDir, tmp_path: Path) -> None:
    """After its timeout a run's whole tree is gone: cmd, the child it started, and the grandchild."""
    child = tmp_path / "child"
    inner = tmp_path / "inner.py"
    inner.write_text(f"import subprocess; subprocess.run({tree(child)!r})")
    text = f'"{sys.executable}" -S "{inner}"'

    def line() -> list[int]:
        """The grandchild, the child and cmd, while they run."""
        with contextlib.suppress(OSError, ValueError, StopIteration):
            pid = int(child.read_text())
            found = [pid, procs.parent(pid), procs.parent(procs.parent(pid))]
            return found if all(is_running(each) for each in found) else []
        return []

    for timeout_s in (3, 15, 60):  # to start them all takes longer than 3 s on a busy machine
        child.unlink(missing_ok=True)
        name = f"slow{timeout_s}"
        queuectl(spool, "enqueue", "--id", name, "--max-retries", "0", "--timeout", f"{timeout_s}s", "--command", text)
        with Pool(spool, "--drain", count=1) as pool:
            wait_until(lambda: line() or pool.process.poll() is not None, 120)
            found = line()
            assert pool.wait(120) == 0
        assert events(spool, "dlq", name) == ["enqueued", "started", "timed_out"]
        if found:
            break
    assert found
    wait_until(lambda: not any(is_running(each) for each in found))


def test_stop_ends_a_detached_pool(prompt: Prompt) -> None:
    """`worker stop` in another window ends a pool that was started detached, and puts back what it cuts off (P9)."""
    prompt.type("enqueue", "--id", "long", "--", *SLEEP)
    assert prompt.type("worker", "start", "--detach").startswith("started ")
    wait_until(lambda: prompt.spool.job_names("running"))
    (pool,) = json.loads(prompt.type("worker", "list", "--json"))["pools"]
    pids = [pool["pid"], *children(pool["pid"])]
    said = prompt.type("worker", "stop", "--now")
    assert "stopped" in said and "interrupted long" in said
    wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert events(prompt.spool, "pending", "long") == ["enqueued", "started", "released"]
    assert "no workers" in prompt.type("worker", "list")


# ---------------------------------------------------------------------------------------- many at once, held files


def claim_all(folder: Path, count: int, *options: str) -> tuple[Counter[str], list[str]]:
    """`count` jobs and four claimers; how often each id was won, and the errors there were."""
    spool = make_spool(folder / "spool")
    producer = Producer(Session(spool, settings.defaults(), Clock(), random.Random(2)))
    producer.publish([producer.prepare({"command": "x"}, by="enqueue") for _ in range(count)])
    files = [[str(folder / f"{kind}{number}") for kind in ("ready", "report")] for number in range(4)]
    go = str(folder / "go")
    words = [[spool.root, str(number), ready, go, report, *options] for number, (ready, report) in enumerate(files)]
    claimers = [subprocess.Popen([sys.executable, str(CLAIMER), *each]) for each in words]
    wait_until(lambda: all(os.path.exists(ready) for ready, _ in files))
    Path(go).touch()
    for claimer in claimers:
        assert claimer.wait(90) == 0
    reports = [json.loads(Path(report).read_text(encoding="utf-8")) for _, report in files]
    won = Counter(job_id for each in reports for job_id in each["won"])
    return won, [text for each in reports for text in each["errors"]]


def test_four_claimers_win_each_of_300_files_once(tmp_path: Path) -> None:
    """P3: the stripe, not the rename, decides who has a job."""
    won, errors = claim_all(tmp_path, 300)
    print(f"{len(won)} jobs, {won.total() - len(won)} double claims, {len(errors)} errors")
    assert (len(won), won.total(), errors) == (300, 300, [])


@pytest.mark.slow
@pytest.mark.skipif(not UNDER_WINE, reason="when both of two renames succeed is not promised by anybody")
def test_without_stripes_files_are_claimed_twice(tmp_path: Path) -> None:
    """The test above can fail: with the stripes taken out, two claimers win the same file."""
    for attempt in range(5):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        won, errors = claim_all(folder, 300, "unguarded")
        print(f"{len(won)} jobs, {won.total() - len(won)} double claims, {len(errors)} errors without stripes")
        if won.total() > len(won):
            return
    raise AssertionError("no double claim in five tries")


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_readers_of_the_folder_lose_no_job(spool: SpoolDir, tmp_path: Path, count: int) -> None:
    """P1, P6: beside two programs that read every file again and again, all jobs run once and none fails."""
    for number in range(count):
        write_drop(spool, f"r{number:04}.json", {"command": SUCCEED, "max_retries": 0})
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READ_ALL, spool.root, str(tmp_path / "enough")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    began_s = time.monotonic()
    try:
        with Pool(spool, "--drain", count=2) as pool:
            assert pool.wait(500) == 0
    finally:
        (tmp_path / "enough").touch()
        said = [reader.communicate(timeout=60)[0].strip() for reader in readers]
    troubles = [event["text"] for event in pool.events if event["event"] == "trouble"]
    print(f"{count} jobs in {time.monotonic() - began_s:.1f} s; readers: {said}; troubles: {troubles}")
    assert len(spool.job_names("done")) == count
    assert [len(names_in(spool, state)) for state in ("pending", "running", "dlq", "rejected")] == [0] * 4
    for name in spool.job_names("done"):
        told = events(spool, "done", name.removesuffix(".json"))
        # Put back uncounted where the machine could not start the command just then (see wine_repairs.py): not run.
        assert told == ["enqueued", *["started", "released"] * told.count("released"), "started", "succeeded"]


def test_a_held_file_hinders_no_other(spool: SpoolDir) -> None:
    """P6: drops that a program keeps open wait, whole or not; others run meanwhile, and they when they are closed."""
    queuectl(spool, "config", "set", "settle_s", "0.3")
    with Pool(spool, count=1).ready() as pool:
        with (
            open(spool.path("pending", "held.json"), "w") as whole,
            open(spool.path("pending", "half.json"), "w") as half,
        ):
            whole.write(json.dumps({"command": SUCCEED}))
            half.write('{"command":')
            whole.flush()
            half.flush()
            for number in range(5):
                write_drop(spool, f"free{number}.json", {"command": SUCCEED})
                pool.event("succeeded", f"free{number}")
            assert names_in(spool, "rejected") == []
        pool.event("succeeded", "held")
        pool.event("rejected")


# --------------------------------------------------------------------------------------------------- drops, names


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("utf16le", b"\xff\xfe" + '{"command": "echo grün", "note": "日本"}'.encode("utf-16-le")),
        ("utf16be", b"\xfe\xff" + '{"command": "echo grün", "note": "日本"}'.encode("utf-16-be")),
        ("utf8bom", b"\xef\xbb\xbf" + '{"command": "echo grün", "note": "日本"}'.encode()),
        ("crlf", '{\r\n  "command": "echo grün",\r\n  "note": "日本"\r\n}\r\n'.encode()),
    ],
)
def test_what_windows_editors_write_runs(spool: SpoolDir, name: str, data: bytes) -> None:
    """A drop in UTF-16, with a byte order mark or with CRLF is a job like any other."""
    write_drop(spool, f"{name}.json", data)
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    record = spool.read("done", f"{name}.json").record
    assert (record.command, json.loads(Path(spool.path("done", f"{name}.json")).read_bytes())["note"]) == (
        "echo grün",
        "日本",
    )


def test_device_names_are_no_ids(prompt: Prompt) -> None:
    """An id that Windows takes for a device is refused before anything is written; `aux.json` is none of our files."""
    for name in ("aux", "NUL", "com1", "con.x", "lpt9.json"):
        assert "Windows" in prompt.type("enqueue", "--id", name, "--command", SUCCEED, code=2)
    assert prompt.spool.waiting_names() == []
    # A program that "writes" aux.json speaks to a device: nothing is stored, and nobody can tell.
    try:
        with open(prompt.spool.path("pending", "aux.json"), "w") as file:
            file.write('{"command": "exit 0"}')
    except OSError:
        pass
    prompt.type("worker", "start", "--drain")
    assert names_in(prompt.spool, "pending") == []
    # Windows 11 makes a file of it after all, which is a job under another id.
    assert not any(why_bad_id(name.removesuffix(".json")) for name in names_in(prompt.spool, "done"))


def test_names_that_differ_only_in_case_are_one(prompt: Prompt) -> None:
    """`Job1` beside `job1` is a duplicate for `enqueue`, and one and the same file for whoever drops it (P7)."""
    write_drop(prompt.spool, "job1.json", {"command": SUCCEED})
    assert "already exists" in prompt.type("enqueue", "--id", "Job1", "--command", SUCCEED, code=5)
    with pytest.raises(FileExistsError):
        disk.create(prompt.spool.path("pending", "Job1.json"), b"x", sync=False)
    prompt.type("worker", "start", "--drain")
    # Now the name is in done/: a drop of it runs beside it under a name that tells them apart.
    write_drop(prompt.spool, "JOB1.json", {"command": SUCCEED})
    prompt.type("worker", "start", "--drain")
    done = prompt.spool.job_names("done")
    assert len(done) == 2 and all(name.lower().startswith("job1") for name in done)


def test_a_spool_at_the_end_of_a_long_path_works_or_says_why(tmp_path: Path) -> None:
    """With a path of 300 characters a spool works where Windows allows long paths, and `init` says why elsewhere."""
    folder = str(tmp_path)
    while len(folder) < 300:
        folder = os.path.join(folder, "a folder with quite a long name")
    prompt = Prompt(tmp_path)
    words = ["--spool", os.path.join(folder, "spool")]
    try:
        os.makedirs(folder)
    except OSError:
        assert folder[:100] in prompt.type("init", words[1], code=75)
        return
    assert prompt.type("init", words[1]) == words[1]
    prompt.type(*words, "enqueue", "--id", "far", "--cwd", str(tmp_path), "--command", "cmd /c echo Hello World")
    prompt.type(*words, "worker", "start", "--drain")
    assert prompt.type(*words, "logs", "far") == "Hello World"


# -------------------------------------------------------------------------------------------------------------- latency


@pytest.mark.bench
def test_start_latency_of_a_drop_is_printed(spool: SpoolDir, tmp_path: Path) -> None:
    """Measured and printed, never judged: from the rename into pending/ to `started` on record."""
    took_ms = []
    with Pool(spool, count=1).ready() as pool:
        queuectl(spool, "enqueue", "--id", "warm", "--", *PYTHON, "")
        pool.event("succeeded", "warm")
        for number in range(12):
            (tmp_path / "x").write_text(json.dumps({"command": SUCCEED}))
            began_at = time.time()
            os.rename(tmp_path / "x", spool.path("pending", f"drop{number}.json"))
            pool.event("succeeded", f"drop{number}")
            history = spool.read("done", f"drop{number}.json").record.history
            started_at = next(times.from_text(event.at) for event in history if event.event == "started")
            took_ms.append(1000 * (started_at - began_at))
    took_ms.sort()
    print(f"drop to start: median {statistics.median(took_ms):.0f} ms, {took_ms[0]:.0f} to {took_ms[-1]:.0f} ms")
