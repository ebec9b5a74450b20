"""Hostile files in done/, dlq/ and rejected/: every command looks at them and none falls over, or deletes one."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.maintenance.rejected_files import RejectedFiles
from queuectl.maintenance.retention import Retention
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.monitor import wait
from queuectl.spool.session import Session
from queuectl.spool.stripes import Stripes
from queuectl.system.clock import Clock
from tests.cli.commands import Commands, Result, run_on_terminal
from tests.helpers import names_in
from tests.hostile.corpus import CORPUS, PAYLOADS, Case
from tests.hostile.ground import Ground, fingerprint, make_ground

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links, FIFOs, sockets and names that Windows has not")

AT_REST = [case for case in CORPUS if case.folder in (DONE, DLQ, REJECTED)]
# What may never reach a terminal but for colours; a line feed ends a row.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A spool with the files at rest in it, and those of running/ and pending/ that a look must stand."""
    made = make_ground(tmp_path)
    monkeypatch.setenv("QUEUECTL_SPOOL", made.spool.root)
    monkeypatch.chdir(made.work)
    made.put(AT_REST, mtime_at=1e9)
    return made


@pytest.fixture
def queuectl(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Commands on that spool. Who waits for a job looks soon whether it is there at all."""
    monkeypatch.setattr(wait, "_THERE_EVERY_S", 0.1)
    return Commands(monkeypatch)


def changed(ground: Ground, cases: list[Case]) -> list[str]:
    """The cases whose file is not what it was."""
    return [
        case.name
        for case in cases
        if not os.path.lexists(ground.path(case)) or fingerprint(ground.path(case)) != ground.prints[case.name]
    ]


def looks(ground: Ground) -> Iterator[tuple[str, ...]]:
    """Every command that only looks, at everything there is."""
    yield ("status",)
    yield ("status", "--json")
    yield ("list", "--limit", "0")
    yield ("list", "--limit", "0", "--json")
    # Each reads a thousand files again: what is printed of a job is the same in both forms of `list` above.
    yield ("list", "--limit", "0", "--tag", "x")
    yield ("list", "--limit", "0", "--state", "done", "--json")
    for form in ((), ("--json",)):
        yield ("list", "--limit", "0", "--state", "rejected", *form)
    yield ("list",)
    yield ("dlq", "list", "--limit", "0")
    yield ("dlq", "purge", "--all", "--dry-run")
    yield ("worker", "list")
    yield ("stats", "--json")
    yield ("history",)


def check(result: Result) -> None:
    """A command ended by its own rules, and nothing it printed can act on a terminal."""
    assert result.code in (0, 1, 3, 75), result
    assert "Traceback" not in result.err
    assert not UNSAFE.search(result.out.replace("\t", "")), UNSAFE.search(result.out.replace("\t", ""))
    assert not UNSAFE.search(result.err), result.err


@pytest.mark.parametrize("every", [20, pytest.param(3, marks=pytest.mark.slow)])
def test_commands_look_at_anything(queuectl: Commands, ground: Ground, every: int) -> None:
    """P6, P11: list, status and their like show what they can of a spool full of hostile files, and change nothing."""
    waiting = [case for case in CORPUS if case.folder in (PENDING, RUNNING) and "cut-" not in case.name]
    ground.put(waiting[::every])
    for words in looks(ground):
        check(queuectl(*words, code=0))
    assert changed(ground, ground.cases) == []


def test_list_reports_what_is_no_file(queuectl: Commands, tmp_path: Path, ground: Ground) -> None:
    """P11: a FIFO in pending/ is left alone and told of, by name, in `list`."""
    os.mkfifo(ground.spool.path(PENDING, "fifo.json"))
    assert "fifo.json" in queuectl("list", "--state", "pending").err


def test_commands_stand_what_lies_in_the_machinery(queuectl: Commands, ground: Ground) -> None:
    """P6: a pool's record that is none ends no command."""
    for number, text in enumerate(("[" * 100_000, '{"pool": 1}', '{"pool": "x", "host": "y", "pid": 1e999}', "\0")):
        Path(ground.spool.pool_dir, f"x{number}.json").write_text(text)
    os.mkfifo(os.path.join(ground.spool.pool_dir, "fifo.json"))
    for words in (("status",), ("worker", "list")):
        check(queuectl(*words, code=0))


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_commands_look_at_any_job(queuectl: Commands, ground: Ground, every: int) -> None:
    """P6: show and logs tell of each hostile job, or say what is wrong with it."""
    for case in AT_REST[::every]:
        stem = case.file.removesuffix(".json")
        for words in (("show",), ("show", "--json"), ("logs",)):
            result = queuectl(*words, "--", stem, code=None)
            check(result._replace(code=0 if result.code == 2 else result.code))  # the beginning of several
    assert changed(ground, AT_REST) == []


@pytest.mark.parametrize("every", [40, pytest.param(5, marks=pytest.mark.slow)])
def test_any_job_can_be_explained_and_waited_for(queuectl: Commands, ground: Ground, every: int) -> None:
    """P6: why, wait and logs --follow end for hostile jobs; their code may be the job's own."""
    for case in AT_REST[::every]:
        stem = case.file.removesuffix(".json")
        check(queuectl("why", "--", stem, code=None)._replace(code=0))
        result = queuectl("wait", "--timeout", "0", "--", stem, code=None)
        check(result._replace(code=0))
        if case.folder in (DONE, DLQ) and result.code not in (2, 3, 124):
            check(queuectl("logs", "-f", "--", stem, code=None)._replace(code=0))
    assert changed(ground, AT_REST) == []


def test_commands_that_change_leave_what_is_no_file(queuectl: Commands, ground: Ground) -> None:
    """P11: a link, FIFO, socket or folder in dlq/ is neither retried nor purged by its name, and is told as such."""
    for kind in ("link-outside", "link-loop", "link-folder", "fifo", "socket", "folder"):
        for words in (("dlq", "retry"), ("dlq", "purge", "--yes"), ("show",)):
            result = queuectl(*words, f"d-{kind}", code=1)
            assert "not a regular file" in result.err, (kind, words)
    assert changed(ground, AT_REST) == []


def test_retry_of_everything_takes_the_jobs_and_leaves_the_rest(queuectl: Commands, ground: Ground) -> None:
    """P6, P7: `dlq retry --all --yes` requeues every record there is; what is none stays, unchanged."""
    check(queuectl("dlq", "retry", "--all", "--yes", code=None))
    waiting = {name.removesuffix(".json") for name in names_in(ground.spool, PENDING)}
    assert {f"d-payload-{name}" for name in PAYLOADS} <= waiting
    assert {"d-at-garbage", "d-took", "d-code", "d-lease-up", "d-many"} <= waiting
    stayed = [case for case in AT_REST if case.folder != DLQ or case.file.removesuffix(".json") not in waiting]
    assert changed(ground, stayed) == []
    assert len([case for case in stayed if case.folder == DLQ]) > 25


def test_retention_deletes_only_records(ground: Ground) -> None:
    """P6: retention passes over whatever is no finished job, however old its file is."""
    settings = Spool(ground.spool.root).settings._replace(keep_done=3600.0, keep_dlq=3600.0)
    stripes = Stripes(ground.spool)
    retention = Retention(Session(ground.spool, settings, Clock(), random.Random(1)), stripes, notify=lambda _: None)
    assert [retention.step() for _ in range(3)] == [0, 0, 0]
    stripes.close()
    assert changed(ground, AT_REST) == []


def test_rejected_files_are_looked_at_again_and_left(ground: Ground) -> None:
    """P6, P11: the way back from rejected/ is open to jobs only, also where a file is new, linked, huge or torn."""
    settings = Spool(ground.spool.root).settings
    rejected = RejectedFiles(Session(ground.spool, settings, Clock(), random.Random(1)))
    assert rejected.readmit() == []
    for case in AT_REST:
        if case.folder == REJECTED:
            os.utime(ground.path(case), (1e9, 1e9), follow_symlinks=False)
    healed = rejected.readmit()
    assert "r-drop.json" in healed  # it is a valid job, and it was touched
    gone = [case for case in AT_REST if case.file not in healed]
    ids = {case.file for case in AT_REST if not os.path.lexists(ground.path(case))}
    assert ids == set(healed)
    assert all(os.path.lexists(ground.path(case)) for case in gone)


@pytest.mark.slow
def test_terminal_shows_text_and_obeys_none(ground: Ground) -> None:
    """On a terminal nothing of a job moves the cursor, sets a title, makes a link, or is read as markup."""
    for words in (("list", "--limit", "0"), ("status",), ("list", "--state", "rejected"), ("dlq", "list")):
        text = run_on_terminal(*words, env={"TERM": "xterm-256color", "COLUMNS": "400"})
        plain = COLOUR.sub("", text)
        assert not UNSAFE.search(plain.replace("\r", "")), words
    text = run_on_terminal("show", "d-payload-markup")
    assert "[red]fake[/red][link=http://evil.example]x[/link][/]:skull:" in text
    for name in PAYLOADS:
        plain = COLOUR.sub("", run_on_terminal("show", f"d-payload-{name}", env={"COLUMNS": "400"}))
        assert not UNSAFE.search(plain.replace("\r", "")), name


def test_piped_rows_cannot_be_faked(queuectl: Commands, ground: Ground) -> None:
    """A line feed or a tab in a job's text makes no row and no column in a pipe."""
    rows = queuectl("list", "--limit", "0").rows
    assert {len(row) for row in rows} == {7}
    assert "fake" not in {row[0] for row in rows}
    assert {row[1] for row in rows} == {"done", "dlq"}
    rejected = queuectl("list", "--state", "rejected", "--limit", "0").rows
    assert {len(row) for row in rejected} == {5}
