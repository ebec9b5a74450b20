"""Two nodes on this machine, 200 jobs, one node killed in the middle: every job ends.

    python examples/cluster.py
    python examples/cluster.py --jobs 50

A scheduler and two nodes run on the loopback address, with TLS, in a new temporary folder. Needs Linux and
the extra: pip install "queuectl-spool[dask]"
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUEUECTL = [sys.executable, "-m", "queuectl"]
# Each job works for a moment; its output says where it ran.
COMMAND = ["sh", "-c", "sleep 0.3; echo $QUEUECTL_NODE"]


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="how many jobs to run (200)")
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="queuectl-cluster-") as name, contextlib.ExitStack() as at_end:
        run(Path(name), jobs, at_end)


def run(folder: Path, jobs: int, at_end: contextlib.ExitStack) -> None:
    """Start the parts, kill one node when a third of the jobs is done, and say what came of them."""
    began = time.monotonic()
    keys = str(folder / "keys")
    queuectl(folder, "cluster", "keys", keys)
    start(folder, at_end, "scheduler", "--keys", keys, "--host", "127.0.0.1", "--port", "0")
    (address,) = until(lambda: re.findall(r"Scheduler at: +(tls://\S+)", text(folder, "scheduler")))
    nodes = {}
    for node in ("one", "two"):
        scratch = str(folder / node)
        options = ["--keys", keys, "--name", node, "--slots", "4", "--scratch", scratch]
        nodes[node] = start(folder, at_end, "node", address, *options)

    queuectl(folder, "init", "spool")
    queuectl(folder, "config", "set", "cluster.scheduler", address)
    queuectl(folder, "config", "set", "cluster.keys", keys)
    queuectl(folder, "config", "set", "cluster.lease", "10s")
    lines = "".join(json.dumps({"id": f"job-{number:03}", "command": COMMAND}) + "\n" for number in range(jobs))
    (folder / "jobs.jsonl").write_text(lines)
    queuectl(folder, "enqueue", str(folder / "jobs.jsonl"))
    say(began, f"{jobs} jobs wait; two nodes with 4 slots each")

    worker = subprocess.Popen([*QUEUECTL, "worker", "start", "--cluster", "--drain"], **quiet(folder))
    at_end.callback(end, worker)
    until(lambda: len(done(folder)) >= jobs // 3)
    kill_node(folder / "two", nodes["two"])
    say(began, f"{len(done(folder))} jobs are done; node two is killed: keeper, commands and dask worker")
    if worker.wait() != 0:
        raise SystemExit("error: the pool failed")

    ran = collections.Counter((folder / "spool" / "logs" / name).read_text().strip() for name in last_logs(folder))
    twice = [record for record in done(folder) if '"abandoned"' in record.read_text()]
    say(began, f"{len(done(folder))} of {jobs} jobs are done: {', '.join(f'{n} on {node}' for node, n in ran.items())}")
    say(began, f"{len(twice)} of them ran again, because their node died under them")


def kill_node(scratch: Path, node: subprocess.Popen[bytes]) -> None:
    """Kill the processes of a node, as a power cut would."""
    node.send_signal(signal.SIGSTOP)  # so that it starts no other dask worker
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit() and str(scratch) in command_line(name)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_line(pid: str) -> str:
    """Return the words of a process."""
    try:
        return Path("/proc", pid, "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def done(folder: Path) -> list[Path]:
    """Return the records of finished jobs."""
    return list((folder / "spool" / "done").glob("*.json"))


def last_logs(folder: Path) -> list[str]:
    """Return the name of the last log of each job."""
    last: dict[str, str] = {}
    for path in sorted((folder / "spool" / "logs").glob("job-*.log")):
        last[path.name.split(".")[0]] = path.name
    return list(last.values())


def queuectl(folder: Path, *words: str) -> None:
    """Run a command to its end."""
    subprocess.run([*QUEUECTL, *words], check=True, **quiet(folder))


def quiet(folder: Path) -> dict[str, object]:
    """Return the options of a process that says nothing and works in the folder's spool."""
    environment = {**os.environ, "QUEUECTL_SPOOL": str(folder / "spool")}
    return {"cwd": folder, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def start(folder: Path, at_end: contextlib.ExitStack, part: str, *words: str) -> subprocess.Popen[bytes]:
    """Start `queuectl cluster PART`; end it with the example."""
    with open(folder / f"{part}.log", "ab") as log:
        options = {**quiet(folder), "stdout": log, "stderr": log}
        process = subprocess.Popen([*QUEUECTL, "cluster", part, *words], **options)
    at_end.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a part, and wait until it has ended."""
    process.terminate()
    process.wait()


def text(folder: Path, part: str) -> str:
    """Return what a part has printed."""
    return (folder / f"{part}.log").read_text(errors="replace")


def until(what, within_s: float = 120):
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + within_s
    while not (found := what()):
        if time.monotonic() > deadline:
            raise SystemExit("error: it took too long")
        time.sleep(0.1)
    return found


def say(began: float, sentence: str) -> None:
    """Print a line."""
    print(f"{time.monotonic() - began:5.1f} s  {sentence}", flush=True)


if __name__ == "__main__":
    main()
