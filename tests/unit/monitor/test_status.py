"""status: what `queuectl status` shows is a survey taken at once, of a bounded number of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, Outcome
from queuectl.monitor import order, status
from queuectl.monitor.steps import drain
from queuectl.monitor.survey import STATUS, Survey
from queuectl.system import files
from tests.helpers import NOON_AT, Desk, write_drop

FAILED = Outcome("failed", 3, duration_s=1.5)


def test_texts_are_shown_in_full(desk: Desk) -> None:
    """The page cuts a long text, and `status` does not."""
    desk.run(desk.enqueue(id="dead", max_retries=0, command="x" * 900), FAILED)
    assert status.collect(desk.spool, now_at=NOON_AT).failures[0].command == "x" * 900
    assert len(drain(Survey(desk.spool, is_full=True).take(NOON_AT)).failures[0].command) < 500


def test_document_names_foreign_files_and_leaves_out_what_only_the_page_has(desk: Desk) -> None:
    """`status --json` and status.json have the same keys, but for those of rows and the names of foreign files."""
    desk.start(desk.enqueue(id="now", timeout=9))
    desk.run(desk.enqueue(id="dead", max_retries=0), FAILED)
    for name in ("b.txt", "a.txt", "dead (conflicted copy 2027-01-15).json"):
        write_drop(desk.spool, name, "x", DLQ)
    made = status.document(status.collect(desk.spool, now_at=NOON_AT))
    keys = ["id", "attempt", "worker", "started_at", "command", "is_alive", "record", "lease", "percent", "progress"]
    keys.append("node")
    assert list(made["running"][0]) == keys
    keys = ["id", "ended_at", "error", "command", "cancelled", "record", "log", "text", "progress"]
    assert list(made["failures"][0]) == keys
    assert made["foreign"] == {DLQ: ["a.txt", "b.txt", "dead (conflicted copy 2027-01-15).json"]}
    assert made["copies"] == {DLQ: ["dead (conflicted copy 2027-01-15).json"]}


def test_cost_does_not_grow_with_what_has_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record of done/ is opened, five of dlq/ are; in a large folder no file is asked for its time."""
    done = desk.run(desk.enqueue(id="done"), Outcome("succeeded", 0)).name
    dead = desk.run(desk.enqueue(id="dead", max_retries=0), FAILED).name
    for state, name in ((DONE, done), (DLQ, dead)):
        data = Path(desk.spool.path(state, name)).read_bytes()
        for number in range(30):
            write_drop(desk.spool, f"job{number:02d}.json", data, state)
    opened: list[str] = []
    asked: list[str] = []
    read, sig_of = files.read, files.sig_of
    monkeypatch.setattr(files, "read", lambda path, *rest, **keys: opened.append(path) or read(path, *rest, **keys))
    monkeypatch.setattr(files, "sig_of", lambda path: asked.append(path) or sig_of(path))
    found = status.collect(desk.spool, now_at=NOON_AT)
    assert (found.counts[DONE], found.counts[DLQ], len(found.failures)) == (31, 31, 5)
    assert sum("/done/" in path.replace("\\", "/") for path in opened) == 0
    assert sum("/dlq/" in path.replace("\\", "/") for path in opened) == 5
    assert not [path for path in opened if path.endswith(".log")]
    asked.clear()
    scope = STATUS._replace(kept=11, asked=10)
    newest = drain(Survey(desk.spool, is_full=True, scope=scope).take(NOON_AT)).failures
    assert [row.id for row in newest] == ["dead"] * 5
    assert sum("/dlq/" in path.replace("\\", "/") for path in asked) <= 2 * scope.rows + 2  # each with its text


def test_a_text_of_a_cancelled_job_that_is_gone_does_not_count(desk: Desk) -> None:
    """Both who look say the same: the jobs that are there are counted."""
    desk.run(desk.enqueue(id="dead", max_retries=0), FAILED)
    Path(desk.spool.error_path("gone.json", cancelled=True)).write_text("it was cancelled")
    assert status.collect(desk.spool, now_at=NOON_AT).cancelled == 0
    assert drain(Survey(desk.spool, is_full=True).take(NOON_AT)).cancelled == 0


def test_a_rejected_file_without_a_reason_has_a_row(desk: Desk) -> None:
    """Whoever put it there by hand said nothing: that is what is shown, after those with a reason."""
    write_drop(desk.spool, "z.json", "{", REJECTED)
    write_drop(desk.spool, "a.json", "{", REJECTED)
    write_drop(desk.spool, "a.json.reason.txt", "Rejected 2027-01-15T08:00:00Z\nWhy: no JSON\n", REJECTED)
    for found in (status.collect(desk.spool, now_at=NOON_AT), drain(Survey(desk.spool, is_full=True).take(NOON_AT))):
        assert [row.name for row in found.refusals] == ["a.json", "z.json"]
        assert found.refusals[1].why != ""


def test_a_judged_drop_that_is_written_anew_is_arriving(desk: Desk) -> None:
    """P6: a name that says when it arrived was whole once; its writer may have begun anew."""
    write_drop(desk.spool, "x,in=20270115T080000Z.json", '{"comm')
    found = status.collect(desk.spool, now_at=NOON_AT)
    assert [row.name for row in found.arriving] == ["x,in=20270115T080000Z.json"]
    assert (found.ready, found.incomplete, found.counts[PENDING]) == (0, 1, 1)


def test_very_many_files_go_by_name() -> None:
    """`status` and `list` pass from times to names at the same number of files."""
    assert (STATUS.asked, STATUS.kept) == (order.STAT_AT_MOST, order.STAT_AT_MOST + 1)
