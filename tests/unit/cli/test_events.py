"""The lines of `worker start`."""

from __future__ import annotations

import pytest

from queuectl.cli.events import Printer
from queuectl.jobs.settle import Settled
from queuectl.model.lifecycle import Outcome
from queuectl.worker.messages import Defect, Finished


@pytest.mark.parametrize(
    ("settled", "end"),
    [
        (Settled("pending", "a,due=x.json", 1.5e9, 1.4, "exit code 1"), "; retry 2 of 3 in 1.4s\n"),
        (Settled("dlq", "a.json", None, None, "exit code 1"), "; to dlq/: queuectl retry a\n"),
    ],
)
def test_a_failure_says_what_follows(settled: Settled, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The number of the retry counts the one that was just announced; a dead job has the command that runs it again."""
    event = Finished("a.json", "a", 2, Outcome("failed", 1, "", 0.25), settled, 1, 3, "")
    Printer(as_json=False, workers=1, spool="/q").tell([event])
    assert capsys.readouterr().out.endswith(end)


def test_a_defect_is_reported_with_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the log knows which job met it, and where the program failed."""
    Printer(as_json=False, workers=1, spool="/q").tell([Defect("a.json", "a", "TypeError: odd (settle.py:7)")])
    assert capsys.readouterr().out.endswith(
        "defect     a  its run ended by a defect of queuectl: TypeError: odd (settle.py:7); please report it\n"
    )
