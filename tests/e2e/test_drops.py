"""Files that any tool puts into pending/: by rename, by copy, slowly; whole, broken, healed."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from pathlib import Path

from queuectl.spool import batch
from queuectl.spool.folder import SpoolDir
from tests.helpers import names_in, wait_until, write_drop
from tests.pool import PYTHON, SLEEP, SUCCEED, Pool, Witness, is_running, queuectl, tree


def test_sixty_drops_in_three_ways_all_run_once(spool: SpoolDir, tmp_path: Path) -> None:
    """P1, P8: dropped by rename, by plain copy and byte by byte over three seconds, every file runs exactly once."""
    witness = Witness(tmp_path / "witness")
    outside = tmp_path / "outside"
    outside.mkdir()

    def body(name: str) -> bytes:
        return json.dumps({"command": witness.command(), "note": name}, indent=2).encode()

    def slowly(name: str) -> None:
        data = body(name)
        with open(spool.path("pending", name), "wb", buffering=0) as file:
            for start in range(0, len(data), 8):
                file.write(data[start : start + 8])
                pause.wait(3 / (len(data) / 8))

    pause = threading.Event()  # never set: a wait of known length
    with Pool(spool, count=2).ready():
        threads = [threading.Thread(target=slowly, args=(f"slow{number}.json",)) for number in range(20)]
        for thread in threads:
            thread.start()
        for number in range(20):
            (outside / "x").write_bytes(body(f"renamed{number}"))
            os.rename(outside / "x", spool.path("pending", f"renamed{number}.json"))
            write_drop(spool, f"copied{number}.json", body(f"copied{number}"))
        for thread in threads:
            thread.join()
        wait_until(lambda: len(spool.job_names("done")) == 60, 60)
    kinds = [f"{kind}{number}" for kind in ("slow", "renamed", "copied") for number in range(20)]
    assert {job_id: len(witness.starts(job_id)) for job_id in kinds} == dict.fromkeys(kinds, 1)
    assert names_in(spool, "rejected") == []


def test_a_truncated_drop_is_rejected_after_settle_s_and_heals(spool: SpoolDir) -> None:
    """P6: half a file is kept in rejected/ with its reason once it is quiet, and taken back when it becomes whole."""
    queuectl(spool, "config", "set", "settle_s", "0.5")
    whole = b'{"command": "exit 0"}'
    with Pool(spool) as pool:
        began = time.monotonic()
        write_drop(spool, "half.json", whole[:11])
        write_drop(spool, "good.json", whole)
        pool.event("rejected")
        assert time.monotonic() - began >= 0.5
        pool.event("succeeded", "good")
        rejected = Path(spool.path("rejected", "half.json"))
        assert rejected.read_bytes() == whole[:11]
        reason = Path(spool.reason_path("half.json")).read_text(encoding="utf-8")
        assert "not complete JSON" in reason and "pending/" in reason
        rejected.write_bytes(whole)
        pool.event("healed")
        pool.event("succeeded", "half")
    assert names_in(spool, "rejected") == []


def test_a_writer_whose_file_was_rejected_goes_on_and_heals_it(spool: SpoolDir) -> None:
    """P6: a handle follows the file into rejected/; when its writer has finished there, the job runs.

    On Windows a file that is open cannot be moved: there it is not rejected while its writer has it, however long.
    """
    queuectl(spool, "config", "set", "settle_s", "0.3")
    with Pool(spool).ready() as pool, open(spool.path("pending", "cable.json"), "wb", buffering=0) as file:
        file.write(b'{"command": ')
        if sys.platform == "win32":
            unhappy_until = time.monotonic() + 1.5
            wait_until(lambda: time.monotonic() > unhappy_until)
            assert names_in(spool, "rejected") == []
        else:
            pool.event("rejected")
        file.write(b'"exit 0"}')
        if sys.platform == "win32":
            file.close()
        pool.event("succeeded", "cable")


def test_dragging_a_dead_job_to_pending_runs_it_again(spool: SpoolDir, tmp_path: Path) -> None:
    """A move of a file from dlq/ to pending/ is a retry with a fresh budget and the history kept."""
    marker = tmp_path / "marker"
    test = [*PYTHON, "import os, sys; sys.exit(not os.path.exists(sys.argv[1]))", str(marker)]
    queuectl(spool, "enqueue", "--id", "job", "--max-retries", "0", "--", *test)
    with Pool(spool) as pool:
        wait_until(lambda: spool.job_names("dlq"))
        marker.touch()
        os.rename(spool.path("dlq", "job.json"), spool.path("pending", "job.json"))
        pool.event("succeeded", "job")
    events = [event.event for event in spool.read("done", "job.json").record.history]
    assert events == ["enqueued", "started", "failed", "requeued", "started", "succeeded"]


def test_an_array_and_a_file_of_lines_are_many_jobs(spool: SpoolDir) -> None:
    """One file may hold many jobs: an array at once, lines when they have been quiet for settle_s."""
    queuectl(spool, "config", "set", "settle_s", "0.5")
    jobs = [{"id": f"array{number}", "command": SUCCEED} for number in range(20)]
    lines = "".join(json.dumps({"id": f"line{number}", "command": SUCCEED}) + "\n" for number in range(20))
    with Pool(spool, count=2) as pool:
        write_drop(spool, "many.json", jobs)
        write_drop(spool, "lines.jsonl", lines + "{broken}\n")
        wait_until(lambda: len(spool.job_names("done")) == 40)
        wait_until(lambda: len(names_in(spool, "rejected")) == 3)
        told = wait_until(
            lambda: [each["text"] for each in pool.events if each["event"] == "batch" and "line" in str(each)]
        )
    assert told == ["lines.jsonl was split into 20 jobs; 1 line was refused: see rejected/"]
    assert spool.waiting_names() == []


def test_a_split_that_was_killed_goes_on_beside_other_jobs(spool: SpoolDir) -> None:
    """P1, P5, P6: a pool that is killed in a split makes each job once, and the next pool runs jobs meanwhile."""
    far = {"command": SUCCEED, "run_at": "2099-01-01T00:00:00Z"}
    pool = Pool(spool, count=1)
    write_drop(spool, "many.json", [{**far, "tags": [str(number)]} for number in range(2000)])
    wait_until(lambda: len(spool.waiting_names()) > 100, 30)
    pool.kill_everything()
    cut = batch.unfinished(spool)
    queuectl(spool, "enqueue", "--id", "now", "--command", SUCCEED)
    with Pool(spool, count=1) as again:
        again.event("succeeded", "now")
        wait_until(lambda: not batch.unfinished(spool), 60)
    assert len(cut) == 1
    tags = [spool.read("pending", name).record.tags[0] for name in spool.waiting_names()]
    assert sorted(tags, key=int) == [str(number) for number in range(2000)]


def test_a_command_that_does_not_exist_is_a_failed_attempt(spool: SpoolDir) -> None:
    """A missing program is the job's failure, said in words, and no trouble of the worker."""
    queuectl(spool, "enqueue", "--id", "list", "--max-retries", "0", "--", "no-such-program", "x")
    queuectl(spool, "enqueue", "--id", "shell", "--max-retries", "0", "--command", "no-such-program x")
    with Pool(spool, "--drain") as pool:
        assert pool.wait() == 0
    for job_id in ("list", "shell"):
        last = spool.read("dlq", f"{job_id}.json").record.history[-1]
        if sys.platform == "win32" and job_id == "shell":
            # cmd has no code of its own for it: 1, as for many other things, and 9009 under Wine.
            under_wine = hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
            assert last.exit_code == (9009 if under_wine else 1)
            assert ("command not found" in last.reason) == under_wine
        else:
            assert (last.exit_code, "command not found" in last.reason) == (127, True)


def test_a_timeout_ends_the_whole_tree(spool: SpoolDir, tmp_path: Path) -> None:
    """A run longer than its timeout is ended with everything it started, and counts as a failure."""
    child = tmp_path / "child"
    with Pool(spool) as pool:
        for number in range(8):  # two Pythons are to start within the timeout, however busy the machine is
            job_id, timeout = f"slow{number}", f"{0.4 * 2**number}s"
            queuectl(spool, "enqueue", "--id", job_id, "--timeout", timeout, "--max-retries", "0", "--", *tree(child))
            pool.event("timed_out", job_id, timeout=100)
            if child.exists():
                break
        pid = int(child.read_text())
        wait_until(lambda: not is_running(pid))
    last = spool.read("dlq", f"{job_id}.json").record.history[-1]
    assert (last.event, last.to) == ("timed_out", "dlq")


def test_a_run_that_prints_without_end_is_ended_whole(spool: SpoolDir, tmp_path: Path) -> None:
    """A command that fills the disk is stopped with what it started; the job, its text and `show` say why (P9)."""
    queuectl(spool, "config", "set", "output_max", "1M")
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-S', '-c', *sys.argv[1:]])\n"
        "while True: print('x' * 65536, flush=True); time.sleep(0.001)\n"
    )
    queuectl(spool, "enqueue", "--id", "loud", "--max-retries", "0", "--", *PYTHON, code, *tree(child)[4:])
    queuectl(spool, "enqueue", "--id", "good", "--", *PYTHON, "print('hello')")
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    last = spool.read("dlq", "loud.json").record.history[-1]
    assert (last.event, last.exit_code) == ("failed", None)
    assert last.reason.startswith("printed more than output_max, 1 MiB, and was ended")
    assert "1 MiB" in Path(spool.error_path("loud.json")).read_text(encoding="utf-8")
    assert "printed more than output_max" in queuectl(spool, "show", "loud")
    assert spool.job_names("done") == ["good.json"]
    if child.exists():  # the print may have passed the limit before the child had started
        wait_until(lambda: not is_running(int(child.read_text())))


def test_the_timeout_of_the_settings_ends_a_run(spool: SpoolDir) -> None:
    """A job that names no timeout has that of the settings."""
    queuectl(spool, "config", "set", "timeout", "0.3")
    queuectl(spool, "enqueue", "--id", "slow", "--max-retries", "0", "--", *SLEEP)
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    assert spool.read("dlq", "slow.json").record.history[-1].event == "timed_out"


def test_priority_goes_before_age(spool: SpoolDir, tmp_path: Path) -> None:
    """Higher priorities run first, whatever was enqueued first."""
    order = tmp_path / "order"
    for number, priority in enumerate([0, 5, -3, 9]):
        queuectl(
            spool, "enqueue", "--id", f"p{number}", "--priority", str(priority),
            "--command", f"echo {priority} >> {order}",
        )  # fmt: skip
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    assert order.read_text().split() == ["9", "5", "0", "-3"]
