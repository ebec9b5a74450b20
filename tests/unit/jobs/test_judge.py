"""judge: what a file in pending/ is, said without touching it."""

from __future__ import annotations

import codecs
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from queuectl.jobs.judge import WRITER_S
from queuectl.jobs.verdict import (
    Arriving,
    Claimed,
    Foreign,
    Gone,
    Open,
    Rejected,
    Split,
    Unreadable,
)
from queuectl.model import names, record
from queuectl.model.lifecycle import PENDING, REJECTED, RUNNING, Outcome
from queuectl.system import files
from tests.helpers import NOON_AT, Desk, listing, rejected_name, unreadable, write_drop

JOB: dict[str, Any] = {"command": "echo hello"}
OK = Outcome("succeeded", 0, "", 0.01)
WINDOWS = sys.platform == "win32"
posix_only = pytest.mark.skipif(WINDOWS, reason="POSIX: links, FIFOs, modes, limits, moves while open")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")
@pytest.mark.parametrize("document", [JOB, [JOB, JOB]], ids=["one", "many"])
def test_whole_drop_is_left_to_its_writer_for_a_moment(desk: Desk, document: object) -> None:
    """The last step of a copy finds its file: a drop is not taken from a writer that was at it within the second."""
    desk.drop("job1.json", document)
    path = Path(desk.spool.path(PENDING, "job1.json"))
    with path.open("r+b"):
        desk.clock.now_at = path.stat().st_ctime + WRITER_S - 0.01
        assert isinstance(desk.decline("job1.json"), Open)
        assert listing(desk.spool) == {"pending": ["job1.json"]}
    assert isinstance(desk.claim("job1.json"), Claimed) == isinstance(document, dict)
    assert listing(desk.spool) != {"pending": ["job1.json"]}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who writes")
@pytest.mark.parametrize(("data", "verdict"), [(b'{"command": "ec', Arriving), (b'{"command": 5}', Rejected)])
def test_a_writer_changes_nothing_about_a_drop_that_is_no_job(desk: Desk, data: bytes, verdict: type) -> None:
    """An incomplete one is watched, and an invalid one is refused: neither is tried again each moment."""
    desk.drop("job1.json", data)
    path = Path(desk.spool.path(PENDING, "job1.json"))
    with path.open("r+b"):
        desk.clock.now_at = path.stat().st_ctime
        assert isinstance(desk.decline("job1.json"), verdict)


@posix_only
@pytest.mark.parametrize("since_s", [WRITER_S, -5])
def test_drop_that_is_held_open_runs_all_the_same(desk: Desk, since_s: float) -> None:
    """JSON proves itself: a handle that nobody closes, and a clock that was set back, hold up nothing (P1)."""
    desk.drop("job1.json", JOB)
    path = Path(desk.spool.path(PENDING, "job1.json"))
    desk.clock.now_at = path.stat().st_ctime + since_s
    with path.open("r+b"):
        desk.start("job1.json")


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
    ],
)
def test_drop_of_any_editor_is_a_job(desk: Desk, encode: Any) -> None:
    """Byte order marks, UTF-16 and CRLF become plain UTF-8 when the job is taken in."""
    claimed = desk.start(desk.drop("x.json", encode('{\n"command": "echo grüße 日本"\n}\n')))
    assert claimed.record.command == "echo grüße 日本"
    assert record.is_framed(Path(desk.spool.path(RUNNING, "x.json")).read_bytes())


def test_lines_wait_until_they_are_quiet(desk: Desk) -> None:
    """A file of lines is whole at every line end, so only quiet proves that it is (P6)."""
    name = desk.drop("jobs.jsonl", '{"command": "a"}\n{"command": "b"}\n')
    declined = desk.decline(name)
    assert isinstance(declined, Arriving) and declined.why == ""
    assert declined.sig == files.sig_of(desk.spool.path(PENDING, name))
    assert listing(desk.spool) == {"pending": [name]}
    split = desk.claims.splits.split(name)
    assert isinstance(split, Split) and split.jobs == 2
    assert len(listing(desk.spool)["pending"]) == 2
    assert isinstance(desk.claims.splits.split(name), Gone)


def test_file_of_lines_with_a_name_like_ours_is_no_single_job(desk: Desk) -> None:
    """The ending says what is in a file, whatever its stem looks like."""
    name = desk.drop(names.generate_id(NOON_AT, desk.rng) + ".jsonl", '{"command": "a"}\n')
    assert isinstance(desk.decline(name), Arriving)
    assert listing(desk.spool) == {"pending": [name]}


@pytest.mark.parametrize(
    "content",
    [
        "5",
        "[]",
        '{"comand": "x"}',
        '{"command": "x", "command": "y"}',
        '{"command": "x", "a": NaN}',
        {**JOB, "id": "../../x"},
        {**JOB, "id": "NUL"},
        {**JOB, "id": "a.tmp"},
        {**JOB, "timeout": -1},
        {**JOB, "max_retries": 10**400},
        {**JOB, "history": [5]},
        {**JOB, "format": 3},
        {**JOB, "customer": "\ud800"},
        "[" * 100_000 + "]" * 100_000,
        '{"command": "x", "a": ' + "9" * 5000 + "}",
        '{"command": "x", "a": 1e999}',
        {"command": []},
        {"command": "a\0b"},
    ],
)
@pytest.mark.parametrize("generated", [False, True])
def test_what_can_never_be_a_job_is_rejected_at_once(desk: Desk, content: object, generated: bool) -> None:
    """Whole JSON that is no job goes to rejected/, or is refused when quiet: no crash, nothing else touched (P6)."""
    name = f"{names.generate_id(NOON_AT, desk.rng)}.json" if generated else "x.json"
    before = Path(write_drop(desk.spool, name, content)).read_bytes()
    good = desk.enqueue()
    declined = desk.decline(name)
    if generated and isinstance(declined, Arriving):
        assert declined.sig is not None
        declined = desk.triage.reject_quiet(name, declined)
    assert isinstance(declined, Rejected)
    assert declined.why
    assert Path(desk.spool.path(REJECTED, rejected_name(desk.spool))).read_bytes() == before
    assert os.listdir(desk.spool.tmp_dir) == []
    desk.run(good, OK)


def test_sparse_giant_costs_nothing(desk: Desk) -> None:
    """Eight gigabytes of nothing are neither read nor a job (P6)."""
    for name in ("x.json", f"{names.generate_id(NOON_AT, desk.rng)}.json"):
        with open(desk.spool.path(PENDING, name), "wb") as file:
            file.truncate(8 << 30)
        declined = desk.decline(name)
        assert isinstance(declined, Arriving)
        assert declined.sig is not None
        assert "larger" in declined.why
        assert isinstance(desk.triage.reject_quiet(name, declined), Rejected)


@posix_only
@pytest.mark.parametrize("generated", [False, True])
@pytest.mark.parametrize("kind", ["folder", "link", "fifo", "dangling"])
def test_strange_files_are_left_alone(desk: Desk, tmp_path: Path, kind: str, generated: bool) -> None:
    """Links, folders and FIFOs are somebody else's: declined without trouble, where they are (P6, P11)."""
    stem = names.generate_id(NOON_AT, desk.rng) if generated else "x"
    path = Path(desk.spool.path(PENDING, f"{stem}.json"))
    target = tmp_path / "target.json"
    target.write_text(json.dumps(JOB))
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(target)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    assert isinstance(desk.decline(path.name), Foreign)
    assert listing(desk.spool) == {"pending": [path.name]}
    assert target.read_text() == json.dumps(JOB)


def test_name_that_is_no_jobs_is_foreign(desk: Desk) -> None:
    """Only NAME.json and NAME.jsonl are looked at (P11)."""
    for name in ("notes.txt", ".x.json", "x.json.part", "~x.json"):
        assert isinstance(desk.decline(desk.drop(name, JOB)), Foreign)
    assert len(listing(desk.spool)["pending"]) == 4


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs mode bits, and a user whom they bind")
@pytest.mark.parametrize("generated", [False, True])
def test_file_that_may_not_be_read_is_looked_at_later(desk: Desk, generated: bool) -> None:
    """A mode that forbids reading means "later", never "bad", and no trouble for the pool (P6)."""
    name = f"{names.generate_id(NOON_AT, desk.rng) if generated else 'x'}.json"
    os.chmod(write_drop(desk.spool, name, JOB), 0)
    assert isinstance(desk.decline(name), Unreadable)
    assert listing(desk.spool) == {"pending": [name]}


@pytest.mark.parametrize("code", ["EACCES", "EIO", "EPERM"])
@pytest.mark.parametrize("generated", [False, True])
def test_file_that_cannot_be_read_now_is_looked_at_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, code: str, generated: bool
) -> None:
    """A share that hiccups makes no job bad, and one file that cannot be read stops no pool (P6)."""
    name = f"{names.generate_id(NOON_AT, desk.rng) if generated else 'x'}.json"
    desk.drop(name, JOB)
    with unreadable(monkeypatch, code, only=name):
        assert isinstance(desk.decline(name), Unreadable)
    assert listing(desk.spool) == {"pending": [name]}
    assert isinstance(desk.claim(name), Claimed)


@pytest.mark.parametrize("owner", ["a,hold", "../x", "o" * 33, "con", "a.tmp", 7])
def test_owner_that_can_stand_in_no_name_is_refused(desk: Desk, owner: object) -> None:
    """Neither a drop nor a record that was changed by hand brings an owner into a name that could do harm (P6)."""
    declined = desk.decline(desk.drop("x.json", {**JOB, "owner": owner}))
    assert isinstance(declined, Rejected) and "owner" in declined.why
    path = Path(desk.spool.path(PENDING, desk.enqueue(id="y", owner="anna")))
    path.write_bytes(path.read_bytes().replace(b'"anna"', json.dumps(owner).encode()))
    assert isinstance(desk.decline(path.name), Rejected)
