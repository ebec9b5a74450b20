"""environment: what a command with minimal_env sees; and that a worker obeys it."""

from __future__ import annotations

import json
import os
import random
import sys
from multiprocessing import Pipe

import pytest

from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system import environment
from queuectl.system.clock import Clock
from queuectl.worker.worker import Worker
from tests.helpers import Desk, only, work_off

SECRETS = {"AWS_SECRET_ACCESS_KEY": "x", "LD_PRELOAD": "x", "PYTHONPATH": "x", "SSH_AUTH_SOCK": "x", "BASH_ENV": "x"}


def test_posix_commands_see_what_every_program_needs() -> None:
    """Nothing else of the worker's, and PATH is the system's, not the worker's."""
    given = {"HOME": "/h", "USER": "u", "LANG": "C", "LC_ALL": "C", "TZ": "UTC", "TMPDIR": "/t", "PATH": "/evil"}
    made = environment.minimal({**given, **SECRETS}, windows=False, default_path="/bin:/usr/bin")
    assert made == {**given, "PATH": "/bin:/usr/bin"}


def test_windows_names_count_in_any_case() -> None:
    """SystemRoot, ComSpec and Path are spelled in many ways."""
    given = {"SystemRoot": r"D:\Windows", "ComSpec": "c", "Path": r"C:\evil", "Temp": "t", "ProgramFiles(x86)": "p"}
    made = environment.minimal({**given, **SECRETS}, windows=True, default_path="")
    assert made.pop("PATH").startswith(r"D:\Windows\System32;D:\Windows;")
    del given["Path"]
    assert made == given


@pytest.mark.parametrize("minimal", [True, False])
def test_worker_obeys_minimal_env(desk: Desk, monkeypatch: pytest.MonkeyPatch, minimal: bool) -> None:
    """P10: a real command sees its job's env and the QUEUECTL_ variables, and the worker's own only without the key."""
    monkeypatch.setenv("WORKERS_SECRET", "x")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    command = [sys.executable, "-S", "-c", code]
    name = desk.enqueue({"command": command, "env": {"OWN": "1"}}, id="job", minimal_env=minimal)
    seen = run(desk.spool, name)
    assert seen["OWN"] == "1" and seen["QUEUECTL_JOB_ID"] == "job" and seen["QUEUECTL_ATTEMPT"] == "1"
    assert seen["QUEUECTL_SPOOL"] == desk.spool.root
    assert ("WORKERS_SECRET" in seen) is not minimal
    allowed = environment.minimal(os.environ, windows=os.name == "nt", default_path="")
    given = ["JOB_ID", "ATTEMPT", "SPOOL", "RESULT", "PROGRESS", "AGAIN"]
    known = {key.upper() for key in allowed} | {"OWN", *(f"QUEUECTL_{name}" for name in given)}
    # LC_CTYPE is put there by Python itself in a plain locale; Windows adds what it starts every process with.
    strange = {key for key in seen if key.upper() not in known | {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}}
    assert not minimal or not strange or os.name == "nt"


def run(spool: SpoolDir, name: str) -> dict[str, str]:
    """Have a real worker run one job; the environment that its command printed."""
    from queuectl.model import settings

    ours, theirs = Pipe()
    worker = Worker(theirs, Session(spool, settings.defaults(), Clock(), random.Random()), worker="w9", cwd=spool.root)
    try:
        work_off(worker, name)
    finally:
        worker._free[0].close()
        worker._stripes.close()
        ours.close()
        theirs.close()
    assert only(spool, "done") == "job.json"
    with open(spool.log_path("job", 1), encoding="utf-8") as file:
        seen: dict[str, str] = json.load(file)
    return seen
