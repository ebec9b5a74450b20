"""What is printed of hostile text: by the pool, by logs, in errors and in reasons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.model.lifecycle import PENDING, REJECTED
from tests.cli.commands import Commands, run_on_terminal
from tests.hostile.corpus import CORPUS, ENQUEUED, PAYLOADS, STARTED, framed
from tests.hostile.ground import Ground, make_ground
from tests.hostile.test_at_rest import COLOUR, UNSAFE

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal, and names that Windows has not")

HOSTILE = [
    case
    for case in CORPUS
    if case.folder == PENDING and case.name.startswith(("payload-", "name-")) and not case.file.endswith("l")
]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A spool that jobs with hostile text wait in."""
    made = make_ground(tmp_path, settle_s="0.1")
    monkeypatch.setenv("QUEUECTL_SPOOL", made.spool.root)
    monkeypatch.chdir(made.work)
    return made


@pytest.fixture
def queuectl(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands on that spool."""
    return Commands(monkeypatch)


@pytest.mark.parametrize("how", ["pipe", "terminal", "json"])
def test_worker_lines_are_one_line_each_and_do_nothing(ground: Ground, how: str) -> None:
    """P6: whatever a job, a file's name or a reason says, a worker's line is one line of harmless characters."""
    ground.put([case for case in HOSTILE if case.name != "name-far"])
    words = ["worker", "start", "--drain", *(["--log-format", "json"] if how == "json" else [])]
    if how == "terminal":
        printed = COLOUR.sub("", run_on_terminal(*words)).replace("\r", "")
    else:
        argv = [sys.executable, "-m", "queuectl", *words]
        printed = subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout.decode(
            "ascii" if how == "json" else "utf-8"
        )
    assert not UNSAFE.search(printed)
    lines = printed.splitlines()
    assert len(lines) > len(HOSTILE)
    if how == "json":
        assert all("event" in json.loads(line) for line in lines)
    else:
        assert not [line for line in lines if line.startswith("fake")]
        assert "[red]" in printed


def test_logs_cannot_act_on_a_terminal(ground: Ground, queuectl: Commands) -> None:
    """On a terminal a log is shown with its controls written out; in a pipe its bytes are what the command wrote."""
    ground.put([case for case in HOSTILE if case.name.endswith("-printed")])
    argv = [sys.executable, "-m", "queuectl"]
    subprocess.run([*argv, "worker", "start", "--drain"], capture_output=True, timeout=60, check=True)
    for name, text in PAYLOADS.items():
        job_id = f"p-{name}-printed"
        shown = COLOUR.sub("", run_on_terminal("logs", job_id)).replace("\r", "")
        assert not UNSAFE.search(shown.replace("\t", "")), name
        assert queuectl("logs", job_id).out == text


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_logs_opens_only_logs(ground: Ground, queuectl: Commands, kind: str, tmp_path: Path) -> None:
    """logs/ may be open to others (P10): what is no file there is neither followed nor waited for."""
    Path(ground.spool.path("done", "a.json")).write_bytes(framed("a", ENQUEUED, STARTED))
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = Path(ground.spool.log_path("a", 1))
    {"fifo": os.mkfifo, "link": lambda p: p.symlink_to(secret), "folder": Path.mkdir}[kind](path)
    result = queuectl("logs", "a", code=1)
    assert "not a regular file" in result.err
    assert result.out == ""


@pytest.mark.parametrize("name", PAYLOADS)
def test_errors_show_text_and_obey_none(ground: Ground, queuectl: Commands, name: str) -> None:
    """An error that quotes what was typed or read cannot act on the terminal."""
    text = PAYLOADS[name]
    document = json.dumps({"command": "true", "id": text})
    calls = (
        ("show", "--", text),
        ("logs", "--", text),
        ("list", "--state", text),
        ("dlq", "retry", "--", text),
        ("dlq", "purge", "--yes", "--", text),
        ("enqueue", document),
        ("enqueue", json.dumps({"command": "true", "timeout": text})),
        ("enqueue", f'{{"{name}": '),
        ("enqueue", json.dumps({"comand": text})),
        ("config", "get", "--", text),
        ("--spool", f"/nonexistent/{text}", "status"),
        ("worker", "start", "--count", text),
        (text,),
    )
    for words in calls:
        result = queuectl(*words, code=None)
        assert result.code != 0, words
        assert "Traceback" not in result.err
        assert not UNSAFE.search(result.err), (words, result.err)
        assert not UNSAFE.search(result.out), (words, result.out)


def test_warnings_of_enqueue_are_harmless(ground: Ground, queuectl: Commands) -> None:
    """A key that is nearly a known one is quoted in a warning, whatever else is in it."""
    result = queuectl(
        "enqueue", json.dumps({"command": "true", "Time\x1b[2Jout": 1, "time\u202eout": 2, "max_retrys": 3})
    )
    assert "max_retrys" in result.err
    assert not UNSAFE.search(result.err)


@pytest.mark.parametrize("name", PAYLOADS)
def test_reason_that_somebody_wrote_is_harmless(ground: Ground, queuectl: Commands, name: str) -> None:
    """A reason is a file that anybody may have written: its text, too, is only shown."""
    Path(ground.spool.path(REJECTED, "x.json")).write_bytes(b"{")
    text = f"x\n\nWhy:   {PAYLOADS[name]}\nTo do: nothing\n\nRejected {PAYLOADS[name]}, version x\n"
    Path(ground.spool.reason_path("x.json")).write_text(text)
    for words in (["status"], ["list", "--state", "rejected"], ["status", "--json"]):
        assert not UNSAFE.search(queuectl(*words).out.replace("\t", ""))
    assert len(queuectl("list", "--state", "rejected").rows) == 1


def test_name_cannot_fake_the_reason(ground: Ground, queuectl: Commands) -> None:
    """P6: a file name with a line feed in it does not become a line of the reason beside it."""
    name = "x\nWhy:   all is well\nTo do: run it.json"
    Path(ground.spool.path(PENDING, name)).write_bytes(b"{")
    argv = [sys.executable, "-m", "queuectl", "worker", "start", "--drain"]
    subprocess.run(argv, capture_output=True, timeout=60, check=True)
    rows = queuectl("list", "--state", "rejected").rows
    assert len(rows) == 1
    assert rows[0][3].startswith("it is not complete JSON")


def test_paused_reason_is_harmless(ground: Ground, queuectl: Commands) -> None:
    """PAUSED may be made by anyone: its first line is shown, not obeyed; a FIFO in its place is not waited for."""
    path = Path(ground.spool.paused_path)
    for text in PAYLOADS.values():
        path.write_text(text)
        assert not UNSAFE.search(queuectl("status").out)
    path.unlink()
    os.mkfifo(path)
    assert "paused" in queuectl("status").out


def test_file_of_a_record_is_told_where_its_name_is_no_text(ground: Ground) -> None:
    """P6: a job dropped under a name that is no UTF-8 runs; the name is kept as far as text can hold it."""
    Path(ground.spool.path(PENDING, os.fsdecode(b"b\xfcro.json"))).write_text('{"command": "true"}')
    argv = [sys.executable, "-m", "queuectl", "worker", "start", "--drain"]
    subprocess.run(argv, capture_output=True, timeout=60, check=True)
    (job,) = Spool(ground.spool.root).jobs("done")
    assert (job.id, job.history[0]["file"]) == ("b-ro", "b\\xfcro.json")
