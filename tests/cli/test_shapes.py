"""What commands that read print: 80 columns on a terminal, no escape codes in a pipe, JSON with --json."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from queuectl.model import settings as config
from queuectl.model.lifecycle import REJECTED, Outcome
from queuectl.spool import pause, pools
from queuectl.spool.folder import SpoolDir
from queuectl.spool.session import Session
from queuectl.system.clock import Clock
from tests.cli.commands import Commands
from tests.helpers import Desk, make_spool, write_drop

LONG = "convert --quality 90 " + " ".join(f"picture{number:03d}.png" for number in range(30))
WITH_JSON = [
    "status",
    "list",
    "list --state rejected",
    "show dead",
    "show later",
    "why later",
    "why dead",
    "stats",
    "history",
    "dlq list",
    "config list",
    "worker list",
]
READING = [*WITH_JSON, "top", "config get kill_grace_s"]
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpoolDir]:
    """A spool with a short path, and with a long text wherever one can be."""
    with tempfile.TemporaryDirectory(prefix="q", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("COLUMNS", "80")
        made = make_spool(Path(folder) / "s")
        desk = Desk(made, clock=Clock())
        failed = Outcome("failed", 3, reason="it said: " + "no such file, " * 20, duration_s=1.5)
        desk.run(desk.enqueue(id="dead", command=LONG, max_retries=0, tags=["nightly"]), failed)
        desk.run(desk.enqueue(command=LONG), Outcome("succeeded", 0, duration_s=2.0))
        desk.run(desk.enqueue(id="again", command=LONG), failed)
        desk.start(desk.enqueue(id="now", command=LONG, timeout=60))
        desk.enqueue(id="later", command=LONG.split(), delay=5000)
        desk.enqueue(command=LONG)
        write_drop(made, "bad.json", "{", REJECTED)
        write_drop(
            made, "bad.json.reason.txt", "Rejected 2027-01-15T08:00:00Z\nWhy: no JSON " + "at all " * 40, REJECTED
        )
        pause.pause(made, "disk full " * 20, until_at=None)
        yield made
        desk.close()


@pytest.mark.parametrize("words", READING)
def test_terminal_lines_have_eighty_columns(queuectl: Commands, words: str) -> None:
    """On a terminal no line is wider than it, whatever jobs are called and say."""
    queuectl.on_terminal = True
    result = queuectl(*words.split())
    lines = _ESCAPES.sub("", result.out + result.err).splitlines()
    assert lines
    assert [line for line in lines if cell_len(line) > 80] == []


@pytest.mark.parametrize("columns", [50, 80])
@pytest.mark.parametrize("words", ["list", "dlq list", "list --state pending", "list --state rejected", "history"])
def test_tables_fit_and_the_text_gets_the_room(
    queuectl: Commands, spool: SpoolDir, monkeypatch: pytest.MonkeyPatch, words: str, columns: int
) -> None:
    """At 50 columns too nothing wraps, the command can be read, and a shortened id is one that commands take."""
    monkeypatch.setenv("COLUMNS", str(columns))
    queuectl.on_terminal = True
    heading, *rows = _ESCAPES.sub("", queuectl(*words.split()).out).splitlines()
    assert max(map(cell_len, (heading, *rows))) <= columns
    text = "COMMAND" if "COMMAND" in heading else "ERROR" if "ERROR" in heading else "OUTCOME"
    at = heading.index(text)
    room = (heading.index("ERROR") if "ERROR" in heading[at + 1 :] else columns) - at - 2
    assert room >= (12 if columns == 50 else 20)
    queuectl.on_terminal = False
    if "ID" in heading.split():
        at = heading.index("ID")
        for row in rows:
            queuectl("show", row[at:].split()[0])


@pytest.mark.parametrize("words", [*READING, "logs dead"])
def test_pipe_gets_no_escape_codes(queuectl: Commands, words: str) -> None:
    """In a pipe there is text and nothing else, whole."""
    result = queuectl(*words.split())
    assert "\x1b" not in result.out + result.err
    assert "…" not in result.out


@pytest.mark.parametrize("words", WITH_JSON)
def test_instants_in_json_are_rfc_3339_in_utc(queuectl: Commands, spool: SpoolDir, words: str) -> None:
    """Every output writes an instant in one way, the times of pools included."""
    pool = pools.Pool(Session(spool, config.defaults(), Clock(), random.Random(1)), count=1, cwd=spool.root)
    pool.enter()
    try:
        found = dict(_instants(queuectl(*words.split(), "--json").json))
    finally:
        pool.leave(pools.StopSummary([], 0), clean=True)
    assert {key: value for key, value in found.items() if not _INSTANT.fullmatch(str(value))} == {}
    assert found or words in ("why dead", "why later", "stats", "config list")


def _instants(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return the places of a document that hold an instant, by their key or by their value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        is_one = str(key) == "at" or str(key).endswith("_at") or (isinstance(item, int | float) and 1e9 < item < 1e10)
        if is_one and item is not None:
            yield f"{path}/{key}", item
        yield from _instants(item, f"{path}/{key}")


@pytest.mark.parametrize("words", WITH_JSON)
def test_json_is_json(queuectl: Commands, words: str) -> None:
    """--json is one document with a version, on a terminal too."""
    for queuectl.on_terminal in (False, True):
        assert json.loads(queuectl(*words.split(), "--json").out)["version"] == 1
