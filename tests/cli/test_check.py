"""`queuectl check`: what it prints, and the exit code that says what is to be done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queuectl.model.lifecycle import DLQ, DONE, REJECTED, Outcome
from tests.cli.commands import Commands, run
from tests.helpers import Desk, names_in, write_drop

OK = Outcome("succeeded", 0, "", 0.01)


@pytest.fixture
def desk_(desk: Desk) -> Desk:
    """A worker whose clock is right."""
    desk.clock.now_at = 1_700_000_000.0
    return desk


def test_a_clean_spool_is_0_and_says_so(queuectl: Commands, desk_: Desk) -> None:
    """Nothing on standard output, the count on standard error, exit code 0."""
    desk_.run(desk_.enqueue(id="job1"), OK)
    result = queuectl("check")
    assert (result.out, result.err) == ("", "checked 1 job: no problems\n")


def test_what_can_be_repaired_is_10_until_it_is(queuectl: Commands, desk_: Desk) -> None:
    """10 without --repair says that it can be put right, 10 with it that it was; then it is 0."""
    desk_.run(desk_.enqueue(id="job1"), OK)
    path = Path(desk_.spool.path(DONE, "job1.json"))
    path.write_bytes(path.read_bytes()[:-20])
    result = queuectl("check", code=10)
    ((severity, code, shown, text, repair),) = result.rows
    assert (severity, code, shown, text) == ("problem", "torn", "done/job1.json", "its end is cut off")
    assert repair == "--repair: cut back to its last whole event"
    assert "next: queuectl check --repair" in result.err
    result = queuectl("check", "--repair", code=10)
    assert result.rows[0][-1].endswith("a copy of the old file is rejected/job1.torn.json")
    assert "1 problem, 1 repaired" in result.err
    assert "next:" not in result.err
    assert "no problems" in queuectl("check", "--repair").err
    assert sorted(names_in(desk_.spool, REJECTED)) == ["job1.torn.json", "job1.torn.json.reason.txt"]


def test_what_needs_a_person_is_11(queuectl: Commands, desk_: Desk) -> None:
    """A fault that needs a person stays 11 until a person has repaired it."""
    Path(desk_.spool.settings_path).write_text("max_retries = -1\n")
    for words in (["check"], ["check", "--repair"]):
        result = queuectl(*words, code=11)
        assert result.rows[0][:3] == ["problem", "settings", "queuectl.toml"]
        assert result.rows[0][-1] == "needs a person"
    assert "1 needs a person" in result.err


def test_notes_alone_are_0(queuectl: Commands, desk_: Desk) -> None:
    """What is worth knowing and harmless is listed and changes no exit code."""
    write_drop(desk_.spool, "notes.txt", b"mine", DLQ)
    result = queuectl("check")
    assert result.rows[0][:3] == ["info", "foreign", "dlq/notes.txt"]
    assert "no problems, 1 note" in result.err


def test_json_tells_everything(queuectl: Commands, desk_: Desk) -> None:
    """Programs get the verdict, the counts and every finding with all its facts."""
    desk_.run(desk_.enqueue(id="job1"), OK)
    os.rename(desk_.spool.path(DONE, "job1.json"), desk_.spool.path(DONE, "wrong.json"))
    found = queuectl("check", "--json", code=10).json
    assert (found["version"], found["verdict"], found["busy"]) == (1, "repairable", [])
    assert found["counts"] == {"running": 0, "pending": 0, "done": 1, "dlq": 0}
    assert found["findings"] == [
        {
            "severity": "problem",
            "code": "name",
            "path": "done/wrong.json",
            "text": "its record has the id 'job1'",
            "repair": "moved to done/job1.json",
            "repaired": False,
            "needs_person": False,
        }
    ]
    assert queuectl("check", "--repair", "--json", code=10).json["verdict"] == "repaired"
    assert queuectl("check", "--json").json["verdict"] == "clean"


def test_quick_goes_by_names(queuectl: Commands, desk_: Desk) -> None:
    """--quick finds two files of one id and opens no others."""
    desk_.run(desk_.enqueue(id="job1"), OK)
    data = Path(desk_.spool.path(DONE, "job1.json")).read_bytes()
    write_drop(desk_.spool, "job1.json", data, DLQ)
    write_drop(desk_.spool, "torn.json", data[:-9], DLQ)
    assert [row[1:3] for row in queuectl("check", "--quick", code=10).rows] == [["duplicate", "dlq/job1.json"]]


def test_terminal_groups_what_is_alike(queuectl: Commands, desk_: Desk) -> None:
    """A terminal shows one line per finding under its kind, problems first; long lists end in a count."""
    for number in range(25):
        write_drop(desk_.spool, f"note{number}.txt", b"mine", DLQ)
    write_drop(desk_.spool, "empty.json", b"", DLQ)
    queuectl.on_terminal = True
    lines = queuectl("check", code=11).out.splitlines()
    assert "damaged (1)" in lines[0]
    assert lines[1].startswith("  dlq/empty.json: is not a record")
    assert any("note: foreign (25)" in line for line in lines)
    assert lines[-1] == "  ... and 5 more (--json shows all)"


@pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
def test_nothing_on_disk_can_act_on_a_terminal(queuectl: Commands, desk_: Desk) -> None:
    """Names and texts of others are shown with their escapes visible (P11)."""
    write_drop(desk_.spool, "\x1b[31m\u202ered.txt", b"mine", DLQ)
    write_drop(desk_.spool, "x\x1b]0;title\x07.json", b"\x1b[2J", DONE)
    for queuectl.on_terminal in (False, True):
        result = queuectl("check", "--repair", code=None)
        shown = result.out + result.err
        assert "\\x1b[31m\\u202ered.txt" in shown
        assert "\x1b]" not in shown and "\u202e" not in shown and "\x07" not in shown
        assert "\x1b[31m\\" not in shown


def test_no_spool_is_75(tmp_path: Path) -> None:
    """A folder that is no spool is not made one."""
    folder = tmp_path / "empty"
    folder.mkdir()
    assert "is not a spool" in run("--spool", str(folder), "check", code=75).err
    assert os.listdir(folder) == []
