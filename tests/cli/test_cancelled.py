"""A cancelled job is not a dead one: every command calls it cancelled, counts it apart and leaves it in peace."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from queuectl.api import Spool
from queuectl.cli.commands import top_rows
from queuectl.jobs import error_text
from queuectl.maintenance import check
from queuectl.model.lifecycle import DLQ, PENDING, Outcome
from queuectl.monitor import facts, metrics, page, status
from queuectl.monitor.snapshot import Snapshot
from queuectl.monitor.survey import Survey
from queuectl.spool.folder import SpoolDir
from queuectl.system import files
from tests.cli.commands import Commands
from tests.helpers import NOON_AT, Desk, names_in

NO_ADVICE = ("", "")


@pytest.fixture
def two(desk: Desk, spool: SpoolDir) -> SpoolDir:
    """A spool with a dead job, `dead`, and a cancelled one, `ended`."""
    desk.run(desk.enqueue(id="dead", max_retries=0), Outcome("failed", 3))
    error_text.write(desk.session, "dead.json")
    desk.enqueue(id="ended", command="echo wanted")
    Spool(spool.root).cancel("ended", by="cancel", reason="wrong input")
    return spool


def test_its_text_in_dlq_has_another_name(two: SpoolDir) -> None:
    """Whoever opens dlq/ sees which jobs failed and which were cancelled, and by whom."""
    assert sorted(names_in(two, DLQ)) == ["dead.error.txt", "dead.json", "ended.cancelled.txt", "ended.json"]
    text = Path(two.error_path("ended.json", cancelled=True)).read_text(encoding="utf-8")
    assert text.startswith("Job ended was cancelled. ")
    assert "wrong input" in text
    assert "failed" not in text


def test_list_show_why_and_wait_call_it_cancelled(queuectl: Commands, two: SpoolDir) -> None:
    """No command calls it dead, and none shows an empty error."""
    rows = {row[0]: row for row in queuectl("list").rows}
    assert (rows["ended"][1], rows["ended"][6]) == ("cancelled", "cancelled: wrong input")
    assert (rows["dead"][1], rows["dead"][6]) == ("dlq", "exit 3: 1 attempt, retries used up")
    documents = {job["id"]: job for job in queuectl("list", "--json").json["jobs"]}
    assert [(documents[name]["state"], documents[name]["cancelled"]) for name in ("ended", "dead")] == [
        ("dlq", True),
        ("dlq", False),
    ]
    assert [row[0] for row in queuectl("list", "--state", "cancelled").rows] == ["ended"]
    assert queuectl("show", "ended").out.startswith("ended is cancelled after 0 attempts: wrong input\n")
    assert "it was cancelled: wrong input" in queuectl("why", "ended").out
    assert queuectl("wait", "ended", code=4).rows[0][3] == "cancelled: wrong input"
    queuectl.on_terminal = True
    assert "ended was cancelled: wrong input after 0 attempts" in queuectl("wait", "ended", code=4).out
    for words in (["show", "ended"], ["why", "ended"], ["wait", "ended"]):
        assert "is dead" not in queuectl(*words, code=None).out


def test_status_counts_it_apart(queuectl: Commands, two: SpoolDir) -> None:
    """`status` says how many of dlq/ are dead; cancelled jobs alone are nothing to do."""
    text = queuectl("status").out
    assert "dlq       2      1 dead, 1 cancelled\n" in text
    assert "cancelled: wrong input" in text
    assert queuectl("status", "--json").json["cancelled_jobs"] == 1
    queuectl("purge", "dead", "--yes")
    text = queuectl("status").out
    assert "dlq       1      0 dead, 1 cancelled\n" in text
    assert "dead jobs" not in text
    assert "used up" not in text


def taken(spool: SpoolDir) -> Snapshot:
    """A snapshot, all steps at once."""
    steps = Survey(spool, is_full=True).take(NOON_AT)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Snapshot = end.value
            return made


def test_page_figures_and_top_count_it_apart(two: SpoolDir) -> None:
    """The dashboard, its JSON, Prometheus' figures and `top` do as `status` does."""
    found = taken(two)
    assert (found.cancelled, found.dead, found.counts[DLQ]) == (1, 1, 2)
    text = page.render(found, advice=NO_ADVICE)
    assert "1 cancelled" in text
    assert "used up: " not in text
    assert '<bdi class="bad-text">cancelled' not in text
    document = json.loads(json.dumps(facts.document(found, advice=NO_ADVICE)))
    assert document["cancelled_jobs"] == 1
    assert {row["id"]: row["cancelled"] for row in document["failures"]} == {"dead": False, "ended": True}
    assert "\nqueuectl_cancelled_jobs 1.0\n" in metrics.text(found)
    assert top_rows.groups(found, top_rows.View())[DLQ].title == "Dead 1, cancelled 1"


def test_a_count_opens_no_file(two: SpoolDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many jobs are in dlq/, they are counted by names."""
    monkeypatch.setattr(files, "read", None)
    assert two.count_cancelled(two.job_names(DLQ)) == 1


def test_retry_of_many_passes_over_it(queuectl: Commands, two: SpoolDir) -> None:
    """A bulk retry runs no cancelled job unless it is asked to; a job that is named runs in any case."""
    for words in (["retry", "--all"], ["dlq", "retry", "--all"], ["retry", "--match", "wanted"]):
        result = queuectl(*words, "--yes", "--dry-run")
        assert "ended" not in result.out.split()
        assert "skipped 1 cancelled job (--cancelled includes them)" in result.err
    assert queuectl("retry", "--all", "--yes").out.split() == ["dead"]
    assert queuectl("dlq", "retry", "--all", "--cancelled", "--yes").out.split() == ["ended"]
    assert sorted(names_in(two, PENDING)) == ["dead.json", "ended.json"]
    assert names_in(two, DLQ) == []
    queuectl("cancel", "ended")
    assert queuectl("retry", "ended").out.split() == ["ended"]
    errors = {job["id"]: job["error"] for job in queuectl("list", "--json").json["jobs"]}
    assert errors["ended"] == ""


def test_many_that_are_cancelled_are_called_so(queuectl: Commands, spool: SpoolDir) -> None:
    """`cancel --all` says what it did."""
    Spool(spool.root).enqueue_many([{"command": "true"} for _ in range(30)])
    queuectl.on_terminal = True
    assert "cancelled all 30 jobs" in queuectl("cancel", "--all", "--yes").err


def test_texts_of_both_kinds_come_and_go_with_their_jobs(desk: Desk, two: SpoolDir) -> None:
    """A job that is cancelled, run again and dies has one text; what is left without a job is taken away."""
    api = Spool(two.root)
    api.requeue("ended")
    assert "ended.cancelled.txt" not in names_in(two, DLQ)
    claimed = desk.start("ended.json")
    desk.settlements.settle(claimed, Outcome("cancelled", reason="by ann"))
    error_text.write(desk.session._replace(spool=two), "ended.json")
    api.requeue("ended")
    for _ in range(4):
        desk.run(next(name for name in names_in(two, PENDING) if name.startswith("ended")), Outcome("failed", 1))
        desk.clock.advance(10)
    Path(two.error_path("ended.json", cancelled=True)).write_bytes(
        Path(two.error_path("dead.json")).read_bytes()  # as a kill between the texts leaves it
    )
    error_text.write(desk.session._replace(spool=two), "ended.json")
    assert [name for name in sorted(names_in(two, DLQ)) if name.startswith("ended")] == [
        "ended.error.txt",
        "ended.json",
    ]
    Spool(two.root).requeue("ended")
    Spool(two.root).cancel("ended")
    os.unlink(two.path(DLQ, "ended.json"))
    found = check.run(two, repair=True, names_only=False, clock=desk.clock).findings
    assert [(item.path, item.repaired) for item in found if item.code == "error-text"] == [
        ("dlq/ended.cancelled.txt", True)
    ]
    assert status.collect(two, now_at=NOON_AT).cancelled == 0
