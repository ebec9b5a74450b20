"""What commands give back, with real workers."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from queuectl import Spool
from queuectl.model import record
from queuectl.spool.folder import SpoolDir
from tests.helpers import LONG, wait_until
from tests.pool import PYTHON, SUCCEED, Pool, ends_with, kill, queuectl

GIVE = [*PYTHON, "import os; open(os.environ['QUEUECTL_RESULT'], 'w').write(os.environ['QUEUECTL_JOB_ID'])"]


def test_a_result_is_there_when_the_job_is_done(spool: SpoolDir) -> None:
    """P4: `queuectl result`, `show` and the library find what the command wrote."""
    made = Spool(spool.root)
    ids = [made.enqueue(GIVE, id=f"job{number}") for number in range(5)]
    made.enqueue("exit 0", id="quiet")
    with Pool(spool, count=2):
        ends_with(spool, {"done": 6})
    for job_id in ids:
        assert queuectl(spool, "result", job_id) == job_id
        path = made.result(job_id)
        assert path is not None and Path(path).read_text() == job_id
        assert made.get(job_id).history[-1]["result_bytes"] == len(job_id)
    assert made.result("quiet") is None
    assert queuectl(spool, "result", "quiet", check=False) == ""
    shown = json.loads(queuectl(spool, "show", "job0", "--json"))
    assert shown["results"] == [made.result("job0")]
    assert "gave back 4 bytes" in queuectl(spool, "show", "job0")
    queuectl(spool, "purge", "job0", "--yes")
    assert not os.path.exists(spool.result_path("job0", 1))
    assert json.loads(queuectl(spool, "check", "--json"))["verdict"] == "clean"
    assert os.listdir(spool.desk_dir) == []


@pytest.mark.skipif(sys.platform == "win32", reason="nothing outlives its run on Windows")
def test_a_process_left_behind_keeps_its_desk(spool: SpoolDir, tmp_path: Path) -> None:
    """P3: what a daemon of a run writes later goes to the desk of that run, never to another job's."""
    late = (
        "import os, sys, time\n"
        "open(sys.argv[1], 'w').write(str(os.getpid()))\n"
        "end = time.monotonic() + 60\n"
        "while not os.path.exists(sys.argv[2]) and time.monotonic() < end: time.sleep(0.01)\n"
        "open(os.environ['QUEUECTL_RESULT'], 'w').write('late')\n"
        "open(sys.argv[3], 'w').close()\n"
        "time.sleep(60)\n"
    )
    pid, go, written = (tmp_path / name for name in ("pid", "go", "written"))
    start = "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', *sys.argv[1:]], close_fds=False)"
    made = Spool(spool.root)
    made.enqueue([*PYTHON, start, late, str(pid), str(go), str(written)], id="leaves")
    with Pool(spool, count=1):
        ends_with(spool, {"done": 1})
        wait_until(lambda: pid.exists() and pid.read_text())
        wait = f"import os, time\nwhile not os.path.exists({str(written)!r}): time.sleep(0.01)"
        made.enqueue([*PYTHON, wait], id="next")
        wait_until(lambda: spool.holds("next", ("running",)))
        go.touch()
        ends_with(spool, {"done": 2})
        assert made.result("next") is None and made.result("leaves") is None
        kill(int(pid.read_text()))


def test_a_job_gets_its_standard_input(spool: SpoolDir, tmp_path: Path) -> None:
    """A text and a file reach the command whole; a job without them reads nothing, in the same slot."""
    text = "ü" * 262_144  # 512 KiB, the most
    copy = [*PYTHON, "import os, sys; open(os.environ['QUEUECTL_RESULT'], 'wb').write(sys.stdin.buffer.read())"]
    (tmp_path / "in.bin").write_bytes(b"\0\xff")
    made = Spool(spool.root)
    made.enqueue(copy, id="text", stdin=text)
    made.enqueue(copy, id="empty")
    made.enqueue(copy, id="file", stdin_file="in.bin", cwd=tmp_path)
    made.enqueue(copy, id="missing", stdin_file="nothing", cwd=tmp_path, max_retries=0)
    made.enqueue(copy, id="folder", stdin_file=tmp_path, max_retries=0)
    queuectl(spool, "enqueue", "--id", "typed", "--stdin", "--", *copy, stdin="typed")
    with Pool(spool, count=1):
        ends_with(spool, {"done": 4, "dlq": 2})
    for job_id, data in {"text": text.encode(), "empty": b"", "file": b"\0\xff", "typed": b"typed"}.items():
        path = made.result(job_id)
        assert path is not None and Path(path).read_bytes() == data
    assert "cannot read stdin_file" in made.get("missing").error
    assert "stdin_file" in made.get("folder").error
    kept = Path(made.get("text").path).read_bytes(), Path(made.get("empty").path).read_bytes()
    assert [data.startswith(opening) for data, opening in zip(kept, reversed(record.OPENINGS), strict=True)] == [
        True
    ] * 2


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of POSIX")
def test_a_pipe_as_standard_input_stops_no_worker(spool: SpoolDir, tmp_path: Path) -> None:
    """P9: a file that would block whoever opens it fails the job that names it."""
    os.mkfifo(tmp_path / "pipe")
    made = Spool(spool.root)
    made.enqueue("cat", id="pipe", stdin_file=tmp_path / "pipe", max_retries=0)
    made.enqueue("exit 0", id="next")
    with Pool(spool, count=1):
        ends_with(spool, {"done": 1, "dlq": 1})
    assert "not a regular file" in made.get("pipe").error


def test_progress_is_seen_while_a_job_runs(spool: SpoolDir, tmp_path: Path) -> None:
    """status, show and status --json have the last line, escaped; a failure keeps it on record."""
    go = tmp_path / "go"
    code = (
        "import os, sys, time\n"
        "open(os.environ['QUEUECTL_PROGRESS'], 'w').write('7\\n42 page \\x1b[2J3\\n')\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "sys.exit(1)"
    )
    made = Spool(spool.root)
    made.enqueue([*PYTHON, code, str(go)], id="slow", max_retries=0)
    with Pool(spool, count=1):
        shown = wait_until(lambda: "42 %" in (text := queuectl(spool, "status")) and text)
        assert "page \\x1b[2J3" in shown and "\x1b[2J" not in shown
        (row,) = json.loads(queuectl(spool, "status", "--json"))["running"]
        assert (row["percent"], row["progress"]) == (42, "page \\x1b[2J3")
        assert "at 42 %" in queuectl(spool, "show", "slow")
        go.touch()
        ends_with(spool, {"dlq": 1})
    assert made.get("slow").history[-1]["progress"].startswith("42 %  page")


@pytest.mark.slow
def test_a_snoozed_job_runs_again_and_nothing_is_counted(spool: SpoolDir) -> None:
    """Exit code 75 with QUEUECTL_AGAIN: the job waits as long as it asked, and its only retry is still its own."""
    code = (
        "import os, sys\n"
        "attempt = int(os.environ['QUEUECTL_ATTEMPT'])\n"
        "if attempt < 4: open(os.environ['QUEUECTL_AGAIN'], 'w').write(('1', '1s', 'soon')[attempt - 1])\n"
        "sys.exit((75, 75, 75, 1, 0)[attempt - 1])"
    )
    made = Spool(spool.root)
    made.enqueue([*PYTHON, code], id="job", max_retries=1, backoff_base=0)
    made.enqueue([*PYTHON, "import sys; sys.exit(75)"], id="own", no_retry_exit_codes=[75])
    made.enqueue([*PYTHON, "import sys; sys.exit(9)"], id="bounded", snooze_exit_codes=[9], snooze_max="1s")
    with Pool(spool, count=2):
        ends_with(spool, {"done": 1, "dlq": 2})
    events = [
        (event["event"], event.get("delay_s")) for event in made.get("job").history if event["event"] != "started"
    ]
    assert events == [
        *[("enqueued", None), ("snoozed", 1), ("snoozed", 1), ("warning", None), ("snoozed", 1)],
        *[("failed", None), ("succeeded", None)],
    ]
    assert "not retried" in made.get("own").error
    assert "snooze_max, 1s" in made.get("bounded").error
    assert "snooze_max" in Path(spool.error_path("bounded.json")).read_text()
    assert "asked to run again later" in queuectl(spool, "show", "job")
    assert json.loads(queuectl(spool, "check", "--json"))["verdict"] == "clean"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["printed", "given back"])
def test_a_run_that_writes_two_gibibytes_is_ended(spool: SpoolDir, where: str) -> None:
    """P9: with output_max of 16 MiB its log, or its result, ends far before that, and the next job runs."""
    code = (
        "import os\n"
        f"fd = 1 if {where == 'printed'} else os.open(os.environ['QUEUECTL_RESULT'], os.O_WRONLY | os.O_CREAT)\n"
        "for _ in range(2048): os.write(fd, b'x' * 1048576)"
    )
    made = Spool(spool.root)
    made.enqueue([*PYTHON, code], id="loud", output_max="16MiB", max_retries=0)
    made.enqueue(SUCCEED, id="next")
    with Pool(spool, count=1):
        ends_with(spool, {"done": 1, "dlq": 1})
    last = made.get("loud").history[-1]
    assert last["event"] == "failed" and "exit_code" not in last
    assert "16 MiB" in last["reason"]
    size = os.path.getsize((spool.log_path if where == "printed" else spool.result_path)("loud", 1))
    print(f"{size / 2**20:.0f} MiB were {where} with 16 MiB allowed")
    assert 16 * 2**20 < size < 2**31


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills what POSIX has")
def test_results_of_many_jobs_right_after_kills(spool: SpoolDir) -> None:
    """P4: whatever is killed, a job that is done has its result, whole, and no other job's."""
    made = Spool(spool.root)
    jobs = int(150 * LONG)
    made.enqueue_many(
        {
            "id": f"r{number}",
            "command": 'printf %s "$QUEUECTL_JOB_ID" > "$QUEUECTL_RESULT"',
            "max_retries": 1000,
            "backoff_base": 0,
        }
        for number in range(jobs)
    )
    deadline = time.monotonic() + 240
    kills = 0
    while len(spool.job_names("done")) < jobs and time.monotonic() < deadline:
        pool = Pool(spool, "--drain", count=4).ready()
        for _ in range(20):
            for pid in pool.worker_pids()[:2] if pool.process.poll() is None else []:
                kill(pid)
                kills += 1
            time.sleep(0.02)
        if kills % 3 == 0:
            pool.kill_everything()
        else:
            pool.ask_to_stop()
            pool.wait()
        if kills > 100 * LONG:
            break
    with Pool(spool, "--drain", count=4) as pool:
        pool.wait(240)
    assert kills > 20
    for number in range(jobs):
        path = made.result(f"r{number}")
        assert path is not None and Path(path).read_text() == f"r{number}"


def test_a_job_gets_the_results_of_its_parents(spool: SpoolDir) -> None:
    """A job without parents has no such variable; one with parents reads what they gave back."""
    give = "import os; open(os.environ['QUEUECTL_RESULT'], 'w').write('[1, 2]')"
    take = (
        "import json, os\n"
        "found = json.load(open(os.environ['QUEUECTL_PARENT_RESULTS']))\n"
        "open(os.environ['QUEUECTL_RESULT'], 'w').write(json.dumps(found['give']['json']))"
    )
    made = Spool(spool.root)
    made.enqueue([*PYTHON, give], id="give")
    made.enqueue([*PYTHON, take], id="take", after="give", minimal_env=True)
    made.enqueue([*PYTHON, "import os, sys; sys.exit('QUEUECTL_PARENT_RESULTS' in os.environ)"], id="plain")
    with Pool(spool, count=2):
        ends_with(spool, {"done": 3})
    assert queuectl(spool, "result", "take") == "[1, 2]"
    assert made.result_content("take") == [1, 2]
    assert json.loads(queuectl(spool, "show", "take", "--json"))["result"] == [1, 2]
    assert os.listdir(spool.desk_dir) == []
