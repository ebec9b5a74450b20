"""causes: dead jobs that failed for the same cause are one row."""

from __future__ import annotations

from queuectl.monitor.causes import CAUSES, IDS, Dead, collect
from queuectl.monitor.rows import FailureRow
from queuectl.monitor.shapes import GAP
from tests.helpers import NOON_AT


def dead(
    number: int, line: str = "", *, code: int | None = 1, reason: str = "4 attempts, retries used up", command: str = ""
) -> Dead:
    """A dead job; a lower number is newer."""
    error = f"exit {code}" if code is not None else reason
    output = ("starting", line) if line else ()
    row = FailureRow(f"job{number}", NOON_AT - number, 1, error, command or f"python3 a.py {number}", output)
    return Dead(row._replace(record=f"dlq/job{number}.json", log="l", text="t"), code, reason)


def test_numbers_paths_and_ids_do_not_part_a_cause() -> None:
    """Of many jobs the newest speaks: its command, output and files, and some ids, newest first."""
    found = [dead(number, f"ValueError: row {number} of /srv/{number}.csv") for number in range(8)]
    (row,) = collect([*found, dead(90, "KeyError: 'x'"), dead(91, code=2)])[:1]
    assert (row.cause, row.jobs) == (f"exit 1: ValueError: row {GAP} of {GAP}", 8)
    assert (row.newest_at, row.oldest_at) == (NOON_AT, NOON_AT - 7)
    assert row.ids == tuple(f"job{number}" for number in range(IDS))
    assert (row.command, row.output[-1]) == ("python3 a.py 0", "ValueError: row 0 of /srv/0.csv")
    assert (row.record, row.log, row.text) == ("dlq/job0.json", "l", "t")


def test_exit_code_program_and_last_line_part_causes() -> None:
    """Different causes stay apart, the most frequent first; a text that all have in common is shown as it is."""
    found = [
        dead(1, "no network"),
        dead(2, "no network"),
        dead(3, "no network", code=2),
        dead(4, "no network", command="python3 b.py"),
        dead(5, "bad row 7"),
    ]
    assert [(row.cause, row.jobs) for row in collect(found)] == [
        ("exit 1: no network", 2),
        ("exit 2: no network", 1),
        ("exit 1: no network", 1),
        ("exit 1: bad row 7", 1),
    ]


def test_output_does_not_explain_a_timeout() -> None:
    """What a command printed before it was ended is not why it was ended."""
    reason = "timed out after 5 s; {} attempts, retries used up"
    found = [dead(number, f"at {word}", code=None, reason=reason.format(number)) for number, word in enumerate("abc")]
    assert [(row.cause, row.jobs) for row in collect(found)] == [("timed out after 5 s", 3)]


def test_a_decision_is_no_cause() -> None:
    """Why a job was not tried again says nothing of why it failed; without another reason its error does."""
    assert collect([dead(1, reason="exit code 7 is not retried", code=7)])[0].cause == "exit 7"
    for decision in ("not retried", "not to be retried", "1 run, retries used up"):  # the last two: earlier versions
        assert collect([dead(1, reason=f"no folder /x; {decision}", code=126)])[0].cause == "exit 126: no folder /x"
    assert collect([dead(1, reason="", code=None)._replace(reason="")])[0].cause == ""
    abandoned = dead(1, reason="", code=None)
    abandoned = abandoned._replace(row=abandoned.row._replace(error="abandoned: its worker died"))
    assert collect([abandoned])[0].cause == "abandoned: its worker died"


def test_many_different_lines_are_one_cause() -> None:
    """A program whose last line is never the same has one row, not a hundred."""
    found = [dead(number, "".join(chr(97 + int(digit)) for digit in f"{number:03d}")) for number in range(100)]
    (row,) = collect(found)
    assert (row.cause, row.jobs, row.ids[0]) == ("exit 1", 100, "job0")


def test_rows_are_bounded() -> None:
    """However many causes there are."""
    assert len(collect([dead(number, code=number) for number in range(200)])) == CAUSES
    assert collect([]) == ()
