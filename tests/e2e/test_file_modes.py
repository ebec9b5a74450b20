"""Who may read what queuectl writes: files of jobs are their owner's alone, until the settings open them to a group."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.model.lifecycle import Outcome
from queuectl.model.setting import COUNTS
from queuectl.spool import pools
from queuectl.spool.folder import SpoolDir
from queuectl.spool.layout import FACTS, PAGE
from tests.helpers import Desk, let_others_enter, wait_until, write_drop
from tests.pool import Pool, queuectl

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="access lists decide on Windows")

SECRET = {"TOKEN": "s3cret"}
# What holds the texts of jobs, so that one of them open to others is a leak.
PRIVATE = ("pending", "running", "done", "dlq", "rejected", "logs", ".queuectl/tmp", ".queuectl/taken")


def _modes(spool: SpoolDir) -> dict[str, int]:
    found = {}
    for folder in PRIVATE:
        for path in Path(spool.root, folder).iterdir():
            with contextlib.suppress(FileNotFoundError):  # a pool that ends writes its page through tmp/
                if path.is_file() and path.name != "README.txt":
                    found[f"{folder}/{path.name}"] = stat.S_IMODE(path.stat().st_mode)
    return found


def _use_every_file(spool: SpoolDir) -> None:
    """Leave a file of every kind: waiting, finished and dead records, logs, error texts, refused documents."""
    for job_id, command in (("good", "echo $TOKEN"), ("bad", "echo $TOKEN; exit 1")):
        document = {"id": job_id, "command": command, "env": SECRET, "max_retries": 0}
        queuectl(spool, "enqueue", json.dumps(document))
    write_drop(spool, "dropped.json", {"command": "echo $TOKEN", "env": SECRET})
    write_drop(spool, "wrong.json", {"command": "true", "env": SECRET, "timeout": -1})
    write_drop(spool, "many.json", [{"id": "one", "command": "true", "env": SECRET}])
    os.chmod(spool.path("pending", "dropped.json"), 0o644)
    os.chmod(spool.path("pending", "wrong.json"), 0o644)
    with Pool(spool, "--drain", count=1) as pool:
        assert pool.wait() == 0
    queuectl(spool, "worker", "start", "--count", "1", "--drain", "--detach")
    # Its last files, which have their modes when they are done, may be written after its record is gone.
    wait_until(lambda: pools.live(spool) == [] and os.listdir(spool.tmp_dir) == [])
    queuectl(spool, "enqueue", json.dumps({"id": "later", "command": "true", "env": SECRET, "delay": "1h"}))


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_nobody_else_reads_files_of_jobs(spool: SpoolDir, umask: int) -> None:
    """Files of jobs are 0600 whatever the umask; a refused drop keeps the mode that it came with."""
    before = os.umask(umask)
    try:
        _use_every_file(spool)
    finally:
        os.umask(before)
    modes = _modes(spool)
    assert modes.pop("rejected/wrong.json") == 0o644
    expected = {
        *(f"done/{name}.json" for name in ("good", "dropped")),
        *("dlq/bad.json", "dlq/bad.error.txt", "rejected/wrong.json.reason.txt"),
        *(f"logs/{name}.1.log" for name in ("good", "bad", "dropped")),
    }
    assert expected < set(modes)
    for start in (".queuectl/taken/many-", "logs/pool-", "pending/later,"):
        assert any(name.startswith(start) for name in modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o600} == {}
    assert {stat.S_IMODE(os.stat(os.path.join(spool.root, name)).st_mode) for name in (PAGE, FACTS)} == {0o600}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_setting_opens_new_files_to_the_group(spool: SpoolDir, umask: int) -> None:
    """With group_access = "read" the group may read what is written from then on, and never write it (P10)."""
    queuectl(spool, "config", "set", "group-access", "read")
    before = os.umask(umask)
    try:
        _use_every_file(spool)
    finally:
        os.umask(before)
    modes = _modes(spool)
    modes.pop("rejected/wrong.json")
    assert {name: oct(mode) for name, mode in modes.items() if mode != 0o640} == {}


def test_another_user_reads_no_secret(spool: SpoolDir) -> None:
    """A second user who may enter the spool finds its secret in none of the files, and may list it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become a second user")
    _use_every_file(spool)
    let_others_enter(spool)
    code = (
        "import os, sys\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345)\n"
        "for folder, _, names in os.walk(sys.argv[1]):\n"
        "    for name in names:\n"
        "        try: data = open(os.path.join(folder, name), 'rb').read()\n"
        "        except PermissionError: print('refused'); continue\n"
        "        if b's3cret' in data: print('LEAK', os.path.join(folder, name))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, spool.root], capture_output=True, text=True, check=True)
    leaks = [line for line in done.stdout.splitlines() if line.startswith("LEAK")]
    assert [os.path.basename(line) for line in leaks] == ["wrong.json"]  # its own mode, as it was dropped
    assert "refused" in done.stdout


def test_settings_keep_the_mode_they_have(spool: SpoolDir) -> None:
    """`config set` does not open a queuectl.toml that its owner has closed, whose commands may name secrets."""
    os.chmod(spool.settings_path, 0o600)
    queuectl(spool, "config", "set", "max-retries", "5")
    assert stat.S_IMODE(os.stat(spool.settings_path).st_mode) == 0o600


def test_texts_for_everybody_stay_readable(spool: SpoolDir) -> None:
    """What describes a spool and holds no job (README.txt, the schema, the settings of a new spool) stays readable."""
    for path in (spool.readme_path, spool.schema_path, spool.settings_path, spool.path("dlq", "README.txt")):
        assert stat.S_IMODE(os.stat(path).st_mode) & ~0o644 == 0
        assert stat.S_IMODE(os.stat(path).st_mode) & 0o400


def test_figures_without_texts_are_for_everybody(spool: SpoolDir) -> None:
    """A page of counts and the figures for Prometheus hold no text of a job, so another user may read them."""
    queuectl(spool, "config", "set", "dashboard", COUNTS)
    queuectl(spool, "config", "set", "metrics", "true")
    before = os.umask(0o022)
    try:
        _use_every_file(spool)
    finally:
        os.umask(before)
    for name in (PAGE, FACTS, "queuectl.prom"):
        assert stat.S_IMODE(os.stat(os.path.join(spool.root, name)).st_mode) == 0o644


def test_check_tells_of_older_open_files_in_one_line(spool: SpoolDir, desk: Desk) -> None:
    """Files that an older queuectl left open are one note with the command that closes them, and no problem."""
    for number in range(3):
        path = Path(spool.path("done", f"old{number}.json"))
        desk.run(desk.enqueue(id=f"old{number}"), Outcome("succeeded", 0, "", 0.1))
        path.chmod(0o644)
    let_others_enter(spool)
    findings = json.loads(queuectl(spool, "check", "--json"))["findings"]
    (found,) = [item for item in findings if item["code"] == "open-files"]
    assert found["severity"] == "info"
    assert "3 files" in found["text"]
    assert "chmod" in found["text"]
